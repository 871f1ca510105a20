//! One connection: bytes in, documents out of them, answers back in order.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use udp_director_wire::Answer;

use super::answer::{Asked, Begun, Responder, put};
use super::counters::HoldEnd;
use super::failure::Failure;
use super::frame::{Framer, MAX_DOCUMENT_BYTES, Pending, TooLarge};

/// How long the query server waits for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From a document's first byte to its last, in however many pieces it comes.
    pub document: Duration,
    /// For the next line of an object that is not complete at the end of a line. Then the object is
    /// taken as it is: cut by its client, who waits for the answer.
    pub next_line: Duration,
    /// From one document's end to the first byte of the next.
    pub idle: Duration,
    /// For a client to take an answer.
    pub write: Duration,
    /// For the data plane to carry out a session reset.
    pub reset: Duration,
    /// For a client that is told why its connection closes to read that and close its side.
    pub linger: Duration,
}

/// A client's connection.
pub(super) struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    deadlines: Deadlines,
    framer: Framer,
    answers: Vec<u8>,
    /// When the document at hand began, or the last one ended.
    since: Instant,
    /// Whether the client sends no more.
    half_closed: bool,
}

/// What ended a wait for bytes.
enum Received {
    Bytes,
    /// The client sends no more.
    End,
    /// No next line came.
    NoNextLine,
    /// The server stops.
    Stopped,
}

/// Why a connection is closed before its client has closed it.
enum Closing {
    /// The client is to be told.
    Telling(Failure),
    /// The client is gone, or does not take its answers.
    Silently,
}

impl Deadlines {
    /// What the query server grants where nothing else is said.
    pub const DEFAULT: Deadlines = Deadlines {
        document: Duration::from_secs(5),
        next_line: Duration::from_millis(500),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(5),
        reset: Duration::from_secs(5),
        linger: Duration::from_secs(1),
    };
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: IpAddr, deadlines: Deadlines) -> Connection {
        let (framer, answers) = (Framer::default(), Vec::new());
        Connection { stream, peer, deadlines, framer, answers, since: Instant::now(), half_closed: false }
    }

    /// Answers documents until the client closes, a bound is reached, or the server stops: when the
    /// sender of `stopped` is dropped. An answer that is being worked out is still given then.
    pub(super) async fn serve(mut self, responder: &Responder, mut stopped: watch::Receiver<()>) {
        let Err(Closing::Telling(failure)) = self.converse(responder, &mut stopped).await else { return };
        if self.framer.pending() != Pending::Nothing {
            responder.counters.cut(failure.code());
        }
        self.close_telling(failure).await;
    }

    /// Says why this connection is closed, and closes it.
    pub(super) async fn close_telling(mut self, failure: Failure) {
        put::<Answer>(&mut self.answers, Err(failure));
        if self.flush().await.is_ok() {
            let _ = timeout(self.deadlines.linger, drain(&mut self.stream)).await;
        }
    }

    async fn converse(
        &mut self,
        responder: &Responder,
        stopped: &mut watch::Receiver<()>,
    ) -> Result<(), Closing> {
        loop {
            match self.receive(stopped).await? {
                Received::Bytes => self.answer_complete(responder, stopped).await?,
                Received::NoNextLine => self.answer_rest(responder, stopped).await?,
                Received::End => {
                    self.half_closed = true;
                    return self.answer_rest(responder, stopped).await;
                }
                Received::Stopped => return Ok(()),
            }
        }
    }

    async fn receive(&mut self, stopped: &mut watch::Receiver<()>) -> Result<Received, Closing> {
        self.framer.shrink_to(KEPT_BYTES);
        self.answers.shrink_to(KEPT_BYTES);
        let (pending, (until, late)) = (self.framer.pending(), self.patience());
        let received = tokio::select! {
            received = timeout_at(until, read(&self.stream, &mut self.framer)) => received,
            _ = stopped.changed() => return Ok(Received::Stopped),
        };
        let Ok(received) = received else { return late };
        if pending == Pending::Nothing {
            self.since = Instant::now();
        }
        match received {
            Ok(0) => Ok(Received::End),
            Ok(_) => Ok(Received::Bytes),
            Err(_) => Err(Closing::Silently),
        }
    }

    /// Until when bytes are awaited, and what it means when none come.
    fn patience(&self) -> (Instant, Result<Received, Closing>) {
        let late = Err(Closing::Telling(Failure::Late));
        let document = self.since + self.deadlines.document;
        let next_line = Instant::now() + self.deadlines.next_line;
        match self.framer.pending() {
            Pending::Nothing => (self.since + self.deadlines.idle, late),
            Pending::Lines if next_line < document => (next_line, Ok(Received::NoNextLine)),
            Pending::Begun | Pending::Lines => (document, late),
        }
    }

    /// Answers every complete document. A client that sends many at once gets them answered in
    /// portions, and lets others have their turn in between.
    async fn answer_complete(
        &mut self,
        responder: &Responder,
        stopped: &mut watch::Receiver<()>,
    ) -> Result<(), Closing> {
        let mut portion = 0;
        while let Some(document) = self.framer.next()? {
            let begun = responder.begin(document, self.peer, &mut self.answers);
            self.finish(begun, responder, stopped).await?;
            self.since = Instant::now();
            portion += 1;
            if portion == PORTION_DOCUMENTS {
                portion = 0;
                self.flush().await?;
                tokio::task::yield_now().await;
            }
        }
        self.flush().await
    }

    /// Answers what is left as one document.
    async fn answer_rest(
        &mut self,
        responder: &Responder,
        stopped: &mut watch::Receiver<()>,
    ) -> Result<(), Closing> {
        if let Some(document) = self.framer.rest() {
            let begun = responder.begin(document, self.peer, &mut self.answers);
            self.finish(begun, responder, stopped).await?;
            self.since = Instant::now();
        }
        self.flush().await
    }

    /// Answers a document that could not be answered at once. Later ones wait for that.
    async fn finish(
        &mut self,
        begun: Begun,
        responder: &Responder,
        stopped: &mut watch::Receiver<()>,
    ) -> Result<(), Closing> {
        match begun {
            Begun::Answered => Ok(()),
            Begun::Reset(reset) => {
                self.flush().await?;
                responder.reset(&reset, self.peer, &mut self.answers).await;
                Ok(())
            }
            Begun::Hold(asked) => {
                self.flush().await?;
                self.hold(*asked, responder, stopped).await
            }
        }
    }

    /// Holds a query until it has its answer, its client is gone, or the server stops: it then gets the
    /// answer that it would have got at the end of its time. On the heap, since few are held.
    async fn hold(
        &mut self,
        asked: Asked,
        responder: &Responder,
        stopped: &mut watch::Receiver<()>,
    ) -> Result<(), Closing> {
        let mut held = match responder.hold(asked) {
            Ok(held) => Box::pin(held),
            Err(failure) => {
                responder.end_hold(Err(failure), HoldEnd::Refused, &mut self.answers);
                return Ok(());
            }
        };
        let client = gone(&self.stream, &mut self.framer, &mut self.half_closed);
        let (outcome, end) = tokio::select! {
            outcome = &mut held => {
                let end = HoldEnd::of(&outcome);
                (outcome, end)
            }
            _ = stopped.changed() => (Err(Failure::NoMatch), HoldEnd::Stopped),
            () = client => {
                responder.counters.end_hold(HoldEnd::ClientGone);
                return Err(Closing::Silently);
            }
        };
        drop(held);
        responder.end_hold(outcome, end, &mut self.answers);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Closing> {
        let sent = timeout(self.deadlines.write, self.stream.write_all(&self.answers)).await;
        self.answers.clear();
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closing::Silently),
        }
    }
}

impl From<TooLarge> for Closing {
    fn from(error: TooLarge) -> Closing {
        Closing::Telling(error.into())
    }
}

/// Waits for bytes and takes them; 0 at the end of the stream. Memory for them is taken only when
/// they are there: a connection that waits holds none.
async fn read(stream: &TcpStream, framer: &mut Framer) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match try_read(stream, framer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

/// Waits until the client is gone: the connection breaks, or it ends its side. An end within a second is
/// that of a client which sends nothing more and waits for its answer; from then on only a connection that
/// breaks tells. What the client sends meanwhile is kept for later, up to the length of a document.
async fn gone(stream: &TcpStream, framer: &mut Framer, half_closed: &mut bool) {
    let began = Instant::now();
    while !*half_closed && framer.held() < MAX_DOCUMENT_BYTES {
        match read(stream, framer).await {
            Ok(0) if began.elapsed() < HALF_CLOSE => *half_closed = true,
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let _ = stream.ready(Interest::ERROR).await;
}

fn try_read(stream: &TcpStream, framer: &mut Framer) -> io::Result<usize> {
    let mut chunk = [0; CHUNK_BYTES];
    let length = stream.try_read(&mut chunk)?;
    framer.push(&chunk[..length]);
    Ok(length)
}

/// Ends this side and reads the other one into the void. A socket closed with bytes unread resets
/// the connection, and the client might never see what it was told.
async fn drain(stream: &mut TcpStream) -> io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DRAINED_BYTES), &mut tokio::io::sink()).await
}

/// What is read at once.
const CHUNK_BYTES: usize = 4_096;

/// How soon after its document a client ends its side that still waits for the answer.
const HALF_CLOSE: Duration = Duration::from_secs(1);

/// What an idle connection keeps of each of its two buffers, so that a client that asks often does
/// not pay for memory each time.
const KEPT_BYTES: usize = 512;

/// How many documents are answered before others have their turn.
const PORTION_DOCUMENTS: usize = 64;

/// How much of what is still coming is read before the connection is reset.
const DRAINED_BYTES: u64 = 262_144;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn idle_connection_keeps_little_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(addr).await.expect("a connection");
        let mut connection = Connection::new(stream, addr.ip(), Deadlines::DEFAULT);
        connection.framer.push(&[b' '; 70_000]);
        connection.answers.reserve(70_000);
        while connection.framer.next().is_ok_and(|document| document.is_some()) {}
        let (_running, mut stopped) = watch::channel(());
        let waiting = timeout(Duration::ZERO, connection.receive(&mut stopped)).await;
        assert!(waiting.is_err(), "nothing comes");
        assert!(connection.framer.capacity() + connection.answers.capacity() <= 2 * KEPT_BYTES);
        assert!(size_of_val(&connection) + size_of_val(&connection.receive(&mut stopped)) <= 1_024);
    }
}
