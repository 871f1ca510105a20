//! The rules of UDP Director: what a backend is, which one a query gets, what a token may do, where a
//! datagram goes.
//!
//! Sans-I/O: no socket, no clock, no randomness. `now` comes in as an argument, so do random numbers
//! and tokens; what is to be done comes out as values.
#![forbid(unsafe_code)]

mod addr;
mod allocation;
mod counters;
mod forward;
mod inventory;
mod ledger;
mod load;
mod refusal;
mod rendezvous;
mod seal;
mod seat;
mod select;
mod session;
mod settings;
mod shared;
mod time;

pub use addr::{BackendAddr, ClientAddr, canonical};
pub use allocation::{AllocationId, Claim, Claims, Joined, RoundId, Rounds, ServerName, Settled, Unclaimed};
pub use counters::{Counters, Dropped, Event, Volume};
pub use forward::{
    Arrival, Context, Effect, Forwarder, Holdings, Message, OpenUpstream, Reply, RestoredClients, Return,
    SLOT_REST, Verdict,
};
pub use inventory::{
    Backend, BackendId, BackendSpec, Capacity, Inventory, ObjectRef, Ports, Refused, View, Withheld,
};
pub use ledger::{
    Admission, Changes, DefaultEndpoint, Destination, Elsewhere, Handover, Issue, IssueError, Ledger,
    Located, Migrated, MovedBy, Moving, Opened, OpenedBy, Opening, Player, Presented, Resumed, Resuming,
    SessionRecord, StickyKey, StickyRecord, Target, TokenRecord, UseRecord, Wanted, is_stand_in, stand_in,
};
pub use load::Load;
pub use refusal::Refusal;
pub use seal::{Contents, Handle, Key, KeyError, KeyRing, KeyRingError, Nonce, Nonces, Seal, Unsealed};
pub use seat::Seat;
pub use select::{
    Balancer, Candidate, Draw, Explanation, Filter, Finding, LabelTest, Matching, Path, PathError, Query,
    QueryError, Score, Selection, Selector, SelectorError, Serves, StatusMatch, Strategy,
};
pub use session::{
    Activity, Direction, Generation, Place, Session, SessionId, Upstream, UpstreamIndex, UpstreamSocket,
    WorkerId,
};
pub use settings::{Limits, Listener, ListenerId, Protocol, Settings};
pub use shared::SharedLedger;
pub use time::Moment;
