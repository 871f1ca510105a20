//! The data ports: bound, served, and drained when a reload takes them away.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;
use udp_director_core::{Listener, ListenerId, Protocol, SharedLedger};
use udp_director_dataplane::tcp::Streams;
use udp_director_dataplane::{Listening, Workers};

use crate::config::DataPort;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Every data port that is open.
#[derive(Debug)]
pub(crate) struct Ports {
    bind: IpAddr,
    workers: Arc<Workers>,
    streams: Arc<Streams>,
    ledger: Arc<SharedLedger>,
    open: Vec<OpenPort>,
    next_id: u16,
}

/// A data port that is open.
#[derive(Debug)]
struct OpenPort {
    id: ListenerId,
    /// As configured: the port is 0 where any would do.
    wanted: DataPort,
    bound: SocketAddr,
    /// What arrives waits in it until [`Ports::serve`]; `None` once it is served.
    waiting: Option<Waiting>,
    /// Stops the accepting of TCP connections.
    stop: CancellationToken,
    /// It takes no new sessions, and closes with its last one.
    draining: bool,
}

/// A data port that is bound and not served yet.
#[derive(Debug)]
enum Waiting {
    Datagrams(Listening),
    Connections(TcpListener),
}

impl Waiting {
    fn addr(&self) -> io::Result<SocketAddr> {
        match self {
            Waiting::Datagrams(listening) => Ok(listening.addr()),
            Waiting::Connections(listener) => listener.local_addr(),
        }
    }
}

impl OpenPort {
    /// Whether this port can serve what is wanted without being bound anew: under any name, but
    /// where any port would do the name is all that tells which is meant.
    fn serves(&self, wanted: &DataPort) -> bool {
        let accepts = !self.draining || self.wanted.protocol == Protocol::Udp;
        let same = (self.wanted.protocol, self.wanted.port) == (wanted.protocol, wanted.port);
        accepts && same && (wanted.port != 0 || self.wanted.name == wanted.name)
    }
}

/// Ports that have been bound for a reload which is yet to be decided on.
#[derive(Debug)]
pub(crate) struct Change {
    keep: Vec<(ListenerId, DataPort)>,
    new: Vec<OpenPort>,
}

impl Ports {
    /// No port yet.
    pub(crate) fn new(
        bind: IpAddr,
        workers: Arc<Workers>,
        streams: Arc<Streams>,
        ledger: Arc<SharedLedger>,
    ) -> Ports {
        Ports { bind, workers, streams, ledger, open: Vec::new(), next_id: 0 }
    }

    /// Binds what is wanted and not open yet; what is open stays as it is. Nothing new is served before
    /// [`Ports::serve`].
    ///
    /// # Errors
    /// A port that cannot be bound, by name; nothing has changed then.
    pub(crate) fn prepare(&mut self, wanted: &[DataPort]) -> anyhow::Result<Change> {
        let mut change = Change { keep: Vec::new(), new: Vec::new() };
        for port in wanted {
            if let Some(open) = self.open.iter().find(|open| open.serves(port)) {
                change.keep.push((open.id, port.clone()));
                continue;
            }
            change.new.push(self.bind(port)?);
        }
        Ok(change)
    }

    /// Says whether [`Ports::prepare`] would find all of these open or free. Binds and closes: no
    /// listener begins for it, of which there are so many and no more in the life of a process.
    pub(crate) fn are_free(&self, wanted: &[DataPort]) -> bool {
        let mut new = wanted.iter().filter(|port| !self.open.iter().any(|open| open.serves(port)));
        new.all(|port| is_free(port.protocol, SocketAddr::new(self.bind, port.port)).is_ok())
    }

    /// Takes a prepared change over: what is no longer wanted begins to drain.
    pub(crate) fn commit(&mut self, change: Change) {
        for open in &mut self.open {
            let kept = change.keep.iter().find(|(id, _)| *id == open.id);
            let drains = kept.is_none();
            if drains && !open.draining {
                info!(listener = %open.wanted.name, "listener drains");
                open.stop.cancel();
            }
            if let Some((_, wanted)) = kept {
                open.wanted = wanted.clone();
            }
            open.draining = drains;
        }
        for open in &change.new {
            info!(listener = %open.wanted.name, protocol = ?open.wanted.protocol, address = %open.bound, "listener open");
        }
        self.open.extend(change.new);
    }

    /// Serves what is bound and not served yet.
    pub(crate) fn serve(&mut self) {
        for open in &mut self.open {
            match open.waiting.take() {
                Some(Waiting::Datagrams(listening)) => self.workers.serve(open.id, listening),
                Some(Waiting::Connections(listener)) => {
                    tokio::spawn(Arc::clone(&self.streams).serve(listener, open.id, open.stop.clone()));
                }
                None => {}
            }
        }
    }

    /// Closes the draining ports on which no session is left.
    pub(crate) fn close_drained(&mut self) {
        let (ledger, workers) = (&self.ledger, &self.workers);
        self.open.retain(|open| {
            let done = open.draining && ledger.lock().sessions_on(open.id) == 0;
            if done {
                info!(listener = %open.wanted.name, "listener closed");
                workers.unlisten(open.id);
            }
            !done
        });
    }

    /// The listeners that take new sessions, in the order of the configuration.
    pub(crate) fn listeners(&self, wanted: &[DataPort]) -> Vec<Listener> {
        let listener = |(position, port): (usize, &DataPort)| {
            let open = self.open.iter().find(|open| !open.draining && open.serves(port))?;
            Some(Listener {
                id: open.id,
                name: Arc::clone(&port.name),
                protocol: port.protocol,
                port: open.bound.port(),
                first_of_protocol: wanted[..position].iter().all(|earlier| earlier.protocol != port.protocol),
                proxy_protocol: port.proxy_protocol,
            })
        };
        wanted.iter().enumerate().filter_map(listener).collect()
    }

    /// What is bound: name, protocol and address of each port that takes new sessions.
    pub(crate) fn bound(&self) -> Vec<(Arc<str>, Protocol, SocketAddr)> {
        let taking = self.open.iter().filter(|open| !open.draining);
        taking.map(|open| (Arc::clone(&open.wanted.name), open.wanted.protocol, open.bound)).collect()
    }

    fn bind(&mut self, port: &DataPort) -> anyhow::Result<OpenPort> {
        let id = ListenerId(self.next_id);
        let next =
            self.next_id.checked_add(1).context("65,535 listeners have been opened; restart to go on")?;
        let addr = SocketAddr::new(self.bind, port.port);
        let (waiting, bound) = self.listen(port.protocol, addr).with_context(|| {
            format!("data port {:?}: cannot listen on {}", port.name, describe(port.protocol, addr))
        })?;
        self.next_id = next;
        let (waiting, stop) = (Some(waiting), CancellationToken::new());
        Ok(OpenPort { id, wanted: port.clone(), bound, waiting, stop, draining: false })
    }

    fn listen(&self, protocol: Protocol, addr: SocketAddr) -> io::Result<(Waiting, SocketAddr)> {
        let waiting = match protocol {
            Protocol::Udp => Waiting::Datagrams(self.workers.bind(addr)?),
            Protocol::Tcp => Waiting::Connections(tcp_listener(addr)?),
        };
        let bound = waiting.addr()?;
        Ok((waiting, bound))
    }
}

/// Names an address as people write it.
pub(crate) fn describe(protocol: Protocol, addr: SocketAddr) -> String {
    let protocol = match protocol {
        Protocol::Udp => "UDP",
        Protocol::Tcp => "TCP",
    };
    format!("{protocol} {addr}")
}

/// Binds a TCP listener; on `[::]` for both families.
pub(crate) fn tcp_listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(addr)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn tcp_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    bind(socket, addr)
}

/// Binds; on `[::]` for both families.
fn bind(socket: Socket, addr: SocketAddr) -> io::Result<Socket> {
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Fails as listening there would.
fn is_free(protocol: Protocol, addr: SocketAddr) -> io::Result<()> {
    match protocol {
        Protocol::Udp => bind(Socket::new(Domain::for_address(addr), Type::DGRAM, None)?, addr),
        Protocol::Tcp => tcp_socket(addr),
    }
    .map(drop)
}

/// The address to listen on: where the host has no IPv6 at all, `::` means every IPv4 address.
pub(crate) fn usable(bind: IpAddr) -> IpAddr {
    let unsupported = |error: &io::Error| error.raw_os_error() == Some(97); // EAFNOSUPPORT
    match Socket::new(Domain::IPV6, Type::DGRAM, None) {
        Err(error) if bind.is_ipv6() && bind.is_unspecified() && unsupported(&error) => {
            info!("this host has no IPv6; listening on 0.0.0.0");
            IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)
        }
        _ => bind,
    }
}
