//! What frames say is done, in a simulated hour: the target comes to the middle, the focus is found, and nothing runs away.

use crate::support::{
    command::{Folder, say},
    journal::{Journal, text},
};
use serde_json::Value;
use std::{fs, path::Path};

const HOUR: &str = "simulations/nights/faults";

const SEQUENCES: &str = r#"
[[requests]]
id = "f01"
title = "M 35"
user = "ada"

[[requests.sequences]]
target = { name = "M 35", ra_deg = 92.225, dec_deg = 24.3333 }
window = ["2026-02-11T19:30:00Z", "2026-02-11T20:30:00Z"]
priority = 9.5
constraints = { min_alt_deg = 20.0, moon_sep_deg = 10.0, sun_max_alt_deg = -14.0 }
albums = [
  { channel = "vis", plans = [{ filter = "r", exposure_s = 20.0, count = 24 }] },
  { channel = "nir", plans = [{ filter = "z", exposure_s = 30.0, count = 3 }] },
]

[[requests]]
id = "f02"
title = "M 37"
user = "ada"

[[requests.sequences]]
target = { name = "M 37", ra_deg = 88.0742, dec_deg = 32.5453 }
window = ["2026-02-11T19:30:00Z", "2026-02-11T20:35:00Z"]
priority = 8.5
constraints = { min_alt_deg = 20.0, moon_sep_deg = 10.0, sun_max_alt_deg = -14.0 }
albums = [{ channel = "vis", plans = [{ filter = "r", exposure_s = 20.0, count = 6 }] }]
"#;

/// An hour with hardware that is not as configured, `observation` in the configuration.
fn hour(name: &str, hardware: &str, observation: &str) -> Journal {
    hour_with(name, hardware, observation, ("", ""))
}

/// The same with more devices in the configuration, and faults.
fn hour_with(name: &str, hardware: &str, observation: &str, (devices, faults): (&str, &str)) -> Journal {
    let folder = Folder::new(name);
    let night = folder.path().join("night");
    fs::create_dir_all(&night).unwrap();
    let scenario =
        format!("title = \"{name}\"\nstart = \"2026-02-11T19:30:00Z\"\nend = \"2026-02-11T20:42:00Z\"\n{hardware}\n");
    fs::write(night.join("scenario.toml"), scenario).unwrap();
    fs::write(night.join("sequences.toml"), SEQUENCES).unwrap();
    fs::copy(Path::new(HOUR).join("weather.csv"), night.join("weather.csv")).unwrap();
    let configuration = fs::read_to_string(Path::new(HOUR).join("observatory.toml")).unwrap();
    assert!(configuration.contains("[observation]\n"));
    let configuration = configuration.replace("[observation]\n", &format!("[observation]\n{observation}\n"));
    fs::write(night.join("observatory.toml"), configuration + devices).unwrap();
    fs::write(night.join("faults.toml"), faults).unwrap();
    let out = folder.join("out");
    let said = say(&[
        "simulate",
        &night.display().to_string(),
        "--out",
        &out,
        "--frames",
        "pixels",
    ]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    Journal::read(&Path::new(&out).join("journal.ndjson"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Distances of the frames from where they were to be, arcseconds, of one channel in order.
fn offsets(journal: &Journal) -> Vec<f64> {
    let solved = journal
        .of("frame_solved")
        .filter(|e| text(&e["exposure"]).ends_with("-vis"));
    solved.map(|e| number(&e["offset_arcsec"])).collect()
}

fn corrections<'a>(journal: &'a Journal, what: &'a str) -> Vec<&'a Value> {
    journal.of("corrected").filter(|e| e["what"] == what).collect()
}

#[test]
fn a_mount_that_points_beside_the_target_is_set_right_by_the_first_frame() {
    let hardware = "[mount]\npointing_error_arcsec = [150.0, -90.0]";
    let journal = hour("pointing-hour", hardware, "");
    let offsets = offsets(&journal);
    assert!(offsets.len() >= 28, "{offsets:?}");
    assert!(offsets[0] > 150.0, "{offsets:?}");
    assert!(offsets[2..].iter().all(|o| *o < 30.0), "{offsets:?}");
    let made = corrections(&journal, "pointing");
    assert!((1..=3).contains(&made.len()), "{made:?}");
    // The channel beside it was not moved in the middle of an exposure.
    assert!(
        journal
            .of("exposure_ended")
            .all(|e| e["outcome"]["outcome"] == "written" || !e["outcome"]["product"].is_null())
    );
    let control = hour("pointing-control", hardware, "recentre_arcsec = 0.0");
    assert!(corrections(&control, "pointing").is_empty());
    assert!(self::offsets(&control).iter().all(|o| *o > 100.0));
}

#[test]
fn a_telescope_out_of_focus_comes_to_its_focus_by_its_own_frames() {
    let hardware = "[focuser]\noff_by_steps = 1500.0";
    let journal = hour("focus-hour", hardware, "focus_trial_steps = 200");
    let widths: Vec<f64> = journal
        .of("frame_reduced")
        .filter(|e| text(&e["exposure"]).ends_with("-vis"))
        .map(|e| number(&e["fwhm_px"]))
        .collect();
    assert!(widths.len() >= 28, "{widths:?}");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (before, after) = (mean(&widths[..3]), mean(&widths[widths.len() - 5..]));
    assert!(after < 0.75 * before, "{widths:?}");
    let made = corrections(&journal, "focus");
    assert!((2..=12).contains(&made.len()), "{made:?}");
}

#[test]
fn frames_lie_on_the_sky_as_the_rotator_stands() {
    let rotator =
        "\n[devices.rotator]\nkind = \"rotator\"\nprotocol = \"grammar\"\nlink = \"simulated\"\nblocking = false\n";
    // Somebody turns it while the field is observed; the 95 degrees take it 32 seconds.
    let turned = r#"
[[faults]]
at = "2026-02-11T19:38:00Z"
device = "rotator"
kind = "foreign"
says = "DO GOTO 100"
for_s = 1.0
"#;
    let journal = hour_with("rotator-hour", "", "", (rotator, turned));
    let lie = |from: &str, to: &str| -> Vec<f64> {
        let solved = journal.of("frame_solved").filter(|e| {
            let exposure = text(&e["exposure"]);
            exposure.ends_with("-vis") && exposure > from && exposure < to
        });
        solved.map(|e| number(&e["rotation_deg"]).rem_euclid(360.0)).collect()
    };
    // A frame is solved only within some degrees of what its header says: it says where the rotator stood.
    let (before, after) = (
        lie("20260211T1930", "20260211T1938"),
        lie("20260211T1938", "20260211T2042"),
    );
    assert!(before.len() >= 5 && after.len() >= 8, "{before:?} {after:?}");
    assert!(before.iter().all(|deg| (deg - 195.0).abs() < 0.5), "{before:?}");
    assert!(after.iter().all(|deg| (deg - 100.0).abs() < 0.5), "{after:?}");
    // What was being exposed was given up, and taken again when the field stood.
    let given_up: Vec<_> = journal
        .of("exposure_ended")
        .filter(|e| {
            let cause = e["outcome"]["cause"].as_str();
            cause.is_some_and(|cause| cause.contains("the field was turned"))
        })
        .map(|e| text(&e["exposure"]))
        .collect();
    assert!(!given_up.is_empty() && given_up.len() <= 2, "{given_up:?}");
    let ended = |id: &&str| *id > "20260211T193700" && *id < "20260211T193801";
    assert!(given_up.iter().all(ended), "{given_up:?}");
}
