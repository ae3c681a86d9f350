//! Real notices: every field right, nothing acted upon that must not be, bursts of two satellites put together.
//!
//! The copied notices under `tests/data` are always read. When the larger corpus lies beside the workspace (or where
//! `ALIDADE_CORPUS` says), it is read as well.

#![allow(clippy::unwrap_used)]

#[path = "support/manifest.rs"]
mod manifest;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use alidade_alerts::event::{EventBook, MergeRules, Trust};
use alidade_alerts::report::{Line, Reader};
use alidade_alerts::{Channel, Limits, Verdict, read, read_within};
use chrono::{DateTime, Duration, Utc};
use manifest::{compare, faults_of_case, is_barred, text};
use serde_json::Value;

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn copied(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(set)
}

/// A set of the larger corpus, if it is there.
fn corpus(set: &str) -> Option<PathBuf> {
    let base = std::env::var_os("ALIDADE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    let set = base.join("alerts").join(set);
    set.is_dir().then_some(set)
}

/// The copied files and, where it exists, the corpus.
fn folders(set: &str) -> Vec<PathBuf> {
    [Some(copied(set)), corpus(set)].into_iter().flatten().collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_field_of_every_public_notice_is_read_right() {
    for folder in folders("public") {
        let manifest = json(&folder.join("manifest.json"));
        let files = manifest["files"].as_array().unwrap();
        assert!(files.len() >= 60, "{} has {} files", folder.display(), files.len());
        let wrong: Vec<String> = files
            .iter()
            .flat_map(|entry| {
                let name = text(entry, "file");
                let bytes = std::fs::read(folder.join(name)).unwrap();
                let line = Reader::new(now()).read(name, &bytes);
                compare(entry, &serde_json::to_value(line).unwrap()).1
            })
            .map(|(_, sentence)| sentence)
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn no_notice_is_acted_upon_that_must_not_be_even_when_it_is_fresh() {
    for folder in folders("public") {
        let manifest = json(&folder.join("manifest.json"));
        let mut acted = 0;
        for entry in manifest["files"].as_array().unwrap() {
            let name = text(entry, "file");
            let bytes = std::fs::read(folder.join(name)).unwrap();
            let expected = &entry["expected"];
            // As if it had just come: age must not be what keeps it back.
            let at: DateTime<Utc> = expected["event_time_utc"]
                .as_str()
                .map_or_else(now, |t| t.parse().unwrap());
            let line = Reader::new(at + Duration::seconds(30)).read(name, &bytes);
            let barred = is_barred(expected);
            assert!(
                !(barred && line.verdict == Verdict::Act),
                "{name} is acted upon: {}",
                line.reason
            );
            acted += usize::from(line.verdict == Verdict::Act);
        }
        assert!(
            acted >= 15,
            "only {acted} notices of {} would be acted upon",
            folder.display()
        );
    }
}

#[test]
fn a_real_sky_map_is_measured_as_astropy_measures_it() {
    let folder = copied("public");
    let manifest = json(&folder.join("manifest.json"));
    let mut maps = 0;
    for entry in manifest["files"].as_array().unwrap() {
        let want = &entry["expected"]["skymap"];
        if want.is_null() {
            continue;
        }
        let bytes = std::fs::read(folder.join(text(entry, "file"))).unwrap();
        let notice = read(&bytes, Channel::Json, now()).notice.unwrap();
        let Some(alidade_alerts::notice::SkyMap::Fits(fits)) = &notice.skymap else {
            panic!("no map")
        };
        let map = alidade_alerts::skymap::MultiOrderMap::from_fits(fits).unwrap();
        assert_eq!(map.cells.len() as u64, want["rows"].as_u64().unwrap());
        for (level, key) in [(0.5, "area50_deg2"), (0.9, "area90_deg2")] {
            let (got, want) = (map.credible_area_deg2(level), want[key].as_f64().unwrap());
            assert!((got / want - 1.0).abs() < 1e-3, "{key}: {got} for {want}");
        }
        let peak = map.peak().unwrap();
        assert_eq!(u64::from(peak.order), want["peak_order"].as_u64().unwrap());
        assert_eq!(peak.pixel, want["peak_ipix"].as_u64().unwrap());
        maps += 1;
    }
    assert!(maps > 0, "no notice with a map among the copied ones");
}

/// The line of each case of the malformed corpus; cases of one sequence are one stream.
fn malformed_lines(folder: &Path, cases: &[Value]) -> Vec<Line> {
    let mut readers: BTreeMap<String, Reader> = BTreeMap::new();
    cases
        .iter()
        .map(|case| {
            let name = text(case, "file");
            let stream = case["sequence"][0].as_str().unwrap_or(name);
            let bytes = std::fs::read(folder.join(name)).unwrap();
            readers
                .entry(stream.to_string())
                .or_insert_with(|| Reader::new(now()))
                .read(name, &bytes)
        })
        .collect()
}

#[test]
fn every_malformed_packet_of_the_corpus_gets_an_allowed_verdict() {
    let Some(folder) = corpus("malformed") else { return };
    let manifest = json(&folder.join("manifest.json"));
    let cases = manifest["cases"].as_array().unwrap();
    for (case, line) in cases.iter().zip(malformed_lines(&folder, cases)) {
        let line = serde_json::to_value(line).unwrap();
        let faults = faults_of_case(case, &line);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// Every notice of a pair: name and bytes.
fn notices_of(folder: &Path, pair: &Value) -> Vec<(String, Vec<u8>)> {
    let events = pair["events"].as_array().unwrap().iter();
    events
        .flat_map(|e| e["notices"].as_array().unwrap())
        .map(|n| n.as_str().unwrap().to_string())
        .map(|n| (n.clone(), std::fs::read(folder.join(n)).unwrap()))
        .collect()
}

/// The groups of notices, as sets of their keys, after they came in this order.
fn groups(notices: &[(String, Vec<u8>)]) -> BTreeSet<BTreeSet<String>> {
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    for (_, bytes) in notices {
        book.insert(&read_within(bytes, Channel::Voevent, now(), &Limits::default()));
    }
    book.events().map(|e| e.notice_keys.into_iter().collect()).collect()
}

#[test]
fn bursts_of_two_satellites_are_merged_and_distinct_ones_never() {
    for folder in folders("merge") {
        let pairs = json(&folder.join("pairs.json"));
        let (mut merged, mut all) = (0, 0);
        for pair in pairs.as_array().unwrap() {
            let count = groups(&notices_of(&folder, pair)).len();
            match text(pair, "label") {
                "same" => {
                    all += 1;
                    merged += usize::from(count == 1);
                }
                "distinct" => assert_eq!(count, 2, "{pair}"),
                _ => {}
            }
        }
        // One pair is told by its authors to be the same burst though nothing but a minute speaks for it.
        assert!(all > 0 && merged + 1 >= all, "{}: {merged} of {all}", folder.display());
    }
}

#[test]
fn the_order_of_arrival_does_not_change_the_events() {
    for folder in folders("merge") {
        let pairs = json(&folder.join("pairs.json"));
        for pair in pairs.as_array().unwrap() {
            let mut notices = notices_of(&folder, pair);
            let expected = groups(&notices);
            let turns = notices.len().min(6);
            for turn in 0..turns {
                notices.rotate_left(1);
                assert_eq!(groups(&notices), expected);
                let mut back = notices.clone();
                back.reverse();
                back.swap(0, turn % notices.len());
                assert_eq!(groups(&back), expected);
            }
        }
    }
}
