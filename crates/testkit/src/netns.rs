//! Network namespaces for a director with its clients and game servers, joined by veth pairs.
//!
//! ```text
//! clients (10.0.1.2) --veth-- (10.0.1.1) director (10.0.2.1) --veth-- (10.0.2.2) servers
//! 10.1.0.0/16 is local to the clients                    10.2.0.0/16 is local to the servers
//! ```
//! A namespace has no name and no file: it lives as long as this process, or one that was started in
//! it, holds it. So nothing is left behind, not even by a test that is killed. Its addresses are those
//! of no other network, and nothing leads out of it.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{setsockopt, sockopt};

/// The director's address towards its clients.
pub const DIRECTOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

/// Three namespaces in a row.
#[derive(Debug)]
pub struct Row {
    /// Has 10.1.0.0/16: as many players as a test wants, each with an address.
    pub clients: Namespace,
    /// Between the two others.
    pub director: Namespace,
    /// Has 10.2.0.0/16: as many game servers.
    pub servers: Namespace,
}

/// A network of its own.
#[derive(Debug)]
pub struct Namespace {
    part: &'static str,
    held: File,
}

/// Gives a test's own socket room for 4 MiB that wait, beyond what the system allows to others: nothing
/// is to be lost because a thread of the test had to wait for a processor.
///
/// # Panics
/// Without the rights of root.
pub fn widen(socket: &UdpSocket) {
    setsockopt(socket, sockopt::RcvBufForce, &ROOM).expect("root may");
}

impl Row {
    /// Makes the three and joins them.
    ///
    /// # Panics
    /// Without the rights of root, or without `ip` (iproute2).
    pub fn new() -> Row {
        let [clients, director, servers] = ["clients", "director", "servers"].map(Namespace::new);
        clients.join(&director, "10.0.1.2/24", "10.0.1.1/24");
        servers.join(&director, "10.0.2.2/24", "10.0.2.1/24");
        for (part, net, gateway) in
            [(&clients, "10.1.0.0/16", "10.0.1.1"), (&servers, "10.2.0.0/16", "10.0.2.1")]
        {
            part.ip(&["route", "add", "local", net, "dev", "lo"]);
            part.ip(&["route", "add", "default", "via", gateway]);
        }
        director.ip(&["route", "add", "10.1.0.0/16", "via", "10.0.1.2"]);
        director.ip(&["route", "add", "10.2.0.0/16", "via", "10.0.2.2"]);
        Row { clients, director, servers }
    }
}

impl Default for Row {
    fn default() -> Row {
        Row::new()
    }
}

impl Namespace {
    fn new(part: &'static str) -> Namespace {
        let made = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|error| panic!("network namespaces take the rights of root: {error}"));
            File::open("/proc/thread-self/ns/net").expect("every thread has a network namespace")
        });
        let held = made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let namespace = Namespace { part, held };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Does something in the namespace, in a thread of its own. Sockets that are opened there, threads
    /// and processes that are started there, stay in it.
    ///
    /// # Panics
    /// When the work does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                setns(&self.held, CloneFlags::CLONE_NEWNET).expect("a namespace that is held can be entered");
                work()
            });
            done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What the kernel counts in the namespace under that name, such as `RcvbufErrors` of `Udp`, by
    /// `/proc/net/snmp`.
    ///
    /// # Panics
    /// When it counts nothing of that name.
    pub fn counted(&self, protocol: &str, name: &str) -> u64 {
        let page = self.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters"));
        let mut lines = page.lines().filter(|line| line.split(':').next() == Some(protocol));
        let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let found = names.split(' ').zip(values.split(' ')).find(|(of, _)| *of == name);
        let value = found.and_then(|(_, value)| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} of {protocol} in {}", self.part))
    }

    /// Joins this to another, where both then have a device named for this one.
    fn join(&self, other: &Namespace, here: &str, there: &str) {
        let other_path = format!("/proc/{}/fd/{}", std::process::id(), other.held.as_raw_fd());
        let name = self.part;
        self.ip(&["link", "add", name, "type", "veth", "peer", "name", name, "netns", &other_path]);
        for (namespace, address) in [(self, here), (other, there)] {
            namespace.ip(&["addr", "add", address, "dev", name]);
            namespace.ip(&["link", "set", name, "up"]);
        }
    }

    fn ip(&self, arguments: &[&str]) {
        let outcome = self.run(|| Command::new("ip").args(arguments).output());
        let outcome = outcome.unwrap_or_else(|error| panic!("ip (of iproute2) does not start: {error}"));
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "ip {arguments:?} in {}: {said}", self.part);
    }
}

const ROOM: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bound(namespace: &Namespace, address: &str) -> UdpSocket {
        let socket = namespace.run(|| UdpSocket::bind(address)).expect(address);
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket
    }

    #[test]
    fn datagrams_cross_a_pair_and_what_nobody_listens_for_is_counted() {
        let row = Row::new();
        let server = bound(&row.servers, "10.2.3.4:7000");
        let director = bound(&row.director, "10.0.2.1:0");
        director.send_to(b"hello", "10.2.3.4:7000").expect("sent");
        assert_eq!(
            server.recv_from(&mut [0; 16]).expect("it arrives").1,
            director.local_addr().expect("bound")
        );
        director.send_to(b"nobody", "10.2.3.4:7001").expect("sent");
        // Datagrams of one way keep their order: when this one is there, the other one has been.
        director.send_to(b"again", "10.2.3.4:7000").expect("sent");
        server.recv_from(&mut [0; 16]).expect("it arrives");
        assert_eq!(row.servers.counted("Udp", "NoPorts"), 1);
    }

    #[test]
    fn nothing_leads_from_the_servers_to_the_clients_but_through_the_director() {
        let row = Row::new();
        let server = bound(&row.servers, "10.2.3.4:7000");
        let client = bound(&row.clients, "10.1.3.4:7000");
        assert_eq!(
            row.director
                .run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("read"))
                .trim(),
            "0"
        );
        server.send_to(b"hello", "10.1.3.4:7000").expect("sent");
        client.set_nonblocking(true).expect("a flag");
        assert!(client.recv(&mut [0; 16]).is_err());
    }
}
