//! Transport messages: sign of life, acknowledgement, refusal, authentication.
//!
//! Schema: `transport-1.1.xsd` of the VOEvent Transport Protocol. Three spellings of its namespace are met in the wild
//! and read; a client that knows only one of them reconnects every two minutes.

use chrono::{DateTime, Utc};
use quick_xml::escape::escape;

use crate::instant;
use crate::limits::Limits;
use crate::reason::{Reason, Refusal};
use crate::xml;

/// The first is the schema's own, and what we write.
const NAMESPACES: &[&str] = &[
    "http://www.telescope-networks.org/xml/Transport/v1.1",
    "http://telescope-networks.org/schema/Transport/v1.1",
    "http://telescope-networks.org/xml/Transport/v1.1",
    "http://www.telescope-networks.org/schema/Transport/v1.1",
];

/// The role of a transport message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportRole {
    /// The line is alive; the answer is the same.
    Iamalive,
    /// The packet was taken.
    Ack,
    /// The packet was refused.
    Nak,
    /// Who are you?
    Authenticate,
    /// A role the schema does not name.
    Other(String),
}

impl TransportRole {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Iamalive => "iamalive",
            Self::Ack => "ack",
            Self::Nak => "nak",
            Self::Authenticate => "authenticate",
            Self::Other(role) => role,
        }
    }
}

/// A transport message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportMessage {
    /// Its role.
    pub role: TransportRole,
    /// Identifier of the packet answered to, or of the broker that asks.
    pub origin: String,
    /// Identifier of who answers.
    pub response: Option<String>,
    /// When it was made.
    pub time: Option<DateTime<Utc>>,
    /// Why a packet was refused.
    pub result: Option<String>,
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A transport message.
    Transport(TransportMessage),
    /// Anything else: a VOEvent, to be read as one.
    Packet,
}

/// Whether the first element is named `Transport`; comments and declarations before it are skipped.
fn looks_like_transport(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == b'<') {
        rest = rest.get(at + 1..).unwrap_or_default();
        match rest.first() {
            Some(b'?') => {
                let end = rest.iter().position(|b| *b == b'>').unwrap_or(rest.len());
                rest = rest.get(end..).unwrap_or_default();
            }
            Some(b'!') => {
                let close: &[u8] = if rest.starts_with(b"!DOCTYPE") { b"]>" } else { b"-->" };
                let end = rest.windows(close.len()).position(|w| w == close).unwrap_or(rest.len());
                rest = rest.get(end..).unwrap_or_default();
            }
            _ => {
                let end = rest
                    .iter()
                    .position(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'));
                let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                return name.rsplit(|b| *b == b':').next() == Some(b"Transport");
            }
        }
    }
    false
}

/// Tells transport messages from packets.
///
/// # Errors
/// When it is a transport message that cannot be read.
pub fn classify(frame: &[u8], limits: &Limits) -> Result<Payload, Refusal> {
    if !looks_like_transport(frame) {
        return Ok(Payload::Packet);
    }
    let document = xml::parse(frame, limits)?;
    if let Some(namespace) = &document.namespace
        && !NAMESPACES.contains(&namespace.as_str())
    {
        return Err(Refusal::new(Reason::UnknownNamespace, namespace));
    }
    let root = document.root;
    let text = |name: &str| {
        root.child(name)
            .map(|e| e.trimmed().to_string())
            .filter(|t| !t.is_empty())
    };
    let result = root.path(&["Meta", "Result"]).map(|e| e.trimmed().to_string());
    let role = match root.attribute("role").unwrap_or_default() {
        "iamalive" => TransportRole::Iamalive,
        "ack" => TransportRole::Ack,
        "nak" => TransportRole::Nak,
        "authenticate" => TransportRole::Authenticate,
        other => TransportRole::Other(other.to_string()),
    };
    Ok(Payload::Transport(TransportMessage {
        role,
        origin: text("Origin").unwrap_or_default(),
        response: text("Response"),
        time: text("TimeStamp").and_then(|t| instant::parse_iso(&t, instant::Scale::Utc)),
        result: result.filter(|r| !r.is_empty()),
    }))
}

impl TransportMessage {
    /// A sign of life from `origin`.
    #[must_use]
    pub fn iamalive(origin: &str, now: DateTime<Utc>) -> Self {
        let role = TransportRole::Iamalive;
        Self {
            role,
            origin: origin.to_string(),
            response: None,
            time: Some(now),
            result: None,
        }
    }

    /// `origin` asks who is there.
    #[must_use]
    pub fn authenticate(origin: &str, now: DateTime<Utc>) -> Self {
        Self {
            role: TransportRole::Authenticate,
            ..Self::iamalive(origin, now)
        }
    }

    /// The answer of `responder` to a sign of life, or to a request to authenticate.
    #[must_use]
    pub fn reply(&self, responder: &str, now: DateTime<Utc>) -> Self {
        Self {
            role: self.role.clone(),
            origin: self.origin.clone(),
            response: Some(responder.to_string()),
            time: Some(now),
            result: None,
        }
    }

    /// `responder` took the packet `ivorn`.
    #[must_use]
    pub fn ack(ivorn: &str, responder: &str, now: DateTime<Utc>) -> Self {
        let role = TransportRole::Ack;
        Self {
            role,
            origin: ivorn.to_string(),
            response: Some(responder.to_string()),
            time: Some(now),
            result: None,
        }
    }

    /// `responder` refused the packet `ivorn`, and why.
    #[must_use]
    pub fn nak(ivorn: &str, responder: &str, why: &str, now: DateTime<Utc>) -> Self {
        Self {
            role: TransportRole::Nak,
            result: Some(why.to_string()),
            ..Self::ack(ivorn, responder, now)
        }
    }

    /// The message as XML.
    #[must_use]
    pub fn to_xml(&self) -> Vec<u8> {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<trn:Transport xmlns:trn=\"{}\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:schemaLocation=\"http://www.telescope-networks.org/xml/Transport/v1.1 \
             http://www.telescope-networks.org/schema/Transport-v1.1.xsd\" version=\"1.0\" role=\"{}\">",
            NAMESPACES.first().copied().unwrap_or_default(),
            escape(self.role.as_str()),
        );
        let mut element = |name: &str, text: &str| {
            xml.push_str(&format!("<{name}>{}</{name}>", escape(visible(text))));
        };
        element("Origin", &self.origin);
        if let Some(response) = &self.response {
            element("Response", response);
        }
        if let Some(time) = self.time {
            element("TimeStamp", &time.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        if let Some(result) = &self.result {
            xml.push_str(&format!("<Meta><Result>{}</Result></Meta>", escape(visible(result))));
        }
        xml.push_str("</trn:Transport>\n");
        xml.into_bytes()
    }
}

/// Text without the characters XML cannot carry.
fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn messages_survive_the_way_there_and_back() {
        let now = Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap();
        for message in [
            TransportMessage::iamalive("ivo://a/b", now),
            TransportMessage::iamalive("ivo://a/b", now).reply("ivo://c/d", now),
            TransportMessage::ack("ivo://a/b#1&2", "ivo://c/d", now),
            TransportMessage::nak("ivo://a/b#<1>", "ivo://c/d", "no \"position\"", now),
        ] {
            let read = classify(&message.to_xml(), &Limits::default());
            assert_eq!(read, Ok(Payload::Transport(message)));
        }
    }

    #[test]
    fn packets_are_told_from_transport_messages() {
        let is = |text: &str| classify(text.as_bytes(), &Limits::default());
        assert_eq!(
            is("<?xml version='1.0'?><!-- <Transport/> --><voe:VOEvent/>"),
            Ok(Payload::Packet)
        );
        assert_eq!(is("no xml at all"), Ok(Payload::Packet));
        let entity = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x 'y'>]><Transport role='iamalive'/>";
        assert_eq!(is(entity).unwrap_err().reason, Reason::Dtd);
        let foreign = "<t:Transport xmlns:t='http://evil.example/' role='iamalive'/>";
        assert_eq!(is(foreign).unwrap_err().reason, Reason::UnknownNamespace);
        for namespace in NAMESPACES {
            let text = format!("<t:Transport xmlns:t='{namespace}' role='hello'><Origin>x</Origin></t:Transport>");
            let Ok(Payload::Transport(message)) = is(&text) else {
                panic!("{namespace}")
            };
            assert_eq!(message.role, TransportRole::Other("hello".to_string()));
        }
    }
}
