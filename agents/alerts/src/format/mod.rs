//! One module per format; each turns bytes into a [`Draft`]. [`written`] goes the other way.

pub mod classic;
mod classic_types;
pub mod gcn_json;
pub mod gcn_types;
pub mod igwn;
pub mod json;
pub mod voevent;
mod where_when;
pub mod written;

use crate::notice::Notice;
use crate::reason::{Reason, Refusal};

/// A notice as far as it could be read and, if something in it must not be believed, the first refusal.
///
/// The fields of a refused packet are kept for the record and for people, never for decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What was read.
    pub notice: Notice,
    /// Why it must not be believed.
    pub refusal: Option<Refusal>,
}

impl Draft {
    pub(crate) fn new(notice: Notice) -> Self {
        Self { notice, refusal: None }
    }

    /// Records a refusal unless an earlier one stands.
    pub(crate) fn refuse(&mut self, reason: Reason, detail: impl AsRef<str>) {
        if self.refusal.is_none() {
            self.refusal = Some(Refusal::new(reason, detail));
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A word of a stream name: lower case, every other character than letters and digits an underscore.
pub(crate) fn slug(text: &str) -> String {
    let slug: String = text
        .chars()
        .take(40)
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    if slug.is_empty() { "unknown".to_string() } else { slug }
}

/// Whether an identifier's own part carries the word *test*, as `BAT_GRB_Test_Pos`, `TEST_Event` or `BrokerTest-...` do.
pub(crate) fn names_a_test(local: &str) -> bool {
    local.split(|c: char| !c.is_ascii_alphabetic()).any(|word| {
        word.eq_ignore_ascii_case("test")
            || word.eq_ignore_ascii_case("tests")
            || word
                .strip_suffix("Test")
                .is_some_and(|rest| rest.ends_with(|c: char| c.is_ascii_lowercase()))
            || word
                .strip_prefix("Test")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
            || word
                .strip_prefix("test")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_by_their_names_and_latest_is_no_test() {
        for name in [
            "BAT_GRB_Test_Pos_2026",
            "TEST_Event_022",
            "BrokerTest-2014",
            "TestEvent",
            "x.test.1",
        ] {
            assert!(names_a_test(name), "{name}");
        }
        for name in ["BAT_GRB_Pos_1", "Latest_2020", "contest", "attested", "GBM_Alert"] {
            assert!(!names_a_test(name), "{name}");
        }
    }

    #[test]
    fn stream_words_are_plain() {
        assert_eq!(slug("FRB Detection-1"), "frb_detection_1");
        assert_eq!(slug(""), "unknown");
    }
}
