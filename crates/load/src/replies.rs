//! Which of a client's latest beats have been answered, in a few words for each client: a generator
//! of a hundred thousand clients has no room for more.

/// What has come back to one client. It remembers the last [`Replies::WINDOW`] beats one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replies {
    /// One more than the highest beat that was answered; 0 before the first.
    above: u64,
    /// Bit `n`: whether beat `above - 1 - n` was answered.
    seen: u128,
}

/// What a reply is to the client it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The first to its beat, and no later beat was answered before.
    Kept,
    /// The first to its beat, behind the reply to a later one.
    Reordered,
    /// The beat was answered before.
    Duplicate,
    /// The beat is too old to tell.
    TooLate,
}

impl Replies {
    /// How many beats back replies are told apart.
    pub(crate) const WINDOW: u64 = 128;

    /// Notes the reply to the beat of that number.
    pub(crate) fn note(&mut self, sequence: u64) -> Order {
        let Some(back) = self.above.checked_sub(sequence + 1) else {
            let ahead = sequence + 1 - self.above;
            self.seen = self.seen.checked_shl(u32::try_from(ahead).unwrap_or(u32::MAX)).unwrap_or(0) | 1;
            self.above = sequence + 1;
            return Order::Kept;
        };
        if back >= Self::WINDOW {
            return Order::TooLate;
        }
        let bit = 1 << back;
        let known = self.seen & bit != 0;
        self.seen |= bit;
        if known { Order::Duplicate } else { Order::Reordered }
    }

    /// Whether the beat of that number was answered, as far as it is remembered.
    pub(crate) fn has(&self, sequence: u64) -> bool {
        match self.above.checked_sub(sequence + 1) {
            Some(back @ 0..Self::WINDOW) => self.seen & (1 << back) != 0,
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(sequences: &[u64]) -> Vec<Order> {
        let mut replies = Replies::default();
        sequences.iter().map(|&sequence| replies.note(sequence)).collect()
    }

    #[test]
    fn first_replies_in_sequence_are_in_order_gaps_included() {
        assert_eq!(noted(&[0, 1, 5, 200, 201, 1_000]), [Order::Kept; 6]);
    }

    #[test]
    fn reply_behind_a_later_one_is_reordered_once_and_then_a_duplicate() {
        use Order::*;
        assert_eq!(noted(&[0, 3, 1, 2, 2, 3]), [Kept, Kept, Reordered, Reordered, Duplicate, Duplicate]);
    }

    #[test]
    fn reply_far_behind_is_too_late_to_tell() {
        assert_eq!(noted(&[0, 128, 0]), [Order::Kept, Order::Kept, Order::TooLate]);
        assert_eq!(noted(&[0, 127, 0]), [Order::Kept, Order::Kept, Order::Duplicate]);
    }

    #[test]
    fn answered_beats_are_known() {
        let mut replies = Replies::default();
        replies.note(0);
        replies.note(2);
        assert_eq!([0, 1, 2, 3].map(|sequence| replies.has(sequence)), [true, false, true, false]);
    }
}
