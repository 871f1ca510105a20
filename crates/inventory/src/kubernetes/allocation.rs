//! Allocation of Agones GameServers: what is asked for, the asking, and what is given back.
//!
//! ```text
//! AllocationSpec --with the query's labels--> GameServerAllocator --POST--> gameserverallocations
//!    (a mapping's)                              |  tries again until a deadline
//!                                               \--> Allocation: a server's name, or why there is none
//! ```
//! GameServerAllocation is an API of Agones' own server behind the API server, not a resource that is
//! kept: it is created, and the answer to that is all there is.

mod answer;
mod error;
mod give_back;
mod request;
mod spec;

pub use error::{AllocationError, GiveBackError};
pub use give_back::{GiveBack, GivenBack};
pub use request::{Allocation, AllocationRequest, GameServerAllocator};
pub use spec::{
    AllocationSpec, CounterAction, CounterChange, CounterRange, GameServerState, ListAction, ListFilter,
    MetaPatch, Order, PlayerRange, Priority, PriorityType, Scheduling, ServerSelector, Unsayable,
};
