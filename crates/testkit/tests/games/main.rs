//! The rules of the game, told over a simulated network.

mod bounds;
mod default_endpoint;
mod endings;
mod leaving;
mod migration;
mod resume;
mod tokens;
mod whole;

use udp_director_core::ClientAddr;
use udp_director_testkit::sim::{GAME, Setup, World, client, client_at};

/// Two addresses of one IP that are served by different workers of two.
fn two_workers() -> (ClientAddr, ClientAddr) {
    let world = World::new(Setup { workers: 2, ..Setup::default() });
    let here = client("192.0.2.1:5000");
    let other = |port| client_at(1, port);
    let there = (5001..6000).map(other).find(|at| world.worker_of(GAME, *at) != world.worker_of(GAME, here));
    (here, there.expect("one of a thousand ports is the other worker's"))
}
