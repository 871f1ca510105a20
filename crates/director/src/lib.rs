//! The `udp-director` process.
#![forbid(unsafe_code)]

pub mod config;
pub mod query;
pub mod demo;
pub mod process;
mod admin;
mod control;
mod metrics;
mod ports;
mod rules;
