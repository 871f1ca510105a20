//! The demo: two game servers, a director and eight players on this machine, and a move in mid-game.
//!
//! ```text
//! players --query--> director     map=canyon is alpha, map=harbor is beta
//! players ==60 Hz==> director ==> alpha, then beta     through the director
//! players ==60 Hz===============> alpha, then beta     straight, for comparison
//! ```
//! The director itself is started by whoever runs the demo:
//! `Demo::prepare`, a director on [`Demo::config_file`], then [`Demo::run`] with its query port.

mod member;
mod outcome;
mod report;
mod stage;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};
use udp_director_load::Pace;

use member::Member;
use outcome::Outcome;
use stage::Stage;

/// What the `demo` command takes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DemoArgs {
    /// Leaves everything running afterwards, on the default ports, with commands to try.
    #[arg(long)]
    pub keep: bool,
    /// For how many seconds the players play.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub seconds: u32,
}

/// A demo whose game servers run and whose director is yet to be started.
#[derive(Debug)]
pub struct Demo {
    args: DemoArgs,
    stage: Stage,
}

impl Demo {
    /// Starts the game servers, and writes the director's configuration and inventory into a
    /// directory that is removed with the demo.
    ///
    /// # Errors
    /// When no port is free, or the temporary directory cannot be written.
    pub fn prepare(args: DemoArgs) -> anyhow::Result<Demo> {
        let stage = Stage::set(args.keep)?;
        Ok(Demo { args, stage })
    }

    /// The configuration for the director: on 127.0.0.1, on the default ports if it is to be kept,
    /// else on free ones.
    pub fn config_file(&self) -> &Path {
        self.stage.config_file()
    }

    /// Plays through the director at `query`, shows it on `out`, and says whether all went well:
    /// nothing lost, nothing duplicated, every player served by alpha and then by beta.
    ///
    /// With `--keep` it returns only when interrupted.
    ///
    /// # Errors
    /// When a player gets no server, cannot be moved, or the demo is interrupted.
    pub async fn run(&self, query: SocketAddr, out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
        let length = Duration::from_secs(self.args.seconds.into());
        let game = async {
            let outcome = self.play(query, length, out).await?;
            write!(out, "{}", report::summary(&outcome))?;
            anyhow::Ok(outcome.faults().is_empty())
        };
        let passed = tokio::select! {
            passed = game => passed?,
            _ = interrupted() => anyhow::bail!("interrupted"),
        };
        if self.args.keep {
            write!(out, "{}", report::commands(query, &self.stage))?;
            interrupted().await.context("cannot wait for signals")?;
        }
        Ok(passed)
    }

    async fn play(
        &self,
        query: SocketAddr,
        length: Duration,
        out: &mut (dyn Write + Send),
    ) -> anyhow::Result<Outcome> {
        let team = self.join(query).await?;
        write!(out, "{}", report::opening(query, team[0].data_addr(), &self.stage, length))?;
        let mut playing = JoinSet::new();
        let start = Instant::now() + PERIOD;
        for (n, member) in (0..).zip(&team) {
            let pace = Pace { start: start + PERIOD * n / PLAYERS, period: PERIOD, until: start + length };
            let member = member.clone();
            playing.spawn(async move { member.play(pace).await });
        }
        let mut seconds = interval_at((start + SECOND).into(), SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut shown = Outcome::default();
        loop {
            tokio::select! {
                ended = playing.join_next() => match ended {
                    Some(ended) => ended.context("a player broke off")??,
                    None => return Ok(Outcome::of(&team)),
                },
                at = seconds.tick() => {
                    let now = Outcome::of(&team);
                    write!(out, "{}", report::live(at.into_std() - start, &shown, &now))?;
                    shown = now;
                }
            }
        }
    }

    async fn join(&self, query: SocketAddr) -> anyhow::Result<Vec<Arc<Member>>> {
        let mut team = Vec::new();
        for id in 1..=PLAYERS {
            let member = Member::join(id, query, &self.stage).await;
            team.push(Arc::new(member.with_context(|| format!("player {id} could not join"))?));
        }
        Ok(team)
    }
}

/// Waits for SIGINT or SIGTERM.
async fn interrupted() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

const PLAYERS: u32 = 8;
const RATE_HZ: u32 = 60;
const SECOND: Duration = Duration::from_secs(1);
/// Rounded up, so that no player fits one more beat into the game.
const PERIOD: Duration = Duration::from_nanos(1_000_000_000_u64.div_ceil(RATE_HZ as u64));
