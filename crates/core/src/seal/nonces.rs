//! Nonces: what tells tokens apart that say the same.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Three bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 3]);

/// Gives out nonces: none twice within 16,777,216.
///
/// So no two tokens of one replica are alike unless it gives out more than that in a second. Two tokens
/// of two replicas are alike only if they lead to the same backend, expire in the same second, are bound
/// to the same IP, and one chance in 16,777,216 has it: then who redeems his later is refused, and asks
/// again. Each replica begins elsewhere and goes by another step, so that two which meet once do not
/// stay together.
#[derive(Debug)]
pub struct Nonces {
    next: AtomicU32,
    step: u32,
}

impl Nonces {
    /// Nonces in an order that the random number decides. No secret hangs on it.
    pub fn new(random: u64) -> Nonces {
        let (start, step) = (random as u32, (random >> 32) as u32);
        // An odd step goes through all numbers of a power of two before it comes back.
        Nonces { next: AtomicU32::new(start), step: step | 1 }
    }

    /// The next one.
    pub fn draw(&self) -> Nonce {
        let [_, bytes @ ..] = self.next.fetch_add(self.step, Ordering::Relaxed).to_be_bytes();
        Nonce(bytes)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "Nonce({a:02x}{b:02x}{c:02x})")
    }
}
