//! Bytes that were read and could not be written at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// What is left to be written of one read; holds no memory once it is written.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bytes: Box<[u8]>,
    written: usize,
}

impl Rest {
    /// Keeps bytes for later. What was kept before must have been written.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        debug_assert!(self.is_empty(), "bytes are read only when all before are written");
        *self = Rest { bytes: bytes.into(), written: 0 };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Writes until nothing is left; `sent` is told the length of each piece.
    pub(super) fn poll_write(
        &mut self,
        to: &mut TcpStream,
        cx: &mut Context<'_>,
        sent: impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let len = ready!(Pin::new(&mut *to).poll_write(cx, &self.bytes[self.written..]))?;
            self.written += len;
            sent(len);
        }
        *self = Rest::default();
        Poll::Ready(Ok(()))
    }
}

impl From<Vec<u8>> for Rest {
    fn from(bytes: Vec<u8>) -> Rest {
        Rest { bytes: bytes.into(), written: 0 }
    }
}
