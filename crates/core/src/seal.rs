//! Sealed tokens: whoever has the key can redeem them, with nothing shared but the key.
//!
//! AES-SIV (RFC 5297, AEAD_AES_SIV_CMAC_256) over 11 bytes. The key does not stand in the token: there
//! is no room. Each key of the ring is tried, the current one first.
//!
//! ```text
//!                    16 bytes         3         5        3
//! token       +----------------+---------+---------+-------+   27 bytes, 36 characters of base64url
//!             |  synthetic IV  | expires | backend | nonce |   encrypted from `expires` on
//!             +---+-----+------+-+-------+---+-----+-------+
//! associated  | 1 | era | bound |    IP     | cluster id |     not sent: who opens it must know
//! data        +---+-----+-------+-----------+------------+     the same
//!               1    4      1        16        0 to 63
//! ```
//! - `expires` and `era` are one number, the second since 1970 from which on the token is worth
//!   nothing, in big endian: its low 3 bytes are sent, its high bytes (194 days a step) are not.
//! - `backend` is the backend's [`Handle`].
//! - `nonce` tells tokens apart: see [`Nonces`].
//! - `bound` is 1 for a token that only one IP may redeem, and `IP` is that IP, IPv4 in its IPv6-mapped
//!   form; both are 0 else.
//! - The first byte is the version of this form.

mod handle;
mod key;
mod nonces;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use udp_director_wire::{SEALED_LEN, Token};

pub use handle::Handle;
pub use key::{Key, KeyError, KeyRing, KeyRingError};
pub use nonces::{Nonce, Nonces};

/// What a sealed token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// From when on it is worth nothing, in whole seconds.
    pub expires: SystemTime,
    /// Which backend it leads to.
    pub backend: Handle,
    /// What tells it from others that say the same.
    pub nonce: Nonce,
}

/// A sealed token that has been opened.
#[derive(Clone, Copy, Debug)]
pub struct Unsealed<'a> {
    /// What it says.
    pub contents: Contents,
    /// The IP that alone may redeem it; `None` where any may.
    pub bound_to: Option<IpAddr>,
    /// The key that it was sealed by.
    pub key: &'a Key,
}

/// What tokens are sealed and opened with: the keys, and the name of what they are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    ring: KeyRing,
    cluster_id: Box<str>,
    only_bound: bool,
}

impl Seal {
    /// The longest cluster id, in bytes.
    pub const MAX_CLUSTER_ID: usize = 63;

    /// How long a token may be good for: the longest that a configuration can say, and as much again
    /// for clocks that differ.
    pub const MAX_LIFE: Duration = Duration::from_secs(2 * 86_400);

    /// How far apart moments are whose tokens are never mixed up.
    pub const ERA: Duration = Duration::from_secs(1 << ERA_BITS);

    /// Seals with the ring's current key, and opens with each of them. Tokens of another cluster id do
    /// not open; nor do those that are bound to no IP, where `only_bound` says so.
    ///
    /// # Panics
    /// Where the cluster id is longer than [`Seal::MAX_CLUSTER_ID`].
    pub fn new(ring: KeyRing, cluster_id: &str, only_bound: bool) -> Seal {
        assert!(cluster_id.len() <= Seal::MAX_CLUSTER_ID, "the cluster id is too long");
        Seal { ring, cluster_id: cluster_id.into(), only_bound }
    }

    /// The keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The token that says so, bound to an IP or to none. Fractions of a second are cut off its expiry.
    pub fn seal(&self, contents: &Contents, bound_to: Option<IpAddr>) -> Token {
        let expires = seconds(contents.expires);
        let mut said = [0; SAID_LEN];
        said[..3].copy_from_slice(&expires.to_be_bytes()[5..]);
        said[3..8].copy_from_slice(&contents.backend.to_bytes());
        said[8..].copy_from_slice(&contents.nonce.0);
        let iv = self.ring.current().encrypt(&self.associated(era(expires), bound_to), &mut said);
        let mut sealed = [0; SEALED_LEN];
        sealed[..IV_LEN].copy_from_slice(&iv);
        sealed[IV_LEN..].copy_from_slice(&said);
        Token::from_sealed(&sealed)
    }

    /// Opens a token that is bound to that IP, or to none. `None` where no key opens it, or where it is
    /// bound to another IP; it may be expired. Costs an attempt for each key, and another one where
    /// tokens may be unbound.
    pub fn open(&self, token: &Token, by: Option<IpAddr>, now: SystemTime) -> Option<Unsealed<'_>> {
        let sealed = token.to_sealed()?;
        let bound = by.map(Some);
        let unbound = (!self.only_bound).then_some(None);
        let contexts: SmallVec<[_; 4]> = eras(now)
            .flat_map(|era| bound.into_iter().chain(unbound).map(move |bound_to| (era, bound_to)))
            .collect();
        self.ring.keys().find_map(|key| {
            contexts.iter().find_map(|&(era, bound_to)| {
                let contents = self.open_with(key, &sealed, era, bound_to)?;
                Some(Unsealed { contents, bound_to, key })
            })
        })
    }

    fn open_with(
        &self,
        key: &Key,
        sealed: &[u8; SEALED_LEN],
        era: u32,
        bound_to: Option<IpAddr>,
    ) -> Option<Contents> {
        let (iv, said) = sealed.split_first_chunk::<IV_LEN>()?;
        let mut said: [u8; SAID_LEN] = said.try_into().ok()?;
        if !key.decrypt(&self.associated(era, bound_to), &mut said, iv) {
            return None;
        }
        let [a, b, c, handle @ .., x, y, z] = said;
        let expires = u64::from(era) << ERA_BITS | u64::from(u32::from_be_bytes([0, a, b, c]));
        Some(Contents {
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(expires),
            backend: Handle::from_bytes(handle),
            nonce: Nonce([x, y, z]),
        })
    }

    fn associated(&self, era: u32, bound_to: Option<IpAddr>) -> SmallVec<[u8; 96]> {
        let ip = match bound_to {
            Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
            Some(IpAddr::V6(v6)) => v6.octets(),
            None => [0; 16],
        };
        let mut bytes = SmallVec::new();
        bytes.push(FORM);
        bytes.extend_from_slice(&era.to_be_bytes());
        bytes.push(bound_to.is_some().into());
        bytes.extend_from_slice(&ip);
        bytes.extend_from_slice(self.cluster_id.as_bytes());
        bytes
    }
}

/// The eras in which a token that is good now can expire: one, save for two days of 194.
fn eras(now: SystemTime) -> impl Iterator<Item = u32> {
    let (first, last) = (era(seconds(now)), era(seconds(now + Seal::MAX_LIFE)));
    first..=last
}

fn era(expires: u64) -> u32 {
    u32::try_from(expires >> ERA_BITS).unwrap_or(u32::MAX)
}

/// Seconds since 1970; none before that.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The version of the form.
const FORM: u8 = 1;

const IV_LEN: usize = 16;

const SAID_LEN: usize = SEALED_LEN - IV_LEN;

const ERA_BITS: u32 = 24;

#[cfg(test)]
mod tests;
