//! Scenario folders from outside: the nights that come with Alidade, and folders with something wrong in them.
#![allow(clippy::unwrap_used, reason = "this whole file is tests")]

use alidade_simulations::{
    scenario::{Scenario, faults},
    sky::Catalogue,
    world::WeatherSeries,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder of this test alone, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(of)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    found
}

#[test]
fn the_smallest_night_loads_and_its_packet_is_moved() {
    let night = Scenario::load(&here("tests/data/good")).unwrap();
    assert_eq!(
        (night.requests.len(), night.faults.len(), night.transients.len()),
        (1, 1, 1)
    );
    // Sent at 08:52:07 for 08:51:04.859; sent again 3 s before 23:32:10.
    let body = String::from_utf8(night.packets[0].body.clone()).unwrap();
    assert_eq!(body.trim(), "{\"trigger_time\": \"2026-03-14T23:31:04.859Z\"}");
}

#[test]
fn each_bad_folder_says_one_line_with_file_place_and_cause() {
    let cases = folders(&here("tests/data/bad"));
    assert!(cases.len() >= 29);
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let folder = Folder::new(name);
        copy(&here("tests/data/good"), &folder.0);
        copy(&case, &folder.0);
        for file in fs::read_to_string(case.join("REMOVE")).unwrap_or_default().lines() {
            fs::remove_file(folder.0.join(file)).unwrap();
        }
        let expected = fs::read_to_string(case.join("expected")).unwrap();
        let said = match Scenario::load(&folder.0) {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string().replace(&format!("{}/", folder.0.display()), ""),
        };
        if said != expected.trim_end() || said.contains('\n') {
            wrong.push(format!(
                "{name}\n  said:     {said}\n  expected: {}",
                expected.trim_end()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = Scenario::load(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/at/all: is not a folder");
    assert_eq!(faults(Path::new("/nowhere/faults.toml")), Ok(Vec::new()));
}

#[test]
fn the_nights_that_come_with_alidade_load() {
    let nights = folders(&here("nights"));
    let mut loaded = 0;
    // The hour of the fault matrix is no night: it is loaded by its own tests.
    for folder in nights
        .iter()
        .filter(|folder| folder.join("scenario.toml").exists() && !folder.ends_with("faults"))
    {
        let night = Scenario::load(folder).unwrap_or_else(|error| panic!("{error}"));
        loaded += 1;
        let sequences: Vec<_> = night.requests.iter().flat_map(|request| &request.sequences).collect();
        assert!(sequences.len() >= 40, "{}: {} sequences", night.title, sequences.len());
        let users: std::collections::BTreeSet<_> = night.requests.iter().map(|request| &request.user).collect();
        assert!(users.len() >= 3, "{}: {users:?}", night.title);
        assert!(
            sequences.iter().any(|sequence| sequence.albums.len() == 2),
            "{}: two channels",
            night.title
        );
        // The weather is known from before the start until after the end.
        let (first, last) = (night.weather.at(night.start), night.weather.at(night.end));
        assert_ne!(first, last, "{}: the weather changes", night.title);
        // Each field has real stars, and the counterpart's field too.
        let stars = fs::read_to_string(folder.join("stars.csv")).unwrap();
        let catalogue =
            Catalogue::read(&stars).unwrap_or_else(|(line, cause)| panic!("{}:{line}: {cause}", night.title));
        let places = sequences.iter().map(|s| (s.target.ra_deg, s.target.dec_deg));
        for place in places.chain(night.transients.iter().map(|t| (t.ra_deg, t.dec_deg))) {
            let bright = catalogue
                .around(place, 0.5)
                .iter()
                .filter(|star| star.mag < 11.5)
                .count();
            assert!(bright >= 2, "{}: {bright} bright stars around {place:?}", night.title);
        }
    }
    assert_eq!(loaded, 4);
}

#[test]
fn the_shower_over_ohp_comes_before_the_burst() {
    let night = Scenario::load(&here("nights/grb-over-ohp")).unwrap();
    let rain_at = |time: &str| night.weather.at(time.parse().unwrap()).rain_mm_h;
    assert_eq!(
        (rain_at("2026-03-14T20:30:00Z"), rain_at("2026-03-14T22:00:00Z")),
        (0.0, 0.0)
    );
    assert!(rain_at("2026-03-14T21:05:00Z") > 1.0);
    let packet = &night.packets[0];
    let burst = &night.transients[0];
    // The notice tells a trigger that is the counterpart's first light, and a place within its own error of it.
    let text = String::from_utf8(packet.body.clone()).unwrap();
    let told = text
        .split("<ISOTime>")
        .nth(1)
        .and_then(|rest| rest.split("</ISOTime>").next())
        .unwrap();
    let trigger: alidade_model::time::UtcTime = format!("{told}Z").parse().unwrap();
    assert!(
        trigger.seconds_since(burst.appears).abs() < 5.0,
        "{trigger} {}",
        burst.appears
    );
    assert!(packet.at > trigger);
}
