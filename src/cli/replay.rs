//! `alidade replay DIR`: runs a recorded night's inputs through this build and compares what was decided.

use super::CliError;
use crate::simulate::{self, Recorded};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// Run a recorded simulated night again and say where this build decides otherwise.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// The --out folder of a simulated night
    folder: PathBuf,
    /// Machine output
    #[arg(long)]
    json: bool,
}

/// Facts in which the daemon decides; the others say what it measured or made.
const DECISIONS: [&str; 8] = [
    "safety_changed",
    "night_moved",
    "schedule_made",
    "sequence_moved",
    "event_decided",
    "device_command",
    "exposure_started",
    "alarm",
];

/// How two journals compare.
#[derive(Debug, Serialize, PartialEq)]
struct Comparison {
    same: bool,
    /// Decisions by kind: then and now.
    counts: BTreeMap<String, (usize, usize)>,
    /// The first decisions that are not the same.
    first: Option<(Option<Value>, Option<Value>)>,
}

pub fn run(args: &ReplayArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    let bad = |file: &Path, cause: String| CliError::bad_input(format!("{}: {cause}", file.display()));
    let report = args.folder.join("report.json");
    let text = fs::read_to_string(&report).map_err(|e| bad(&report, e.to_string()))?;
    let recorded: Recorded = serde_json::from_str(&text).map_err(|e| bad(&report, e.to_string()))?;
    let then = decisions(&args.folder.join("journal.ndjson"))?;
    let again = simulate::again(&recorded)?;
    let now = decisions(&again.journal())?;
    let comparison = compare(&then, &now);
    let text = if args.json {
        format!("{:#}\n", serde_json::json!(comparison))
    } else {
        told(&comparison)
    };
    stdout
        .write_all(text.as_bytes())
        .map_err(|e| CliError::failed(e.to_string()))?;
    Ok(u8::from(!comparison.same))
}

fn decisions(journal: &Path) -> Result<Vec<Value>, CliError> {
    let wrong = |cause: String| CliError::bad_input(format!("{}: {cause}", journal.display()));
    let text = fs::read_to_string(journal).map_err(|e| wrong(e.to_string()))?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut entry: Value = serde_json::from_str(line).map_err(|e| wrong(format!("line {}: {e}", number + 1)))?;
        let kind = entry.get("fact").and_then(Value::as_str).unwrap_or_default();
        if DECISIONS.contains(&kind) {
            // Another measurement in between shifts the numbers, not the decisions.
            if let Some(fields) = entry.as_object_mut() {
                fields.remove("seq");
            }
            found.push(entry);
        }
    }
    Ok(found)
}

fn compare(then: &[Value], now: &[Value]) -> Comparison {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let kind = |entry: &Value| entry.get("fact").and_then(Value::as_str).unwrap_or_default().to_owned();
    for entry in then {
        counts.entry(kind(entry)).or_default().0 += 1;
    }
    for entry in now {
        counts.entry(kind(entry)).or_default().1 += 1;
    }
    let length = then.len().max(now.len());
    let first = (0..length)
        .find(|index| then.get(*index) != now.get(*index))
        .map(|index| (then.get(index).cloned(), now.get(index).cloned()));
    Comparison {
        same: first.is_none(),
        counts,
        first,
    }
}

fn told(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (kind, (then, now)) in &comparison.counts {
        text.push_str(&format!("{kind:<18} {then:>6} then {now:>6} now\n"));
    }
    match &comparison.first {
        None => text.push_str("the same decisions\n"),
        Some((then, now)) => {
            let shown = |entry: &Option<Value>| entry.as_ref().map_or("nothing".to_owned(), Value::to_string);
            text.push_str(&format!(
                "first difference\n  then {}\n  now  {}\n",
                shown(then),
                shown(now)
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_decision_is_found_and_shown() {
        let then = [
            json!({"fact": "night_moved", "to": "ready"}),
            json!({"fact": "alarm", "text": "a"}),
        ];
        let now = [
            json!({"fact": "night_moved", "to": "ready"}),
            json!({"fact": "alarm", "text": "b"}),
        ];
        assert!(compare(&then, &then).same);
        let changed = compare(&then, &now);
        assert!(!changed.same);
        assert!(told(&changed).contains("\"text\":\"b\""), "{}", told(&changed));
        assert_eq!(compare(&then, &now[..1]).counts["alarm"], (1, 0));
    }
}
