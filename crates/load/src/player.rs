//! A player: sends beats at a steady rate over one link, and records what comes back.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval_at, timeout_at};
use udp_director_client::{Session, SessionError};

use crate::beat::{Beat, ServerId};
use crate::record::Record;
use crate::tally::Tally;

/// A simulated player.
#[derive(Debug)]
pub struct Player {
    id: u32,
    link: Link,
    born: Instant,
    /// Guards the findings, which may be read while the game goes on.
    record: Mutex<Record>,
}

/// The way from a player to its server.
#[derive(Debug)]
pub enum Link {
    /// Through a director, by token. Shared, so that the session can be migrated while it plays.
    Session(Arc<Session>),
    /// A connected socket: to a director's default endpoint, or straight to a game server.
    Plain(UdpSocket),
}

/// When beats are sent: every `period` from `start`, and none at or after `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// When the first beat is sent.
    pub start: Instant,
    /// The time between two beats.
    pub period: Duration,
    /// When to stop.
    pub until: Instant,
}

impl Player {
    /// Makes a player with an empty record.
    pub fn new(id: u32, link: Link) -> Player {
        Player { id, link, born: Instant::now(), record: Mutex::default() }
    }

    /// Plays at that pace, and receives meanwhile. The rate does not depend on what comes back: a
    /// beat whose time passed is sent at once, never left out.
    pub async fn play(&self, pace: Pace) {
        let mut ticks = interval_at(pace.start.into(), pace.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut buf = [0; BUF_BYTES];
        loop {
            tokio::select! {
                received = self.link.recv(&mut buf) => self.note(received, &buf),
                at = ticks.tick() => {
                    if at >= pace.until.into() {
                        return;
                    }
                    self.beat().await;
                }
            }
        }
    }

    /// Waits for the replies that are on their way, [`Tally::DEADLINE`] at most, and a moment more
    /// for duplicates; then what has no reply is lost.
    pub async fn settle(&self) {
        let deadline = Instant::now() + Tally::DEADLINE;
        let mut buf = [0; BUF_BYTES];
        while Instant::now() < deadline {
            let until = match self.record().tally.outstanding() {
                0 => deadline.min(Instant::now() + QUIET),
                _ => deadline,
            };
            match timeout_at(until.into(), self.link.recv(&mut buf)).await {
                Ok(received) => self.note(received, &buf),
                Err(_) => break,
            }
        }
        self.record().tally.finish();
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it found so far. The game stands still while this is held.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nothing panics while it holds the record")
    }

    async fn beat(&self) {
        let now = Instant::now();
        let beat = Beat {
            player: self.id,
            sequence: self.record().tally.sent(now),
            sent_at_nanos: now.duration_since(self.born).as_nanos() as u64,
            server: ServerId::UNKNOWN,
        };
        if self.link.send(&beat.encode()).await.is_err() {
            self.record().socket_errors += 1;
        }
    }

    fn note(&self, received: Result<usize, SessionError>, buf: &[u8]) {
        let now = Instant::now();
        let mut record = self.record();
        match received.map(|len| Beat::parse(&buf[..len])) {
            Ok(Some(beat)) if beat.player == self.id => record.replied(&beat, now),
            Ok(_) => {}
            Err(_) => record.socket_errors += 1,
        }
    }
}

impl Link {
    async fn send(&self, datagram: &[u8]) -> Result<(), SessionError> {
        match self {
            Link::Session(session) => session.send(datagram).await,
            Link::Plain(socket) => Ok(socket.send(datagram).await.map(drop)?),
        }
    }

    async fn recv(&self, buf: &mut [u8]) -> Result<usize, SessionError> {
        match self {
            Link::Session(session) => session.recv(buf).await,
            Link::Plain(socket) => Ok(socket.recv(buf).await?),
        }
    }
}

/// A beat with room for an acknowledgement; what is longer is not ours.
const BUF_BYTES: usize = 64;
/// How long nothing may arrive before everything has.
const QUIET: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::EchoServer;

    async fn plain(to: std::net::SocketAddr) -> Link {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        socket.connect(to).await.expect("loopback is there");
        Link::Plain(socket)
    }

    fn pace(beats: u32) -> Pace {
        let (start, period) = (Instant::now(), Duration::from_millis(1));
        Pace { start, period, until: start + period * beats }
    }

    #[tokio::test]
    async fn player_finds_every_beat_at_the_server_that_signed_it() {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let server = EchoServer::start(listen, "alpha", ServerId(9)).expect("a free port");
        let player = Player::new(1, plain(server.addr()).await);
        player.play(pace(50)).await;
        player.settle().await;
        let record = player.record();
        assert_eq!(record.tally.sent_total(), 50);
        assert_eq!(record.tally.answered_by(ServerId(9)), 50);
        assert_eq!(record.round_trips.count(), 50);
        assert_eq!(record.gaps.count(), 49);
    }

    #[tokio::test]
    async fn lost_and_duplicated_beats_are_found() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let player = Player::new(1, plain(server.local_addr().expect("bound")).await);
        let lossy = async {
            let mut buf = [0; 64];
            for n in 0..30 {
                let (len, from) = server.recv_from(&mut buf).await.expect("a beat");
                for _ in 0..n % 3 {
                    server.send_to(&buf[..len], from).await.expect("loopback takes it");
                }
            }
        };
        tokio::join!(player.play(pace(30)), lossy);
        player.settle().await;
        let record = player.record();
        let tally = &record.tally;
        assert_eq!((tally.answered(), tally.lost(), tally.duplicated()), (20, 10, 10));
    }
}
