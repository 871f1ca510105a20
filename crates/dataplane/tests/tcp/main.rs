//! TCP connections over real sockets of the loopback.

mod default_endpoint;
mod forwarding;
mod migration;
mod preamble;
mod timeouts;
mod world;
