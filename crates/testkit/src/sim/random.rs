//! Randomness that follows from a seed.

use std::time::Duration;

/// A SplitMix64 sequence: the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins the sequence of that seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Says yes that often: 0.0 never, 1.0 always.
    pub fn chance(&mut self, probability: f64) -> bool {
        (self.number() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    /// A span within the range, its end not included; the start of an empty range.
    pub fn within(&mut self, range: &std::ops::Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start).as_micros() as u64;
        range.start + Duration::from_micros(self.number().checked_rem(width).unwrap_or(0))
    }
}

/// Spreads a number over all 64 bits.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
