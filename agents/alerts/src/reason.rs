//! Verdicts on packets and the reason codes that go with them.
//!
//! A *packet* is what a transport delivers; a *notice* is a packet that could be read. The *verdict* says what may
//! happen because of it; the *reason* is a stable code, stored and shown, never parsed back out of prose.

use serde::{Deserialize, Serialize};

/// What may happen because of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Well formed, real, fresh and localised: a strategy may turn it into an observation.
    Act,
    /// Well formed and stored, but it must not cause an observation.
    Ignore,
    /// Never stored as an event, never acted upon.
    Reject,
    /// A second copy of a packet already seen.
    Duplicate,
    /// The identity of a packet already seen with another content: the first stays, an operator looks.
    Conflict,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// Why a verdict is what it is. [`Reason::code`] is the stable spelling.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code, as printed and stored.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

reasons! {
    /// Nothing stands against acting.
    Ok = "ok",
    // --- the packet cannot be read, or must not be believed -------------------------------------------------
    /// More bytes than the format's limit.
    TooLarge = "too_large",
    /// Not UTF-8, or an encoding that is not read.
    Encoding = "encoding",
    /// Not well-formed XML.
    XmlSyntax = "xml_syntax",
    /// An XML version other than 1.0.
    XmlVersion = "xml_version",
    /// A document type declaration: entities and external subsets are never read.
    Dtd = "dtd",
    /// Nested deeper than the limit.
    DepthLimit = "depth_limit",
    /// More attributes, elements or citations than the limit.
    Limits = "limits",
    /// The root element is in no namespace of VOEvent.
    UnknownNamespace = "unknown_namespace",
    /// A VOEvent version that is not read.
    UnsupportedVersion = "unsupported_version",
    /// A format that is not recognised.
    UnknownFormat = "unknown_format",
    /// The identifier is missing, malformed or hostile.
    Ivorn = "ivorn",
    /// A number that is not a finite decimal number.
    BadNumber = "bad_number",
    /// A number outside its range.
    OutOfRange = "out_of_range",
    /// A unit that is not read.
    UnknownUnit = "unknown_unit",
    /// The axes are not right ascension and declination.
    AxisNames = "axis_names",
    /// A coordinate system that is not equatorial.
    CoordinateSystem = "coordinate_system",
    /// More than one position.
    AmbiguousPosition = "ambiguous_position",
    /// A time that is not one.
    BadTime = "bad_time",
    /// An event time in the future.
    FutureTime = "future_time",
    /// The packet cites itself.
    SelfCitation = "self_citation",
    /// Not well-formed JSON.
    JsonSyntax = "json_syntax",
    /// A JSON member of the wrong type.
    JsonType = "json_type",
    /// A JSON object that repeats a member.
    DuplicateKey = "duplicate_key",
    /// A transport frame longer than the limit.
    FrameTooLarge = "frame_too_large",
    /// The stream ended inside a frame.
    EofInFrame = "eof_in_frame",
    // --- read and stored, not to be acted upon --------------------------------------------------------------
    /// A test, a mock or an injection.
    Test = "test",
    /// About an instrument or a network, not about the sky.
    Utility = "utility",
    /// A prediction of something to come.
    Prediction = "prediction",
    /// A role the standard does not name.
    UnknownRole = "unknown_role",
    /// An alert tense the schema does not name.
    UnknownTense = "unknown_tense",
    /// Archival, planned or commanded.
    NotCurrent = "not_current",
    /// An alert type the schema does not name.
    UnknownAlertType = "unknown_alert_type",
    /// Withdraws earlier packets.
    Retraction = "retraction",
    /// Withdraws packets of an author who has not been trusted with it.
    ForeignRetraction = "foreign_retraction",
    /// Its event was withdrawn before it arrived.
    AlreadyRetracted = "already_retracted",
    /// No usable position.
    NoPosition = "no_position",
    /// The error region is the whole sky.
    NotLocalised = "not_localised",
    /// The error radius is beyond the limit.
    ErrorTooLarge = "error_too_large",
    /// No event time.
    NoEventTime = "no_event_time",
    /// The event is too old.
    Stale = "stale",
    /// The satellite's star tracker had lost lock: the position is wrong.
    LostLock = "lost_lock",
    /// Identified as no gamma-ray burst.
    NotAGrb = "not_a_grb",
    /// A source of a catalogue.
    CatalogueSource = "catalogue_source",
    /// Below the instrument's own threshold.
    SubThreshold = "sub_threshold",
    /// Flagged as very weak, or not significant, by its author.
    NotSignificant = "not_significant",
    /// About where an instrument points or what it measured, not about a new source.
    NotASource = "not_a_source",
    /// The sky map cannot be read.
    BadSkymap = "bad_skymap",
    /// A transport's sign of life; the answer is the same.
    IamaliveReplyExpected = "iamalive_reply_expected",
    /// A transport message of another role.
    UnknownTransportRole = "unknown_transport_role",
    /// A transport's acknowledgement, refusal or authentication.
    TransportMessage = "transport_message",
    // --- seen before ----------------------------------------------------------------------------------------
    /// The very bytes were seen before.
    DuplicateBytes = "duplicate_bytes",
    /// The same identifier with the same content was seen before.
    DuplicateIvorn = "duplicate_ivorn",
    /// The same identifier was seen with another content.
    IvornConflict = "ivorn_conflict",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A refusal: the reason and, for people, where and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// The stable code.
    pub reason: Reason,
    /// Where and what, free of control characters.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its explanation; control characters are escaped, and long text is cut.
    #[must_use]
    pub fn new(reason: Reason, detail: impl AsRef<str>) -> Self {
        Self {
            reason,
            detail: printable(detail.as_ref(), 160),
        }
    }
}

/// Text safe to print: control characters escaped, at most `limit` characters.
///
/// Packets carry terminal escapes; they must reach neither a log nor a screen as they are.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_code_and_survives_json() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        for reason in Reason::ALL {
            let text = serde_json::to_string(reason).unwrap();
            assert_eq!(text, format!("\"{}\"", reason.code()));
            assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), *reason);
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn terminal_escapes_are_made_harmless() {
        assert_eq!(printable("a\u{9b}31m\n", 10), "a\\u{9b}31m\\u{a}");
        assert_eq!(printable("abcdef", 3), "abc…");
    }
}
