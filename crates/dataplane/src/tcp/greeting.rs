//! How a client's connection begins: with a token, with data, or with nothing.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use udp_director_core::Settings;
use udp_director_wire::{Magic, Preamble, TOKEN_LEN, Token, parse_preamble};

/// How long a client may take for its token, however it is split.
const PREAMBLE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a client's first byte is waited for, where a default endpoint would take it. A client with
/// a token sends it along with the end of the handshake.
const PEEK: Duration = Duration::from_millis(100);

/// The longest preamble: a control packet with the longest magic.
const PREAMBLE_MAX: usize = Magic::MAX_LEN + TOKEN_LEN;

/// What a client has begun its connection with.
#[derive(Debug)]
pub(super) enum Greeting {
    /// A token. Nothing behind it has been read, so a newline may follow.
    Token(Token),
    /// No token: these bytes, if any, are data.
    Data(Vec<u8>),
    /// Nothing to go by: half a token until the deadline, or a connection that broke.
    Nothing,
}

/// Reads as far as is needed to tell a token from data, and not a byte behind the token.
///
/// With a default endpoint, a client that is silent may wait for its server to speak first, and is
/// given up to it: after [`PEEK`], or where `token_waits` says that its token may be on the way, after
/// `tokenGraceMs` more. Half a token is waited for until the deadline and then is nothing at
/// all: were it forwarded, the other half could follow, and a game server would hold a token.
pub(super) async fn greet(
    client: &mut TcpStream,
    settings: &Settings,
    token_waits: impl Fn() -> bool,
) -> Greeting {
    let deadline = Instant::now() + PREAMBLE_DEADLINE;
    if settings.has_default_endpoint
        && is_silent(client, PEEK).await
        && (!token_waits() || is_silent(client, settings.token_grace).await)
    {
        return Greeting::Data(Vec::new());
    }
    let mut head = Head::default();
    loop {
        match parse_preamble(head.bytes(), &settings.magic, settings.token_form) {
            Preamble::Token { token, .. } => return Greeting::Token(token),
            Preamble::Absent => return head.into_data(),
            Preamble::Incomplete => {}
        }
        match timeout_at(deadline, client.read(head.wanted(&settings.magic))).await {
            Ok(Ok(0)) => return head.into_data(),
            Ok(Ok(read)) => head.len += read,
            Ok(Err(_)) => return Greeting::Nothing,
            Err(_) if head.len == 0 => return head.into_data(),
            Err(_) => return Greeting::Nothing,
        }
    }
}

async fn is_silent(client: &TcpStream, span: Duration) -> bool {
    timeout(span, client.peek(&mut [0])).await.is_err()
}

/// The bytes read so far; never more than a preamble can have.
struct Head {
    buffer: [u8; PREAMBLE_MAX],
    len: usize,
}

impl Head {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Room for what is missing: up to a bare token first, and only what cannot be one goes on to
    /// the length of a control packet.
    fn wanted(&mut self, magic: &Magic) -> &mut [u8] {
        let end = if self.len < TOKEN_LEN { TOKEN_LEN } else { magic.as_bytes().len() + TOKEN_LEN };
        &mut self.buffer[self.len..end]
    }

    fn into_data(self) -> Greeting {
        Greeting::Data(self.bytes().to_vec())
    }
}

impl Default for Head {
    fn default() -> Head {
        Head { buffer: [0; PREAMBLE_MAX], len: 0 }
    }
}
