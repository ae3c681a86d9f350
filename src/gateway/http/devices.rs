//! Devices: what each says of itself, how it was over the last day, when it was away, and what it was told.
//!
//! What is to be said to a device goes the way of every command (`POST /api/v1/commands`, `"command": "device"`).

use super::{
    Problem, Shared, nights,
    records::ask,
    reply::{document, query},
};
use crate::{daemon::consult, gateway::snapshot::DeviceView};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use alidade_model::journal::{Entry, Fact};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Lines of one device's past.
const MOST_LINES: usize = 500;

/// What the journal says of devices since the start of the daemon: model, version, link, first reading, garbage. With the
/// instant of the start.
pub async fn journaled(shared: &Shared) -> Result<(Option<Value>, BTreeMap<String, Map<String, Value>>), Problem> {
    if shared.ports.records.is_none() {
        return Ok((None, BTreeMap::new()));
    }
    let now = nights::now(shared);
    let (started_at, entries) = ask(shared, move |store| {
        let Some(start) = store.last_entry(Some("started"))? else {
            return Ok((None, Vec::new()));
        };
        let kinds = ["device_identified", "device_link", "device_read", "device_garbage"];
        let entries = store.entries_between(&kinds, start.at, now.plus_seconds(60.0))?;
        Ok((Some(start.at), entries))
    })
    .await?;
    Ok((started_at.map(|at| json!(at)), rows(&entries)))
}

fn rows(entries: &[Entry]) -> BTreeMap<String, Map<String, Value>> {
    let mut devices: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for entry in entries {
        let (device, facts) = match &entry.fact {
            Fact::DeviceIdentified { device, model, version } => {
                (device, vec![("model", json!(model)), ("version", json!(version))])
            }
            Fact::DeviceLink { device, up, cause } => (
                device,
                vec![("up", json!(up)), ("since", json!(entry.at)), ("cause", json!(cause))],
            ),
            Fact::DeviceRead { device } => (device, vec![("first_read", json!(entry.at))]),
            Fact::DeviceGarbage { device, what, total } => {
                (device, vec![("garbage", json!(total)), ("last_garbage", json!(what))])
            }
            _ => continue,
        };
        let row = devices.entry(device.clone()).or_default();
        row.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    devices
}

/// What can be said to devices of a kind; `says` are beginnings of sayings.
fn language(kind: &str) -> Value {
    let words = consult::vocabulary(kind);
    json!({ "get": words.get, "set": words.set, "do": words.act })
}

/// Every device as it is now, and what can be said to it.
pub async fn list(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let snapshot = shared.ports.snapshot.borrow().clone();
    let kinds: BTreeMap<&str, Value> = snapshot
        .devices
        .iter()
        .map(|device| (device.kind.as_str(), language(&device.kind)))
        .collect();
    document(&json!({ "now": snapshot.now, "devices": snapshot.devices, "language": kinds }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    hours: Option<u32>,
}

/// `?hours=`: one device with its numbers of the last day, and from the journal of so many hours (24 if nothing is said)
/// its link and what it was told, the newest first.
pub async fn show(request: HttpRequest, name: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let Past { hours } = query(&request)?;
    let hours = hours.unwrap_or(24);
    if !(1..=168).contains(&hours) {
        return Err(Problem::bad_request(format!("hours {hours} is outside 1 to 168")));
    }
    let snapshot = shared.ports.snapshot.borrow().clone();
    let known = snapshot.devices.iter().find(|device| device.device == *name);
    let device: DeviceView = known
        .cloned()
        .ok_or_else(|| Problem::not_found(format!("there is no device {name}")))?;
    let now = snapshot.now;
    let wanted = device.device.clone();
    let lines = match shared.ports.records.is_some() {
        false => Vec::new(),
        true => {
            let kinds = ["device_command", "device_link", "device_garbage"];
            let from = now.plus_seconds(-3600.0 * f64::from(hours));
            let all = ask(&shared, move |store| {
                store.entries_between(&kinds, from, now.plus_seconds(60.0))
            });
            all.await?
                .iter()
                .rev()
                .filter_map(|entry| line(entry, &wanted))
                .take(MOST_LINES)
                .collect()
        }
    };
    let telemetry = shared.hub.telemetry(&device.device);
    let language = language(&device.kind);
    document(&json!({ "now": now, "device": device, "telemetry": telemetry, "past": lines, "language": language }))
}

/// One line of a device's past; none for what is about another one.
fn line(entry: &Entry, wanted: &str) -> Option<Value> {
    let (device, what, text) = match &entry.fact {
        Fact::DeviceCommand { device, command } => (device, "command", command.clone()),
        Fact::DeviceLink { device, up: true, .. } => (device, "link", "up".to_owned()),
        Fact::DeviceLink { device, cause, .. } => (device, "link", format!("down: {cause}")),
        Fact::DeviceGarbage { device, what, .. } => (device, "garbage", what.clone()),
        _ => return None,
    };
    (device == wanted).then(|| json!({ "at": entry.at, "what": what, "text": text }))
}
