//! Random secrets, and what is kept of them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// The operating system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoEntropy(String);

/// A secret of 256 random bits, as 43 characters of base64url after `prefix`.
pub fn secret(prefix: &str) -> Result<String, NoEntropy> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| NoEntropy(e.to_string()))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// A secret that people can type: four groups of five of 32 letters and digits that are not mistaken for each other,
/// 100 bits.
pub fn typed_secret() -> Result<String, NoEntropy> {
    const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|e| NoEntropy(e.to_string()))?;
    let letters: Vec<char> = bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    let groups: Vec<String> = letters.chunks(5).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// What is kept of a secret: SHA-256 in hexadecimal digits. As the secret is random, guessing is hopeless, and a
/// comparison of digests tells nothing by its duration.
pub fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_long() {
        let (a, b) = (secret("ali_").unwrap(), secret("ali_").unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 4 + 43);
        assert_ne!(digest(&a), digest(&b));
        assert_eq!(digest(&a).len(), 64);
        let typed = typed_secret().unwrap();
        assert_eq!(typed.len(), 23);
        assert!(!typed.contains(['0', '1', 'I', 'O']));
    }
}
