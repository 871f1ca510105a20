//! Selection.
#![allow(missing_docs)]
use std::sync::Arc;
use crate::{Backend, Seat};
#[derive(Debug)]
pub struct Query;
#[derive(Debug)]
pub struct Balancer;
impl Balancer {
    pub fn choose(&self, candidates: &[Arc<Backend>], _sticky_key: Option<&str>, _random: u64) -> Option<Seat> {
        candidates.first().map(Seat::take)
    }
}
