//! Why something that a client asked for is not done: closed sets, for counters and answers.

use udp_director_wire::AckStatus;

/// Why a token, a control packet or a new session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Never issued here, or expired and forgotten.
    #[error("the token is unknown or expired")]
    UnknownToken,
    /// Issued here, but its time is over.
    #[error("the token is expired")]
    ExpiredToken,
    /// Redeemed on this listener before: its session has ended or moved on.
    #[error("the token is used up on this listener")]
    UsedToken,
    /// For another client: another address holds its session, or another IP asked for it.
    #[error("the token belongs to another client")]
    WrongClient,
    /// Its backend is no longer in the inventory.
    #[error("the token's backend is gone")]
    BackendGone,
    /// Its backend has no seat left.
    #[error("the token's backend is full")]
    BackendFull,
    /// The backend takes no new players.
    #[error("the backend takes no new players")]
    BackendWithheld,
    /// Nothing else matches that has room.
    #[error("nothing else matches that has room")]
    NoMatch,
    /// The session is on that backend.
    #[error("the session is there already")]
    AlreadyThere,
    /// The new backend does not want the player, as it says itself.
    #[error("the new backend refuses the player")]
    NoticeRefused,
    /// The new backend has not answered whether it wants the player.
    #[error("the new backend does not answer the notice")]
    NoticeFailed,
    /// Its backend does not take the connection.
    #[error("the token's backend cannot be reached")]
    BackendUnreachable,
    /// Its backend has no port for this listener.
    #[error("the token's backend has no port for this listener")]
    NoPort,
    /// Nothing matches the default endpoint's query.
    #[error("no backend for the default endpoint")]
    NoDefaultBackend,
    /// The listener takes no new sessions.
    #[error("the listener is draining")]
    ListenerDraining,
    /// The director takes no new sessions: another one does.
    #[error("the director is draining")]
    Draining,
    /// `limits.maxSessions` is reached.
    #[error("the session limit is reached")]
    SessionLimit,
    /// As many TCP connections as there may be are open.
    #[error("the connection limit is reached")]
    ConnectionLimit,
    /// No upstream socket is to be had.
    #[error("no upstream socket is left")]
    NoUpstream,
    /// Too many messages to other workers wait.
    #[error("a worker is busy")]
    WorkerBusy,
    /// The session is not (or no longer) where it was looked for.
    #[error("no such session")]
    NoSession,
    /// The session has left that address a moment ago: the packet was probably under way.
    #[error("the session has just left this address")]
    JustLeft,
    /// As many tokens as there may be are known.
    #[error("the token limit is reached")]
    TokenLimit,
    /// The extended form carries an opcode that is not known here.
    #[error("unknown opcode")]
    UnknownOpcode,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Refusal; 24] = [
        Refusal::UnknownToken,
        Refusal::ExpiredToken,
        Refusal::UsedToken,
        Refusal::WrongClient,
        Refusal::BackendGone,
        Refusal::BackendFull,
        Refusal::BackendWithheld,
        Refusal::NoMatch,
        Refusal::AlreadyThere,
        Refusal::NoticeRefused,
        Refusal::NoticeFailed,
        Refusal::BackendUnreachable,
        Refusal::NoPort,
        Refusal::NoDefaultBackend,
        Refusal::ListenerDraining,
        Refusal::Draining,
        Refusal::SessionLimit,
        Refusal::ConnectionLimit,
        Refusal::NoUpstream,
        Refusal::WorkerBusy,
        Refusal::NoSession,
        Refusal::JustLeft,
        Refusal::TokenLimit,
        Refusal::UnknownOpcode,
    ];

    /// The reason's name in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::UnknownToken => "unknown_token",
            Refusal::ExpiredToken => "expired_token",
            Refusal::UsedToken => "used_token",
            Refusal::WrongClient => "wrong_client",
            Refusal::BackendGone => "backend_gone",
            Refusal::BackendFull => "backend_full",
            Refusal::BackendWithheld => "backend_withheld",
            Refusal::NoMatch => "no_match",
            Refusal::AlreadyThere => "already_there",
            Refusal::NoticeRefused => "notice_refused",
            Refusal::NoticeFailed => "notice_failed",
            Refusal::BackendUnreachable => "backend_unreachable",
            Refusal::NoPort => "no_port",
            Refusal::NoDefaultBackend => "no_default_backend",
            Refusal::ListenerDraining => "listener_draining",
            Refusal::Draining => "draining",
            Refusal::SessionLimit => "session_limit",
            Refusal::ConnectionLimit => "connection_limit",
            Refusal::NoUpstream => "no_upstream",
            Refusal::WorkerBusy => "worker_busy",
            Refusal::NoSession => "no_session",
            Refusal::JustLeft => "just_left",
            Refusal::TokenLimit => "token_limit",
            Refusal::UnknownOpcode => "unknown_opcode",
        }
    }

    /// The outcome that an acknowledgement tells.
    pub fn ack_status(self) -> AckStatus {
        match self {
            Refusal::UnknownToken | Refusal::ExpiredToken | Refusal::UsedToken | Refusal::NoSession => {
                AckStatus::InvalidToken
            }
            Refusal::WrongClient => AckStatus::NotYours,
            Refusal::BackendGone
            | Refusal::BackendFull
            | Refusal::BackendWithheld
            | Refusal::NoMatch
            | Refusal::AlreadyThere
            | Refusal::NoticeRefused
            | Refusal::NoticeFailed
            | Refusal::BackendUnreachable
            | Refusal::NoPort
            | Refusal::NoDefaultBackend => AckStatus::NoBackend,
            Refusal::ListenerDraining
            | Refusal::Draining
            | Refusal::SessionLimit
            | Refusal::ConnectionLimit
            | Refusal::NoUpstream
            | Refusal::JustLeft
            | Refusal::TokenLimit
            | Refusal::WorkerBusy => AckStatus::Busy,
            Refusal::UnknownOpcode => AckStatus::UnknownOpcode,
        }
    }
}
