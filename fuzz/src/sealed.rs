//! Target: sealed tokens, and the texts of keys.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use udp_director_core::{Contents, Handle, Key, KeyRing, Nonce, Seal};
use udp_director_wire::{SEALED_LEN, TOKEN_LEN, Token};

use super::script::Script;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// The script says when it is, and whether a good token is bound; what is left of it is a token, a
/// difference from the good one, and the text of a key.
pub fn sealed(input: &[u8]) {
    let mut script = Script::new(input);
    let eras = u32::from(script.byte());
    let now = SystemTime::UNIX_EPOCH + Seal::ERA * eras + Duration::from_secs(u64::from(script.byte()));
    let bound_to = (script.below(2) == 1).then_some(CLIENT);
    let tail = script.rest();
    if let Some(token) = tail.get(..TOKEN_LEN).and_then(Token::from_bytes) {
        check_text(&token);
        assert!(seal().open(&token, Some(CLIENT), now).is_none(), "nobody finds a token that opens");
    }
    check_difference(tail, bound_to, now);
    check_key(tail);
}

fn check_text(token: &Token) {
    let Some(bytes) = token.to_sealed() else { return };
    assert_eq!(Token::from_sealed(&bytes), *token, "a text is that of one token alone");
}

fn check_difference(tail: &[u8], bound_to: Option<IpAddr>, now: SystemTime) {
    let contents = Contents { expires: now, backend: Handle::of("gs/uid-1"), nonce: Nonce([1, 2, 3]) };
    let mut bytes = seal().seal(&contents, bound_to).to_sealed().expect("base64url");
    bytes.iter_mut().zip(tail).for_each(|(byte, other)| *byte ^= other);
    let opened = seal().open(&Token::from_sealed(&bytes), Some(CLIENT), now);
    let is_same = tail.iter().take(SEALED_LEN).all(|byte| *byte == 0);
    assert_eq!(opened.map(|opened| opened.contents), is_same.then_some(contents), "the least change shows");
}

fn check_key(text: &[u8]) {
    let key = Key::parse("k", text);
    let digits = text.trim_ascii();
    let is_key = digits.len() == Key::DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
    assert_eq!(key.is_ok(), is_key, "a key has so many digits and nothing else");
    if let Err(error) = key {
        assert!(error.to_string().len() < 120, "an error shows nothing of the text");
    }
}

/// What seals, with a key in front of the one that opens most.
fn seal() -> &'static Seal {
    static SEAL: LazyLock<Seal> = LazyLock::new(|| {
        let keys = [("a", b'a'), ("b", b'b')].map(|(id, digit)| Key::parse(id, &[digit; Key::DIGITS]));
        let keys = keys.into_iter().map(|key| key.expect("a key")).collect();
        Seal::new(KeyRing::new("a", keys).expect("a ring"), "games-1", false)
    });
    &SEAL
}
