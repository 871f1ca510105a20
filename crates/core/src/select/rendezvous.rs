//! Rendezvous hashing: a key has a weight with every backend and goes to the heaviest, so that a
//! backend that comes or goes moves only the keys that it gets or had.
//!
//! The hash is part of the product's behaviour: replicas and versions must agree on it. It is FNV-1a
//! over the key, a byte that no UTF-8 text contains, and the backend's id, mixed by the finalizer of
//! MurmurHash3, since FNV alone leaves the high bits of similar ids alike.

use crate::inventory::Backend;

/// A key that backends are weighed for.
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// The hash so far, so that a long key is read once and not once per backend.
    hash: u64,
}

impl Key {
    pub(super) fn new(key: &str) -> Key {
        Key { hash: fnv1a(fnv1a(FNV_OFFSET, key.as_bytes()), &[SEPARATOR]) }
    }

    /// How much the key wants that backend: the heaviest gets it.
    pub(super) fn weight(self, backend: &Backend) -> u64 {
        mix(fnv1a(self.hash, backend.spec.id.as_str().as_bytes()))
    }
}

fn fnv1a(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// `fmix64` of MurmurHash3.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const SEPARATOR: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_same_in_every_process_and_version() {
        // The published vectors of FNV-1a 64, and fmix64 as the reference C code gives it.
        assert_eq!(fnv1a(FNV_OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(1), 0xb456_bcfc_34c2_cb2c);
    }
}
