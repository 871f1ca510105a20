//! A simulated network around real forwarders: players, links, workers and backends in virtual time.
//!
//! ```text
//! player --client link--> worker (by hash of listener and address) --cluster link--> backend
//! player <--client link-- worker that reads the upstream socket   <--cluster link-- (echoes)
//!                         workers tell each other messages, with a delay
//! ```
//! Everything follows from the seed: the same seed plays the same game.

mod acts;
mod beat;
mod carry;
mod link;
mod moves;
mod player;
mod queue;
mod random;
mod setup;
mod sockets;
mod watch;
mod world;

pub use beat::{Beat, Echo};
pub use link::{Link, Way};
pub use player::{PERIOD, Player, PlayerId};
pub use random::Random;
pub use setup::{GAME, Setup, VOICE, backend, client, client_at, lobby, settings};
pub use watch::{Arrived, Carried, Delivered, Watch};
pub use world::World;
