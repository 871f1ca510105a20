//! A lane: one thread's clients, what they send, and what a datagram that comes in means to them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use udp_director_client::{AckStatus, Magic, Token};

use super::crowd::{Place, Places};
use super::outlets::Outlets;
use super::{Progress, Setup};
use crate::beat::{Beat, ServerId};
use crate::datagrams::{Arrivals, Arrived, is_momentary};
use crate::replies::{Order, Replies};

/// One thread's clients and sockets.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) clients: Vec<Client>,
    /// The number of the first client among those of all lanes.
    first: u32,
    epoch: Instant,
    outlets: Outlets,
    magic: Magic,
    /// The beat that is sent, padding included.
    datagram: Vec<u8>,
    ready: Vec<u32>,
    progress: Arc<Progress>,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    place: Place,
    pub(super) token: Option<Token>,
    /// The number of its next beat.
    next: u64,
    pub(super) replies: Replies,
    pub(super) state: State,
}

/// How far a client's session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its first reply has yet to come. It began to ask at that time.
    Opening(Nanos),
    /// It plays.
    Open,
    /// It was refused, or not answered: it does not play.
    Closed,
}

/// Nanoseconds since the swarm was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nanos(pub(super) u64);

/// A beat that went out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) client: usize,
    pub(super) sequence: u64,
}

/// What a datagram that came in is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A beat of the client has come back.
    Reply { client: usize, sent_at: Nanos, order: Order },
    /// The director says what became of the client's token.
    Ack { client: usize, status: AckStatus },
    /// A client got another client's beat.
    Misdelivered,
    /// Nothing that was asked for, or from elsewhere.
    Stray,
}

impl Lane {
    pub(super) fn new(
        setup: &Setup,
        places: Places,
        epoch: Instant,
        progress: Arc<Progress>,
    ) -> io::Result<Lane> {
        let outlets = Outlets::open(&places, setup.target)?;
        let first = places.first;
        let client = |(place, number)| Client {
            place,
            token: setup.tokens.get(number).copied(),
            next: 0,
            replies: Replies::default(),
            state: State::Closed,
        };
        Ok(Lane {
            clients: places.clients.into_iter().zip(first as usize..).map(client).collect(),
            first,
            epoch,
            outlets,
            magic: setup.magic,
            datagram: vec![0; setup.datagram_bytes],
            ready: Vec::new(),
            progress,
        })
    }

    /// Room for what comes in. It cannot go from thread to thread, and so is no part of the lane.
    pub(super) fn arrivals(&self) -> Arrivals {
        Arrivals::new(self.datagram.len().max(MIN_SLOT_BYTES))
    }

    pub(super) fn now(&self) -> Nanos {
        Nanos(self.epoch.elapsed().as_nanos() as u64)
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Sends a client's next beat, which was due at that time; `None` when the socket has no room.
    ///
    /// # Errors
    /// When the socket fails for good.
    pub(super) fn beat(&mut self, client: usize, due: Nanos) -> io::Result<Option<Sent>> {
        let player = self.first + client as u32;
        let Client { place, next: sequence, .. } = self.clients[client];
        let beat = Beat { player, sequence, sent_at_nanos: due.0, server: ServerId::UNKNOWN };
        self.datagram[..Beat::LEN].copy_from_slice(&beat.encode());
        if !sent(self.outlets.send(place, &self.datagram))? {
            return Ok(None);
        }
        self.clients[client].next += 1;
        self.progress.sent.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Sent { client, sequence }))
    }

    /// Sends a client's token: bare, as games do, or in a control packet, whose acknowledgement says
    /// why it is refused (docs/protocol.md).
    ///
    /// # Errors
    /// When the socket fails for good.
    pub(super) fn present(&mut self, client: usize, bare: bool) -> io::Result<()> {
        let Client { place, token: Some(token), .. } = self.clients[client] else { return Ok(()) };
        let number = u64::from(self.first) + client as u64;
        let packet = match bare {
            true => token.as_bytes().to_vec(),
            false => {
                let (magic, token) = (self.magic.as_bytes(), token.as_bytes());
                [magic, token, &[OPCODE_SWITCH], &number.to_be_bytes()].concat()
            }
        };
        sent(self.outlets.send(place, &packet)).map(drop)
    }

    /// Waits until something has come in, or until that time, and hands each datagram on.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub(super) fn receive(
        &mut self,
        arrivals: &mut Arrivals,
        until: Nanos,
        mut each: impl FnMut(&mut Lane, Event),
    ) -> io::Result<()> {
        let timeout = Duration::from_nanos(until.0.saturating_sub(self.now().0));
        let mut ready = std::mem::take(&mut self.ready);
        self.outlets.wait(timeout, &mut ready)?;
        for &socket in &ready {
            for place in 0..self.outlets.receive(socket, arrivals) {
                let (arrived, datagram) = arrivals.datagram(place);
                let event = self.judge(socket, &arrived, datagram);
                each(self, event);
            }
        }
        self.ready = ready;
        Ok(())
    }

    /// Says what a datagram is, and notes it for its client.
    fn judge(&mut self, socket: u32, arrived: &Arrived, datagram: &[u8]) -> Event {
        if !self.outlets.is_from_target(arrived) {
            return Event::Stray;
        }
        let beat = Beat::parse(datagram);
        let ack = self.magic.parse_ack(datagram);
        let number = beat.map(|beat| beat.player.into());
        let number = number.or_else(|| ack.map(|ack| u64::from_be_bytes(ack.request.nonce)));
        let client = number.and_then(|number| number.checked_sub(self.first.into())).map(|n| n as usize);
        let Some((index, client)) = client.and_then(|n| Some((n, self.clients.get_mut(n)?))) else {
            return if beat.is_some() { Event::Misdelivered } else { Event::Stray };
        };
        let here = Place { socket, source: client.place.source };
        let at = client.place.source.map(Into::into);
        if client.place != here || (at.is_some() && arrived.at != at) {
            return Event::Misdelivered;
        }
        match (beat, ack) {
            (Some(beat), _) if beat.sequence < client.next => {
                let order = client.replies.note(beat.sequence);
                Event::Reply { client: index, sent_at: Nanos(beat.sent_at_nanos), order }
            }
            (_, Some(ack)) => Event::Ack { client: index, status: ack.status },
            _ => Event::Stray,
        }
    }
}

impl Nanos {
    pub(super) fn after(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_add(duration.as_nanos() as u64))
    }

    /// The time since `earlier`; zero when that is later.
    pub(super) fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Whether it was sent. That nobody listened to an earlier datagram is for who counts replies.
fn sent(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if is_momentary(&error) || error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

/// The only opcode of extended control packets.
const OPCODE_SWITCH: u8 = 1;
/// Room for an acknowledgement with the longest magic.
const MIN_SLOT_BYTES: usize = 64;
