//! Playing: beats go out by schedule or by window, and what comes back is counted.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::SETTLE;
use super::lane::{Event, Lane, Nanos, Sent, State};
use crate::datagrams::{Arrivals, BATCH};
use crate::latency::Latency;
use crate::replies::Order;

/// How a swarm plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Game {
    /// When beats are sent.
    pub flow: Flow,
    /// For how long it plays before anything counts.
    pub warm_up: Duration,
    /// For how long it plays then.
    pub duration: Duration,
}

/// When beats are sent. Clients take turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flow {
    /// So many a second, whatever comes back. A round trip counts from when its beat was due, so what
    /// waits for a slow answer, here or on the way, is not left out.
    Rate(f64),
    /// As fast as answers come: so many beats are under way, over all clients. One that has no answer
    /// after 100 ms counts no more.
    InFlight(usize),
}

/// What a game has found. It counts beats that were due between the end of the warm-up and the end of
/// the game, and their replies.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Beats sent.
    pub sent: u64,
    /// Beats that the schedule asked for, and that this host did not get out.
    pub unsent: u64,
    /// Beats that were answered, within a second after the last.
    pub answered: u64,
    /// Replies to beats that had one.
    pub duplicated: u64,
    /// First replies that came after the reply to a later beat of the same client.
    pub reordered: u64,
    /// Replies that reached another client, warm-up included.
    pub misdelivered: u64,
    /// Datagrams that are no replies, warm-up included.
    pub strays: u64,
    /// For how long it was counted.
    pub elapsed: Duration,
    /// The longest that a beat was sent behind its time: this host's own share of the round trips.
    pub behind: Duration,
    /// Round trips.
    pub round_trips: Latency,
}

impl Game {
    /// What one of so many lanes does of it.
    pub(super) fn share(&self, lanes: usize) -> Game {
        let flow = match self.flow {
            Flow::Rate(rate) => Flow::Rate(rate / lanes as f64),
            Flow::InFlight(count) => Flow::InFlight(count.div_ceil(lanes)),
        };
        Game { flow, ..*self }
    }
}

impl Played {
    /// Beats that were sent and not answered.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }

    pub(super) fn merge(mut self, other: &Played) -> Played {
        self.round_trips.merge(&other.round_trips);
        Played {
            sent: self.sent + other.sent,
            unsent: self.unsent + other.unsent,
            answered: self.answered + other.answered,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            misdelivered: self.misdelivered + other.misdelivered,
            strays: self.strays + other.strays,
            elapsed: self.elapsed.max(other.elapsed),
            behind: self.behind.max(other.behind),
            round_trips: self.round_trips,
        }
    }
}

/// A game under way.
struct Playing {
    flow: Flow,
    start: Nanos,
    /// What is due from then on counts.
    counted_from: Nanos,
    until: Nanos,
    /// Whose sessions are open.
    players: Vec<usize>,
    /// How many beats have been due.
    turns: u64,
    in_flight: InFlight,
    found: Played,
}

impl Lane {
    pub(super) fn play(&mut self, game: &Game, arrivals: &mut Arrivals) -> io::Result<Played> {
        let open = |client: &usize| self.clients[*client].state == State::Open;
        let players = (0..self.clients.len()).filter(open).collect();
        let mut playing = Playing::new(game, players, self.now());
        while playing.goes_on(self.now()) {
            let next = self.send_due(&mut playing)?;
            self.receive(arrivals, next, |lane, event| playing.note(lane.now(), lane, event))?;
        }
        playing.found.unsent += playing.never_sent();
        let deadline = self.now().after(SETTLE);
        while playing.found.lost() > 0 && self.now() < deadline {
            self.receive(arrivals, deadline, |lane, event| playing.note(lane.now(), lane, event))?;
        }
        Ok(playing.found)
    }

    /// Sends what is due, a batch at most, and says when the next is.
    fn send_due(&mut self, playing: &mut Playing) -> io::Result<Nanos> {
        let now = self.now();
        playing.in_flight.expire(now, self);
        for _ in 0..BATCH {
            let due = playing.next_due(now);
            if due > now || due >= playing.until {
                return Ok(due.min(playing.until));
            }
            let client = playing.players[playing.turns as usize % playing.players.len()];
            playing.turns += 1;
            let sent = self.beat(client, due)?;
            playing.count_beat(sent, due, now);
        }
        Ok(now)
    }
}

impl Playing {
    fn new(game: &Game, players: Vec<usize>, start: Nanos) -> Playing {
        let counted_from = start.after(game.warm_up);
        let found = Played { elapsed: game.duration, ..Played::default() };
        Playing {
            flow: game.flow,
            start,
            counted_from,
            until: counted_from.after(game.duration),
            players,
            turns: 0,
            in_flight: InFlight::default(),
            found,
        }
    }

    /// When the next beat is due.
    fn next_due(&self, now: Nanos) -> Nanos {
        match self.flow {
            Flow::Rate(rate) => self.start.after(Duration::from_secs_f64(self.turns as f64 / rate)),
            Flow::InFlight(window) if self.in_flight.count < window => now,
            Flow::InFlight(_) => self.in_flight.next_expiry().unwrap_or(now),
        }
    }

    /// Whether beats are still to be sent. A host that is behind its schedule may catch up.
    fn goes_on(&self, now: Nanos) -> bool {
        let due = self.next_due(now);
        !self.players.is_empty() && due < self.until && now < self.until.after(CATCH_UP)
    }

    /// Beats that the schedule had for this game, and that had no turn.
    fn never_sent(&self) -> u64 {
        match self.flow {
            Flow::Rate(rate) => {
                let scheduled = self.until.since(self.start).as_secs_f64() * rate;
                (scheduled as u64).saturating_sub(self.turns)
            }
            Flow::InFlight(_) => 0,
        }
    }

    fn count_beat(&mut self, sent: Option<Sent>, due: Nanos, now: Nanos) {
        let counts = due >= self.counted_from;
        let Some(sent) = sent else {
            self.found.unsent += u64::from(counts);
            return;
        };
        if let Flow::InFlight(_) = self.flow {
            self.in_flight.push(now, sent);
        }
        if counts {
            self.found.sent += 1;
            self.found.behind = self.found.behind.max(now.since(due));
        }
    }

    fn note(&mut self, now: Nanos, lane: &mut Lane, event: Event) {
        match event {
            Event::Reply { sent_at, order, .. } => self.note_reply(now, lane, sent_at, order),
            Event::Misdelivered => self.found.misdelivered += 1,
            Event::Stray => self.found.strays += 1,
            // The repeats of a client whose session opened meanwhile.
            Event::Ack { .. } => {}
        }
    }

    fn note_reply(&mut self, now: Nanos, lane: &Lane, sent_at: Nanos, order: Order) {
        let first = matches!(order, Order::Kept | Order::Reordered);
        if first && sent_at >= self.start {
            lane.progress().answered.fetch_add(1, Ordering::Relaxed);
            self.in_flight.answered(now, sent_at);
        }
        if sent_at < self.counted_from {
            return;
        }
        let found = &mut self.found;
        found.answered += u64::from(first);
        found.reordered += u64::from(order == Order::Reordered);
        found.duplicated += u64::from(order == Order::Duplicate);
        if first {
            found.round_trips.add(now.since(sent_at));
        }
    }
}

/// The beats that have no answer yet, for a flow by window.
#[derive(Debug, Default)]
struct InFlight {
    /// Those not older than [`WRITE_OFF`], answered ones included, and when they were sent.
    sent: VecDeque<(Nanos, Sent)>,
    /// How many of them are not answered.
    count: usize,
}

impl InFlight {
    fn push(&mut self, now: Nanos, sent: Sent) {
        self.sent.push_back((now, sent));
        self.count += 1;
    }

    /// One that was sent at that time is answered; written off, it counts no more.
    fn answered(&mut self, now: Nanos, sent_at: Nanos) {
        if now.since(sent_at) < WRITE_OFF {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Writes off what is too old.
    fn expire(&mut self, now: Nanos, lane: &Lane) {
        while let Some((_, sent)) = self.sent.pop_front_if(|(at, _)| now.since(*at) >= WRITE_OFF) {
            if !lane.clients[sent.client].replies.has(sent.sequence) {
                self.count = self.count.saturating_sub(1);
            }
        }
    }

    fn next_expiry(&self) -> Option<Nanos> {
        self.sent.front().map(|(at, _)| at.after(WRITE_OFF))
    }
}

const CATCH_UP: Duration = Duration::from_millis(100);
const WRITE_OFF: Duration = Duration::from_millis(100);
