//! What a game brought, added up, and what of it is a fault.

use std::sync::Arc;
use std::time::Duration;

use udp_director_load::{Latency, Record, Served, ServerId};

use super::member::Member;
use super::stage::{ALPHA, BETA};

/// The findings of all players, at some moment of the game or after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Through the director.
    pub(super) through: Route,
    /// Straight to the servers.
    pub(super) straight: Route,
    /// Who served which player, by player.
    pub(super) served: Vec<(u32, Vec<Served>)>,
    /// How many players were moved.
    pub(super) moved: usize,
    /// The longest that a player waited for the acknowledgement of its move.
    pub(super) slowest_move: Duration,
}

/// The findings on one way to the servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    /// Replies to datagrams that were settled already, as lost or by another reply.
    pub(super) late: u64,
    pub(super) by_alpha: u64,
    pub(super) by_beta: u64,
    pub(super) round_trips: Latency,
    /// The longest time between two replies to one player.
    pub(super) longest_gap: Duration,
}

impl Outcome {
    /// Adds up what the team found so far.
    pub(super) fn of(team: &[Arc<Member>]) -> Outcome {
        let mut outcome = Outcome::default();
        for member in team {
            let record = member.player.record();
            outcome.through.add(&record);
            outcome.served.push((member.player.id(), record.tally.ranges().to_vec()));
            drop(record);
            member.straight.iter().for_each(|player| outcome.straight.add(&player.record()));
            outcome.moved += usize::from(member.moved_within().is_some());
            outcome.slowest_move = outcome.slowest_move.max(member.moved_within().unwrap_or_default());
        }
        outcome
    }

    /// Everything that should not have happened, for people; empty after a good game.
    pub(super) fn faults(&self) -> Vec<String> {
        let Route { lost, duplicated, late, .. } = self.through;
        let counts = [(lost, "lost"), (duplicated, "duplicated"), (late, "answered too late")]
            .into_iter()
            .filter(|&(count, _)| count > 0)
            .map(|(count, what)| format!("{count} datagrams were {what}"));
        let players = self
            .served
            .iter()
            .filter(|(_, ranges)| !ranges.iter().map(|range| range.server).eq([ALPHA, BETA]))
            .map(|(id, _)| format!("player {id} was not served by alpha and then by beta"));
        counts.chain(players).collect()
    }
}

impl Route {
    fn add(&mut self, record: &Record) {
        let tally = &record.tally;
        self.sent += tally.sent_total();
        self.lost += tally.lost();
        self.duplicated += tally.duplicated();
        self.late += tally.late();
        self.reordered += tally.reordered();
        self.by_alpha += tally.answered_by(ALPHA);
        self.by_beta += tally.answered_by(BETA);
        self.round_trips.merge(&record.round_trips);
        self.longest_gap = self.longest_gap.max(record.gaps.longest());
    }
}

/// What to call a server.
pub(super) fn name(server: ServerId) -> String {
    match server {
        ALPHA => "alpha".into(),
        BETA => "beta".into(),
        other => format!("server {other}"),
    }
}
