//! Asking a server that plays a director.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

/// A query port that answers each document with what `answer` makes of its number and asker.
fn director(answer: fn(usize, IpAddr) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || {
                let asker = stream.peer_addr().expect("it is connected").ip();
                let mut writer = stream.try_clone().expect("a second descriptor");
                for (number, line) in BufReader::new(stream).lines().enumerate() {
                    assert_eq!(line.expect("a line"), r#"{"resourceType":"server"}"#);
                    writeln!(writer, "{}", answer(number, asker)).expect("the asker reads");
                }
            });
        }
    });
    addr
}

fn asking(director: SocketAddr) -> Asking {
    let query = Query { resource_type: "server".into(), ..Query::default() };
    Asking { director, query, connections: 3 }
}

#[tokio::test]
async fn every_source_gets_the_token_that_it_asked_for() {
    let director = director(|number, asker| {
        let token = format!("{asker}-{number}");
        format!(r#"{{"token": "{token:0>36}", "expiresInSeconds": 30, "ports": {{}}}}"#)
    });
    let sources: Vec<_> = (0..10_u8).flat_map(|n| [Some(IpAddr::from([127, 9, 0, n + 1])); 40]).collect();
    let asked = asking(director).tokens(&sources).await.expect("the director answers");
    assert_eq!(asked.tokens.len(), 400);
    for (token, source) in asked.tokens.iter().zip(&sources) {
        let source = source.expect("all have one").to_string();
        assert!(token.as_str().trim_start_matches('0').starts_with(&source), "{}", token.as_str());
    }
}

#[tokio::test]
async fn refusal_is_told_in_the_directors_words() {
    let director = director(|_, _| {
        r#"{"error": "No matching resources found", "code": "no_matching_resources"}"#.into()
    });
    let error = asking(director).tokens(&[None]).await.expect_err("it is refused");
    assert!(matches!(error, QueryError::Refused { code: ErrorCode::NoMatchingResources, .. }));
    assert_eq!(error.to_string(), "No matching resources found");
}

#[tokio::test]
async fn answer_of_something_else_is_malformed() {
    let other = director(|_, _| "HTTP/1.1 400 Bad Request".into());
    let error = asking(other).tokens(&[None]).await.expect_err("it is no director");
    assert!(matches!(error, QueryError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn director_that_is_not_there_is_an_error() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    assert!(matches!(asking(gone).tokens(&[None]).await, Err(QueryError::Unreachable(_))));
}
