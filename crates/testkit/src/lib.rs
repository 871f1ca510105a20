//! Test support, never shipped: a simulated network that plays whole games in virtual time, and network
//! namespaces in which real processes play them.
#![forbid(unsafe_code)]

pub mod netns;

pub mod sim;
