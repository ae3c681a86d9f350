//! Passwords: what is accepted, and what is kept.
//!
//! The rules follow NIST SP 800-63B and OWASP's ASVS 5.0 (6.2): length counts, no rule about kinds of characters, every
//! character of Unicode is allowed and nothing is cut off. Kept is Argon2id (RFC 9106) with 19 MiB, two passes and one
//! lane, the least that OWASP's cheat sheet advises, in PHC string form.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

/// Characters.
pub const SHORTEST: usize = 10;
/// Characters; bounds the work of hashing.
pub const LONGEST: usize = 256;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Why a password is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    #[error("the password has {0} characters, fewer than {SHORTEST}")]
    Short(usize),
    #[error("the password has {0} characters, more than {LONGEST}")]
    Long(usize),
    #[error("the password contains {0}, which everybody knows of you")]
    Known(String),
    #[error("the password is among the first that anybody tries")]
    Common,
}

/// The first that are tried: these words, alone or with digits and signs around them.
const STEMS: &[&str] = &[
    "password",
    "passwort",
    "motdepasse",
    "contrasena",
    "letmein",
    "welcome",
    "qwerty",
    "qwertz",
    "azerty",
    "admin",
    "administrator",
    "iloveyou",
    "changeme",
    "alidade",
    "observatory",
    "observatoire",
    "telescope",
    "astronomy",
    "astronomie",
    "secret",
    "default",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "superman",
    "starwars",
];

/// Says whether a password may be used by somebody of whom `known` is known: account, name, address.
pub fn accept(password: &str, known: &[&str]) -> Result<(), Weak> {
    let count = password.chars().count();
    if count < SHORTEST {
        return Err(Weak::Short(count));
    }
    if count > LONGEST {
        return Err(Weak::Long(count));
    }
    let lower = password.to_lowercase();
    for word in known.iter().flat_map(|text| text.split(['@', ' ', '.', '-', '_'])) {
        let word = word.to_lowercase();
        // Short words stand in many phrases by chance, and in a long one even one's name does no harm.
        if word.chars().count() >= 4 && lower.contains(&word) && count < word.chars().count() + 8 {
            return Err(Weak::Known(word));
        }
    }
    let letters: String = lower.chars().filter(|c| c.is_alphabetic()).collect();
    if STEMS.contains(&letters.as_str()) || STEMS.iter().any(|stem| letters == format!("{stem}{stem}")) || steps(&lower)
    {
        return Err(Weak::Common);
    }
    Ok(())
}

/// True when nearly every character is the one before it, its neighbour in the alphabet or on the keyboard.
fn steps(lower: &str) -> bool {
    const ROWS: &[&str] = &[
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
        "azertyuiop",
        "qsdfghjklm",
        "wxcvbn",
        "qwertzuiop",
        "yxcvbnm",
        "1234567890",
    ];
    let near = |a: char, b: char| {
        let row = ROWS.iter().any(|row| {
            let place = |wanted| row.chars().position(|c| c == wanted);
            matches!((place(a), place(b)), (Some(i), Some(j)) if i.abs_diff(j) <= 1)
        });
        row || u32::from(a).abs_diff(u32::from(b)) <= 1
    };
    let chars: Vec<char> = lower.chars().collect();
    let far = chars.windows(2).filter(|pair| !near(pair[0], pair[1])).count();
    far <= chars.len() / 6
}

/// The hashing failed; that is a fault of the program or of the system, never of the password.
#[derive(Debug, thiserror::Error)]
#[error("passwords cannot be hashed: {0}")]
pub struct HashFault(String);

fn hasher() -> Result<Argon2<'static>, HashFault> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| HashFault(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// What is kept of a password, with a salt of its own.
pub fn hash(password: &str) -> Result<String, HashFault> {
    let hashed = hasher()?
        .hash_password(password.as_bytes())
        .map_err(|e| HashFault(e.to_string()))?;
    Ok(hashed.to_string())
}

/// What the comparison of a password says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, but kept in a weaker form than today's: to be hashed again.
    RightButOld,
}

/// Compares. Without a kept one (nobody of that name) the same work is done for nothing, so that the time taken does not
/// tell who exists.
pub fn verify(password: &str, kept: Option<&str>) -> Result<Verdict, HashFault> {
    if password.chars().count() > LONGEST {
        return Ok(Verdict::Wrong);
    }
    let Some(kept) = kept else {
        hash(password)?;
        return Ok(Verdict::Wrong);
    };
    let parsed = PasswordHash::new(kept).map_err(|e| HashFault(e.to_string()))?;
    if hasher()?.verify_password(password.as_bytes(), &parsed).is_err() {
        return Ok(Verdict::Wrong);
    }
    let current = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$");
    Ok(if kept.starts_with(&current) {
        Verdict::Right
    } else {
        Verdict::RightButOld
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_and_kinds_of_characters_do_not() {
        let ada = ["ada", "Ada Lovelace", "lovelace@irap.example"];
        for good in [
            "correct horse battery staple",
            "vier Sterne überm Meer",
            "xkfjwpqovnrtz",
            "my name is lovelace and it is no secret",
        ] {
            assert_eq!(accept(good, &ada), Ok(()), "{good}");
        }
        assert_eq!(accept("kurz", &ada), Err(Weak::Short(4)));
        assert_eq!(accept(&"x1".repeat(200), &ada), Err(Weak::Long(400)));
        assert_eq!(accept("Lovelace1815", &ada), Err(Weak::Known("lovelace".into())));
        for common in [
            "Password123!",
            "1234567890",
            "aaaaaaaaaaaa",
            "qwertyuiop",
            "abcdefghijkl",
            "telescope2026",
            "adminadmin",
        ] {
            assert_eq!(accept(common, &ada), Err(Weak::Common), "{common}");
        }
    }

    #[test]
    fn only_the_right_password_is_right_and_old_hashes_are_known_as_old() {
        let kept = hash("correct horse battery").unwrap();
        assert!(kept.starts_with("$argon2id$"));
        assert_ne!(
            kept,
            hash("correct horse battery").unwrap(),
            "every password has its own salt"
        );
        assert_eq!(verify("correct horse battery", Some(&kept)).unwrap(), Verdict::Right);
        assert_eq!(verify("correct horse batterz", Some(&kept)).unwrap(), Verdict::Wrong);
        assert_eq!(verify("correct horse battery", None).unwrap(), Verdict::Wrong);
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, None).unwrap(),
        );
        let old = weak.hash_password(b"correct horse battery").unwrap().to_string();
        assert_eq!(
            verify("correct horse battery", Some(&old)).unwrap(),
            Verdict::RightButOld
        );
    }
}
