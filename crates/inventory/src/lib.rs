//! Resources to backends: objects as Kubernetes writes them, by resource mapping, into core's
//! inventory snapshots. The source is a static file or a cluster ([`kubernetes`]).
//!
//! ```text
//! FileWatch --text--> read_objects --objects--> backends --specs--> Inventory::next
//!                                                  ^
//!                                      mappings, allowed targets
//! ```
//! All but [`FileWatch`] and the watches on a cluster are pure functions. What an object says is not trusted: a wrong type or a
//! forbidden address refuses that object, with a reason, and no other.
#![forbid(unsafe_code)]

mod address;
mod backends;
mod cordon;
pub mod kubernetes;
mod mapping;
mod numbers;
mod object;
mod objects;
mod ports;
mod reader;
mod ready;
mod reason;
mod rules;
mod service;
mod snapshot;
mod targets;
mod watch;

pub use backends::backends;
pub use mapping::{
    CapacitySource, Condition, Mapping, MappingError, NumberSource, PortSource, PortsSource, ServiceSource,
};
pub use objects::{ObjectsError, read_objects};
pub use snapshot::snapshot;
pub use targets::Targets;
pub use watch::FileWatch;
