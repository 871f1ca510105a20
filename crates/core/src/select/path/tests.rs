use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn first(path: &str, object: &Value) -> Option<Value> {
    Path::parse(path).expect(path).first(object).cloned()
}

fn refusal(path: &str) -> PathError {
    Path::parse(path).expect_err(path)
}

#[test]
fn root_may_be_left_out() {
    let object = json!({"status": {"state": "Ready"}, "metadata": {"annotations": {"x/y": 1}}});
    for path in
        ["$.status.state", "status.state", ".status.state", "['status'].state", "$['status']['state']"]
    {
        assert_eq!(first(path, &object), Some(json!("Ready")), "{path}");
    }
    assert_eq!(first("metadata.annotations['x/y']", &object), Some(json!(1)));
    assert_eq!(first("$", &object), Some(object));
}

#[test]
fn filters_wildcards_slices_and_descendants_work() {
    let object = json!({"status": {"list": [{"type": "A", "n": 1}, {"type": "B", "n": 2}], "text": "abc"}});
    for (path, expected) in [
        ("status.list[?@.type=='B'].n", json!(2)),
        ("status.list[?(@.type == \"B\" && @.n > 1)].n", json!(2)),
        ("status.list[1:].n", json!(2)),
        ("status.list[*].n", json!(1)),
        ("$..n", json!(1)),
        ("status.list[-1].type", json!("B")),
        ("status[?length(@) == 3]", json!("abc")),
    ] {
        assert_eq!(first(path, &object), Some(expected), "{path}");
    }
}

#[test]
fn refusal_says_what_is_wrong() {
    for (path, text) in [
        ("", "it is empty"),
        ("[", "it is no JSONPath (RFC 9535): at character 1"),
        ("status.my-name", "at character 10, "),
        ("status.my-name", "; a name with '-' is written ['like-this']"),
        ("status[?match(@.a, 'x')]", "a filter takes paths to single values alone"),
    ] {
        let error = refusal(path).to_string();
        assert!(error.contains(text), "{path}: {error}");
    }
}

#[test]
fn path_may_be_as_long_as_the_bound_and_no_longer() {
    let path = format!("$.{}", "a".repeat(Path::MAX_BYTES - 2));
    assert!(Path::parse(&path).is_ok());
    assert_eq!(refusal(&format!("{path}a")), PathError::TooLong(Path::MAX_BYTES + 1));
}

#[test]
fn what_multiplies_work_is_allowed_up_to_its_bound() {
    let joints = |count: usize| format!("$[?{}]", vec!["@.a"; count + 1].join("&&"));
    let parentheses = |count: usize| format!("$[?{}@.a{}]", "(".repeat(count), ")".repeat(count));
    for (allowed, refused, error) in [
        ("$..a".into(), "$..a..b".into(), PathError::Descendants),
        ("$.*.*.*.*".into(), "$.*.*.*.*.*".to_owned(), PathError::FanOuts),
        ("$[0,1][2,3,4][5:]".into(), "$[0,1][2,3,4][5:,6]".into(), PathError::FanOuts),
        ("$[?@.a][?@.b]".into(), "$[?@[?@.b]]".into(), PathError::FanOutInFilter),
        ("$[?@.a].*".into(), "$[?@.*]".into(), PathError::FanOutInFilter),
        ("$[?@['*']]".into(), "$[?@['a'].*]".into(), PathError::FanOutInFilter),
        ("$[?$.a]".into(), "$[?$..a]".into(), PathError::FanOutInFilter),
        (joints(Path::MAX_JOINTS), joints(Path::MAX_JOINTS + 1), PathError::Joints),
        (parentheses(Path::MAX_PARENTHESES), parentheses(Path::MAX_PARENTHESES + 1), PathError::Parentheses),
    ] {
        assert!(Path::parse(&allowed).is_ok(), "{allowed}: {:?}", Path::parse(&allowed));
        assert_eq!(refusal(&refused), error, "{refused}");
    }
}

#[test]
fn literals_do_not_count_as_work() {
    for path in [r"$['..*?:,((((((((((']", r#"$["a'b*"][?@.a == '\'*,:..?']"#, r"$['\\'][*]"] {
        assert!(Path::parse(path).is_ok(), "{path}: {:?}", Path::parse(path));
    }
    assert_eq!(refusal(r"$['\\'][*,*,*,*,*]"), PathError::FanOuts);
}

/// The dearest paths that are let through, on objects of 1 MiB: wide, deep, and in between. The time
/// is far above what they take, and far below what a path that multiplies takes.
#[test]
fn dearest_path_on_a_large_object_stays_bounded() {
    let wide = json!({ "a": vec![0; 500_000] });
    let deep = (0..100).fold(json!(1), |inner, _| json!({"a": inner, "b": vec![0; 5_000]}));
    let bushy = (0..16).fold(json!(1), |inner, _| json!([inner, inner]));
    let joined = format!("$..[?{}]", ["@.a != 'x'"; Path::MAX_JOINTS + 1].join(" && "));
    for path in ["$..*.*.*", "$[0,0,0]..*", "$..[0,1,0,1]", "$.a..[?@.a].a", &joined] {
        let path = Path::parse(path).expect(path);
        for object in [&wide, &deep, &bushy] {
            let start = Instant::now();
            path.values(object);
            assert!(start.elapsed() < Duration::from_secs(20), "{path:?}");
        }
    }
}

fn path_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$",
        "@",
        ".",
        "..",
        "[",
        "]",
        "*",
        "?",
        "(",
        ")",
        "!",
        "&&",
        "||",
        "==",
        "<=",
        "'",
        "\"",
        "\\",
        "\\u00",
        ":",
        ",",
        "-",
        "0",
        "1",
        "9007199254740993",
        "1e400",
        "a",
        "status",
        "length(",
        "match(",
        "value(",
        "count(",
        " ",
        "'a'",
        "true",
        "null",
        "é",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = Path::parse(&text);
    }

    #[test]
    fn no_text_of_path_pieces_panics_when_read_or_used(text in path_text()) {
        let object = json!({"a": [{"a": 1}, {"a": "é"}, [], null, -0.5], "status": {"a": {"a": true}}});
        if let Ok(path) = Path::parse(&text) {
            path.values(&object);
        }
    }
}

#[test]
fn text_that_ends_too_early_is_named_and_does_not_reach_the_parser() {
    for text in ["$[\"\\u", "stql[\"\\u", "$['\\u12']", "$[\"a", "$['\\", "$[?@.a=='\\ud83d\\u']"] {
        assert!(matches!(Path::parse(text), Err(PathError::Syntax { .. })), "{text}");
    }
    assert!(Path::parse("$['\\u0041', \"b\\\"c\"]").is_ok());
}
