//! A journal file, asked as a reader would.

use serde_json::Value;
use std::{fs, path::Path};

pub struct Journal(pub Vec<Value>);

impl Journal {
    pub fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("a journal");
        Self(
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a line of JSON"))
                .collect(),
        )
    }

    /// Entries of one kind, in order.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |entry| entry["fact"] == kind)
    }

    /// The first entry at or after `from` that satisfies `wanted`.
    pub fn after<'a>(&'a self, from: &str, kind: &str, wanted: impl Fn(&Value) -> bool) -> Option<&'a Value> {
        self.0
            .iter()
            .find(|entry| at(entry) >= from && entry["fact"] == kind && wanted(entry))
    }

    /// The last entry before `until` of one kind.
    pub fn before<'a>(&'a self, until: &str, kind: &str) -> Option<&'a Value> {
        self.0
            .iter()
            .rev()
            .find(|entry| at(entry) < until && entry["fact"] == kind)
    }
}

/// When it was recorded; ISO 8601 in UTC sorts as text.
pub fn at(entry: &Value) -> &str {
    text(&entry["at"])
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

/// Seconds from one instant to another.
pub fn seconds(from: &str, to: &str) -> f64 {
    let time = |text: &str| text.parse::<alidade_model::time::UtcTime>().expect("a time");
    time(to).seconds_since(time(from))
}
