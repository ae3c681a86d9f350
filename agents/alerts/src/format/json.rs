//! JSON from strangers: bounded depth and size, no repeated members, no numbers that are not finite.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use crate::limits::Limits;
use crate::reason::{Reason, Refusal};

/// A JSON value whose objects repeat no member.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A finite number; integers beyond 2^53 lose digits, which no notice needs.
    Number(f64),
    /// Text.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, ordered by name.
    Object(BTreeMap<String, Json>),
}

/// Marks a repeated member among serde's errors.
const REPEATED: &str = "repeated member ";

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            #[allow(clippy::cast_precision_loss)]
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            #[allow(clippy::cast_precision_loss)]
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }
            fn visit_string<E>(self, value: String) -> Result<Json, E> {
                Ok(Json::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Json::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value = map.next_value()?;
                    if members.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("{REPEATED}{name}")));
                    }
                }
                Ok(Json::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Deepest nesting of brackets outside strings; found without recursion, before the parser runs.
fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for &byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads one JSON value.
///
/// # Errors
/// The refusal when the bytes are too many, no UTF-8, too deep, no JSON, or repeat a member.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Json, Refusal> {
    if bytes.len() > limits.max_json_bytes {
        return Err(Refusal::new(Reason::TooLarge, format!("{} bytes", bytes.len())));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| Refusal::new(Reason::Encoding, e.to_string()))?;
    if depth(bytes) > limits.max_depth {
        return Err(Refusal::new(Reason::DepthLimit, "nested too deep"));
    }
    serde_json::from_str(text).map_err(|e| {
        let message = e.to_string();
        let reason = if message.starts_with(REPEATED) {
            Reason::DuplicateKey
        } else {
            Reason::JsonSyntax
        };
        Refusal::new(reason, message)
    })
}

impl Json {
    /// The members, when this is an object.
    #[must_use]
    pub fn object(&self) -> Option<&BTreeMap<String, Json>> {
        if let Self::Object(members) = self {
            Some(members)
        } else {
            None
        }
    }

    /// SHA-256 of a canonical form: the order of members and spacing do not count.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.digest_into(&mut hash);
        hash.finalize().into()
    }

    fn digest_into(&self, hash: &mut Sha256) {
        match self {
            Self::Null => hash.update([0]),
            Self::Bool(value) => hash.update([1, u8::from(*value)]),
            Self::Number(value) => {
                hash.update([2]);
                hash.update(value.to_bits().to_be_bytes());
            }
            Self::Text(text) => {
                hash.update([3]);
                hash.update(text.as_bytes());
                hash.update([0]);
            }
            Self::Array(items) => {
                hash.update([4]);
                items.iter().for_each(|item| item.digest_into(hash));
                hash.update([5]);
            }
            Self::Object(members) => {
                hash.update([6]);
                for (name, value) in members {
                    hash.update(name.as_bytes());
                    hash.update([0]);
                    value.digest_into(hash);
                }
                hash.update([7]);
            }
        }
    }
}

fn wrong(name: &str, wanted: &str) -> Refusal {
    Refusal::new(Reason::JsonType, format!("{name} is not {wanted}"))
}

/// Typed look-ups in an object; absent and `null` are the same, a wrong type is a refusal.
pub(super) struct Members<'a>(pub &'a BTreeMap<String, Json>);

impl<'a> Members<'a> {
    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| **value != Json::Null)
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "text")),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Number(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong(name, "a number")),
        }
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// One text or an array of texts; numbers are met and taken as their digits.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let one = |value: &Json| match value {
            Json::Text(text) => Ok(text.clone()),
            Json::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(format!("{number:.0}")),
            _ => Err(wrong(name, "text or an array of texts")),
        };
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => items.iter().filter(|i| **i != Json::Null).map(one).collect(),
            Some(value) => one(value).map(|text| vec![text]),
        }
    }

    /// Numbers from 0 to 1 by name, others left out.
    pub fn probabilities(&self, name: &str) -> Result<BTreeMap<String, f64>, Refusal> {
        match self.get(name) {
            None => Ok(BTreeMap::new()),
            Some(Json::Object(members)) => Ok(members
                .iter()
                .filter_map(|(name, value)| match value {
                    Json::Number(p) if (0.0..=1.0).contains(p) => Some((name.clone(), *p)),
                    _ => None,
                })
                .collect()),
            Some(_) => Err(wrong(name, "an object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Reason {
        parse(text.as_bytes(), &Limits::default()).unwrap_err().reason
    }

    #[test]
    fn hostile_json_is_refused_by_kind() {
        assert_eq!(refused(&"[".repeat(100_000)), Reason::DepthLimit);
        assert_eq!(refused(r#"{"a":1,"a":1}"#), Reason::DuplicateKey);
        assert_eq!(refused(r#"{"b":[{"a":1,"\u0061":2}]}"#), Reason::DuplicateKey);
        for text in [
            "",
            "{",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{} {}",
            "{'a':1}",
            "{\"a\":01}",
        ] {
            assert_eq!(refused(text), Reason::JsonSyntax, "{text}");
        }
        assert_eq!(
            parse(b"\"\xFF\"", &Limits::default()).unwrap_err().reason,
            Reason::Encoding
        );
        let long = vec![b' '; Limits::default().max_json_bytes + 1];
        assert_eq!(parse(&long, &Limits::default()).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn brackets_in_text_are_not_depth() {
        let text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(100));
        assert!(parse(text.as_bytes(), &Limits::default()).is_ok());
    }

    #[test]
    fn the_digest_ignores_order_and_spacing() {
        let digest = |text: &str| parse(text.as_bytes(), &Limits::default()).unwrap().digest();
        assert_eq!(digest(r#"{"a":1,"b":[2,3]}"#), digest("{ \"b\": [2.0, 3],\n\"a\": 1 }"));
        assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":2}"#));
        assert_ne!(digest(r#"[["a"],"b"]"#), digest(r#"[["a","b"]]"#));
    }
}
