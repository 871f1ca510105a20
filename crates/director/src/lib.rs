//! The `udp-director` process.
#![forbid(unsafe_code)]

mod admin;
pub mod config;
mod control;
pub mod demo;
mod metrics;
mod ports;
pub mod process;
pub mod query;
mod rules;
