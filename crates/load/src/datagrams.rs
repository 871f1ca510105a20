//! Datagrams in batches, with the local address that each came to or leaves from: one socket then
//! serves any number of addresses of this host.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmmsg, sendmsg, setsockopt, sockopt,
};

/// How many datagrams one system call receives at most.
pub(crate) const BATCH: usize = 64;

/// Room for a batch of datagrams, and what the last call has put there.
#[derive(Debug)]
pub(crate) struct Arrivals {
    headers: MultiHeaders<SockaddrStorage>,
    bytes: Vec<u8>,
    slot_bytes: usize,
    arrived: Vec<Arrived>,
}

/// A datagram that has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// Its length, as far as it had room.
    pub(crate) len: usize,
    /// Who sent it; `None` on a connected socket, where only the peer can have.
    pub(crate) from: Option<SocketAddr>,
    /// The local address that it was sent to, where [`tell_local_addr`] was asked for it.
    pub(crate) at: Option<IpAddr>,
}

/// Lets a UDP socket tell the local address of each datagram that it receives.
pub(crate) fn tell_local_addr(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    match v6 {
        true => Ok(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?),
        false => Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?),
    }
}

impl Arrivals {
    /// Makes room for [`BATCH`] datagrams of up to `slot_bytes`; what is longer is cut.
    pub(crate) fn new(slot_bytes: usize) -> Arrivals {
        Arrivals {
            headers: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in6_pktinfo))),
            bytes: vec![0; BATCH * slot_bytes],
            slot_bytes,
            arrived: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what waits, one batch at most, and says how many. All sockets that one `Arrivals`
    /// serves are to be of one family.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits, or an ICMP error that has come in.
    pub(crate) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let slots = self.bytes.chunks_exact_mut(self.slot_bytes);
        let mut slots: Vec<_> = slots.map(|slot| [IoSliceMut::new(slot)]).collect();
        self.arrived.clear();
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slots, flags, None)?;
        self.arrived.extend(messages.map(|message| Arrived {
            len: message.bytes,
            from: message.address.as_ref().and_then(socket_addr),
            at: message.cmsgs().ok().and_then(|mut all| all.find_map(|message| local_addr(&message))),
        }));
        Ok(self.arrived.len())
    }

    /// The datagram at that place of the last batch.
    pub(crate) fn datagram(&self, place: usize) -> (Arrived, &[u8]) {
        let arrived = self.arrived[place];
        (arrived, &self.bytes[place * self.slot_bytes..][..arrived.len])
    }

    /// The same, to be changed.
    pub(crate) fn datagram_mut(&mut self, place: usize) -> (Arrived, &mut [u8]) {
        let arrived = self.arrived[place];
        (arrived, &mut self.bytes[place * self.slot_bytes..][..arrived.len])
    }
}

/// Sends one datagram: `from` that address of this host, or one that the system chooses; `to` that
/// address, or the one that the socket is connected to.
pub(crate) fn send(
    socket: &impl AsRawFd,
    from: Option<IpAddr>,
    to: Option<SocketAddr>,
    datagram: &[u8],
) -> io::Result<()> {
    let (fd, bytes) = (socket.as_raw_fd(), [IoSlice::new(datagram)]);
    let to = to.map(SockaddrStorage::from);
    let send =
        |source: &[ControlMessage<'_>]| sendmsg(fd, &bytes, source, MsgFlags::MSG_DONTWAIT, to.as_ref());
    match from {
        None => send(&[]),
        Some(IpAddr::V4(ip)) => send(&[ControlMessage::Ipv4PacketInfo(&source_v4(ip))]),
        Some(IpAddr::V6(ip)) => send(&[ControlMessage::Ipv6PacketInfo(&source_v6(ip))]),
    }?;
    Ok(())
}

fn source_v4(ip: Ipv4Addr) -> in_pktinfo {
    let any = in_addr { s_addr: 0 };
    in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: in_addr { s_addr: u32::from(ip).to_be() }, ipi_addr: any }
}

fn source_v6(ip: Ipv6Addr) -> in6_pktinfo {
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 }
}

fn local_addr(message: &ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    }
}

fn socket_addr(addr: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = |addr: &SockaddrIn| SocketAddr::new(addr.ip().into(), addr.port());
    let v6 = |addr: &SockaddrIn6| SocketAddr::new(addr.ip().into(), addr.port());
    addr.as_sockaddr_in().map(v4).or_else(|| addr.as_sockaddr_in6().map(v6))
}

/// Whether nothing is wrong but that the socket has no room, or nothing, at the moment.
pub(crate) fn is_momentary(error: &io::Error) -> bool {
    let full = [Errno::EAGAIN, Errno::ENOBUFS].map(|errno| Some(errno as i32));
    full.contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn one_socket_serves_many_addresses() {
        let many = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        let port = many.local_addr().expect("it is bound").port();
        tell_local_addr(&many, false).expect("Linux tells");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let to = peer.local_addr().expect("it is bound");
        let mut arrivals = Arrivals::new(64);
        for last in 1..=3 {
            let own = IpAddr::from([127, 0, 9, last]);
            send(&many, Some(own), Some(to), &[last; 3]).expect("loopback takes it");
            let mut datagram = [0; 64];
            let (len, from) = peer.recv_from(&mut datagram).expect("it arrives");
            assert_eq!((&datagram[..len], from), (&[last; 3][..], (own, port).into()));
            peer.send_to(&[last; 2], from).expect("loopback takes it");
        }
        assert_eq!(arrivals.receive(&many).expect("three replies"), 3);
        for last in 1..=3 {
            let (arrived, bytes) = arrivals.datagram(usize::from(last) - 1);
            assert_eq!(bytes, [last; 2]);
            assert_eq!((arrived.from, arrived.at), (Some(to), Some([127, 0, 9, last].into())));
        }
        assert!(is_momentary(&arrivals.receive(&many).expect_err("nothing waits")));
    }
}
