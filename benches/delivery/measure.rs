//! Figures of the delivery, as JSON: life-cycles a second, from publishing to consuming, replication against plain rsync.

#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]

use alidade::{
    daemon::delivery::system_now,
    store::{Durability, delivery::DeliveryLedger},
};
use alidade_delivery::{
    desk::Draft,
    launcher::{Launch, launch},
    manifest::Manifest,
    recipes::House,
    replica::{self, Cached},
    review::{ReviewRequest, Verdict},
    sites::Sites,
    station::Station,
    transfer::Rsync,
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command, sync::Arc, thread, time::Duration};
use tokio::time::Instant;

fn main() {
    let folder = std::env::temp_dir().join(format!("alidade-bench-delivery-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (units, megabytes) = (number("UNITS", 1000), number("MEGABYTES", 1000));
    let result = json!({
        "life_cycles": life_cycles(&folder, "relaxed", units, Durability::Relaxed),
        "life_cycles_durable": life_cycles(&folder, "durable", units, Durability::Durable),
        "bus": bus(&folder), "replication": replication(&folder, megabytes),
    });
    fs::remove_dir_all(&folder).unwrap();
    println!("{result:#}");
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn station(folder: &Path) -> Station {
    let recipes = Arc::new(House::default());
    Station::new(
        Sites::alone("OHP"),
        folder,
        recipes,
        Arc::new(Rsync::default()),
        system_now(),
    )
    .unwrap()
}

fn ledger(folder: &Path, durability: Durability) -> DeliveryLedger {
    let url = format!("sqlite:{}", folder.join("books.sqlite").display());
    DeliveryLedger::open(&url, durability, "bench").unwrap()
}

/// Units from launch to delivery with a recipe that makes nothing but its report, in one process, on one thread.
fn life_cycles(folder: &Path, name: &str, units: usize, durability: Durability) -> Value {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    let (station, mut ledger) = (station(&folder), ledger(&folder, durability));
    let begun = Instant::now();
    for first in (0..units).step_by(100) {
        let some = first..(first + 100).min(units);
        station
            .at_desk(&mut ledger, |desk| {
                some.clone().try_for_each(|n| {
                    let wish = Launch {
                        program: "P1".into(),
                        unit: format!("u{n}"),
                        recipe: Some("NoOp".into()),
                        executive: Some("OHP".into()),
                        inputs: Vec::new(),
                    };
                    launch(desk, &wish, "bench", None)
                })
            })
            .unwrap();
        station.until_idle(&mut ledger).unwrap();
        station
            .at_desk(&mut ledger, |desk| {
                some.clone().try_for_each(|n| {
                    let review = ReviewRequest {
                        unit: format!("u{n}"),
                        verdict: Verdict::Pass,
                        reviewer: "bench".into(),
                        role: "reviewer".into(),
                        comment: String::new(),
                        by_way_of: String::new(),
                    };
                    desk.send(Draft::new("review.OHP", serde_json::to_value(review).unwrap(), "bench"))
                        .map(drop)
                })
            })
            .unwrap();
        station.until_idle(&mut ledger).unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let delivered = station
        .at_desk(&mut ledger, |desk| desk.books.units(Some("Delivered"), 1_000_000))
        .unwrap()
        .len();
    assert_eq!(delivered, units);
    json!({ "units": units, "seconds": seconds, "per_second": units as f64 / seconds })
}

/// From the commit of a message to its consumption by another thread, milliseconds.
fn bus(folder: &Path) -> Value {
    let folder = folder.join("bus");
    fs::create_dir_all(&folder).unwrap();
    let durable = || ledger(&folder, Durability::Durable);
    let (station, mut sender) = (station(&folder), durable());
    let (consumer, mut books) = (station.clone(), durable());
    let count = 1000;
    let reader = thread::spawn(move || {
        let patterns = ["work".to_owned()];
        let mut waits = Vec::new();
        while waits.len() < count {
            let heard = consumer.bell.count();
            let seen = consumer.at_desk(&mut books, |desk| {
                let waiting = desk.books.waiting("OHP", &patterns, desk.now, 64)?;
                waiting.iter().try_for_each(|message| desk.consume(message).map(drop))?;
                Ok(waiting)
            });
            let seen = seen.unwrap();
            let now = (consumer.now)();
            waits.extend(seen.iter().map(|m| now.seconds_since(m.created) * 1000.0));
            if seen.is_empty() {
                consumer.bell.wait(heard, Duration::from_secs(1));
            }
        }
        waits
    });
    for n in 0..count {
        station
            .at_desk(&mut sender, |desk| desk.send(Draft::new("work", json!(n), "bench")))
            .unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    let mut waits = reader.join().unwrap();
    waits.sort_by(f64::total_cmp);
    json!({ "messages": count, "p50_ms": waits[count / 2], "p99_ms": waits[count * 99 / 100] })
}

/// A group pulled, verified and put in place, against rsync alone; in turns, so that both see the same machine.
fn replication(folder: &Path, megabytes: usize) -> Value {
    let (source, target) = (folder.join("from"), folder.join("to"));
    let group = source.join("cache/g");
    fs::create_dir_all(&group).unwrap();
    let there = station(&target);
    let mut bytes = vec![0_u8; 10_000_000];
    for n in 0..megabytes.div_ceil(10) {
        bytes
            .iter_mut()
            .enumerate()
            .for_each(|(i, b)| *b = (i * 31 + n * 17 + (i >> 9)) as u8);
        fs::write(group.join(format!("f{n:04}")), &bytes).unwrap();
    }
    let digest = Manifest::of(&group, "g", "u", "r").unwrap().write(&group).unwrap();
    let cached = Cached {
        file_type: "productsdir".into(),
        cached_at: "OHP".into(),
        name: "g".into(),
        digest,
        bytes: 0,
        unit: "u".into(),
    };
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    // What was written before is not to be waited for by whoever writes next.
    let settle = || assert!(Command::new("sync").status().unwrap().success());
    for _ in 0..7 {
        settle();
        let begun = Instant::now();
        let copy = folder.join("plain");
        let status = Command::new("rsync")
            .arg("-rt")
            .arg(format!("{}/", group.display()))
            .arg(&copy)
            .status();
        assert!(status.unwrap().success());
        plain.push(begun.elapsed().as_secs_f64());
        fs::remove_dir_all(&copy).unwrap();
        settle();
        let begun = Instant::now();
        replica::pull(
            &Rsync::default(),
            &source.display().to_string(),
            &cached,
            &there.folders,
        )
        .unwrap();
        ours.push(begun.elapsed().as_secs_f64());
        fs::remove_dir_all(there.folders.cache().join("g")).unwrap();
    }
    let best = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let median = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    json!({ "megabytes": megabytes, "ours_s": ours, "rsync_s": plain,
        "ratio_of_medians": median(&ours) / median(&plain), "ratio_of_best": best(&ours) / best(&plain) })
}
