//! Control packets and their acknowledgements: datagrams that are never forwarded.
//!
//! ```text
//!            m bytes    36 bytes   1        8
//! plain     +-------+------------+----+
//!           | magic |   token    | \n |              the newline may be left out
//!           +-------+------------+----+---------+
//! extended  | magic |   token    | op |  nonce  |    asks for an acknowledgement
//!           +-------+----+-------+-+--+-+-------+
//! ack       | magic | op |  nonce  | st |            m + 10 bytes, shorter than what asked for it
//!           +-------+----+---------+----+
//! ```
//! Only the exact length and a token of visible ASCII make a control packet: `FF FF FF FF` also
//! begins Source and Quake out-of-band packets, and those are data.

use std::fmt;
use std::str::FromStr;

use crate::token::{TOKEN_LEN, Token, without_newline};

const NONCE_LEN: usize = 8;

/// The bytes that begin every control packet: 4 to 16, `FFFFFFFF5245534554` unless configured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Magic {
    bytes: [u8; Magic::MAX_LEN],
    len: usize,
}

/// A control packet from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket {
    /// The token to act on.
    pub token: Token,
    /// What to acknowledge; `None` in the plain form.
    pub ack: Option<AckRequest>,
}

/// The tail of the extended form, which asks for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRequest {
    /// What is asked; [`AckRequest::SWITCH`] is the only one so far.
    pub opcode: u8,
    /// Chosen by the client and given back, so that it can tell answers apart.
    pub nonce: [u8; NONCE_LEN],
}

impl AckRequest {
    /// Opcode: bind, migrate or resume, whichever the token means for this client.
    pub const SWITCH: u8 = 1;
}

/// An acknowledgement, from the director to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The opcode and the nonce of the request.
    pub request: AckRequest,
    /// What became of it.
    pub status: AckStatus,
}

/// The outcome that an acknowledgement carries, one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AckStatus {
    /// Done, or already so.
    Done = 0,
    /// The token is unknown, expired, used up or superseded.
    InvalidToken = 1,
    /// This client may not use that token.
    NotYours = 2,
    /// The token's backend is gone or has no port for this listener.
    NoBackend = 3,
    /// The director is at one of its bounds; trying again later makes sense.
    Busy = 4,
    /// The opcode is not known here.
    UnknownOpcode = 5,
}

/// Why configured magic bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("magic bytes are 4 to 16 bytes in hexadecimal (8 to 32 digits), such as FFFFFFFF5245534554")]
pub struct MagicError;

impl AckStatus {
    fn from_byte(byte: u8) -> Option<AckStatus> {
        use AckStatus::*;
        [Done, InvalidToken, NotYours, NoBackend, Busy, UnknownOpcode]
            .into_iter()
            .find(|&status| status as u8 == byte)
    }
}

impl Magic {
    /// Fewest and most bytes that a magic may have.
    pub const MIN_LEN: usize = 4;
    /// See [`Magic::MIN_LEN`].
    pub const MAX_LEN: usize = 16;

    /// Takes 4 to 16 bytes as the magic.
    ///
    /// # Errors
    /// At any other length.
    pub fn new(bytes: &[u8]) -> Result<Magic, MagicError> {
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&bytes.len()) {
            return Err(MagicError);
        }
        let mut magic = Magic { bytes: [0; Self::MAX_LEN], len: bytes.len() };
        magic.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(magic)
    }

    /// The magic bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Reads a control packet of either form; `None` means that the datagram is data.
    #[inline]
    pub fn parse_control(&self, datagram: &[u8]) -> Option<ControlPacket> {
        let rest = datagram.strip_prefix(self.as_bytes())?;
        if let Some(text) = without_newline(rest, TOKEN_LEN) {
            return Token::from_bytes(text).map(|token| ControlPacket { token, ack: None });
        }
        let (text, tail) = rest.split_at_checked(TOKEN_LEN)?;
        let (&opcode, nonce) = tail.split_first()?;
        let ack = AckRequest { opcode, nonce: nonce.try_into().ok()? };
        Token::from_bytes(text).map(|token| ControlPacket { token, ack: Some(ack) })
    }

    /// Writes a control packet.
    pub fn encode_control(&self, packet: &ControlPacket) -> Vec<u8> {
        let mut bytes = [self.as_bytes(), packet.token.as_bytes()].concat();
        if let Some(ack) = packet.ack {
            bytes.push(ack.opcode);
            bytes.extend_from_slice(&ack.nonce);
        }
        bytes
    }

    /// Reads an acknowledgement; `None` means that the datagram is data.
    pub fn parse_ack(&self, datagram: &[u8]) -> Option<Ack> {
        let rest = datagram.strip_prefix(self.as_bytes())?;
        let [opcode, nonce @ .., status] = rest else { return None };
        let request = AckRequest { opcode: *opcode, nonce: nonce.try_into().ok()? };
        AckStatus::from_byte(*status).map(|status| Ack { request, status })
    }

    /// Writes an acknowledgement.
    pub fn encode_ack(&self, ack: &Ack) -> Vec<u8> {
        let mut bytes = self.as_bytes().to_vec();
        bytes.push(ack.request.opcode);
        bytes.extend_from_slice(&ack.request.nonce);
        bytes.push(ack.status as u8);
        bytes
    }
}

impl Default for Magic {
    fn default() -> Magic {
        Magic::new(b"\xFF\xFF\xFF\xFFRESET").expect("nine bytes are within 4 to 16")
    }
}

impl FromStr for Magic {
    type Err = MagicError;

    fn from_str(text: &str) -> Result<Magic, MagicError> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(MagicError);
        }
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| {
                let pair = std::str::from_utf8(pair).expect("hexadecimal digits are ASCII");
                u8::from_str_radix(pair, 16).expect("two hexadecimal digits fit a byte")
            })
            .collect();
        Magic::new(&bytes)
    }
}

impl fmt::Display for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Magic({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";
    const MAGIC: &[u8] = b"\xFF\xFF\xFF\xFF\x52\x45\x53\x45\x54";
    const NONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    fn token() -> Token {
        Token::from_bytes(TEXT).expect("36 visible characters")
    }

    #[test]
    fn plain_form_is_45_bytes_with_an_optional_newline() {
        let plain = [MAGIC, TEXT].concat();
        assert_eq!(plain.len(), 45);
        let packet = ControlPacket { token: token(), ack: None };
        let magic = Magic::default();
        assert_eq!(magic.parse_control(&plain), Some(packet));
        assert_eq!(magic.parse_control(&[&plain[..], b"\n"].concat()), Some(packet));
        assert_eq!(magic.encode_control(&packet), plain);
    }

    #[test]
    fn extended_form_carries_opcode_and_nonce() {
        let bytes = [MAGIC, TEXT, &[1], &NONCE].concat();
        let ack = Some(AckRequest { opcode: 1, nonce: NONCE });
        let packet = ControlPacket { token: token(), ack };
        let magic = Magic::default();
        assert_eq!(magic.parse_control(&bytes), Some(packet));
        assert_eq!(magic.encode_control(&packet), bytes);
    }

    #[test]
    fn every_other_length_and_form_is_data() {
        let magic = Magic::default();
        let whole = [MAGIC, TEXT, &[1], &NONCE, b"xx"].concat();
        for len in (0..=whole.len()).filter(|len| ![45, 54].contains(len)) {
            assert_eq!(magic.parse_control(&whole[..len]), None, "{len} bytes");
        }
        let source_query = [MAGIC, &[0; 36][..]].concat();
        assert_eq!(magic.parse_control(&source_query), None);
        assert_eq!(magic.parse_control(&[&b"\xFF\xFF\xFF\xFFgetst"[..], TEXT].concat()), None);
    }

    #[test]
    fn ack_is_shorter_than_what_asked_for_it() {
        let request = AckRequest { opcode: AckRequest::SWITCH, nonce: NONCE };
        let ack = Ack { request, status: AckStatus::NotYours };
        let magic = Magic::default();
        let bytes = magic.encode_ack(&ack);
        assert_eq!(bytes, [MAGIC, &[1], &NONCE, &[2]].concat());
        assert_eq!(magic.parse_ack(&bytes), Some(ack));
        let asked = magic.encode_control(&ControlPacket { token: token(), ack: Some(request) });
        assert!(bytes.len() < asked.len());
    }

    #[test]
    fn magic_is_4_to_16_bytes_of_hexadecimal() {
        assert_eq!("FFFFFFFF5245534554".parse(), Ok(Magic::default()));
        assert_eq!(Magic::default().to_string(), "FFFFFFFF5245534554");
        assert!("00112233".parse::<Magic>().is_ok());
        assert!("00112233445566778899aabbccddeeff".parse::<Magic>().is_ok());
        for wrong in ["", "001122", "0011223", "00112233445566778899aabbccddeeff00", "zz112233", "é1122334"]
        {
            assert_eq!(wrong.parse::<Magic>(), Err(MagicError), "{wrong}");
        }
    }
}
