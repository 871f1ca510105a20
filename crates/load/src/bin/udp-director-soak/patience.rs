//! How long the machine lets the director wait: what overflows meanwhile is not the director's loss.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::findings::Findings;
use crate::proc::waits;

/// Notes the longest that a thread of that process waits for a processor at a stretch, until the process is gone.
pub(crate) async fn watch(pid: u32, findings: Findings) -> io::Result<()> {
    let mut before = waits(pid)?;
    loop {
        sleep(INTERVAL).await;
        let now = waits(pid)?;
        let longest = longest(&before, &now);
        let mut sums = findings.sums();
        sums.longest_wait = sums.longest_wait.max(longest);
        before = now;
    }
}

/// The longest that a thread waited between two readings. A wait that is longer than the time between
/// them was one, since it counts when it is over; of shorter ones this is the sum.
fn longest(before: &BTreeMap<u64, Duration>, now: &BTreeMap<u64, Duration>) -> Duration {
    let waited = |(thread, wait): (&u64, &Duration)| {
        wait.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    now.iter().map(waited).max().unwrap_or_default()
}

const INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_waited_longest_counts() {
        let waits = |a, b| [(1, Duration::from_millis(a)), (2, Duration::from_millis(b))].into();
        assert_eq!(longest(&waits(10, 500), &waits(40, 510)), Duration::from_millis(30));
    }
}
