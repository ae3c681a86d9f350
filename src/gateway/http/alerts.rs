//! Alerts and strategies over HTTP, and the metrics.

use super::{
    Problem, Shared,
    access::Caller,
    commands,
    reply::{document, limited, query},
    validators,
};
use crate::gateway::{
    alerts::{self, AlertBoard},
    command::GatewayCommand,
};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload, block},
};
use alidade_alerts::{record::BOUNDS_S, strategy::Strategy};
use serde::Deserialize;
use serde_json::json;
use std::{fmt::Write, sync::Arc};

/// Largest body that brings the text of a strategy, bytes.
const STRATEGY_LIMIT: usize = 1 << 20;
/// Longest text of a strategy, characters; in JSON each may take twelve bytes.
const LONGEST_TEXT: usize = 65_536;
/// Days that a dry run looks back when it is not told.
const DAYS: f64 = 30.0;

fn board(shared: &Shared) -> Result<Arc<AlertBoard>, Problem> {
    let desk = shared.ports.alerts.as_ref();
    let desk = desk.ok_or_else(|| Problem::not_found("this daemon shows no alerts"))?;
    Ok(desk.board.borrow().clone())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: Option<u32>,
}

/// `{"alerts": [...], "stages": {...}}`: the newest events first, and how long each stage takes.
pub async fn list(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asked: Limit = query(&request)?;
    let limit = limited(asked.limit, 100, 1000)? as usize;
    let board = board(&shared)?;
    let lines = alerts::lines(board.records.values(), limit);
    document(&json!({ "alerts": lines, "stages": board.stages, "bounds_s": BOUNDS_S }))
}

/// Everything about one event.
pub async fn show(event: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let board = board(&shared)?;
    let record = board.records.get(event.as_str());
    let record = record.ok_or_else(|| Problem::not_found("there is no such event"))?;
    document(&alerts::whole(record))
}

/// The strategies that hold, and the changes with who, when, and the file before.
pub async fn strategies(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let board = board(&shared)?;
    document(&json!({ "strategies": *board.strategies, "changes": *board.changes }))
}

fn named<'a>(board: &'a AlertBoard, name: &str) -> Option<&'a Strategy> {
    board.strategies.iter().find(|strategy| strategy.name == name)
}

/// One strategy; its `ETag` is what a change of it is sent with.
pub async fn strategy(name: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let board = board(&shared)?;
    let found = named(&board, &name);
    document(found.ok_or_else(|| Problem::not_found(format!("there is no strategy {name}")))?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    /// The file, TOML or YAML.
    text: String,
    days: Option<f64>,
}

fn faulty(lines: &[String]) -> Problem {
    Problem::bad_request(lines.join("; "))
}

async fn proposed(request: &HttpRequest, payload: Payload) -> Result<Proposed, Problem> {
    let asked: Proposed = commands::json_body(request, payload, STRATEGY_LIMIT).await?;
    let long = asked.text.chars().count();
    if (1..=LONGEST_TEXT).contains(&long) {
        Ok(asked)
    } else {
        Err(Problem::bad_request(format!(
            "text: {long} characters are outside 1 to {LONGEST_TEXT}"
        )))
    }
}

/// `{"text": "...", "days": 30}`: what the strategy would have made of past alerts. Changes nothing.
pub async fn dry_run(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asked = proposed(&request, payload).await?;
    let days = asked.days.unwrap_or(DAYS);
    if !(0.0..=3660.0).contains(&days) {
        return Err(Problem::bad_request(format!("days {days} is outside 0 to 3660")));
    }
    let board = board(&shared)?;
    let now = shared.ports.snapshot.borrow().now;
    let (Some(desk), Some(unit)) = (shared.ports.alerts.clone(), board.unit.clone()) else {
        return Err(Problem::not_found("this daemon has not begun yet"));
    };
    let since = now.plus_seconds(-days * 86_400.0);
    let told = block(move || {
        // What an event is depends on what was said of it before.
        let packets = (desk.packets)(since.plus_seconds(-86_400.0))?;
        Ok::<_, String>(alerts::dry_run(&asked.text, &board.strategies, &unit, &packets, since))
    });
    let told = told.await.map_err(|e| Problem::internal(e.to_string()))?;
    let told = told.map_err(Problem::internal)?;
    document(&told.map_err(|lines| faulty(&lines))?)
}

/// `{"text": "..."}` with `If-Match`, or with `If-None-Match: *` for a new one: the strategy holds from now on; the one of
/// its name is kept in the journal.
pub async fn apply(
    request: HttpRequest,
    name: Path<String>,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let asked = proposed(&request, payload).await?;
    let board = board(&shared)?;
    let (strategy, _, _) = alerts::proposed(&asked.text, &board.strategies).map_err(|lines| faulty(&lines))?;
    if strategy.name != *name {
        let told = format!("the text is of the strategy {}, the address of {name}", strategy.name);
        return Err(Problem::bad_request(told));
    }
    // What is no strategy at all is refused as such, whatever was seen before.
    let current = named(&board, &name).map(validators::tag_of).transpose()?;
    validators::must_match(request.headers(), current.as_deref())?;
    commands::send_and_answer(&shared, GatewayCommand::ChangeStrategy(asked.text), &caller).await
}

/// Counters, ages and latencies in Prometheus' text format (version 0.0.4).
pub async fn metrics(shared: Data<Shared>) -> HttpResponse {
    let snapshot = shared.ports.snapshot.borrow().clone();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = counters(&mut text, &snapshot.counters);
    let _ = writeln!(text, "# TYPE alidade_snapshot_age_seconds gauge");
    let _ = writeln!(text, "alidade_snapshot_age_seconds {:.3}", shared.hub.snapshot_age_s());
    let _ = writeln!(text, "# TYPE alidade_journal_entries gauge");
    let _ = writeln!(text, "alidade_journal_entries {}", snapshot.journal_seq);
    let _ = latencies(&mut text, &snapshot.alert_stages);
    HttpResponse::Ok()
        .insert_header(("Content-Type", "text/plain; version=0.0.4; charset=utf-8"))
        .body(text)
}

fn counters(text: &mut String, counters: &std::collections::BTreeMap<String, u64>) -> std::fmt::Result {
    for (name, value) in counters {
        writeln!(
            text,
            "# TYPE alidade_{name}_total counter\nalidade_{name}_total {value}"
        )?;
    }
    Ok(())
}

/// Classes are added up, as the format wants them.
fn latencies(
    text: &mut String,
    stages: &std::collections::BTreeMap<String, alidade_alerts::record::Histogram>,
) -> std::fmt::Result {
    let name = "alidade_alert_stage_seconds";
    writeln!(
        text,
        "# HELP {name} Seconds from the arrival of an event's first packet to the stage; for event and notice_sent \
         from there to the arrival."
    )?;
    writeln!(text, "# TYPE {name} histogram")?;
    for (stage, histogram) in stages {
        let mut sum = 0;
        for (class, count) in histogram.counts.iter().enumerate() {
            sum += count;
            let bound = BOUNDS_S.get(class).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            writeln!(text, "{name}_bucket{{stage=\"{stage}\",le=\"{bound}\"}} {sum}")?;
        }
        writeln!(text, "{name}_sum{{stage=\"{stage}\"}} {}", histogram.sum_s)?;
        writeln!(text, "{name}_count{{stage=\"{stage}\"}} {}", histogram.count)?;
    }
    Ok(())
}
