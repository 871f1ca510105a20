//! What arrived on a session's socket and still waits for whoever wants it.

use std::collections::VecDeque;

use udp_director_wire::{Ack, AckStatus};

/// Datagrams and acknowledgements that were read by a call that did not want them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// At most [`MAX_DATAGRAMS`]; the newest is dropped when full, as in a full socket buffer.
    datagrams: VecDeque<Vec<u8>>,
    /// At most [`MAX_ACKS`]; the oldest is dropped when full, since its repeat will bring another.
    acks: VecDeque<Ack>,
}

impl Inbox {
    pub(crate) fn put_datagram(&mut self, datagram: &[u8]) {
        if self.datagrams.len() < MAX_DATAGRAMS {
            self.datagrams.push_back(datagram.to_vec());
        }
    }

    pub(crate) fn take_datagram(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }

    pub(crate) fn put_ack(&mut self, ack: Ack) {
        if self.acks.len() == MAX_ACKS {
            self.acks.pop_front();
        }
        self.acks.push_back(ack);
    }

    pub(crate) fn take_ack(&mut self, nonce: [u8; 8]) -> Option<AckStatus> {
        let at = self.acks.iter().position(|ack| ack.request.nonce == nonce)?;
        self.acks.remove(at).map(|ack| ack.status)
    }
}

/// Some seconds of a fast game while nobody receives.
const MAX_DATAGRAMS: usize = 1024;
const MAX_ACKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use udp_director_wire::AckRequest;

    #[test]
    fn full_inbox_keeps_the_oldest_datagrams() {
        let mut inbox = Inbox::default();
        for n in 0..=MAX_DATAGRAMS {
            inbox.put_datagram(&n.to_be_bytes());
        }
        let kept: Vec<_> = std::iter::from_fn(|| inbox.take_datagram()).collect();
        assert_eq!(kept.len(), MAX_DATAGRAMS);
        assert_eq!(kept[0], 0_usize.to_be_bytes());
    }

    #[test]
    fn ack_is_found_by_its_nonce_and_taken_once() {
        let mut inbox = Inbox::default();
        for n in 0..=MAX_ACKS as u8 {
            let request = AckRequest { opcode: AckRequest::SWITCH, nonce: [n; 8] };
            inbox.put_ack(Ack { request, status: AckStatus::Done });
        }
        assert_eq!(inbox.take_ack([0; 8]), None, "the oldest made room");
        assert_eq!(inbox.take_ack([3; 8]), Some(AckStatus::Done));
        assert_eq!(inbox.take_ack([3; 8]), None);
    }
}
