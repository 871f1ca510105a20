//! The `udp-director` process.
#![forbid(unsafe_code)]

mod admin;
pub mod config;
mod control;
pub mod demo;
mod evacuation;
mod metrics;
mod ports;
pub mod process;
pub mod query;
mod rules;
