//! Selection: what is asked (a query), which backends match it, and which of those is picked (a
//! strategy).
//!
//! A query comes from outside, so compiling one is bounded by the limits written on [`Query`], and
//! matching one by the number of backends times a bounded cost each.

mod balance;
mod explain;
mod labels;
mod matching;
mod path;
mod query;
mod selection;
mod status;

pub use balance::{Balancer, Draw, Strategy};
pub use explain::{Candidate, Explanation, Filter, Finding, Score};
pub use labels::{LabelTest, Selector, SelectorError};
pub use matching::Matching;
pub use path::{Path, PathError};
pub use query::{Query, QueryError};
pub use selection::{Selection, Serves};
pub use status::StatusMatch;
