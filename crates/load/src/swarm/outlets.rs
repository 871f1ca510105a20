//! The sockets of a lane, and waiting for what comes in on them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket2::SockRef;

use super::crowd::{Place, Places};
use crate::datagrams::{self, Arrivals, Arrived};

/// Sockets toward one target.
#[derive(Debug)]
pub(super) struct Outlets {
    sockets: Vec<UdpSocket>,
    target: SocketAddr,
    /// Whether a socket has one client and is connected; else it has many, at as many addresses.
    connected: bool,
    epoll: Epoll,
    /// Ends a wait: epoll itself counts in milliseconds.
    timer: TimerFd,
}

impl Outlets {
    /// Opens the sockets, each at a port that the system chooses.
    pub(super) fn open(places: &Places, target: SocketAddr) -> io::Result<Outlets> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let connected = places.clients.iter().all(|place| place.source.is_none());
        let mut outlets = Outlets { sockets: Vec::new(), target, connected, epoll, timer };
        for index in 0..places.sockets {
            let socket = outlets.socket()?;
            outlets.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index.into()))?;
            outlets.sockets.push(socket);
        }
        Ok(outlets)
    }

    fn socket(&self) -> io::Result<UdpSocket> {
        let any = match self.target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        if self.connected {
            socket.connect(self.target)?;
        } else {
            SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES)?;
            SockRef::from(&socket).set_send_buffer_size(BUFFER_BYTES)?;
            datagrams::tell_local_addr(&socket, self.target.is_ipv6())?;
        }
        Ok(socket)
    }

    /// Sends from a client's place.
    pub(super) fn send(&self, place: Place, datagram: &[u8]) -> io::Result<()> {
        let to = (!self.connected).then_some(self.target);
        let socket = &self.sockets[place.socket as usize];
        datagrams::send(socket, place.source.map(Into::into), to, datagram)
    }

    /// Waits until something has come in, or that time is over, and says on which sockets.
    pub(super) fn wait(&self, timeout: Duration, ready: &mut Vec<u32>) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let patience = match timeout.is_zero() {
            true => EpollTimeout::ZERO,
            false => {
                self.timer.set(Expiration::OneShot(timeout.into()), TimerSetTimeFlags::empty())?;
                EpollTimeout::NONE
            }
        };
        let count = self.epoll.wait(&mut events, patience)?;
        ready.clear();
        let sockets = events[..count].iter().filter(|event| event.data() != TIMER);
        ready.extend(sockets.map(|event| event.data() as u32));
        Ok(())
    }

    /// Receives one batch from a socket, and says how many datagrams it has.
    pub(super) fn receive(&self, socket: u32, arrivals: &mut Arrivals) -> usize {
        // An error is an ICMP message about an earlier datagram: who counts replies will see it.
        arrivals.receive(&self.sockets[socket as usize]).unwrap_or(0)
    }

    /// Whether what has arrived comes from the target.
    pub(super) fn is_from_target(&self, arrived: &Arrived) -> bool {
        self.connected || arrived.from == Some(self.target)
    }
}

const TIMER: u64 = u64::MAX;
const EVENTS: usize = 64;
/// Room for some thousand datagrams, where the system allows it: the generator is to lose none.
const BUFFER_BYTES: usize = 4 << 20;
