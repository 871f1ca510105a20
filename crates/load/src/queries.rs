//! Queries at a rate, and how long their answers take.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use udp_director_client::QueryError;

use crate::ask::{Asker, Asking};
use crate::latency::Latency;

/// How queries are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inquiry {
    /// How many a second over all connections, each in its turn; `None`: the next as soon as the
    /// connection has its answer.
    pub rate: Option<f64>,
    /// For how long it asks before anything counts.
    pub warm_up: Duration,
    /// For how long it asks then.
    pub duration: Duration,
}

/// What an inquiry has found.
#[derive(Clone, Debug, Default)]
pub struct Inquired {
    /// Queries that were answered.
    pub answered: u64,
    /// For how long it was counted: until the last answer, which can be late.
    pub elapsed: Duration,
    /// From when a query was due to its answer.
    pub latency: Latency,
}

impl Inquiry {
    /// Asks over kept connections. A query waits for the answer before it on its connection, and that
    /// counts in its latency.
    ///
    /// # Errors
    /// The first refusal, or broken connection.
    pub async fn run(&self, asking: &Asking) -> Result<Inquired, QueryError> {
        let mut askers = Vec::new();
        for _ in 0..asking.connections {
            askers.push(asking.connect(None).await?);
        }
        let (start, count) = (Instant::now(), askers.len());
        let mut turns = JoinSet::new();
        for (number, asker) in askers.into_iter().enumerate() {
            let pace = self.rate.map(|rate| Duration::from_secs_f64(count as f64 / rate));
            let offset = pace.unwrap_or_default().mul_f64(number as f64 / count as f64);
            turns.spawn((*self).on(asker, start + offset, pace));
        }
        let mut found = Inquired::default();
        while let Some(turn) = turns.join_next().await {
            let latency = turn.expect("a connection neither panics nor is aborted")?;
            found.answered += latency.count();
            found.latency.merge(&latency);
        }
        found.elapsed = (start + self.warm_up).elapsed().max(self.duration);
        Ok(found)
    }

    async fn on(
        self,
        mut asker: Asker,
        start: Instant,
        pace: Option<Duration>,
    ) -> Result<Latency, QueryError> {
        let counted_from = start + self.warm_up;
        let until = counted_from + self.duration;
        let mut latency = Latency::new();
        let mut due = start;
        while due < until {
            tokio::time::sleep_until(due.into()).await;
            asker.ask(1).await?;
            if due >= counted_from {
                latency.add(due.elapsed());
            }
            due = pace.map_or_else(Instant::now, |pace| due + pace);
        }
        Ok(latency)
    }
}
