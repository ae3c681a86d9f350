//! What `alidade data` asks of the station: messages that are answered.

use super::{DataCommand, Office, Wish, print, show};
use crate::cli::CliError;
use alidade_delivery::{
    desk::Draft,
    evict, ingest,
    launcher::{Launch, launch},
    replica,
    review::{ReviewRequest, Verdict},
    scrub, selector,
};
use serde_json::{Value, json};
use std::{io::Write, path::PathBuf};

fn login() -> String {
    std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "operator".into())
}

pub fn act(office: &mut Office, command: &DataCommand, stdout: &mut dyn Write) -> Result<Value, CliError> {
    let author = format!("cli:{}", login());
    match command {
        DataCommand::Launch {
            program,
            unit,
            recipe,
            exec,
            inputs,
        } => {
            let here = office.opened.station.sites.here.clone();
            let wish = Launch {
                program: program.clone(),
                unit: unit.clone(),
                recipe: recipe.clone(),
                executive: exec.clone().or_else(|| recipe.as_ref().map(|_| here)),
                inputs: absolute(inputs)?,
            };
            office.call(|desk, answers| launch(desk, &wish, &author, Some(answers)))
        }
        DataCommand::Requeue { unit } => {
            let known = office.desk(|desk| desk.books.unit(unit))?;
            let known = known.ok_or_else(|| CliError::failed(format!("unit {unit} is unknown")))?;
            let wish = Launch {
                program: known.program,
                unit: known.uid,
                recipe: known.recipe,
                executive: known.executive,
                inputs: Vec::new(),
            };
            office.call(|desk, answers| launch(desk, &wish, &author, Some(answers)))
        }
        DataCommand::Review { .. } => review(office, command, stdout),
        DataCommand::Xtss {
            operation,
            unit,
            value,
            cause,
        } => {
            let ask = json!({ "operation": operation, "ousUID": unit, "value": value, "cause": cause,
                "state": unit, "substate": value });
            office.call(|desk, answers| {
                desk.send(Draft::new("xtss", ask.clone(), &author).answered_at(answers))
                    .map(drop)
            })
        }
        DataCommand::Ingest { unit } => ingest_again(office, unit, &author),
        DataCommand::Replicate { scrub, evict, keep } => replicate(office, *scrub, evict.as_deref(), *keep, &author),
        DataCommand::Scrubber { wish, site } => scrubber(office, *wish, site.as_deref(), &author),
        _ => Ok(Value::Null),
    }
}

fn scrubber(office: &mut Office, wish: Wish, site: Option<&str>, author: &str) -> Result<Value, CliError> {
    let here = office.opened.station.sites.here.clone();
    let site = site.unwrap_or(&here).to_owned();
    if !office.opened.station.sites.is_known(&site) {
        return Err(CliError::failed(format!("there is no site {site}")));
    }
    let body = json!({ "paused": wish == Wish::Pause });
    office.call(|desk, answers| {
        let draft = Draft::new(&format!("scrub.{site}"), body.clone(), author);
        desk.send(draft.answered_at(answers)).map(drop)
    })
}

fn absolute(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let whole =
        |path: &PathBuf| std::path::absolute(path).map_err(|e| CliError::bad_input(format!("{}: {e}", path.display())));
    inputs.iter().map(whole).collect()
}

fn review(office: &mut Office, command: &DataCommand, stdout: &mut dyn Write) -> Result<Value, CliError> {
    let DataCommand::Review {
        unit,
        comment,
        reviewer,
        role,
        ..
    } = command
    else {
        return Ok(Value::Null);
    };
    let verdict = command.verdict();
    let reviewer = reviewer.clone().unwrap_or_else(login);
    let role = match office.opened.file.reviewers.get(&reviewer) {
        Some(role) => role.clone(),
        None if office.opened.file.reviewers.is_empty() => role.clone(),
        None => {
            return Err(CliError::failed(format!(
                "{reviewer} is not among this station's reviewers"
            )));
        }
    };
    if verdict == Verdict::Begin {
        let shown = show::report(office, unit)?;
        print(stdout, &shown)?;
    }
    let request = ReviewRequest {
        unit: unit.clone(),
        verdict,
        reviewer,
        role,
        comment: comment.clone(),
        by_way_of: format!("terminal of {}", login()),
    };
    let body = serde_json::to_value(&request).map_err(|e| CliError::failed(e.to_string()))?;
    let home = office.opened.station.sites.home.clone();
    office.call(|desk, answers| {
        let draft = Draft::new(&format!("review.{home}"), body.clone(), &request.reviewer);
        desk.send(draft.answered_at(answers)).map(drop)
    })
}

fn ingest_again(office: &mut Office, unit: &str, author: &str) -> Result<Value, CliError> {
    let home = office.opened.station.sites.home.clone();
    let (report, job) = office.desk(|desk| {
        let report = alidade_delivery::review::newest_report(desk, unit)?;
        let group = report
            .as_ref()
            .and_then(|r| r.body["productsDir"].as_str())
            .unwrap_or_default();
        let job = desk.books.record(ingest::INGEST, group)?;
        Ok((report, job))
    })?;
    let report = report.ok_or_else(|| CliError::failed(format!("{unit} has no pipeline report here")))?;
    if job.is_none() {
        return Err(CliError::failed(format!("{unit} has not passed its review")));
    }
    let body = json!({
        "ousUID": unit, "timestamp": report.body["timestamp"], "productsDir": report.body["productsDir"],
    });
    office.desk(|desk| desk.send(Draft::new(&format!("ingest.{home}"), body.clone(), author)))?;
    office.settle()?;
    let group = report.body["productsDir"].as_str().unwrap_or_default();
    let after = office.desk(|desk| desk.books.record(ingest::INGEST, group))?;
    Ok(json!({ "status": 201, "ingestion": after.map(|job| job.state) }))
}

fn replicate(
    office: &mut Office,
    scrub: bool,
    evict: Option<&str>,
    keep: usize,
    author: &str,
) -> Result<Value, CliError> {
    if let Some(name) = evict {
        let answer = office.call(|desk, answers| evict::ask(desk, name, keep, author, Some(answers)))?;
        office.settle()?;
        return Ok(answer);
    }
    if scrub {
        let mut station = office.opened.station.clone();
        let here = format!("{}/", station.sites.here);
        let mine = office.desk(|desk| desk.books.records(replica::KIND, None, Some("available"), 100_000))?;
        let count = mine.iter().filter(|record| record.id.starts_with(&here)).count();
        station.scrub.interval_s = 0.0;
        let mut bad = Vec::new();
        for _ in 0..count {
            if let scrub::Scrubbed::Bad(name, cause) = scrub::one(&station, office.ledger.as_mut(), &mut |_| ())? {
                bad.push(json!({ "name": name, "cause": cause }));
            }
        }
        office.settle()?;
        return Ok(json!({ "status": 200, "read": count, "bad": bad }));
    }
    let ours = office.settle()?;
    let waiting = office.desk(|desk| desk.books.records(replica::JOB, None, None, 1000))?;
    let waiting: Vec<&str> = waiting.iter().map(|job| job.id.as_str()).collect();
    Ok(json!({ "status": 200, "done_here": ours, "waiting": waiting }))
}

pub fn send(
    office: &mut Office,
    selector: &str,
    body: &str,
    ttl: Option<f64>,
    stdout: &mut dyn Write,
) -> Result<u8, CliError> {
    if selector::group(selector).is_none() {
        super::legal(selector)?;
    }
    let body: Value =
        serde_json::from_str(body).map_err(|e| CliError::bad_input(format!("the body is not JSON: {e}")))?;
    let author = format!("cli:{}", login());
    let ids = office.desk(|desk| {
        let mut draft = Draft::new(selector, body.clone(), &author);
        draft.lives_s = ttl;
        desk.send(draft)
    })?;
    office.settle()?;
    print(stdout, &ids.iter().map(|id| format!("{id}\n")).collect::<String>())
}
