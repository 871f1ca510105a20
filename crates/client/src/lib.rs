//! Client SDK of UDP Director: ask for a server, play on it, be moved while playing.
//!
//! ```no_run
//! use udp_director_client::{Query, QueryClient, Session};
//!
//! # async fn game() -> Result<(), Box<dyn std::error::Error>> {
//! let mut director = QueryClient::connect("director.example:9000").await?;
//! let lobby = Query { resource_type: "lobby".into(), ..Query::default() };
//! let answer = director.query(&lobby).await?;
//! let data = director.data_addr(&answer, "game-udp").ok_or("the lobby has no such port")?;
//!
//! let session = Session::connect(data, answer.token).await?;
//! session.send(b"hello").await?;
//! let mut datagram = [0; 1500];
//! let len = session.recv(&mut datagram).await?;
//! println!("the lobby says {:?}", &datagram[..len]);
//!
//! let arena = Query { resource_type: "arena".into(), ..Query::default() };
//! session.migrate(director.query(&arena).await?.token).await?;
//! session.send(b"hello again, from the same socket").await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod inbox;
mod query;
mod session;

pub use query::{QueryClient, QueryError};
pub use session::{Session, SessionError, SessionOptions};
pub use udp_director_wire::{
    AckStatus, Answer, ErrorCode, LabelSelector, Magic, Query, ResetAnswer, StatusQuery, Token,
};
