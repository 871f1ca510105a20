//! Players and game servers to try a director with: numbered datagrams go out at a steady rate, an
//! echo server says who it is, and what comes back is counted.
//!
//! [`Player`] is one player with all the detail; [`Swarm`] is a hundred thousand of them.
#![forbid(unsafe_code)]

mod ask;
mod beat;
mod datagrams;
mod echo;
mod latency;
mod player;
mod queries;
mod record;
mod replies;
mod report;
mod swarm;
mod tally;

pub use ask::{Asked, Asker, Asking};
pub use beat::{Beat, ServerId};
pub use echo::EchoServer;
pub use latency::Latency;
pub use player::{Link, Pace, Player};
pub use queries::{Inquired, Inquiry};
pub use record::Record;
pub use report::{QueryReport, RunReport};
pub use swarm::{Crowd, CrowdError, Flow, Game, Opened, Played, Progress, Setup, Swarm};
pub use tally::{Reply, Served, Tally};
pub use udp_director_client::{Magic, Query};
