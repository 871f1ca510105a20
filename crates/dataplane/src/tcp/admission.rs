//! From an accepted connection to a session: what the client presents, what the ledger says of it,
//! and the connection to the backend.

use std::sync::Arc;

use tokio::net::TcpStream;
use udp_director_core::{
    Admission, BackendAddr, Dropped, Event, Ledger, Moment, OpenedBy, Presented, Refusal,
};
use udp_director_wire::Token;

use super::connect::connect;
use super::flow::Flow;
use super::greeting::{Greeting, greet};
use super::origin::Origin;
use super::pump::Begun;
use super::sessions::Sessions;
use super::tally::Way;

/// Begins the session that the client's first bytes ask for.
///
/// # Errors
/// Says why the client is turned away. Then no backend has seen a byte of it, and a token that it
/// presented is as good as before.
pub(super) async fn admit(
    sessions: &Arc<Sessions>,
    client: &mut TcpStream,
    origin: &Origin,
) -> Result<Begun, Dropped> {
    let settings = Arc::clone(sessions.ledger.lock().settings());
    let token_waits = || sessions.ledger.lock().waits_for(origin.client.ip(), sessions.clock.now());
    let begun = match greet(client, &settings, token_waits).await {
        Greeting::Token(token) => bind(sessions, origin, token).await,
        Greeting::Data(first) if settings.has_default_endpoint => bind_default(sessions, origin, first).await,
        Greeting::Data(_) | Greeting::Nothing => return Err(Dropped::NoSession),
    };
    begun.map_err(Dropped::Refused)
}

/// Redeems a token. It is asked for twice, since a lock is not held while a backend is connected to,
/// and redeemed only then: a client whose backend does not answer may try again.
async fn bind(sessions: &Arc<Sessions>, origin: &Origin, token: Token) -> Result<Begun, Refusal> {
    let presented =
        Presented { token, listener: origin.listener, client: origin.client, own: None, control: false };
    let addr = match first_look(sessions, &presented) {
        Err(Refusal::UnknownToken) => {
            sessions.ledger.take_up(&token, origin.client.ip(), sessions.clock.now())?;
            first_look(sessions, &presented)?
        }
        outcome => outcome?,
    };
    let backend = connect(addr).await;

    let mut ledger = sessions.ledger.lock();
    let now = sessions.clock.now();
    let backend = match backend {
        Ok(backend) if bindable(&mut ledger, &presented, now)? == addr => backend,
        failed => {
            ledger.relinquish(&token, now);
            return Err(failed.err().unwrap_or(Refusal::BackendGone));
        }
    };
    let header = origin.header(ledger.settings());
    let lease = sessions.open(&mut ledger, origin, addr, OpenedBy::Token(token));
    drop(ledger);
    sessions.counters.happened(Event::OpenedByToken);
    Ok(Begun { lease, backend, forth: Flow::behind_token(Way::ToBackend, header) })
}

/// Where the token leads. One that waits for a backend which takes no more players leads to another one
/// from then on.
fn first_look(sessions: &Sessions, presented: &Presented) -> Result<BackendAddr, Refusal> {
    let random = sessions.random();
    let mut ledger = sessions.ledger.lock();
    ledger.reseat_waiting(&presented.token, presented.listener, random);
    bindable(&mut ledger, presented, sessions.clock.now())
}

/// A connection is a client of its own, so a token can do nothing but begin a session.
fn bindable(ledger: &mut Ledger, presented: &Presented, now: Moment) -> Result<BackendAddr, Refusal> {
    match ledger.admit(presented, now)? {
        Admission::Bind(target) => Ok(target.addr),
        Admission::Repeat | Admission::Migrate(..) | Admission::Resume(_) => Err(Refusal::WrongClient),
    }
}

/// Begins a session on the default endpoint with the bytes that turned out to be no token.
async fn bind_default(sessions: &Arc<Sessions>, origin: &Origin, first: Vec<u8>) -> Result<Begun, Refusal> {
    let random = sessions.random();
    let (seat, addr) = sessions.ledger.lock().admit_default(origin.listener, origin.client.ip(), random)?;
    let backend = connect(addr).await?;

    let mut ledger = sessions.ledger.lock();
    if ledger.admit_seat(&seat, origin.listener)? != addr {
        return Err(Refusal::BackendGone);
    }
    let header = origin.header(ledger.settings());
    let lease = sessions.open(&mut ledger, origin, addr, OpenedBy::DefaultEndpoint(seat));
    drop(ledger);
    sessions.counters.happened(Event::OpenedByDefault);
    if !first.is_empty() {
        lease.tally().received(Way::ToBackend, first.len());
    }
    Ok(Begun { lease, backend, forth: Flow::new(Way::ToBackend, [header, first].concat()) })
}
