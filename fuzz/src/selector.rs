//! Target: label selectors.

use std::collections::BTreeMap;

use udp_director_core::Selector;

use super::stock;

/// The bytes are a selector, once as text and once, cut at its signs, as exact pairs.
pub fn selector(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Selector::parse(text) {
        Ok(selector) => check(&selector, text),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
    }
    let pairs = exact_pairs(text);
    if let Ok(selector) = Selector::from_pairs(&pairs) {
        assert!(selector.matches(&pairs), "exact pairs match themselves");
        let written: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let read = Selector::parse(&written.join(","));
        assert!(read.is_err() || read == Ok(selector), "pairs mean the same as their text");
    }
}

fn check(selector: &Selector, text: &str) {
    assert_eq!(Selector::parse(&format!(" {text}\t")).as_ref(), Ok(selector), "blanks around mean nothing");
    let keys = selector.keys().count();
    assert!(keys <= Selector::MAX_REQUIREMENTS && keys <= text.len(), "a requirement takes text");
    let matching = stock::labels().iter().filter(|labels| selector.matches(labels)).count();
    assert!(keys > 0 || matching == stock::labels().len(), "no requirement matches all");
}

fn exact_pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |part: &str| part.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split(',').filter_map(pair).collect()
}
