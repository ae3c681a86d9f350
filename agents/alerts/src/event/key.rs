//! What an identifier is known by within the book.
//!
//! Identifiers of packets share long beginnings (`ivo://nasa.gsfc.gcn/Fermi#GBM_Gnd_Pos_2022-...`), so comparing them
//! costs more than anything else in a full book. The first half of an identifier's SHA-256 is compared in an
//! instruction, and is the same whatever came before: nothing depends on the order of arrival.

use sha2::{Digest as _, Sha256};

/// An identifier, of a packet or of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64, u64);

impl Key {
    /// No identifier's key is before it.
    pub const LEAST: Self = Self(0, 0);

    /// The key of a text, as it is written.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hash = Sha256::digest(text);
        Self(eight(&hash[..8]), eight(&hash[8..16]))
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
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        bytes
    }

    /// The key that a hash written in hexadecimal digits begins with; `None` where it is none.
    #[must_use]
    pub fn of_hex(hex: &str) -> Option<Self> {
        Some(Self(number(hex.get(..16)?)?, number(hex.get(16..32)?)?))
    }

    /// The first 64 bits.
    #[must_use]
    pub fn first_bits(self) -> u64 {
        self.0
    }
}

fn eight(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The number that sixteen hexadecimal digits write.
pub(super) fn number(hex: &str) -> Option<u64> {
    let digits = hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(hex, 16).ok())?
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

    #[test]
    fn a_key_is_read_back_from_its_digits_and_from_nothing_else() {
        let key = Key::of("abc");
        let hex = crate::format::hex(&key.bytes());
        assert_eq!(Key::of_hex(&hex), Some(key));
        for none in ["", "ba7816bf", &hex.replace('b', "g"), &hex.replace("78", "+8"), "ä"] {
            assert_eq!(Key::of_hex(none), None, "{none}");
        }
    }
}
