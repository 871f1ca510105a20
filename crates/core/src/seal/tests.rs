//! What opens a sealed token, and what does not.

use std::collections::HashSet;

use proptest::prelude::*;
use udp_director_wire::TokenForm;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> SystemTime {
    at(1_800_000_000)
}

/// A key that is all alike.
fn key(id: &str) -> Key {
    let digit = id.bytes().next_back().expect("an id");
    Key::parse(id, &[digit; Key::DIGITS]).expect("a key")
}

fn ring(ids: &[&str]) -> KeyRing {
    KeyRing::new(ids[0], ids.iter().map(|id| key(id)).collect()).expect("a ring")
}

fn seal(ids: &[&str]) -> Seal {
    Seal::new(ring(ids), "games-1", false)
}

fn contents(nonce: u8) -> Contents {
    Contents {
        expires: now() + Duration::from_secs(30),
        backend: Handle::of("gs/uid-1"),
        nonce: Nonce([0, 0, nonce]),
    }
}

#[test]
fn cipher_is_that_of_rfc_5297() {
    // Appendix A.1.
    let text = b"fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
    let key = Key::parse("rfc", text).expect("a key");
    let associated: Vec<u8> = (0x10..=0x27).collect();
    let mut said = *b"\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee";
    let iv = key.encrypt(&associated, &mut said);
    assert_eq!(iv, *b"\x85\x63\x2d\x07\xc6\xe8\xf3\x7f\x95\x0a\xcd\x32\x0a\x2e\xcc\x93");
    assert_eq!(said, *b"\x40\xc0\x2b\x96\x90\xc4\xdc\x04\xda\xef\x7f\x6a\xfe\x5c");
    assert!(key.decrypt(&associated, &mut said, &iv));
    assert_eq!(said[..2], *b"\x11\x22");
}

/// The bytes come from another implementation of AES-SIV (OpenSSL's).
#[test]
fn token_is_these_bytes_in_every_version() {
    let key = Key::parse("k", b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let ring = KeyRing::new("k", vec![key.expect("a key")]).expect("a ring");
    let seal = Seal::new(ring, "games-1", false);
    let contents = Contents { expires: now(), nonce: Nonce([1, 2, 3]), ..contents(0) };
    assert_eq!(contents.backend.to_string(), "284b5b3898");
    for (bound_to, text) in [
        (Some(CLIENT), "DSk07ipBsUkpqEvu-VvFtfi4maJEAwbEDcNo"),
        (None, "LVT30HYAyI0BUciFZ9mo0g4dqwD5hvnksDLn"),
    ] {
        assert_eq!(seal.seal(&contents, bound_to).as_str(), text);
    }
}

#[test]
fn bound_token_opens_for_its_ip_alone_and_an_unbound_one_for_all() {
    let seal = seal(&["a"]);
    let (bound, unbound) = (seal.seal(&contents(0), Some(CLIENT)), seal.seal(&contents(0), None));
    let opens = |token, by| seal.open(token, by, now()).map(|opened| opened.bound_to);
    assert_eq!(opens(&bound, Some(CLIENT)), Some(Some(CLIENT)));
    assert_eq!((opens(&bound, Some(OTHER)), opens(&bound, None)), (None, None));
    for by in [Some(CLIENT), Some(OTHER), None] {
        assert_eq!(opens(&unbound, by), Some(None));
    }
    let strict = Seal::new(ring(&["a"]), "games-1", true);
    assert!(strict.open(&bound, Some(CLIENT), now()).is_some());
    assert!(strict.open(&unbound, Some(CLIENT), now()).is_none(), "where all are to be bound");
}

#[test]
fn token_of_another_cluster_or_key_does_not_open() {
    let token = seal(&["a"]).seal(&contents(0), Some(CLIENT));
    let others = [("a", ""), ("a", "games-2"), ("b", "games-1")];
    for (key, cluster) in others {
        let other = Seal::new(ring(&[key]), cluster, false);
        assert!(other.open(&token, Some(CLIENT), now()).is_none(), "{other:?}");
    }
}

#[test]
fn older_keys_open_and_keys_that_are_gone_do_not() {
    let token = seal(&["k1"]).seal(&contents(0), Some(CLIENT));
    let key_of = |ids: &[&str]| {
        let seal = seal(ids);
        seal.open(&token, Some(CLIENT), now()).map(|opened| opened.key.id().to_owned())
    };
    assert_eq!(key_of(&["k2", "k1"]).as_deref(), Some("k1"));
    assert_eq!(key_of(&["k8", "k7", "k6", "k5", "k4", "k3", "k2", "k1"]).as_deref(), Some("k1"));
    assert_eq!(key_of(&["k3", "k2"]), None);
}

#[test]
fn expiry_is_kept_to_the_second_on_both_sides_of_an_era() {
    let seal = seal(&["a"]);
    let border = 108 << ERA_BITS;
    for expires in [border - 1, border, border + 1] {
        let contents = Contents { expires: at(expires), ..contents(0) };
        let token = seal.seal(&contents, None);
        for asked in [expires - DAY.as_secs(), expires - 30, expires - 1] {
            let opened = seal.open(&token, None, at(asked)).expect("it is good");
            assert_eq!(opened.contents, contents);
        }
        let again = at(expires) + Duration::from_secs(1 << ERA_BITS);
        let opened = seal.open(&token, None, again - Duration::from_secs(30));
        assert!(opened.is_none_or(|opened| opened.contents == contents), "it is not good 194 days later");
    }
    let cut = Contents { expires: now() + Duration::from_millis(999), ..contents(0) };
    let token = seal.seal(&cut, None);
    assert_eq!(seal.open(&token, None, now()).expect("it is good").contents.expires, now());
}

#[test]
fn clock_that_is_far_off_opens_nothing_and_breaks_nothing() {
    let seal = seal(&["a"]);
    let token = seal.seal(&contents(0), None);
    for wrong in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - DAY, at(1 << 57)] {
        assert!(seal.open(&token, None, wrong).is_none());
        seal.seal(&Contents { expires: wrong, ..contents(0) }, None);
    }
}

#[test]
fn million_tokens_that_say_the_same_differ() {
    for random in [0, u64::MAX, 0x1234_5678_9abc_def0] {
        let nonces = Nonces::new(random);
        let distinct: HashSet<Nonce> = (0..1_000_000).map(|_| nonces.draw()).collect();
        assert_eq!(distinct.len(), 1_000_000);
    }
    let (seal, nonces) = (seal(&["a"]), Nonces::new(7));
    let token = |_| seal.seal(&Contents { nonce: nonces.draw(), ..contents(0) }, None);
    let distinct: HashSet<Token> = (0..10_000).map(token).collect();
    assert_eq!(distinct.len(), 10_000, "other nonces are other tokens");
}

#[test]
fn key_is_64_hexadecimal_digits() {
    let good = "0123456789abcdefABCDEF0123456789".repeat(2);
    for text in [good.clone(), format!("{good}\n"), format!(" {good}\r\n")] {
        assert!(Key::parse("2026-11.a_b", text.as_bytes()).is_ok(), "{text:?}");
    }
    for (text, error) in [
        ("", KeyError::Length(0)),
        (&good[1..], KeyError::Length(63)),
        (&format!("{good}0"), KeyError::Length(65)),
        (&good[..32], KeyError::Length(32)),
        (&good.replace('0', "g"), KeyError::Digits),
        (&good.replace("01", "+1"), KeyError::Digits),
    ] {
        assert_eq!(Key::parse("a", text.as_bytes()).err(), Some(error), "{text:?}");
    }
    for id in ["", ".a", "a b", "a/b", "ä", &"a".repeat(64)] {
        assert_eq!(Key::parse(id, good.as_bytes()).err(), Some(KeyError::Id), "{id:?}");
    }
}

#[test]
fn ring_has_one_to_eight_distinct_keys_and_one_of_them_is_current() {
    let ring = |current: &str, keys: Vec<Key>| KeyRing::new(current, keys).err();
    let twin = Key::parse("b", &[b'a'; Key::DIGITS]).expect("a key");
    assert_eq!(ring("a", vec![]), Some(KeyRingError::Empty));
    assert_eq!(ring("a", vec![key("a"), key("a")]), Some(KeyRingError::SameId("a".into())));
    assert_eq!(ring("a", vec![key("a"), twin]), Some(KeyRingError::SameKey("a".into(), "b".into())));
    assert_eq!(ring("c", vec![key("a"), key("b")]), Some(KeyRingError::NoSuchKey("c".into())));
    let nine = (0..9).map(|n| key(&n.to_string())).collect();
    assert_eq!(ring("0", nine), Some(KeyRingError::TooMany(9)));
    let keys = KeyRing::new("b", ["a", "c", "b", "d"].map(key).into()).expect("a ring");
    assert_eq!(keys.keys().map(Key::id).collect::<Vec<_>>(), ["b", "d", "c", "a"]);
}

#[test]
fn key_never_shows() {
    let seal = seal(&["2026-11-a", "2026-10-b"]);
    let shown = format!("{seal:?} {:?}", seal.open(&seal.seal(&contents(0), None), None, now()));
    assert!(shown.contains("Key(2026-11-a ***)"), "{shown}");
    assert!(!shown.contains("aaaa") && !shown.contains("170, 170"), "{shown}");
}

proptest! {
    #[test]
    fn what_is_sealed_comes_out(
        seconds in 0_u64..1 << 40,
        uid in "[a-f0-9-]{1,40}",
        nonce in any::<[u8; 3]>(),
        ip in any::<Option<IpAddr>>(),
        cluster in "[a-z0-9-]{0,63}",
    ) {
        let seal = Seal::new(ring(&["b", "a"]), &cluster, false);
        let contents = Contents { expires: at(seconds), backend: Handle::of(&uid), nonce: Nonce(nonce) };
        let token = seal.seal(&contents, ip);
        prop_assert!(token.has_form(TokenForm::Base64Url));
        let opened = seal.open(&token, ip, at(seconds)).expect("it opens for whom it was sealed");
        prop_assert_eq!((opened.contents, opened.bound_to, opened.key.id()), (contents, ip, "b"));
    }

    #[test]
    fn token_with_any_other_bit_does_not_open(bit in 0_usize..SEALED_LEN * 8, bound in any::<bool>()) {
        let seal = seal(&["b", "a"]);
        let token = seal.seal(&contents(0), bound.then_some(CLIENT));
        let mut bytes = token.to_sealed().expect("base64url");
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(seal.open(&Token::from_sealed(&bytes), Some(CLIENT), now()).is_none());
    }
}
