//! Where a connection comes from, and where it came in.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use udp_director_core::{ClientAddr, ListenerId, Settings, canonical};
use udp_director_wire::proxy_header;

/// Where a connection comes from, and where it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) listener: ListenerId,
    pub(super) client: ClientAddr,
    /// The director's own address that the client connected to: on a host with several, the one that
    /// was meant.
    pub(super) local: SocketAddr,
}

impl Origin {
    pub(super) fn of(stream: &TcpStream, from: SocketAddr, listener: ListenerId) -> io::Result<Origin> {
        let local = canonical(stream.local_addr()?);
        Ok(Origin { listener, client: ClientAddr::new(from), local })
    }

    /// What a backend is told before all else: nothing, or the client's real address.
    pub(super) fn header(&self, settings: &Settings) -> Vec<u8> {
        match settings.listener(self.listener) {
            Some(listener) if listener.proxy_protocol => {
                proxy_header(self.client.socket_addr(), self.local, false)
            }
            _ => Vec::new(),
        }
    }
}
