//! What every device says of itself right now, flat and as the page of the devices shows it.

use super::consult::{Anyone, everyone};
use crate::{daemon::devices::Devices, gateway::snapshot::DeviceView};
use alidade_drivers::interface::{LinkState, Readings, SwitchLines};
use alidade_model::{reading::Reading, time::UtcTime};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Decimals that are told: a thousandth of a degree is finer than anything that is drawn.
const DECIMALS: f64 = 1e3;

/// Every device by its name in the configuration.
pub fn devices(all: &Devices, now: UtcTime) -> Vec<DeviceView> {
    everyone(all)
        .iter()
        .map(|(name, anyone)| view(name, anyone, now))
        .collect()
}

fn view(name: &str, anyone: &Anyone, now: UtcTime) -> DeviceView {
    let device = anyone.device();
    let (up, since, cause) = match &*device.link().borrow() {
        LinkState::Up { since, .. } => (true, *since, None),
        LinkState::Down { since, cause } => (false, *since, Some(cause.clone())),
    };
    let identity = device.identity().borrow().clone();
    let (model, version) = identity.map_or((None, None), |known| (Some(known.model), Some(known.version)));
    let mut view = DeviceView {
        device: name.to_owned(),
        kind: anyone.kind().to_owned(),
        up,
        since,
        cause,
        model,
        version,
        garbage: device.garbage_count(),
        fields: BTreeMap::new(),
        age_s: None,
        reason: None,
    };
    match anyone {
        Anyone::Mount(d) => tell(&mut view, &d.status().borrow(), now),
        Anyone::Camera(d) => tell(&mut view, &d.status().borrow(), now),
        Anyone::Wheel(d) => tell(&mut view, &d.status().borrow(), now),
        Anyone::Focuser(d) => tell(&mut view, &d.status().borrow(), now),
        Anyone::Plc(d) => {
            measured(&mut view, &d.readings().borrow(), now);
            tell(&mut view, &d.plc_status().borrow(), now);
            // Last, so that state and age are the enclosure's.
            tell(&mut view, &d.enclosure_status().borrow(), now);
        }
        Anyone::Rotator(d) => tell(&mut view, &d.status().borrow(), now),
        Anyone::Switch(d) => tell(&mut view, &values(&d.lines().borrow()), now),
        Anyone::Station(d) => measured(&mut view, &d.readings().borrow(), now),
    }
    view
}

/// A bank of switches as its lines' values: their bounds are for whoever sets them.
fn values(lines: &Reading<SwitchLines>) -> Reading<BTreeMap<String, f64>> {
    Reading {
        value: match &lines.value {
            Ok(lines) => Ok(lines.iter().map(|(name, line)| (name.clone(), line.value)).collect()),
            Err(reason) => Err(*reason),
        },
        measured_at: lines.measured_at,
    }
}

/// The fields of a status; of one that is not known, why.
fn tell<T: Serialize>(view: &mut DeviceView, reading: &Reading<T>, now: UtcTime) {
    view.age_s = Some(reading.age_s(now));
    match &reading.value {
        Ok(status) => {
            view.reason = None;
            if let Ok(Value::Object(fields)) = serde_json::to_value(status) {
                view.fields
                    .extend(fields.into_iter().map(|(name, value)| (name, plain(value))));
            }
        }
        Err(reason) => view.reason = Some(reason.to_string()),
    }
}

/// The quantities of a station; the age is that of the newest.
fn measured(view: &mut DeviceView, readings: &Readings, now: UtcTime) {
    for (quantity, reading) in readings.iter() {
        let told = match &reading.value {
            Ok(value) => plain(json!(value)),
            Err(_) => Value::Null,
        };
        view.fields.insert(quantity.name().to_owned(), told);
        let age = reading.age_s(now);
        view.age_s = Some(view.age_s.map_or(age, |before: f64| before.min(age)));
    }
    if readings.is_empty() {
        view.reason = Some("never read".into());
    }
}

/// Numbers cut to what is shown, lists as text: a field is one word or one number.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(value) if number.is_f64() => json!((value * DECIMALS).round() / DECIMALS),
            _ => Value::Number(number),
        },
        Value::Array(words) => {
            let words: Vec<String> = words
                .iter()
                .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
                .collect();
            Value::String(words.join(", "))
        }
        Value::Object(fields) => Value::String(Value::Object(fields).to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_drivers::interface::{MountStatus, Quantity};
    use alidade_model::{reading::NoData, states::MountState};

    fn empty() -> DeviceView {
        DeviceView {
            device: "mount".into(),
            kind: "mount".into(),
            up: true,
            since: at(),
            cause: None,
            model: None,
            version: None,
            garbage: 0,
            fields: BTreeMap::new(),
            age_s: None,
            reason: None,
        }
    }

    fn at() -> UtcTime {
        "2026-03-14T22:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_status_becomes_words_and_numbers_and_what_is_not_known_a_reason() {
        let mut view = empty();
        let status = MountStatus {
            state: MountState::Tracking,
            ra_deg: 194.123_456_789,
            dec_deg: -27.5,
            alt_deg: 55.0,
            az_deg: 120.0,
        };
        tell(&mut view, &Reading::good(status, at()), at().plus_seconds(4.0));
        assert_eq!(view.fields["ra_deg"], json!(194.123));
        assert_eq!(view.fields["dec_deg"], json!(-27.5));
        assert!(view.fields["state"].is_string(), "{:?}", view.fields);
        assert_eq!((view.age_s, &view.reason), (Some(4.0), &None));
        let mut view = empty();
        tell::<MountStatus>(&mut view, &Reading::none(NoData::LinkDown, at()), at());
        assert_eq!((view.fields.len(), view.reason.as_deref()), (0, Some("link down")));
    }

    #[test]
    fn a_quantity_without_a_value_stays_in_its_place() {
        let mut view = empty();
        let readings = [
            (Quantity::WindMS, Reading::good(4.200_04, at())),
            (
                Quantity::HumidityPct,
                Reading::none(NoData::SensorFault, at().plus_seconds(-9.0)),
            ),
        ];
        measured(&mut view, &readings.into(), at().plus_seconds(1.0));
        assert_eq!(view.fields["wind_m_s"], json!(4.2));
        assert_eq!(view.fields["humidity_pct"], Value::Null);
        assert_eq!(view.age_s, Some(1.0));
        assert_eq!(plain(json!(["rain", "wind"])), json!("rain, wind"));
    }
}
