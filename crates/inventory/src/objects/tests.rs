use proptest::prelude::*;

use super::*;

fn names(text: &str) -> Vec<String> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or("?").to_owned();
    read_objects(text).expect(text).iter().map(name).collect()
}

fn refusal(text: &str) -> String {
    read_objects(text).expect_err(text).to_string()
}

#[test]
fn list_documents_and_single_objects_are_read() {
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
                - {apiVersion: v1, kind: Service, metadata: {name: b}}\n";
    for (text, expected) in [
        (pod("a"), &["a"][..]),
        (format!("---\n{}---\n---\n# empty\n---\n{}", pod("a"), pod("b")), &["a", "b"]),
        (list.into(), &["a", "b"]),
        (format!("{list}---\n{}", pod("c")), &["a", "b", "c"]),
        ("apiVersion: v1\nkind: List\nitems: []".into(), &[]),
        (r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}"#.into(), &["a"]),
        ("{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"PodList\",\n\t\"items\": []}".into(), &[]),
    ] {
        assert_eq!(names(&text), expected, "{text}");
    }
}

/// What a file is while `kubectl get ... > FILE` runs, and after it has failed.
#[test]
fn text_without_any_document_is_refused_and_an_empty_list_is_not() {
    for text in ["", "\n \n", "# nothing\n", "---\n", "# nothing\n---\n---\n", "null", "\u{feff}"] {
        assert_eq!(read_objects(text), Err(ObjectsError::Empty), "{text:?}");
    }
    assert_eq!(read_objects("{apiVersion: v1, kind: List, items: []}"), Ok(Vec::new()));
}

#[test]
fn items_of_a_typed_list_are_of_its_kind() {
    let objects =
        read_objects("apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n").expect("objects");
    assert_eq!((&objects[0]["kind"], &objects[0]["apiVersion"]), (&"Pod".into(), &"v1".into()));
}

#[test]
fn what_is_wrong_is_named_with_line_and_column() {
    for (text, expected) in [
        ("apiVersion: v1\nkind: [Pod\nmetadata: {}", "line 3, column 9"),
        ("apiVersion: v1\nkind: Pod\nkind: Pod", "line 3, column 1"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  name: \"half", "line 4, column 9"),
        ("{\"apiVersion\": \"v1\",\n \"kind\": \"Pod", "line 2, column 10"),
        ("apiVersion: v1\n---\nkind: Pod", "line 1, column 1: it has no \"kind\""),
        ("apiVersion: v1\nkind: Pod\n---\nkind: Pod", "line 4, column 1: it has no \"apiVersion\""),
        ("just text", "line 1, column 1: it is no mapping"),
        ("- a\n- b", "it is no mapping"),
        ("apiVersion: v1\nkind: List\nitems: {}", "the List has no list of \"items\""),
        ("apiVersion: v1\nkind: List", "the List has no list of \"items\""),
        ("apiVersion: v1\nkind: List\nitems:\n- {kind: Pod}", "items[0]: it has no \"apiVersion\""),
        (
            "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod, apiVersion: v1}\n- 5",
            "items[1]: it is no mapping",
        ),
    ] {
        let error = refusal(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// A text that stands for 9 to that power of nodes.
fn bomb(levels: usize) -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..levels {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    text
}

#[test]
fn aliases_do_not_multiply_without_end() {
    for levels in [5, 6, 7, 12] {
        let text = format!("apiVersion: v1\nkind: List\nitems: []\n{}", bomb(levels));
        assert!(refusal(&text).contains("too large or too complex"), "{}", refusal(&text));
    }
}

/// What a program writes that shares values between objects: many more aliases than a YAML reader
/// allows by itself, and yet no bomb.
#[test]
fn ten_thousand_objects_with_the_same_labels_are_read() {
    let labels = "{a: b, c: d, e: f, g: h}";
    let first = format!("- {{apiVersion: v1, kind: Pod, metadata: {{labels: &labels {labels}}}}}\n");
    let item = "- {apiVersion: v1, kind: Pod, metadata: {labels: *labels}}\n".repeat(9_999);
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{first}{item}");
    assert_eq!(read_objects(&text).map(|objects| objects.len()), Ok(10_000));
}

#[test]
fn deeply_nested_input_is_refused_and_not_followed() {
    for open in ["[", "{a: ", "- ", "? "] {
        assert!(read_objects(&open.repeat(50_000)).is_err(), "{open}");
    }
    assert!(read_objects(&r#"{"a":"#.repeat(50_000)).is_err());
}

/// More than twice the nodes that the YAML reader's own bound allows.
#[test]
fn ten_thousand_objects_are_read() {
    let fields: String = (0..30).map(|n| format!(" f{n}: v,")).collect();
    let item = format!("- {{apiVersion: v1, kind: Pod, status: {{{fields}}}}}\n");
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{}", item.repeat(10_000));
    assert_eq!(read_objects(&text).map(|objects| objects.len()), Ok(10_000));
}

proptest! {
    #[test]
    fn no_text_panics(text in "([a-z:\\-&*\\[\\]{}\"'#|>!%@ \t\n]|---\n|kind: List\n|items:\n|apiVersion: v1\n){0,60}") {
        let _ = read_objects(&text);
    }
}
