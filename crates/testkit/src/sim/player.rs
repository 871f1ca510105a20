//! Players: sans-I/O clients that ask, play and remember what they got.

use std::time::Duration;

use udp_director_core::{ClientAddr, ListenerId, Moment};
use udp_director_wire::{AckRequest, AckStatus, ControlPacket, Magic, Token};

use super::beat::{Beat, Echo};

/// How long a player waits for an acknowledgement before it asks again.
const REPEAT: Duration = Duration::from_millis(100);

/// From one beat of a player to the next: 60 Hz.
pub const PERIOD: Duration = Duration::from_micros(16_667);

/// Which player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlayerId(pub u32);

/// A client of the director: one socket on one listener.
#[derive(Debug)]
pub struct Player {
    id: PlayerId,
    listener: ListenerId,
    client: ClientAddr,
    token: Token,
    asking: Option<Asking>,
    asked: u64,
    bound: bool,
    beat_due: Moment,
    plays_until: Moment,
    beats: u32,
    echoes: Vec<Echo>,
    refusals: Vec<AckStatus>,
}

#[derive(Debug)]
struct Asking {
    nonce: [u8; 8],
    due: Moment,
}

impl Player {
    pub(super) fn new(id: PlayerId, listener: ListenerId, client: ClientAddr, token: Token) -> Player {
        Player {
            id,
            listener,
            client,
            token,
            asking: None,
            asked: 0,
            bound: false,
            beat_due: Moment::default(),
            plays_until: Moment::default(),
            beats: 0,
            echoes: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Which player this is.
    pub fn id(&self) -> PlayerId {
        self.id
    }

    /// Where the player is.
    pub fn client(&self) -> ClientAddr {
        self.client
    }

    /// The listener that the player talks to.
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// How many beats the player has sent.
    pub fn beats(&self) -> u32 {
        self.beats
    }

    /// The echoes that came back, in order.
    pub fn echoes(&self) -> &[Echo] {
        &self.echoes
    }

    /// What the director refused.
    pub fn refusals(&self) -> &[AckStatus] {
        &self.refusals
    }

    /// Whether the director has acknowledged the last control packet.
    pub fn is_settled(&self) -> bool {
        self.bound && self.asking.is_none()
    }

    /// Sends the token in control packets until one is acknowledged.
    pub(super) fn ask(&mut self, token: Token, now: Moment) {
        self.token = token;
        self.asked += 1;
        let nonce = (u64::from(self.id.0) << 32 | self.asked).to_be_bytes();
        self.asking = Some(Asking { nonce, due: now });
    }

    /// Is at another address from now on, and says so.
    pub(super) fn rebind(&mut self, client: ClientAddr, now: Moment) {
        self.client = client;
        self.ask(self.token, now);
    }

    /// Sends beats until the moment, once the token is acknowledged.
    pub(super) fn play(&mut self, until: Moment, now: Moment) {
        self.beat_due = now;
        self.plays_until = until;
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        let beat = (self.bound && self.beat_due < self.plays_until).then_some(self.beat_due);
        let ask = self.asking.as_ref().map(|asking| asking.due);
        beat.into_iter().chain(ask).min()
    }

    /// What the player sends now.
    pub(super) fn wake(&mut self, now: Moment, magic: &Magic) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        if let Some(asking) = self.asking.as_mut().filter(|asking| asking.due <= now) {
            asking.due = now + REPEAT;
            let ack = Some(AckRequest { opcode: AckRequest::SWITCH, nonce: asking.nonce });
            datagrams.push(magic.encode_control(&ControlPacket { token: self.token, ack }));
        }
        if self.bound && self.beat_due <= now && now < self.plays_until {
            datagrams.push(Beat { player: self.id.0, number: self.beats }.encode());
            self.beats += 1;
            self.beat_due = now + PERIOD;
        }
        datagrams
    }

    /// The next beats, at once.
    pub(super) fn burst(&mut self, count: u32) -> Vec<Vec<u8>> {
        let beat = |number| Beat { player: self.id.0, number }.encode();
        let datagrams = (self.beats..self.beats + count).map(beat).collect();
        self.beats += count;
        datagrams
    }

    pub(super) fn receive(&mut self, datagram: &[u8], magic: &Magic) {
        let Some(ack) = magic.parse_ack(datagram) else {
            self.echoes.extend(Echo::parse(datagram));
            return;
        };
        if self.asking.as_ref().is_none_or(|asking| asking.nonce != ack.request.nonce) {
            return;
        }
        // Who is told that the director is busy asks again.
        if ack.status != AckStatus::Busy {
            self.asking = None;
        }
        match ack.status {
            AckStatus::Done => self.bound = true,
            refused => self.refusals.push(refused),
        }
    }
}
