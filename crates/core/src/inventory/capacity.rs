//! Capacity: how many players a backend takes.

use std::fmt;

/// How many players a backend takes, as its mapping and its object say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Capacity {
    /// As many as come.
    #[default]
    Unbounded,
    /// So many seats may be taken at once.
    Seats {
        /// What is left of the maximum for this director: maximum - current - overlap, at least 0.
        seats: u32,
        /// How many players the object itself counts.
        current: u32,
    },
    /// The object does not say it as it should: it gets no players. What is wrong, for people.
    Unknown(Box<str>),
}

impl Capacity {
    /// What remains of `max` when `current` and `overlap` are taken off.
    pub fn of(max: u32, current: u32, overlap: u32) -> Capacity {
        Capacity::Seats { seats: max.saturating_sub(current).saturating_sub(overlap), current }
    }

    /// How many seats may be taken at once; `u32::MAX` where nothing bounds them.
    pub fn seats(&self) -> u32 {
        match self {
            Capacity::Unbounded => u32::MAX,
            Capacity::Seats { seats, .. } => *seats,
            Capacity::Unknown(_) => 0,
        }
    }

    /// How many players the object itself counts; 0 where it does not.
    pub fn current(&self) -> u32 {
        match self {
            Capacity::Seats { current, .. } => *current,
            Capacity::Unbounded | Capacity::Unknown(_) => 0,
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capacity::Unbounded => f.write_str("unbounded"),
            Capacity::Seats { seats, .. } => write!(f, "{seats} seats"),
            Capacity::Unknown(fault) => f.write_str(fault),
        }
    }
}
