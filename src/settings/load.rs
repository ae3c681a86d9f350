//! From text and environment to settings, without stopping at the first fault.
//!
//! Deserialising stops at the first wrong key. So a wrong key is noted, taken out of the tree, and the rest is read
//! again, until nothing is wrong with the shape; then the values are checked.

use super::{Fault, Settings, SettingsError, check};
use config::{Config, Environment, File, FileFormat};
use serde_json::Value;
use std::{collections::BTreeMap, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub const PREFIX: &str = "ALIDADE__";

/// Keys without which there is no observatory.
const REQUIRED: &[&str] = &[
    "site.name",
    "site.title",
    "site.latitude_deg",
    "site.longitude_deg",
    "site.height_m",
    "unit.name",
    "unit.telescope",
    "unit.aperture_mm",
    "unit.focal_length_mm",
    "devices",
    "channels",
    "safety.rules",
];

/// No file has so many faults that this does not end.
const MOST_FAULTS: usize = 200;

/// Where a key was given.
struct Sources<'a> {
    file: &'a str,
    text: &'a str,
    table: Spanned<DeTable<'a>>,
    environment: &'a BTreeMap<String, String>,
}

impl Sources<'_> {
    fn fault(&self, key: &str, cause: impl Into<String>) -> (usize, Fault) {
        let variable = variable(key);
        let given = self
            .environment
            .keys()
            .find(|name| name.to_ascii_uppercase() == variable);
        let (order, place) = match (given, self.line(key)) {
            (Some(name), _) => (usize::MAX, format!("environment variable {name}")),
            (None, Some(line)) => (line, format!("{}:{line}", self.file)),
            (None, None) => (0, self.file.to_owned()),
        };
        let fault = Fault {
            place,
            key: key.to_owned(),
            cause: cause.into(),
        };
        (order, fault)
    }

    /// Line of the key, or of the nearest table around it.
    fn line(&self, key: &str) -> Option<usize> {
        let mut table = self.table.get_ref();
        let mut found = None;
        for part in key.split('.') {
            let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref().as_ref() == part) else {
                break;
            };
            found = Some(self.line_at(name.span()));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        found
    }

    fn line_at(&self, span: Range<usize>) -> usize {
        line_of(self.text, span.start)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Reads the configuration. `file` is its name in messages.
pub fn read(file: &str, text: &str, environment: BTreeMap<String, String>) -> Result<Settings, SettingsError> {
    let whole = |place: String, cause: String| SettingsError {
        faults: vec![Fault {
            place,
            key: String::new(),
            cause,
        }],
    };
    let table = DeTable::parse(text).map_err(|cause| {
        let place = match cause.span() {
            Some(span) => format!("{file}:{}", line_of(text, span.start)),
            None => file.to_owned(),
        };
        whole(place, format!("is not TOML: {}", cause.message()))
    })?;
    let sources = Sources {
        file,
        text,
        table,
        environment: &environment,
    };
    let mut tree = merge(text, &environment).map_err(|cause| whole(file.to_owned(), cause))?;

    let mut faults: Vec<(usize, Fault)> = Vec::new();
    for key in REQUIRED {
        if !given(&tree, key) {
            faults.push(sources.fault(key, "is required and missing"));
        }
    }
    let settings = loop {
        match serde_path_to_error::deserialize::<_, Settings>(&tree) {
            Ok(settings) => break settings,
            Err(error) => {
                let (key, cause) = explain(&error);
                if take_as_text(&mut tree, &key, &cause, &environment) {
                    continue;
                }
                let taken = take_out(&mut tree, &key);
                // A key that was taken out as faulty may be missed afterwards.
                if !faults.iter().any(|(_, fault)| fault.key == key) {
                    faults.push(sources.fault(&key, cause));
                }
                if !taken || faults.len() > MOST_FAULTS {
                    return Err(sorted(faults));
                }
            }
        }
    };
    let known: Vec<String> = faults.iter().map(|(_, fault)| fault.key.clone()).collect();
    let within = |key: &str, table: &str| key == table || key.starts_with(&format!("{table}."));
    for wrong in check::faults(&settings) {
        // What follows from a fault that is already named is not named again.
        let follows = known.iter().any(|known| {
            let referred = wrong.refers_to.as_deref().is_some_and(|other| within(known, other));
            within(&wrong.key, known) || within(known, &wrong.key) || referred
        });
        if !follows {
            faults.push(sources.fault(&wrong.key, wrong.cause));
        }
    }
    if faults.is_empty() {
        Ok(settings)
    } else {
        Err(sorted(faults))
    }
}

fn sorted(mut faults: Vec<(usize, Fault)>) -> SettingsError {
    faults.sort_by_key(|(order, _)| *order);
    SettingsError {
        faults: faults.into_iter().map(|(_, fault)| fault).collect(),
    }
}

fn merge(text: &str, environment: &BTreeMap<String, String>) -> Result<Value, String> {
    let given = environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let variables = Environment::with_prefix("ALIDADE")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .source(Some(given));
    Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(variables)
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|cause| cause.to_string())
}

fn given(tree: &Value, key: &str) -> bool {
    key.split('.').try_fold(tree, |value, part| value.get(part)).is_some()
}

/// Key and cause of a shape fault, in words for people.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let mut key = error.path().to_string();
    let message = error.inner().to_string();
    if key == "." {
        key.clear();
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (name, rest) = rest.split_once('`').unwrap_or((rest, ""));
        if key.rsplit('.').next() != Some(name) {
            key = if key.is_empty() {
                name.to_owned()
            } else {
                format!("{key}.{name}")
            };
        }
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let near = known.iter().map(|known| (distance(name, known), known)).min();
        let hint = match near {
            Some((steps, near)) if steps <= 1 + name.len() / 3 => format!("; did you mean {near}?"),
            _ if known.is_empty() => String::new(),
            _ => format!("; known here: {}", known.join(", ")),
        };
        return (key, format!("is not a known key{hint}"));
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.trim_end_matches('`');
        let key = if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}.{name}")
        };
        return (key, "is required and missing".to_owned());
    }
    if message.starts_with("invalid type: null") {
        return (key, "must be a finite number".to_owned());
    }
    (key, message.replace('`', ""))
}

/// A number in the environment may be meant as text (`ALIDADE__UNIT__NAME=1`): tries it so.
fn take_as_text(tree: &mut Value, key: &str, cause: &str, environment: &BTreeMap<String, String>) -> bool {
    let wanted_text = cause.contains("expected a string") || cause.contains("expected path string");
    let variable = variable(key);
    let given = environment
        .iter()
        .find(|(name, _)| name.to_ascii_uppercase() == variable);
    let place = key.split('.').try_fold(tree, |value, part| value.get_mut(part));
    match (given, place) {
        (Some((_, text)), Some(place)) if wanted_text && !place.is_string() => {
            *place = Value::String(text.clone());
            true
        }
        _ => false,
    }
}

/// Removes the faulty key, or the table that lacks one; false when there is nothing to remove.
fn take_out(tree: &mut Value, key: &str) -> bool {
    let plain = key.split('[').next().unwrap_or(key);
    let parts: Vec<&str> = plain.split('.').collect();
    // From the key itself outwards: a missing key means that the table without it goes.
    for length in (1..=parts.len()).rev() {
        let (parents, last) = (&parts[..length - 1], parts[length - 1]);
        let parent = parents.iter().try_fold(&mut *tree, |value, part| value.get_mut(*part));
        if let Some(Value::Object(map)) = parent
            && map.remove(last).is_some()
        {
            return true;
        }
    }
    false
}

/// Levenshtein distance: insertions, deletions and replacements from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_letters() {
        assert_eq!(distance("latitude", "latitude"), 0);
        assert_eq!(distance("latitide_deg", "latitude_deg"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
