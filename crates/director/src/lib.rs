//! The `udp-director` process.
#![forbid(unsafe_code)]

pub mod config;
pub mod query;
pub mod demo;
pub mod process;
mod control;
mod ports;
mod rules;
