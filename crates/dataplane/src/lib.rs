//! Sockets and packets: UDP workers, upstream sockets, TCP connections.

mod clock;
mod descriptors;
mod restoring;
mod sys;
pub mod tcp;
mod udp;
mod worker;
mod workers;

pub use clock::Clock;
pub use descriptors::{Descriptors, Taken};
pub use restoring::Restored;
pub use sys::{raise_descriptor_limit, share_malloc_arena};
pub use workers::{Listening, Workers, WorkersOptions};
