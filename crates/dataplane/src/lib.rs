//! Sockets and packets: UDP workers, upstream sockets, TCP connections.

mod clock;

pub use clock::Clock;
