//! Which of a player's beats came back, how often, in which order and from whom.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::beat::ServerId;

/// The count of one player's beats. It remembers single beats for [`Tally::DEADLINE`] only, so its
/// size follows the rate and not the length of the game.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The beats of the last [`Tally::DEADLINE`], in the order of their numbers.
    recent: VecDeque<Sent>,
    sent: u64,
    answered: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    late: u64,
    highest: Option<u64>,
    by_server: BTreeMap<ServerId, u64>,
    /// At most [`MAX_RANGES`]; what follows is left out here and counted elsewhere all the same.
    ranges: Vec<Served>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    server: Option<ServerId>,
}

/// A part of the sequence that one server answered. Lost beats do not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Who answered.
    pub server: ServerId,
    /// The first number that it answered.
    pub first: u64,
    /// The last number that it answered.
    pub last: u64,
}

/// What an arriving reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The first to this beat.
    First {
        /// From sending to arriving.
        round_trip: Duration,
    },
    /// This beat was answered before.
    Duplicate,
    /// The beat was settled before: answered, or counted as lost.
    Late,
    /// No such beat was sent.
    Stray,
}

impl Tally {
    /// How long a beat is awaited before it is lost.
    pub const DEADLINE: Duration = Duration::from_secs(2);

    /// Counts a beat that is being sent, and gives it its number.
    pub fn sent(&mut self, now: Instant) -> u64 {
        self.settle(now);
        self.recent.push_back(Sent { at: now, server: None });
        self.sent += 1;
        self.sent - 1
    }

    /// Counts a reply to the beat of that number.
    pub fn replied(&mut self, sequence: u64, server: ServerId, now: Instant) -> Reply {
        self.settle(now);
        if sequence >= self.sent {
            return Reply::Stray;
        }
        let Some(beat) = self.recent_mut(sequence) else {
            self.late += 1;
            return Reply::Late;
        };
        if beat.server.is_some() {
            self.duplicated += 1;
            return Reply::Duplicate;
        }
        beat.server = Some(server);
        let round_trip = now.saturating_duration_since(beat.at);
        self.count(sequence, server);
        Reply::First { round_trip }
    }

    /// Settles every beat: what has no reply by now is lost.
    pub fn finish(&mut self) {
        while let Some(beat) = self.recent.pop_front() {
            self.close(beat);
        }
    }

    /// Beats sent.
    pub fn sent_total(&self) -> u64 {
        self.sent
    }

    /// Beats answered at least once, and in time.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Beats answered by that server.
    pub fn answered_by(&self, server: ServerId) -> u64 {
        self.by_server.get(&server).copied().unwrap_or_default()
    }

    /// Beats that still wait for their reply.
    pub fn outstanding(&self) -> u64 {
        self.sent - self.answered - self.lost
    }

    /// Beats not answered within [`Tally::DEADLINE`].
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Replies to beats that had one.
    pub fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// First replies that came after the reply to a later beat.
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Replies to beats that were settled already.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Who served which part of the sequence, as far as it is settled; at most 1,024 parts.
    pub fn ranges(&self) -> &[Served] {
        &self.ranges
    }

    fn settle(&mut self, now: Instant) {
        while let Some(beat) =
            self.recent.pop_front_if(|beat| now.saturating_duration_since(beat.at) > Tally::DEADLINE)
        {
            self.close(beat);
        }
    }

    /// Closes the account of a beat that was just taken off the front.
    fn close(&mut self, beat: Sent) {
        let sequence = self.sent - 1 - self.recent.len() as u64;
        let Some(server) = beat.server else {
            self.lost += 1;
            return;
        };
        if let Some(range) = self.ranges.last_mut().filter(|range| range.server == server) {
            range.last = sequence;
        } else if self.ranges.len() < MAX_RANGES {
            self.ranges.push(Served { server, first: sequence, last: sequence });
        }
    }

    fn recent_mut(&mut self, sequence: u64) -> Option<&mut Sent> {
        let oldest = self.sent - self.recent.len() as u64;
        let at = usize::try_from(sequence.checked_sub(oldest)?).ok()?;
        self.recent.get_mut(at)
    }

    fn count(&mut self, sequence: u64, server: ServerId) {
        self.answered += 1;
        *self.by_server.entry(server).or_default() += 1;
        if self.highest > Some(sequence) {
            self.reordered += 1;
        }
        self.highest = self.highest.max(Some(sequence));
    }
}

const MAX_RANGES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: ServerId = ServerId(1);
    const BETA: ServerId = ServerId(2);
    const TICK: Duration = Duration::from_millis(10);

    /// A tally of `beats` beats, 10 ms apart, and the moment after the last.
    fn sent(beats: u64) -> (Tally, Instant) {
        let (mut tally, mut now) = (Tally::default(), Instant::now());
        for sequence in 0..beats {
            assert_eq!(tally.sent(now), sequence);
            now += TICK;
        }
        (tally, now)
    }

    #[test]
    fn beat_is_lost_only_after_the_deadline() {
        let (mut tally, now) = sent(1);
        tally.sent(now - TICK + Tally::DEADLINE);
        assert_eq!((tally.lost(), tally.outstanding()), (0, 2));
        tally.sent(now + Tally::DEADLINE);
        assert_eq!((tally.lost(), tally.outstanding()), (1, 2));
        assert_eq!(tally.replied(0, ALPHA, now + Tally::DEADLINE), Reply::Late);
        assert_eq!((tally.late(), tally.answered()), (1, 0));
    }

    #[test]
    fn second_reply_is_a_duplicate_and_counts_no_more() {
        let (mut tally, now) = sent(1);
        assert_eq!(tally.replied(0, ALPHA, now), Reply::First { round_trip: TICK });
        assert_eq!(tally.replied(0, BETA, now), Reply::Duplicate);
        assert_eq!((tally.answered(), tally.duplicated()), (1, 1));
        assert_eq!((tally.answered_by(ALPHA), tally.answered_by(BETA)), (1, 0));
    }

    #[test]
    fn reply_behind_a_later_one_is_reordered() {
        let (mut tally, now) = sent(4);
        for sequence in [0, 3, 1, 2] {
            tally.replied(sequence, ALPHA, now);
        }
        assert_eq!(tally.reordered(), 2);
    }

    #[test]
    fn reply_to_what_was_never_sent_is_a_stray() {
        let (mut tally, now) = sent(2);
        assert_eq!(tally.replied(2, ALPHA, now), Reply::Stray);
        assert_eq!(tally.replied(u64::MAX, ALPHA, now), Reply::Stray);
        assert_eq!(tally.answered(), 0);
    }

    #[test]
    fn ranges_follow_the_sequence_whatever_the_order_of_arrival() {
        let (mut tally, now) = sent(6);
        for (sequence, server) in [(4, BETA), (0, ALPHA), (5, BETA), (3, BETA), (1, ALPHA)] {
            tally.replied(sequence, server, now);
        }
        tally.finish();
        let alpha = Served { server: ALPHA, first: 0, last: 1 };
        let beta = Served { server: BETA, first: 3, last: 5 };
        assert_eq!(tally.ranges(), [alpha, beta]);
        assert_eq!((tally.lost(), tally.outstanding()), (1, 0));
    }

    #[test]
    fn long_game_keeps_the_last_moments_only() {
        let (tally, _) = sent(100_000);
        assert!(tally.recent.len() <= 201, "{}", tally.recent.len());
        assert_eq!(tally.lost() + tally.outstanding(), 100_000);
    }
}
