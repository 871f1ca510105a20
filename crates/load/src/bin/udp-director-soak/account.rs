//! One player's account of its beats: which server had to answer each, and what may excuse it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use udp_director_load::{Beat, ServerId};

/// The beats of the last [`Account::DEADLINE`]; older ones are settled.
#[derive(Debug)]
pub(crate) struct Account {
    beats: VecDeque<Sent>,
    /// The number of the next beat.
    next: u64,
    /// The highest beat that was answered.
    highest: Option<u64>,
    /// What holds for beats that are sent now.
    terms: Terms,
    /// Who answered last.
    last: Option<ServerId>,
    /// What the player did last, and when that was done.
    act: Option<(&'static str, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    terms: Terms,
    act: Option<(&'static str, Instant)>,
    answered: bool,
}

/// A beat that nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// What was due to it.
    pub(crate) terms: Terms,
    /// What the player had done last when it was sent, and how long before.
    pub(crate) act: Option<(&'static str, Duration)>,
}

/// What is due to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Who may answer it.
    pub(crate) servers: Servers,
    /// What may have happened to it on the way.
    pub(crate) cause: Option<Cause>,
}

/// Which servers may answer a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// Whichever: the director chooses.
    Any,
    /// That one.
    One(ServerId),
    /// The one that is left or the one that is moved to.
    Either(ServerId, ServerId),
}

/// Something done on purpose that can cost a beat, or its place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The player's server was taken out of the inventory while it played there.
    Removed,
    /// The player went to another socket while the beat was under way, or within [`RESUMING`] before;
    /// replies to the old one are lost.
    Resumed,
    /// The player was moved while the beat was under way. This changes the order; it costs the beat
    /// only when its reply came after the grace, which the director counts.
    Migrated,
}

/// What an arriving reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// How well it came.
    pub(crate) kind: Kind,
    /// Whether a server sent it that had no business with it.
    pub(crate) misdelivered: bool,
}

/// How a reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first to its beat, and in order.
    First {
        /// From sending to arriving.
        round_trip: Duration,
    },
    /// The first to its beat, behind the reply to a later one.
    Reordered {
        /// From sending to arriving.
        round_trip: Duration,
        /// What explains it.
        cause: Option<Cause>,
    },
    /// The beat had been answered before.
    Duplicate,
    /// The beat was settled long ago.
    Late,
    /// No such beat was sent.
    Stray,
}

impl Account {
    /// How long a beat is awaited before it is lost: longer than any pause that a busy machine makes.
    pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

    /// An account without beats.
    pub(crate) fn new(servers: Servers) -> Account {
        let terms = Terms { servers, cause: None };
        Account { beats: VecDeque::new(), next: 0, highest: None, terms, last: None, act: None }
    }

    /// Notes a beat that is being sent, and gives its number.
    pub(crate) fn sent(&mut self, now: Instant) -> u64 {
        let terms = match self.act {
            Some((RESUME, at)) if now.saturating_duration_since(at) < RESUMING => {
                Terms { cause: self.terms.cause.or(Some(Cause::Resumed)), ..self.terms }
            }
            _ => self.terms,
        };
        self.beats.push_back(Sent { at: now, terms, act: self.act, answered: false });
        self.next += 1;
        self.next - 1
    }

    /// Notes a reply.
    pub(crate) fn replied(&mut self, beat: &Beat, now: Instant) -> Reply {
        let settled = self.next - self.beats.len() as u64;
        let place = beat.sequence.checked_sub(settled).and_then(|place| usize::try_from(place).ok());
        let Some(sent) = place.and_then(|place| self.beats.get_mut(place)) else {
            let kind = if beat.sequence < settled { Kind::Late } else { Kind::Stray };
            return Reply { kind, misdelivered: false };
        };
        let misdelivered = !sent.terms.servers.allow(beat.server);
        if std::mem::replace(&mut sent.answered, true) {
            return Reply { kind: Kind::Duplicate, misdelivered };
        }
        self.last = Some(beat.server);
        let round_trip = now.saturating_duration_since(sent.at);
        let kind = match self.highest > Some(beat.sequence) {
            true => Kind::Reordered { round_trip, cause: sent.terms.cause },
            false => Kind::First { round_trip },
        };
        self.highest = self.highest.max(Some(beat.sequence));
        Reply { kind, misdelivered }
    }

    /// Settles what is past its deadline, and gives the beats that are lost.
    pub(crate) fn settle(&mut self, now: Instant) -> Vec<Lost> {
        let mut lost = Vec::new();
        let due = |beat: &mut Sent| now.saturating_duration_since(beat.at) > Account::DEADLINE;
        while let Some(beat) = self.beats.pop_front_if(due) {
            if !beat.answered {
                let since = |at| beat.at.saturating_duration_since(at);
                lost.push(Lost { terms: beat.terms, act: beat.act.map(|(act, at)| (act, since(at))) });
            }
        }
        lost
    }

    /// How many beats still wait for their reply.
    pub(crate) fn outstanding(&self) -> usize {
        self.beats.iter().filter(|beat| !beat.answered).count()
    }

    /// Notes what the player has just done.
    pub(crate) fn did(&mut self, act: &'static str, now: Instant) {
        self.act = Some((act, now));
    }

    /// Says what holds for the beats that are sent from now on.
    pub(crate) fn expect(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Sets what may happen to the beats that are under way; those who may answer stay who they are
    /// unless `servers` names others. A graver cause that they have already stays.
    pub(crate) fn excuse(&mut self, cause: Cause, servers: Option<Servers>) {
        for beat in self.beats.iter_mut().filter(|beat| !beat.answered) {
            if beat.terms.cause.is_none_or(|known| known == Cause::Migrated) {
                beat.terms.cause = Some(cause);
            }
            beat.terms.servers = servers.unwrap_or(beat.terms.servers);
        }
    }

    /// Who answered last.
    pub(crate) fn last(&self) -> Option<ServerId> {
        self.last
    }
}

impl Servers {
    fn allow(self, server: ServerId) -> bool {
        match self {
            Servers::Any => true,
            Servers::One(one) => server == one,
            Servers::Either(left, joined) => server == left || server == joined,
        }
    }
}

impl Terms {
    /// That server answers, and nothing excuses it.
    pub(crate) fn at(server: ServerId) -> Terms {
        Terms { servers: Servers::One(server), cause: None }
    }

    /// The player is on its way from one server to another.
    pub(crate) fn between(left: ServerId, joined: ServerId) -> Terms {
        Terms { servers: Servers::Either(left, joined), cause: Some(Cause::Migrated) }
    }

    /// The player's server is gone.
    pub(crate) const REMOVED: Terms = Terms { servers: Servers::Any, cause: Some(Cause::Removed) };
}

/// The act after which replies may still go to the socket before: the client's worker acknowledges a
/// resume when it has told the worker that sends the replies, and does not wait until that has read it.
pub(crate) const RESUME: &str = "resume";
/// For how long that is to be expected: as long as the director itself forwards from the old address.
const RESUMING: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: ServerId = ServerId(1);
    const BETA: ServerId = ServerId(2);

    fn reply(sequence: u64, server: ServerId) -> Beat {
        Beat { player: 1, sequence, sent_at_nanos: 0, server }
    }

    fn account(beats: u64) -> (Account, Instant) {
        let (mut account, now) = (Account::new(Servers::One(ALPHA)), Instant::now());
        for sequence in 0..beats {
            assert_eq!(account.sent(now), sequence);
        }
        (account, now)
    }

    #[test]
    fn beat_without_a_reply_is_lost_after_the_deadline() {
        let (mut account, now) = account(2);
        account.replied(&reply(0, ALPHA), now);
        assert_eq!(account.settle(now + Account::DEADLINE), []);
        let past = now + Account::DEADLINE + Duration::from_millis(1);
        assert_eq!(account.settle(past), [Lost { terms: Terms::at(ALPHA), act: None }]);
        assert_eq!(account.replied(&reply(1, ALPHA), past).kind, Kind::Late);
        assert_eq!(account.replied(&reply(2, ALPHA), past).kind, Kind::Stray);
    }

    #[test]
    fn second_reply_is_a_duplicate() {
        let (mut account, now) = account(1);
        assert!(matches!(account.replied(&reply(0, ALPHA), now).kind, Kind::First { .. }));
        assert_eq!(account.replied(&reply(0, ALPHA), now).kind, Kind::Duplicate);
    }

    #[test]
    fn reply_behind_a_later_one_is_reordered_and_told_with_its_cause() {
        let (mut account, now) = account(3);
        account.replied(&reply(2, ALPHA), now);
        assert!(matches!(account.replied(&reply(0, ALPHA), now).kind, Kind::Reordered { cause: None, .. }));
        account.excuse(Cause::Migrated, None);
        let reordered = account.replied(&reply(1, ALPHA), now).kind;
        assert!(matches!(reordered, Kind::Reordered { cause: Some(Cause::Migrated), .. }));
    }

    #[test]
    fn reply_of_another_server_is_misdelivered_except_on_the_way_to_it() {
        let (mut account, now) = account(1);
        assert!(account.replied(&reply(0, BETA), now).misdelivered);
        account.expect(Terms::between(ALPHA, BETA));
        account.sent(now);
        assert!(!account.replied(&reply(1, BETA), now).misdelivered);
        account.expect(Terms::at(BETA));
        account.sent(now);
        assert!(account.replied(&reply(2, ALPHA), now).misdelivered);
    }

    #[test]
    fn excuse_holds_for_what_is_under_way_and_keeps_a_graver_cause() {
        let (mut account, now) = account(1);
        account.excuse(Cause::Removed, Some(Servers::Any));
        account.excuse(Cause::Migrated, None);
        account.sent(now);
        let lost = account.settle(now + Account::DEADLINE * 2);
        let terms: Vec<Terms> = lost.iter().map(|lost| lost.terms).collect();
        assert_eq!(terms, [Terms::REMOVED, Terms::at(ALPHA)]);
    }

    #[test]
    fn beat_soon_after_a_resume_may_be_lost_by_it() {
        let (mut account, now) = account(0);
        account.did(RESUME, now);
        account.sent(now + RESUMING / 2);
        account.sent(now + RESUMING);
        let lost = account.settle(now + Account::DEADLINE * 2);
        assert_eq!(lost[0].terms.cause, Some(Cause::Resumed));
        assert_eq!(lost[1], Lost { terms: Terms::at(ALPHA), act: Some((RESUME, RESUMING)) });
    }
}
