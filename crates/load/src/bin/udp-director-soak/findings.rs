//! What all players and changes found, added up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use udp_director_load::{Beat, Latency, ServerId};

use crate::account::{Cause, Kind, Lost, Reply};

/// The findings, shared by everything that runs in the soak.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    begun: Instant,
    /// Guards the sums; held for moments.
    sums: Arc<Mutex<Sums>>,
}

/// The sums since the start; `round_trips` and `longest_wait` since they were last taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// Beats sent.
    pub(crate) sent: u64,
    /// Beats answered.
    pub(crate) answered: u64,
    /// Beats lost, by cause.
    pub(crate) lost: ByCause,
    /// Replies behind a later one, by cause.
    pub(crate) reordered: ByCause,
    /// Second replies to a beat.
    pub(crate) duplicated: u64,
    /// Replies of a server that had no business with the beat, or to another player's.
    pub(crate) misdelivered: u64,
    /// Replies to beats that had been counted as lost.
    pub(crate) late: u64,
    /// Bytes that came back on TCP streams as they had been sent.
    pub(crate) stream_bytes: u64,
    /// From sending a beat to its first reply.
    pub(crate) round_trips: Latency,
    /// The longest that a thread of the director had to wait for a processor at a stretch.
    pub(crate) longest_wait: Duration,
    /// What the players and the files went through, by name.
    pub(crate) acts: BTreeMap<&'static str, u64>,
    /// Players that are in a game now.
    pub(crate) players: i64,
    /// TCP streams that are open now.
    pub(crate) streams: i64,
    /// What went wrong and must not: at most [`MAX_FAULTS`] in words.
    pub(crate) faults: Vec<String>,
    /// How many went wrong in all.
    pub(crate) fault_count: u64,
    /// How many notices were printed.
    pub(crate) notices: u64,
}

/// Counts by what explains them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByCause {
    /// The player's server was removed on purpose.
    pub(crate) removed: u64,
    /// The player changed its socket.
    pub(crate) resumed: u64,
    /// The player was moved.
    pub(crate) migrated: u64,
    /// Nothing explains them.
    pub(crate) unexplained: u64,
}

impl Findings {
    /// Findings of a soak that begins now.
    pub(crate) fn new() -> Findings {
        Findings { begun: Instant::now(), sums: Arc::default() }
    }

    /// When the soak began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The sums, to read or to add to.
    pub(crate) fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().expect("nothing panics while it holds the sums")
    }

    /// Counts something that was done.
    pub(crate) fn act(&self, name: &'static str) {
        *self.sums().acts.entry(name).or_default() += 1;
    }

    /// Notes and prints what went wrong; the soak has failed by it.
    pub(crate) fn fault(&self, what: impl Into<String>) {
        let what = format!("at {} s: {}", self.begun.elapsed().as_secs(), what.into());
        let mut sums = self.sums();
        sums.fault_count += 1;
        if sums.faults.len() < MAX_FAULTS {
            println!("FAULT {what}");
            sums.faults.push(what);
        }
    }

    /// Notes lost beats.
    pub(crate) fn lost(&self, player: u32, lost: &[Lost]) {
        for beat in lost {
            self.sums().lost.add(beat.terms.cause);
            if beat.terms.cause.is_none() {
                self.notice(&format!("player {player} has lost a beat: {beat:?}"));
            }
        }
    }

    /// Notes a reply to a player's own beat.
    pub(crate) fn replied(&self, beat: &Beat, reply: Reply) {
        self.sums().reply(reply);
        let odd = reply.misdelivered
            || matches!(reply.kind, Kind::Duplicate | Kind::Stray | Kind::Late)
            || matches!(reply.kind, Kind::Reordered { cause: None, .. });
        if odd {
            self.notice(&format!(
                "player {} beat {} of {}: {reply:?}",
                beat.player, beat.sequence, beat.server
            ));
        }
    }

    /// The sums so far; what is kept from one look to the next only begins anew.
    pub(crate) fn take(&self) -> Sums {
        let mut sums = self.sums();
        let taken = sums.clone();
        (sums.round_trips, sums.longest_wait) = (Latency::new(), Duration::ZERO);
        taken
    }

    /// Notes a datagram that came to the wrong player.
    pub(crate) fn strayed(&self, player: u32, of: Option<(u32, ServerId)>) {
        self.sums().misdelivered += 1;
        self.notice(&format!("player {player} got a datagram that is not its own: {of:?}"));
    }

    /// Prints what a person needs who looks for the reason of a count; the first [`MAX_NOTICES`] do.
    fn notice(&self, what: &str) {
        let number = {
            let mut sums = self.sums();
            sums.notices += 1;
            sums.notices
        };
        if number > MAX_NOTICES {
            return;
        }
        println!("notice at {:.3} s: {what}", self.begun.elapsed().as_secs_f64());
    }
}

impl Sums {
    fn reply(&mut self, reply: Reply) {
        self.misdelivered += u64::from(reply.misdelivered);
        match reply.kind {
            Kind::First { round_trip } => {
                self.answered += 1;
                self.round_trips.add(round_trip);
            }
            Kind::Reordered { round_trip, cause } => {
                self.answered += 1;
                self.round_trips.add(round_trip);
                self.reordered.add(cause);
            }
            Kind::Duplicate => self.duplicated += 1,
            Kind::Late => self.late += 1,
            Kind::Stray => self.misdelivered += 1,
        }
    }
}

impl ByCause {
    fn add(&mut self, cause: Option<Cause>) {
        match cause {
            Some(Cause::Removed) => self.removed += 1,
            Some(Cause::Resumed) => self.resumed += 1,
            Some(Cause::Migrated) => self.migrated += 1,
            None => self.unexplained += 1,
        }
    }

    /// Those that something explains.
    pub(crate) fn explained(self) -> u64 {
        self.removed + self.resumed + self.migrated
    }
}

const MAX_FAULTS: usize = 200;
const MAX_NOTICES: u64 = 1_000;
