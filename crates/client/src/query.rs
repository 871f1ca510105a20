//! The query port's client: one kept TCP connection, one document out, one answer back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;
use udp_director_wire::{Answer, ErrorAnswer, ErrorCode, Query, ResetAnswer, SessionReset, Token};

/// A connection to a director's query port, kept between queries and made anew when it broke.
#[derive(Debug)]
pub struct QueryClient {
    director: SocketAddr,
    deadline: Duration,
    /// Taken out while an answer is awaited: after a failure, a timeout or a cancelled call the
    /// answers on it could be out of step with the questions, and it is not used again.
    kept: Option<BufReader<TcpStream>>,
}

/// Why a query brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The director answered with an error; its `code` says whether asking again makes sense.
    #[error("{text}")]
    Refused {
        /// The director's own words.
        text: String,
        /// The same for programs.
        code: ErrorCode,
    },
    /// No whole answer came before the deadline.
    #[error("the director at {director} did not answer within {within:?}")]
    NoAnswer {
        /// Who was asked.
        director: SocketAddr,
        /// How long it was waited for.
        within: Duration,
    },
    /// There is no connection, or it broke.
    #[error("the director's query port cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// What answered does not speak this protocol.
    #[error("not an answer of a director: {0}")]
    Malformed(#[source] serde_json::Error),
}

impl QueryClient {
    /// How long a connection or an answer is awaited unless
    /// [`with_deadline`](QueryClient::with_deadline) says otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(5);

    /// Connects to a query port, such as `"director.example:9000"`.
    ///
    /// # Errors
    /// When the name does not resolve, or nothing accepts within [`QueryClient::DEADLINE`].
    pub async fn connect(director: impl ToSocketAddrs) -> Result<QueryClient, QueryError> {
        let connecting = timeout(Self::DEADLINE, TcpStream::connect(director)).await;
        let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let director = stream.peer_addr()?;
        Ok(QueryClient { director, deadline: Self::DEADLINE, kept: Some(ready(stream)?) })
    }

    /// Waits `deadline` for each answer from now on, the time for a new connection included.
    pub fn with_deadline(self, deadline: Duration) -> QueryClient {
        QueryClient { deadline, ..self }
    }

    /// Asks for a server. A query that is to be held is awaited for that much longer.
    ///
    /// # Errors
    /// [`QueryError::Refused`] when nothing matches now or the query is wrong; otherwise the way to
    /// the director failed.
    pub async fn query(&mut self, query: &Query) -> Result<Answer, QueryError> {
        let held = Duration::from_secs(query.wait_seconds.unwrap_or(0).into());
        let answer = self.ask(&json!(query), self.deadline + held).await?;
        serde_json::from_value(answer).map_err(QueryError::Malformed)
    }

    /// Moves the running session that `session` names to the server of `token`, and says how many
    /// listeners moved. For clients that cannot send a control packet; a
    /// [`Session`](crate::Session) has [`migrate`](crate::Session::migrate).
    ///
    /// # Errors
    /// As for [`QueryClient::query`].
    pub async fn reset(&mut self, session: Token, token: Token) -> Result<ResetAnswer, QueryError> {
        let mut document = json!(SessionReset { session, token });
        document["type"] = "sessionReset".into();
        let answer = self.ask(&document, self.deadline).await?;
        serde_json::from_value(answer).map_err(QueryError::Malformed)
    }

    /// The address of the query port that this client is connected to.
    pub fn director(&self) -> SocketAddr {
        self.director
    }

    /// Where the named listener takes the token of `answer`: the same director, its public port.
    /// `None` when the server cannot be reached on that listener.
    pub fn data_addr(&self, answer: &Answer, listener: &str) -> Option<SocketAddr> {
        answer.ports.get(listener).map(|&port| SocketAddr::new(self.director.ip(), port))
    }

    async fn ask(&mut self, document: &Value, within: Duration) -> Result<Value, QueryError> {
        let no_answer = QueryError::NoAnswer { director: self.director, within };
        let line = timeout(within, self.exchange(format!("{document}\n").as_bytes()))
            .await
            .map_err(|_| no_answer)??;
        let answer: Value = serde_json::from_slice(&line).map_err(QueryError::Malformed)?;
        if answer.get("error").is_none() {
            return Ok(answer);
        }
        let ErrorAnswer { error, code } = serde_json::from_value(answer).map_err(QueryError::Malformed)?;
        Err(QueryError::Refused { text: error, code })
    }

    async fn exchange(&mut self, document: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(kept) = self.kept.take()
            && let Ok(line) = self.exchange_on(kept, document).await
        {
            return Ok(line);
        }
        // The director closes connections that are idle; the next question then finds out.
        let stream = ready(TcpStream::connect(self.director).await?)?;
        self.exchange_on(stream, document).await
    }

    async fn exchange_on(
        &mut self,
        mut stream: BufReader<TcpStream>,
        document: &[u8],
    ) -> io::Result<Vec<u8>> {
        stream.write_all(document).await?;
        let mut line = Vec::new();
        (&mut stream).take(MAX_ANSWER_BYTES).read_until(b'\n', &mut line).await?;
        if line.pop_if(|&mut last| last == b'\n').is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.kept = Some(stream);
        Ok(line)
    }
}

fn ready(stream: TcpStream) -> io::Result<BufReader<TcpStream>> {
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// The longest answer that is read; real ones are a few hundred bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
