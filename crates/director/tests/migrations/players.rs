//! Players at 60 Hz: numbered datagrams out, echoes back, and control packets when they are told to move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};
use udp_director_load::{Beat, ServerId};
use udp_director_testkit::netns::{DIRECTOR, Namespace, widen};
use udp_director_wire::{AckRequest, AckStatus, ControlPacket, Magic, Token};

use crate::stage::port;

/// From one datagram to the next.
pub(crate) const PERIOD: Duration = Duration::from_micros(16_667);

/// How long an acknowledgement is awaited before the control packet is sent again.
const REPEAT: Duration = Duration::from_millis(100);

/// How many datagrams are sent at once just before a control packet, and just behind.
const BURST: usize = 3;

/// Players that play, in one thread.
pub(crate) struct Players {
    streams: Vec<Remote>,
    thread: JoinHandle<Vec<Stream>>,
}

/// What the test holds of a stream that plays.
struct Remote {
    orders: UnboundedSender<Order>,
    /// How many control packets it was to send.
    ordered: AtomicU64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    acknowledged: AtomicU64,
    echoed: AtomicU64,
    /// Written before `rests`.
    sent: AtomicU64,
    rests: AtomicBool,
}

enum Order {
    Move(Token, Option<ServerId>),
    Rest,
}

/// One socket of a player on one listener, and all that came of it.
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) listener: &'static str,
    pub(crate) sent: u64,
    /// From which datagram on it was to go where, by control packets.
    pub(crate) moves: Vec<(u64, Option<ServerId>)>,
    pub(crate) echoes: Vec<Echo>,
    pub(crate) refused: Vec<AckStatus>,
    socket: UdpSocket,
    asking: Option<Asking>,
    asked: u64,
    bound: bool,
    begun: Instant,
    shared: Arc<Shared>,
}

struct Asking {
    token: Token,
    nonce: [u8; 8],
    repeat_at: Instant,
}

/// A datagram that came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub(crate) number: u64,
    pub(crate) by: ServerId,
    /// Since the players began.
    pub(crate) at: Duration,
}

impl Players {
    /// Lets a stream play for each token and listener.
    pub(crate) fn start(namespace: &Namespace, tokens: &[(Token, &'static str)]) -> Players {
        let begun = Instant::now();
        let open = |(id, (token, listener)): (usize, &(Token, &'static str))| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a free port");
            socket.connect(SocketAddr::new(DIRECTOR, port(listener))).expect("a route");
            socket.set_nonblocking(true).expect("a flag");
            widen(&socket);
            let (orders, received) = unbounded_channel();
            orders.send(Order::Move(*token, None)).expect("it is not dropped yet");
            let remote = Remote { orders, ordered: AtomicU64::new(1), shared: Arc::default() };
            (id as u32, *listener, socket, received, remote)
        };
        let opened: Vec<_> = namespace.run(|| tokens.iter().enumerate().map(open).collect());
        let (mut streams, mut tasks) = (Vec::new(), Vec::new());
        for (id, listener, socket, received, remote) in opened {
            tasks.push((id, listener, socket, received, Arc::clone(&remote.shared)));
            streams.push(remote);
        }
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let play = |(id, listener, socket, received, shared)| {
                    tokio::spawn(Stream::new(id, listener, socket, begun, shared).play(received))
                };
                let playing: Vec<_> = tasks.into_iter().map(play).collect();
                let mut ended = Vec::new();
                for stream in playing {
                    ended.push(stream.await.expect("no player panics"));
                }
                ended
            })
        });
        Players { streams, thread }
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Lets a stream send a control packet. `to` is where that leads, if it is known.
    pub(crate) fn migrate(&self, stream: usize, token: Token, to: Option<ServerId>) {
        let stream = &self.streams[stream];
        stream.ordered.fetch_add(1, Ordering::Relaxed);
        stream.orders.send(Order::Move(token, to)).expect("it plays");
    }

    /// Whether every control packet of that stream has been acknowledged.
    pub(crate) fn is_settled(&self, stream: usize) -> bool {
        let Remote { ordered, shared, .. } = &self.streams[stream];
        shared.acknowledged.load(Ordering::Relaxed) == ordered.load(Ordering::Relaxed)
    }

    /// How many datagrams have been sent, once everybody rests.
    pub(crate) fn sent(&self) -> Option<u64> {
        let rested = |stream: &Remote| {
            let shared = &stream.shared;
            shared.rests.load(Ordering::Acquire).then(|| shared.sent.load(Ordering::Relaxed))
        };
        self.streams.iter().map(rested).sum()
    }

    pub(crate) fn echoed(&self) -> u64 {
        self.streams.iter().map(|stream| stream.shared.echoed.load(Ordering::Relaxed)).sum()
    }

    /// Nobody sends any more; what is under way is still received.
    pub(crate) fn rest(&self) {
        self.streams.iter().for_each(|stream| stream.orders.send(Order::Rest).expect("it plays"));
    }

    pub(crate) fn end(self) -> Vec<Stream> {
        drop(self.streams);
        self.thread.join().expect("no player panics")
    }
}

impl Stream {
    fn new(
        id: u32,
        listener: &'static str,
        socket: std::net::UdpSocket,
        begun: Instant,
        shared: Arc<Shared>,
    ) -> Stream {
        Stream {
            id,
            listener,
            sent: 0,
            moves: Vec::new(),
            echoes: Vec::new(),
            refused: Vec::new(),
            socket: UdpSocket::from_std(socket).expect("the runtime drives sockets"),
            asking: None,
            asked: 0,
            bound: false,
            begun,
            shared,
        }
    }

    async fn play(mut self, mut orders: UnboundedReceiver<Order>) -> Stream {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; 256];
        let mut rests = false;
        loop {
            tokio::select! {
                biased;
                received = self.socket.recv(&mut buffer) => {
                    let len = received.expect("the director listens");
                    self.take(&buffer[..len]);
                }
                order = orders.recv() => match order {
                    Some(Order::Move(token, to)) => self.migrate(token, to).await,
                    Some(Order::Rest) => {
                        rests = true;
                        self.shared.sent.store(self.sent, Ordering::Relaxed);
                        self.shared.rests.store(true, Ordering::Release);
                    }
                    None => return self,
                },
                _ = tick.tick() => {
                    self.ask_again().await;
                    if self.bound && !rests {
                        self.beat().await;
                    }
                }
            }
        }
    }

    /// A burst, the control packet, and a burst behind it.
    async fn migrate(&mut self, token: Token, to: Option<ServerId>) {
        self.burst().await;
        self.moves.push((self.sent, to));
        self.asked += 1;
        let nonce = (u64::from(self.id) << 32 | self.asked).to_be_bytes();
        self.asking = Some(Asking { token, nonce, repeat_at: Instant::now() });
        self.ask_again().await;
        self.burst().await;
    }

    async fn burst(&mut self) {
        if self.bound {
            for _ in 0..BURST {
                self.beat().await;
            }
        }
    }

    async fn beat(&mut self) {
        let beat = Beat { player: self.id, sequence: self.sent, sent_at_nanos: 0, server: ServerId::UNKNOWN };
        self.sent += 1;
        self.socket.send(&beat.encode()).await.expect("the director listens");
    }

    async fn ask_again(&mut self) {
        let Some(asking) = self.asking.as_mut().filter(|asking| asking.repeat_at <= Instant::now()) else {
            return;
        };
        asking.repeat_at = Instant::now() + REPEAT;
        let ack = Some(AckRequest { opcode: AckRequest::SWITCH, nonce: asking.nonce });
        let packet = Magic::default().encode_control(&ControlPacket { token: asking.token, ack });
        self.socket.send(&packet).await.expect("the director listens");
    }

    fn take(&mut self, datagram: &[u8]) {
        let Some(ack) = Magic::default().parse_ack(datagram) else {
            let beat = Beat::parse(datagram).expect("an echo");
            assert_eq!(beat.player, self.id, "another player's echo: {beat:?}");
            self.echoes.push(Echo { number: beat.sequence, by: beat.server, at: self.begun.elapsed() });
            self.shared.echoed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if self.asking.take_if(|asking| asking.nonce == ack.request.nonce).is_some() {
            self.bound |= ack.status == AckStatus::Done;
            self.refused.extend((ack.status != AckStatus::Done).then_some(ack.status));
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}
