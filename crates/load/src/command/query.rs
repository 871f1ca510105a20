//! `query`: queries at a rate.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use udp_director_load::{Asking, Inquiry, Query, QueryReport};

/// Asks a director for tokens that nobody redeems, over kept connections, and says how long the
/// answers took.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// The director's query port.
    #[arg(long, value_name = "HOST:PORT", value_parser = super::parse_addr)]
    director: SocketAddr,
    /// What to ask, as JSON: {"resourceType": "gameserver"}.
    #[arg(long, value_name = "JSON", value_parser = super::parse_query)]
    query: Query,
    /// Queries a second; left out, the next as soon as a connection has its answer.
    #[arg(long, value_name = "N", value_parser = super::parse_rate)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// For how many seconds to ask before anything counts.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::parse_seconds)]
    warm_up: Duration,
    /// For how many seconds to ask then.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::parse_seconds)]
    duration: Duration,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl QueryArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let QueryArgs { director, query, rate, warm_up, duration, .. } = self;
        let asking = Asking { director, query, connections: self.connections as usize };
        let found = Inquiry { rate, warm_up, duration }.run(&asking).await;
        let found = found.with_context(|| format!("asking {director}"))?;
        ensure!(found.answered > 0, "nothing was answered within {duration:?}");
        super::print(&QueryReport::from(&found), self.json)
    }
}
