//! HTTP/1 with bounds: connections, and what each may take of them.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Serves one request a connection until `stop` is done.
pub(super) async fn serve(router: Router, listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let room = connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            () = &mut stop => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => drop(connections.spawn(answer(stream, router.clone()))),
                Err(error) => pause_accepting(&error).await,
            }
        }
    }
}

/// The deadline covers everything: a request that trickles in, and a client that does not read.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks off is its own affair.
    let _ = timeout(CONNECTION_DEADLINE, connection).await;
}

async fn pause_accepting(error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    tracing::warn!(%error, "the admin port cannot accept connections; trying again in {ACCEPT_PAUSE:?}");
    sleep(ACCEPT_PAUSE).await;
}

const MAX_CONNECTIONS: usize = 64;

const MAX_HEAD_BYTES: usize = 16_384;

const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
