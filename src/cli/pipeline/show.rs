//! What is there, what was done, and why.

use super::{CliError, document, print, wrong};
use crate::processing::Workshop;
use alidade_pipeline::{
    port::{AttemptRow, LogRow, Role, RunFilter, RunReads, RunRecord, StoreFault},
    provenance,
    report::{self, why},
};
use serde_json::{Value, json};
use std::time::Duration;

fn failed(fault: StoreFault) -> CliError {
    CliError::failed(fault.to_string())
}

fn unknown(run: &str) -> CliError {
    CliError::bad_input(format!("there is no run {run}"))
}

pub fn list(shop: &Workshop, machine: bool) -> Result<u8, CliError> {
    let found = shop.collection();
    let releases = match shop.reading() {
        Ok(mut store) => store.releases().map_err(failed)?,
        // Before the first run there is no database, and nothing is registered.
        Err(_) => Vec::new(),
    };
    if machine {
        let pipelines: Vec<Value> = found.summary();
        return document(&json!({ "pipelines": pipelines, "registered": releases, "faults": found.faults }));
    }
    let mut text = String::new();
    for plugin in &found.plugins {
        let id = &plugin.descriptor.identification;
        text.push_str(&format!(
            "plugin {} {}: {}\n",
            id.identifier, plugin.descriptor.release.version, id.name
        ));
        for pipeline in &plugin.extras.pipelines {
            let title = if pipeline.title.is_empty() {
                &pipeline.description
            } else {
                &pipeline.title
            };
            text.push_str(&format!("  pipeline {:<20} {title}\n", pipeline.name));
        }
        for command in alidade_pipeline::commands::tree(&plugin.extras) {
            let help = command.text.help.as_deref().unwrap_or_default();
            text.push_str(&format!("  command  {:<20} {help}\n", command.text.name));
        }
    }
    for release in releases {
        text.push_str(&format!(
            "registered {} {} {} of {}\n",
            release.kind, release.identifier, release.version, release.date
        ));
    }
    for fault in &found.faults {
        text.push_str(&format!("fault {fault}\n"));
    }
    print(&text).map(|()| 0)
}

pub fn show(shop: &Workshop, name: &str, dot: bool, machine: bool) -> Result<u8, CliError> {
    let found = shop.collection();
    if let Some((plugin, pipeline)) = found.runnable(name) {
        let topology = pipeline.topology(None, None).map_err(|faults| {
            CliError::bad_input(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        if dot {
            return print(&topology.dot(&pipeline.name)).map(|()| 0);
        }
        if machine {
            return document(&json!({ "plugin": plugin.id(), "pipeline": pipeline, "topology": topology }));
        }
        let mut text = format!("{} of {}: {}\n", pipeline.name, plugin.id(), pipeline.title);
        pipeline
            .chains
            .iter()
            .for_each(|chain| text.push_str(&format!("  {chain}\n")));
        for of in &pipeline.loops {
            text.push_str(&format!("  loop {}: {} to {}\n", of.name, of.start, of.end));
        }
        return print(&text).map(|()| 0);
    }
    if let Ok(mut store) = shop.reading()
        && let Some(run) = store.run(name).map_err(failed)?
    {
        return one(store.as_mut(), &run, machine);
    }
    Err(CliError::bad_input(format!("there is no pipeline and no run {name}")))
}

/// A run with everything in it.
pub fn run_document(store: &mut dyn RunReads, run: &RunRecord) -> Result<Value, CliError> {
    let attempts = store.attempts(&run.id).map_err(failed)?;
    let targets = store.targets(&run.id).map_err(failed)?;
    let exceptions = store.exceptions(&run.id).map_err(failed)?;
    let products: Vec<_> = targets.into_iter().filter(|t| t.role == Role::Out).collect();
    let mut whole = json!({ "run": run, "attempts": attempts, "targets": products, "exceptions": exceptions });
    whole["exit_code"] = run.exit_code().into();
    Ok(whole)
}

fn row(attempt: &AttemptRow) -> String {
    let place = match attempt.iteration {
        Some(i) => format!("{}.{i}", attempt.node),
        None => attempt.node.clone(),
    };
    let time = match (attempt.started, attempt.ended) {
        (Some(a), Some(b)) => format!("{:.3} s", b.seconds_since(a)),
        _ => String::new(),
    };
    format!(
        "  {place:<24} {:<10} {:<7} {time:>10}  {}\n",
        attempt.state.as_str(),
        attempt.status.as_str(),
        attempt.reason
    )
}

fn one(store: &mut dyn RunReads, run: &RunRecord, machine: bool) -> Result<u8, CliError> {
    if machine {
        return document(&run_document(store, run)?);
    }
    let mut text = format!("{}: {} ({}) {}\n", run.id, run.state, run.status, run.cause);
    store
        .attempts(&run.id)
        .map_err(failed)?
        .iter()
        .for_each(|a| text.push_str(&row(a)));
    for target in store.targets(&run.id).map_err(failed)? {
        if target.role == Role::Out && !target.sha256.is_empty() {
            text.push_str(&format!(
                "  product {} {} bytes {}\n",
                target.label,
                target.size,
                &target.sha256[..12]
            ));
        }
    }
    print(&text).map(|()| 0)
}

pub fn status(shop: &Workshop, run: Option<&str>, limit: u16, machine: bool) -> Result<u8, CliError> {
    let mut store = shop.reading().map_err(wrong)?;
    if let Some(id) = run {
        let run = store.run(id).map_err(failed)?.ok_or_else(|| unknown(id))?;
        return one(store.as_mut(), &run, machine);
    }
    let filter = RunFilter {
        packages: true,
        limit: i64::from(limit),
        ..RunFilter::default()
    };
    let runs = store.runs(&filter).map_err(failed)?;
    if machine {
        return document(&json!({ "runs": runs }));
    }
    let mut text = String::new();
    for run in &runs {
        text.push_str(&format!(
            "{:<40} {:<12} {:<20} {}\n",
            run.id, run.state, run.status, run.cause
        ));
    }
    print(&text).map(|()| 0)
}

/// A line of a log, for people.
pub fn line(row: &LogRow) -> String {
    let place = if row.node.is_empty() {
        String::new()
    } else {
        format!("{}: ", row.node)
    };
    let level = if row.level == "info" {
        String::new()
    } else {
        format!("{} ", row.level)
    };
    format!(
        "{} {level}{place}{}\n",
        row.at.chrono().format("%H:%M:%S%.3f"),
        row.text
    )
}

pub fn log(shop: &Workshop, id: &str, follow: bool, from: u64, machine: bool) -> Result<u8, CliError> {
    let mut last = from;
    loop {
        // Opened anew each turn: what reads without a trace sees the database as it was when opened.
        let mut store = shop.reading().map_err(wrong)?;
        let run = store.run(id).map_err(failed)?.ok_or_else(|| unknown(id))?;
        let rows = store.log(id, last, 10_000).map_err(failed)?;
        for row in &rows {
            last = row.line;
            if machine {
                print(&format!("{}\n", serde_json::to_string(row).unwrap_or_default()))?;
            } else {
                print(&line(row))?;
            }
        }
        if rows.is_empty() && (!follow || run.ended.is_some()) {
            return Ok(if follow { run.exit_code() } else { 0 });
        }
        if rows.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

pub fn explain(shop: &Workshop, id: &str, task: Option<&str>, machine: bool) -> Result<u8, CliError> {
    let mut store = shop.reading().map_err(wrong)?;
    let run = store.run(id).map_err(failed)?.ok_or_else(|| unknown(id))?;
    let attempts = store.attempts(id).map_err(failed)?;
    let earlier = earlier(store.as_mut(), &run)?;
    let mut told = Vec::new();
    for attempt in attempts
        .iter()
        .filter(|a| task.is_none_or(|t| a.node == t || a.task == t))
    {
        let before = earlier
            .iter()
            .find(|a| a.node == attempt.node && a.item == attempt.item && a.plugin == attempt.plugin);
        told.push((attempt, why(attempt, before)));
    }
    if told.is_empty() {
        return Err(CliError::bad_input(format!(
            "run {id} has no task {}",
            task.unwrap_or("?")
        )));
    }
    if machine {
        let all: Vec<Value> = told
            .iter()
            .map(|(a, why)| json!({ "node": a.node, "iteration": a.iteration, "key": a.key, "parts": a.key_parts, "why": why }))
            .collect();
        return document(&json!({ "run": id, "tasks": all }));
    }
    for (attempt, why) in told {
        let tail = attempt.iteration.map_or(String::new(), |i| format!(".{i}"));
        print(&format!("{}{tail} {why}\n", attempt.node))?;
    }
    Ok(0)
}

/// Attempts that ended well in runs of the same pipeline before this one, newest run first.
fn earlier(store: &mut dyn RunReads, run: &RunRecord) -> Result<Vec<AttemptRow>, CliError> {
    let filter = RunFilter {
        pipeline: Some(run.pipeline.clone()),
        limit: 50,
        ..RunFilter::default()
    };
    let mut found = Vec::new();
    for other in store.runs(&filter).map_err(failed)? {
        if other.id != run.id && other.created <= run.created {
            let attempts = store.attempts(&other.id).map_err(failed)?;
            found.extend(attempts.into_iter().filter(|a| {
                a.state == alidade_pipeline::port::JobState::Terminated
                    && a.status != alidade_pipeline::port::JobStatus::Error
            }));
        }
    }
    Ok(found)
}

pub fn provenance(shop: &Workshop, product: &str) -> Result<u8, CliError> {
    let mut store = shop.reading().map_err(wrong)?;
    let found = provenance::of_product(store.as_mut(), product).map_err(failed)?;
    document(&found.ok_or_else(|| CliError::bad_input(format!("there is no product {product}")))?)
}

pub fn report(shop: &Workshop, limit: i64, machine: bool) -> Result<u8, CliError> {
    let mut store = shop.reading().map_err(wrong)?;
    let activity = report::activity(store.as_mut(), limit).map_err(failed)?;
    if machine {
        return document(&json!({ "pipelines": activity }));
    }
    print(&report::markdown(&activity)).map(|()| 0)
}
