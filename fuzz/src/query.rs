//! Target: the documents of the query port, and what they match.

use udp_director_core::{Balancer, Draw, Inventory, Query, Selection, Serves, Strategy};
use udp_director_wire::{self as wire, Answer, ErrorAnswer, Request, parse_request};

use super::stock;

/// The bytes are a document: read, compiled, matched and answered. They are also read as a client
/// reads answers.
pub fn query(input: &[u8]) {
    read_as_answer(input);
    match parse_request(input) {
        Ok(Request::Query(query)) => {
            check_round_trip(&query);
            match Query::compile(&query) {
                Ok(compiled) => check(&compiled, stock::inventory()),
                Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
            }
        }
        Ok(Request::SessionReset(reset)) => {
            let written = serde_json::to_vec(&reset).expect("a reset is JSON");
            let typed = [br#"{"type":"sessionReset","#, &written[1..]].concat();
            assert_eq!(parse_request(&typed).ok(), Some(Request::SessionReset(reset)), "read as written");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
    }
}

/// The status query is left out: reading a long fraction rounds it.
fn check_round_trip(query: &wire::Query) {
    let query = wire::Query { status_query: None, ..query.clone() };
    let written = serde_json::to_vec(&query).expect("a query is JSON");
    assert_eq!(parse_request(&written).ok(), Some(Request::Query(query)), "read as written");
}

fn check(query: &Query, inventory: &Inventory) {
    let found = inventory.matching(query);
    let ids: Vec<_> = found.iter().map(|backend| &backend.spec.id).collect();
    let all = inventory.backends().iter().map(|backend| &backend.spec);
    let due: Vec<_> =
        all.filter(|spec| spec.accepting() && query.matches(spec)).map(|spec| &spec.id).collect();
    assert_eq!(ids, due, "what is found is what matches");
    for strategy in Strategy::ALL {
        let balancer = Balancer::new(strategy);
        let draw = Draw { sticky_key: query.sticky_key(), ..Draw::of(7) };
        let serves = Serves::All(&[]);
        let selection = Selection { inventory, query, balancer: &balancer, serves, avoid: &[], draw };
        let explained = selection.explain();
        let foreseen = explained.winner.map(|winner| explained.candidates[winner].backend.spec.id.clone());
        let seat = selection.choose();
        let chosen = seat.as_ref().map(|seat| &seat.backend().spec.id);
        assert!(chosen.is_none_or(|id| ids.contains(&id)), "what is picked is one of what is found");
        assert_eq!(foreseen.as_ref(), chosen, "what is explained is what is picked");
    }
}

fn read_as_answer(input: &[u8]) {
    if let Ok(answer) = serde_json::from_slice::<Answer>(input) {
        let written = serde_json::to_vec(&answer).expect("an answer is JSON");
        assert_eq!(serde_json::from_slice::<Answer>(&written).ok(), Some(answer), "read as written");
    }
    if let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(input) {
        let written = serde_json::to_vec(&answer).expect("an answer is JSON");
        assert_eq!(serde_json::from_slice::<ErrorAnswer>(&written).ok(), Some(answer), "read as written");
    }
}
