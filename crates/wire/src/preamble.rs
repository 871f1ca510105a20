//! The first bytes of a TCP stream: a token, or a control packet in its plain form.

use crate::control::Magic;
use crate::token::{TOKEN_LEN, Token, TokenForm};

/// What the first bytes of a stream say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// So far every byte fits a preamble; more are needed.
    Incomplete,
    /// A token, with how many bytes it took. A newline straight behind it belongs to the preamble
    /// and is not counted: it may still be on its way.
    Token {
        /// The token.
        token: Token,
        /// Bytes of the stream that the preamble used, without the newline.
        len: usize,
    },
    /// The stream is data from its first byte on.
    Absent,
}

/// Reads the beginning of a stream; call again with more bytes on [`Preamble::Incomplete`].
pub fn parse_preamble(bytes: &[u8], magic: &Magic, form: TokenForm) -> Preamble {
    if let Some(token) = complete(bytes, TOKEN_LEN).and_then(Token::from_bytes)
        && token.has_form(form)
    {
        return Preamble::Token { token, len: TOKEN_LEN };
    }
    let control_len = magic.as_bytes().len() + TOKEN_LEN;
    if let Some(packet) = complete(bytes, control_len).and_then(|b| magic.parse_control(b)) {
        return Preamble::Token { token: packet.token, len: control_len };
    }
    if begins_token(bytes, form) || begins_control(bytes, magic) {
        return Preamble::Incomplete;
    }
    Preamble::Absent
}

fn complete(bytes: &[u8], len: usize) -> Option<&[u8]> {
    bytes.get(..len)
}

fn begins_token(bytes: &[u8], form: TokenForm) -> bool {
    bytes.len() < TOKEN_LEN && bytes.iter().enumerate().all(|(i, &b)| form.admits(i, b))
}

fn begins_control(bytes: &[u8], magic: &Magic) -> bool {
    let magic = magic.as_bytes();
    let shared = bytes.len().min(magic.len());
    bytes.len() < magic.len() + TOKEN_LEN
        && bytes[..shared] == magic[..shared]
        && bytes[shared..].iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";

    fn parse(bytes: &[u8]) -> Preamble {
        parse_preamble(bytes, &Magic::default(), TokenForm::Uuid)
    }

    #[test]
    fn preamble_is_found_however_the_stream_is_split() {
        for magic in [&b""[..], b"\xFF\xFF\xFF\xFFRESET"] {
            let whole = [magic, TEXT, b"\nhello"].concat();
            let len = magic.len() + TEXT.len();
            for split in 0..whole.len() {
                let found = parse(&whole[..split]);
                if split < len {
                    assert_eq!(found, Preamble::Incomplete, "after {split} bytes");
                } else {
                    let token = Token::from_bytes(TEXT).expect("a token");
                    assert_eq!(found, Preamble::Token { token, len });
                }
            }
        }
    }

    #[test]
    fn a_byte_that_fits_neither_form_makes_the_stream_data() {
        assert_eq!(parse(b""), Preamble::Incomplete);
        for data in
            [&b"GET / HTTP/1.1"[..], b"\xFF\xFF\xFF\xFFgetstatus", b"0b6f2c1e_", b"\xFF\xFF\xFF\xFFRESET\x00"]
        {
            assert_eq!(parse(data), Preamble::Absent, "{data:?}");
        }
    }
}
