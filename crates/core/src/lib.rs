//! The rules of UDP Director: what a backend is, which one a query gets, what a token may do, where a
//! datagram goes.
//!
//! Sans-I/O: no socket, no clock, no randomness. `now` comes in as an argument, so do random numbers
//! and tokens; what is to be done comes out as values.
#![forbid(unsafe_code)]

mod addr;
mod inventory;
mod seat;
mod select;
mod settings;

pub use addr::{BackendAddr, ClientAddr, canonical};
pub use inventory::{Backend, BackendId, BackendSpec, Inventory, ObjectRef, Ports, Refused};
pub use seat::{Load, Seat};
pub use settings::{Limits, Listener, ListenerId, Protocol, Settings};
