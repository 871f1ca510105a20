//! TCP players: streams with checked content, moved between chunks, half-closed or broken off.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use udp_director_client::Token;

use crate::findings::Findings;
use crate::fleet::{Place, Standing};
use crate::random::Random;
use crate::world::World;

/// A TCP player.
#[derive(Debug)]
pub(crate) struct Streamer {
    /// Its number.
    pub(crate) id: u32,
    /// What it does when.
    pub(crate) random: Random,
    /// Where it plays.
    pub(crate) world: World,
}

/// One stream; it is counted until it is dropped.
struct Stream {
    tcp: TcpStream,
    begun: Instant,
    /// How long it took until the token was on its way.
    opened_in: Duration,
    /// The token and the server; `None` on the default endpoint.
    bound: Option<(Token, Place)>,
    findings: Findings,
}

impl Streamer {
    /// Opens one stream after the other until everybody is to leave.
    pub(crate) async fn run(mut self) {
        while !self.world.is_closing() {
            if let Some(mut stream) = self.open().await {
                let outcome = self.talk(&mut stream).await;
                self.judge(&stream, outcome);
            }
            let pause = self.random.millis(100..5_000);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.world.closed() => {}
            }
        }
    }

    async fn open(&mut self) -> Option<Stream> {
        let ticket = self.world.ticket(None).await?;
        let port = ticket.port("stream")?;
        let token = self.random.chance(0.75).then_some(ticket.token);
        let bound = token.map(|token| (token, ticket.server.place()));
        match Stream::open(port, bound, &self.world.findings).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.world.findings.fault(format!("stream {} does not open: {error}", self.id));
                None
            }
        }
    }

    /// Sends chunk after chunk, each when the one before has come back, and ends the stream.
    async fn talk(&mut self, stream: &mut Stream) -> io::Result<()> {
        if !stream.greet().await? {
            return Ok(());
        }
        for _ in 0..self.random.one_of([2, 10, 40]) {
            self.chunk(stream).await?;
            let moves = self.random.chance(0.05) || stream.is_to_move();
            if moves && !self.reset(stream).await {
                return Ok(());
            }
            if self.world.is_closing() {
                break;
            }
            sleep(self.random.millis(20..400)).await;
        }
        if self.random.chance(0.2) {
            return stream.break_off();
        }
        self.half_close(stream).await
    }

    async fn chunk(&mut self, stream: &mut Stream) -> io::Result<()> {
        let len = self.random.one_of([1, 100, 4_000, 30_000]);
        let chunk = self.random.bytes(len);
        stream.exchange(&chunk).await
    }

    /// Moves the stream by a reset over the query port; `false` when that failed.
    async fn reset(&mut self, stream: &mut Stream) -> bool {
        let Some((session, place)) = &mut stream.bound else { return true };
        let Some(ticket) = self.world.ticket(Some(place.server())).await else { return false };
        match self.world.reset(*session, ticket.token).await {
            Ok(()) => {
                self.world.findings.act("reset a stream");
                (*session, *place) = (ticket.token, ticket.server.place());
                true
            }
            Err(_) if place.server().standing() == Standing::Removed => false,
            Err(_) if ticket.server.standing() != Standing::Open => false,
            Err(error) => {
                self.world.findings.fault(format!("stream {} cannot be moved: {error}", self.id));
                false
            }
        }
    }

    /// Sends a last chunk and the end of the stream with it; all of it and the end must come back.
    async fn half_close(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.world.findings.act("half-close a stream");
        let chunk = self.random.bytes(20_000);
        stream.tcp.write_all(&chunk).await?;
        stream.tcp.shutdown().await?;
        let mut echoed = Vec::new();
        timeout(PATIENCE, stream.tcp.read_to_end(&mut echoed)).await??;
        stream.check(&chunk, &echoed)
    }

    fn judge(&self, stream: &Stream, outcome: io::Result<()>) {
        let Err(error) = outcome else { return };
        let gone = match &stream.bound {
            Some((_, place)) => place.server().standing() == Standing::Removed,
            None => self.world.fleet.lobby_removed_since(stream.begun),
        };
        if gone {
            self.world.findings.act("stream ends with its server");
        } else {
            self.world.findings.fault(format!("stream {} broke: {error}", self.id));
        }
    }
}

impl Stream {
    async fn open(
        port: SocketAddr,
        bound: Option<(Token, Place)>,
        findings: &Findings,
    ) -> io::Result<Stream> {
        let begun = Instant::now();
        let mut tcp = TcpStream::connect(port).await?;
        tcp.set_nodelay(true)?;
        if let Some((token, _)) = &bound {
            tcp.write_all(format!("{}\n", token.as_str()).as_bytes()).await?;
        }
        let opened_in = begun.elapsed();
        findings.act(if bound.is_some() { "open a stream" } else { "open a stream without a token" });
        findings.sums().streams += 1;
        Ok(Stream { tcp, begun, opened_in, bound, findings: findings.clone() })
    }

    /// Exchanges a first chunk; `false` when the stream was given to the default endpoint before its
    /// token came, as is done with those who are silent for long, and the token taken for data.
    async fn greet(&mut self) -> io::Result<bool> {
        // Bytes that could be the beginning of a token would be waited on: this is none.
        match self.exchange(b"no token").await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData && self.opened_in > SILENCE => {
                self.findings.act("bring a stream's token late");
                Ok(false)
            }
            greeted => greeted.map(|()| true),
        }
    }

    /// Whether its server asks its players to leave.
    fn is_to_move(&self) -> bool {
        self.bound.as_ref().is_some_and(|(_, place)| place.server().standing() == Standing::Leaving)
    }

    async fn exchange(&mut self, chunk: &[u8]) -> io::Result<()> {
        let (mut reader, mut writer) = self.tcp.split();
        let mut echoed = vec![0; chunk.len()];
        let both = async { tokio::try_join!(writer.write_all(chunk), reader.read_exact(&mut echoed)) };
        timeout(PATIENCE, both).await??;
        self.check(chunk, &echoed)
    }

    fn check(&self, sent: &[u8], echoed: &[u8]) -> io::Result<()> {
        if sent != echoed {
            let what = format!("other bytes came back: {} for {}", echoed.len(), sent.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.findings.sums().stream_bytes += sent.len() as u64;
        Ok(())
    }

    /// Breaks the connection: the director sees a reset (RST).
    fn break_off(&mut self) -> io::Result<()> {
        self.findings.act("break a stream off");
        SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.findings.sums().streams -= 1;
    }
}

/// Who is silent for less is not given to the default endpoint: the director's peek of 100 ms and the
/// shortest `tokenGraceMs` that the soak writes.
const SILENCE: Duration = Duration::from_millis(300);
/// How long a chunk may be under way.
const PATIENCE: Duration = Duration::from_secs(20);
