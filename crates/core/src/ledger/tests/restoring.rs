//! What outlives a process: records out of one ledger, into the next.

use std::collections::HashMap;

use super::*;
use crate::session::{Upstream, UpstreamIndex, UpstreamSocket, WorkerId};

/// An upstream socket on a port.
#[derive(Debug)]
struct Bound(u16);

impl UpstreamSocket for Bound {
    fn handle(&self) -> i32 {
        0
    }

    fn port(&self) -> u16 {
        self.0
    }
}

/// No digest, but another token for each.
fn reversed(token: &Token) -> Token {
    stand_in(token.as_str().chars().rev().collect::<String>().as_bytes())
}

impl Desk {
    /// The same over UDP.
    fn over_udp(specs: Vec<BackendSpec>) -> Desk {
        let mut desk = Desk::new(specs);
        let mut settings = settings();
        settings.listeners.iter_mut().for_each(|listener| listener.protocol = Protocol::Udp);
        desk.ledger.configure(Arc::new(settings));
        desk.ledger.follow_changes();
        desk
    }

    fn open(&mut self, token: Token, listener: ListenerId) -> Result<SessionId, Refusal> {
        let client = ClientAddr::new(([192, 0, 2, 1], 5000 + listener.0).into());
        let presented = Presented { token, listener, client, own: None, control: false };
        let Admission::Bind(target) = self.ledger.admit(&presented, self.now)? else { panic!("it is new") };
        let worker = WorkerId(0);
        let socket = Arc::new(Bound(40_000 + listener.0));
        let opening = Opening {
            listener,
            client,
            local: IpAddr::from([198, 51, 100, 1]),
            place: Place::Worker(worker),
            addr: target.addr,
            upstream: Some(Upstream { worker, index: UpstreamIndex(0), socket }),
            by: OpenedBy::Token(token),
        };
        Ok(self.ledger.open(opening, self.now).id)
    }

    /// A ledger over those backends that has what this one's records say, but for sessions that are
    /// lost.
    fn restarted(&self, specs: Vec<BackendSpec>, lost: &[SessionId]) -> Desk {
        let mut next = Desk::over_udp(specs);
        next.ledger.recognise_by(reversed);
        for token in self.ledger.known_tokens() {
            let record = self.ledger.token_record(&token).expect("it is known");
            let (token, backend) = (reversed(&token), next.backend(&record.backend.spec.name));
            next.ledger.restore_token(TokenRecord { token, backend, ..record }, next.now);
        }
        for id in self.ledger.session_ids().filter(|id| !lost.contains(id)) {
            let record = self.ledger.session_record(id).expect("it runs");
            let backend = next.backend(&record.backend.spec.name);
            let socket = Arc::new(Bound(record.upstream_port));
            let upstream = Upstream { worker: record.worker, index: UpstreamIndex(0), socket };
            let record = SessionRecord { token: record.token.map(|t| reversed(&t)), backend, ..record };
            next.ledger.restore_session(&record, upstream, next.now).expect("there is room");
        }
        next.ledger.conclude_restoring(next.now);
        next
    }

    fn present(&mut self, token: Token, own: Option<SessionId>, port: u16) -> Result<Admission, Refusal> {
        let client = ClientAddr::new(([192, 0, 2, 1], port).into());
        self.ledger.admit(&Presented { token, listener: GAME, client, own, control: true }, self.now)
    }
}

fn roomy() -> Vec<BackendSpec> {
    vec![spec("a", Capacity::Unbounded)]
}

#[test]
fn restored_token_is_known_by_itself_and_never_by_what_stands_in_for_it() {
    let mut desk = Desk::over_udp(roomy());
    let token = desk.ask("a", Some("party")).expect("room");
    let mut next = desk.restarted(roomy(), &[]);
    assert_eq!((next.ledger.waiting_count(), next.seats("a")), (1, 1));
    assert_eq!(next.remembered("party"), Some(BackendId::new("a")));
    assert!(next.ledger.awaits_token(GAME, IpAddr::from([192, 0, 2, 1]), next.now));
    assert_eq!(next.open(reversed(&token), GAME), Err(Refusal::UnknownToken));
    next.open(token, GAME).expect("it waits");
    next.open(token, VOICE).expect("on each listener once");
    assert_eq!((next.ledger.waiting_count(), next.seats("a")), (0, 1));
}

#[test]
fn restored_token_expires_when_it_would_have() {
    let mut desk = Desk::over_udp(roomy());
    let token = desk.ask("a", None).expect("room");
    let mut next = desk.restarted(roomy(), &[]);
    next.pass(TTL);
    assert_eq!(next.open(token, GAME), Err(Refusal::UnknownToken));
    assert_eq!((next.ledger.token_count(), next.seats("a")), (0, 0));
}

#[test]
fn restored_session_keeps_its_seat_beyond_capacity_and_its_token_resumes_it() {
    let mut desk = Desk::over_udp(roomy());
    let token = desk.ask("a", None).expect("room");
    let (game, voice) = (desk.open(token, GAME).expect("new"), desk.open(token, VOICE).expect("new"));
    let mut next = desk.restarted(vec![spec("a", Capacity::of(0, 0, 0))], &[]);
    assert_eq!((next.seats("a"), next.ask("a", None)), (1, None), "who plays shares a seat");
    assert!(matches!(next.present(token, None, 6000), Ok(Admission::Resume(id)) if id == game));
    assert!(matches!(next.present(token, Some(game), 5000), Ok(Admission::Repeat)));
    next.end(game);
    next.end(voice);
    assert_eq!((next.seats("a"), next.ledger.session_count()), (0, 0));
}

#[test]
fn new_session_has_another_number_than_those_of_before() {
    let mut desk = Desk::over_udp(roomy());
    let token = desk.ask("a", None).expect("room");
    let before = desk.open(token, GAME).expect("new");
    let mut next = desk.restarted(roomy(), &[]);
    let after = next.open(token, VOICE).expect("new");
    assert!(after > before);
}

#[test]
fn token_of_a_session_that_is_lost_gives_its_seat_back_and_begins_no_other() {
    let mut desk = Desk::over_udp(roomy());
    let token = desk.ask("a", None).expect("room");
    let game = desk.open(token, GAME).expect("new");
    let mut next = desk.restarted(roomy(), &[game]);
    assert_eq!(next.seats("a"), 0);
    assert_eq!(next.open(token, GAME), Err(Refusal::UsedToken));
}

#[test]
fn drain_refuses_newcomers_and_nobody_else() {
    let mut desk = Desk::over_udp(roomy());
    let (token, late) = (desk.ask("a", None).expect("room"), desk.ask("a", None).expect("room"));
    let game = desk.open(token, GAME).expect("new");
    desk.ledger.drain();
    assert_eq!(desk.open(late, VOICE), Err(Refusal::Draining));
    let seat = Seat::take(&desk.backend("a")).expect("room");
    assert_eq!(desk.ledger.admit_seat(&seat, GAME), Err(Refusal::Draining));
    assert!(matches!(desk.present(token, None, 6000), Ok(Admission::Resume(id)) if id == game));
    assert!(matches!(desk.present(late, Some(game), 5000), Ok(Admission::Migrate(id, _)) if id == game));
}

/// What a token's record says, without what changes by itself.
fn said(record: &TokenRecord) -> (String, bool, Moment, Vec<UseRecord>) {
    (record.backend.spec.name.clone(), record.seated, record.expires, record.uses.clone())
}

/// What somebody knows who has done nothing but follow the changes.
#[derive(Default)]
struct Mirror {
    tokens: HashMap<Token, (String, bool, Moment, Vec<UseRecord>)>,
    sticky: HashMap<String, StickyRecord>,
}

impl Mirror {
    fn follow(&mut self, ledger: &mut Ledger) {
        let changes = ledger.take_changes();
        for token in changes.tokens {
            match ledger.token_record(&token) {
                Some(record) => drop(self.tokens.insert(token, said(&record))),
                None => drop(self.tokens.remove(&token)),
            }
        }
        for key in changes.sticky_keys {
            match ledger.sticky_record(&key) {
                Some(record) => drop(self.sticky.insert(key.text().to_owned(), record)),
                None => drop(self.sticky.remove(key.text())),
            }
        }
    }
}

proptest! {
    #[test]
    fn who_follows_the_changes_knows_every_token_and_key(acts in prop::collection::vec(any_act(), 1..150)) {
        let mut desk = Desk::new(with_capacities([Some(2), Some(3), Some(1)]));
        desk.ledger.follow_changes();
        let (mut tokens, mut mirror) = (Vec::new(), Mirror::default());
        for act in &acts {
            desk.act(act, &mut tokens);
            mirror.follow(&mut desk.ledger);
            let known = desk.ledger.known_tokens();
            prop_assert_eq!(mirror.tokens.len(), known.len(), "{:?}", act);
            for token in known {
                let record = desk.ledger.token_record(&token).expect("it is known");
                prop_assert_eq!(mirror.tokens.get(&token), Some(&said(&record)), "{:?}", act);
            }
            for key in desk.ledger.resting_sticky_keys() {
                let record = desk.ledger.sticky_record(&key);
                prop_assert_eq!(mirror.sticky.get(key.text()), record.as_ref());
            }
        }
    }
}

#[test]
fn changes_that_find_no_room_are_known_to_be_missing() {
    let mut desk = Desk::over_udp(roomy());
    let token = desk.ask("a", None).expect("room");
    let game = desk.open(token, GAME).expect("new");
    for _ in 0..=Changes::MOST {
        desk.ledger.park(game);
    }
    let changes = desk.ledger.take_changes();
    assert_eq!((changes.sessions.len(), changes.incomplete), (Changes::MOST, true));
    assert!(!desk.ledger.take_changes().incomplete);
}
