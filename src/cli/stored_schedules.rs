//! `alidade schedule --stored`: the schedules that the daemon made, when and why; `--compare` takes them by their ids.

use super::{
    CliError,
    remote::{ServerArgs, part},
};
use crate::{
    settings::Settings,
    store::{Durability, OpenOptions, Store, StoreError},
};
use alidade_model::{schedule::Schedule, time::UtcTime};
use alidade_scheduling::{compare::Written, report::CommandError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::Path;

fn failed(error: StoreError) -> CommandError {
    CommandError::Failed(error.to_string())
}

fn store(config: &Path) -> Result<Store, CommandError> {
    let settings = Settings::load(config).map_err(|e| CommandError::BadInput(e.to_string()))?;
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Relaxed,
    };
    Store::open(&settings.database.url, options).map_err(|e| CommandError::BadInput(e.to_string()))
}

/// The newest schedule of that id, as a side of a comparison.
pub fn written(config: &Path, daemon: &ServerArgs, id: &str) -> Result<Written, CommandError> {
    Ok(Written::of(&one(config, daemon, id)?))
}

/// What a daemon elsewhere says.
fn told(error: CliError) -> CommandError {
    match error {
        CliError::BadInput(text) => CommandError::BadInput(text),
        CliError::Failed(text) => CommandError::Failed(text),
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, CommandError> {
    serde_json::from_value(value).map_err(|e| CommandError::Failed(format!("the daemon's answer: {e}")))
}

fn one(config: &Path, daemon: &ServerArgs, id: &str) -> Result<Schedule, CommandError> {
    if let Some(remote) = daemon.elsewhere().map_err(told)? {
        return read(remote.get(&format!("/api/v1/schedules/{}", part(id))).map_err(told)?);
    }
    let found = store(config)?.schedule(id).map_err(failed)?;
    found.ok_or_else(|| CommandError::BadInput(format!("{id} is neither a file nor a schedule of the database")))
}

fn newest(config: &Path, daemon: &ServerArgs, limit: u32) -> Result<Vec<Schedule>, CommandError> {
    match daemon.elsewhere().map_err(told)? {
        Some(remote) => {
            let page = remote.get(&format!("/api/v1/schedules?limit={limit}")).map_err(told)?;
            read(page["schedules"].clone())
        }
        None => store(config)?.schedules(limit).map_err(failed),
    }
}

/// The newest stored schedules, or the one of that id, as text or JSON.
pub fn shown(config: &Path, daemon: &ServerArgs, id: &str, limit: u32, json: bool) -> Result<String, CommandError> {
    if id.is_empty() {
        let list = newest(config, daemon, limit)?;
        return if json { document(&list) } else { Ok(table(&list)) };
    }
    let schedule = one(config, daemon, id)?;
    if json { document(&schedule) } else { Ok(rows(&schedule)) }
}

fn document(value: &impl Serialize) -> Result<String, CommandError> {
    serde_json::to_string_pretty(value).map_err(|e| CommandError::Failed(e.to_string()))
}

/// A line a schedule, newest first: when, why, and how good.
fn table(list: &[Schedule]) -> String {
    let line = |s: &Schedule| {
        let gap = 100.0 * (1.0 - s.objective / s.upper_bound.max(1e-9));
        format!(
            "{:<22} {}  {:>4} planned {:>4} not  gap {gap:>5.2} %  {}\n",
            s.id,
            s.made_at.chrono().format("%Y-%m-%d %H:%M:%S"),
            s.placed.len(),
            s.unplaced.len(),
            s.cause
        )
    };
    if list.is_empty() {
        return "no schedule has been made yet\n".into();
    }
    list.iter().map(line).collect()
}

/// A line a sequence: its place, or why it has none.
fn rows(schedule: &Schedule) -> String {
    let clock = |t: UtcTime| t.chrono().format("%H:%M:%S").to_string();
    let mut text = table(std::slice::from_ref(schedule));
    for p in &schedule.placed {
        text.push_str(&format!("  {} - {}  {}\n", clock(p.start), clock(p.end), p.sequence));
    }
    for u in &schedule.unplaced {
        text.push_str(&format!("  not planned          {:<16} {}\n", u.sequence, u.sentence));
    }
    text
}
