//! The socket layer: the system calls that std and socket2 have no safe form of. The only unsafe code
//! of the workspace.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use udp_director_core::{Dropped, canonical};

/// How many datagrams one system call receives or sends at most.
pub(crate) const BATCH: usize = 64;

/// Room for the biggest UDP datagram (RFC 768: a 16-bit length), so that none is cut.
const SLOT_BYTES: usize = 65_536;

/// From one slot to the next. A power of two would put the first bytes of all slots, which is all that
/// most datagrams have, into the same few lines of the processor's caches.
const SLOT_STRIDE: usize = SLOT_BYTES + 3 * 64;

/// Room for one `in6_pktinfo` and one `in_pktinfo` control message, or one `sock_extended_err` with
/// its offender.
const CONTROL_BYTES: usize = 128;

/// How many ready descriptors one wait reports at most.
const EVENTS: usize = 256;

/// How often one datagram is tried again after an ICMP error of an earlier one came up in its place.
const RETRIES: u32 = 2;

/// A socket address as the kernel takes it: `sockaddr_in6` has room for `sockaddr_in`.
#[derive(Clone, Copy)]
struct RawAddr(libc::sockaddr_in6);

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// A datagram that has been received.
pub(crate) struct Datagram<'a> {
    pub(crate) payload: &'a [u8],
    /// Canonical.
    pub(crate) source: SocketAddr,
    /// The address it was sent to, where the socket tells.
    pub(crate) local: Option<IpAddr>,
    pub(crate) truncated: bool,
}

/// Buffers for [`BATCH`] datagrams, filled by `recvmmsg(2)`.
pub(crate) struct RecvBatch {
    // Boxed: `headers` point into the others, which must not move.
    headers: Box<[libc::mmsghdr]>,
    names: Box<[RawAddr]>,
    vectors: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    bytes: Box<[u8]>,
    /// The headers below this one have been written by the kernel since they were made ready.
    used: usize,
}

impl RecvBatch {
    /// Takes 4 MiB of address space; memory is used as far as datagrams are big.
    pub(crate) fn new() -> RecvBatch {
        let mut batch = RecvBatch {
            headers: vec![zeroed_header(); BATCH].into(),
            names: vec![RawAddr::ZERO; BATCH].into(),
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH].into(),
            bytes: vec![0; BATCH * SLOT_STRIDE].into(),
            used: BATCH,
        };
        for slot in 0..BATCH {
            batch.vectors[slot] = libc::iovec {
                iov_base: batch.bytes[slot * SLOT_STRIDE..].as_mut_ptr().cast(),
                iov_len: SLOT_BYTES,
            };
            let header = &mut batch.headers[slot].msg_hdr;
            header.msg_iov = &raw mut batch.vectors[slot];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut batch.names[slot]).cast();
            header.msg_control = (&raw mut batch.controls[slot]).cast();
        }
        batch
    }

    /// Receives into at most `most` slots from `from` on. Gives how many it has filled; 0 when none
    /// waits.
    ///
    /// # Errors
    /// As `recvmmsg(2)`: with `IP_RECVERR`, an ICMP error that has come in.
    pub(crate) fn receive(&mut self, fd: RawFd, from: usize, most: usize) -> io::Result<usize> {
        for header in &mut self.headers[from..self.used.max(from)] {
            header.msg_hdr.msg_namelen = mem::size_of::<RawAddr>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
            header.msg_hdr.msg_flags = 0;
        }
        let headers = &mut self.headers[from..BATCH.min(from + most)];
        // SAFETY: every header points to a name, one vector and a control buffer that live in `self`
        // behind boxes and have the lengths given; the vectors point to disjoint slots of `bytes`.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        self.used = from + usize::try_from(received).unwrap_or(0);
        match usize::try_from(received) {
            Ok(received) => Ok(received),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// The datagram in a slot that [`RecvBatch::receive`] has filled last.
    pub(crate) fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        let header = &self.headers[slot];
        Some(Datagram {
            payload: self.payload(slot),
            source: canonical(self.names[slot].read()?),
            local: local_addr(&header.msg_hdr),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }

    fn payload(&self, slot: usize) -> &[u8] {
        let len = (self.headers[slot].msg_len as usize).min(SLOT_BYTES);
        &self.bytes[slot * SLOT_STRIDE..][..len]
    }
}

/// The local address that a received message was sent to, by `IPV6_PKTINFO` or `IP_PKTINFO`.
fn local_addr(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel has filled control messages into `msg_control` up to `msg_controllen`, and
    // the CMSG macros stay within that; data is read unaligned and only where its type is known.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    return Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    return Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
        None
    }
}

/// Where a datagram goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// The socket.
    pub(crate) fd: RawFd,
    /// Whether the socket is an IPv6 one, which takes IPv4 in its mapped form.
    pub(crate) v6: bool,
    pub(crate) to: SocketAddr,
    /// The address to send from, on a socket that has several.
    pub(crate) from: Option<IpAddr>,
}

struct Queued {
    route: Route,
    slot: usize,
}

/// Datagrams of a [`RecvBatch`] on their way out, sent by `sendmmsg(2)`, one call for each socket.
pub(crate) struct SendBatch {
    queued: Vec<Queued>,
    headers: Box<[libc::mmsghdr]>,
    names: Box<[RawAddr]>,
    vectors: Box<[libc::iovec]>,
    controls: Box<[Control]>,
}

/// Told what a flush meets, besides success.
pub(crate) trait SendObserver {
    /// A datagram could not be sent.
    fn dropped(&mut self, why: Dropped);
    /// An ICMP error may wait on the socket: read and count what is there.
    fn icmp_pending(&mut self, fd: RawFd);
}

impl SendBatch {
    pub(crate) fn new() -> SendBatch {
        SendBatch {
            queued: Vec::with_capacity(BATCH),
            headers: vec![zeroed_header(); BATCH].into(),
            names: vec![RawAddr::ZERO; BATCH].into(),
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH].into(),
        }
    }

    /// Queues the datagram in that slot of the receive batch. At most [`BATCH`] between flushes,
    /// which a receive batch cannot exceed.
    pub(crate) fn push(&mut self, route: Route, slot: usize) {
        self.queued.push(Queued { route, slot });
    }

    /// Sends everything, per socket in the order of the slots. Gives datagrams and bytes sent.
    pub(crate) fn flush(&mut self, received: &RecvBatch, observer: &mut dyn SendObserver) -> (u64, u64) {
        let mut queued = mem::take(&mut self.queued);
        queued.sort_unstable_by_key(|queued| (queued.route.fd, queued.slot));
        let mut sent = (0, 0);
        for group in queued.chunk_by(|a, b| a.route.fd == b.route.fd) {
            for (position, queued) in group.iter().enumerate() {
                self.fill(position, &queued.route, received.payload(queued.slot));
            }
            let (datagrams, bytes) = self.send(group[0].route.fd, group.len(), observer);
            sent = (sent.0 + datagrams, sent.1 + bytes);
        }
        queued.clear();
        self.queued = queued;
        sent
    }

    /// Sends one datagram at once.
    pub(crate) fn send_now(
        &mut self,
        route: &Route,
        payload: &[u8],
        observer: &mut dyn SendObserver,
    ) -> (u64, u64) {
        self.fill(0, route, payload);
        self.send(route.fd, 1, observer)
    }

    /// Prepares a header. What it points to must live until [`SendBatch::send`] has returned.
    fn fill(&mut self, position: usize, route: &Route, payload: &[u8]) {
        let (name, name_len) = RawAddr::write(route.to, route.v6);
        self.names[position] = name;
        self.vectors[position] =
            libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
        let header = &mut self.headers[position].msg_hdr;
        header.msg_name = (&raw mut self.names[position]).cast();
        header.msg_namelen = name_len;
        header.msg_iov = &raw mut self.vectors[position];
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        write_source(header, &mut self.controls[position], route);
    }

    /// Sends the first `count` headers. A datagram that cannot go is dropped; those behind it are
    /// not, unless the socket's buffer is full.
    fn send(&mut self, fd: RawFd, count: usize, observer: &mut dyn SendObserver) -> (u64, u64) {
        let (mut next, mut retries) = (0, 0);
        let mut sent = (0, 0);
        while next < count {
            let headers = &mut self.headers[next..count];
            // SAFETY: `fill` has let each of these headers point to a name, a vector and a control
            // buffer behind boxes in `self`, and the vectors to payloads that the callers of `fill`
            // keep borrowed until this returns; sendmmsg reads them and writes `msg_len` alone.
            let result = unsafe {
                libc::sendmmsg(fd, headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT)
            };
            if let Ok(done @ 1..) = usize::try_from(result) {
                sent.0 += done as u64;
                sent.1 += headers[..done].iter().map(|header| u64::from(header.msg_len)).sum::<u64>();
                (next, retries) = (next + done, 0);
                continue;
            }
            let why = why_not_sent(&io::Error::last_os_error());
            if why == Dropped::Unreachable || why == Dropped::TooBig {
                // Maybe not this datagram's own error, but an ICMP one of an earlier datagram.
                observer.icmp_pending(fd);
                retries += 1;
                if retries <= RETRIES {
                    continue;
                }
            }
            let dropped = if why == Dropped::BufferFull { count - next } else { 1 };
            (0..dropped).for_each(|_| observer.dropped(why));
            (next, retries) = (next + dropped, 0);
        }
        sent
    }
}

fn why_not_sent(error: &io::Error) -> Dropped {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Dropped::BufferFull,
        Some(
            libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ENONET
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EACCES,
        ) => Dropped::Unreachable,
        Some(libc::EMSGSIZE) => Dropped::TooBig,
        _ => Dropped::SendFailed,
    }
}

/// Sets the source address of a message to send (`ip(7)`, `ipv6(7)`: `IP_PKTINFO`, `IPV6_PKTINFO`).
fn write_source(header: &mut libc::msghdr, control: &mut Control, route: &Route) {
    let Some(from) = route.from else {
        header.msg_control = ptr::null_mut();
        header.msg_controllen = 0;
        return;
    };
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES;
    match from {
        IpAddr::V4(v4) if !route.v6 => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(v4).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            write_control(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        _ => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: mapped(from).octets() },
                ipi6_ifindex: 0,
            };
            write_control(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

fn write_control<T: Copy>(header: &mut libc::msghdr, level: i32, kind: i32, value: T) {
    // SAFETY: `msg_control` has CONTROL_BYTES bytes, aligned for a cmsghdr, which is more than
    // CMSG_SPACE of either pktinfo; so CMSG_FIRSTHDR is not null and CMSG_DATA lies within.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(mem::size_of::<T>() as u32) as usize;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(mem::size_of::<T>() as u32) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

impl RawAddr {
    const ZERO: RawAddr = RawAddr(libc::sockaddr_in6 {
        sin6_family: 0,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    });

    fn write(addr: SocketAddr, v6: bool) -> (RawAddr, libc::socklen_t) {
        match addr {
            SocketAddr::V4(v4) if !v6 => RawAddr::write_v4(v4),
            SocketAddr::V4(v4) => {
                RawAddr::write_v6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            SocketAddr::V6(v6) => RawAddr::write_v6(v6),
        }
    }

    fn write_v4(addr: SocketAddrV4) -> (RawAddr, libc::socklen_t) {
        let raw = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: addr.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
            sin_zero: [0; 8],
        };
        let mut out = RawAddr::ZERO;
        // SAFETY: sockaddr_in (16 bytes) fits into sockaddr_in6 (28 bytes); both are plain data.
        unsafe { ptr::write_unaligned((&raw mut out).cast(), raw) };
        (out, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
    }

    fn write_v6(addr: SocketAddrV6) -> (RawAddr, libc::socklen_t) {
        let raw = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: addr.port().to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
            sin6_scope_id: addr.scope_id(),
        };
        (RawAddr(raw), mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t)
    }

    fn read(&self) -> Option<SocketAddr> {
        match i32::from(self.0.sin6_family) {
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(self.0.sin6_addr.s6_addr);
                let port = u16::from_be(self.0.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, self.0.sin6_scope_id).into())
            }
            libc::AF_INET => {
                // SAFETY: the kernel has written a sockaddr_in here, as the family says, and it fits.
                let raw: libc::sockaddr_in = unsafe { ptr::read_unaligned((&raw const self.0).cast()) };
                let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            _ => None,
        }
    }
}

fn zeroed_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain data; null pointers with zero lengths are valid in it.
    unsafe { mem::zeroed() }
}

/// Reads one ICMP error off a socket's error queue (`ip(7)`, `IP_RECVERR`); `false` when none waits.
pub(crate) fn take_icmp_error(fd: RawFd) -> bool {
    let mut name = RawAddr::ZERO;
    let mut control = Control([0; CONTROL_BYTES]);
    let mut header = zeroed_header().msg_hdr;
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = mem::size_of::<RawAddr>() as libc::socklen_t;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES;
    // SAFETY: name and control are live and have the lengths given; there is no vector.
    unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) >= 0 }
}

/// How many datagrams the kernel has dropped in front of a socket, nearly always since its buffer was
/// full; goes round at 2^32 (`SO_MEMINFO`, `SK_MEMINFO_DROPS` of `linux/sock_diag.h`).
pub(crate) fn drops_before(fd: RawFd) -> u32 {
    const DROPS: usize = 8;
    let mut info = [0_u32; DROPS + 1];
    let mut len = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` is live and has the length given.
    unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, (&raw mut info).cast(), &raw mut len);
    }
    info[DROPS]
}

/// Turns on what every UDP socket here needs: ICMP errors on the error queue and, on a listener, the
/// address that a datagram was sent to.
pub(crate) fn set_udp_options(fd: RawFd, v6: bool, listener: bool) -> io::Result<()> {
    if v6 {
        set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)?;
    }
    set_flag(fd, libc::IPPROTO_IP, libc::IP_RECVERR)?;
    match (listener, v6) {
        (false, _) => Ok(()),
        (true, true) => set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        (true, false) => set_flag(fd, libc::IPPROTO_IP, libc::IP_PKTINFO),
    }
}

fn set_flag(fd: RawFd, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option value is a live int of the length given.
    match unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An epoll instance (`epoll(7)`), level-triggered.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event]>,
}

/// What epoll reports of one descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// What the descriptor was added with.
    pub(crate) key: u64,
    /// Whether its error queue has something.
    pub(crate) error: bool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; a descriptor that is not negative is new and ours.
        let fd = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS].into() })
    }

    pub(crate) fn add(&self, fd: RawFd, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key };
        // SAFETY: the event is live.
        match unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn remove(&self, fd: RawFd) {
        // SAFETY: no event is needed for a removal (since Linux 2.6.9).
        unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) };
    }

    /// Waits until something is ready or the time is over, rounded up to milliseconds.
    pub(crate) fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()> {
        let millis = timeout.as_micros().div_ceil(1_000).min(i32::MAX as u128) as i32;
        let (fd, events) = (self.fd.as_raw_fd(), self.events.as_mut_ptr());
        // SAFETY: `events` has room for EVENTS events.
        let count = unsafe { libc::epoll_wait(fd, events, EVENTS as i32, millis) };
        ready.clear();
        match usize::try_from(count) {
            Ok(count) => {
                ready.extend(
                    self.events[..count].iter().map(|event| Ready {
                        key: event.u64,
                        error: event.events & libc::EPOLLERR as u32 != 0,
                    }),
                );
                Ok(())
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
        }
    }
}

/// Wakes a worker out of its wait (`eventfd(2)`).
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        // SAFETY: no pointers; a descriptor that is not negative is new and ours.
        unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)).map(Waker) }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Wakes. A counter that is full wakes as well, so the outcome does not matter.
    pub(crate) fn wake(&self) {
        let one: u64 = 1;
        // SAFETY: eight live bytes are read.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }

    /// Takes the wake-ups so far.
    pub(crate) fn clear(&self) {
        let mut count: u64 = 0;
        // SAFETY: eight live bytes are written.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
    }
}

/// # Safety
/// A descriptor that is not negative must be new and nobody else's.
unsafe fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    match fd {
        0.. => {
            // SAFETY: as the caller promises.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises the soft limit of open descriptors to the hard one, and gives it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is live.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Lets all threads allocate from one arena (`mallopt(3)`, `M_ARENA_MAX`); to be called before there
/// are threads. With an arena for each, those of the threads that answer queries keep what they have
/// freed: 14 MiB of 108 at 100,000 sessions. Does nothing where the C library is not glibc.
pub fn share_malloc_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; mallopt takes any value and says whether it knows the parameter.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
