//! Test support, never shipped: a simulated network that plays whole games in virtual time.
#![forbid(unsafe_code)]

pub mod sim;
