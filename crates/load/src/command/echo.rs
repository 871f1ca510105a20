//! `echo`: a game server that gives back what it gets.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use udp_director_load::{EchoServer, ServerId};

/// Runs a game server that gives back what it gets, over UDP and TCP, until it is interrupted.
#[derive(Debug, Args)]
pub(super) struct EchoArgs {
    /// Where to listen; port 0 takes a free one. On 0.0.0.0 or :: it answers from every address of the
    /// host that it is asked at, and so stands for as many servers.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// What to call it.
    #[arg(long)]
    name: String,
    /// What it signs the players' numbered datagrams with, 1 to 65535.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    id: u16,
}

impl EchoArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let EchoArgs { listen, name, id } = self;
        let server = EchoServer::start(listen, &name, ServerId(id));
        let server = server.with_context(|| format!("cannot listen on {listen}"))?;
        println!("{name} (id {id}) echoes UDP and TCP on {}", server.addr());
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for signals"),
            _ = terminate.recv() => Ok(()),
        }
    }
}
