//! Draining from the command line: by signals, and by `udp-director drain`.

use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use tracing::info;
use udp_director_director::process::Director;

/// How long the admin port is waited for.
const DEADLINE: Duration = Duration::from_secs(10);

/// The signals that end a director.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Waits for them from now on.
    pub(super) fn new() -> anyhow::Result<Signals> {
        let wait = |kind| signal(kind).context("cannot wait for signals");
        Ok(Signals { terminate: wait(SignalKind::terminate())?, interrupt: wait(SignalKind::interrupt())? })
    }

    /// The next one, by its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Drains until the last session has ended, the time is over, or another signal comes; `signalled` says
/// whether one has been the reason to drain.
///
/// # Errors
/// A part of the director has failed meanwhile.
pub(super) async fn drain(
    director: &mut Director,
    signals: &mut Signals,
    mut signalled: bool,
) -> anyhow::Result<()> {
    director.drain();
    let time_is_over = sleep(director.drain_time());
    tokio::pin!(time_is_over);
    let why = loop {
        tokio::select! {
            () = director.last_session_ended() => break "the last session has ended",
            () = &mut time_is_over => break "drainSeconds are over",
            // The one that says what whoever has asked for the drain wants is no second one.
            _ = signals.next() => if std::mem::replace(&mut signalled, true) { break "another signal" },
            failure = director.failed() => return Err(failure),
        }
    };
    info!(why, "drained");
    Ok(())
}

/// Asks the director at that admin port to drain. Gives its answer.
///
/// # Errors
/// It is not there, or answers anything else.
pub(super) async fn ask(admin: &str) -> anyhow::Result<String> {
    let answer = timeout(DEADLINE, post(admin)).await;
    answer.map_err(|_| anyhow::anyhow!("{admin} has not answered within {} s", DEADLINE.as_secs()))?
}

async fn post(admin: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(admin).await.with_context(|| format!("cannot connect to {admin}"))?;
    let request =
        format!("POST /v1/drain HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("nothing");
    anyhow::ensure!(status == "202", "{admin} answers {status}: {}", body.trim());
    Ok(body.trim().to_owned())
}
