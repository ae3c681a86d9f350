//! The fault matrix of `simulations/nights/faults/matrix.toml`: cases, the nights made of them, and what is expected.

use crate::support::journal::Journal;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

pub const NIGHT: &str = "simulations/nights/faults";
/// Where the scenario begins; faults count in seconds from here.
pub const START: &str = "2026-02-11T19:30:00Z";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// One fault, and its safe outcome.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// What has happened to observatories, in a sentence.
    pub story: String,
    /// Also run over live sockets and terminals.
    #[serde(default)]
    pub live: bool,
    /// The worst that the simulated hardware makes of it is a broken invariant; then this names it.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Seconds from the start between which it rains.
    #[serde(default)]
    pub rain: Option<(f64, f64)>,
    /// Keys of `observatory.toml` that are different, as `old` to `new`.
    #[serde(default)]
    pub site: BTreeMap<String, String>,
    pub expect: Vec<Expectation>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Fault {
    /// Seconds from the start.
    pub at_s: f64,
    pub device: String,
    pub for_s: f64,
    #[serde(flatten)]
    pub kind: toml::Table,
}

/// How many entries of a kind there must be in a stretch of the journal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    pub fact: String,
    /// Path into the entry to its value, or to a part of its text.
    #[serde(default)]
    pub is: BTreeMap<String, toml::Value>,
    /// Seconds from the start.
    #[serde(default)]
    pub from_s: f64,
    #[serde(default = "for_ever")]
    pub to_s: f64,
    #[serde(default)]
    pub least: Option<usize>,
    #[serde(default)]
    pub most: Option<usize>,
}

fn for_ever() -> f64 {
    1e9
}

pub fn matrix() -> Matrix {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(NIGHT).join("matrix.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `seconds` after the start, in the notation of scripts.
fn clock(seconds: f64) -> String {
    let start: alidade_model::time::UtcTime = START.parse().unwrap();
    start.plus_seconds(seconds).to_string()
}

impl Case {
    /// Writes the night of this case into `folder`: the calm hour with its faults and its weather.
    pub fn write(&self, folder: &Path) {
        crate::support::command::copy_of_night("faults", folder);
        let mut script = String::new();
        for fault in &self.faults {
            let mut table = fault.kind.clone();
            table.insert("at".into(), clock(fault.at_s).into());
            table.insert("device".into(), fault.device.clone().into());
            table.insert("for_s".into(), fault.for_s.into());
            script.push_str(&format!("[[faults]]\n{}\n", toml::to_string(&table).unwrap()));
        }
        fs::write(folder.join("faults.toml"), script).unwrap();
        if let Some((from, to)) = self.rain {
            let dry = "4,7,55,8.0,-0.5,940.0,0,-22,0.1,2.2";
            let wet = "4,7,80,8.0,4.8,940.0,4.0,-22,0.6,2.2";
            let path = folder.join("weather.csv");
            let text = fs::read_to_string(&path).unwrap();
            let rows: Vec<&str> = text.lines().collect();
            let (last, head) = rows.split_last().unwrap();
            let mut all: Vec<String> = head.iter().map(|row| (*row).to_owned()).collect();
            for (second, row) in [(from - 1.0, dry), (from, wet), (to, dry)] {
                all.push(format!("{},{row}", clock(second)));
            }
            all.push((*last).to_owned());
            fs::write(&path, all.join("\n") + "\n").unwrap();
        }
        let path = folder.join("observatory.toml");
        let mut text = fs::read_to_string(&path).unwrap();
        for (old, new) in &self.site {
            assert!(text.contains(old), "{}: observatory.toml has no {old:?}", self.name);
            text = text.replacen(old, new, 1);
        }
        fs::write(&path, text).unwrap();
    }

    /// What is not as expected.
    pub fn misses(&self, journal: &Journal) -> Vec<String> {
        self.expect.iter().filter_map(|e| e.miss(journal)).collect()
    }
}

impl Expectation {
    fn miss(&self, journal: &Journal) -> Option<String> {
        let (from, to) = (clock(self.from_s), clock(self.to_s.min(86_400.0)));
        let found: Vec<&Value> = journal
            .0
            .iter()
            .filter(|entry| {
                let at = entry["at"].as_str().unwrap_or_default();
                at >= from.as_str() && at <= to.as_str()
            })
            .filter(|entry| entry["fact"] == self.fact.as_str())
            .filter(|entry| self.is.iter().all(|(path, wanted)| matches(entry, path, wanted)))
            .collect();
        let least = self.least.unwrap_or(usize::from(self.most.is_none()));
        let most = self.most.unwrap_or(usize::MAX);
        (found.len() < least || found.len() > most).then(|| {
            let shown: Vec<String> = found
                .iter()
                .take(4)
                .map(|e| e.to_string().chars().take(300).collect())
                .collect();
            format!("{} of {self:?}: {shown:#?}", found.len())
        })
    }
}

fn matches(entry: &Value, path: &str, wanted: &toml::Value) -> bool {
    let value = path.split('.').fold(entry, |value, part| &value[part]);
    match wanted {
        toml::Value::String(text) => match value {
            Value::String(found) => found.contains(text.as_str()),
            Value::Array(_) => value.to_string().contains(text.as_str()),
            _ => false,
        },
        toml::Value::Boolean(wanted) => value.as_bool() == Some(*wanted),
        toml::Value::Integer(wanted) => value.as_i64() == Some(*wanted),
        other => panic!("{other} in an expectation"),
    }
}
