//! One request to the admin port, and its answer.

use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::table::cell;
use super::{AdminArgs, Failure, Output, PageArgs, print};

/// How long an answer may take; the admin port itself takes no longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Asks one director.
#[derive(Debug)]
pub(super) struct Asker {
    admin: String,
    output: Output,
}

impl Asker {
    pub(super) fn new(args: &AdminArgs) -> Asker {
        Asker { admin: args.admin.clone(), output: args.output }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, String::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: String) -> Result<Value, Failure> {
        self.ask(Method::POST, path, body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, String::new()).await
    }

    /// The answer, which is JSON. A problem is told to the user, and fails.
    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Value, Failure> {
        let admin = &self.admin;
        let (status, answer) = timeout(DEADLINE, self.exchange(method, path, body))
            .await
            .map_err(|_| anyhow::anyhow!("{admin} has not answered within {} s", DEADLINE.as_secs()))??;
        match serde_json::from_slice::<Value>(&answer) {
            Ok(answer) if status.is_success() => Ok(answer),
            Ok(problem) if self.output == Output::Json => {
                print(&format!("{problem:#}"))?;
                Err(Failure::Shown)
            }
            Ok(problem) => {
                let text = |key: &str| cell(problem.get(key));
                Err(anyhow::anyhow!("{}: {} ({})", text("title"), text("detail"), text("code")).into())
            }
            Err(_) => {
                Err(anyhow::anyhow!("{admin} is no admin port of a director: it answers {status}").into())
            }
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let stream = TcpStream::connect(&self.admin)
            .await
            .with_context(|| format!("cannot connect to the admin port {}", self.admin))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.admin)
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(body)
            .with_context(|| format!("{path} is no path"))?;
        let answer = sender.send_request(request).await.context("the answer broke off")?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER_BYTES).await?;
        Ok((status, body.into()))
    }
}

/// What stands behind the `?` of a list.
pub(super) fn query_of<const N: usize>(page: &PageArgs, filters: [(&str, Option<String>); N]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &page.limit.to_string());
    query.extend_pairs(page.after.iter().map(|after| ("after", after)));
    query.extend_pairs(filters.into_iter().filter_map(|(key, value)| Some((key, value?))));
    query.finish()
}
