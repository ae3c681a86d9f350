//! The data's life over HTTP.
//!
//! ```text
//! /api/v1/data                 units, counts, reports, deliveries, documents, metadata, unread messages, journal
//! /api/v1/data/events          server-sent events: `changed` when there is something new
//! /api/v1/data/history?unit=   every change of a unit
//! /api/v1/data/report?unit=    its newest pipeline report (XML)
//! /api/v1/data/prov?unit=      its provenance (PROV-JSON)
//! /api/v1/data/archive/{name}  a document of the archive
//! /api/v1/data/review          POST {"unit", "verdict", "reviewer", "role", "comment"}
//! /api/v1/data/scs?RA=&DEC=&SR=     simple cone search     \
//! /api/v1/data/sia2/query?POS=      SIA 2 style query       } ObsCore 1.1 as VOTable
//! /api/v1/data/obscore              everything             /
//! /api/v1/data/links?ID=       what belongs to a product (DataLink)
//! /weblogs/{path}              unpacked weblogs
//! ```

use super::{
    Problem, Shared,
    access::Caller,
    commands,
    events::ChannelBody,
    products,
    routes::{read_only, write_only},
};
use actix_web::{
    HttpRequest, HttpResponse,
    body::BodySize,
    http::header,
    web::{Bytes, Data, Path as UrlPath, Payload, Query, ServiceConfig, block},
};
use alidade_accounts::{Permission, Role};
use alidade_delivery::{
    books::{Fault, Ledger, MessageState},
    desk::{Desk, Draft},
    ingest, packages,
    review::{self, ReviewRequest, Verdict},
    station::Station,
    votable,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

pub type OpenLedger = Arc<dyn Fn() -> Result<Box<dyn Ledger>, String> + Send + Sync>;

/// What the pages about the data are made of.
#[derive(Clone)]
pub struct DataDesk {
    pub station: Station,
    /// A connection to the books of the caller's own.
    pub ledger: OpenLedger,
    /// Accounts that may review, with their role; whoever may command when there are none.
    pub reviewers: BTreeMap<String, String>,
}

/// Rows of each table.
const ROWS: i64 = 200;
const MANY: i64 = 100_000;
const REVIEW_LIMIT: usize = 64 << 10;
/// How long the review may take to be answered.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(read_only("/api/v1/data", overview))
        .service(read_only("/api/v1/data/events", changes))
        .service(read_only("/api/v1/data/history", history))
        .service(read_only("/api/v1/data/report", report))
        .service(read_only("/api/v1/data/prov", provenance))
        .service(read_only("/api/v1/data/scs", scs))
        .service(read_only("/api/v1/data/sia2/query", sia))
        .service(read_only("/api/v1/data/obscore", everything))
        .service(read_only("/api/v1/data/links", links))
        .service(write_only("/api/v1/data/review", give_review))
        .service(read_only("/api/v1/data/archive/{name:.*}", document))
        .service(read_only("/weblogs/{path:.*}", weblog));
}

fn desk(shared: &Shared) -> Result<DataDesk, Problem> {
    let desk = shared.ports.data.clone();
    desk.ok_or_else(|| Problem::not_found("this daemon keeps no station of the delivery"))
}

/// Runs a read in a transaction of its own, on a blocking thread.
async fn ask<T: Send + 'static>(
    desk: DataDesk,
    work: impl FnMut(&mut Desk) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Problem> {
    let done = block(move || {
        let mut ledger = (desk.ledger)()?;
        desk.station
            .at_desk(ledger.as_mut(), work)
            .map_err(|fault| fault.to_string())
    });
    let done = done.await.map_err(|e| Problem::internal(e.to_string()))?;
    done.map_err(Problem::internal)
}

fn answer(kind: &'static str, body: impl Into<String>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .body(body.into())
}

const JSON: &str = "application/json";
const VOTABLE: &str = "application/x-votable+xml;serialization=tabledata";

async fn overview(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let desk = desk(&shared)?;
    let (here, home) = (desk.station.sites.here.clone(), desk.station.sites.home.clone());
    let may: Vec<String> = desk.reviewers.keys().cloned().collect();
    let value = ask(desk, move |desk| {
        let units = desk.books.units(None, ROWS)?;
        let units: Vec<Value> = units
            .iter()
            .map(|u| {
                json!({
                    "uid": u.uid, "program": u.program, "state": u.state.as_str(), "substate": u.substate(),
                    "executive": u.executive, "changed": u.changed,
                })
            })
            .collect();
        let mut records = |kind: &str, keys: &[&str]| -> Result<Vec<Value>, Fault> {
            let mut all = desk.books.records(kind, None, None, MANY)?;
            all.reverse();
            all.truncate(usize::try_from(ROWS).unwrap_or(0));
            let row = |r: &alidade_delivery::books::Record| {
                let mut row = json!({ "id": r.id, "unit": r.unit, "state": r.state, "at": r.at });
                keys.iter().for_each(|key| row[*key] = r.body[*key].clone());
                row
            };
            Ok(all.iter().map(row).collect())
        };
        let reports = records(
            review::REPORT,
            &["source", "timestamp", "productsDir", "finalScore", "weblog"],
        )?;
        let deliveries = records(ingest::DELIVERY, &["progID", "complete", "dataProducts"])?;
        let documents = records(ingest::DOCUMENT, &["size", "sha256"])?;
        let reviews = records(review::REVIEW, &["reviewer", "role", "comment"])?;
        let replicas = records(alidade_delivery::replica::KIND, &["digest", "cause"])?;
        let mut metadata = desk.books.products(None, MANY)?;
        metadata.truncate(usize::try_from(ROWS).unwrap_or(0));
        Ok(json!({
            "site": here, "home": home, "reviewers": may, "roles": review::ROLES,
            "states": alidade_model::states::UnitState::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>(),
            "units": units, "counts": desk.books.counts()?, "reports": reports, "deliveries": deliveries,
            "documents": documents, "reviews": reviews, "replicas": replicas, "metadata": metadata,
            "unread": desk.books.messages(true, ROWS)?, "log": desk.books.log(ROWS)?,
        }))
    });
    Ok(answer(JSON, value.await?.to_string()))
}

/// An event whenever the bell has rung, at most five a second, and a beat when nothing happens.
async fn changes(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let desk = desk(&shared)?;
    let (events, chunks) = mpsc::channel::<Bytes>(16);
    let bell = desk.station.bell.clone();
    let stop = shared.stop.clone();
    actix_web::rt::spawn(async move {
        let mut heard = None;
        while !*stop.borrow() {
            let count = bell.count();
            let text = if heard == Some(count) {
                None
            } else {
                heard = Some(count);
                Some(format!("event: changed\ndata: {count}\n\n"))
            };
            let beat = text.is_none();
            if let Some(text) = text
                && events.send(text.into()).await.is_err()
            {
                return;
            }
            let bell = bell.clone();
            let most = Duration::from_secs(2);
            let waited = block(move || bell.wait(count, most)).await;
            if waited.is_err() || (beat && events.send("event: beat\ndata: 0\n\n".into()).await.is_err()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body(ChannelBody {
            chunks,
            size: BodySize::Stream,
        }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfUnit {
    unit: String,
}

fn of_unit(request: &HttpRequest) -> Result<String, Problem> {
    let wanted = Query::<OfUnit>::from_query(request.query_string());
    wanted
        .map(|wanted| wanted.into_inner().unit)
        .map_err(|e| Problem::bad_request(e.to_string()))
}

fn unknown(unit: &str) -> Problem {
    Problem::not_found(format!("unit {unit} is unknown, or has nothing of this kind"))
}

async fn history(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let unit = of_unit(&request)?;
    let wanted = unit.clone();
    let events = ask(desk(&shared)?, move |desk| desk.books.events(&wanted)).await?;
    if events.is_empty() {
        return Err(unknown(&unit));
    }
    Ok(answer(JSON, json!(events).to_string()))
}

async fn report(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let unit = of_unit(&request)?;
    let wanted = unit.clone();
    let newest = ask(desk(&shared)?, move |desk| review::newest_report(desk, &wanted)).await?;
    let text = newest
        .as_ref()
        .and_then(review::report_text)
        .ok_or_else(|| unknown(&unit))?;
    Ok(answer(
        "text/xml; charset=utf-8",
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

async fn provenance(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let unit = of_unit(&request)?;
    let wanted = unit.clone();
    let found = ask(desk(&shared)?, move |desk| packages::provenance(desk, &wanted)).await?;
    Ok(answer(JSON, found.ok_or_else(|| unknown(&unit))?.to_string()))
}

/// Parameters of the virtual-observatory protocols: their names in any case.
fn parameters(request: &HttpRequest) -> BTreeMap<String, String> {
    let pairs = Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = pairs.map(Query::into_inner).unwrap_or_default();
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_uppercase(), value))
        .collect()
}

async fn table(
    shared: &Shared,
    request: &HttpRequest,
    cone: Result<Option<votable::Cone>, String>,
) -> Result<HttpResponse, Problem> {
    let cone = match cone {
        Ok(cone) => cone,
        // The protocols want a table that says so, not a status.
        Err(why) => return Ok(answer(VOTABLE, votable::error(&why))),
    };
    let mut products = ask(desk(shared)?, |desk| desk.books.products(None, MANY)).await?;
    products.retain(|product| cone.is_none_or(|cone| cone.holds(product)));
    Ok(answer(VOTABLE, votable::obscore(&products, &base(request))))
}

fn base(request: &HttpRequest) -> String {
    let info = request.connection_info();
    format!("{}://{}", info.scheme(), info.host())
}

async fn everything(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    table(&shared, &request, Ok(None)).await
}

async fn scs(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let given = parameters(&request);
    let number = |key: &str| -> Result<f64, String> {
        let text = given.get(key).ok_or_else(|| format!("{key} is missing"))?;
        text.parse().map_err(|_| format!("{key}={text} is not a number"))
    };
    let cone = number("RA").and_then(|ra| {
        let (dec, radius) = (number("DEC")?, number("SR")?);
        votable::Cone::new(ra, dec, radius).map(Some)
    });
    table(&shared, &request, cone).await
}

async fn sia(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let given = parameters(&request);
    let cone = given.get("POS").map(|pos| votable::Cone::from_pos(pos)).transpose();
    table(&shared, &request, cone).await
}

async fn links(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let given = parameters(&request);
    let id = given.get("ID").cloned().unwrap_or_default();
    let name = id.rsplit_once('?').map_or(id.clone(), |(_, name)| name.to_owned());
    let found = ask(desk(&shared)?, move |desk| packages::links_of(desk, &name)).await?;
    let links = found.unwrap_or_else(|| {
        vec![votable::Link {
            error: Some(format!("NotFoundFault: {id}")),
            id,
            access_url: None,
            semantics: "#this",
            description: String::new(),
            content_type: String::new(),
            content_length: None,
        }]
    });
    Ok(answer(
        "application/x-votable+xml;content=datalink",
        votable::datalink(&links, &base(&request)),
    ))
}

async fn file(root: std::path::PathBuf, wanted: String, kind: &'static str) -> Result<HttpResponse, Problem> {
    let found = block(move || {
        let path = products::resolve(&root, Path::new(&wanted))?;
        std::fs::read(path).ok()
    });
    let bytes = found.await.map_err(|e| Problem::internal(e.to_string()))?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("there is no such file"))?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .body(bytes))
}

async fn document(name: UrlPath<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let kind = packages::media_type(&name);
    let (archive, wanted) = (desk(&shared)?.station.archive, name.into_inner());
    let found = block(move || archive.path(&wanted).ok().and_then(|path| std::fs::read(path).ok()));
    let bytes = found.await.map_err(|e| Problem::internal(e.to_string()))?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("there is no such file"))?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .body(bytes))
}

/// Pages that a pipeline wrote: shown without scripts, by the policy that all answers carry.
async fn weblog(path: UrlPath<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let mut wanted = path.into_inner();
    if wanted.is_empty() || wanted.ends_with('/') {
        wanted.push_str("index.html");
    }
    let kind = match wanted.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" | "log" => "text/plain; charset=utf-8",
        _ => packages::media_type(&wanted),
    };
    file(desk(&shared)?.station.folders.weblogs(), wanted, kind).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    unit: String,
    verdict: Verdict,
    reviewer: String,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    comment: String,
}

/// A verdict. Who is logged in reviews in their own name; somebody at the machine says in whose, of the reviewers of the
/// station if it names any. All of it goes into the audit.
async fn give_review(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let who = caller.must(Permission::Review)?;
    let wish: Wish = commands::json_body(&request, payload, REVIEW_LIMIT).await?;
    let desk = desk(&shared)?;
    let reviewer = caller.0.account.clone().unwrap_or(wish.reviewer);
    let role = match (desk.reviewers.get(&reviewer), &caller.0.account) {
        (Some(role), _) => role.clone(),
        (None, _) if !desk.reviewers.is_empty() => {
            let why = format!("{reviewer} is not among this station's reviewers");
            return Err(Problem::forbidden(why));
        }
        (None, Some(_)) => reviewing_as(caller.0.role).to_owned(),
        (None, None) => wish.role.unwrap_or_else(|| "reviewer".into()),
    };
    let review = ReviewRequest {
        unit: wish.unit,
        verdict: wish.verdict,
        reviewer,
        role,
        comment: wish.comment,
        by_way_of: who,
    };
    let answered = block(move || call(&desk, &review));
    let answered = answered.await.map_err(|e| Problem::internal(e.to_string()))?;
    let value = answered.map_err(Problem::internal)?;
    if value["status"].as_u64().is_some_and(|status| status >= 400) {
        return Err(Problem::denied(value["error"].as_str().unwrap_or("refused")));
    }
    Ok(answer(JSON, value.to_string()))
}

/// What the station calls somebody of a role who reviews.
fn reviewing_as(role: Role) -> &'static str {
    match role {
        Role::Administrator => "admin",
        Role::Operator => "operator",
        Role::Expert | Role::Observer | Role::Visitor => "reviewer",
    }
}

/// Sends the review and waits for its answer; blocks.
fn call(desk: &DataDesk, review: &ReviewRequest) -> Result<Value, String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let station = &desk.station;
    let (here, home) = (&station.sites.here, &station.sites.home);
    let answers = format!("page-{}.{here}", COUNT.fetch_add(1, Ordering::Relaxed));
    let body = serde_json::to_value(review).map_err(|e| e.to_string())?;
    let mut ledger = (desk.ledger)()?;
    let told = |fault: Fault| fault.to_string();
    station
        .at_desk(ledger.as_mut(), |desk| {
            let draft = Draft::new(&format!("review.{home}"), body.clone(), &review.reviewer);
            desk.send(draft.answered_at(&answers).living(3600.0))
        })
        .map_err(told)?;
    let patterns = [answers];
    let deadline = tokio::time::Instant::now() + ANSWER_DEADLINE;
    while tokio::time::Instant::now() < deadline {
        let heard = station.bell.count();
        let message = station.at_desk(ledger.as_mut(), |desk| {
            let mut waiting = desk.books.waiting(here, &patterns, desk.now, 1)?;
            if let Some(message) = waiting.first() {
                desk.consume(message)?;
            }
            Ok(waiting.pop())
        });
        if let Some(message) = message.map_err(told)? {
            debug_assert_ne!(message.state, MessageState::Consumed);
            return serde_json::from_str(&message.body).map_err(|e| e.to_string());
        }
        station.bell.wait(heard, Duration::from_secs(1));
    }
    Err(format!(
        "no answer from {home} yet: the review is kept and goes out with the link"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_station_knows_everybody_who_may_review() {
        for role in Role::ALL.iter().filter(|role| role.may(Permission::Review)) {
            assert!(review::ROLES.contains(&reviewing_as(*role)), "{role}");
        }
    }
}
