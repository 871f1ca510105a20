//! The `udp-director-load` program.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use udp_director_load::{EchoServer, ServerId};

/// Tries a UDP Director: game servers that echo.
#[derive(Debug, Parser)]
#[command(name = "udp-director-load")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a game server that gives back what it gets, over UDP and TCP, until it is interrupted.
    Echo {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        /// What to call it.
        #[arg(long)]
        name: String,
        /// What it signs the players' numbered datagrams with, 1 to 65535.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        id: u16,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Echo { listen, name, id } = Args::parse().command;
    match echo(listen, &name, ServerId(id)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("udp-director-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn echo(listen: SocketAddr, name: &str, id: ServerId) -> anyhow::Result<()> {
    let server = EchoServer::start(listen, name, id).with_context(|| format!("cannot listen on {listen}"))?;
    println!("{name} (id {id}) echoes UDP and TCP on {}", server.addr());
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for signals"),
        _ = terminate.recv() => Ok(()),
    }
}
