//! Allocation: which queries share a server that is being allocated, and which allocated servers nobody
//! has taken.

mod claims;
mod rounds;

pub use claims::{AllocationId, Claim, Claims, ServerName, Settled, Unclaimed};
pub use rounds::{Joined, RoundId, Rounds};
