//! Connections to backends, and how every TCP socket here is set up.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use udp_director_core::{BackendAddr, Refusal};

/// How long a backend may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A peer that vanished without a word is noticed after a minute and four probes; the probes also
/// keep the paths of home routers (30 s to some minutes) known on the way.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Connects to a backend, within five seconds.
///
/// # Errors
/// [`Refusal::NoUpstream`] where it is the director that has run out of ports, descriptors or memory,
/// else [`Refusal::BackendUnreachable`].
pub(super) async fn connect(to: BackendAddr) -> Result<TcpStream, Refusal> {
    match timeout(CONNECT_DEADLINE, TcpStream::connect(to.socket_addr())).await {
        Ok(Ok(stream)) => {
            tune(&stream);
            Ok(stream)
        }
        Ok(Err(error)) if is_shortage(&error) => Err(Refusal::NoUpstream),
        Ok(Err(_)) | Err(_) => Err(Refusal::BackendUnreachable),
    }
}

/// Sends small pieces at once, and notices a peer that vanished. A socket that takes neither is one
/// whose peer is gone, which reading from it tells.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE);
}

/// Says whether the error is our own lack of something, and not the peer's doing.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let short = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| short.contains(&code))
}
