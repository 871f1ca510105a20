//! The game of one UDP player: beats go out at a steady rate, and every reply is accounted for.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use udp_director_client::{Session, SessionError};
use udp_director_load::{Beat, ServerId};

use crate::account::{Account, Servers};
use crate::findings::Findings;

/// A game that is played over one way to a server.
#[derive(Debug)]
pub(crate) struct Game {
    player: u32,
    way: Way,
    ticks: Interval,
    /// What became of the beats.
    pub(crate) account: Account,
    findings: Findings,
}

/// The way to the server.
#[derive(Debug)]
pub(crate) enum Way {
    /// By token.
    Session(Arc<Session>),
    /// By the default endpoint.
    Plain(Arc<UdpSocket>),
}

impl Game {
    /// A game of that player, at so many beats a second; it is counted until it is dropped.
    pub(crate) fn new(player: u32, way: Way, servers: Servers, rate: u32, findings: &Findings) -> Game {
        findings.sums().players += 1;
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Game { player, way, ticks, account: Account::new(servers), findings: findings.clone() }
    }

    /// Plays until `end` is done.
    pub(crate) async fn play<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = pin!(end);
        let mut buf = [0; BUF_BYTES];
        loop {
            tokio::select! {
                done = &mut end => return done,
                received = self.way.recv(&mut buf) => self.received(received, &buf),
                _ = self.ticks.tick() => self.beat().await,
            }
        }
    }

    /// Sends one beat and waits for its reply, which can take long while the director waits for a
    /// token; says which server it was.
    pub(crate) async fn greet(&mut self) -> Option<ServerId> {
        self.beat().await;
        let mut buf = [0; BUF_BYTES];
        let reply = timeout(Account::DEADLINE, self.way.recv(&mut buf)).await;
        let beat = Beat::parse(&buf[..reply.ok()?.ok()?])?;
        self.account.replied(&beat, Instant::now());
        self.findings.sums().answered += 1;
        Some(beat.server)
    }

    /// Ends the game: no more beats, and every reply that is still under way is waited for.
    pub(crate) async fn end(mut self) {
        let deadline = Instant::now() + Account::DEADLINE;
        let mut buf = [0; BUF_BYTES];
        while self.account.outstanding() > 0 {
            let Ok(received) = tokio::time::timeout_at(deadline.into(), self.way.recv(&mut buf)).await else {
                break;
            };
            self.received(received, &buf);
        }
        self.settle(Instant::now() + Account::DEADLINE * 2);
    }

    async fn beat(&mut self) {
        let now = Instant::now();
        self.settle(now);
        let beat = Beat {
            player: self.player,
            sequence: self.account.sent(now),
            sent_at_nanos: 0,
            server: ServerId::UNKNOWN,
        };
        self.findings.sums().sent += 1;
        if let Err(error) = self.way.send(&beat.encode()).await
            && !is_refused(&error)
        {
            self.findings.fault(format!("player {} cannot send: {error}", self.player));
        }
    }

    fn received(&mut self, received: Result<usize, SessionError>, buf: &[u8]) {
        let len = match received {
            Ok(len) => len,
            // A port without sessions closes: the last may have ended with its server. What was sent
            // there counts as lost, and has to be explained as every loss.
            Err(error) if is_refused(&error) => return,
            Err(error) => {
                return self.findings.fault(format!("player {} cannot receive: {error}", self.player));
            }
        };
        match Beat::parse(&buf[..len]) {
            Some(beat) if beat.player == self.player => {
                let reply = self.account.replied(&beat, Instant::now());
                self.findings.replied(&beat, reply);
            }
            other => self.findings.strayed(self.player, other.map(|beat| (beat.player, beat.server))),
        }
    }

    fn settle(&mut self, now: Instant) {
        let lost = self.account.settle(now);
        self.findings.lost(self.player, &lost);
    }
}

fn is_refused(error: &SessionError) -> bool {
    matches!(error, SessionError::Unreachable(error) if error.kind() == ErrorKind::ConnectionRefused)
}

impl Drop for Game {
    fn drop(&mut self) {
        self.findings.sums().players -= 1;
    }
}

impl Way {
    async fn send(&self, datagram: &[u8]) -> Result<(), SessionError> {
        match self {
            Way::Session(session) => session.send(datagram).await,
            Way::Plain(socket) => Ok(socket.send(datagram).await.map(drop)?),
        }
    }

    async fn recv(&self, buf: &mut [u8]) -> Result<usize, SessionError> {
        match self {
            Way::Session(session) => session.recv(buf).await,
            Way::Plain(socket) => Ok(socket.recv(buf).await?),
        }
    }
}

/// A beat, with room for an acknowledgement; what is longer is nobody's.
const BUF_BYTES: usize = 64;
