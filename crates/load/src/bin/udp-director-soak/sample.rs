//! One look at everything, as a line of the table and as a JSON document.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::director::Metrics;
use crate::findings::Sums;
use crate::proc::Usage;

/// What one look saw; counts of traffic and loss are those since the look before.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) elapsed_seconds: u64,
    pub(crate) players: i64,
    pub(crate) streams: i64,
    pub(crate) sessions: u64,
    pub(crate) waiting_tokens: u64,
    pub(crate) upstream_sockets: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) stream_bytes: u64,
    pub(crate) loss: Loss,
    pub(crate) round_trip: RoundTrip,
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: u64,
    /// Descriptors that are neither upstream sockets nor connections of queries or streams.
    pub(crate) other_descriptors: i64,
    pub(crate) threads: u64,
    /// The longest that a thread of the director waited for a processor.
    pub(crate) longest_wait_ms: u64,
    /// Datagrams that the director's open sockets had no room for, since they were opened.
    pub(crate) director_overflown: u64,
    pub(crate) director_cpu_percent: f64,
    pub(crate) soak_cpu_percent: f64,
    pub(crate) config_generation: u64,
    pub(crate) inventory_generation: u64,
    pub(crate) drops: BTreeMap<String, u64>,
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) faults: u64,
}

/// What went missing or wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Loss {
    /// Lost with a server that was removed on purpose.
    pub(crate) removed: u64,
    /// Lost on a socket that its player had just left.
    pub(crate) resumed: u64,
    /// Lost since the reply came after the grace of a migration.
    pub(crate) late: u64,
    /// Lost in a full receive buffer: of the soak's own, or of a director that had no processor.
    pub(crate) overflown: u64,
    /// Lost and nothing explains it.
    pub(crate) unexplained: u64,
    /// Reordered around a migration, a resume or a removal.
    pub(crate) reordered_explained: u64,
    /// Reordered and nothing explains it.
    pub(crate) reordered: u64,
    pub(crate) duplicated: u64,
    pub(crate) misdelivered: u64,
    /// Replies that came after they had been counted as lost.
    pub(crate) very_late: u64,
}

/// Round trips, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// Everything that a look reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Since the start of the soak.
    pub(crate) elapsed: Duration,
    /// What the players found.
    pub(crate) sums: Sums,
    /// What the director counts.
    pub(crate) metrics: Metrics,
    /// What the director uses.
    pub(crate) director: Usage,
    /// What the soak itself uses.
    pub(crate) soak: Usage,
    /// Datagrams that the director's buffers had no room for while it had no processor, all together.
    pub(crate) starved: u64,
}

impl Reading {
    /// Goes on from the reading before: adds what has overflown since, if a thread of the director
    /// had to wait that long.
    pub(crate) fn follow(&mut self, before: &Reading) {
        let overflown = self.director.overflown.saturating_sub(before.director.overflown);
        let has_waited = self.sums.longest_wait >= STARVED_AFTER;
        self.starved = before.starved + if has_waited { overflown } else { 0 };
    }

    /// What has happened between the look before and this one.
    pub(crate) fn since(&self, before: &Reading) -> Sample {
        let (sums, metrics) = (&self.sums, &self.metrics);
        let upstream_sockets = metrics.of("upstream_sockets");
        let connections = metrics.of("query_connections") as i64 + 2 * sums.streams;
        Sample {
            elapsed_seconds: self.elapsed.as_secs(),
            players: sums.players,
            streams: sums.streams,
            sessions: metrics.of("active_sessions"),
            waiting_tokens: metrics.of("token_cache_size"),
            upstream_sockets,
            sent: sums.sent - before.sums.sent,
            answered: sums.answered - before.sums.answered,
            stream_bytes: sums.stream_bytes - before.sums.stream_bytes,
            loss: self.loss().since(before.loss()),
            round_trip: RoundTrip::of(sums),
            rss_kib: self.director.rss_kib,
            descriptors: self.director.descriptors,
            other_descriptors: self.director.descriptors as i64 - upstream_sockets as i64 - connections,
            threads: self.director.threads,
            longest_wait_ms: sums.longest_wait.as_millis() as u64,
            director_overflown: self.director.overflown,
            director_cpu_percent: self.percent(before, |reading| &reading.director),
            soak_cpu_percent: self.percent(before, |reading| &reading.soak),
            config_generation: metrics.of("config_generation"),
            inventory_generation: metrics.of("inventory_generation"),
            drops: grown(&metrics.drops(), &before.metrics.drops()),
            events: grown(&metrics.events(), &before.metrics.events()),
            faults: sums.fault_count,
        }
    }

    /// All that went missing or wrong so far.
    ///
    /// A lost beat of a migration is explained as far as the director counts late replies, and one
    /// without a cause as far as the soak's own sockets had no room, or a starved director's.
    pub(crate) fn loss(&self) -> Loss {
        let (lost, reordered) = (self.sums.lost, self.sums.reordered);
        let late = lost.migrated.min(self.metrics.of("drops_total{reason=\"late_reply\"}"));
        let overflown = lost.unexplained.min(self.soak.overflown + self.starved);
        Loss {
            removed: lost.removed,
            resumed: lost.resumed,
            late,
            overflown,
            unexplained: lost.unexplained - overflown + (lost.migrated - late),
            reordered_explained: reordered.explained(),
            reordered: reordered.unexplained,
            duplicated: self.sums.duplicated,
            misdelivered: self.sums.misdelivered,
            very_late: self.sums.late,
        }
    }

    fn percent(&self, before: &Reading, of: impl Fn(&Reading) -> &Usage) -> f64 {
        let spent = of(self).cpu_seconds - of(before).cpu_seconds;
        let span = self.elapsed.saturating_sub(before.elapsed).as_secs_f64().max(0.001);
        (1000.0 * spent / span).round() / 10.0
    }
}

impl Loss {
    /// How many lost beats are explained.
    pub(crate) fn explained(self) -> u64 {
        self.removed + self.resumed + self.late + self.overflown
    }

    /// What came on top. A beat that is explained late takes itself off `unexplained` again.
    fn since(self, before: Loss) -> Loss {
        Loss {
            removed: self.removed - before.removed,
            resumed: self.resumed - before.resumed,
            late: self.late - before.late,
            overflown: self.overflown.saturating_sub(before.overflown),
            unexplained: self.unexplained.saturating_sub(before.unexplained),
            reordered_explained: self.reordered_explained - before.reordered_explained,
            reordered: self.reordered - before.reordered,
            duplicated: self.duplicated - before.duplicated,
            misdelivered: self.misdelivered - before.misdelivered,
            very_late: self.very_late - before.very_late,
        }
    }
}

impl RoundTrip {
    fn of(sums: &Sums) -> RoundTrip {
        let micros = |duration: Duration| duration.as_micros() as u64;
        let trips = &sums.round_trips;
        RoundTrip {
            p50_us: micros(trips.at(0.5)),
            p99_us: micros(trips.at(0.99)),
            max_us: micros(trips.longest()),
        }
    }
}

impl Sample {
    /// The head of the table.
    pub(crate) const HEAD: &str = "    time play strm sess tok ups      sent  answered  expl unex \
        reor dup mis     p50     p99     max   rss MiB  fds thr   wait cpu% soak% conf inv  what grew";

    /// The sample as a line of the table.
    pub(crate) fn line(&self) -> String {
        let (loss, trip) = (&self.loss, &self.round_trip);
        format!(
            "{:>6} s {:>4} {:>4} {:>4} {:>3} {:>3} {:>9} {:>9} {:>5} {:>4} {:>4} {:>3} {:>3} \
             {:>4} us {:>4} us {:>4} ms {:>9.1} {:>4} {:>3} {:>3} ms {:>4.0} {:>5.0} {:>4} {:>3}  {}",
            self.elapsed_seconds,
            self.players,
            self.streams,
            self.sessions,
            self.waiting_tokens,
            self.upstream_sockets,
            self.sent,
            self.answered,
            loss.explained(),
            loss.unexplained,
            loss.reordered,
            loss.duplicated,
            loss.misdelivered,
            trip.p50_us,
            trip.p99_us,
            trip.max_us / 1000,
            self.rss_kib as f64 / 1024.0,
            self.descriptors,
            self.threads,
            self.longest_wait_ms,
            self.director_cpu_percent,
            self.soak_cpu_percent,
            self.config_generation,
            self.inventory_generation,
            words(&self.drops),
        )
    }
}

/// A receive buffer of the director holds about a second of what a soak sends.
const STARVED_AFTER: Duration = Duration::from_millis(400);

/// What has grown, by how much.
fn grown(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let by = |(name, &count): (&String, &u64)| {
        let more = count - before.get(name).copied().unwrap_or_default().min(count);
        (more > 0).then(|| (name.clone(), more))
    };
    now.iter().filter_map(by).collect()
}

/// `name=3, other name=1`, without those that are 0.
pub(crate) fn words<N: std::fmt::Display>(counts: &BTreeMap<N, u64>) -> String {
    let some = counts.iter().filter(|(_, count)| **count > 0);
    let words: Vec<String> = some.map(|(name, count)| format!("{name}={count}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::ByCause;

    fn reading(lost: ByCause, overflown: u64) -> Reading {
        let sums = Sums { lost, ..Sums::default() };
        Reading { sums, soak: Usage { overflown, ..Usage::default() }, ..Reading::default() }
    }

    #[test]
    fn loss_of_a_migration_is_explained_by_late_replies_alone() {
        let lost = ByCause { migrated: 2, ..ByCause::default() };
        assert_eq!(reading(lost, 0).loss().unexplained, 2);
    }

    #[test]
    fn full_buffers_of_the_soak_explain_as_many_as_they_dropped() {
        let lost = ByCause { unexplained: 5, removed: 1, ..ByCause::default() };
        let loss = reading(lost, 3).loss();
        assert_eq!((loss.overflown, loss.unexplained, loss.explained()), (3, 2, 4));
    }

    #[test]
    fn overflow_of_the_director_counts_as_explained_only_while_it_is_starved() {
        let starved = |longest_wait| {
            let sums = Sums { longest_wait, ..Sums::default() };
            let director = Usage { overflown: 7, ..Usage::default() };
            let mut now = Reading { sums, director, ..Reading::default() };
            now.follow(&Reading { starved: 2, ..Reading::default() });
            now.starved
        };
        assert_eq!((starved(Duration::ZERO), starved(STARVED_AFTER)), (2, 9));
    }

    #[test]
    fn only_what_grew_is_told() {
        let counts = |late, other| [("late".to_owned(), late), ("other".to_owned(), other)].into();
        let grown = grown(&counts(5, 1), &counts(2, 1));
        assert_eq!(words(&grown), "late=3");
    }
}
