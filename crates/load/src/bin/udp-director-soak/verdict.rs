//! The rules by which a soak passes: no leak, no loss without a cause, nothing left at the end.

use crate::sample::{Loss, Sample};

/// How the director's use has grown from the first settled quarter of the samples to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    /// Median resident memory, in KiB.
    pub(crate) rss_kib: Pair,
    /// Median of the descriptors that neither upstream sockets nor connections account for.
    pub(crate) descriptors: Pair,
    /// Median of the upstream sockets.
    pub(crate) upstream_sockets: Pair,
}

/// The medians of the first settled quarter and of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Growth {
    /// The growth over these samples, of which those of the first minute do not count. `None` where
    /// fewer than four are left.
    pub(crate) fn of(samples: &[Sample]) -> Option<Growth> {
        let settled: Vec<&Sample> =
            samples.iter().filter(|sample| sample.elapsed_seconds > UNSETTLED_SECONDS).collect();
        let quarter = settled.len() / 4;
        let (first, last) = (settled.get(..quarter)?, settled.get(settled.len() - quarter..)?);
        let pair = |of: fn(&Sample) -> i64| Some(Pair { first: median(first, of)?, last: median(last, of)? });
        Some(Growth {
            rss_kib: pair(|sample| sample.rss_kib as i64)?,
            descriptors: pair(|sample| sample.other_descriptors)?,
            upstream_sockets: pair(|sample| sample.upstream_sockets as i64)?,
        })
    }

    /// What breaks [`RULES`], in words.
    pub(crate) fn leaks(self) -> Vec<String> {
        let mut leaks = Vec::new();
        let Pair { first, last } = self.rss_kib;
        if last > first + first / 10 + RSS_SLACK_KIB {
            leaks.push(format!("resident memory has grown from {first} to {last} KiB"));
        }
        let Pair { first, last } = self.descriptors;
        if last > first + DESCRIPTOR_SLACK {
            leaks.push(format!("descriptors without an account have grown from {first} to {last}"));
        }
        let Pair { first, last } = self.upstream_sockets;
        if last > first + first / 2 + UPSTREAM_SLACK {
            leaks.push(format!("upstream sockets have grown from {first} to {last}"));
        }
        leaks
    }
}

/// What in the loss fails a soak, in words.
pub(crate) fn unexplained(loss: Loss) -> Vec<String> {
    let found = [
        (loss.unexplained, "datagrams were lost and nothing explains it"),
        (loss.reordered, "datagrams came out of order and nothing explains it"),
        (loss.duplicated, "datagrams came twice"),
        (loss.misdelivered, "datagrams came from or to the wrong end"),
    ];
    found.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

fn median(samples: &[&Sample], of: fn(&Sample) -> i64) -> Option<i64> {
    let mut values: Vec<i64> = samples.iter().map(|sample| of(sample)).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The rules, for `--help` and for the summary.
pub(crate) const RULES: &str = "\
It fails on
- a leak: of the samples after the first minute, the medians of the last quarter are compared with
  those of the first. Resident memory may have grown by 10 % and 8 MiB; descriptors, without the
  upstream sockets and the connections of queries and streams, by 8 (a data port that comes and goes);
  upstream sockets, of which the fullest server needs one for each of its players, by half and 16;
- a datagram that is lost, out of order, doubled or from the wrong server, unless something done on
  purpose explains it: its server was removed with its players, its player had just changed its
  socket, a migration was under way (which explains the order, and a loss only where the director
  counts a reply after the grace), a socket of the soak itself had no room, or one of the director
  while the machine let a thread of it wait for 400 ms at a stretch;
- a stream that loses, changes or adds a byte, or does not end as it should;
- anything left when everybody has gone and the timeouts are over: a session, a token, an upstream
  socket, a seat, or a descriptor more than before the first player came;
- a line at level ERROR in the director's log that no bad file explains, a panic, an end other than
  by SIGTERM, or a file that is not followed or not refused as it should be.";

/// While the players arrive, memory grows as it should.
const UNSETTLED_SECONDS: u64 = 60;
const RSS_SLACK_KIB: i64 = 8 * 1024;
const DESCRIPTOR_SLACK: i64 = 8;
const UPSTREAM_SLACK: i64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(u64) -> Sample) -> Vec<Sample> {
        (1..=46).map(|n| Sample { elapsed_seconds: n * 10, ..of(n) }).collect()
    }

    #[test]
    fn arrival_of_the_players_is_no_leak() {
        let arriving = samples(|n| Sample {
            rss_kib: 20_000 + 10_000 * n.min(6),
            other_descriptors: 30,
            upstream_sockets: 50,
            ..Sample::default()
        });
        assert_eq!(Growth::of(&arriving).expect("enough samples").leaks(), Vec::<String>::new());
    }

    #[test]
    fn whatever_goes_on_growing_is_a_leak() {
        let growing = samples(|n| Sample {
            rss_kib: 20_000 + 1_000 * n,
            other_descriptors: n as i64,
            upstream_sockets: 10 * n,
            ..Sample::default()
        });
        assert_eq!(Growth::of(&growing).expect("enough samples").leaks().len(), 3);
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(Growth::of(&samples(|_| Sample::default())[..9]), None);
    }

    #[test]
    fn explained_loss_does_not_fail() {
        let loss = Loss { removed: 9, resumed: 1, reordered_explained: 3, ..Loss::default() };
        assert!(unexplained(loss).is_empty());
        assert_eq!(unexplained(Loss { unexplained: 1, duplicated: 2, ..loss }).len(), 2);
    }
}
