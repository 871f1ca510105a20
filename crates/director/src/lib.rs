//! The `udp-director` process.
#![forbid(unsafe_code)]

mod admin;
pub mod allocation;
pub mod config;
pub mod config_source;
mod control;
pub mod demo;
mod drain;
mod evacuation;
mod jobs;
mod journal;
pub mod keys;
mod metrics;
mod moving;
mod ports;
pub mod process;
pub mod query;
pub mod rbac;
mod readiness;
mod restoring;
mod rules;
mod source;
