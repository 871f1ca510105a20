//! Randomness that follows from a seed.

use std::ops::Range;
use std::time::Duration;

/// A SplitMix64 sequence: the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Begins the sequence of that seed.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A sequence of its own, for one more of those who draw.
    pub(crate) fn fork(&mut self) -> Random {
        Random(self.number())
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Says yes that often: 0.0 never, 1.0 always.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        (self.number() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    /// A number of milliseconds within the range, its end not included.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.number() % (range.end - range.start))
    }

    /// One of a few, each as often as any other.
    pub(crate) fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[(self.number() % N as u64) as usize]
    }

    /// That many bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.number().to_le_bytes()).flatten().take(len).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_sequence() {
        let drawn = |seed| {
            let mut random = Random::new(seed);
            (random.number(), random.millis(5..10), random.bytes(11), random.fork().number())
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn draws_stay_within_their_range() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            assert!((5..10).contains(&(random.millis(5..10).as_millis() as u64)));
            assert!([1, 2, 3].contains(&random.one_of([1, 2, 3])));
        }
        assert!(!random.chance(0.0) && random.chance(1.0));
    }
}
