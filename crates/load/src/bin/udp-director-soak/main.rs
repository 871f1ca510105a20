//! The `udp-director-soak` program: a director under load for an hour, with everything going on.
#![forbid(unsafe_code)]

mod account;
mod changes;
mod director;
mod files;
mod findings;
mod fleet;
mod game;
mod patience;
mod player;
mod proc;
mod random;
mod sample;
mod soak;
mod stream;
mod verdict;
mod visitor;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use soak::{Plan, Soak};

/// Plays on a director for a long time: players are moved, resume, leave and come back, while its
/// configuration and its inventory change and some files are bad. A line every 10 s says how it goes.
///
/// The director runs as a child on free ports. Exit code 0: passed, 1: failed, 2: bad usage. An
/// interrupt ends it early, with the same checks; a second one ends it at once.
#[derive(Debug, Parser)]
#[command(name = "udp-director-soak", after_help = verdict::RULES)]
struct Args {
    /// The director's program.
    #[arg(long, value_name = "PATH")]
    director: PathBuf,
    /// For how many minutes players play; two to four more pass until nothing is left of them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// How many players there are: 3 in 20 without a token, 1 in 20 on TCP.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=2_000))]
    players: u32,
    /// What chance follows from: who does what, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes each sample as a line of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match soak(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("udp-director-soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(args: Args) -> anyhow::Result<bool> {
    let mut interrupts = Interrupts::new().context("cannot wait for signals")?;
    let plan = Plan {
        director: args.director,
        span: Duration::from_secs(60) * args.minutes,
        players: args.players,
        seed: args.seed,
        json: args.json,
    };
    let soak = Soak::begin(plan).await?;
    let (first, begun) = tokio::sync::oneshot::channel();
    let second = async move {
        interrupts.next().await;
        // Nobody listens any more when the players have left already.
        let _ = first.send(());
        interrupts.next().await;
    };
    tokio::select! {
        passed = soak.run(async { drop(begun.await) }) => passed,
        () = second => anyhow::bail!("interrupted a second time"),
    }
}

/// SIGINT and SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> std::io::Result<Interrupts> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Interrupts { interrupt: interrupt?, terminate: terminate? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
