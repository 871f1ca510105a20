//! Notices: a backend is asked before a player comes to it.

use std::net::SocketAddr;
use std::pin::pin;

use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use udp_director_core::{Backend, Player, Refusal};

use crate::config::Notice;

/// What a backend is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    /// The numbers of the player's sessions.
    sessions: Vec<u64>,
    from: Named<'a>,
    to: Named<'a>,
    /// Until when the answer is waited for.
    deadline_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    resource_type: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Named<'a> {
    fn new(backend: &'a Backend) -> Named<'a> {
        let spec = &backend.spec;
        Named { resource_type: &spec.resource_type, namespace: &spec.namespace, name: &spec.name }
    }
}

impl Notice {
    /// Asks a backend whether a player may come.
    ///
    /// # Errors
    /// It does not want him, or does not answer in time.
    pub(super) async fn ask(&self, player: &Player, to: &Backend) -> Result<(), Refusal> {
        let told = Told {
            sessions: player.sessions.iter().map(|at| at.id.0).collect(),
            from: Named::new(player.seat.backend()),
            to: Named::new(to),
            deadline_ms: self.deadline.as_millis() as u64,
        };
        let body = serde_json::to_string(&told).expect("texts and numbers are JSON");
        let addr = SocketAddr::new(to.spec.address, self.port);
        match timeout(self.deadline, self.post(addr, body)).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(_)) => Err(Refusal::NoticeRefused),
            Ok(Err(_)) | Err(_) => Err(Refusal::NoticeFailed),
        }
    }

    async fn post(&self, addr: SocketAddr, body: String) -> anyhow::Result<hyper::StatusCode> {
        let stream = TcpStream::connect(addr).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(&self.path)
            .header(HOST, addr.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(body)?;
        // The connection is driven as long as its answer is waited for, and dropped with it.
        let mut answer = pin!(sender.send_request(request));
        tokio::select! {
            answer = &mut answer => Ok(answer?.status()),
            ended = connection => {
                ended?;
                Ok(answer.await?.status())
            }
        }
    }
}
