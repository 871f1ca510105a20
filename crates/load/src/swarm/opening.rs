//! Opening sessions: each client presents its token and plays until its first reply.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use udp_director_client::{AckStatus, SessionError};

use super::lane::{Event, Lane, Nanos, State};
use crate::datagrams::Arrivals;
use crate::latency::Latency;

/// What opening the sessions of a swarm has found.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Clients that got a reply.
    pub opened: u64,
    /// Clients whose token was refused, by the reason.
    pub refused: BTreeMap<String, u64>,
    /// Clients that got no answer.
    pub unanswered: u64,
    /// Replies that reached another client.
    pub misdelivered: u64,
    /// How long all took together.
    pub elapsed: Duration,
    /// From a client's token, or its first beat when it has none, to its first reply.
    pub latency: Latency,
}

impl Opened {
    /// How long a client is given, with repeats.
    pub const DEADLINE: Duration = Duration::from_secs(5);

    pub(super) fn merge(mut self, other: &Opened) -> Opened {
        for (reason, count) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        self.latency.merge(&other.latency);
        Opened {
            opened: self.opened + other.opened,
            unanswered: self.unanswered + other.unanswered,
            misdelivered: self.misdelivered + other.misdelivered,
            elapsed: self.elapsed.max(other.elapsed),
            ..self
        }
    }
}

/// An opening under way.
struct Opening {
    found: Opened,
    /// Clients that have asked, and when they ask again.
    asked: VecDeque<(Nanos, usize)>,
    under_way: usize,
}

impl Lane {
    /// Opens every client's session, `at_a_time` at once.
    pub(super) fn open(&mut self, at_a_time: usize, arrivals: &mut Arrivals) -> io::Result<Opened> {
        let start = self.now();
        let mut opening = Opening { found: Opened::default(), asked: VecDeque::new(), under_way: 0 };
        let mut waiting = 0..self.clients.len();
        while opening.under_way > 0 || !waiting.is_empty() {
            let room = at_a_time.saturating_sub(opening.under_way);
            for client in waiting.by_ref().take(room) {
                self.clients[client].state = State::Opening(self.now());
                opening.under_way += 1;
                self.ask(client, true, &mut opening)?;
            }
            self.ask_again(&mut opening)?;
            let until = opening.asked.front().map_or(self.now(), |&(due, _)| due);
            self.receive(arrivals, until, |lane, event| opening.note(lane, event))?;
        }
        opening.found.elapsed = self.now().since(start);
        Ok(opening.found)
    }

    /// Sends a client's token and its next beat right behind it.
    fn ask(&mut self, client: usize, first: bool, opening: &mut Opening) -> io::Result<()> {
        let now = self.now();
        self.present(client, first)?;
        self.beat(client, now)?;
        opening.asked.push_back((now.after(REPEAT), client));
        Ok(())
    }

    /// Lets those ask again whose time has come, and gives up on those who asked for too long.
    fn ask_again(&mut self, opening: &mut Opening) -> io::Result<()> {
        let now = self.now();
        while let Some((_, client)) = opening.asked.pop_front_if(|(due, _)| *due <= now) {
            match self.clients[client].state {
                State::Opening(since) if now.since(since) < Opened::DEADLINE => {
                    self.ask(client, false, opening)?;
                }
                State::Opening(_) => {
                    opening.found.unanswered += 1;
                    opening.close(self, client, State::Closed);
                }
                State::Open | State::Closed => {}
            }
        }
        Ok(())
    }
}

impl Opening {
    fn note(&mut self, lane: &mut Lane, event: Event) {
        match event {
            Event::Reply { client, .. } => {
                let State::Opening(since) = lane.clients[client].state else { return };
                self.found.latency.add(lane.now().since(since));
                self.found.opened += 1;
                lane.progress().opened.fetch_add(1, Ordering::Relaxed);
                lane.progress().answered.fetch_add(1, Ordering::Relaxed);
                self.close(lane, client, State::Open);
            }
            Event::Ack { client, status } => self.note_ack(lane, client, status),
            Event::Misdelivered => self.found.misdelivered += 1,
            Event::Stray => {}
        }
    }

    fn note_ack(&mut self, lane: &mut Lane, client: usize, status: AckStatus) {
        let asks = matches!(lane.clients[client].state, State::Opening(_));
        // A director that is busy may have room later; one that has done it will answer beats.
        if !asks || matches!(status, AckStatus::Done | AckStatus::Busy) {
            return;
        }
        let reason = SessionError::Refused(status).to_string();
        *self.found.refused.entry(reason).or_default() += 1;
        self.close(lane, client, State::Closed);
    }

    fn close(&mut self, lane: &mut Lane, client: usize, state: State) {
        lane.clients[client].state = state;
        self.under_way -= 1;
    }
}

/// After how long a client that has no reply asks again.
const REPEAT: Duration = Duration::from_millis(250);
