//! Rules of framing.

use proptest::prelude::*;

use super::*;

/// Everything that comes of these pieces, the rest at the end of the stream included.
fn frame<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, TooLarge> {
    let mut framer = Framer::default();
    let mut documents = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(document) = framer.next()? {
            documents.push(String::from_utf8_lossy(document).into_owned());
        }
    }
    documents.extend(framer.rest().map(|rest| String::from_utf8_lossy(rest).into_owned()));
    Ok(documents)
}

#[test]
fn documents_end_where_the_rules_say() {
    for (stream, documents) in [
        ("{\"a\":1}\n", &["{\"a\":1}"][..]),
        ("{\"a\":1}\r\n{}\r\n", &["{\"a\":1}", "{}"]),
        ("{}{}", &["{}", "{}"]),
        ("\n\r\n  \n{}\n\n", &["{}"]),
        ("", &[]),
        (" \n", &[]),
        ("{\n  \"a\": {\n    \"b\": 1\n  }\n}\n", &["{\n  \"a\": {\n    \"b\": 1\n  }\n}"]),
        ("{\"a}\":\"\\\"}{\\\\\"}\n", &["{\"a}\":\"\\\"}{\\\\\"}"]),
        ("nonsense\n{}\n", &["nonsense", "{}"]),
        ("[{}]\n7", &["[{}]", "7"]),
        ("}\n{}", &["}", "{}"]),
        ("{\"cut\":\n{}\n", &["{\"cut\":\n", "{}"]),
        ("{\"cut\n{}\n", &["{\"cut", "{}"]),
        ("{\"cut\\\n{}\n", &["{\"cut\\", "{}"]),
        ("{\"cut\":", &["{\"cut\":"]),
        ("{} {}x\n", &["{}", "{}", "x"]),
    ] {
        assert_eq!(frame([stream.as_bytes()]).expect("short"), documents, "{stream:?}");
    }
}

#[test]
fn longest_document_is_taken_and_one_byte_more_is_not() {
    let object = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    let line = |length: usize| "x".repeat(length);
    for document in [object, line] {
        let whole =
            |length: usize| frame([[b"\n \n", document(length).as_bytes(), b"\n"].concat().as_slice()]);
        assert_eq!(whole(MAX_DOCUMENT_BYTES).expect("not too long")[0].len(), MAX_DOCUMENT_BYTES);
        assert_eq!(whole(MAX_DOCUMENT_BYTES + 1), Err(TooLarge));
    }
}

#[test]
fn blank_bytes_are_not_kept() {
    let mut framer = Framer::default();
    for _ in 0..1_000 {
        framer.push(&[b' '; 1_000]);
        assert_eq!(framer.next(), Ok(None));
    }
    assert_eq!(framer.pending(), Pending::Nothing);
    framer.shrink_to(0);
    assert_eq!(framer.capacity(), 0);
}

#[test]
fn pending_tells_what_to_wait_for() {
    for (stream, pending) in [
        ("", Pending::Nothing),
        ("{}\n", Pending::Nothing),
        ("{", Pending::Begun),
        ("x", Pending::Begun),
        ("{\"a\":\"b\"\r\n", Pending::Lines),
        ("{\n ", Pending::Begun),
    ] {
        let mut framer = Framer::default();
        framer.push(stream.as_bytes());
        while framer.next().expect("short").is_some() {}
        assert_eq!(framer.pending(), pending, "{stream:?}");
    }
}

proptest! {
    #[test]
    fn documents_do_not_depend_on_how_the_bytes_arrive(
        stream in "[{}\"\\\\\n ax,]{0,60}",
        size in 1_usize..8,
    ) {
        let stream = stream.as_bytes();
        prop_assert_eq!(frame([stream]), frame(stream.chunks(size)));
    }

    #[test]
    fn no_byte_is_lost_but_blanks_between_documents(stream in "[{}\"\\\\\n ax,]{0,60}") {
        let documents = frame([stream.as_bytes()]).expect("short").concat();
        let visible = |text: &str| text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>();
        prop_assert_eq!(visible(&documents), visible(&stream));
    }

    #[test]
    fn json_object_is_one_document(text in "[ -~]{0,40}", nested in any::<bool>()) {
        let value = serde_json::json!({"a": text, "b": {"c": [text, nested]}});
        for document in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
            let documents = frame([format!("{document}\n{document}").as_bytes()]).expect("short");
            prop_assert_eq!(documents, [document.clone(), document]);
        }
    }
}
