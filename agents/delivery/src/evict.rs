//! Eviction: a site asks the home, which alone counts the copies; what it grants is removed.
//!
//! The home decides in one transaction and writes the copy down as evicted before the site removes it, so that two
//! sites cannot both rely on the other's copy.

use crate::{
    books::{Fault, Ledger, Message},
    desk::{Desk, Draft},
    products,
    replica::{self, ReplicaState},
    station::Station,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

pub const JOB: &str = "job.evict";

#[derive(Debug, Deserialize)]
struct Wish {
    site: String,
    name: String,
    wanted: usize,
}

/// Asks for the eviction of our copy; at least `wanted` verified ones must stay elsewhere.
pub fn ask(desk: &mut Desk, name: &str, wanted: usize, author: &str, reply_to: Option<&str>) -> Result<(), Fault> {
    let body = json!({ "site": desk.sites.here, "name": name, "wanted": wanted });
    let mut draft = Draft::new(&format!("evict.{}", desk.sites.home), body, author);
    draft.reply_to = reply_to.map(str::to_owned);
    desk.send(draft).map(drop)
}

/// The home decides.
pub fn asked(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let wish: Wish = match serde_json::from_str(&message.body) {
        Ok(wish) => wish,
        Err(error) => return Ok(Err(format!("not a wish to evict: {error}"))),
    };
    let id = format!("{}/{}", wish.site, wish.name);
    let known = desk.books.record(replica::KIND, &id)?;
    let Some(mut record) = known.filter(|r| r.state == "available") else {
        return Ok(Err(format!("{id} is not available there")));
    };
    let delivered = record.unit.is_empty() || {
        let unit = desk.books.unit(&record.unit)?;
        unit.is_none_or(|unit| unit.state == alidade_model::states::UnitState::Delivered)
    };
    if !delivered {
        return Ok(Err(format!("{id}: its unit is not delivered yet")));
    }
    if let Err(why) = replica::may_evict(desk, &wish.site, &wish.name, wish.wanted)? {
        return Ok(Err(why));
    }
    record.state = ReplicaState::Evicted.as_str().into();
    record.at = desk.now;
    desk.books.put_record(&record)?;
    let body = json!({ "name": wish.name, "fileType": record.body["fileType"] });
    desk.send(Draft::new(&format!("evicted.{}", wish.site), body, "replicated-cache"))?;
    desk.answer(
        message,
        json!({ "status": 201, "name": wish.name, "state": "evicted" }),
        "evict",
    )?;
    Ok(Ok(()))
}

/// The home has agreed.
pub fn granted(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let body: Value = match serde_json::from_str(&message.body) {
        Ok(body) => body,
        Err(error) => return Ok(Err(format!("not a grant: {error}"))),
    };
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    if let Err(why) = products::check_name(&name) {
        return Ok(Err(why));
    }
    let id = format!("{}/{name}", desk.sites.here);
    if let Some(mut record) = desk.books.record(replica::KIND, &id)? {
        record.state = ReplicaState::Evicted.as_str().into();
        desk.books.put_record(&record)?;
    }
    desk.keep(JOB, &name, "", "ready", body)?;
    Ok(Ok(()))
}

/// Removes what is evicted.
pub fn carry_out(station: &Station, ledger: &mut dyn Ledger) -> Result<bool, Fault> {
    let taken = station.at_desk(ledger, |desk| crate::pulls::take(desk, JOB))?;
    let Some(job) = taken else { return Ok(false) };
    let removed = if job.body["fileType"] == json!("weblog") {
        let path = station.folders.weblogs().join(&job.id);
        let pages = path.with_extension("");
        fs::remove_file(&path).and_then(|()| fs::remove_dir_all(&pages))
    } else {
        fs::remove_dir_all(station.folders.cache().join(&job.id))
    };
    station.at_desk(ledger, |desk| match &removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            crate::pulls::again(desk, JOB, &job, "replicated-cache", &error.to_string())
        }
        _ => desk.books.remove_record(JOB, &job.id),
    })?;
    Ok(true)
}
