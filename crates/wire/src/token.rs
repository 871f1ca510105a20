//! Tokens in their text form: 36 printable bytes, whatever their kind.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Length of every token, in bytes.
pub const TOKEN_LEN: usize = 36;

/// Length of what a sealed token says, in bytes: 36 characters of base64url, and not one left over.
pub const SEALED_LEN: usize = 27;

/// A bearer credential in its text form.
///
/// It grants whoever holds it a place on a game server, so neither `Debug` nor `Display` shows it:
/// both print [`Token::fingerprint`]. [`Token::as_str`] is the one way to the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token([u8; TOKEN_LEN]);

/// Which bytes count as a token where nothing but their form tells them from game data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// The text form of a UUID (RFC 9562 section 4): 8-4-4-4-12 hexadecimal digits.
    Uuid,
    /// 36 characters of base64url (RFC 4648 section 5), which includes every UUID.
    Base64Url,
}

impl TokenForm {
    /// Says whether `byte` may stand at `position` of a token of this form.
    pub(crate) fn admits(self, position: usize, byte: u8) -> bool {
        match self {
            TokenForm::Uuid if matches!(position, 8 | 13 | 18 | 23) => byte == b'-',
            TokenForm::Uuid => byte.is_ascii_hexdigit(),
            TokenForm::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        }
    }
}

impl Token {
    /// Reads a token from exactly 36 visible ASCII bytes (`!` to `~`), or gives `None`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Token> {
        let bytes: [u8; TOKEN_LEN] = bytes.try_into().ok()?;
        bytes.iter().all(u8::is_ascii_graphic).then_some(Token(bytes))
    }

    /// The token whose text is these bytes in base64url.
    pub fn from_sealed(sealed: &[u8; SEALED_LEN]) -> Token {
        let mut text = [0; TOKEN_LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(sealed, &mut text);
        assert_eq!(written, Ok(TOKEN_LEN), "27 bytes are 36 characters of base64url");
        Token(text)
    }

    /// The bytes that the token's text is in base64url. Each text is that of other bytes; `None` where
    /// it is not base64url.
    pub fn to_sealed(&self) -> Option<[u8; SEALED_LEN]> {
        let mut sealed = [0; SEALED_LEN];
        let read = URL_SAFE_NO_PAD.decode_slice(self.0, &mut sealed).ok()?;
        (read == SEALED_LEN).then_some(sealed)
    }

    /// The token's 36 bytes.
    pub fn as_bytes(&self) -> &[u8; TOKEN_LEN] {
        &self.0
    }

    /// The token's text, to be sent to its holder and to nobody else.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a token is ASCII by construction")
    }

    /// Says whether the token has the given form.
    pub fn has_form(&self, form: TokenForm) -> bool {
        self.0.iter().enumerate().all(|(i, &b)| form.admits(i, b))
    }

    /// A 32-bit digest (FNV-1a, folded) for logs: it tells tokens apart and redeems nothing.
    pub fn fingerprint(&self) -> u32 {
        let hash = self.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 32) as u32 ^ hash as u32
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(~{:08x})", self.fingerprint())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{:08x}", self.fingerprint())
    }
}

/// Reads a datagram that is exactly a token of the given form, with at most one newline behind it.
pub fn parse_bare_token(datagram: &[u8], form: TokenForm) -> Option<Token> {
    let token = Token::from_bytes(without_newline(datagram, TOKEN_LEN)?)?;
    token.has_form(form).then_some(token)
}

/// Takes one trailing newline off bytes that are `len` long without it; `None` at any other length.
pub(crate) fn without_newline(bytes: &[u8], len: usize) -> Option<&[u8]> {
    match bytes.strip_suffix(b"\n") {
        Some(stripped) if stripped.len() == len => Some(stripped),
        _ => (bytes.len() == len).then_some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &[u8] = b"0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";

    #[test]
    fn bare_token_may_carry_one_newline_and_nothing_else() {
        let with = |tail: &[u8]| parse_bare_token(&[UUID, tail].concat(), TokenForm::Uuid);
        assert_eq!(with(b"").expect("a token").as_bytes(), UUID);
        assert_eq!(with(b"\n").expect("a token").as_bytes(), UUID);
        for tail in [&b"\n\n"[..], b"\r\n", b" ", b"x", b"\0"] {
            assert_eq!(with(tail), None, "{tail:?}");
        }
        assert_eq!(parse_bare_token(&UUID[..35], TokenForm::Uuid), None);
        assert_eq!(parse_bare_token(b"", TokenForm::Uuid), None);
    }

    #[test]
    fn form_decides_which_36_bytes_are_a_token() {
        let base64 = b"AbCdEfGhIjKlMnOpQrStUvWxYz0123456_-9";
        for (bytes, uuid, base64url) in [
            (UUID, true, true),
            (&UUID.to_ascii_uppercase(), true, true),
            (base64, false, true),
            (b"0b6f2c1e 8f3a-4c55-9d0e-3f6a1b2c4d5e", false, false),
            (&[0xff; 36], false, false),
        ] {
            let is = |form| parse_bare_token(bytes, form).is_some();
            assert_eq!((is(TokenForm::Uuid), is(TokenForm::Base64Url)), (uuid, base64url));
        }
    }

    #[test]
    fn sealed_bytes_and_their_text_are_one_to_one() {
        let bytes: [u8; SEALED_LEN] = std::array::from_fn(|at| (at * 37) as u8);
        let token = Token::from_sealed(&bytes);
        assert_eq!(token.as_str(), "ACVKb5S53gMoTXKXvOEGK1B1mr_kCS5TeJ3C");
        assert_eq!(token.to_sealed(), Some(bytes));
        assert!(token.has_form(TokenForm::Base64Url));
        let uuid = Token::from_bytes(UUID).expect("a token");
        assert_eq!(Token::from_sealed(&uuid.to_sealed().expect("base64url too")), uuid);
        assert_eq!(Token::from_bytes(&[b'+'; TOKEN_LEN]).expect("visible").to_sealed(), None);
        assert_eq!(Token::from_bytes(&[b'='; TOKEN_LEN]).expect("visible").to_sealed(), None);
    }

    #[test]
    fn token_never_shows_in_debug_or_display() {
        let token = Token::from_bytes(UUID).expect("a token");
        assert_eq!(format!("{token} {token:?}").matches("0b6f").count(), 0);
        assert_eq!(token.as_str().as_bytes(), UUID);
    }
}
