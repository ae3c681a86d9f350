//! The pipeline driver of an executive: asks the state service, runs the recipe, hands the products on.
//!
//! ```text
//! pipeline.process.EU --> run "asked" --xtss Processing--> "ready" --a free place--> "running" --> "done"
//!                                      \--refused--> "refused"                                \--> "failed"
//! ```
//!
//! A run is a record. Its steps are transactions with the messages they cause, so a driver that dies continues: a run
//! that was running is run again from an empty folder, under the same name.

use crate::{
    books::{Fault, Message, Record},
    desk::{Desk, Draft},
    manifest::{self, Manifest},
    products::{self, Folders, Role},
    pulls,
    recipes::{Failed, Recipes, RunRequest},
    replica::{self, ReplicaState},
    report, unit,
};
use alidade_model::time::UtcTime;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

pub const JOB: &str = "job.run";

/// The message on `pipeline.process.<site>`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ProcessingRequest {
    #[serde(rename = "progID")]
    pub program: String,
    #[serde(rename = "ousUID")]
    pub unit: String,
    pub recipe: String,
    #[serde(default)]
    pub inputs: Vec<PathBuf>,
}

fn author(desk: &Desk) -> String {
    format!("pipeline-driver@{}", desk.sites.here)
}

/// A unit is to be processed here: the state service is asked.
pub fn asked(desk: &mut Desk, message: &Message, recipes: &dyn Recipes) -> Result<Result<(), String>, Fault> {
    let request: ProcessingRequest = match serde_json::from_str(&message.body) {
        Ok(request) => request,
        Err(error) => return Ok(Err(format!("not a processing request: {error}"))),
    };
    if let Err(why) = unit::check_uid(&request.unit).and_then(|()| products::check_name(&request.program)) {
        return Ok(Err(why));
    }
    if request.recipe.starts_with("Manual") {
        return Ok(Err(format!(
            "{}: recipe {} is not for a pipeline",
            request.unit, request.recipe
        )));
    }
    if !recipes.knows(&request.recipe) {
        return Ok(Err(format!("{}: there is no recipe {}", request.unit, request.recipe)));
    }
    let stamp = next_stamp(desk)?;
    let body = json!({
        "program": request.program, "recipe": request.recipe, "stamp": stamp, "attempts": 0,
        "inputs": request.inputs, "group": products::group_name(&request.program, stamp),
    });
    desk.keep(JOB, &message.id, &request.unit, "asked", body)?;
    let here = desk.sites.here.clone();
    let ask = json!({
        "operation": "set-state", "ousUID": request.unit, "value": "Processing", "recipe": request.recipe,
        "exec": here, "cause": "processing started", "context": { "run": message.id },
    });
    let author = author(desk);
    desk.send(Draft::new("xtss", ask, &author).answered_at(&format!("driver.{here}")))?;
    Ok(Ok(()))
}

/// Runs begun in the same millisecond get names of their own, also at different sites: each site has its own
/// milliseconds, those whose remainder by the number of sites is its place among them.
fn next_stamp(desk: &mut Desk) -> Result<UtcTime, Fault> {
    let now = desk.now.unix_micros() / 1000;
    let last = desk.books.record("meta", "stamp")?.and_then(|r| r.body.as_i64());
    let first = last.map_or(now, |last| now.max(last + 1));
    let count = i64::try_from(desk.sites.all.len().max(1)).unwrap_or(1);
    let place = desk.sites.all.keys().position(|name| *name == desk.sites.here);
    let place = i64::try_from(place.unwrap_or(0)).unwrap_or(0);
    let stamp = first + (place - first).rem_euclid(count);
    desk.keep("meta", "stamp", "", "", json!(stamp))?;
    UtcTime::from_unix_micros(stamp * 1000).ok_or_else(|| Fault("the clock is outside the calendar".into()))
}

/// The state service has answered.
pub fn answered(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let answer: Value = match serde_json::from_str(&message.body) {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(format!("not an answer: {error}"))),
    };
    let run = answer["context"]["run"].as_str().unwrap_or_default();
    let Some(record) = desk.books.record(JOB, run)? else {
        return Ok(Err(format!("there is no run {run}")));
    };
    if record.state != "asked" {
        return Ok(Ok(()));
    }
    if answer["status"] == json!(201) {
        desk.keep(JOB, run, &record.unit, "ready", record.body)?;
    } else {
        let why = answer["error"].as_str().unwrap_or("refused").to_owned();
        let author = author(desk);
        desk.log("refused", &record.unit, &author, &format!("not processed: {why}"))?;
        let mut body = record.body;
        body["cause"] = json!(why);
        desk.keep(JOB, run, &record.unit, "refused", body)?;
    }
    Ok(Ok(()))
}

/// Takes the oldest ready run, if there is a free place among `most`.
pub fn take(desk: &mut Desk, most: usize) -> Result<Option<Record>, Fault> {
    let running = desk.books.count_records(JOB, "running")?;
    if usize::try_from(running).unwrap_or(usize::MAX) >= most {
        return Ok(None);
    }
    let Some(mut record) = desk.books.records(JOB, None, Some("ready"), 1)?.pop() else {
        return Ok(None);
    };
    record.body["attempts"] = json!(record.body["attempts"].as_u64().unwrap_or(0) + 1);
    if let Some(body) = record.body.as_object_mut() {
        body.remove(pulls::WAITS);
    }
    record.state = "running".into();
    record.at = desk.now;
    desk.books.put_record(&record)?;
    Ok(Some(record))
}

/// No run may begin: those that could are told why, and the journal is, once.
pub fn hold(desk: &mut Desk, why: &str) -> Result<(), Fault> {
    let author = author(desk);
    for mut record in desk.books.records(JOB, None, Some("ready"), 1000)? {
        if record.body[pulls::WAITS].is_null() {
            record.body[pulls::WAITS] = json!(why);
            desk.books.put_record(&record)?;
            desk.log("problem", &record.unit, &author, why)?;
        }
    }
    Ok(())
}

/// Runs that died with the process are ready again.
pub fn recover(desk: &mut Desk) -> Result<usize, Fault> {
    let dead = desk.books.records(JOB, None, Some("running"), 100_000)?;
    let author = author(desk);
    for record in &dead {
        desk.keep(JOB, &record.id, &record.unit, "ready", record.body.clone())?;
        desk.log(
            "problem",
            &record.unit,
            &author,
            "the run died with its process; it is run again",
        )?;
    }
    Ok(dead.len())
}

/// What a run has left in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    pub group: String,
    pub digest: String,
    pub bytes: u64,
    pub report: Vec<u8>,
    /// Name and SHA-256.
    pub weblog: Option<(String, String, u64)>,
}

/// Runs the recipe and puts its products into the cache: outside any transaction.
pub fn carry_out(record: &Record, here: &str, recipes: &dyn Recipes, folders: &Folders) -> Result<Finished, Failed> {
    let text = |key: &str| record.body[key].as_str().unwrap_or_default().to_owned();
    let stamp = text("stamp")
        .parse()
        .map_err(|e| Failed::Error(format!("the run's stamp: {e}")))?;
    let folder = folders.work().join(record.id.replace('/', "_"));
    let inputs = record.body["inputs"].as_array().cloned().unwrap_or_default();
    let request = RunRequest {
        run: record.id.clone(),
        attempt: record.body["attempts"]
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1),
        program: text("program"),
        unit: record.unit.clone(),
        recipe: text("recipe"),
        executive: here.into(),
        stamp,
        inputs: inputs.iter().filter_map(|i| i.as_str().map(PathBuf::from)).collect(),
        folder: folder.clone(),
    };
    let io = |e: std::io::Error| Failed::Error(format!("{}: {e}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(io)?;
    }
    fs::create_dir_all(&folder).map_err(io)?;
    let done = recipes.start(&request).and_then(|()| gather(&request, folders));
    // What a failed run leaves is of no use; what a finished one made is in the cache.
    let _ = fs::remove_dir_all(&folder);
    done
}

fn gather(request: &RunRequest, folders: &Folders) -> Result<Finished, Failed> {
    let group = products::group_name(&request.program, request.stamp);
    let made = request.group();
    let unsound = |e: manifest::Unsound| Failed::Error(e.to_string());
    let manifest = Manifest::of(&made, &group, &request.unit, &request.run).map_err(unsound)?;
    let reports: Vec<_> = manifest
        .files
        .iter()
        .filter(|file| products::role(&file.path) == Role::Report)
        .collect();
    let [report] = reports.as_slice() else {
        return Err(Failed::Error(format!(
            "the run left {} reports, not one",
            reports.len()
        )));
    };
    let path = made.join(&report.path);
    let report = fs::read(&path).map_err(|e| Failed::Error(format!("{}: {e}", path.display())))?;
    report::read(&report).map_err(Failed::Error)?;
    let mut weblog = None;
    for file in manifest
        .files
        .iter()
        .filter(|f| products::role(&f.path) == Role::Weblog)
    {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
        let target = folders.weblogs().join(&name);
        let staged = folders.staging().join(&name);
        fs::copy(made.join(&file.path), &staged)
            .and_then(|_| fs::rename(&staged, &target))
            .map_err(|e| Failed::Error(format!("{}: {e}", target.display())))?;
        weblog = Some((name, file.sha256.clone(), file.size));
    }
    let digest = manifest.write(&made).map_err(unsound)?;
    replica::commit(&made, &folders.cache().join(&group), folders).map_err(unsound)?;
    Ok(Finished {
        group,
        digest,
        bytes: manifest.bytes(),
        report,
        weblog,
    })
}

/// The end of a run, with everything that follows from it.
pub fn finish(desk: &mut Desk, record: &Record, done: &Result<Finished, Failed>) -> Result<(), Fault> {
    let author = author(desk);
    let mut body = record.body.clone();
    let finished = match done {
        Ok(finished) => finished,
        Err(failure) => {
            let cause = failure.to_string();
            desk.log("problem", &record.unit, &author, &cause)?;
            body["cause"] = json!(cause);
            desk.keep(JOB, &record.id, &record.unit, "failed", body)?;
            let ask = json!({
                "operation": "set-state", "ousUID": record.unit, "value": "ProcessingProblem", "cause": cause,
            });
            return desk.send(Draft::new("xtss", ask, &author)).map(drop);
        }
    };
    body["digest"] = json!(finished.digest);
    desk.keep(JOB, &record.id, &record.unit, "done", body)?;
    let here = desk.sites.here.clone();
    let home = desk.sites.home.clone();
    let cached = json!({
        "fileType": "productsdir", "cachedAt": here, "name": finished.group, "digest": finished.digest,
        "bytes": finished.bytes, "ousUID": record.unit,
    });
    replica::note(desk, &cached, ReplicaState::Available, "made here")?;
    if home != here {
        desk.send(Draft::new(&format!("cached.{home}"), cached, &author))?;
    }
    if let Some((name, sha256, bytes)) = &finished.weblog {
        let cached = json!({
            "fileType": "weblog", "cachedAt": here, "name": name, "digest": sha256, "bytes": bytes,
            "ousUID": record.unit,
        });
        desk.send(Draft::new(&format!("cached.{home}"), cached.clone(), &author))?;
        if home != here {
            desk.send(Draft::new(&format!("cached.{here}"), cached, &author))?;
        }
    }
    let stamp: UtcTime = record.body["stamp"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(desk.now);
    let told = json!({
        "ousUID": record.unit, "source": here, "report": STANDARD.encode(&finished.report),
        "timestamp": products::timestamp(stamp), "productsDir": finished.group,
    });
    desk.send(Draft::new(&format!("pipeline.report.{home}"), told, &author))?;
    let ask = json!({
        "operation": "set-state", "ousUID": record.unit, "value": "ReadyForReview", "cause": "processing completed",
    });
    desk.send(Draft::new("xtss", ask, &author)).map(drop)
}
