//! What a run has found, for people (`Display`) and for programs (`Serialize`).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::ask::Asked;
use crate::latency::Latency;
use crate::queries::Inquired;
use crate::swarm::{Opened, Played};

/// What a swarm has found.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The tokens that were asked for; `None` when the clients came without.
    pub tokens: Option<TokenFigures>,
    /// How the sessions opened.
    pub opening: OpeningFigures,
    /// How the game went; `None` when the sessions were opened only.
    pub play: Option<PlayFigures>,
}

/// Figures of the asking.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokenFigures {
    /// Tokens given.
    pub given: usize,
    /// How long that took.
    pub seconds: f64,
    /// Tokens given a second.
    pub per_second: f64,
}

/// Figures of the opening.
#[derive(Clone, Debug, Serialize)]
pub struct OpeningFigures {
    /// Sessions opened.
    pub opened: u64,
    /// Clients that got no reply.
    pub failed: u64,
    /// How long that took.
    pub seconds: f64,
    /// Sessions opened a second.
    pub per_second: f64,
    /// From a client's first datagram to its first reply.
    pub latency_us: Quantiles,
}

/// Figures of the game.
#[derive(Clone, Debug, Serialize)]
pub struct PlayFigures {
    /// For how long it was counted.
    pub seconds: f64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams sent a second.
    pub sent_per_second: f64,
    /// Datagrams that were due and that this host did not get out.
    pub unsent: u64,
    /// Datagrams answered.
    pub answered: u64,
    /// Datagrams not answered.
    pub lost: u64,
    /// Further replies to a datagram.
    pub duplicated: u64,
    /// Replies behind the reply to a later datagram of the client.
    pub reordered: u64,
    /// Replies that reached another client.
    pub misdelivered: u64,
    /// Datagrams that are no replies.
    pub strays: u64,
    /// The longest that a datagram was sent behind its time, in microseconds.
    pub behind_us: f64,
    /// From when a datagram was due to its reply.
    pub round_trip_us: Quantiles,
}

/// What an inquiry has found.
#[derive(Clone, Debug, Serialize)]
pub struct QueryReport {
    /// Queries answered.
    pub answered: u64,
    /// For how long it was counted.
    pub seconds: f64,
    /// Queries answered a second.
    pub per_second: f64,
    /// From when a query was due to its answer.
    pub latency_us: Quantiles,
}

/// What shares of all durations do not exceed, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// Half of all.
    pub p50: f64,
    /// 90 in a hundred.
    pub p90: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// 999 in a thousand.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl RunReport {
    /// Puts the findings together.
    pub fn new(asked: Option<&Asked>, opened: &Opened, played: Option<&Played>) -> RunReport {
        RunReport { tokens: asked.map(Into::into), opening: opened.into(), play: played.map(Into::into) }
    }
}

impl From<&Asked> for TokenFigures {
    fn from(asked: &Asked) -> TokenFigures {
        let given = asked.tokens.len();
        let seconds = asked.elapsed.as_secs_f64();
        TokenFigures { given, seconds, per_second: given as f64 / seconds }
    }
}

impl From<&Opened> for OpeningFigures {
    fn from(found: &Opened) -> OpeningFigures {
        let seconds = found.elapsed.as_secs_f64();
        OpeningFigures {
            opened: found.opened,
            failed: found.unanswered + found.refused.values().sum::<u64>(),
            seconds,
            per_second: found.opened as f64 / seconds,
            latency_us: (&found.latency).into(),
        }
    }
}

impl From<&Played> for PlayFigures {
    fn from(found: &Played) -> PlayFigures {
        let seconds = found.elapsed.as_secs_f64();
        PlayFigures {
            seconds,
            sent: found.sent,
            sent_per_second: found.sent as f64 / seconds,
            unsent: found.unsent,
            answered: found.answered,
            lost: found.lost(),
            duplicated: found.duplicated,
            reordered: found.reordered,
            misdelivered: found.misdelivered,
            strays: found.strays,
            behind_us: micros(found.behind),
            round_trip_us: (&found.round_trips).into(),
        }
    }
}

impl From<&Inquired> for QueryReport {
    fn from(found: &Inquired) -> QueryReport {
        let seconds = found.elapsed.as_secs_f64();
        QueryReport {
            answered: found.answered,
            seconds,
            per_second: found.answered as f64 / seconds,
            latency_us: (&found.latency).into(),
        }
    }
}

impl From<&Latency> for Quantiles {
    fn from(latency: &Latency) -> Quantiles {
        let at = |quantile| micros(latency.at(quantile));
        let max = micros(latency.longest());
        Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tokens) = &self.tokens {
            let TokenFigures { given, seconds, per_second } = tokens;
            writeln!(f, "tokens      {given} in {seconds:.2} s, {per_second:.0} a second")?;
        }
        let OpeningFigures { opened, failed, seconds, per_second, latency_us } = &self.opening;
        writeln!(
            f,
            "sessions    {opened} opened in {seconds:.2} s, {per_second:.0} a second; {failed} failed"
        )?;
        write!(f, "opening     {latency_us}")?;
        self.play.iter().try_for_each(|play| write!(f, "\n{play}"))
    }
}

impl fmt::Display for PlayFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlayFigures { sent, seconds, sent_per_second, unsent, behind_us, .. } = self;
        let PlayFigures { answered, lost, duplicated, reordered, misdelivered, strays, .. } = self;
        let behind = Duration::from_secs_f64(behind_us / 1e6);
        let share = *lost as f64 * 100.0 / (*sent).max(1) as f64;
        writeln!(f, "sent        {sent} in {seconds:.1} s, {sent_per_second:.0} a second")?;
        writeln!(f, "not sent    {unsent}, {behind:.1?} behind time at most")?;
        writeln!(f, "answered    {answered}, lost {lost} ({share:.4} %)")?;
        writeln!(
            f,
            "astray      duplicated {duplicated}, reordered {reordered}, misdelivered {misdelivered}, others {strays}"
        )?;
        write!(f, "round trip  {}", self.round_trip_us)
    }
}

impl fmt::Display for QueryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueryReport { answered, seconds, per_second, latency_us } = self;
        writeln!(f, "queries     {answered} answered in {seconds:.1} s, {per_second:.0} a second")?;
        write!(f, "answer      {latency_us}")
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quantiles { p50, p90, p99, p999, max } = self;
        write!(f, "p50 {p50:.0} us, p90 {p90:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us, max {max:.0} us")
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1_000.0
}
