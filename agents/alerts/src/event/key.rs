//! What an identifier is known by within the book.
//!
//! Identifiers of packets share long beginnings (`ivo://nasa.gsfc.gcn/Fermi#GBM_Gnd_Pos_2022-...`), so comparing them
//! costs more than anything else in a full book. The first half of an identifier's SHA-256 is compared in an
//! instruction, and is the same whatever came before: nothing depends on the order of arrival.

use sha2::{Digest as _, Sha256};

/// An identifier, of a packet or of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u128);

impl Key {
    /// No identifier's key is before it.
    pub const LEAST: Self = Self(0);

    /// The key of a text, as it is written.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(first_half(&Sha256::digest(text)))
    }

    /// The key of an identifier of a packet, whose case does not count.
    #[must_use]
    pub fn of_identifier(text: &str) -> Self {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Self::of(&text.to_ascii_lowercase())
        } else {
            Self::of(text)
        }
    }

    /// The bytes, most significant first.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

fn first_half(hash: &[u8]) -> u128 {
    hash.iter()
        .take(16)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_first_half_of_the_sha_256_and_case_counts_only_in_texts() {
        // FIPS 180-2, appendix B.1: the hash of "abc".
        let abc = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
        ];
        assert_eq!(Key::of("abc").bytes(), abc);
        assert_eq!(Key::of_identifier("aBc").bytes(), abc);
        assert_ne!(Key::of("aBc"), Key::of("abc"));
    }
}
