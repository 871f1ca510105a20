//! Allocation for queries: who waits for which server, and what has become of the servers.
//!
//! ```text
//! query --Order--> Allocations --Errand--> errands (a task each) --> Agones
//!   ^                |  Rounds, Claims          |
//!   \----server------+ <------Allocation--------/
//!                    \--settle, 5 times a second--> log, counters, errands that give servers back
//! ```
//! The rules are core's [`Rounds`](udp_director_core::Rounds) and [`Claims`](udp_director_core::Claims).
//! A round is a task of its own: that its query's client goes away does not stop it, for the server may
//! be allocated already.

mod allocations;
mod counters;
mod errands;
mod no_server;
mod order;
mod settle;

pub use allocations::{Allocations, Parts};
pub use counters::{AllocationCounters, Outcome, Returned};
pub use errands::Errand;
pub(crate) use errands::carry_out;
pub use no_server::NoServer;
pub use order::{Allocating, Order, Sharing};
