//! Resources to backends: objects as Kubernetes writes them, by resource mapping, into core's
//! inventory snapshots. The source so far is a static file.
#![forbid(unsafe_code)]

mod mapping;

pub use mapping::{Condition, Mapping, PortSource, PortsSource, ServiceSource};
