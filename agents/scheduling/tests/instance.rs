//! The instance format: what is read, and what is refused with file, place and cause.

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
