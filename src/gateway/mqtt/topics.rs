//! What is on the feed: topics and payloads, as pure functions of a snapshot or a journal line.

use crate::gateway::{
    LineHead,
    snapshot::{Mode, SCHEMA, Snapshot},
};
use alidade_alerts::record::BOUNDS_S;
use alidade_model::time::UtcTime;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A state is repeated at least this often, seconds of the daemon's own time ...
pub const REFRESH_S: f64 = 30.0;
/// ... and is to be taken as unknown this long after its `ts`.
pub const VALID_S: f64 = 90.0;

/// `alidade/<site>/<unit>`
pub fn base(snapshot: &Snapshot) -> String {
    format!("alidade/{}/{}", segment(&snapshot.site.name), segment(&snapshot.unit))
}

/// A name as one level of a topic: separators, wildcards and white space become `_`.
pub fn segment(name: &str) -> String {
    let keep = |c: char| {
        if c.is_whitespace() || c.is_control() || "/+#$".contains(c) {
            '_'
        } else {
            c
        }
    };
    let kept: String = name.chars().map(keep).collect();
    if kept.is_empty() { "_".into() } else { kept }
}

fn object(value: impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        Ok(Value::Null) => Map::new(),
        Ok(other) => Map::from_iter([("value".to_owned(), other)]),
        // Snapshots are plain data with text keys; a failure would show as an empty state.
        Err(_) => Map::new(),
    }
}

/// Every retained state, by the part of its topic after the base.
pub fn states(snapshot: &Snapshot) -> BTreeMap<String, Map<String, Value>> {
    let mut states = BTreeMap::new();
    let mut night = object(&snapshot.night);
    night.insert("sentence".into(), Value::Object(object(&snapshot.sentence)));
    night.insert("mode".into(), Value::Object(object(snapshot.mode)));
    states.insert("state/night".to_owned(), night);
    states.insert("state/safety".to_owned(), object(&snapshot.safety));
    states.insert("state/enclosure".to_owned(), object(&snapshot.enclosure));
    states.insert("state/mount".to_owned(), object(&snapshot.mount));
    states.insert(
        "state/weather".to_owned(),
        object(json!({ "quantities": snapshot.weather })),
    );
    states.insert(
        "state/schedule".to_owned(),
        object(json!({ "rows": snapshot.schedule, "unplanned": snapshot.unplanned })),
    );
    for camera in &snapshot.cameras {
        states.insert(format!("state/camera/{}", segment(&camera.channel)), object(camera));
    }
    let mut alert = object(&snapshot.alert);
    alert.entry("event").or_insert(Value::Null);
    states.insert("state/alert".to_owned(), alert);
    states.insert(
        "state/alert_stages".to_owned(),
        object(json!({ "bounds_s": BOUNDS_S, "stages": snapshot.alert_stages })),
    );
    states
}

/// The state without what changes by itself: two equal cores need not be sent twice.
pub fn core(state: &Map<String, Value>) -> Map<String, Value> {
    fn strip(value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(core(map)),
            Value::Array(items) => Value::Array(items.iter().map(strip).collect()),
            other => other.clone(),
        }
    }
    let lasting = state.iter().filter(|(key, _)| key.as_str() != "age_s");
    lasting.map(|(key, value)| (key.clone(), strip(value))).collect()
}

/// Wraps a state for the wire. `seq` counts the publications of this boot.
pub fn payload(state: Map<String, Value>, snapshot: &Snapshot, seq: u64) -> String {
    let pace = match snapshot.mode {
        Mode::Live => 1.0,
        Mode::Simulated { pace } => pace.max(1.0),
    };
    let mut payload = Map::new();
    payload.insert("schema".into(), SCHEMA.into());
    payload.insert("boot_id".into(), snapshot.boot_id.clone().into());
    payload.insert("seq".into(), seq.into());
    payload.insert("ts".into(), snapshot.now.to_string().into());
    payload.insert(
        "valid_until".into(),
        snapshot.now.plus_seconds(VALID_S * pace).to_string().into(),
    );
    payload.extend(state);
    Value::Object(payload).to_string()
}

/// True when an unchanged state must be repeated.
pub fn refresh_is_due(sent: UtcTime, now: UtcTime) -> bool {
    !(0.0..REFRESH_S).contains(&now.seconds_since(sent))
}

/// Topic (after the base) and payload of a journal line; `None` when it is not one.
pub fn event(line: &str, boot_id: &str) -> Option<(String, String)> {
    let head = LineHead::of(line)?;
    let rest = line.strip_prefix('{')?;
    let boot_id = Value::from(boot_id);
    let payload = format!(
        "{{\"schema\":{SCHEMA},\"boot_id\":{boot_id},\"ts\":\"{}\",{rest}",
        head.at
    );
    Some((format!("event/{}", segment(&head.fact)), payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::snapshot::{CameraView, SiteView};

    fn snapshot() -> Snapshot {
        let site = SiteView {
            name: "ohp".into(),
            title: "OHP".into(),
            latitude_deg: 43.9,
            longitude_deg: 5.7,
            height_m: 650.0,
            horizon: Vec::new(),
            horizon_limit_deg: 10.0,
        };
        let now = "2026-03-14T22:00:00Z".parse().unwrap();
        let mut snapshot = Snapshot::unknown(now, site, "t1", "boot");
        snapshot.cameras.push(CameraView {
            channel: "vis/1".into(),
            state: "idle".into(),
            progress: None,
            filter: None,
            exposure_s: None,
            frames_done: None,
            temperature_c: Some(-20.0),
            setpoint_c: None,
            age_s: Some(1.0),
            reason: None,
        });
        snapshot
    }

    #[test]
    fn a_name_cannot_forge_a_level_or_a_wildcard() {
        assert_eq!(segment("a/b+c#d e"), "a_b_c_d_e");
        assert_eq!(segment(""), "_");
        assert!(states(&snapshot()).contains_key("state/camera/vis_1"));
    }

    #[test]
    fn growing_age_alone_is_no_news() {
        let young = snapshot();
        let mut older = young.clone();
        older.cameras[0].age_s = Some(9.0);
        let of = |snapshot: &Snapshot| core(&states(snapshot)["state/camera/vis_1"]);
        assert_eq!(of(&young), of(&older));
        older.cameras[0].temperature_c = Some(-19.0);
        assert_ne!(of(&young), of(&older));
    }

    #[test]
    fn a_payload_says_when_it_stops_being_true() {
        let snapshot = snapshot();
        let state = states(&snapshot)["state/safety"].clone();
        let read: Value = serde_json::from_str(&payload(state, &snapshot, 7)).unwrap();
        assert_eq!(read["state"], "unsafe");
        assert_eq!(read["seq"], 7);
        assert_eq!(read["valid_until"], "2026-03-14T22:01:30.000000Z");
    }

    #[test]
    fn an_event_is_the_journal_line_with_its_envelope() {
        let line = r#"{"seq":4,"at":"2026-03-14T22:00:00.000000Z","fact":"stopped","cause":"dawn"}"#;
        let (topic, payload) = event(line, "b\"1").unwrap();
        assert_eq!(topic, "event/stopped");
        let read: Value = serde_json::from_str(&payload).unwrap();
        assert_eq!((&read["seq"], &read["boot_id"]), (&json!(4), &json!("b\"1")));
        assert!(event("garbage", "b").is_none());
    }
}
