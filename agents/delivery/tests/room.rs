//! Disks without room, and scrubbers that are told to wait.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use alidade_delivery::{
    recipes::Mock,
    review::Verdict,
    scrub::{self, Scrubbed},
    space::Space,
};
use alidade_model::states::UnitState;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use support::{HOME, Observatory, Site, content};

const SURE: Mock = Mock {
    fails_one_in: 0,
    seed: 1,
    lasts_s: (0.0, 0.0),
};
const UNIT: &str = "uid://X1/X1/Xb2";

/// Gives a site a disk of which the test says how much is free, with a reserve of a thousand bytes.
fn disk(site: &mut Site, free: u64) -> Arc<AtomicU64> {
    let free = Arc::new(AtomicU64::new(free));
    let told = free.clone();
    site.station.space = Space {
        reserve: 1000,
        free: Arc::new(move |_| Ok(told.load(Ordering::Relaxed))),
    };
    free
}

fn look_again(observatory: &mut Observatory) {
    observatory.advance(61);
    observatory.settle();
}

#[test]
fn no_run_copy_ingest_or_delivery_begins_without_room_and_each_goes_on_when_there_is_some() {
    let mut observatory = Observatory::new(&["EU", "JAO"], SURE);
    let (at_eu, at_home) = (disk(observatory.at("EU"), 999), disk(observatory.at(HOME), 999));
    observatory.at(HOME).launch(UNIT, "PipelineImaging", "EU");
    observatory.settle();
    let run = observatory.at("EU").records("job.run").pop().unwrap();
    assert_eq!((run.state.as_str(), &run.body["attempts"]), ("ready", &json!(0)));
    assert!(
        run.body["waits"].as_str().unwrap().contains("waits for room"),
        "{run:?}"
    );
    assert_eq!(observatory.at(HOME).unit(UNIT).state, UnitState::Processing);

    at_eu.store(1000, Ordering::Relaxed);
    look_again(&mut observatory);
    assert_eq!(observatory.at(HOME).unit(UNIT).state, UnitState::ReadyForReview);
    let pulls = observatory.at(HOME).records("job.pull");
    assert_eq!(pulls.len(), 2, "group and weblog wait: {pulls:?}");
    assert!(
        pulls
            .iter()
            .all(|job| job.body["waits"].is_string() && job.body["attempts"] == json!(0))
    );
    assert!(content(&observatory.cache(HOME)).is_empty(), "nothing has been begun");
    let replicas = observatory.at(HOME).records("replica");
    assert!(
        replicas
            .iter()
            .filter(|r| r.id.starts_with("JAO/"))
            .all(|r| r.state == "queued"),
        "{replicas:?}"
    );
    for _ in 0..3 {
        look_again(&mut observatory);
    }
    let told = observatory.at(HOME).log().matches("waits for room").count();
    assert_eq!(told, 2, "the journal is told once a job");

    // Room for the copy, not for the archive: the products have 30 kB.
    at_home.store(u64::MAX, Ordering::Relaxed);
    look_again(&mut observatory);
    at_home.store(2000, Ordering::Relaxed);
    observatory.at(HOME).review(UNIT, Verdict::Pass);
    observatory.settle();
    let ingest = observatory.at(HOME).records("job.ingest").pop().unwrap();
    assert_eq!((ingest.state.as_str(), &ingest.body["attempts"]), ("ready", &json!(0)));
    assert_eq!(observatory.at(HOME).records("archive").len(), 1, "only the weblog");
    at_home.store(u64::MAX, Ordering::Relaxed);
    look_again(&mut observatory);
    assert_eq!(observatory.at(HOME).records("archive").len(), 6);

    let fetch = observatory.at("EU").records("job.fetch").pop().unwrap();
    assert!(fetch.state == "ready" && fetch.body["waits"].is_string(), "{fetch:?}");
    assert_eq!(observatory.at(HOME).unit(UNIT).state, UnitState::DeliveryInProgress);
    at_eu.store(u64::MAX, Ordering::Relaxed);
    look_again(&mut observatory);
    assert_eq!(observatory.at(HOME).unit(UNIT).state, UnitState::Delivered);
    let fetch = observatory.at("EU").records("job.fetch").pop().unwrap();
    assert!(fetch.body["waits"].is_null(), "{fetch:?}");
}

#[test]
fn a_paused_scrubber_reads_nothing_until_it_is_resumed_also_over_a_restart_and_from_another_site() {
    let mut observatory = Observatory::new(&["EU", "JAO"], SURE);
    observatory.at(HOME).launch(UNIT, "PipelineImaging", "EU");
    observatory.settle();
    observatory.advance(8 * 86_400);
    let tell = |observatory: &mut Observatory, paused: bool| {
        observatory.at("EU").send("scrub.JAO", json!({ "paused": paused }));
        observatory.settle();
    };
    let read = |observatory: &mut Observatory| {
        let site = observatory.at(HOME);
        site.station.scrub.bytes_s = 0;
        scrub::paced(&site.station, &mut site.ledger).unwrap()
    };
    tell(&mut observatory, true);
    assert_eq!(read(&mut observatory), Scrubbed::Nothing);
    let flag = observatory.at(HOME).station.scrub.paused.clone();
    assert!(flag.load(Ordering::Relaxed), "what is being read now waits too");
    // Another process has the record, not the flag.
    flag.store(false, Ordering::Relaxed);
    assert_eq!(read(&mut observatory), Scrubbed::Nothing);
    tell(&mut observatory, false);
    assert!(matches!(read(&mut observatory), Scrubbed::Good(_)));
    assert!(observatory.at(HOME).log().contains("audit JAO scrubber: paused"));
    observatory.at(HOME).send("scrub.JAO", json!({ "paused": "please" }));
    observatory.settle();
    assert!(observatory.at(HOME).log().contains("is told"));
}

#[test]
fn a_scrubber_that_waits_in_the_middle_of_a_file_ends_with_its_station() {
    let mut observatory = Observatory::new(&["JAO"], SURE);
    observatory.at(HOME).launch(UNIT, "PipelineImaging", HOME);
    observatory.settle();
    observatory.advance(8 * 86_400);
    let site = observatory.at(HOME);
    let (mut station, mut ledger) = (site.station.clone(), site.ledger.clone());
    // A byte a second: the first file alone would take an hour.
    station.scrub.bytes_s = 1;
    let ended = station.scrub.ended.clone();
    let reader = std::thread::spawn(move || scrub::paced(&station, &mut ledger).unwrap());
    ended.store(true, Ordering::Relaxed);
    assert!(matches!(reader.join().unwrap(), Scrubbed::Good(_)));
}
