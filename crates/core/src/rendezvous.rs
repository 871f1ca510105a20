//! Rendezvous hashing: a key has a weight with every backend and goes to the heaviest, so that a
//! backend that comes or goes moves only the keys that it gets or had.
//!
//! The hash is part of the product's behaviour: replicas and versions must agree on it. A text's hash
//! is FNV-1a, mixed by the finalizer of MurmurHash3, since FNV alone leaves the high bits of similar
//! texts alike; a weight is the two hashes, combined by exclusive or and mixed once more. So ids are
//! hashed when the inventory is made, and to weigh a key against ten thousand takes microseconds.

/// A key or an id, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed(u64);

impl Hashed {
    pub(crate) fn new(text: &str) -> Hashed {
        Hashed(mix(fnv1a(text.as_bytes())))
    }

    /// The hash, in big endian.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// How much a key wants the backend of that id: the heaviest gets it.
    pub(crate) fn weight(self, id: Hashed) -> u64 {
        mix(self.0 ^ id.0)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_OFFSET, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// `fmix64` of MurmurHash3.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_same_in_every_process_and_version() {
        // The published vectors of FNV-1a 64, and fmix64 as the reference C code gives it.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(1), 0xb456_bcfc_34c2_cb2c);
    }
}
