//! One direction of a TCP session: reads from one side, writes to the other, passes the end on.
//!
//! Bytes are read into a buffer that all connections of a thread share, and written at once; only
//! what the receiver does not take is kept, and nothing more is read until it has gone. So an idle
//! connection holds no buffer, a stalled one at most [`PIECE`] bytes, and a slow receiver slows its
//! sender down.

use std::cell::RefCell;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::rest::Rest;
use super::tally::{Tally, Way};

/// The most that is read at once.
const PIECE: usize = 64 * 1024;

thread_local! {
    /// Used within one poll and never across an await.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// One direction of a session.
#[derive(Debug)]
pub(super) struct Flow {
    way: Way,
    rest: Rest,
    stage: Stage,
    /// The source's connection was reset, and so the sink's is to be.
    abort: bool,
    /// A newline that may follow the token is not data.
    skip_newline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The source is read.
    Open,
    /// The source has ended, which is passed on once the rest is written.
    Ending,
    /// Nothing more goes this way.
    Ended,
    /// The sink takes nothing any more. The source is still read, to no end: were its connection
    /// closed with bytes unread, the kernel would reset it and throw away what it has not sent yet.
    Discarding,
}

/// A step of a flow that has not failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// Bytes were carried.
    Bytes,
    /// The source has ended; all that it sent before is written.
    End,
}

/// Which side of a flow has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Source,
    Sink,
}

impl Flow {
    /// A flow that begins with bytes of the director's own.
    pub(super) fn new(way: Way, first: Vec<u8>) -> Flow {
        Flow { way, rest: first.into(), stage: Stage::Open, abort: false, skip_newline: false }
    }

    /// A flow whose source has just sent a token, and may send a newline behind it.
    pub(super) fn behind_token(way: Way, first: Vec<u8>) -> Flow {
        Flow { skip_newline: true, ..Flow::new(way, first) }
    }

    /// Goes on to another sink, beginning with bytes of the director's own; an end that was passed
    /// on is passed on again. Gives what the sink so far has not taken.
    pub(super) fn redirect(&mut self, first: Vec<u8>) -> Rest {
        if self.stage == Stage::Ended {
            self.stage = Stage::Ending;
        }
        std::mem::replace(&mut self.rest, first.into())
    }

    /// Takes a step. `Ready` means that another may be possible at once.
    pub(super) fn poll(
        &mut self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        tally: &Tally,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        match self.stage {
            Stage::Open => match ready!(self.poll_carry(from, to, tally, cx))? {
                Carried::Bytes => {}
                Carried::End => self.stage = Stage::Ending,
            },
            Stage::Ending => {
                ready!(self.poll_rest(to, tally, cx))?;
                self.pass_end_on(to);
            }
            Stage::Discarding => {
                if ready!(poll_discard(from, cx)) == Carried::End {
                    self.stage = Stage::Ended;
                }
            }
            Stage::Ended => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is left, then carries one piece. Leaves the end to the caller.
    pub(super) fn poll_carry(
        &mut self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        tally: &Tally,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Carried, Broken>> {
        ready!(self.poll_rest(to, tally, cx))?;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut piece = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(cx, &mut piece)).map_err(|_| Broken::Source)?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(Carried::End));
            }
            tally.received(self.way, piece.filled().len());
            let data = self.data(piece.filled());
            Poll::Ready(self.write(data, to, tally, cx).map(|()| Carried::Bytes))
        })
    }

    fn poll_rest(
        &mut self,
        to: &mut TcpStream,
        tally: &Tally,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let way = self.way;
        self.rest.poll_write(to, cx, |len| tally.sent(way, len)).map_err(|_| Broken::Sink)
    }

    fn data<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        if std::mem::take(&mut self.skip_newline) {
            piece.strip_prefix(b"\n").unwrap_or(piece)
        } else {
            piece
        }
    }

    /// Writes what the sink takes now, and keeps the rest.
    fn write(
        &mut self,
        data: &[u8],
        to: &mut TcpStream,
        tally: &Tally,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        if data.is_empty() {
            return Ok(());
        }
        let written = match Pin::new(to).poll_write(cx, data) {
            Poll::Ready(Ok(len)) => len,
            Poll::Ready(Err(_)) => return Err(Broken::Sink),
            Poll::Pending => 0,
        };
        if written > 0 {
            tally.sent(self.way, written);
        }
        self.rest.keep(&data[written..]);
        Ok(())
    }

    /// A FIN as a FIN, and a reset as a reset: with no time to linger, closing resets. An error means
    /// that the sink is gone, and then it knows already.
    fn pass_end_on(&mut self, to: &TcpStream) {
        self.stage = Stage::Ended;
        let to = SockRef::from(to);
        let _ = if self.abort { to.set_linger(Some(Duration::ZERO)) } else { to.shutdown(Shutdown::Write) };
    }

    /// The source has been reset: what it sent before is still written, then the sink is reset.
    pub(super) fn end_by_reset(&mut self) {
        self.abort = true;
        self.stage = Stage::Ending;
    }

    /// The other direction has found the source reset. Where it had ended well before, the sink has
    /// all of it and is not told; else what it sent before is still read.
    pub(super) fn expect_reset(&mut self) {
        self.abort |= self.stage == Stage::Open;
    }

    /// The sink is gone, and only what it is not told matters any more.
    pub(super) fn discard(&mut self) {
        self.rest = Rest::default();
        if self.stage != Stage::Ended {
            self.stage = Stage::Discarding;
        }
    }

    /// Nothing is left to carry this way, or nobody to carry it to.
    pub(super) fn stop(&mut self) {
        self.rest = Rest::default();
        self.stage = Stage::Ended;
    }

    /// Says whether the source has not ended and the sink takes what it sends.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(super) fn is_discarding(&self) -> bool {
        self.stage == Stage::Discarding
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Says whether the sink's connection is to be reset now.
    pub(super) fn has_aborted(&self) -> bool {
        self.abort && self.has_ended()
    }
}

fn poll_discard(from: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Carried> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut piece = ReadBuf::new(scratch);
        match ready!(Pin::new(from).poll_read(cx, &mut piece)) {
            Ok(()) if !piece.filled().is_empty() => Poll::Ready(Carried::Bytes),
            Ok(()) | Err(_) => Poll::Ready(Carried::End),
        }
    })
}
