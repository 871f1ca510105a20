//! The query client against a director whose every byte the test decides.

use super::*;
use std::collections::BTreeMap;
use tokio::net::TcpListener;

const TOKEN: &str = "0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";

struct Director(TcpListener);

struct Connection(BufReader<TcpStream>);

impl Director {
    async fn bind() -> Director {
        Director(TcpListener::bind("127.0.0.1:0").await.expect("loopback is there"))
    }

    async fn client(&self) -> QueryClient {
        QueryClient::connect(self.0.local_addr().expect("it is bound")).await.expect("it listens")
    }

    async fn accept(&self) -> Connection {
        Connection(BufReader::new(self.0.accept().await.expect("a connection").0))
    }
}

impl Connection {
    async fn asked(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("a document");
        serde_json::from_str(&line).expect("JSON")
    }

    async fn answer(&mut self, answer: &str) {
        self.0.write_all(answer.as_bytes()).await.expect("it listens");
    }
}

fn lobby() -> Query {
    Query { resource_type: "lobby".into(), ..Query::default() }
}

fn found() -> String {
    format!("{{\"token\":\"{TOKEN}\",\"expiresInSeconds\":30,\"ports\":{{\"game\":7777}}}}\n")
}

#[tokio::test]
async fn answers_come_over_one_kept_connection() {
    let director = Director::bind().await;
    let mut client = director.client().await;
    let script = async {
        let mut connection = director.accept().await;
        for _ in 0..2 {
            assert_eq!(connection.asked().await["resourceType"], "lobby");
            connection.answer(&found()).await;
        }
    };
    let play = async {
        for _ in 0..2 {
            let answer = client.query(&lobby()).await.expect("an answer");
            assert_eq!(answer.token.as_str(), TOKEN);
            assert_eq!(client.data_addr(&answer, "game").map(|addr| addr.port()), Some(7777));
            assert_eq!(client.data_addr(&answer, "voice"), None);
        }
    };
    tokio::join!(script, play);
}

#[tokio::test]
async fn query_that_is_held_is_awaited_for_that_much_longer() {
    let director = Director::bind().await;
    let mut client = director.client().await.with_deadline(Duration::from_millis(20));
    let script = async {
        let mut connection = director.accept().await;
        assert_eq!(connection.asked().await["waitSeconds"], 9);
        tokio::time::sleep(Duration::from_millis(100)).await;
        connection.answer(&found()).await;
    };
    let patient = Query { wait_seconds: Some(9), ..lobby() };
    let (answer, ()) = tokio::join!(client.query(&patient), script);
    assert_eq!(answer.expect("an answer").token.as_str(), TOKEN);
}

#[tokio::test]
async fn refusal_keeps_text_and_code_of_the_director() {
    let director = Director::bind().await;
    let mut client = director.client().await;
    let script = async {
        let mut connection = director.accept().await;
        connection.asked().await;
        let text = r#"{"error":"No matching resources found","code":"no_matching_resources"}"#;
        connection.answer(&format!("{text}\n")).await;
    };
    let lobby = lobby();
    let (answer, ()) = tokio::join!(client.query(&lobby), script);
    let error = answer.expect_err("nothing matches");
    assert_eq!(error.to_string(), "No matching resources found");
    assert!(matches!(error, QueryError::Refused { code: ErrorCode::NoMatchingResources, .. }));
}

#[tokio::test]
async fn connection_that_the_director_closed_is_made_anew() {
    let director = Director::bind().await;
    let mut client = director.client().await;
    let script = async {
        drop(director.accept().await);
        let mut second = director.accept().await;
        second.asked().await;
        second.answer(&found()).await;
    };
    let lobby = lobby();
    let (answer, ()) = tokio::join!(client.query(&lobby), script);
    answer.expect("an answer on the second connection");
}

#[tokio::test]
async fn late_answer_is_never_taken_for_the_next_one() {
    let director = Director::bind().await;
    let mut client = director.client().await.with_deadline(Duration::from_millis(50));
    let mut first = director.accept().await;
    let error = client.query(&lobby()).await.expect_err("nobody answers");
    assert!(matches!(error, QueryError::NoAnswer { .. }), "{error:?}");
    let script = async {
        first.asked().await;
        let refused = first.0.write_all(b"{\"error\":\"late\",\"code\":\"timeout\"}\n").await;
        let mut second = director.accept().await;
        second.asked().await;
        second.answer(&found()).await;
        refused
    };
    let lobby = lobby();
    let (answer, _) = tokio::join!(client.query(&lobby), script);
    answer.expect("the answer to the second question");
}

#[tokio::test]
async fn reset_names_both_tokens() {
    let director = Director::bind().await;
    let mut client = director.client().await;
    let token = Token::from_bytes(TOKEN.as_bytes()).expect("a token");
    let script = async {
        let mut connection = director.accept().await;
        let asked = connection.asked().await;
        connection.answer("{\"migrated\":1}\n").await;
        asked
    };
    let (answer, asked) = tokio::join!(client.reset(token, token), script);
    assert_eq!(answer.expect("an answer").migrated, 1);
    assert_eq!(asked, json!({"type": "sessionReset", "session": TOKEN, "token": TOKEN}));
}

#[tokio::test]
async fn stranger_on_the_port_is_malformed_or_unreachable() {
    for (says, malformed) in [("HTTP/1.1 400 Bad Request\n", true), ("[1]\n", true), ("no newline", false)] {
        let director = Director::bind().await;
        let mut client = director.client().await;
        let script = async {
            for _ in 0..if malformed { 1 } else { 2 } {
                let mut connection = director.accept().await;
                connection.asked().await;
                connection.answer(says).await;
            }
        };
        let lobby = lobby();
        let (answer, ()) = tokio::join!(client.query(&lobby), script);
        let error = answer.expect_err(says);
        assert_eq!(matches!(error, QueryError::Malformed(_)), malformed, "{says}: {error:?}");
    }
}

#[test]
fn data_addr_takes_the_directors_ip() {
    let director = "[2001:db8::1]:9000".parse().expect("an address");
    let client = QueryClient { director, deadline: QueryClient::DEADLINE, kept: None };
    let token = Token::from_bytes(TOKEN.as_bytes()).expect("a token");
    let ports = BTreeMap::from([("game".to_owned(), 7777)]);
    let answer = Answer { token, expires_in_seconds: 30, ports, backend: None };
    assert_eq!(client.data_addr(&answer, "game"), "[2001:db8::1]:7777".parse().ok());
}
