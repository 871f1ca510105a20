//! Players and game servers to try a director with: numbered datagrams go out at a steady rate, an
//! echo server says who it is, and what comes back is counted.
#![forbid(unsafe_code)]

mod beat;
mod echo;
mod latency;
mod player;
mod record;
mod tally;

pub use beat::{Beat, ServerId};
pub use echo::EchoServer;
pub use latency::Latency;
pub use player::{Link, Pace, Player};
pub use record::Record;
pub use tally::{Reply, Served, Tally};
