//! The product ingestor, at the home, and the data tracker, at each executive.
//!
//! ```text
//! ingest.<home>  --> analyse (every product read and summed) --> archive, metadata, delivery status --> deliver.<exec>
//! deliver.<exec> --> pull what is missing --> read every product in the own archive --> xtss: Delivered
//! ```
//!
//! Both may be repeated: documents are put once, metadata replace themselves, and what is delivered stays delivered.

use crate::{
    archive::{Archive, ArchiveError},
    books::{Fault, Message, Record},
    desk::{Desk, Draft},
    manifest::{self, Manifest, Unsound},
    obscore::{self, ObsCore},
    products::{self, Folders, Role},
    pulls,
    replica::{self, PullError},
    transfer::{self, Transfer, TransferError},
    unit,
};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;

pub const INGEST: &str = "job.ingest";
pub const FETCH: &str = "job.fetch";
pub const DELIVERY: &str = "delivery";
pub const DOCUMENT: &str = "archive";
const INGESTOR: &str = "product-ingestor";

/// One product of a delivery; the name is the archive's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub name: String,
    pub sha256: String,
    pub size: u64,
}

/// Why products cannot be archived or delivered.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error(transparent)]
    Unsound(#[from] Unsound),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("{0}")]
    Other(String),
}

/// The message on `ingest.<home>`.
pub fn asked(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let body: Value = match serde_json::from_str(&message.body) {
        Ok(body) => body,
        Err(error) => return Ok(Err(format!("not an ingestion request: {error}"))),
    };
    let (Some(uid), Some(group)) = (body["ousUID"].as_str(), body["productsDir"].as_str()) else {
        return Ok(Err("an ingestion request has ousUID and productsDir".into()));
    };
    if let Err(why) = unit::check_uid(uid).and_then(|()| products::check_name(group)) {
        return Ok(Err(why));
    }
    let Some(known) = desk.books.unit(uid)? else {
        return Ok(Err(format!("unit {uid} is unknown")));
    };
    if let Some(job) = desk.books.record(INGEST, group)?
        && job.state != "failed"
    {
        return Ok(Ok(()));
    }
    let body = json!({
        "group": group, "timestamp": body["timestamp"], "program": known.program, "executive": known.executive,
        "attempts": 0,
    });
    desk.keep(INGEST, group, uid, "ready", body)?;
    Ok(Ok(()))
}

fn substate(desk: &mut Desk, uid: &str, value: &str) -> Result<(), Fault> {
    let ask = json!({ "operation": "set-substate", "ousUID": uid, "value": value, "cause": "ingestion" });
    desk.send(Draft::new("xtss", ask, INGESTOR)).map(drop)
}

/// Takes the oldest ingestion whose products are in our cache, verified, and fit into the archive; `lacks` says why so
/// many bytes would not.
pub fn take(desk: &mut Desk, lacks: &dyn Fn(u64) -> Option<String>) -> Result<Option<Record>, Fault> {
    let here = desk.sites.here.clone();
    for mut job in desk.books.records(INGEST, None, Some("ready"), 100)? {
        let replica = desk.books.record(replica::KIND, &format!("{here}/{}", job.id))?;
        let Some(replica) = replica.filter(|r| r.state == "available" && job.at <= desk.now) else {
            continue;
        };
        if let Some(why) = lacks(replica.body["bytes"].as_u64().unwrap_or(0)) {
            pulls::wait(desk, &job, INGESTOR, &why)?;
            continue;
        }
        if let Some(body) = job.body.as_object_mut() {
            body.remove(pulls::WAITS);
        }
        job.body["digest"] = replica.body["digest"].clone();
        job.body["attempts"] = json!(job.body["attempts"].as_u64().unwrap_or(0) + 1);
        job.state = "running".into();
        desk.books.put_record(&job)?;
        substate(desk, &job.unit, "AnalyzingProducts")?;
        return Ok(Some(job));
    }
    Ok(None)
}

/// Reads every product and says what there is to ingest.
pub fn analyse(job: &Record, folders: &Folders) -> Result<Vec<Item>, Stopped> {
    let digest = job.body["digest"].as_str().unwrap_or_default();
    let folder = folders.cache().join(&job.id);
    let manifest = manifest::verify(&folder, digest, &|_| false, &mut |_| ())?;
    let mut items: Vec<Item> = Vec::new();
    for file in manifest.files {
        if products::role(&file.path) != Role::Product {
            continue;
        }
        let base = file.path.rsplit('/').next().unwrap_or_default();
        let name = format!("{}/{base}", job.id);
        if items.iter().any(|item| item.name == name) {
            return Err(Stopped::Other(format!("two products are called {base}")));
        }
        items.push(Item {
            name,
            sha256: file.sha256,
            size: file.size,
        });
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

pub fn analysed(desk: &mut Desk, job: &Record) -> Result<(), Fault> {
    substate(desk, &job.unit, "IngestingProducts")
}

/// Archives every product and describes it.
pub fn archive(
    job: &Record,
    items: &[Item],
    folders: &Folders,
    archive: &dyn Archive,
    collection: &str,
    now: UtcTime,
) -> Result<Vec<ObsCore>, Stopped> {
    let folder = folders.cache().join(&job.id);
    let mut described = Vec::new();
    let manifest = Manifest::read(&folder, None)?;
    for item in items {
        let wanted = item.name.rsplit('/').next().unwrap_or_default();
        let file = manifest
            .files
            .iter()
            .find(|file| file.path.rsplit('/').next() == Some(wanted))
            .ok_or_else(|| Stopped::Other(format!("{wanted}: is not in the manifest")))?;
        let path = manifest::member(&folder, &file.path)?;
        archive.put(&item.name, &path, &item.sha256)?;
        let identity = obscore::Identity {
            collection,
            unit: &job.unit,
            program: job.body["program"].as_str().unwrap_or_default(),
            name: &item.name,
            sha256: &item.sha256,
            size: item.size,
            now,
        };
        described.push(obscore::describe(&path, identity).map_err(|e| Unsound::io(&path, e))?);
    }
    Ok(described)
}

/// A document that is in our archive.
pub fn documented(desk: &mut Desk, uid: &str, item: &Item) -> Result<(), Fault> {
    let body = json!({ "name": item.name, "sha256": item.sha256, "size": item.size, "writeTimestamp": desk.now });
    desk.keep(DOCUMENT, &item.name, uid, "verified", body)
}

/// The end of an ingestion: metadata, delivery status, and on to the executive's data tracker.
pub fn ingested(desk: &mut Desk, job: &Record, items: &[Item], described: &[ObsCore]) -> Result<(), Fault> {
    for (item, product) in items.iter().zip(described) {
        documented(desk, &job.unit, item)?;
        desk.books.put_product(product)?;
    }
    let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
    let status = json!({
        "ousUID": job.unit, "progID": job.body["program"], "timestamp": job.body["timestamp"],
        "dataProducts": names, "complete": true, "productsDir": job.id,
    });
    desk.keep(DELIVERY, &job.unit, &job.unit, "complete", status)?;
    desk.keep(INGEST, &job.id, &job.unit, "done", job.body.clone())?;
    substate(desk, &job.unit, "ProductsIngested")?;
    let exec = job.body["executive"].as_str().unwrap_or_default();
    let exec = if desk.sites.is_known(exec) {
        exec.to_owned()
    } else {
        desk.sites.home.clone()
    };
    let body = json!({
        "ousUID": job.unit, "progID": job.body["program"], "timestamp": job.body["timestamp"], "group": job.id,
        "products": items,
    });
    desk.send(Draft::new(&format!("deliver.{exec}"), body, INGESTOR))
        .map(drop)
}

/// The message on `deliver.<site>`.
#[derive(Debug, Clone, Deserialize)]
struct Delivery {
    #[serde(rename = "ousUID")]
    unit: String,
    group: String,
    products: Vec<Item>,
}

/// A delivery comes to this executive.
pub fn coming(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let delivery: Delivery = match serde_json::from_str(&message.body) {
        Ok(delivery) => delivery,
        Err(error) => return Ok(Err(format!("not a delivery: {error}"))),
    };
    let names = delivery.products.iter().try_for_each(|item| {
        crate::archive::check_name(&item.name)
            .map_err(|e| e.to_string())
            .and_then(|(group, _)| match group == delivery.group {
                true => Ok(()),
                false => Err(format!("{} is not of {}", item.name, delivery.group)),
            })
    });
    if let Err(why) = unit::check_uid(&delivery.unit)
        .and_then(|()| products::check_name(&delivery.group))
        .and(names)
    {
        return Ok(Err(why));
    }
    if let Some(job) = desk.books.record(FETCH, &delivery.group)?
        && job.state != "failed"
    {
        return Ok(Ok(()));
    }
    let mut body: Value = serde_json::from_str(&message.body).unwrap_or_default();
    body["attempts"] = json!(0);
    desk.keep(FETCH, &delivery.group, &delivery.unit, "ready", body)?;
    Ok(Ok(()))
}

/// Bytes that a delivery needs: the products come into staging and from there into the archive.
pub fn needed(job: &Record) -> u64 {
    let products = job.body["products"].as_array();
    let sizes = products.into_iter().flatten().filter_map(|item| item["size"].as_u64());
    sizes.fold(0, u64::saturating_add).saturating_mul(2)
}

/// Brings the products into our archive and reads every one of them there.
pub fn fetch(
    job: &Record,
    home_location: Option<&str>,
    transfer: &dyn Transfer,
    archive: &dyn Archive,
    folders: &Folders,
) -> Result<Vec<Item>, Stopped> {
    let items: Vec<Item> =
        serde_json::from_value(job.body["products"].clone()).map_err(|e| Stopped::Other(e.to_string()))?;
    let mut missing = Vec::new();
    for item in &items {
        if !archive.check(&item.name, &item.sha256)? {
            missing.push(item);
        }
    }
    if missing.is_empty() {
        return Ok(items);
    }
    let Some(location) = home_location else {
        return Err(Stopped::Other(format!(
            "{} products are missing in the archive",
            missing.len()
        )));
    };
    let staging = folders.staging().join(format!("archive-{}", job.id));
    fs::create_dir_all(&staging).map_err(|e| Unsound::io(&staging, e))?;
    let from = transfer::at(location, &format!("archive/{}/", job.id));
    match transfer.pull(&from, &staging, &mut |_| ()) {
        // A home whose archive is no folder has the products in its cache.
        Err(TransferError::Missing(_)) => {
            let from = transfer::at(location, &format!("cache/{}/", job.id));
            transfer.pull(&from, &staging, &mut |_| ()).map_err(PullError::from)?;
        }
        done => done.map_err(PullError::from)?,
    }
    let arrived = manifest::files_below(&staging)?;
    for item in missing {
        let base = item.name.rsplit('/').next().unwrap_or_default();
        let found = arrived.iter().find(|path| path.rsplit('/').next() == Some(base));
        let path = staging.join(found.map_or(base, String::as_str));
        if let Err(error) = archive.put(&item.name, &path, &item.sha256) {
            // A wrong file must come again; rsync would keep it.
            let _ = fs::remove_file(&path);
            return Err(error.into());
        }
    }
    for item in &items {
        if !archive.check(&item.name, &item.sha256)? {
            return Err(Stopped::Other(format!("{}: is not verified in the archive", item.name)));
        }
    }
    let _ = fs::remove_dir_all(&staging);
    Ok(items)
}

/// Every product is verified at the executive: the unit is delivered.
pub fn delivered(desk: &mut Desk, job: &Record, items: &[Item]) -> Result<(), Fault> {
    for item in items {
        documented(desk, &job.unit, item)?;
    }
    let author = format!("data-tracker@{}", desk.sites.here);
    if !desk.sites.is_home() {
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        let status = json!({
            "ousUID": job.unit, "progID": job.body["progID"], "timestamp": job.body["timestamp"],
            "dataProducts": names, "complete": true, "productsDir": job.id,
        });
        desk.keep(DELIVERY, &job.unit, &job.unit, "complete", status)?;
    }
    desk.keep(FETCH, &job.id, &job.unit, "done", job.body.clone())?;
    let ask = json!({
        "operation": "set-state", "ousUID": job.unit, "value": "Delivered",
        "cause": format!("{} products verified at {}", items.len(), desk.sites.here),
    });
    desk.send(Draft::new("xtss", ask, &author)).map(drop)
}
