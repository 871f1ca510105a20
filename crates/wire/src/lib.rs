//! Bytes and values of the UDP Director protocol: tokens, control packets, query documents.
//!
//! Nothing here does I/O, reads a clock or waits. Every parser takes bytes from outside and either
//! gives a checked value or says what is wrong; none panics on any input.
#![forbid(unsafe_code)]

mod control;
mod preamble;
mod proxy;
mod query;
mod token;

pub use control::{Ack, AckRequest, AckStatus, ControlPacket, Magic, MagicError};
pub use preamble::{Preamble, parse_preamble};
pub use proxy::proxy_header;
pub use query::{
    Answer, ErrorAnswer, ErrorCode, LabelSelector, Query, Request, RequestError, ResetAnswer, SessionReset,
    StatusQuery, parse_request,
};
pub use token::{SEALED_LEN, TOKEN_LEN, Token, TokenForm, parse_bare_token};
