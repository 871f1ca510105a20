//! The `udp-director` process.
#![forbid(unsafe_code)]

pub mod config;
pub mod query;
