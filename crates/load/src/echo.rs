//! A game server with a name that gives back what it gets, over UDP and TCP on one port number.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::beat::{Beat, ServerId};
use crate::datagrams::{self, Arrivals};

/// A running echo server, in one thread of its own; it stops when this is dropped.
///
/// What comes back is what came in, byte for byte, but for one field: beats carry the server's id
/// back. It comes from the address that was asked, so that one server which listens on `0.0.0.0` or
/// `::` can stand for as many as this host has addresses. At most 16,384 TCP connections are held; further ones are closed at once.
#[derive(Debug)]
pub struct EchoServer {
    name: String,
    id: ServerId,
    addr: SocketAddr,
    /// The thread ends when its sender is dropped.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl EchoServer {
    /// Binds `listen` for both protocols and serves; port 0 takes one that both have free.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(listen: SocketAddr, name: &str, id: ServerId) -> io::Result<EchoServer> {
        let (udp, tcp) = bind(listen)?;
        let addr = udp.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("echo-{name}"))
            .spawn(move || runtime.block_on(serve(udp, tcp, id, stopped)))?;
        Ok(EchoServer { name: name.to_owned(), id, addr, running: Some((stop, thread)) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs beats with.
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// The address that it serves, for UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic in there was printed when it happened, and is no reason for another here.
            let _ = thread.join();
        }
    }
}

fn bind(listen: SocketAddr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut attempts = if listen.port() == 0 { FREE_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let tcp = std::net::TcpListener::bind(listen)?;
        match std::net::UdpSocket::bind(tcp.local_addr()?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            udp => return prepare(udp?, tcp),
        }
    }
}

fn prepare(
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    socket2::SockRef::from(&udp).set_recv_buffer_size(BUFFER_BYTES)?;
    socket2::SockRef::from(&udp).set_send_buffer_size(BUFFER_BYTES)?;
    datagrams::tell_local_addr(&udp, udp.local_addr()?.is_ipv6())?;
    Ok((udp, tcp))
}

async fn serve(
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    id: ServerId,
    stopped: oneshot::Receiver<()>,
) {
    let udp = UdpSocket::from_std(udp).expect("the runtime drives sockets");
    let tcp = TcpListener::from_std(tcp).expect("the runtime drives sockets");
    tokio::select! {
        _ = stopped => {}
        () = serve_udp(&udp, id) => {}
        () = serve_tcp(&tcp) => {}
    }
}

async fn serve_udp(socket: &UdpSocket, id: ServerId) {
    let mut arrivals = Arrivals::new(MAX_DATAGRAM_BYTES);
    loop {
        let receive = || arrivals.receive(socket);
        // An error here is an ICMP message about an earlier echo, or memory: the next may do.
        let Ok(count) = socket.async_io(Interest::READABLE, receive).await else {
            tokio::task::yield_now().await;
            continue;
        };
        for place in 0..count {
            let (arrived, datagram) = arrivals.datagram_mut(place);
            Beat::sign(datagram, id);
            // What cannot be sent is lost, as on any network; whoever counts will see it.
            let _ = datagrams::send(socket, arrived.at, arrived.from, datagram);
        }
    }
}

async fn serve_tcp(listener: &TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(echo_stream(stream));
            }
            Ok((refused, _)) => drop(refused),
            // Out of descriptors: some will be free again.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Gives back all that comes, and then the end of the stream too; a broken connection just ends.
async fn echo_stream(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut writer).await
}

const FREE_PORT_ATTEMPTS: u32 = 16;
const MAX_DATAGRAM_BYTES: usize = 65_535;
const MAX_CONNECTIONS: usize = 16_384;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The default holds some 280 small datagrams, which one slice of the scheduler can fill; the system
/// may allow less than this.
const BUFFER_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;

    fn server() -> EchoServer {
        EchoServer::start("127.0.0.1:0".parse().expect("an address"), "alpha", ServerId(3))
            .expect("a free port")
    }

    fn client(server: &EchoServer) -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(server.addr()).expect("loopback is there");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        socket
    }

    #[test]
    fn every_datagram_comes_back_untouched_but_for_the_signature() {
        let server = server();
        let client = client(&server);
        let beat = Beat { player: 1, sequence: 2, sent_at_nanos: 3, server: ServerId::UNKNOWN };
        let signed = Beat { server: ServerId(3), ..beat };
        for (sent, expected) in [
            (vec![], vec![]),
            (b"hello".to_vec(), b"hello".to_vec()),
            (vec![0xff; 65_507], vec![0xff; 65_507]),
            (beat.encode().to_vec(), signed.encode().to_vec()),
        ] {
            client.send(&sent).expect("it can send");
            let mut buf = vec![1; 65_535];
            let len = client.recv(&mut buf).expect("an echo");
            assert_eq!(&buf[..len], expected);
        }
    }

    #[test]
    fn stream_comes_back_whole_with_its_end() {
        let server = server();
        let mut stream = std::net::TcpStream::connect(server.addr()).expect("it listens");
        stream.write_all(&[7; 10_000]).expect("it takes bytes");
        stream.shutdown(Shutdown::Write).expect("half-close");
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).expect("it gives them back");
        assert_eq!(echoed, [7; 10_000]);
    }

    #[test]
    fn dropped_server_frees_its_port() {
        let addr = server().addr();
        EchoServer::start(addr, "beta", ServerId(4)).expect("the port is free again");
    }

    #[test]
    fn port_that_is_taken_is_an_error() {
        let server = server();
        let error = EchoServer::start(server.addr(), "beta", ServerId(4)).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
