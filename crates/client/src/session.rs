//! A session over UDP: bound by a token, kept alive, migrated and resumed by control packets.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use udp_director_wire::{AckRequest, AckStatus, ControlPacket, Magic, Token};

use crate::inbox::Inbox;

/// A game client's place on a server, through one UDP data port of a director.
///
/// Every method takes `&self`: one task may receive while others send or migrate. Dropping it tells
/// nobody; the director ends the session after its idle timeout.
#[derive(Debug)]
pub struct Session {
    director: SocketAddr,
    options: SessionOptions,
    /// Guards what changes while the session lives; held for moments, never across an await.
    state: Mutex<State>,
    /// Fires when something was put into the inbox or the socket was replaced.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    socket: Arc<UdpSocket>,
    former: Option<Former>,
    token: Token,
    inbox: Inbox,
}

/// The socket before a resume: what the game server sent just before still comes there.
#[derive(Clone, Debug)]
struct Former {
    socket: Arc<UdpSocket>,
    until: Instant,
}

/// How a session talks to its director. The defaults are the director's own.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Begins every control packet; must be what the director has as `controlPacketMagicBytes`.
    pub magic: Magic,
    /// For how long a control packet is repeated without an acknowledgement: 5 s by default.
    pub deadline: Duration,
    /// Where to bind; `None` leaves address and port to the system.
    pub local: Option<SocketAddr>,
}

/// Why a session could not be bound, moved or used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The director refused the token; the session stays what it was before.
    #[error("{}", reason(*.0))]
    Refused(AckStatus),
    /// Nothing acknowledged the control packet. It may have been acted on all the same: asking
    /// again for the same token is safe and tells.
    #[error("no acknowledgement from {director} within {within:?}")]
    NoAnswer {
        /// The data port that was asked.
        director: SocketAddr,
        /// For how long the control packet was repeated.
        within: Duration,
    },
    /// The socket failed, or the network reported that nobody listens there. The session is not
    /// over by that: a later call may find the director again.
    #[error("the director's data port cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
}

impl Session {
    /// Redeems `token` on the data port at `director` and waits until it is acknowledged.
    ///
    /// # Errors
    /// [`SessionError::Refused`] with the reason; otherwise nothing answered before the deadline.
    pub async fn connect(director: SocketAddr, token: Token) -> Result<Session, SessionError> {
        Session::connect_with(director, token, SessionOptions::default()).await
    }

    /// Does the same as [`Session::connect`], with other options than the defaults.
    ///
    /// # Errors
    /// As for [`Session::connect`].
    pub async fn connect_with(
        director: SocketAddr,
        token: Token,
        options: SessionOptions,
    ) -> Result<Session, SessionError> {
        let socket = Arc::new(bind_toward(director, options.local).await?);
        let state = State { socket: socket.clone(), former: None, token, inbox: Inbox::default() };
        let session = Session { director, options, state: Mutex::new(state), changed: Notify::new() };
        session.switch(&socket, token).await?;
        Ok(session)
    }

    /// Sends one datagram to the game server.
    ///
    /// # Errors
    /// [`SessionError::Unreachable`]; the datagram is then lost.
    pub async fn send(&self, datagram: &[u8]) -> Result<(), SessionError> {
        let socket = self.socket();
        socket.send(datagram).await?;
        Ok(())
    }

    /// Receives one datagram of the game server into `buf` and says how long it is; a longer one is
    /// cut. Acknowledgements never show, given that `buf` has room for one (26 bytes). Nothing is
    /// lost when the call is cancelled.
    ///
    /// # Errors
    /// [`SessionError::Unreachable`]; going on to receive is fine.
    pub async fn recv(&self, buf: &mut [u8]) -> Result<usize, SessionError> {
        loop {
            let changed = self.changed.notified();
            if let Some(datagram) = self.state().inbox.take_datagram() {
                return Ok(copy_into(buf, &datagram));
            }
            let (socket, former) = self.sockets();
            tokio::select! {
                biased;
                () = readable(former.as_ref()) => self.drain(former),
                received = socket.recv(buf) => {
                    let len = received?;
                    match self.options.magic.parse_ack(&buf[..len]) {
                        None => return Ok(len),
                        Some(ack) => self.put(|inbox| inbox.put_ack(ack)),
                    }
                }
                () = changed => {}
            }
        }
    }

    /// Moves to the server of `token`, which becomes the session's token. The session can send and
    /// receive meanwhile; what arrives while nobody receives waits, up to 1,024 datagrams.
    ///
    /// # Errors
    /// [`SessionError::Refused`]: the session goes on where it was.
    pub async fn migrate(&self, token: Token) -> Result<(), SessionError> {
        self.switch(&self.socket(), token).await?;
        self.state().token = token;
        Ok(())
    }

    /// Shows the director, and every NAT on the way, that the client is still there. The game
    /// server sees nothing of it. Worth calling when nothing was sent for 20 s: home routers forget
    /// a UDP flow after about 30.
    ///
    /// # Errors
    /// [`SessionError::Refused`] says that the session is over.
    pub async fn keep_alive(&self) -> Result<(), SessionError> {
        let token = self.token();
        self.switch(&self.socket(), token).await
    }

    /// Takes the session along to a new local socket, after the network changed under the old one.
    /// The game server sees nothing of it.
    ///
    /// # Errors
    /// [`SessionError::Refused`] says that the session is over. On any error the old socket stays.
    pub async fn resume(&self) -> Result<(), SessionError> {
        // The old address is still bound, and may be gone from this host: the system chooses.
        let socket = Arc::new(bind_toward(self.director, None).await?);
        let token = self.token();
        self.switch(&socket, token).await?;
        let mut state = self.state();
        let former = std::mem::replace(&mut state.socket, socket);
        state.former = Some(Former { socket: former, until: Instant::now() + FORMER_KEPT });
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// The token that names the session now.
    pub fn token(&self) -> Token {
        self.state().token
    }

    /// The data port that the session goes through.
    pub fn director(&self) -> SocketAddr {
        self.director
    }

    /// The local address that the session sends from.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// Sends the control packet for `token` over `socket`, with growing pauses, until it is
    /// acknowledged. A busy director and a network that reports errors are given until the deadline.
    async fn switch(&self, socket: &UdpSocket, token: Token) -> Result<(), SessionError> {
        let within = self.options.deadline;
        let deadline = Instant::now() + within;
        let ack = AckRequest { opcode: AckRequest::SWITCH, nonce: fresh_nonce() };
        let packet = self.options.magic.encode_control(&ControlPacket { token, ack: Some(ack) });
        let mut failure = SessionError::NoAnswer { director: self.director, within };
        let mut pause = FIRST_PAUSE;
        while Instant::now() < deadline {
            if let Err(error) = socket.send(&packet).await {
                failure = error.into();
            }
            let repeat_at = deadline.min(Instant::now() + pause);
            while let Ok(answer) = timeout_at(repeat_at, self.status_of(socket, ack.nonce)).await {
                match answer {
                    Ok(AckStatus::Done) => return Ok(()),
                    Ok(AckStatus::Busy) => failure = SessionError::Refused(AckStatus::Busy),
                    Ok(status) => return Err(SessionError::Refused(status)),
                    Err(error) => failure = error.into(),
                }
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        Err(failure)
    }

    /// Waits for an acknowledgement of `nonce`, wherever it is read; data goes to the inbox.
    async fn status_of(&self, socket: &UdpSocket, nonce: [u8; 8]) -> io::Result<AckStatus> {
        let mut buf = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            let changed = self.changed.notified();
            if let Some(status) = self.state().inbox.take_ack(nonce) {
                return Ok(status);
            }
            let (_, former) = self.sockets();
            tokio::select! {
                biased;
                () = readable(former.as_ref()) => self.drain(former),
                received = socket.recv(&mut buf) => self.sort(&buf[..received?]),
                () = changed => {}
            }
        }
    }

    /// Keeps what has reached the former socket, and closes it when its time is over.
    fn drain(&self, former: Option<Former>) {
        let Some(former) = former else { return };
        let mut buf = vec![0; MAX_DATAGRAM_BYTES];
        for _ in 0..DRAIN_BUDGET {
            let Ok(len) = former.socket.try_recv(&mut buf) else { break };
            self.sort(&buf[..len]);
        }
        if former.until <= Instant::now() {
            self.state().former.take_if(|kept| Arc::ptr_eq(&kept.socket, &former.socket));
        }
    }

    fn sort(&self, datagram: &[u8]) {
        match self.options.magic.parse_ack(datagram) {
            Some(ack) => self.put(|inbox| inbox.put_ack(ack)),
            None => self.put(|inbox| inbox.put_datagram(datagram)),
        }
    }

    fn put(&self, what: impl FnOnce(&mut Inbox)) {
        what(&mut self.state().inbox);
        self.changed.notify_waiters();
    }

    fn socket(&self) -> Arc<UdpSocket> {
        self.state().socket.clone()
    }

    fn sockets(&self) -> (Arc<UdpSocket>, Option<Former>) {
        let state = self.state();
        (state.socket.clone(), state.former.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions { magic: Magic::default(), deadline: Duration::from_secs(5), local: None }
    }
}

async fn bind_toward(director: SocketAddr, local: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let any = match director {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(local.unwrap_or(any)).await?;
    socket.connect(director).await?;
    Ok(socket)
}

/// Waits until something has reached the former socket, or its time is over.
async fn readable(former: Option<&Former>) {
    match former {
        Some(former) => {
            let _ = timeout_at(former.until, former.socket.readable()).await;
        }
        None => std::future::pending().await,
    }
}

/// Makes a nonce that someone who cannot see the packets cannot guess: std seeds its hashers from
/// the system's randomness, and SipHash does not show the seed.
fn fresh_nonce() -> [u8; 8] {
    RandomState::new().hash_one("nonce").to_be_bytes()
}

fn copy_into(buf: &mut [u8], datagram: &[u8]) -> usize {
    let len = buf.len().min(datagram.len());
    buf[..len].copy_from_slice(&datagram[..len]);
    len
}

fn reason(status: AckStatus) -> &'static str {
    match status {
        AckStatus::Done => "the director accepted the token",
        AckStatus::InvalidToken => "the token is unknown, expired, used up or superseded",
        AckStatus::NotYours => "the token was given to another client",
        AckStatus::NoBackend => "the token's server is gone or cannot be reached on this port",
        AckStatus::Busy => "the director is full; try again later",
        AckStatus::UnknownOpcode => "the director does not know this kind of control packet",
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// For how long the socket before a resume is read: longer than the way from the game server.
const FORMER_KEPT: Duration = Duration::from_secs(2);
/// Datagrams read off the former socket before the other is looked at.
const DRAIN_BUDGET: usize = 64;

#[cfg(test)]
mod tests;
