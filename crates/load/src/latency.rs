//! Durations gathered into a histogram.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// A histogram of durations, exact to one part in a thousand; it grows with the longest, to some
/// 200 KiB.
#[derive(Clone)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Makes an empty one.
    pub fn new() -> Latency {
        Latency(Histogram::new(3).expect("three digits are within 0 to 5"))
    }

    /// Adds one duration; longer than a minute counts as a minute.
    pub fn add(&mut self, duration: Duration) {
        let nanos = duration.min(LONGEST).as_nanos() as u64;
        self.0.record(nanos).expect("it grows to what it is given");
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("it grows to what it is given");
    }

    /// What was added since `earlier`, which was a copy of this one.
    pub fn since(&self, earlier: &Latency) -> Latency {
        let mut lately = self.clone();
        lately.0.subtract(&earlier.0).expect("a copy holds nothing that this one does not");
        lately
    }

    /// The duration that the share `quantile` (0 to 1) of all does not exceed; zero when empty.
    pub fn at(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    /// The longest of all; zero when empty.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// How many durations it holds.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.at(0.5), self.at(0.99));
        write!(f, "Latency {{ count: {}, p50: {p50:?}, p99: {p99:?} }}", self.count())
    }
}

const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_answer_for_both() {
        let (mut short, mut long) = (Latency::new(), Latency::new());
        (1..=99).for_each(|_| short.add(Duration::from_micros(50)));
        long.add(Duration::from_secs(3600));
        short.merge(&long);
        assert_eq!(short.since(&long).count(), 99);
        let near = |is: Duration, is_to_be: Duration| is.abs_diff(is_to_be) <= is_to_be / 1000;
        assert_eq!(short.count(), 100);
        assert!(near(short.at(0.99), Duration::from_micros(50)), "{short:?}");
        assert!(near(short.longest(), LONGEST), "{short:?}");
    }
}
