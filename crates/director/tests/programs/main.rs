//! Programs that nobody here wrote, through the `udp-director` binary and, for comparison, without it.
//!
//! `scripts/test` installs them. Each test has loopback addresses of its own, so that every program
//! finds its port free.

mod dns;
mod iperf;
mod mosh;
mod program;
mod quake;
mod ssh;
mod stage;
mod tls;
