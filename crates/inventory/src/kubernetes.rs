//! The live inventory: a cluster's objects, followed by watches, to inventory snapshots.
//!
//! ```text
//! API server --list, watch--> Follower (a task per watch) --apply, delete, listed--> Assembly
//!                                                                                      |
//!                            director <--Inventory-- View::assemble <--specs, refusals--
//! ```
//! [`Cluster`] owns the tasks; the `Assembly` is sans-I/O and holds what was read of each object, not
//! the object. An object that changes is read once; all else is shared with the snapshot before.
//!
//! Why an own loop over kube's client instead of `kube::runtime::watcher`: the watcher treats a `410
//! Gone` as a failure under backoff and retries one that comes as an HTTP status for ever, tells
//! nothing of bookmarks and versions, so that a watch which has gone deaf cannot be found, and holds
//! whole objects.

mod address_index;
mod allocation;
mod api;
mod api_server;
mod assembly;
mod backoff;
mod client;
mod cluster;
mod collect;
mod config_map;
#[cfg(test)]
mod fake;
mod fault;
#[cfg(test)]
mod fixtures;
mod follower;
mod needed;
mod plan;
mod progress;
mod store;
mod version;
mod view;

pub use allocation::{
    Allocation, AllocationError, AllocationRequest, AllocationSpec, CounterAction, CounterChange,
    CounterRange, GameServerAllocator, GameServerState, GiveBack, GiveBackError, GivenBack, ListAction,
    ListFilter, MetaPatch, Order, PlayerRange, Priority, PriorityType, Scheduling, ServerSelector, Unsayable,
};
pub use client::{ClientError, client};
pub use cluster::{Cluster, ClusterStatus};
pub use config_map::{ConfigMapError, ConfigMapWatch};
pub use needed::{Needed, needed};
pub use progress::{Restarts, WatchStatus};
pub use view::View;
