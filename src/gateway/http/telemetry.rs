//! What the devices' numbers were over the last day: one sample a minute of the daemon's time, kept since this gateway began.
//!
//! The database keeps what the weather was; where a camera's temperature or the focuser went is only looked at, so it is
//! kept here, in some megabytes that do not grow.

use crate::gateway::snapshot::{DeviceView, Snapshot};
use alidade_model::time::UtcTime;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Seconds of the daemon's time between two samples.
const EVERY_S: f64 = 60.0;
/// Samples of one number: a day of them.
const MOST: usize = 1440;

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    at: UtcTime,
    /// None: the device had no value then.
    value: Option<f64>,
}

/// By device and number.
#[derive(Debug, Default)]
pub struct Telemetry {
    last: Option<UtcTime>,
    boot: String,
    numbers: BTreeMap<(String, String), VecDeque<Sample>>,
}

impl Telemetry {
    /// Takes a sample, if it is time for one.
    pub fn take(&mut self, snapshot: &Snapshot) {
        let passed = self.last.map(|last| snapshot.now.seconds_since(last));
        if passed.is_some_and(|passed| passed < 0.0) {
            // Another night is simulated, or the clock was set back: a curve has one direction.
            self.numbers.clear();
        } else if passed.is_some_and(|passed| passed < EVERY_S) && self.boot == snapshot.boot_id {
            return;
        }
        self.last = Some(snapshot.now);
        self.boot.clone_from(&snapshot.boot_id);
        for device in &snapshot.devices {
            self.sample(device, snapshot.now);
        }
    }

    fn sample(&mut self, device: &DeviceView, at: UtcTime) {
        let mut told: BTreeMap<String, f64> = BTreeMap::new();
        if device.up && device.reason.is_none() {
            let numbers = device.fields.iter();
            told.extend(numbers.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))));
        }
        let of_device = |key: &(String, String)| key.0 == device.device;
        let known: Vec<String> = self
            .numbers
            .keys()
            .filter(|k| of_device(k))
            .map(|k| k.1.clone())
            .collect();
        for name in known.iter().chain(told.keys().filter(|name| !known.contains(name))) {
            let samples = self.numbers.entry((device.device.clone(), name.clone())).or_default();
            while samples.len() >= MOST {
                samples.pop_front();
            }
            let value = told.get(name).copied();
            samples.push_back(Sample { at, value });
        }
    }

    /// `{NUMBER: [{"at", "value"}, ...]}`, oldest first.
    pub fn of(&self, device: &str) -> BTreeMap<String, Vec<Value>> {
        let mine = self.numbers.iter().filter(|((name, _), _)| name == device);
        mine.map(|((_, number), samples)| {
            let told = samples.iter().map(|s| json!({ "at": s.at, "value": s.value }));
            (number.clone(), told.collect())
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::snapshot::SiteView;

    fn snapshot(second: f64, temperature: Option<f64>) -> Snapshot {
        let site = SiteView {
            name: "s".into(),
            title: "S".into(),
            latitude_deg: 0.0,
            longitude_deg: 0.0,
            height_m: 0.0,
            horizon: Vec::new(),
            horizon_limit_deg: 0.0,
        };
        let start: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        let mut snapshot = Snapshot::unknown(start.plus_seconds(second), site, "u", "b");
        snapshot.devices = vec![DeviceView {
            device: "camera".into(),
            kind: "camera".into(),
            up: temperature.is_some(),
            since: start,
            cause: None,
            model: None,
            version: None,
            garbage: 0,
            fields: [
                ("temperature_c".to_owned(), json!(temperature)),
                ("state".to_owned(), json!("idle")),
            ]
            .into(),
            age_s: Some(0.0),
            reason: None,
        }];
        snapshot
    }

    fn values(telemetry: &Telemetry) -> Vec<Value> {
        let told = telemetry.of("camera");
        let samples = told.get("temperature_c").cloned().unwrap_or_default();
        samples.iter().map(|sample| sample["value"].clone()).collect()
    }

    #[test]
    fn a_sample_a_minute_is_kept_and_an_outage_is_a_hole() {
        let mut telemetry = Telemetry::default();
        for (second, value) in [
            (0.0, Some(-20.0)),
            (30.0, Some(-19.0)),
            (61.0, None),
            (122.0, Some(-18.0)),
        ] {
            telemetry.take(&snapshot(second, value));
        }
        assert_eq!(values(&telemetry), [json!(-20.0), Value::Null, json!(-18.0)]);
        assert!(!telemetry.of("camera").contains_key("state"), "a word is no curve");
        assert!(telemetry.of("mount").is_empty());
    }

    #[test]
    fn no_more_than_a_day_is_kept_and_a_clock_that_goes_back_begins_anew() {
        let mut telemetry = Telemetry::default();
        for minute in 0..MOST + 10 {
            telemetry.take(&snapshot(61.0 * minute as f64, Some(minute as f64)));
        }
        assert_eq!((values(&telemetry).len(), &values(&telemetry)[0]), (MOST, &json!(10.0)));
        telemetry.take(&snapshot(0.0, Some(1.0)));
        assert_eq!(values(&telemetry), [json!(1.0)]);
    }
}
