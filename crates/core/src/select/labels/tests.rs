use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn matches(selector: &str, pairs: &[(&str, &str)]) -> bool {
    Selector::parse(selector).expect(selector).matches(&labels(pairs))
}

fn refusal(selector: &str) -> String {
    Selector::parse(selector).expect_err(selector).to_string()
}

#[test]
fn operators_mean_what_they_mean_in_kubernetes() {
    for (selector, has_b, has_c, has_none) in [
        ("", true, true, true),
        ("  ", true, true, true),
        ("a=b", true, false, false),
        ("a == b", true, false, false),
        ("a!=b", false, true, true),
        ("a in (b,x)", true, false, false),
        ("a in(b , c)", true, true, false),
        ("a notin (b)", false, true, true),
        ("a", true, true, false),
        ("!a", false, false, true),
        ("! a", false, false, true),
        ("a=", false, false, false),
        ("a!=", true, true, true),
        ("a in (,b)", true, false, false),
        ("a,a!=c", true, false, false),
        ("a=b,a=c", false, false, false),
        ("in", false, false, false),
        ("notin notin (in)", true, true, true),
        ("a=in", false, false, false),
    ] {
        for (pairs, expected) in [(&[("a", "b")][..], has_b), (&[("a", "c")], has_c), (&[], has_none)] {
            assert_eq!(matches(selector, pairs), expected, "{selector:?} on {pairs:?}");
        }
    }
}

#[test]
fn empty_value_is_a_value() {
    for selector in ["a=", "a==,a", "a in ()x", "a in (b,)", "a in (,)"] {
        match Selector::parse(selector) {
            Ok(parsed) => assert!(parsed.matches(&labels(&[("a", "")])), "{selector}"),
            Err(error) => assert_eq!(selector, "a in ()x", "{error}"),
        }
    }
}

#[test]
fn whole_numbers_are_compared_by_value() {
    for (selector, value, expected) in [
        ("n>5", "10", true),
        ("n > 5", "5", false),
        ("n<5", "4", true),
        ("n<5", "04", true),
        ("n<5", "four", false),
        ("n<5", "", false),
        ("n>0", "99999999999999999999", false),
    ] {
        assert_eq!(matches(selector, &[("n", value)]), expected, "{selector} on {value}");
    }
    assert!(!matches("n<5", &[]));
}

#[test]
fn refusal_names_the_place_and_what_is_due() {
    for (selector, text) in [
        (
            "a b",
            "at character 3, \"b\" stands where '=', '==', '!=', '<', '>', 'in', 'notin', ',' or the end is due",
        ),
        ("a=b c", "at character 5, \"c\" stands where ',' or the end is due"),
        ("a in b", "at character 6, \"b\" stands where '(' is due"),
        ("a in (b", "at character 8, the end stands where ',' or ')' is due"),
        ("a in (b c)", "at character 9, \"c\" stands where ',' or ')' is due"),
        ("a in ()", "at character 7, ')' stands where a value is due"),
        ("a=b,", "at character 5, the end stands where a label key is due"),
        (",a", "at character 1, ',' stands where a label key is due"),
        ("a===b", "at character 4, '=' stands where a value is due"),
        ("!a=b", "at character 3, '=' stands where ',' or the end is due"),
        ("a=)", "at character 3, ')' stands where ',' or the end is due"),
        ("!!a", "at character 2, '!' stands where a label key is due"),
        ("a>x", "\"x\" is no whole number"),
        ("ä=b", "\"ä\" is no label key"),
        ("-a=b", "is no label key"),
        ("a/b/c=d", "is no label key"),
        ("/a=d", "is no label key"),
        ("Up.per/a=d", "is no label key"),
        ("x..y/a=d", "is no label key"),
        ("a=b_", "\"b_\" is no label value"),
    ] {
        let error = refusal(selector);
        assert!(error.contains(text), "{selector}: {error}");
    }
}

#[test]
fn keys_and_values_have_the_lengths_of_kubernetes() {
    let name = "n".repeat(63);
    let prefix = format!("{}.{}", "p".repeat(63), "q".repeat(189));
    for (selector, valid) in [
        (format!("{name}={name}"), true),
        (format!("{name}n"), false),
        (format!("a={name}n"), false),
        (format!("{prefix}/{name}"), true),
        (format!("{prefix}q/{name}"), false),
        ("agones.dev/fleet=a.b_c-D".to_owned(), true),
    ] {
        assert_eq!(Selector::parse(&selector).is_ok(), valid, "{selector}");
    }
}

#[test]
fn pairs_are_checked_like_text() {
    assert!(Selector::from_pairs(&labels(&[("agones.dev/fleet", "f"), ("b", "")])).is_ok());
    assert_eq!(Selector::from_pairs(&labels(&[("a b", "c")])), Err(SelectorError::Key("a b".into())));
    assert_eq!(Selector::from_pairs(&labels(&[("a", "b c")])), Err(SelectorError::Value("b c".into())));
}

#[test]
fn text_may_be_as_long_as_the_bound_and_no_longer() {
    let padded = format!("a{}", " ".repeat(Selector::MAX_BYTES - 1));
    assert!(Selector::parse(&padded).is_ok());
    assert_eq!(Selector::parse(&format!("{padded} ")), Err(SelectorError::TooLong(Selector::MAX_BYTES + 1)));
}

#[test]
fn requirements_may_be_as_many_as_the_bound_and_no_more() {
    let text = |count: usize| vec!["a"; count].join(",");
    let pairs = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect();
    let most = Selector::MAX_REQUIREMENTS;
    assert!(Selector::parse(&text(most)).is_ok());
    assert_eq!(Selector::parse(&text(most + 1)), Err(SelectorError::TooMany));
    assert!(Selector::from_pairs(&pairs(most)).is_ok());
    assert_eq!(Selector::from_pairs(&pairs(most + 1)), Err(SelectorError::TooMany));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}") {
        let _ = Selector::parse(&text);
    }

    #[test]
    fn no_text_of_selector_signs_panics(text in "[ab=!<>(), \t]{0,40}|([ab]|in|notin|[=!<>(), ]){0,30}") {
        let _ = Selector::parse(&text);
    }

    #[test]
    fn pairs_and_their_text_match_alike(
        asked in prop::collection::btree_map("[ab]", "[xy]?", 0..3),
        there in prop::collection::btree_map("[abc]", "[xy]?", 0..4),
    ) {
        let text: Vec<String> = asked.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let from_text = Selector::parse(&text.join(",")).expect("a selector");
        let from_pairs = Selector::from_pairs(&asked).expect("a selector");
        prop_assert_eq!(&from_text, &from_pairs);
        let naive = asked.iter().all(|(key, value)| there.get(key) == Some(value));
        prop_assert_eq!(from_pairs.matches(&there), naive);
    }
}
