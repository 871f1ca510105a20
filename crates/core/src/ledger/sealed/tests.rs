//! Sealed tokens of another replica: redeemed once a listener, by whom they are for, within the bounds.

use std::net::IpAddr;
use std::time::Duration;

use crate::addr::ClientAddr;
use crate::inventory::{BackendId, BackendSpec, Capacity, Inventory, Withheld};
use crate::ledger::tests::{GAME, VOICE, settings, spec};
use crate::ledger::{Admission, Issue, OpenedBy, Opening, Presented};
use crate::seal::{Contents, Handle, Key, KeyRing, Nonces, Seal};
use crate::session::{Place, SessionId};
use crate::settings::{Limits, ListenerId, Settings};
use crate::shared::SharedLedger;

use super::*;

const PLAYER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THIEF: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));
const LIFE: Duration = Duration::from_secs(30);

/// A replica that has given out nothing, and what seals tokens elsewhere.
struct Replica {
    ledger: SharedLedger,
    seal: Arc<Seal>,
    nonces: Nonces,
    now: Moment,
}

impl Replica {
    fn new(specs: Vec<BackendSpec>) -> Replica {
        Replica::within(Limits { max_sessions: 10, max_pending_tokens: 10 }, specs)
    }

    fn within(limits: Limits, specs: Vec<BackendSpec>) -> Replica {
        let key = Key::parse("a", &[b'a'; Key::DIGITS]).expect("a key");
        let seal = Arc::new(Seal::new(KeyRing::new("a", vec![key]).expect("a ring"), "", false));
        let settings = Settings { seal: Some(Arc::clone(&seal)), limits, ..settings() };
        let inventory = Inventory::default().next(specs, Vec::new());
        let ledger = SharedLedger::new(Arc::new(settings), Arc::new(inventory));
        let now = Moment::default();
        ledger.lock().tell_time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), now);
        Replica { ledger, seal, nonces: Nonces::new(7), now }
    }

    /// A token for that backend that another replica has given out.
    fn foreign(&self, backend: &str, bound_to: Option<IpAddr>) -> Token {
        let expires = self.ledger.lock().wall(self.now) + LIFE;
        let contents = Contents { expires, backend: Handle::of(backend), nonce: self.nonces.draw() };
        self.seal.seal(&contents, bound_to)
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        while self.ledger.lock().expire(self.now) {}
    }

    fn present(&self, presented: &Presented) -> Result<Admission, Refusal> {
        match self.ledger.lock().admit(presented, self.now) {
            Err(Refusal::UnknownToken) => {}
            outcome => return outcome,
        }
        self.ledger.take_up(&presented.token, presented.client.ip(), self.now)?;
        self.ledger.lock().admit(presented, self.now)
    }

    fn redeem(&self, token: Token, from: IpAddr, listener: ListenerId) -> Result<SessionId, Refusal> {
        let presented = presented(token, from, listener);
        let Admission::Bind(target) = self.present(&presented)? else { panic!("it is new") };
        let opening = Opening {
            listener,
            client: presented.client,
            local: IpAddr::from([198, 51, 100, 1]),
            place: Place::Stream,
            addr: target.addr,
            upstream: None,
            by: OpenedBy::Token(token),
        };
        Ok(self.ledger.lock().open(opening, self.now).id)
    }

    /// What becomes of a control packet with the token, from the address of a running session.
    fn control(&self, token: Token, from: IpAddr, own: SessionId) -> Result<Admission, Refusal> {
        self.present(&Presented { own: Some(own), control: true, ..presented(token, from, GAME) })
    }

    fn end(&self, session: SessionId) {
        self.ledger.lock().end(session, self.now).expect("it runs");
    }

    fn seats(&self, backend: &str) -> u32 {
        let ledger = self.ledger.lock();
        ledger.inventory().by_id(&BackendId::new(backend)).expect("a backend").load.seats()
    }
}

fn presented(token: Token, from: IpAddr, listener: ListenerId) -> Presented {
    let client = ClientAddr::new((from, 5000 + listener.0).into());
    Presented { token, listener, client, own: None, control: false }
}

fn two() -> Replica {
    Replica::new(vec![spec("a", Capacity::of(2, 0, 0)), spec("b", Capacity::Unbounded)])
}

#[test]
fn token_of_another_replica_opens_every_listener_once() {
    let mut replica = two();
    let token = replica.foreign("a", Some(PLAYER));
    let (game, voice) =
        (replica.redeem(token, PLAYER, GAME).expect("new"), replica.redeem(token, PLAYER, VOICE));
    assert_eq!(replica.seats("a"), 1, "one player");
    replica.end(game);
    replica.end(voice.expect("new"));
    assert_eq!(replica.seats("a"), 0);
    assert_eq!(replica.redeem(token, PLAYER, GAME), Err(Refusal::UsedToken));
    replica.pass(LIFE - Duration::from_micros(1));
    assert_eq!(replica.redeem(token, PLAYER, GAME), Err(Refusal::UsedToken), "as long as it is good");
    replica.pass(Duration::from_micros(1));
    assert_eq!(replica.ledger.lock().token_count(), 0);
    assert_eq!(
        replica.redeem(token, PLAYER, GAME),
        Err(Refusal::ExpiredToken),
        "forgotten, and worth nothing"
    );
}

#[test]
fn repeated_token_of_another_replica_changes_nothing() {
    let replica = two();
    let token = replica.foreign("a", Some(PLAYER));
    let session = replica.redeem(token, PLAYER, GAME).expect("new");
    let again = Presented { own: Some(session), ..presented(token, PLAYER, GAME) };
    assert!(matches!(replica.present(&again), Ok(Admission::Repeat)));
}

#[test]
fn token_bound_to_another_ip_is_as_good_as_none() {
    let replica = two();
    let token = replica.foreign("a", Some(PLAYER));
    assert_eq!(replica.redeem(token, THIEF, GAME), Err(Refusal::UnknownToken));
    replica.redeem(token, PLAYER, GAME).expect("nothing has happened to it");
    assert_eq!(replica.redeem(token, THIEF, VOICE), Err(Refusal::WrongClient));
}

#[test]
fn backend_must_be_there_with_room_and_take_players() {
    let draining = BackendSpec { withheld: Some(Withheld::Draining), ..spec("c", Capacity::Unbounded) };
    let replica = Replica::new(vec![spec("a", Capacity::of(1, 0, 0)), draining]);
    let redeem = |backend: &str| replica.redeem(replica.foreign(backend, Some(PLAYER)), PLAYER, GAME);
    redeem("a").expect("room for one");
    assert_eq!(redeem("a"), Err(Refusal::BackendFull));
    assert_eq!(redeem("c"), Err(Refusal::BackendGone));
    assert_eq!(redeem("nowhere"), Err(Refusal::BackendGone));
}

/// The two ids were found by trying; they have one handle.
#[test]
fn handle_that_two_backends_have_leads_to_neither() {
    let twins = ["gs/uid-171221", "gs/uid-1938816"];
    assert_eq!(Handle::of(twins[0]), Handle::of(twins[1]));
    let with = |ids: &[&str]| Replica::new(ids.iter().map(|id| spec(id, Capacity::Unbounded)).collect());
    let handle = |replica: &Replica, id| replica.ledger.lock().inventory().handle_of(&BackendId::new(id));
    let both = with(&[twins[0], "other", twins[1]]);
    assert_eq!(
        (handle(&both, twins[0]), handle(&both, twins[1])),
        (None, None),
        "nothing is sealed for them"
    );
    assert_eq!(handle(&both, "other"), Some(Handle::of("other")));
    let token = both.foreign(twins[0], Some(PLAYER));
    assert_eq!(both.redeem(token, PLAYER, GAME), Err(Refusal::BackendGone));
    let one = with(&[twins[0]]);
    assert_eq!(handle(&one, twins[0]), Some(Handle::of(twins[0])));
}

#[test]
fn at_the_bound_of_tokens_a_newcomer_is_refused_and_nothing_used_up_is_forgotten() {
    let limits = Limits { max_sessions: 2, max_pending_tokens: 1 };
    let mut replica = Replica::within(limits, vec![spec("b", Capacity::Unbounded)]);
    let used: Vec<Token> = (0..3).map(|_| replica.foreign("b", Some(PLAYER))).collect();
    for token in &used {
        replica.end(replica.redeem(*token, PLAYER, GAME).expect("room"));
    }
    let late = replica.foreign("b", Some(PLAYER));
    assert_eq!(replica.redeem(late, PLAYER, GAME), Err(Refusal::TokenLimit));
    for token in &used {
        assert_eq!(replica.redeem(*token, PLAYER, GAME), Err(Refusal::UsedToken));
    }
    replica.pass(LIFE);
    let fresh = replica.foreign("b", Some(PLAYER));
    replica.redeem(fresh, PLAYER, GAME).expect("those have expired");
}

#[test]
fn bound_token_of_another_replica_moves_the_session_of_its_own_ip() {
    let replica = two();
    let session = replica.redeem(replica.foreign("a", Some(PLAYER)), PLAYER, GAME).expect("new");
    let next = replica.foreign("b", Some(PLAYER));
    assert!(matches!(replica.control(next, PLAYER, session), Ok(Admission::Migrate(id, _)) if id == session));
    let thiefs = replica.foreign("b", Some(THIEF));
    assert_eq!(replica.control(thiefs, PLAYER, session).err(), Some(Refusal::UnknownToken));
}

/// Who spoofs a player's address with an unbound token of his own must not move the player, and nobody
/// knows here who has asked for that token.
#[test]
fn unbound_token_of_another_replica_begins_a_session_and_moves_none() {
    let replica = two();
    let bound = replica.redeem(replica.foreign("a", Some(PLAYER)), PLAYER, GAME).expect("new");
    let thiefs = replica.foreign("b", None);
    assert_eq!(replica.control(thiefs, PLAYER, bound).err(), Some(Refusal::WrongClient));

    let unbound = replica.redeem(replica.foreign("a", None), THIEF, GAME).expect("from anywhere");
    let other = replica.foreign("b", None);
    assert_eq!(replica.control(other, THIEF, unbound).err(), Some(Refusal::WrongClient), "two unknowns");
    replica.redeem(other, PLAYER, VOICE).expect("it is as good as before");
}

#[test]
fn nobody_opens_anything_before_the_time_is_told_or_without_a_key() {
    let replica = two();
    let token = replica.foreign("a", Some(PLAYER));
    replica.ledger.lock().tell_time(SystemTime::UNIX_EPOCH, replica.now);
    assert_eq!(replica.redeem(token, PLAYER, GAME), Err(Refusal::UnknownToken));
    let replica = two();
    replica.ledger.lock().configure(Arc::new(settings()));
    assert_eq!(replica.redeem(token, PLAYER, GAME), Err(Refusal::UnknownToken));
}

#[test]
fn token_that_is_known_is_not_given_out_once_more() {
    let replica = two();
    let token = replica.foreign("a", Some(PLAYER));
    replica.redeem(token, PLAYER, GAME).expect("new");
    let mut ledger = replica.ledger.lock();
    let seat = Seat::take(&ledger.inventory().backends()[1]).expect("room");
    let issue = Issue { token, seat, asked_by: PLAYER, bound: true, wanted: None, sticky_key: None };
    assert_eq!(ledger.issue(issue, replica.now), Err(crate::ledger::IssueError::Taken));
}
