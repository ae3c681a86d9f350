//! What changed between two schedules of the same night: documents of the format `obs-schedule/1`.

use crate::instance::InstanceError;
use alidade_model::schedule::Schedule;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Starts closer than this are the same, seconds.
const SAME_S: f64 = 1.0;

/// A schedule as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// Start and end by id.
    blocks: BTreeMap<String, (DateTime<Utc>, DateTime<Utc>)>,
    /// Sentence of each unplanned request.
    sentences: BTreeMap<String, String>,
    objective: f64,
}

/// A block that has another start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    pub id: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Positive: later.
    pub shift_s: f64,
}

/// A block of one schedule only; `why` is the other one's sentence about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OneSided {
    pub id: String,
    pub start: DateTime<Utc>,
    pub why: Option<String>,
}

/// The difference from an old schedule to a new one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Ids whose start is the same.
    pub kept: Vec<String>,
    pub moved: Vec<Moved>,
    pub added: Vec<OneSided>,
    pub removed: Vec<OneSided>,
    pub old_objective: f64,
    pub new_objective: f64,
    pub old_observed_s: f64,
    pub new_observed_s: f64,
}

impl Written {
    /// A schedule that the daemon made.
    pub fn of(schedule: &Schedule) -> Self {
        let blocks = schedule.placed.iter();
        let sentences = schedule.unplaced.iter();
        Self {
            blocks: blocks
                .map(|p| (p.sequence.clone(), (p.start.chrono(), p.end.chrono())))
                .collect(),
            sentences: sentences.map(|u| (u.sequence.clone(), u.sentence.clone())).collect(),
            objective: schedule.objective,
        }
    }
}

/// Reads a schedule document; `file` names it in errors.
pub fn parse_schedule(file: &str, text: &str) -> Result<Written, InstanceError> {
    let fault = |place: &str, cause: String| InstanceError {
        file: file.to_owned(),
        place: place.to_owned(),
        cause,
    };
    let value: Value = serde_json::from_str(text).map_err(|e| fault("top level", format!("not valid JSON: {e}")))?;
    if value["format"] != "obs-schedule/1" {
        return Err(fault(
            "format",
            format!("expected \"obs-schedule/1\", found {}", value["format"]),
        ));
    }
    let list = |name: &str| {
        value[name]
            .as_array()
            .ok_or_else(|| fault(name, "expected a list".into()))
    };
    let mut out = Written {
        objective: value["objective"]
            .as_f64()
            .ok_or_else(|| fault("objective", "expected a number".into()))?,
        ..Written::default()
    };
    for (k, block) in list("schedule")?.iter().enumerate() {
        let time = |key: &str| block[key].as_str().and_then(|s| s.parse::<DateTime<Utc>>().ok());
        let (Some(id), Some(start), Some(end)) = (block["id"].as_str(), time("start_utc"), time("end_utc")) else {
            return Err(fault(
                &format!("schedule[{k}]"),
                "expected id, start_utc and end_utc".into(),
            ));
        };
        if end < start || out.blocks.insert(id.to_owned(), (start, end)).is_some() {
            return Err(fault(
                &format!("schedule[{k}]"),
                format!("\"{id}\" is there twice or ends before it starts"),
            ));
        }
    }
    for left in list("unplanned")? {
        if let (Some(id), Some(sentence)) = (left["id"].as_str(), left["sentence"].as_str()) {
            out.sentences.insert(id.to_owned(), sentence.to_owned());
        }
    }
    Ok(out)
}

/// The difference from `old` to `new`, in the order of ids.
pub fn compare(old: &Written, new: &Written) -> Difference {
    let seconds = |a: DateTime<Utc>, b: DateTime<Utc>| (b - a).num_milliseconds() as f64 / 1000.0;
    let observed = |w: &Written| w.blocks.values().map(|(a, b)| seconds(*a, *b)).sum();
    let only = |here: &Written, other: &Written| -> Vec<OneSided> {
        let missing = here.blocks.iter().filter(|(id, _)| !other.blocks.contains_key(*id));
        let one = |(id, (start, _)): (&String, &(DateTime<Utc>, DateTime<Utc>))| OneSided {
            id: id.clone(),
            start: *start,
            why: other.sentences.get(id).cloned(),
        };
        missing.map(one).collect()
    };
    let (mut kept, mut moved) = (Vec::new(), Vec::new());
    for (id, (from, _)) in &old.blocks {
        let Some((to, _)) = new.blocks.get(id) else { continue };
        let shift_s = seconds(*from, *to);
        if shift_s.abs() < SAME_S {
            kept.push(id.clone());
        } else {
            moved.push(Moved {
                id: id.clone(),
                from: *from,
                to: *to,
                shift_s,
            });
        }
    }
    Difference {
        kept,
        moved,
        added: only(new, old),
        removed: only(old, new),
        old_objective: old.objective,
        new_objective: new.objective,
        old_observed_s: observed(old),
        new_observed_s: observed(new),
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clock = |t: &DateTime<Utc>| t.format("%H:%M:%S").to_string();
        for m in &self.moved {
            let minutes = m.shift_s / 60.0;
            writeln!(
                f,
                "  moved    {:<16} {} -> {} ({minutes:+.1} min)",
                m.id,
                clock(&m.from),
                clock(&m.to)
            )?;
        }
        for (word, list) in [("added", &self.added), ("removed", &self.removed)] {
            for one in list {
                let why = one.why.as_deref().unwrap_or("the other schedule does not know it");
                writeln!(f, "  {word:<8} {:<16} {}  ({why})", one.id, clock(&one.start))?;
            }
        }
        write!(
            f,
            "{} kept, {} moved, {} added, {} removed; objective {:.0} -> {:.0}, observed {:.1} -> {:.1} h",
            self.kept.len(),
            self.moved.len(),
            self.added.len(),
            self.removed.len(),
            self.old_objective,
            self.new_objective,
            self.old_observed_s / 3600.0,
            self.new_observed_s / 3600.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(blocks: &[(&str, &str)], left: &str) -> Written {
        let rows: Vec<Value> = blocks
            .iter()
            .map(|(id, hour)| {
                serde_json::json!({"id": id, "start_utc": format!("2027-03-15T{hour}:00:00Z"),
                "end_utc": format!("2027-03-15T{hour}:30:00Z")})
            })
            .collect();
        let document = serde_json::json!({"format": "obs-schedule/1", "objective": 10.0 * blocks.len() as f64,
            "schedule": rows, "unplanned": [{"id": left, "sentence": "no time is left in this night"}]});
        parse_schedule("s.json", &document.to_string()).unwrap()
    }

    #[test]
    fn every_block_is_kept_moved_added_or_removed_once() {
        let old = written(&[("a", "01"), ("b", "02"), ("c", "03")], "d");
        let new = written(&[("a", "01"), ("b", "04"), ("d", "03")], "c");
        let d = compare(&old, &new);
        assert_eq!(d.kept, ["a"]);
        assert_eq!((d.moved[0].id.as_str(), d.moved[0].shift_s), ("b", 7200.0));
        assert_eq!(d.added[0].id, "d");
        assert_eq!(d.removed[0].why.as_deref(), Some("no time is left in this night"));
        assert!(d.to_string().ends_with("objective 30 -> 30, observed 1.5 -> 1.5 h"));
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let error = parse_schedule("s.json", "{\"format\": \"other\"}")
            .unwrap_err()
            .to_string();
        assert_eq!(error, "s.json: format: expected \"obs-schedule/1\", found \"other\"");
    }
}
