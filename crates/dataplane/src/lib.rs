//! Sockets and packets: UDP workers, upstream sockets, TCP connections.

mod clock;
mod descriptors;
mod sys;
pub mod tcp;
mod udp;
mod worker;
mod workers;

pub use clock::Clock;
pub use descriptors::{Descriptors, Taken};
pub use sys::{raise_descriptor_limit, share_malloc_arena};
pub use workers::{Workers, WorkersOptions};
