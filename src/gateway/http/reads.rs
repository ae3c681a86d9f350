//! What can be read: state, health, journal.

use super::{
    Problem, Shared,
    reply::{document, query, written},
};
use crate::gateway::{LineHead, snapshot::STALE_AFTER_S};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, block},
};
use serde::Deserialize;
use serde_json::json;

/// The latest snapshot; the header `X-Snapshot-Age` says how many seconds ago the daemon published it.
pub async fn status(shared: Data<Shared>) -> HttpResponse {
    let state = shared.hub.state().borrow().clone();
    HttpResponse::Ok()
        .insert_header(("Content-Type", "application/json"))
        .insert_header((
            "X-Snapshot-Age",
            format!("{:.3}", state.published.elapsed().as_secs_f64()),
        ))
        .body(state.json.to_string())
}

/// Why a sequence has no place tonight: the reason, its sentence, and the excluded stretches of the night. 404 for one
/// that has a place or was not considered.
pub async fn why(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let snapshot = shared.ports.snapshot.borrow().clone();
    let row = snapshot.unplanned.iter().find(|row| row.sequence == *id);
    let row = row.ok_or_else(|| Problem::not_found(format!("sequence {id} is not among those without a place")))?;
    document(&json!({
        "sequence": row.sequence,
        "target": row.target,
        "user": row.user,
        "reason": row.reason,
        "sentence": row.sentence,
        "excluded": row.excluded,
        "chance": row.chance,
    }))
}

/// 200 while the daemon publishes; 503 when only the gateway is still alive.
pub async fn health(shared: Data<Shared>) -> HttpResponse {
    let age_s = shared.hub.snapshot_age_s();
    let alive = age_s <= STALE_AFTER_S;
    let snapshot = shared.ports.snapshot.borrow().clone();
    let body = json!({
        "status": if alive { "ok" } else { "stale" },
        "snapshot_age_s": age_s,
        "version": snapshot.version,
        "boot_id": snapshot.boot_id,
        "journal_seq": snapshot.journal_seq,
    });
    let mut response = if alive {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response
        .insert_header(("Content-Type", "application/json"))
        .body(body.to_string())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// Journal entries above `after`, oldest first: `{"entries": [...], "next_after": SEQ}`. `next_after` is absent when
/// nothing followed; read on from there until it is.
pub async fn journal(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let page: Page = query(&request)?;
    let limit = page.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request(format!("limit {limit} is outside 1 to 1000")));
    }
    let lines = match shared.ports.journal_page.clone() {
        Some(read) => block(move || read(page.after, limit))
            .await
            .map_err(|cause| Problem::internal(cause.to_string()))?
            .map_err(Problem::internal)?,
        None => shared.hub.page(page.after, limit),
    };
    let mut body = String::from("{\"entries\":[");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(line);
    }
    body.push(']');
    if let Some(last) = lines.last().and_then(|line| LineHead::of(line)) {
        body.push_str(&format!(",\"next_after\":{}", last.seq));
    }
    body.push('}');
    Ok(written(body))
}
