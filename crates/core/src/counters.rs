//! What a worker counts. One worker writes, the metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::refusal::Refusal;

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// No session, no token, and no default endpoint to take it.
    NoSession,
    /// A token or a control packet was refused.
    Refused(Refusal),
    /// As many datagrams wait for a token as may.
    HoldFull,
    /// From an address that is not the backend of any session on that upstream socket.
    UnknownSource,
    /// From a backend that its player has left.
    LateReply,
    /// Its session is parked: the backend is gone, and no other matches yet.
    Parked,
    /// The socket buffer towards the receiver is full.
    BufferFull,
    /// The receiver's host, network or port is unreachable, by ICMP or by the routing table.
    Unreachable,
    /// Bigger than the path takes.
    TooBig,
    /// Cut by the kernel on receipt.
    Truncated,
    /// Any other error of the kernel on sending.
    SendFailed,
    /// A TCP connection that the kernel did not hand over: its client was gone, or the process is
    /// out of descriptors.
    AcceptFailed,
    /// It found the buffer of one of our sockets full: a worker did not get to read it in time.
    Overflow,
}

impl Dropped {
    /// How many values there are.
    pub const COUNT: usize = 12 + Refusal::ALL.len();

    /// Every value.
    pub fn all() -> impl Iterator<Item = Dropped> {
        use Dropped::*;
        let plain = [
            NoSession,
            HoldFull,
            UnknownSource,
            LateReply,
            Parked,
            BufferFull,
            Unreachable,
            TooBig,
            Truncated,
            SendFailed,
            AcceptFailed,
            Overflow,
        ];
        plain.into_iter().chain(Refusal::ALL.map(Refused))
    }

    /// The reason's name in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Dropped::NoSession => "no_session",
            Dropped::Refused(Refusal::NoSession) => "session_ended",
            Dropped::Refused(refusal) => refusal.reason(),
            Dropped::HoldFull => "hold_full",
            Dropped::UnknownSource => "unknown_source",
            Dropped::LateReply => "late_reply",
            Dropped::Parked => "parked",
            Dropped::BufferFull => "buffer_full",
            Dropped::Unreachable => "unreachable",
            Dropped::TooBig => "too_big",
            Dropped::Truncated => "truncated",
            Dropped::SendFailed => "send_failed",
            Dropped::AcceptFailed => "accept_failed",
            Dropped::Overflow => "receive_buffer_full",
        }
    }

    fn index(self) -> usize {
        match self {
            Dropped::NoSession => 0,
            Dropped::HoldFull => 1,
            Dropped::UnknownSource => 2,
            Dropped::LateReply => 3,
            Dropped::BufferFull => 4,
            Dropped::Unreachable => 5,
            Dropped::TooBig => 6,
            Dropped::Truncated => 7,
            Dropped::SendFailed => 8,
            Dropped::AcceptFailed => 9,
            Dropped::Overflow => 10,
            Dropped::Parked => 11,
            Dropped::Refused(refusal) => 12 + refusal as usize,
        }
    }
}

/// Something that happened to a session or a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A session began with a token.
    OpenedByToken,
    /// A session began on the default endpoint.
    OpenedByDefault,
    /// A session was migrated by its client.
    MigratedByClient,
    /// A session was migrated by a reset over the query port.
    MigratedByReset,
    /// A session was migrated since its backend leaves.
    MigratedByDirector,
    /// A session was migrated by an operator.
    MigratedByOperator,
    /// A session was resumed from another client address.
    Resumed,
    /// A token or control packet changed nothing, since it had been done before.
    Repeated,
    /// A session ended since nothing used it.
    EndedIdle,
    /// A session ended since its backend is gone.
    EndedBackendGone,
    /// A session ended since its client's or backend's TCP connection ended.
    EndedClosed,
    /// A session ended since its client's address was taken over with its own IP's token.
    EndedReplaced,
    /// An ICMP error came back for a datagram to a backend.
    BackendUnreachable,
    /// An ICMP error came back for a datagram to a client.
    ClientUnreachable,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 14] = [
        Event::OpenedByToken,
        Event::OpenedByDefault,
        Event::MigratedByClient,
        Event::MigratedByReset,
        Event::MigratedByDirector,
        Event::MigratedByOperator,
        Event::Resumed,
        Event::Repeated,
        Event::EndedIdle,
        Event::EndedBackendGone,
        Event::EndedClosed,
        Event::EndedReplaced,
        Event::BackendUnreachable,
        Event::ClientUnreachable,
    ];
}

/// Datagrams and bytes of one kind.
#[derive(Debug, Default)]
pub struct Volume {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

impl Volume {
    /// Adds what a batch carried.
    pub fn add(&self, datagrams: u64, bytes: u64) {
        self.datagrams.fetch_add(datagrams, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Datagrams and bytes so far.
    pub fn read(&self) -> (u64, u64) {
        (self.datagrams.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// What one worker, or all TCP connections together, have counted.
#[derive(Debug)]
pub struct Counters {
    /// Received from clients.
    pub from_clients: Volume,
    /// Received from backends.
    pub from_backends: Volume,
    /// Sent to backends.
    pub to_backends: Volume,
    /// Sent to clients.
    pub to_clients: Volume,
    drops: [AtomicU64; Dropped::COUNT],
    events: [AtomicU64; Event::ALL.len()],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            from_clients: Volume::default(),
            from_backends: Volume::default(),
            to_backends: Volume::default(),
            to_clients: Volume::default(),
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
            events: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    /// Counts a dropped datagram, or a refused TCP connection.
    pub fn dropped(&self, drop: Dropped) {
        self.dropped_many(drop, 1);
    }

    /// Counts so many dropped datagrams at once.
    pub fn dropped_many(&self, drop: Dropped, count: u64) {
        self.drops[drop.index()].fetch_add(count, Ordering::Relaxed);
    }

    /// Counts an event.
    pub fn happened(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was the reason for a drop.
    pub fn drops(&self, drop: Dropped) -> u64 {
        self.drops[drop.index()].load(Ordering::Relaxed)
    }

    /// How often that has happened.
    pub fn events(&self, event: Event) -> u64 {
        self.events[event as usize].load(Ordering::Relaxed)
    }
}
