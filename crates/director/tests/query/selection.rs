//! Seats, sticky keys and backends to avoid, as clients of the query port meet them.

use std::collections::HashMap;

use udp_director_core::{BackendSpec, Capacity, ListenerId, Ports, Strategy};

use super::harness::{Server, Setup, backend, catalog_by, named};

/// Lobbies at ports 1, 2, ... with so many seats each; answers tell which of them it is.
async fn lobbies(strategy: Strategy, seats: &[u32]) -> Server {
    let lobby = |(number, seats): (usize, &u32)| {
        let ports = named(&[("game", 1 + number as u16), ("chat", 4000)]);
        BackendSpec {
            capacity: Capacity::of(*seats, 0, 0),
            ..backend(&format!("lobby-{number}"), "lobby", "games", ports)
        }
    };
    let backends = seats.iter().enumerate().map(lobby).collect();
    let change = |setup: &mut Setup| {
        setup.backends = backends;
        setup.catalog = catalog_by(strategy, &[("lobby", &["games"])]);
        setup.catalog.expose_backend = true;
        setup.limits.per_source = 100;
    };
    Server::start_with(change).await
}

fn lobby(more: &str) -> String {
    format!("{{\"resourceType\":\"lobby\"{more}}}\n")
}

/// The answer's token, and which lobby it is for; `None` where no seat was left.
async fn ask(server: &Server, more: &str) -> Option<(String, String)> {
    let answer = server.client().await.ask(lobby(more)).await;
    if answer["code"] == "no_matching_resources" {
        return None;
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    Some((text("token"), text("backend")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_who_ask_at_once_get_every_seat_and_no_more() {
    const CLIENTS: usize = 50;
    const EACH: usize = 40;
    let seats = [300, 0, 77, 500, 1, 22];
    for strategy in Strategy::ALL {
        let server = lobbies(strategy, &seats).await;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let mut client = server.client().await;
            clients.spawn(async move {
                client.send(lobby("").repeat(EACH)).await;
                let mut got = Vec::new();
                for _ in 0..EACH {
                    got.push(client.answer().await["backend"].as_str().map(str::to_owned));
                }
                got
            });
        }
        let answers: Vec<Option<String>> = clients.join_all().await.concat();
        assert_eq!(answers.len(), CLIENTS * EACH);
        let mut given: HashMap<String, u32> = HashMap::new();
        answers.into_iter().flatten().for_each(|backend| *given.entry(backend).or_default() += 1);
        for (number, seats) in seats.iter().enumerate() {
            let address = format!("10.0.0.1:{}", 1 + number);
            assert_eq!(given.get(&address).copied().unwrap_or(0), *seats, "{strategy:?}, {address}");
        }
    }
}

#[tokio::test]
async fn party_comes_together_and_comes_back_while_there_is_room() {
    let server = lobbies(Strategy::LeastSessions, &[2; 8]).await;
    let party = r#","stickyKey":"party-7""#;
    let (first, here) = ask(&server, party).await.expect("a seat");
    assert_eq!(ask(&server, party).await.expect("a seat").1, here);
    let elsewhere = ask(&server, party).await.expect("a seat").1;
    assert_ne!(elsewhere, here, "both seats are taken");
    assert_eq!(ask(&server, party).await.expect("a seat").1, elsewhere, "who comes last leads");
    server.play(&first, [ListenerId(0)]);
    for _ in 0..8 {
        assert_ne!(ask(&server, "").await.expect("a seat").1, here);
    }
}

#[tokio::test]
async fn backend_of_a_token_can_be_avoided() {
    let server = lobbies(Strategy::First, &[9, 9]).await;
    let (token, first) = ask(&server, "").await.expect("a seat");
    let avoid = format!(r#","avoid":"{token}""#);
    let (other, second) = ask(&server, &avoid).await.expect("a seat");
    assert_ne!(first, second);
    assert_eq!(ask(&server, &format!(r#","avoid":["{token}","{other}"]"#)).await, None);
    let unknown = format!(r#","avoid":"{}""#, "x".repeat(36));
    assert_eq!(ask(&server, &unknown).await.expect("a seat").1, first, "who is unknown leaves nobody out");
    let sticky = r#","stickyKey":"player""#;
    let (token, here) = ask(&server, sticky).await.expect("a seat");
    let moved = ask(&server, &format!(r#"{sticky},"avoid":"{token}""#)).await.expect("a seat").1;
    assert_ne!(moved, here);
    assert_eq!(ask(&server, sticky).await.expect("a seat").1, moved, "the key leads to where it went");
}

#[tokio::test]
async fn what_a_query_may_not_ask_is_told() {
    let server = Server::start().await;
    let many = format!(r#","avoid":[{}]"#, vec![format!("{:?}", "x".repeat(36)); 9].join(","));
    let long = format!(r#","stickyKey":"{}""#, "k".repeat(64 << 10));
    for (more, code, text) in [
        (&*many, "invalid_query", "avoid has more than 8 tokens"),
        (r#","avoid":"short""#, "invalid_query", "a token of 36 visible ASCII characters"),
        (r#","stickyKey":"""#, "invalid_query", "stickyKey has 1 to 256 bytes, not 0"),
        (&*long, "too_large", "at most 65536 bytes"),
        (&format!(r#","stickyKey":"{}""#, "k".repeat(257)), "invalid_query", "1 to 256 bytes, not 257"),
    ] {
        let answer = server.client().await.ask(lobby(more)).await;
        assert_eq!(answer["code"], code, "{answer}");
        assert!(answer["error"].as_str().expect("a text").contains(text), "{answer}");
    }
}

#[tokio::test]
async fn backend_that_does_not_say_how_many_it_takes_gets_nobody() {
    let unknown = BackendSpec {
        capacity: Capacity::Unknown("the label max is missing".into()),
        ..backend("lobby-1", "lobby", "games", Ports::One(1))
    };
    let server = Server::start_with(|setup| setup.backends = vec![unknown]).await;
    assert_eq!(ask(&server, "").await, None);
}
