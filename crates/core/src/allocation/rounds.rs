//! Rounds: which queries share an allocation that is under way.
//!
//! ```text
//! query --join--> Begins   -> allocates a server, and tells all who share the round
//!            \--> Shares   -> waits for the round of somebody else
//!             \-> Barren   -> nothing matches: that was said a moment ago
//! ```
//! A round goes on until its server can be played on or is known to be missing. So a server that has been
//! allocated is never overlooked by somebody who would rather allocate another.

use std::collections::HashMap;
use std::time::Duration;

use crate::time::Moment;

/// An allocation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoundId(u64);

/// What a query that wants a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It begins a round.
    Begins(RoundId),
    /// It shares a round that has begun.
    Shares(RoundId),
    /// Nothing matches: the same was asked [`Rounds::REST`] ago or less.
    Barren,
}

/// The rounds under way, by what is asked for.
///
/// Bounded by those who begin rounds, and by [`Rounds::MOST_BARREN`]: what is not noted beyond that is
/// asked again.
#[derive(Debug, Default)]
pub struct Rounds {
    last: u64,
    under_way: usize,
    /// The newest round with a place left.
    open: HashMap<String, Open>,
    /// When it was said that nothing matches.
    barren: HashMap<String, Moment>,
}

#[derive(Debug)]
struct Open {
    round: RoundId,
    places: u32,
}

impl Rounds {
    /// For how long an answer that nothing matches is not asked for again.
    pub const REST: Duration = Duration::from_millis(250);
    /// Of how many questions it is known that nothing matches.
    pub const MOST_BARREN: usize = 1024;

    /// Somebody wants what that text asks for, of which a server has `places` places.
    pub fn join(&mut self, wanted: &str, places: u32, now: Moment) -> Joined {
        if self.barren.get(wanted).is_some_and(|said| now - *said < Self::REST) {
            return Joined::Barren;
        }
        if let Some(open) = self.open.get_mut(wanted).filter(|open| open.places > 0) {
            open.places -= 1;
            return Joined::Shares(open.round);
        }
        self.last += 1;
        self.under_way += 1;
        let round = RoundId(self.last);
        if places > 1 {
            self.open.insert(wanted.to_owned(), Open { round, places: places - 1 });
        }
        Joined::Begins(round)
    }

    /// Somebody who shared a round waits for it no longer.
    pub fn leave(&mut self, wanted: &str, round: RoundId) {
        if let Some(open) = self.open.get_mut(wanted).filter(|open| open.round == round) {
            open.places += 1;
        }
    }

    /// Whether it was said that nothing matches since somebody began to ask: that answers him too.
    pub fn is_barren_since(&self, wanted: &str, began: Moment) -> bool {
        self.barren.get(wanted).is_some_and(|said| *said >= began)
    }

    /// The round is over.
    pub fn end(&mut self, wanted: &str, round: RoundId, nothing_matches: bool, now: Moment) {
        self.under_way -= 1;
        if self.open.get(wanted).is_some_and(|open| open.round == round) {
            self.open.remove(wanted);
        }
        if nothing_matches {
            self.note_barren(wanted, now);
        }
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    fn note_barren(&mut self, wanted: &str, now: Moment) {
        if self.barren.len() >= Self::MOST_BARREN {
            self.barren.retain(|_, said| now - *said < Self::REST);
        }
        if self.barren.len() < Self::MOST_BARREN {
            self.barren.insert(wanted.to_owned(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::since_epoch(Duration::from_millis(millis))
    }

    /// Which rounds so many queries get into, one after another.
    fn joined(rounds: &mut Rounds, count: usize, places: u32) -> Vec<Joined> {
        (0..count).map(|_| rounds.join("arena", places, at(0))).collect()
    }

    #[test]
    fn as_many_share_a_round_as_a_server_has_places() {
        use Joined::{Begins, Shares};
        for (places, expected) in [
            (1, vec![Begins(RoundId(1)), Begins(RoundId(2)), Begins(RoundId(3))]),
            (2, vec![Begins(RoundId(1)), Shares(RoundId(1)), Begins(RoundId(2))]),
            (3, vec![Begins(RoundId(1)), Shares(RoundId(1)), Shares(RoundId(1))]),
        ] {
            assert_eq!(joined(&mut Rounds::default(), 3, places), expected, "{places}");
        }
    }

    #[test]
    fn a_hundred_queries_for_servers_of_ten_begin_ten_rounds() {
        let mut rounds = Rounds::default();
        let begun =
            joined(&mut rounds, 100, 10).into_iter().filter(|joined| matches!(joined, Joined::Begins(_)));
        assert_eq!((begun.count(), rounds.under_way()), (10, 10));
    }

    #[test]
    fn who_wants_something_else_shares_nothing() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.join("arena", 9, at(0)), Joined::Begins(RoundId(1)));
        assert_eq!(rounds.join("lobby", 9, at(0)), Joined::Begins(RoundId(2)));
    }

    #[test]
    fn round_that_is_over_is_shared_by_nobody() {
        let mut rounds = Rounds::default();
        rounds.join("arena", 9, at(0));
        rounds.end("arena", RoundId(1), false, at(1));
        assert_eq!(rounds.join("arena", 9, at(1)), Joined::Begins(RoundId(2)));
        rounds.end("arena", RoundId(2), false, at(2));
        assert_eq!(rounds.under_way(), 0);
        assert!(rounds.open.is_empty());
    }

    #[test]
    fn place_of_somebody_who_left_is_free_again() {
        let mut rounds = Rounds::default();
        joined(&mut rounds, 2, 2);
        rounds.leave("arena", RoundId(1));
        assert_eq!(rounds.join("arena", 2, at(0)), Joined::Shares(RoundId(1)));
        assert_eq!(rounds.join("arena", 2, at(0)), Joined::Begins(RoundId(2)));
        rounds.leave("arena", RoundId(1));
        assert_eq!(rounds.join("arena", 2, at(0)), Joined::Shares(RoundId(2)), "the older is full for good");
    }

    #[test]
    fn answer_that_nothing_matches_holds_for_a_moment_and_for_all_who_asked_before() {
        let mut rounds = Rounds::default();
        joined(&mut rounds, 2, 1);
        rounds.end("arena", RoundId(1), true, at(100));
        assert!(rounds.is_barren_since("arena", at(0)), "the second need not ask any more");
        assert!(!rounds.is_barren_since("arena", at(101)) && !rounds.is_barren_since("lobby", at(0)));
        assert_eq!(rounds.join("arena", 1, at(349)), Joined::Barren);
        assert_eq!(rounds.join("lobby", 1, at(349)), Joined::Begins(RoundId(3)));
        assert_eq!(rounds.join("arena", 1, at(350)), Joined::Begins(RoundId(4)));
    }

    #[test]
    fn what_is_known_of_barren_questions_is_bounded() {
        let mut rounds = Rounds::default();
        let ask = |rounds: &mut Rounds, from: usize, now: Moment| {
            for question in from..from + 2 * Rounds::MOST_BARREN {
                let Joined::Begins(round) = rounds.join(&question.to_string(), 1, now) else {
                    panic!("a new question")
                };
                rounds.end(&question.to_string(), round, true, now);
            }
        };
        ask(&mut rounds, 0, at(0));
        assert_eq!(rounds.barren.len(), Rounds::MOST_BARREN);
        ask(&mut rounds, 1_000_000, at(1000));
        assert!(rounds.barren.contains_key("1000000"), "old ones make room");
        assert_eq!(rounds.barren.len(), Rounds::MOST_BARREN);
    }
}
