//! Beats: the numbered datagrams that players send and backends echo.
//!
//! ```text
//!        4          4        4           n
//! beat +--------+--------+--------+
//!      | "beat" | player | number |                 numbers big-endian
//! echo +--------+--------+--------+--------------+
//!      | "beat" | player | number | backend name |
//!      +--------+--------+--------+--------------+
//! ```

/// One numbered datagram of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Beat {
    /// Who sent it.
    pub player: u32,
    /// Which of that player's it is, from 0.
    pub number: u32,
}

/// What a backend answers to a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// What it answers.
    pub beat: Beat,
    /// The backend's name.
    pub by: String,
}

const MARK: &[u8] = b"beat";

impl Beat {
    /// The beat as a datagram.
    pub fn encode(&self) -> Vec<u8> {
        [MARK, &self.player.to_be_bytes(), &self.number.to_be_bytes()].concat()
    }

    /// Reads the beat that a datagram begins with; `None` means that it is something else.
    pub fn parse(datagram: &[u8]) -> Option<Beat> {
        let (player, rest) = datagram.strip_prefix(MARK)?.split_first_chunk()?;
        let number = rest.first_chunk()?;
        Some(Beat { player: u32::from_be_bytes(*player), number: u32::from_be_bytes(*number) })
    }
}

impl Echo {
    /// Reads an echo; `None` means that it is something else.
    pub fn parse(datagram: &[u8]) -> Option<Echo> {
        let beat = Beat::parse(datagram)?;
        let by = String::from_utf8(datagram.get(MARK.len() + 8..)?.to_vec()).ok()?;
        Some(Echo { beat, by })
    }
}
