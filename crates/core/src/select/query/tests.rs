use proptest::prelude::*;
use serde_json::json;

use super::*;

fn wire_query() -> wire::Query {
    wire::Query { resource_type: "gs".into(), ..wire::Query::default() }
}

fn with_status(status: serde_json::Value) -> wire::Query {
    let status = serde_json::from_value(status).expect("a status query");
    wire::Query { status_query: Some(status), ..wire_query() }
}

fn refusal(query: &wire::Query) -> String {
    Query::compile(query).expect_err("a refusal").to_string()
}

#[test]
fn query_with_a_type_alone_is_complete() {
    let query = Query::compile(&wire_query()).expect("a query");
    assert_eq!((query.resource_type(), query.namespace(), query.sticky_key()), ("gs", None, None));
}

#[test]
fn refusal_names_the_field() {
    let labels = Some(LabelSelector::Text("a in".into()));
    for (query, text) in [
        (
            wire::Query { label_selector: labels, ..wire_query() },
            "labelSelector: at character 5, the end stands",
        ),
        (
            with_status(json!({"jsonPath": "[", "expectedValue": 1})),
            "statusQuery.jsonPath: it is no JSONPath",
        ),
        (with_status(json!({"jsonPath": "a"})), "either expectedValue, or expectedValues"),
        (with_status(json!({"jsonPath": "a", "expectedValues": []})), "at least one value"),
        (
            with_status(json!({"jsonPath": "a", "expectedValue": 1, "expectedValues": [1]})),
            "either expectedValue, or",
        ),
        (
            wire::Query { sticky_key: Some(String::new()), ..wire_query() },
            "stickyKey has 1 to 256 bytes, not 0",
        ),
    ] {
        let error = refusal(&query);
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn fields_may_be_as_large_as_their_bounds_and_no_larger() {
    let annotations = |count: usize| {
        let pairs = (0..count).map(|n| (n.to_string(), String::new())).collect();
        wire::Query { annotation_selector: Some(pairs), ..wire_query() }
    };
    let expected = |count: usize| with_status(json!({"jsonPath": "a", "expectedValues": vec![1; count]}));
    let sticky = |count: usize| wire::Query { sticky_key: Some("k".repeat(count)), ..wire_query() };
    for (at, above, error) in [
        (
            annotations(Query::MAX_ANNOTATIONS),
            annotations(Query::MAX_ANNOTATIONS + 1),
            QueryError::TooManyAnnotations,
        ),
        (expected(Query::MAX_EXPECTED), expected(Query::MAX_EXPECTED + 1), QueryError::TooManyExpected),
        (
            sticky(Query::MAX_STICKY_KEY_BYTES),
            sticky(Query::MAX_STICKY_KEY_BYTES + 1),
            QueryError::StickyKey(257),
        ),
    ] {
        assert!(Query::compile(&at).is_ok(), "{error}");
        assert_eq!(Query::compile(&above), Err(error));
    }
}

proptest! {
    #[test]
    fn no_query_panics(labels in ".{0,30}", path in ".{0,30}", key in ".{0,300}") {
        let mut query = with_status(json!({"jsonPath": path, "expectedValue": 1}));
        query.label_selector = Some(LabelSelector::Text(labels));
        query.sticky_key = Some(key);
        let _ = Query::compile(&query);
    }
}
