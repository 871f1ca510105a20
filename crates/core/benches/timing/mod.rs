//! How the benchmarks here take time.

use std::time::{Duration, Instant};

/// How many runs the median is of.
const RUNS: usize = 15;

/// How long a run takes.
const SPAN: Duration = Duration::from_millis(10);

/// Nanoseconds that a piece of work takes: the median of several runs, each as long as the others.
pub(crate) fn median(mut work: impl FnMut()) -> f64 {
    let mut run = || {
        let (begun, mut times) = (Instant::now(), 0_u32);
        while begun.elapsed() < SPAN {
            (0..16).for_each(|_| work());
            times += 16;
        }
        begun.elapsed().as_nanos() as f64 / f64::from(times)
    };
    run();
    let mut runs: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}
