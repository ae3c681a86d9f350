//! Pipelines and their runs over HTTP; the log also as a stream of events.
//!
//! | event | data | id |
//! |---|---|---|
//! | `line` | a line of the log | its number |
//! | `run` | state, status and cause, when they have changed | none |
//! | `end` | the same, after the last line: nothing more will come | none |

use super::{
    BODY_DEADLINE, Problem, Shared,
    access::Caller,
    commands,
    events::ChannelBody,
    packages::{CHANGE, asker},
    products,
    reply::{document, query},
};
use crate::gateway::runs::{DeskFault, LogPage, RunDesk};
use actix_web::{
    HttpRequest, HttpResponse,
    body::BodySize,
    http::StatusCode,
    web::{Bytes, Data, Path, Payload, block},
};
use alidade_accounts::Permission;
use alidade_pipeline::{packages::Asker, plan::RunRequest, port::RunFilter};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

const REQUEST_LIMIT: usize = 256 * 1024;
/// How often a follower's run is looked at; a line is seen within this and its own commit.
const LOOK: Duration = Duration::from_millis(60);

fn desk(shared: &Shared) -> Result<Arc<dyn RunDesk>, Problem> {
    shared
        .ports
        .pipelines
        .clone()
        .ok_or_else(|| Problem::not_found("this daemon runs no pipelines"))
}

async fn ask<T: Send + 'static>(
    shared: &Shared,
    question: impl FnOnce(&dyn RunDesk) -> Result<T, DeskFault> + Send + 'static,
) -> Result<T, Problem> {
    let desk = desk(shared)?;
    let answer = block(move || question(desk.as_ref()))
        .await
        .map_err(|cause| Problem::internal(cause.to_string()))?;
    answer.map_err(|fault| match fault {
        DeskFault::Unknown(_) => Problem::not_found(fault.to_string()),
        DeskFault::Bad(said) => Problem::bad_request(said),
        DeskFault::Refused(said) => Problem::denied(said),
        DeskFault::NotTheirs(said) => Problem::forbidden(said),
        DeskFault::Failed(said) => Problem::internal(said),
    })
}

/// Runs are products in the making: who may read all data sees all runs, others the observatory's and their own.
fn reader(caller: &Caller) -> Asker {
    asker(caller, Permission::ReadAllData)
}

/// The inputs of a run that is asked for over HTTP are products, named by their paths below the data folder, which the caller
/// may read; no other file of the machine. The wish then has their real places.
async fn only_products(wish: &mut RunRequest, caller: &Caller, shared: &Data<Shared>) -> Result<(), Problem> {
    for input in &mut wish.inputs {
        let (name, path) = match input.rsplit_once('=') {
            Some((name, path)) => (format!("{name}="), path),
            None => (String::new(), input.as_str()),
        };
        let place = products::readable(path, caller, shared).await?;
        *input = format!("{name}{}", place.display());
    }
    Ok(())
}

pub async fn pipelines(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    document(&ask(&shared, |desk| desk.pipelines()).await?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    pipeline: Option<String>,
    target: Option<String>,
    limit: Option<i64>,
}

pub async fn list(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let Wanted {
        pipeline,
        target,
        limit,
    } = query(&request)?;
    let limit = limit.unwrap_or(50);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request(format!("limit {limit} is outside 1 to 1000")));
    }
    let filter = RunFilter {
        pipeline,
        subject: target,
        open: false,
        // They have addresses of their own.
        packages: false,
        seen_by: reader(&caller),
        limit,
    };
    let runs = ask(&shared, move |desk| desk.runs(&filter)).await?;
    document(&json!({ "runs": runs }))
}

pub async fn show(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let (id, reader) = (id.into_inner(), reader(&caller));
    document(&ask(&shared, move |desk| desk.run(&reader, &id)).await?)
}

pub async fn start(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let who = caller.must(Permission::RunPipelines)?;
    let mut wish: RunRequest = commands::json_body(&request, payload, REQUEST_LIMIT).await?;
    only_products(&mut wish, &caller, &shared).await?;
    tracing::info!(who, pipeline = wish.pipeline, "run over http");
    let asker = asker(&caller, CHANGE);
    let id = ask(&shared, move |desk| desk.start(&asker, &wish)).await?;
    Ok(HttpResponse::Accepted()
        .insert_header(("Content-Type", "application/json"))
        .insert_header(("Location", format!("/api/v1/runs/{id}")))
        .body(json!({ "run": id }).to_string()))
}

pub async fn cancel(caller: Caller, id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let who = caller.must(Permission::RunPipelines)?;
    let id = id.into_inner();
    tracing::info!(who, run = id, "cancel over http");
    let (asked, asker) = (id.clone(), asker(&caller, CHANGE));
    ask(&shared, move |desk| desk.cancel(&asker, &asked)).await?;
    Ok(HttpResponse::build(StatusCode::ACCEPTED)
        .insert_header(("Content-Type", "application/json"))
        .body(json!({ "run": id, "outcome": "accepted" }).to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    from: Option<u64>,
    limit: Option<i64>,
}

fn from(request: &HttpRequest) -> Result<From, Problem> {
    query(request)
}

pub async fn log(
    request: HttpRequest,
    id: Path<String>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let From { from, limit } = from(&request)?;
    let limit = limit.unwrap_or(1000);
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::bad_request(format!("limit {limit} is outside 1 to 10000")));
    }
    let (id, reader) = (id.into_inner(), reader(&caller));
    let page = ask(&shared, move |desk| desk.log(&reader, &id, from.unwrap_or(0), limit)).await?;
    let next = page.rows.last().map(|row| row.line);
    document(&json!({ "lines": page.rows, "next_from": next, "run": page.run, "ended": page.ended }))
}

pub async fn stream(
    request: HttpRequest,
    id: Path<String>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let asked = from(&request)?.from.unwrap_or(0);
    // Browsers say where they were when they come back.
    let last = request
        .headers()
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok());
    let (id, reader) = (id.into_inner(), reader(&caller));
    let (first, asker) = (id.clone(), reader.clone());
    let from = last.unwrap_or(asked);
    // An unknown run is refused before the stream begins.
    let page = ask(&shared, move |desk| desk.log(&asker, &first, from, 1000)).await?;
    let (chunks, body) = mpsc::channel(16);
    actix_web::rt::spawn(follow(shared.into_inner(), reader, id, from, page, chunks));
    Ok(HttpResponse::Ok()
        .insert_header(("Content-Type", "text/event-stream; charset=utf-8"))
        .body(ChannelBody {
            chunks: body,
            size: BodySize::Stream,
        }))
}

async fn follow(
    shared: Arc<Shared>,
    reader: Asker,
    id: String,
    mut from: u64,
    mut page: LogPage,
    chunks: mpsc::Sender<Bytes>,
) {
    let mut stop = shared.stop.clone();
    let mut shown = Value::Null;
    loop {
        let mut text = String::new();
        for row in &page.rows {
            from = row.line;
            let data = serde_json::to_string(row).unwrap_or_default();
            text.push_str(&format!("event: line\nid: {from}\ndata: {data}\n\n"));
        }
        if shown != page.run {
            text.push_str(&format!("event: run\ndata: {}\n\n", page.run));
            shown = page.run.clone();
        }
        let over = page.ended && page.rows.is_empty();
        if over {
            text.push_str(&format!("event: end\ndata: {}\n\n", page.run));
        }
        // An empty piece would end the body. A client that does not read comes back by itself, from where it was.
        if !text.is_empty() {
            let sent = tokio::time::timeout(BODY_DEADLINE, chunks.send(text.into())).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        if over {
            return;
        }
        if page.rows.is_empty() {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                () = chunks.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let (asked, asker) = (id.clone(), reader.clone());
        match ask(&shared, move |desk| desk.log(&asker, &asked, from, 1000)).await {
            Ok(next) => page = next,
            Err(_) => return,
        }
    }
}
