//! Players at 60 Hz with numbered datagrams, the server that gives them back, and the account of both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// From one datagram of a player to the next.
const BEAT: Duration = Duration::from_micros(16_667);

/// What an answer may take when nothing is wrong.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// A server that gives every datagram back, and remembers from which addresses each player's came.
pub(crate) struct Server {
    pub(crate) port: u16,
    peers: Arc<Mutex<BTreeMap<u32, BTreeSet<SocketAddr>>>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        // A busy machine may keep this thread from running for longer than the default has room for.
        SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a buffer");
        let port = socket.local_addr().expect("bound").port();
        let peers = Arc::<Mutex<BTreeMap<u32, BTreeSet<SocketAddr>>>>::default();
        let known = Arc::clone(&peers);
        // It ends with the test process.
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            loop {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some((player, _)) = parse(&buffer[..len]) {
                    known.lock().expect("no panic").entry(player).or_default().insert(from);
                }
                let _ = socket.send_to(&buffer[..len], from);
            }
        });
        Server { port, peers }
    }

    /// How often it has seen a player at another address than before.
    pub(crate) fn new_peers(&self) -> usize {
        self.peers.lock().expect("no panic").values().map(|addresses| addresses.len() - 1).sum()
    }
}

/// What has become of one player's datagrams: when each was sent, and when it came back.
#[derive(Debug, Default)]
pub(crate) struct Account {
    sent: Vec<Instant>,
    back: Vec<Option<Instant>>,
}

/// Players who play until they are told to stop.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    join: Sender<UdpSocket>,
    thread: JoinHandle<Vec<Account>>,
}

impl Crowd {
    /// Nobody plays yet.
    pub(crate) fn start() -> Crowd {
        let stop = Arc::<AtomicBool>::default();
        let (join, joining) = channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || play(&stopped, &joining));
        Crowd { stop, join, thread }
    }

    /// One more plays, with a session that has begun.
    pub(crate) fn join(&self, player: UdpSocket) {
        player.set_nonblocking(true).expect("a flag");
        self.join.send(player).expect("it runs");
    }

    /// They stop, and wait for what is still under way.
    pub(crate) fn stop(self) -> Vec<Account> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

fn play(stop: &AtomicBool, joining: &Receiver<UdpSocket>) -> Vec<Account> {
    let (mut players, mut accounts) = (Vec::<UdpSocket>::new(), Vec::<Account>::new());
    let mut beat = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for player in joining.try_iter() {
            players.push(player);
            accounts.push(Account::default());
        }
        for (number, (player, account)) in players.iter().zip(&mut accounts).enumerate() {
            account.send(player, number as u32);
        }
        beat += BEAT;
        listen(&players, &mut accounts, beat);
    }
    listen(&players, &mut accounts, Instant::now() + 3 * UNDER_WAY);
    accounts
}

fn listen(players: &[UdpSocket], accounts: &mut [Account], until: Instant) {
    loop {
        for (player, account) in players.iter().zip(accounts.iter_mut()) {
            account.receive(player);
        }
        let Some(left) = until.checked_duration_since(Instant::now()) else { return };
        std::thread::sleep(left.min(Duration::from_millis(1)));
    }
}

impl Account {
    fn send(&mut self, player: &UdpSocket, number: u32) {
        let bytes = [number.to_be_bytes(), (self.sent.len() as u32).to_be_bytes()].concat();
        self.sent.push(Instant::now());
        self.back.push(None);
        // While nobody listens there, the system says so; the player plays on.
        let _ = player.send(&bytes);
    }

    fn receive(&mut self, player: &UdpSocket) {
        let mut buffer = [0; 64];
        while let Ok(len) = player.recv(&mut buffer) {
            if let Some((_, sequence)) = parse(&buffer[..len]) {
                self.back[sequence as usize].get_or_insert(Instant::now());
            }
        }
    }

    /// Whether anything that was sent after that moment has come back.
    pub(crate) fn played_after(&self, moment: Instant) -> bool {
        self.answered().any(|(sent, _)| sent > moment)
    }

    /// The longest time in which nothing came back.
    pub(crate) fn longest_gap(&self) -> Duration {
        let mut back: Vec<Instant> = self.answered().map(|(_, back)| back).collect();
        back.sort_unstable();
        back.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Datagrams lost that were sent neither shortly before an outage began nor in the gap that it made:
    /// before something sent after it had begun came back.
    pub(crate) fn lost_outside(&self, outages: &[Instant]) -> usize {
        let lost = self.sent.iter().zip(&self.back).filter(|(_, back)| back.is_none());
        lost.filter(|(sent, _)| !outages.iter().any(|outage| self.is_within(**sent, *outage))).count()
    }

    fn is_within(&self, sent: Instant, outage: Instant) -> bool {
        let over = self.answered().filter(|(sent, _)| *sent > outage).map(|(_, back)| back).min();
        sent + UNDER_WAY > outage && over.is_some_and(|over| sent < over)
    }

    fn answered(&self) -> impl Iterator<Item = (Instant, Instant)> {
        self.sent.iter().zip(&self.back).filter_map(|(sent, back)| Some((*sent, (*back)?)))
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn lost(&self) -> usize {
        self.back.iter().filter(|back| back.is_none()).count()
    }
}

fn parse(bytes: &[u8]) -> Option<(u32, u32)> {
    let (player, sequence) = bytes.split_at_checked(4)?;
    Some((u32::from_be_bytes(player.try_into().ok()?), u32::from_be_bytes(sequence.try_into().ok()?)))
}
