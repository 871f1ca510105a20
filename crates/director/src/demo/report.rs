//! The demo in words and figures, for a terminal.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::outcome::{Outcome, Route, name};
use super::stage::{ADMIN_PORT, Map, Stage};
use super::{PLAYERS, RATE_HZ};

/// What is about to be played, and the head of the table that follows.
pub(super) fn opening(query: SocketAddr, data: SocketAddr, stage: &Stage, length: Duration) -> String {
    let (alpha, beta) = (stage.alpha.addr(), stage.beta.addr());
    format!(
        "director   query {query}   data {data}
servers    alpha {alpha}   beta {beta}
{PLAYERS} players asked for map=canyon, got tokens and connected: alpha serves them.
They play at {RATE_HZ} Hz for {} s and are moved to map=harbor, beta, half-way.

second     alpha      beta      lost    p50 us    p99 us     moved
",
        length.as_secs()
    )
}

/// One line for the time between two moments of the game.
pub(super) fn live(at: Duration, before: &Outcome, now: &Outcome) -> String {
    let (was, is) = (&before.through, &now.through);
    let lately = is.round_trips.since(&was.round_trips);
    format!(
        "{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        at.as_secs(),
        is.by_alpha - was.by_alpha,
        is.by_beta - was.by_beta,
        is.lost,
        micros(lately.at(0.5)),
        micros(lately.at(0.99)),
        now.moved,
    )
}

/// What came of it.
pub(super) fn summary(outcome: &Outcome) -> String {
    let (through, straight) = (&outcome.through, &outcome.straight);
    format!(
        "
datagrams                 sent      lost  duplicated  reordered    p50 us    p99 us
through the director{}
straight to the server{}
added{:>69}{:>10}

player   served by
{}
slowest move acknowledged after {} us; longest time between two replies to a player {} us
{}",
        figures(through, 10),
        figures(straight, 8),
        added(through, straight, 0.5),
        added(through, straight, 0.99),
        parts(outcome),
        micros(outcome.slowest_move),
        micros(through.longest_gap),
        verdict(&outcome.faults()),
    )
}

/// What can be tried while the demo stays up.
pub(super) fn commands(query: SocketAddr, stage: &Stage) -> String {
    let (ip, map) = (query.ip(), Map::Harbor.name());
    let ask = format!(
        r#"printf '{{"resourceType":"gameserver","labelSelector":{{"map":"{map}"}}}}\n' | nc -w 1 {ip} {}"#,
        query.port()
    );
    format!(
        r#"
Everything stays up until you press Ctrl-C. In another terminal:

  ask for a server, and get a token
    {ask}
  play: the token first, then a datagram that comes back from beta
    token=$({ask} | cut -d'"' -f4)
    (printf %s "$token"; sleep 0.2; echo hello; sleep 0.5) | nc -u -w 1 {ip} 7777
  see what the director counts
    curl http://{ip}:{ADMIN_PORT}/metrics
  change the inventory while it runs
    {}
"#,
        stage.inventory_file().display()
    )
}

fn figures(route: &Route, width: usize) -> String {
    format!(
        "{:>width$}{:>10}{:>12}{:>11}{:>10}{:>10}",
        route.sent,
        route.lost,
        route.duplicated,
        route.reordered,
        micros(route.round_trips.at(0.5)),
        micros(route.round_trips.at(0.99)),
    )
}

fn added(through: &Route, straight: &Route, quantile: f64) -> String {
    let us = |route: &Route| route.round_trips.at(quantile).as_secs_f64() * 1e6;
    format!("{:+.0}", us(through) - us(straight))
}

fn parts(outcome: &Outcome) -> String {
    let mut lines = String::new();
    for (player, served) in &outcome.served {
        let parts: Vec<_> =
            served.iter().map(|part| format!("{} {}-{}", name(part.server), part.first, part.last)).collect();
        let parts = if parts.is_empty() { "nobody".into() } else { parts.join(", ") };
        writeln!(lines, "{player:>6}   {parts}").expect("a String takes everything");
    }
    lines
}

fn verdict(faults: &[String]) -> String {
    if faults.is_empty() {
        return "ok: nothing was lost or duplicated, and every player moved from alpha to beta\n".into();
    }
    faults.iter().map(|fault| format!("failed: {fault}\n")).collect()
}

fn micros(duration: Duration) -> String {
    format!("{:.0}", duration.as_secs_f64() * 1e6)
}
