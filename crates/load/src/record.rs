//! What one player found: the tally of its beats, and how long things took.

use std::time::Instant;

use crate::beat::Beat;
use crate::latency::Latency;
use crate::tally::{Reply, Tally};

/// One player's findings.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Which beats came back.
    pub tally: Tally,
    /// From sending a beat to its first reply.
    pub round_trips: Latency,
    /// Between a reply and the next one.
    pub gaps: Latency,
    /// Datagrams that the socket refused to send, or errors that it reported instead of one.
    pub socket_errors: u64,
    last_reply: Option<Instant>,
}

impl Record {
    /// Notes a reply.
    pub fn replied(&mut self, beat: &Beat, now: Instant) {
        if let Reply::First { round_trip } = self.tally.replied(beat.sequence, beat.server, now) {
            self.round_trips.add(round_trip);
            if let Some(last) = self.last_reply.replace(now) {
                self.gaps.add(now.saturating_duration_since(last));
            }
        }
    }
}
