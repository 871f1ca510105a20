//! One player of the demo: plays through the director, is moved half-way, and plays the same game
//! straight to the servers beside it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use udp_director_client::{QueryClient, Session};
use udp_director_load::{Link, Pace, Player};

use super::stage::{LISTENER, Map, Stage};

/// A player with a session, and what it compares it with.
#[derive(Debug)]
pub(super) struct Member {
    /// Plays through the director.
    pub(super) player: Player,
    /// Play straight to alpha, and then to beta.
    pub(super) straight: [Player; 2],
    session: Arc<Session>,
    /// Locked for whole queries, by one task only.
    query: Mutex<QueryClient>,
    moved_within: OnceLock<Duration>,
}

impl Member {
    /// Asks for alpha's map and connects to what it gets.
    pub(super) async fn join(id: u32, query: SocketAddr, stage: &Stage) -> anyhow::Result<Member> {
        let mut query = QueryClient::connect(query).await?;
        let answer = query.query(&Map::Canyon.query()).await?;
        let data = query.data_addr(&answer, LISTENER).context("the answer names no game port")?;
        let session = Arc::new(Session::connect(data, answer.token).await?);
        let straight = [straight(id, stage.alpha.addr()).await?, straight(id, stage.beta.addr()).await?];
        Ok(Member {
            player: Player::new(id, Link::Session(session.clone())),
            straight,
            session,
            query: Mutex::new(query),
            moved_within: OnceLock::new(),
        })
    }

    /// Plays at that pace, is moved half-way, and waits for the last replies.
    pub(super) async fn play(&self, pace: Pace) -> anyhow::Result<()> {
        let half_way = pace.start + (pace.until - pace.start) / 2;
        let [before, after] = &self.straight;
        // Between the beats of this player and before the next one's: every beat has its own moment.
        let aside = pace.period / (2 * super::PLAYERS);
        let first = Pace { start: pace.start + aside, until: half_way, ..pace };
        let second = Pace { start: half_way + aside, until: pace.until, ..pace };
        let (moved, (), (), ()) = tokio::join!(
            self.move_at(half_way),
            self.player.play(pace),
            before.play(first),
            after.play(second),
        );
        moved.with_context(|| format!("player {} could not be moved", self.player.id()))?;
        tokio::join!(self.player.settle(), before.settle(), after.settle());
        Ok(())
    }

    /// The data port that it plays through.
    pub(super) fn data_addr(&self) -> SocketAddr {
        self.session.director()
    }

    /// From the control packet to its acknowledgement; `None` before the move.
    pub(super) fn moved_within(&self) -> Option<Duration> {
        self.moved_within.get().copied()
    }

    async fn move_at(&self, at: Instant) -> anyhow::Result<()> {
        tokio::time::sleep_until(at.into()).await;
        let answer = self.query.lock().await.query(&Map::Harbor.query()).await?;
        let asked = Instant::now();
        self.session.migrate(answer.token).await?;
        // It is moved once in a game, so nothing is there yet.
        let _ = self.moved_within.set(asked.elapsed());
        Ok(())
    }
}

async fn straight(id: u32, server: SocketAddr) -> anyhow::Result<Player> {
    let socket = UdpSocket::bind((server.ip(), 0)).await?;
    socket.connect(server).await?;
    Ok(Player::new(id, Link::Plain(socket)))
}
