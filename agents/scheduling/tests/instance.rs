//! The instance format: what is read, and what is refused with file, place and cause.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use alidade_scheduling::instance::{MOST_REQUESTS, parse_instance, schedule_document};
use alidade_scheduling::{PlanOptions, plan};
use serde_json::{Value, json};

fn instance() -> Value {
    json!({
        "format": "obs-schedule-instance/1", "name": "two stars",
        "site": {"name": "La Silla", "lat_deg": -29.2567, "lon_deg": -70.7346, "height_m": 2375.0},
        "night": {"date": "2027-03-14", "start_utc": "2027-03-14T23:53:00Z", "end_utc": "2027-03-15T09:51:00Z",
            "sun_max_alt_deg": -12.0},
        "overhead_s": 60, "quotas_s": {"u1": 3600},
        "requests": [
            {"id": "a", "name": "A", "user": "u1", "ra_deg": 165.0, "dec_deg": -35.0, "duration_s": 600,
                "priority": 5, "min_alt_deg": 30.0, "moon_sep_deg": 20.0, "windows": []},
            {"id": "b", "name": "B", "user": "u1", "ra_deg": 170.0, "dec_deg": -30.0, "duration_s": 900,
                "priority": 2, "min_alt_deg": 30.0, "moon_sep_deg": 20.0,
                "windows": [["2027-03-15T03:00:00Z", "2027-03-15T04:00:00Z"]]},
        ],
    })
}

fn refused(change: impl Fn(&mut Value)) -> String {
    let mut v = instance();
    change(&mut v);
    parse_instance("night.json", &v.to_string())
        .expect_err("the change is a fault")
        .to_string()
}

#[test]
fn an_instance_is_planned_and_its_schedule_lists_both_blocks() {
    let read = parse_instance("night.json", &instance().to_string()).unwrap();
    let made = plan(&read.problem, PlanOptions::default()).unwrap();
    let document = schedule_document(&read, &made);
    assert_eq!(document["objective"], 4800.0);
    assert_eq!(document["upper_bound"], 4800.0);
    let blocks = document["schedule"].as_array().unwrap();
    assert_eq!(blocks.len(), 2);
    assert!(blocks.iter().all(|b| b["start_utc"].as_str().unwrap().ends_with('Z')));
}

#[test]
fn each_fault_is_one_line_with_file_place_and_cause() {
    let cases: Vec<(String, &str)> = vec![
        (
            refused(|v| v["format"] = json!("other/2")),
            "night.json: format: expected",
        ),
        (
            refused(|v| v["requests"][1]["ra_deg"] = json!("x")),
            "night.json: requests[1].ra_deg: expected a number",
        ),
        (
            refused(|v| v["requests"][1]["ra_deg"] = json!(361.0)),
            "requests[1].ra_deg: 361 is outside 0 to 360",
        ),
        (
            refused(|v| v["requests"][0]["duration_s"] = json!(-5)),
            "requests[0].duration_s: -5 is not positive",
        ),
        (
            refused(|v| v["requests"][0]["user"] = json!("zz")),
            "requests[0].user: unknown user \"zz\"",
        ),
        (
            refused(|v| v["requests"][1]["id"] = json!("a")),
            "requests[1].id: \"a\" is used twice",
        ),
        (
            refused(|v| v["night"]["end_utc"] = json!("2027-03-14T22:00:00Z")),
            "night.end_utc: the night ends before",
        ),
        (
            refused(|v| v["night"]["start_utc"] = json!("tonight")),
            "night.start_utc: expected a UTC time",
        ),
        (
            refused(|v| v["night"]["sun_max_alt_deg"] = json!(-80.0)),
            "night: no darkness",
        ),
        (
            refused(|v| v["site"]["lat_deg"] = json!(-95)),
            "site.lat_deg: -95 is outside",
        ),
        (refused(|v| v["overhead_s"] = json!(-1)), "overhead_s: -1 is outside"),
        (
            refused(|v| v["quotas_s"]["u1"] = json!(null)),
            "quotas_s.u1: expected a number",
        ),
        (
            refused(|v| drop(v.as_object_mut().unwrap().remove("site"))),
            "site: missing",
        ),
        (refused(|v| v["requests"] = json!({})), "requests: expected a list"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let window = |from: &str, to: &str| json!([[format!("2027-03-15T{from}Z"), format!("2027-03-15T{to}Z")]]);
    let empty = refused(|v| v["requests"][1]["windows"] = window("03:00:00", "03:00:00"));
    assert!(empty.contains("requests[1].windows[0]: the window is empty"), "{empty}");
    let backwards = refused(|v| v["requests"][1]["windows"] = window("03:00:00", "02:00:00"));
    assert!(
        backwards.contains("requests[1].windows[0]: the window ends before it starts"),
        "{backwards}"
    );
}

#[test]
fn not_a_number_and_broken_text_are_refused_with_line_and_column() {
    let text = instance().to_string().replace("165.0", "NaN");
    let e = parse_instance("n.json", &text).unwrap_err().to_string();
    assert!(
        e.starts_with("n.json: line 1 column ") && e.contains("NaN is not a number"),
        "{e}"
    );
    assert!(
        parse_instance("n.json", "")
            .unwrap_err()
            .to_string()
            .contains("not valid JSON")
    );
    assert!(
        parse_instance("n.json", "[]")
            .unwrap_err()
            .to_string()
            .contains("expected an object")
    );
    let deep = "[".repeat(100_000);
    assert!(parse_instance("n.json", &deep).is_err());
}

#[test]
fn too_many_requests_are_refused_before_they_are_read() {
    let message = refused(|v| v["requests"] = Value::Array(vec![json!(null); MOST_REQUESTS + 1]));
    assert!(
        message.contains("requests: 50001 requests, at most 50000 are planned"),
        "{message}"
    );
}

/// What the planner answers to a changed instance: starts by id, and reason codes of what is left out.
fn answer(change: impl Fn(&mut Value)) -> (Value, std::collections::BTreeMap<String, String>) {
    let mut v = instance();
    change(&mut v);
    let read = parse_instance("night.json", &v.to_string()).unwrap();
    let made = plan(&read.problem, PlanOptions::default()).unwrap();
    let codes = made
        .unplanned
        .iter()
        .map(|u| (u.id.clone(), u.reason.code().to_owned()));
    (schedule_document(&read, &made), codes.collect())
}

fn start_s(document: &Value, id: &str) -> f64 {
    let blocks = document["schedule"].as_array().unwrap();
    let block = blocks
        .iter()
        .find(|b| b["id"] == id)
        .unwrap_or_else(|| panic!("{id} is not planned: {document}"));
    let start: chrono::DateTime<chrono::Utc> = block["start_utc"].as_str().unwrap().parse().unwrap();
    start.timestamp_millis() as f64 / 1000.0
}

#[test]
fn a_cadence_repeats_a_request_at_its_period_within_its_tolerance() {
    let (document, left) = answer(|v| {
        v["quotas_s"] = json!(null);
        v["requests"][0]["repeats"] = json!({"count": 4, "period_s": 3600, "tolerance_s": 300});
    });
    assert!(left.is_empty(), "{left:?}");
    for n in 1..4 {
        let step = start_s(&document, &format!("a/{}", n + 1)) - start_s(&document, &format!("a/{n}"));
        assert!((step - 3600.0).abs() <= 300.0, "step {n} is {step} s");
    }
}

#[test]
fn a_request_follows_another_within_the_gap_it_asks_for() {
    let (document, _) =
        answer(|v| v["requests"][0]["after"] = json!({"id": "b", "min_gap_s": 1200, "max_gap_s": 1800}));
    let gap = start_s(&document, "a") - (start_s(&document, "b") + 900.0);
    assert!((1200.0..=1800.0).contains(&gap), "{gap}");
}

#[test]
fn a_group_that_cannot_have_its_least_number_has_none() {
    let (_, left) = answer(|v| {
        v["groups"] = json!({"pair": {"at_least": 2}});
        v["requests"][0]["group"] = json!("pair");
        v["requests"][1]["group"] = json!("pair");
        v["requests"][1]["dec_deg"] = json!(89.0);
    });
    assert_eq!(left["a"], "group_incomplete");
}

#[test]
fn a_wall_of_mountains_hides_the_whole_sky_and_is_named() {
    let (_, left) = answer(|v| v["horizon"] = json!([[0, 85], [180, 89], [270, 88]]));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["a", "b"]);
    let (_, left) = answer(|v| v["horizon"] = json!([[0, 10]]));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_seeing_class_waits_for_the_good_hours_and_says_so_when_there_are_none() {
    let forecast = |until: &str| json!([{"start_utc": "2027-03-14T23:00:00Z", "end_utc": until, "seeing_arcsec": 2.5, "cloud_cover": 0.1}]);
    let (document, _) = answer(|v| {
        v["conditions"] = forecast("2027-03-15T05:00:00Z");
        v["requests"][0]["max_seeing_arcsec"] = json!(1.5);
        v["requests"][1]["max_cloud_cover"] = json!(0.2);
    });
    let five: chrono::DateTime<chrono::Utc> = "2027-03-15T05:00:00Z".parse().unwrap();
    assert!(start_s(&document, "a") >= five.timestamp() as f64);
    assert!(start_s(&document, "b") < five.timestamp() as f64);
    let (document, left) = answer(|v| {
        v["conditions"] = forecast("2027-03-15T12:00:00Z");
        v["requests"][0]["max_seeing_arcsec"] = json!(1.5);
    });
    assert_eq!(left["a"], "constraint");
    let said = document["unplanned"][0]["sentence"].as_str().unwrap();
    assert!(
        said.contains("the seeing is too poor (2.5 at worst, limit 1.5)"),
        "{said}"
    );
}

#[test]
fn faults_of_the_optional_keys_are_named_too() {
    let cases = [
        (
            refused(|v| v["requests"][0]["after"] = json!({"id": "zz"})),
            "request \"a\": after.id: unknown request \"zz\"",
        ),
        (
            refused(|v| v["requests"][0]["after"] = json!({"id": "a"})),
            "request \"a\": after.id: it follows itself",
        ),
        (
            refused(|v| v["requests"][0]["after"] = json!({"id": "b", "min_gap_s": 10, "max_gap_s": 5})),
            "after.max_gap_s: 5 is outside",
        ),
        (
            refused(|v| v["requests"][1]["group"] = json!("g")),
            "requests[1].group: unknown group \"g\"",
        ),
        (
            refused(|v| v["groups"] = json!({"g": {"at_least": 3, "at_most": 2}})),
            "groups.g: at_most is less",
        ),
        (
            refused(|v| v["horizon"] = json!([[400, 10]])),
            "horizon[0]: expected [azimuth",
        ),
        (
            refused(|v| v["weights"] = json!({"airmass": 2})),
            "weights.airmass: 2 is outside 0 to 1",
        ),
        (
            refused(|v| v["requests"][0]["charged"] = json!(1)),
            "requests[0].charged: expected true or false",
        ),
        (
            refused(|v| v["requests"][0]["repeats"] = json!({"count": 2.5, "period_s": 3600, "tolerance_s": 0})),
            "repeats.count: 2.5 is not a whole",
        ),
        (
            refused(|v| v["requests"][0]["repeats"] = json!({"count": 2, "period_s": 60, "tolerance_s": 0})),
            "repeats.period_s: 60 is shorter",
        ),
        (
            refused(|v| {
                v["conditions"] = json!([{"start_utc": "2027-03-15T05:00:00Z", "end_utc": "2027-03-15T04:00:00Z"}])
            }),
            "conditions[0].end_utc: it ends before",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_circle_of_followers_is_refused() {
    let message = refused(|v| {
        v["requests"][0]["after"] = json!({"id": "b"});
        v["requests"][1]["after"] = json!({"id": "a"});
    });
    assert!(message.contains("it follows itself"), "{message}");
}

#[test]
fn repeats_cannot_grow_an_instance_past_the_limit() {
    let message = refused(|v| {
        let one = |k: usize| {
            let mut r = v["requests"][0].clone();
            r["id"] = json!(format!("r{k}"));
            r["repeats"] = json!({"count": 1000, "period_s": 3600, "tolerance_s": 60});
            r
        };
        v["requests"] = (0..60).map(one).collect();
    });
    assert!(
        message.contains("with its repeats the instance has more than 50000"),
        "{message}"
    );
}

#[test]
fn a_plan_under_a_known_sky_is_the_plan_under_a_fresh_one_even_when_the_sky_is_of_another_night() {
    use alidade_scheduling::plan::{plan_under, sky_of};
    let problem = parse_instance("night.json", &instance().to_string()).unwrap().problem;
    let fresh = plan(&problem, PlanOptions::default()).unwrap();
    let known = std::sync::Arc::new(sky_of(&problem));
    assert_eq!(plan_under(&known, &problem, PlanOptions::default()).unwrap(), fresh);
    let mut other = problem.clone();
    other.night.start -= chrono::TimeDelta::hours(24);
    other.night.end -= chrono::TimeDelta::hours(24);
    let wrong = std::sync::Arc::new(sky_of(&other));
    assert_eq!(plan_under(&wrong, &problem, PlanOptions::default()).unwrap(), fresh);
}

#[test]
fn two_telescopes_observe_at_the_same_time_and_a_class_of_units_is_kept() {
    let (document, _) = answer(|v| {
        v["units"] = json!([{"name": "t1", "classes": ["any"]}, {"name": "t2", "classes": ["any", "wide"]}]);
        v["overheads"] = json!({"axis1_deg_s": 3.0, "axis2_deg_s": 3.0, "flip_s": 60.0});
        v["overhead_s"] = json!(0);
        v["requests"][0]["windows"] = json!([["2027-03-15T03:00:00Z", "2027-03-15T03:16:00Z"]]);
        v["requests"][1]["windows"] = json!([["2027-03-15T03:00:00Z", "2027-03-15T03:16:00Z"]]);
        v["requests"][1]["unit"] = json!("wide");
        v["requests"][1]["filters"] = json!(["r", "g"]);
    });
    let unit = |id: &str| {
        let blocks = document["schedule"].as_array().unwrap();
        blocks.iter().find(|b| b["id"] == id).unwrap()["unit"].clone()
    };
    assert_eq!((unit("a"), unit("b")), (json!("t1"), json!("t2")));
    assert!(refused(|v| v["requests"][1]["unit"] = json!("t9")).contains("requests[1].unit: unknown unit \"t9\""));
    let nowhere = refused(|v| v["overheads"] = json!({"warp": 9}));
    assert!(nowhere.contains("night.json: overheads: unknown field"), "{nowhere}");
}
