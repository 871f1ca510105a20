//! Asking a director for tokens: many, from many addresses, over kept connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use udp_director_client::{Answer, ErrorCode, Query, QueryError, Token};

/// Who is asked what, over how many connections.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The query port.
    pub director: SocketAddr,
    /// What is asked, every time.
    pub query: Query,
    /// How many connections are open at a time.
    pub connections: usize,
}

/// The tokens that a director gave.
#[derive(Clone, Debug)]
pub struct Asked {
    /// One for each source, in their order.
    pub tokens: Vec<Token>,
    /// How long that took.
    pub elapsed: Duration,
}

impl Asking {
    /// Asks for a token for each of `sources`, from that address (`None`: the system chooses), as a
    /// director that binds tokens to their client's IP demands. Neighbours of one address share a
    /// connection.
    ///
    /// # Errors
    /// The first that any query meets.
    pub async fn tokens(&self, sources: &[Option<IpAddr>]) -> Result<Asked, QueryError> {
        let start = Instant::now();
        let share = sources.len().div_ceil(self.connections).max(1);
        let mut stripes = JoinSet::new();
        for (number, stripe) in sources.chunks(share).enumerate() {
            let (asking, stripe) = (self.clone(), stripe.to_vec());
            stripes.spawn(async move { asking.stripe(&stripe).await.map(|tokens| (number, tokens)) });
        }
        let mut found = Vec::new();
        while let Some(stripe) = stripes.join_next().await {
            found.push(stripe.expect("a stripe neither panics nor is aborted")?);
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        let tokens = found.into_iter().flat_map(|(_, tokens)| tokens).collect();
        Ok(Asked { tokens, elapsed: start.elapsed() })
    }

    async fn stripe(&self, sources: &[Option<IpAddr>]) -> Result<Vec<Token>, QueryError> {
        let mut tokens = Vec::with_capacity(sources.len());
        for neighbours in sources.chunk_by(|a, b| a == b) {
            let mut asker = self.connect(neighbours[0]).await?;
            for portion in neighbours.chunks(PIPELINED) {
                let answers = asker.ask(portion.len()).await?;
                tokens.extend(answers.into_iter().map(|answer| answer.token));
            }
        }
        Ok(tokens)
    }

    /// Opens one connection, from that address.
    ///
    /// # Errors
    /// When the director cannot be reached, or the address is not this host's.
    pub async fn connect(&self, source: Option<IpAddr>) -> Result<Asker, QueryError> {
        let socket = match self.director {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = source {
            // Without it the system would reserve the port for all targets, and run out of them.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)?;
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = within(self.director, socket.connect(self.director)).await?;
        stream.set_nodelay(true)?;
        let line = format!("{}\n", serde_json::json!(self.query));
        Ok(Asker { director: self.director, stream: BufReader::new(stream), line })
    }
}

/// A connection to a query port, on which the same is asked again and again.
#[derive(Debug)]
pub struct Asker {
    director: SocketAddr,
    stream: BufReader<TcpStream>,
    line: String,
}

impl Asker {
    /// Asks `count` times in one go, and gives the answers.
    ///
    /// # Errors
    /// The first refusal, or what is wrong with the connection.
    pub async fn ask(&mut self, count: usize) -> Result<Vec<Answer>, QueryError> {
        let documents = self.line.repeat(count);
        within(self.director, self.stream.write_all(documents.as_bytes())).await?;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(self.answer().await?);
        }
        Ok(answers)
    }

    async fn answer(&mut self) -> Result<Answer, QueryError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_ANSWER_BYTES);
        within(self.director, limited.read_until(b'\n', &mut line)).await?;
        if line.last() != Some(&b'\n') {
            return Err(QueryError::Unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer: Value = serde_json::from_slice(&line).map_err(QueryError::Malformed)?;
        if answer.get("error").is_none() {
            return serde_json::from_value(answer).map_err(QueryError::Malformed);
        }
        let Refusal { error, code } = serde_json::from_value(answer).map_err(QueryError::Malformed)?;
        Err(QueryError::Refused { text: error, code })
    }
}

/// The answer to a query that got nothing.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    code: ErrorCode,
}

async fn within<T>(director: SocketAddr, what: impl Future<Output = io::Result<T>>) -> Result<T, QueryError> {
    match timeout(DEADLINE, what).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(QueryError::NoAnswer { director, within: DEADLINE }),
    }
}

const DEADLINE: Duration = Duration::from_secs(5);
/// How many queries go out before their answers are read.
const PIPELINED: usize = 16;
/// The longest answer that is read; real ones are a few hundred bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
