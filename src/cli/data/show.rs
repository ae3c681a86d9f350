//! What `alidade data` shows: all of it from the station's books.

use super::{DataCommand, Office};
use crate::cli::CliError;
use alidade_delivery::{
    books::Record,
    ingest, packages, pulls, replica, review,
    unit::{Unit, UnitEvent},
    votable,
};
use serde_json::{Value, json};

pub fn show(office: &mut Office, command: &DataCommand, json: bool) -> Result<String, CliError> {
    match command {
        DataCommand::Status { unit: Some(unit), .. } => standing(office, unit, json),
        DataCommand::Status { state, .. } => overview(office, state.as_deref(), json),
        DataCommand::History { unit } => history(office, unit, json),
        DataCommand::Report { unit } => report(office, unit),
        DataCommand::Messages { unread, limit } => messages(office, *unread, *limit, json),
        DataCommand::Log { limit } => log(office, *limit, json),
        DataCommand::List { what, unit } => list(office, what, unit.as_deref(), json),
        DataCommand::Track => track(office, json),
        DataCommand::Query { cone } => query(office, cone.as_deref()),
        DataCommand::Links { name } => links(office, name),
        DataCommand::Prov { unit } => provenance(office, unit),
        DataCommand::Bag { unit, folder } => bag(office, unit, folder),
        _ => Ok(String::new()),
    }
}

fn unknown(unit: &str) -> CliError {
    CliError::failed(format!("unit {unit} is unknown"))
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

fn line(unit: &Unit) -> String {
    format!(
        "{:32} {:20} {:18} {:4} {:18} {}\n",
        unit.uid,
        unit.state.as_str(),
        unit.substate().unwrap_or("-"),
        unit.executive.as_deref().unwrap_or("-"),
        unit.program,
        unit.changed
    )
}

fn overview(office: &mut Office, state: Option<&str>, json: bool) -> Result<String, CliError> {
    if let Some(state) = state {
        state
            .parse::<alidade_model::states::UnitState>()
            .map_err(CliError::bad_input)?;
    }
    let (units, counts) = office.desk(|desk| Ok((desk.books.units(state, 1000)?, desk.books.counts()?)))?;
    if json {
        let units: Vec<Value> = units.iter().map(unit_json).collect();
        return Ok(document(&json!({ "units": units, "counts": counts })));
    }
    let mut text: String = units.iter().map(line).collect();
    for count in counts {
        text.push_str(&format!("{:10} {:20} {}\n", count.kind, count.state, count.count));
    }
    Ok(text)
}

/// A unit for machines: states as the tables name them.
pub fn unit_json(unit: &Unit) -> Value {
    json!({
        "uid": unit.uid, "program": unit.program, "recipe": unit.recipe, "executive": unit.executive,
        "state": unit.state.as_str(), "substate": unit.substate(), "created": unit.created, "changed": unit.changed,
    })
}

fn standing(office: &mut Office, uid: &str, json: bool) -> Result<String, CliError> {
    let (unit, runs, jobs, delivery, reviews) = office.desk(|desk| {
        let mut jobs = Vec::new();
        for kind in [replica::JOB, ingest::INGEST, ingest::FETCH] {
            jobs.extend(desk.books.records(kind, Some(uid), Some("ready"), 100)?);
        }
        Ok((
            desk.books.unit(uid)?,
            desk.books
                .records(alidade_delivery::driver::JOB, Some(uid), None, 100)?,
            jobs,
            desk.books.record(ingest::DELIVERY, uid)?,
            desk.books.records(review::REVIEW, Some(uid), None, 100)?,
        ))
    })?;
    let unit = unit.ok_or_else(|| unknown(uid))?;
    if json {
        return Ok(document(&json!({
            "unit": unit_json(&unit), "runs": runs, "waiting": jobs, "delivery": delivery, "reviews": reviews,
        })));
    }
    let mut text = line(&unit);
    for run in runs {
        text.push_str(&format!("  run       {} {} {}\n", run.id, run.state, reason(&run)));
    }
    for job in jobs {
        text.push_str(&format!("  waits     {} {} {}\n", job.kind, job.id, reason(&job)));
    }
    for review in reviews {
        let word = |key: &str| review.body[key].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!(
            "  review    {} by {}: {}\n",
            review.state,
            word("reviewer"),
            word("comment")
        ));
    }
    if let Some(delivery) = delivery {
        let count = delivery.body["dataProducts"].as_array().map_or(0, Vec::len);
        text.push_str(&format!("  delivery  {} ({count} products)\n", delivery.state));
    }
    Ok(text)
}

/// What a job waits for, or what went wrong with it.
fn reason(job: &Record) -> String {
    let why = job.body[pulls::WAITS].as_str().or(job.body["cause"].as_str());
    why.unwrap_or_default().to_owned()
}

fn told(event: &UnitEvent) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    format!(
        "{} {:3} {:9} {:20} -> {:20} {:24} {}\n",
        event.at,
        event.number,
        event.what,
        word(&event.from),
        word(&event.to),
        event.author,
        event.cause
    )
}

fn history(office: &mut Office, uid: &str, json: bool) -> Result<String, CliError> {
    let events = office.desk(|desk| desk.books.events(uid))?;
    if events.is_empty() {
        return Err(unknown(uid));
    }
    Ok(match json {
        true => document(&json!(events)),
        false => events.iter().map(told).collect(),
    })
}

/// The newest report of a unit with where its weblog is.
pub fn report(office: &mut Office, uid: &str) -> Result<String, CliError> {
    let newest = office.desk(|desk| review::newest_report(desk, uid))?;
    let report = newest.ok_or_else(|| CliError::failed(format!("{uid} has no pipeline report")))?;
    let bytes = review::report_text(&report).ok_or_else(|| CliError::failed("the report is garbled"))?;
    let weblog = report.body["weblog"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches(".zip")
        .to_owned();
    let pages = office.opened.station.folders.weblogs().join(&weblog);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if pages.is_dir() {
        text.push_str(&format!(
            "<!-- weblog: {} and /weblogs/{weblog}/ -->\n",
            pages.display()
        ));
    }
    Ok(text)
}

fn messages(office: &mut Office, unread: bool, limit: i64, json: bool) -> Result<String, CliError> {
    let messages = office.desk(|desk| desk.books.messages(unread, limit))?;
    if json {
        return Ok(document(&json!(messages)));
    }
    let told = |m: &alidade_delivery::books::Message| {
        let body = alidade_alerts::reason::printable(&m.body, 100);
        let reason = m.reason.as_deref().unwrap_or_default();
        format!(
            "{} {:9} {:28} {:24} {body} {reason}\n",
            m.created,
            m.state.as_str(),
            m.selector,
            m.id
        )
    };
    Ok(messages.iter().map(told).collect())
}

fn log(office: &mut Office, limit: i64, json: bool) -> Result<String, CliError> {
    let lines = office.desk(|desk| desk.books.log(limit))?;
    if json {
        return Ok(document(&json!(lines)));
    }
    let told = |l: &alidade_delivery::books::LogLine| {
        let text = alidade_alerts::reason::printable(&l.text, 300);
        format!("{} {:8} {:32} {:18} {text}\n", l.at, l.kind, l.subject, l.author)
    };
    Ok(lines.iter().map(told).collect())
}

const EVERYTHING: i64 = 100_000;

fn list(office: &mut Office, what: &str, unit: Option<&str>, json: bool) -> Result<String, CliError> {
    if what == "metadata" {
        let products = office.desk(|desk| desk.books.products(unit, EVERYTHING))?;
        if json {
            return Ok(document(&json!(products)));
        }
        return Ok(products.iter().map(|p| format!("{} {}\n", p.name, p.unit)).collect());
    }
    let kinds: &[&str] = match what {
        "replicas" => &[replica::KIND],
        "archive" => &[ingest::DOCUMENT],
        "reports" => &[review::REPORT],
        "deliveries" => &[ingest::DELIVERY],
        "reviews" => &[review::REVIEW],
        _ => &[
            alidade_delivery::driver::JOB,
            replica::JOB,
            ingest::INGEST,
            ingest::FETCH,
            alidade_delivery::evict::JOB,
        ],
    };
    let mut records: Vec<Record> = Vec::new();
    for kind in kinds {
        records.extend(office.desk(|desk| desk.books.records(kind, unit, None, EVERYTHING))?);
    }
    if json {
        return Ok(document(&json!(records)));
    }
    let told = |r: &Record| format!("{} {:11} {:12} {:32} {}\n", r.at, r.kind, r.state, r.unit, r.id);
    Ok(records.iter().map(told).collect())
}

fn track(office: &mut Office, json: bool) -> Result<String, CliError> {
    office.settle()?;
    let deliveries = office.desk(|desk| {
        let mut all = Vec::new();
        for delivery in desk.books.records(ingest::DELIVERY, None, None, EVERYTHING)? {
            let documents = desk
                .books
                .records(ingest::DOCUMENT, Some(&delivery.unit), None, EVERYTHING)?;
            let state = desk.books.unit(&delivery.unit)?.map(|unit| unit.state.as_str());
            all.push((delivery, documents, state));
        }
        Ok(all)
    })?;
    let archive = office.opened.station.archive.clone();
    let mut rows = Vec::new();
    for (delivery, documents, state) in deliveries {
        let names = delivery.body["dataProducts"].as_array().cloned().unwrap_or_default();
        let mut verified = 0;
        for name in names.iter().filter_map(Value::as_str) {
            let sum = documents
                .iter()
                .find(|d| d.id == name)
                .and_then(|d| d.body["sha256"].as_str());
            let good = sum.is_some_and(|sum| archive.check(name, sum).unwrap_or(false));
            verified += usize::from(good);
        }
        rows.push(json!({
            "unit": delivery.unit, "state": state, "products": names.len(), "verified_here": verified,
        }));
    }
    if json {
        return Ok(document(&json!(rows)));
    }
    let told = |row: &Value| {
        format!(
            "{} {} {} of {}\n",
            row["unit"], row["state"], row["verified_here"], row["products"]
        )
    };
    Ok(rows.iter().map(told).collect())
}

fn query(office: &mut Office, cone: Option<&str>) -> Result<String, CliError> {
    let cone = match cone {
        None => None,
        Some(text) => {
            let parts: Vec<f64> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
            let [ra, dec, radius] = parts.as_slice() else {
                return Err(CliError::bad_input(format!(
                    "--cone {text}: expected RA,DEC,RADIUS in degrees"
                )));
            };
            Some(votable::Cone::new(*ra, *dec, *radius).map_err(CliError::bad_input)?)
        }
    };
    let mut products = office.desk(|desk| desk.books.products(None, EVERYTHING))?;
    products.retain(|product| cone.is_none_or(|cone| cone.holds(product)));
    Ok(votable::obscore(&products, ""))
}

fn links(office: &mut Office, name: &str) -> Result<String, CliError> {
    let found = office.desk(|desk| packages::links_of(desk, name))?;
    let links = found.ok_or_else(|| CliError::failed(format!("there is no product {name}")))?;
    Ok(votable::datalink(&links, ""))
}

fn provenance(office: &mut Office, uid: &str) -> Result<String, CliError> {
    let found = office.desk(|desk| packages::provenance(desk, uid))?;
    found.map(|value| document(&value)).ok_or_else(|| unknown(uid))
}

fn bag(office: &mut Office, uid: &str, folder: &std::path::Path) -> Result<String, CliError> {
    let plan = office
        .desk(|desk| packages::bag_plan(desk, uid))?
        .ok_or_else(|| unknown(uid))?;
    let archive = office.opened.station.archive.clone();
    let written = packages::write_bag(&plan, archive.as_ref(), folder);
    let count = written.map_err(|e| CliError::failed(e.to_string()))?;
    Ok(format!("{}: {count} products\n", folder.display()))
}
