//! Transfers as jobs: taken when due and when they fit, tried again after a while, given up when that cannot help.

use crate::{
    books::{Fault, Ledger, Record},
    desk::Desk,
    ingest::{DOCUMENT, Item},
    replica::{self, Cached, PullError, ReplicaState},
    space,
    station::Station,
};
use serde_json::json;

/// The key of a job's record that says what it waits for.
pub const WAITS: &str = "waits";

/// Corrupt copies in a row after which a replica is called bad.
const CORRUPT_LIMIT: u64 = 5;

/// Seconds until the next attempt: doubling from one second to five minutes.
pub fn backoff_s(attempts: u64) -> f64 {
    2_f64
        .powi(i32::try_from(attempts.saturating_sub(1).min(9)).unwrap_or(9))
        .min(300.0)
}

/// Takes the oldest job of a kind that is due.
pub fn take(desk: &mut Desk, kind: &str) -> Result<Option<Record>, Fault> {
    let due = desk.books.records(kind, None, Some("ready"), 1)?.pop();
    let Some(mut job) = due.filter(|job| job.at <= desk.now) else {
        return Ok(None);
    };
    job.body["attempts"] = json!(job.body["attempts"].as_u64().unwrap_or(0) + 1);
    job.state = "running".into();
    desk.books.put_record(&job)?;
    Ok(Some(job))
}

/// Puts a job back for a later attempt, with the cause in the journal.
pub fn again(desk: &mut Desk, kind: &str, job: &Record, author: &str, cause: &str) -> Result<(), Fault> {
    let attempts = job.body["attempts"].as_u64().unwrap_or(1);
    desk.log("problem", &job.id, author, &format!("attempt {attempts}: {cause}"))?;
    let mut next = job.clone();
    next.body["cause"] = json!(cause);
    next.state = "ready".into();
    next.at = desk.now.plus_seconds(backoff_s(attempts));
    debug_assert_eq!(next.kind, kind);
    desk.books.put_record(&next)
}

/// Puts a job back because there is no room for it: no attempt was made. The journal is told once.
pub fn wait(desk: &mut Desk, job: &Record, author: &str, why: &str) -> Result<(), Fault> {
    if job.body[WAITS].is_null() {
        desk.log("problem", &job.id, author, why)?;
    }
    let mut next = job.clone();
    let attempts = job.body["attempts"].as_u64().unwrap_or(0);
    next.body["attempts"] = json!(attempts.saturating_sub(u64::from(job.state == "running")));
    next.body[WAITS] = json!(why);
    next.state = "ready".into();
    next.at = desk.now.plus_seconds(space::LOOK_AGAIN_S);
    desk.books.put_record(&next)
}

/// What became of looking for a job.
pub enum Taken {
    Nothing,
    /// There is one, but no room for it.
    NoRoom,
    Job(Record),
}

/// Takes the oldest job of a kind that is due, if what it brings fits; `lacks` says why not.
pub fn take_if_it_fits(
    desk: &mut Desk,
    kind: &str,
    author: &str,
    lacks: &dyn Fn(&Record) -> Option<String>,
) -> Result<Taken, Fault> {
    let Some(mut job) = take(desk, kind)? else {
        return Ok(Taken::Nothing);
    };
    if let Some(why) = lacks(&job) {
        wait(desk, &job, author, &why)?;
        return Ok(Taken::NoRoom);
    }
    if let Some(body) = job.body.as_object_mut()
        && body.remove(WAITS).is_some()
    {
        desk.books.put_record(&job)?;
    }
    Ok(Taken::Job(job))
}

/// Pulls one announced group or weblog.
pub fn pull_one(station: &Station, ledger: &mut dyn Ledger) -> Result<bool, Fault> {
    let lacks = |job: &Record| {
        // A weblog is kept packed and unpacked.
        let copies = if job.body["fileType"] == json!("weblog") { 3 } else { 1 };
        let needed = job.body["bytes"].as_u64().unwrap_or(0).saturating_mul(copies);
        station.space.lacks(&station.folders.staging(), needed)
    };
    let taken = station.at_desk(ledger, |desk| {
        let taken = take_if_it_fits(desk, replica::JOB, "replicated-cache", &lacks)?;
        if let Taken::Job(job) = &taken {
            replica::note(desk, &job.body, ReplicaState::Copying, "")?;
        }
        Ok(taken)
    })?;
    let job = match taken {
        Taken::Nothing => return Ok(false),
        Taken::NoRoom => return Ok(true),
        Taken::Job(job) => job,
    };
    let Ok(cached) = serde_json::from_value::<Cached>(job.body.clone()) else {
        station.at_desk(ledger, |desk| {
            desk.log("refused", &job.id, "replicated-cache", "the job is garbled")?;
            desk.keep(replica::JOB, &job.id, &job.unit, "failed", job.body.clone())
        })?;
        return Ok(true);
    };
    let done = bring(station, &cached);
    let archived = match &done {
        Ok(()) if station.sites.is_home() && cached.file_type == "weblog" => archive_weblog(station, &cached),
        _ => Ok(None),
    };
    station.at_desk(ledger, |desk| match (&done, &archived) {
        (Ok(()), Ok(document)) => {
            replica::note(desk, &job.body, ReplicaState::Available, "verified")?;
            if let Some(item) = document {
                crate::ingest::documented(desk, &job.unit, item)?;
            }
            desk.sent += 1; // an ingestion may have waited for it
            desk.books.remove_record(replica::JOB, &job.id)
        }
        (Ok(()), Err(cause)) => {
            replica::note(desk, &job.body, ReplicaState::Queued, cause)?;
            again(desk, replica::JOB, &job, "replicated-cache", cause)
        }
        (Err(error), _) => failed(desk, &job, error),
    })?;
    Ok(true)
}

/// From the site that has it, or, for a repair, from any that has.
fn bring(station: &Station, cached: &Cached) -> Result<(), PullError> {
    let sites = &station.sites;
    if cached.cached_at == sites.here && cached.file_type == "weblog" {
        let path = station.folders.weblogs().join(&cached.name);
        if let Ok(()) = replica::keep_weblog(&path, cached, &station.folders) {
            return Ok(());
        }
    }
    let mut sources: Vec<&String> = sites.others().collect();
    sources.sort_by_key(|name| (**name != cached.cached_at, **name != sites.home));
    let mut first = None;
    for source in sources {
        let Some(location) = sites.all.get(source).and_then(|site| site.location.as_deref()) else {
            continue;
        };
        match replica::pull(station.transfer.as_ref(), location, cached, &station.folders) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let missing = error.is_missing();
                first.get_or_insert(error);
                if !missing && source == &cached.cached_at && cached.cached_at != sites.here {
                    break;
                }
            }
        }
    }
    let nowhere = || {
        let what = format!("{}: no site with a location", cached.name);
        PullError::Transfer(crate::transfer::TransferError::Missing(what))
    };
    Err(first.unwrap_or_else(nowhere))
}

/// At the home a weblog is also a document of the archive.
fn archive_weblog(station: &Station, cached: &Cached) -> Result<Option<Item>, String> {
    let stem = cached.name.trim_end_matches(".zip");
    let item = Item {
        name: format!("weblogs/{}", cached.name),
        sha256: cached.digest.clone(),
        size: cached.bytes,
    };
    let path = station.folders.weblogs().join(format!("{stem}.zip"));
    let put = station.archive.put(&item.name, &path, &item.sha256);
    put.map(|_| Some(item)).map_err(|e| format!("{DOCUMENT}: {e}"))
}

fn failed(desk: &mut Desk, job: &Record, error: &PullError) -> Result<(), Fault> {
    let cause = error.to_string();
    let mut job = job.clone();
    let corrupt = job.body["corrupt"].as_u64().unwrap_or(0) + u64::from(error.is_corruption());
    job.body["corrupt"] = json!(corrupt);
    let missing = job.body["missing"].as_u64().unwrap_or(0) + u64::from(error.is_missing());
    job.body["missing"] = json!(missing);
    if error.is_final() || corrupt >= CORRUPT_LIMIT || missing >= CORRUPT_LIMIT {
        replica::note(desk, &job.body, ReplicaState::Lost, &cause)?;
        desk.log("problem", &job.id, "replicated-cache", &format!("given up: {cause}"))?;
        return desk.keep(replica::JOB, &job.id, &job.unit, "failed", job.body);
    }
    replica::note(desk, &job.body, ReplicaState::Queued, &cause)?;
    again(desk, replica::JOB, &job, "replicated-cache", &cause)
}
