//! Owns the seeded numbers behind uids and generated names, so that a run can be repeated.
//! It refuses to be used for secrets.

use std::fmt::Write as _;

/// SplitMix64: one word of state, equal sequences for equal seeds.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Where the sequence stands: a new one of this seed goes on from here.
    pub(crate) fn position(&self) -> u64 {
        self.0
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Five characters without vowels, as the API appends to `generateName`.
    pub(crate) fn suffix(&mut self) -> String {
        let mut bits = self.next();
        (0..5)
            .map(|_| {
                let at = (bits % ALPHABET.len() as u64) as usize;
                bits /= ALPHABET.len() as u64;
                char::from(ALPHABET.get(at).copied().unwrap_or(b'x'))
            })
            .collect()
    }

    /// A version 4 UUID.
    pub(crate) fn uid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let mut out = String::with_capacity(36);
        let _ = write!(
            out,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xFFFF,
            a & 0xFFF,
            0x8000 | ((b >> 48) & 0x3FFF),
            b & 0xFFFF_FFFF_FFFF
        );
        out
    }
}

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The API's `SafeEncodeString`: digits and letters mapped to those that cannot spell words.
pub(crate) fn safe_encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            char::from(
                ALPHABET
                    .get(usize::from(b) % ALPHABET.len())
                    .copied()
                    .unwrap_or(b'x'),
            )
        })
        .collect()
}

/// FNV-1a, the hash behind `pod-template-hash`.
pub(crate) fn fnv32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |h, b| {
        (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_names() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert_eq!(a.uid(), b.uid());
        let suffix = a.suffix();
        assert_eq!(suffix, b.suffix());
        assert_eq!(suffix.len(), 5);
        let uid = a.uid();
        assert_eq!((uid.len(), uid.as_bytes().get(14)), (36, Some(&b'4')));
    }
}
