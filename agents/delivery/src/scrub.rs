//! The scrubber: reads replicas again, the longest unread first, at a bounded rate, and has bad ones repaired.

use crate::{
    books::{Fault, Ledger, Message},
    desk::Desk,
    replica::{self, ReplicaState},
    station::Station,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How fast, and when not.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Bytes a second; 0 for no bound.
    pub bytes_s: u64,
    /// A copy read more recently is left alone, seconds.
    pub interval_s: f64,
    /// Set while nothing is to be read: reading waits, also in the middle of a file.
    pub paused: Arc<AtomicBool>,
    /// Set when the station stops: nothing waits any more.
    pub ended: Arc<AtomicBool>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bytes_s: 20 << 20,
            interval_s: 7.0 * 86_400.0,
            paused: Arc::default(),
            ended: Arc::default(),
        }
    }
}

impl Pace {
    /// Waits so long that the rate is kept.
    fn hold(&self, bytes: u64) {
        let mut left = match self.bytes_s {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        while !self.ended.load(Ordering::Relaxed) {
            let paused = self.paused.load(Ordering::Relaxed);
            if !paused && left.is_zero() {
                return;
            }
            let slice = if paused { SLICE } else { left.min(SLICE) };
            thread::sleep(slice);
            left = left.saturating_sub(slice);
        }
    }
}

/// The record that says whether the scrubber of a site is paused; it outlives the process.
const RECORD: &str = "scrubber";
/// Longest wait without looking up.
const SLICE: Duration = Duration::from_millis(500);

/// The message on `scrub.<site>`: `{"paused": true}` or `false`.
pub fn asked(desk: &mut Desk, message: &Message, flag: &AtomicBool) -> Result<Result<(), String>, Fault> {
    let body: Option<Value> = serde_json::from_str(&message.body).ok();
    let Some(paused) = body.and_then(|body| body["paused"].as_bool()) else {
        return Ok(Err("the scrubber is told {\"paused\": true} or false".into()));
    };
    let (here, state) = (desk.sites.here.clone(), if paused { "paused" } else { "reading" });
    desk.keep(RECORD, &here, "", state, json!({ "author": message.author }))?;
    desk.log("audit", &here, &message.author, &format!("scrubber: {state}"))?;
    flag.store(paused, Ordering::Relaxed);
    desk.answer(
        message,
        json!({ "status": 201, "site": here, "scrubber": state }),
        "scrubber",
    )?;
    Ok(Ok(()))
}

/// Whether the scrubber of this site is paused.
pub fn is_paused(desk: &mut Desk) -> Result<bool, Fault> {
    let here = desk.sites.here.clone();
    Ok(desk
        .books
        .record(RECORD, &here)?
        .is_some_and(|record| record.state == "paused"))
}

/// What became of one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scrubbed {
    /// Nothing is due.
    Nothing,
    Good(String),
    /// Name and what is wrong; a repair is under way.
    Bad(String, String),
}

/// Reads the replica that has gone unread the longest, if it is due. `pace` is told every piece that is read.
pub fn one(station: &Station, ledger: &mut dyn Ledger, pace: &mut dyn FnMut(u64)) -> Result<Scrubbed, Fault> {
    let here = format!("{}/", station.sites.here);
    let due = station.at_desk(ledger, |desk| {
        let mut mine = desk.books.records(replica::KIND, None, Some("available"), 100_000)?;
        mine.retain(|record| record.id.starts_with(&here));
        mine.sort_by_key(|record| record.body["verified"].as_str().unwrap_or_default().to_owned());
        let first = mine.into_iter().next();
        Ok(first.filter(|record| {
            let read = record.body["verified"].as_str().and_then(|text| text.parse().ok());
            read.is_none_or(|read| desk.now.seconds_since(read) >= station.scrub.interval_s)
        }))
    })?;
    let Some(record) = due else {
        return Ok(Scrubbed::Nothing);
    };
    let name = record.body["name"].as_str().unwrap_or_default().to_owned();
    let Err(first) = replica::reread(&record, &station.folders, pace) else {
        station.at_desk(ledger, |desk| {
            replica::note(desk, &record.body, ReplicaState::Available, "read again")
        })?;
        return Ok(Scrubbed::Good(name));
    };
    let cause = first.to_string();
    station.at_desk(ledger, |desk| {
        replica::note(desk, &record.body, ReplicaState::Suspicious, &cause)
    })?;
    // A second reading: one bad read may be the cable's fault.
    let second = replica::reread(&record, &station.folders, pace);
    station.at_desk(ledger, |desk| {
        if second.is_ok() {
            return replica::note(
                desk,
                &record.body,
                ReplicaState::Available,
                "good at the second reading",
            );
        }
        desk.log("problem", &record.id, "scrubber", &format!("bad copy: {cause}"))?;
        replica::note(desk, &record.body, ReplicaState::Bad, &cause)?;
        let mut job = record.body.clone();
        job["attempts"] = json!(0);
        (job["corrupt"], job["missing"]) = (json!(0), json!(0));
        desk.sent += 1;
        desk.keep(replica::JOB, &name, &record.unit, "ready", job)
    })?;
    Ok(match second {
        Ok(()) => Scrubbed::Good(name),
        Err(_) => Scrubbed::Bad(name, cause),
    })
}

/// As the daemon does it: at the configured rate, and not while it is paused.
pub fn paced(station: &Station, ledger: &mut dyn Ledger) -> Result<Scrubbed, Fault> {
    if station.at_desk(ledger, is_paused)? {
        return Ok(Scrubbed::Nothing);
    }
    let pace = station.scrub.clone();
    one(station, ledger, &mut |bytes| pace.hold(bytes))
}
