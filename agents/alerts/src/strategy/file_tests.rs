use super::*;
use crate::notice::{Class, Flag};

const GOOD: &str = r#"
    [strategy]
    name = "grb-prompt"
    version = 3
    priority = 5
    valid_from = 2026-11-01T00:00:00Z
    [match]
    streams = ["swift/bat/grb_pos", "fermi/lat/*"]
    not_flags = ["not_a_grb"]
    max_r90 = "45'"
    max_age = "48h"
    min = { swift_image_snr = 6.5 }
    [constraints]
    max_sun_altitude = "-12deg"
    [preempt]
    level = "interrupt_exposure"
    [[plan.step]]
    until = "10min"
    filters = ["r"]
    exptime = "5s"
    count = 60
    [[plan.step]]
    until = "2h"
    filters = ["g", "r"]
    exptime = "60s"
    count = 10
    [plan.tiling]
    max_tiles = 24
    min_cumulative_prob = 0.5
    overlap = 0.05
    [update]
    repoint_if = "outside_fov"
    stop_on_retraction = true
"#;

/// The same in the other notation.
const YAML: &str = r#"
strategy: { name: grb-prompt, version: 3, priority: 5, valid_from: 2026-11-01T00:00:00Z }
match:
  streams: [swift/bat/grb_pos, "fermi/lat/*"]
  not_flags: [not_a_grb]
  max_r90: "45'"
  max_age: 48h
  min: { swift_image_snr: 6.5 }
constraints:
  max_sun_altitude: -12deg
preempt:
  level: interrupt_exposure
plan:
  step:
    - { until: 10min, filters: [r], exptime: 5s, count: 60 }
    - { until: 2h, filters: [g, r], exptime: 60s, count: 10 }
  tiling: { max_tiles: 24, min_cumulative_prob: 0.5, overlap: 0.05 }
update:
  repoint_if: outside_fov
  stop_on_retraction: true
"#;

#[test]
fn a_good_file_is_read() {
    let strategy = from_toml(GOOD).unwrap();
    assert_eq!(
        (strategy.name.as_str(), strategy.version, strategy.priority),
        ("grb-prompt", 3, 5)
    );
    assert_eq!(strategy.matching.max_r90_deg, Some(0.75));
    assert_eq!(strategy.preempt, Preempt::InterruptExposure);
    assert_eq!(strategy.steps[1].until, Duration::hours(2));
    assert_eq!(strategy.constraints.max_sun_altitude_deg, Some(-12.0));
    assert_eq!(strategy.visit_window, Duration::hours(12));
    assert!((strategy.update.repoint_fraction - 1.0).abs() < 1e-12);
}

#[test]
fn toml_and_yaml_say_the_same() {
    assert_eq!(from_text(YAML, Syntax::Yaml).unwrap(), from_toml(GOOD).unwrap());
    assert_eq!((Syntax::guess(YAML), Syntax::guess(GOOD)), (Syntax::Yaml, Syntax::Toml));
}

/// The one fault of a file.
fn only(text: &str) -> Fault {
    match from_toml(text).unwrap_err() {
        StrategyError::Values(faults) if faults.len() == 1 => faults[0].clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_fault_is_named_with_its_place() {
    for (from, to, place) in [
        ("priority = 5", "priority = 0", "strategy.priority"),
        ("priority = 5", "priority = \"five\"", "strategy.priority"),
        ("name = \"grb-prompt\"", "name = \"a b\"", "strategy.name"),
        ("version = 3\n", "", "strategy.version"),
        ("max_r90 = \"45'\"", "max_r90 = \"45\"", "match.max_r90"),
        (
            "max_r90 = \"45'\"",
            "max_r90 = \"45'\"\nmin_r90 = \"2deg\"",
            "match.max_r90",
        ),
        ("max_age = \"48h\"", "max_age = \"-48h\"", "match.max_age"),
        ("max_age = \"48h\"", "missions = [\"Swift\"]", "match.missions"),
        ("[\"not_a_grb\"]", "[\"not_a_flag\"]", "match.not_flags"),
        (
            "swift_image_snr = 6.5",
            "swift_image_snr = \"6.5\"",
            "match.min.swift_image_snr",
        ),
        ("\"interrupt_exposure\"", "\"now\"", "preempt.level"),
        ("until = \"2h\"", "until = \"5min\"", "plan.step[1].until"),
        ("exptime = \"5s\"", "exptime = \"0s\"", "plan.step[0].exptime"),
        ("count = 60", "count = 0", "plan.step[0].count"),
        ("filters = [\"r\"]", "filters = []", "plan.step[0].filters"),
        ("\"-12deg\"", "\"12deg\"", "constraints.max_sun_altitude"),
        ("overlap = 0.05", "overlap = 0.9", "plan.tiling.overlap"),
        ("\"fermi/lat/*\"", "\"Fermi LAT\"", "match.streams"),
        (
            "stop_on_retraction = true",
            "repoint_fraction = -0.5",
            "update.repoint_fraction",
        ),
    ] {
        let fault = only(&GOOD.replace(from, to));
        assert_eq!(fault.key, place, "{fault}");
        assert!(fault.line.is_some(), "{fault}");
    }
    let fault = only(&GOOD.replace("count = 60", "count = 60\ncoutn = 60"));
    assert_eq!(fault.key, "plan.step[0].coutn");
    let line = GOOD.lines().position(|line| line.contains("count = 60")).unwrap() + 2;
    assert_eq!(fault.line, Some(line), "{fault}");
}

#[test]
fn all_faults_are_told_at_once() {
    let text = GOOD
        .replace("priority = 5", "priority = 0")
        .replace("count = 60", "count = 0")
        .replace("overlap = 0.05", "overlap = 0.9\nsurprise = 1");
    let StrategyError::Values(faults) = from_toml(&text).unwrap_err() else {
        panic!("not the values");
    };
    let keys: Vec<&str> = faults.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "strategy.priority",
            "plan.step[0].count",
            "plan.tiling.overlap",
            "plan.tiling.surprise"
        ]
    );
}

#[test]
fn what_is_no_file_at_all_is_refused_with_its_place() {
    let error = from_toml(&GOOD.replace("[match]", "[match")).unwrap_err();
    assert!(
        matches!(&error, StrategyError::Syntax(text) if text.contains("line")),
        "{error}"
    );
    for text in ["strategy: [", "a: b\na: c", "- 1\n- 2", ""] {
        assert!(from_text(text, Syntax::Yaml).is_err(), "{text}");
    }
    let bomb = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        text + &format!("a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1)
    });
    assert!(from_text(&bomb, Syntax::Yaml).is_err());
    assert!(from_toml(&"#".repeat(100_000)).is_err());
}

/// The schema for editors names exactly the keys that the reader takes.
#[test]
fn the_schema_knows_the_same_keys() {
    let text = include_str!("../../../../config/strategies/strategy.schema.json");
    let schema: serde_json::Value = serde_json::from_str(text).unwrap();
    let keys = |pointer: &str| -> BTreeSet<String> {
        let table = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        assert_eq!(table["additionalProperties"], false, "{pointer}");
        table["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let ours = |known: &[&str]| -> BTreeSet<String> { known.iter().map(|k| (*k).to_owned()).collect() };
    for (pointer, known) in [
        ("", PARTS),
        ("/properties/strategy", HEAD),
        ("/properties/match", MATCH),
        ("/properties/constraints", CONSTRAINTS),
        ("/properties/preempt", &["level"][..]),
        ("/properties/plan", &["step", "tiling", "revisit_after", "visit_window"]),
        ("/properties/plan/properties/step/items", STEP),
        (
            "/properties/plan/properties/tiling",
            &["max_tiles", "min_cumulative_prob", "overlap"],
        ),
        (
            "/properties/update",
            &["repoint_if", "repoint_fraction", "stop_on_retraction"],
        ),
    ] {
        assert_eq!(keys(pointer), ours(known), "{pointer}");
    }
    for (pointer, name) in [
        ("/$defs/flag/enum", "flag"),
        ("/$defs/class/enum", "class"),
        ("/properties/preempt/properties/level/enum", "level"),
        ("/properties/update/properties/repoint_if/enum", "repoint_if"),
    ] {
        for item in schema.pointer(pointer).unwrap().as_array().unwrap() {
            let text = item.as_str().unwrap();
            let known = match name {
                "flag" => word::<Flag>(text).is_ok(),
                "class" => word::<Class>(text).is_ok(),
                "level" => word::<Preempt>(text).is_ok(),
                _ => word::<RepointIf>(text).is_ok(),
            };
            assert!(known, "{name} {text}");
        }
    }
}
