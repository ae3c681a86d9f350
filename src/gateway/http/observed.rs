//! Targets with their data: which there are, the frames of one, its light curve. Everybody sees what is their own; who may
//! read all data sees everybody's. Somebody else's is not told apart from none.

use super::{
    Problem, Shared,
    access::Caller,
    records::ask,
    reply::{document, limited, query},
};
use crate::{
    observed::{self, FRAMES, MOST_FRAMES, Measurement, ToMeasure},
    store::targets::FrameFilter,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path, block},
};
use alidade_accounts::Permission;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// A longer text is no name.
const LONGEST: usize = 100;
/// How long somebody waits for others' curves; then they are to come again.
const PATIENCE: Duration = Duration::from_secs(30);

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no target {name}"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    text: Option<String>,
    before: Option<u64>,
    limit: Option<u32>,
}

/// `?text=&before=&limit=`: targets that there are frames of, those observed last first; read on with `next_before`.
pub async fn list(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let Wanted { text, before, limit } = query(&request)?;
    let limit = limited(limit, 50, 1000)?;
    let text = text.unwrap_or_default();
    if text.chars().count() > LONGEST {
        return Err(Problem::bad_request(format!("a name has at most {LONGEST} characters")));
    }
    let own = caller.only_own(Permission::ReadAllData)?;
    let page = ask(&shared, move |store| {
        observed::targets(store, own.as_deref(), &text, before, limit)
    });
    document(&page.await?)
}

/// One target with the sequences that asked for it.
pub async fn show(name: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let own = caller.only_own(Permission::ReadAllData)?;
    let name = name.into_inner();
    let asked = name.clone();
    let found = ask(&shared, move |store| observed::target(store, own.as_deref(), &asked)).await?;
    document(&found.ok_or_else(|| unknown(&name))?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frames {
    filter: Option<String>,
    before: Option<u64>,
    limit: Option<u32>,
}

/// `?filter=&before=&limit=`: its frames, the newest first; read on with `next_before`.
pub async fn frames(
    request: HttpRequest,
    name: Path<String>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Frames { filter, before, limit } = query(&request)?;
    let limit = limited(limit, 100, 1000)?;
    let own = caller.only_own(Permission::ReadAllData)?;
    let name = name.into_inner();
    let asked = name.clone();
    let found = ask(&shared, move |store| {
        let wanted = FrameFilter {
            own: own.as_deref(),
            filter: filter.as_deref(),
            before,
        };
        observed::frames(store, &asked, &wanted, limit)
    });
    document(&found.await?.ok_or_else(|| unknown(&name))?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Curve {
    ra_deg: Option<f64>,
    dec_deg: Option<f64>,
    filter: Option<String>,
    limit: Option<u32>,
}

/// `?ra_deg=&dec_deg=&filter=&limit=`: the brightness of the target over its newest calibrated frames, or of another place
/// on them. Curves are measured one after another, off the threads that answer.
pub async fn light_curve(
    request: HttpRequest,
    name: Path<String>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let wanted: Curve = query(&request)?;
    let limit = limited(wanted.limit, FRAMES, MOST_FRAMES)?;
    let within = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
        Some(value) if !(low..=high).contains(&value) => Err(Problem::bad_request(format!(
            "{name} {value} is outside {low} to {high} degrees"
        ))),
        fine => Ok(fine),
    };
    let ra_deg = within("ra_deg", wanted.ra_deg, 0.0, 360.0)?;
    let dec_deg = within("dec_deg", wanted.dec_deg, -90.0, 90.0)?;
    let own = caller.only_own(Permission::ReadAllData)?;
    let name = name.into_inner();
    let (asked, filter) = (name.clone(), wanted.filter);
    let found = ask(&shared, move |store| {
        let wanted = FrameFilter {
            own: own.as_deref(),
            filter: filter.as_deref(),
            before: None,
        };
        observed::to_measure(store, &asked, &wanted, limit)
    });
    let ToMeasure { place, frames } = found.await?.ok_or_else(|| unknown(&name))?;
    let place = (ra_deg.unwrap_or(place.0), dec_deg.unwrap_or(place.1));
    let turn = actix_web::rt::time::timeout(PATIENCE, shared.measuring.acquire()).await;
    let Ok(Ok(turn)) = turn else {
        let busy = "other light curves are being measured";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "come again", busy);
        return Err(problem.retry_after(10.0));
    };
    let bench = shared.clone();
    let curve = block(move || {
        let asked = Measurement {
            data_dir: &bench.ports.data_dir,
            settings: bench.ports.settings.as_deref(),
            place,
        };
        bench.curves.curve(&asked, &frames, limit as usize)
    })
    .await
    .map_err(|cause| Problem::internal(cause.to_string()))?;
    drop(turn);
    let curve = curve.map_err(|cause| {
        let title = "there is nothing to measure";
        Problem::new(StatusCode::CONFLICT, "nothing-to-measure", title, cause)
    })?;
    document(&json!(curve))
}
