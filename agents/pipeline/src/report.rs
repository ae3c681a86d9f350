//! The activity report (the seed's PUNK): what was run, how it went, what went wrong; and why a task would run.

use crate::port::{AttemptRow, JobState, JobStatus, RunFilter, RunReads, StoreFault};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One pipeline's part of the report.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Activity {
    pub runs: usize,
    /// How many ended how.
    pub states: BTreeMap<String, usize>,
    /// Seconds between the start and the end of runs that have both.
    pub busy_s: f64,
    pub products: usize,
    pub product_bytes: u64,
    /// By task: attempts, failures, seconds.
    pub tasks: BTreeMap<String, TaskActivity>,
    /// Run, task and message of what went wrong, newest run first.
    pub exceptions: Vec<(String, String, String)>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TaskActivity {
    pub attempts: usize,
    pub failed: usize,
    pub blocked: usize,
    pub busy_s: f64,
}

/// What the newest `limit` runs did, by pipeline.
pub fn activity(store: &mut dyn RunReads, limit: i64) -> Result<BTreeMap<String, Activity>, StoreFault> {
    let mut report: BTreeMap<String, Activity> = BTreeMap::new();
    let filter = RunFilter {
        limit,
        ..RunFilter::default()
    };
    for run in store.runs(&filter)? {
        let attempts = store.attempts(&run.id)?;
        let part = report.entry(run.pipeline.clone()).or_default();
        part.runs += 1;
        *part.states.entry(run.state.to_string()).or_default() += 1;
        if let (Some(started), Some(ended)) = (run.started, run.ended) {
            part.busy_s += ended.seconds_since(started);
        }
        for attempt in &attempts {
            let task = part
                .tasks
                .entry(format!("{}.{}", attempt.plugin, attempt.task))
                .or_default();
            task.attempts += usize::from(attempt.state != JobState::Pending);
            task.blocked += usize::from(attempt.state == JobState::Pending);
            task.failed += usize::from(attempt.status == JobStatus::Error);
            if let (Some(started), Some(ended)) = (attempt.started, attempt.ended) {
                task.busy_s += ended.seconds_since(started);
            }
        }
        let node = |uuid: &str| {
            attempts
                .iter()
                .find(|a| a.uuid == uuid)
                .map_or_else(String::new, |a| a.node.clone())
        };
        for exception in store.exceptions(&run.id)? {
            part.exceptions
                .push((run.id.clone(), node(&exception.attempt), exception.message));
        }
        for target in store.targets(&run.id)? {
            if target.role == crate::port::Role::Out && !target.sha256.is_empty() {
                part.products += 1;
                part.product_bytes += target.size;
            }
        }
    }
    Ok(report)
}

/// The report for people.
pub fn markdown(report: &BTreeMap<String, Activity>) -> String {
    let mut text = String::from("# Activity of the pipelines\n");
    for (name, part) in report {
        let states: Vec<String> = part.states.iter().map(|(state, n)| format!("{n} {state}")).collect();
        text.push_str(&format!(
            "\n## {name}\n\n{} runs ({}), {:.1} s busy, {} products, {} bytes\n\n| task | attempts | failed | blocked | seconds |\n|---|---|---|---|---|\n",
            part.runs,
            states.join(", "),
            part.busy_s,
            part.products,
            part.product_bytes
        ));
        for (task, t) in &part.tasks {
            text.push_str(&format!(
                "| {task} | {} | {} | {} | {:.3} |\n",
                t.attempts, t.failed, t.blocked, t.busy_s
            ));
        }
        for (run, node, message) in part.exceptions.iter().take(20) {
            let first = message.lines().next().unwrap_or_default();
            text.push_str(&format!("\n* {run}, {node}: {first}"));
        }
        if !part.exceptions.is_empty() {
            text.push('\n');
        }
    }
    text
}

/// Which parts of the keys of two attempts differ: dotted names with both values.
pub fn differences(before: &Value, now: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    differ("", before, now, &mut found);
    found
}

fn differ(at: &str, before: &Value, now: &Value, found: &mut Vec<(String, Value, Value)>) {
    if let (Value::Object(a), Value::Object(b)) = (before, now) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let name = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            differ(
                &name,
                a.get(key).unwrap_or(&Value::Null),
                b.get(key).unwrap_or(&Value::Null),
                found,
            );
        }
    } else if before != now {
        found.push((at.into(), before.clone(), now.clone()));
    }
}

/// Why an attempt ran although the task had been done before; in words.
pub fn why(attempt: &AttemptRow, before: Option<&AttemptRow>) -> String {
    if attempt.reason.starts_with("the same as ") {
        return format!("skipped: {}", attempt.reason);
    }
    if attempt.state == JobState::Pending {
        return format!("did not run: {}", attempt.reason);
    }
    let Some(before) = before else {
        return "ran: it had never been done before".into();
    };
    let changed = differences(&before.key_parts, &attempt.key_parts);
    if changed.is_empty() {
        return format!(
            "ran although nothing differs from run {}: reuse was not asked for",
            before.run
        );
    }
    let said: Vec<String> = changed
        .iter()
        .map(|(name, a, b)| format!("{name} was {a} in run {}, is {b}", before.run))
        .collect();
    format!("ran: {}", said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_part_of_the_key_that_differs_is_named() {
        let found = differences(
            &json!({"a": {"x": 1, "y": 2}, "b": 3}),
            &json!({"a": {"x": 1, "y": 4}, "c": 5}),
        );
        let names: Vec<_> = found.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(names, ["a.y", "b", "c"]);
    }
}
