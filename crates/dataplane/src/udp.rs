//! UDP sockets: the listeners' `SO_REUSEPORT` groups and the upstream sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};
use udp_director_core::UpstreamSocket;

use crate::sys;

/// Buffer asked for in each direction of each socket. The kernel's default of 208 KiB holds 3 ms of
/// 80,000 datagrams a second; the sysctls `net.core.rmem_max` and `wmem_max` cap what is asked for.
const BUFFER_BYTES: usize = 1 << 20;

/// One worker's socket of a listener.
#[derive(Debug)]
pub(crate) struct ListenerSocket {
    socket: Socket,
    pub(crate) v6: bool,
    overflow: Overflow,
}

/// How many datagrams a socket had no room for, as far as they have been counted.
#[derive(Debug, Default)]
pub(crate) struct Overflow(u32);

/// An upstream socket: bound to a port of its own, on all addresses.
#[derive(Debug)]
pub(crate) struct Upstream {
    socket: Socket,
    port: u16,
}

/// Binds one socket for each worker to the same address.
///
/// The first is bound without `SO_REUSEPORT`, so that a port that is taken is an error even when the
/// other process (or another director) has set that option.
pub(crate) fn bind_group(addr: SocketAddr, workers: usize) -> io::Result<Vec<ListenerSocket>> {
    let first = listener_socket(addr)?;
    first.bind(&addr.into())?;
    first.set_reuse_port(true)?;
    let bound = local_addr(&first)?;
    let mut group = vec![first];
    for _ in 1..workers {
        let next = listener_socket(addr)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        group.push(next);
    }
    let v6 = addr.is_ipv6();
    Ok(group.into_iter().map(|socket| ListenerSocket { socket, v6, overflow: Overflow::default() }).collect())
}

fn listener_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = udp_socket(addr.is_ipv6(), false)?;
    sys::set_udp_options(socket.as_raw_fd(), addr.is_ipv6(), true)?;
    Ok(socket)
}

fn udp_socket(v6: bool, only_v6: bool) -> io::Result<Socket> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if v6 {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    Ok(socket)
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::other("the kernel gave an address of another family"))
}

impl Overflow {
    /// What has come since this was last asked for that socket.
    pub(crate) fn since(&mut self, fd: RawFd) -> u64 {
        let drops = sys::drops_before(fd);
        u64::from(drops.wrapping_sub(std::mem::replace(&mut self.0, drops)))
    }
}

impl ListenerSocket {
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// What has found the buffer full since this was last asked.
    pub(crate) fn overflow(&mut self) -> u64 {
        self.overflow.since(self.socket.as_raw_fd())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.socket)
    }
}

impl Upstream {
    /// Opens an upstream socket on a port that the kernel chooses.
    pub(crate) fn open(v6: bool) -> io::Result<Upstream> {
        Upstream::open_at(v6, 0)
    }

    /// Opens an upstream socket on that port; 0 lets the kernel choose one. Never with `SO_REUSEPORT`: the kernel would hand out a port that
    /// another such socket already has, and two players would share it.
    pub(crate) fn open_at(v6: bool, port: u16) -> io::Result<Upstream> {
        let socket = udp_socket(v6, true)?;
        sys::set_udp_options(socket.as_raw_fd(), v6, false)?;
        let any: SocketAddr =
            if v6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() };
        socket.bind(&any.into())?;
        let port = local_addr(&socket)?.port();
        Ok(Upstream { socket, port })
    }
}

impl UpstreamSocket for Upstream {
    fn handle(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    fn port(&self) -> u16 {
        self.port
    }
}
