//! The beat: the numbered datagram that a player sends and an echo server signs.
//!
//! ```text
//! 0        4         8           16         24       26
//! +--------+---------+-----------+----------+--------+- - - - -+
//! | magic  | player  | sequence  | sent at  | server | padding |   big-endian
//! +--------+---------+-----------+----------+--------+- - - - -+
//! ```

use std::fmt;

/// One datagram of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Who sent it.
    pub player: u32,
    /// Its number among the player's beats, from 0.
    pub sequence: u64,
    /// When it was sent, in nanoseconds of the player's own clock.
    pub sent_at_nanos: u64,
    /// Who echoed it; [`ServerId::UNKNOWN`] on the way out.
    pub server: ServerId,
}

/// The number that an echo server signs beats with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(pub u16);

impl ServerId {
    /// Nobody, or an echo server that does not know beats.
    pub const UNKNOWN: ServerId = ServerId(0);
}

impl Beat {
    /// Length without padding, in bytes.
    pub const LEN: usize = 26;

    const MAGIC: [u8; 4] = [0xB3, 0xA7, 0x1D, 0x0E];
    const SERVER_AT: usize = 24;

    /// Writes the beat, to be followed by any padding.
    pub fn encode(&self) -> [u8; Beat::LEN] {
        let mut bytes = [0; Beat::LEN];
        bytes[..4].copy_from_slice(&Beat::MAGIC);
        bytes[4..8].copy_from_slice(&self.player.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sent_at_nanos.to_be_bytes());
        bytes[24..].copy_from_slice(&self.server.0.to_be_bytes());
        bytes
    }

    /// Reads a beat, whatever padding follows; `None` for every other datagram.
    pub fn parse(datagram: &[u8]) -> Option<Beat> {
        let rest = datagram.strip_prefix(&Beat::MAGIC)?;
        let (player, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (sent_at, rest) = rest.split_first_chunk()?;
        let (server, _) = rest.split_first_chunk()?;
        Some(Beat {
            player: u32::from_be_bytes(*player),
            sequence: u64::from_be_bytes(*sequence),
            sent_at_nanos: u64::from_be_bytes(*sent_at),
            server: ServerId(u16::from_be_bytes(*server)),
        })
    }

    /// Writes `server` into a datagram that is a beat; leaves every other one untouched.
    pub fn sign(datagram: &mut [u8], server: ServerId) {
        if datagram.len() >= Beat::LEN && datagram.starts_with(&Beat::MAGIC) {
            datagram[Beat::SERVER_AT..Beat::LEN].copy_from_slice(&server.0.to_be_bytes());
        }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Beat = Beat { player: 7, sequence: 258, sent_at_nanos: 1, server: ServerId::UNKNOWN };
    const BYTES: [u8; Beat::LEN] =
        [0xB3, 0xA7, 0x1D, 0x0E, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];

    #[test]
    fn beat_is_26_bytes_and_any_padding() {
        assert_eq!(BEAT.encode(), BYTES);
        assert_eq!(Beat::parse(&BYTES), Some(BEAT));
        assert_eq!(Beat::parse(&[&BYTES[..], b"padding"].concat()), Some(BEAT));
        for len in 0..Beat::LEN {
            assert_eq!(Beat::parse(&BYTES[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn signature_changes_the_server_of_a_beat_and_nothing_else() {
        let mut datagram = [&BYTES[..], b"padding"].concat();
        Beat::sign(&mut datagram, ServerId(0x0102));
        assert_eq!(datagram, [&BYTES[..24], &[1, 2], b"padding"].concat());
        for other in [&b""[..], &BYTES[..25], &[0xff; 64]] {
            let mut datagram = other.to_vec();
            Beat::sign(&mut datagram, ServerId(1));
            assert_eq!(datagram, other);
        }
    }
}
