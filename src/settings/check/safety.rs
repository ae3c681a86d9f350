//! Limits, the enclosure, the guard, and who is told of alarms.

use super::Faults;
use crate::settings::{AlarmWay, Clearance, DeviceKind, Link, Sense, Settings};
use alidade_drivers::interface::Quantity;
use std::collections::BTreeMap;

/// What only a controller says.
const SWITCHES: [&str; 5] = [
    "emergency_stop",
    "access_requested",
    "intrusion",
    "key_not_remote",
    "plc_must_be_closed",
];

/// The inputs of the verdict with the range in which a limit makes sense: what stations measure, what follows from
/// it, and the switches of the controller.
fn inputs() -> BTreeMap<&'static str, (f64, f64)> {
    let measured = Quantity::ALL.into_iter().map(|quantity| {
        let range = match quantity {
            Quantity::WindMS | Quantity::GustMS => (0.0, 100.0),
            Quantity::HumidityPct | Quantity::InsideHumidityPct | Quantity::UpsChargePct => (0.0, 100.0),
            Quantity::TemperatureC | Quantity::DewPointC => (-90.0, 60.0),
            Quantity::PressureHpa => (300.0, 1100.0),
            Quantity::RainMmH => (0.0, 500.0),
            Quantity::SkyTemperatureK => (-100.0, 20.0),
            Quantity::LightLux => (0.0, 200_000.0),
            Quantity::MonitorUnsafe => (0.0, 1.0),
            Quantity::DiskFreeMb => (0.0, 1e9),
            Quantity::LinkSilentS => (0.0, 86_400.0),
        };
        (quantity.name(), range)
    });
    let mut inputs: BTreeMap<_, _> = measured.collect();
    inputs.insert("dew_point_distance_k", (-10.0, 60.0));
    inputs.insert("sun_alt_deg", (-90.0, 90.0));
    for switch in SWITCHES {
        inputs.insert(switch, (0.0, 1.0));
    }
    inputs
}

pub(super) fn safety(settings: &Settings, faults: &mut Faults) {
    let safety = &settings.safety;
    faults.within("safety.heartbeat_s", safety.heartbeat_s, 0.5, 60.0);
    faults.within("safety.health_s", safety.health_s, 1.0, 300.0);
    faults.within("safety.stuck_after_s", safety.stuck_after_s, 60.0, 86_400.0);
    faults.within("safety.longest_override_s", safety.longest_override_s, 60.0, 86_400.0);
    faults.within("safety.access_grace_s", safety.access_grace_s, 5.0, 1200.0);
    let inputs = inputs();
    for name in &safety.never_overridden {
        if !inputs.contains_key(name.as_str()) {
            faults.add(
                "safety.never_overridden",
                format!("{name:?} is not an input of the verdict"),
            );
        }
    }
    for (name, rule) in &safety.rules {
        let key = |field: &str| format!("safety.rules.{name}.{field}");
        let Some((low, high)) = inputs.get(name.as_str()) else {
            let known: Vec<_> = inputs.keys().copied().collect();
            faults.add(
                format!("safety.rules.{name}"),
                format!("is not an input of the verdict (known: {})", known.join(", ")),
            );
            continue;
        };
        faults.within(key("limit"), rule.limit, *low, *high);
        if let Some(critical) = rule.critical {
            faults.within(key("critical"), critical, *low, *high);
            let (worse, side) = match rule.sense {
                Sense::Above => (critical >= rule.limit, "above"),
                Sense::Below => (critical <= rule.limit, "below"),
            };
            if !worse {
                faults.add(
                    key("critical"),
                    format!("{critical} is not {side} the limit {}", rule.limit),
                );
            }
        }
        faults.within(key("bad_delay_s"), rule.bad_delay_s, 0.0, 600.0);
        faults.within(key("good_delay_s"), rule.good_delay_s, 0.0, 86_400.0);
        faults.within(key("max_age_s"), rule.max_age_s, 1.0, 600.0);
    }
    let controlled = settings.devices.values().any(|device| device.kind == DeviceKind::Plc);
    let needed = ["rain_mm_h", "wind_m_s", "humidity_pct", "emergency_stop"];
    // Without a controller nobody says whether the emergency stop is pressed: such a rule would never be met.
    for needed in needed
        .into_iter()
        .filter(|name| controlled || *name != "emergency_stop")
    {
        if !safety.rules.contains_key(needed) {
            faults.add("safety.rules", format!("there must be a rule for {needed}"));
        }
    }
    for switch in SWITCHES
        .iter()
        .filter(|switch| !controlled && safety.rules.contains_key(**switch))
    {
        faults.add(format!("safety.rules.{switch}"), "there is no plc that could say it");
    }
    if safety.rules.contains_key("link_silent_s") && safety.reach.is_none() {
        faults.add(
            "safety.rules.link_silent_s",
            "needs safety.reach: what is to be reached",
        );
    }
    if safety
        .reach
        .as_ref()
        .is_some_and(|link| !matches!(link, Link::Tcp { .. }))
    {
        faults.add("safety.reach", "is not tcp://HOST:PORT");
    }
    let monitored = settings
        .devices
        .values()
        .any(|device| device.kind == DeviceKind::SafetyMonitor);
    if monitored && !safety.rules.contains_key("monitor_unsafe") {
        faults.add(
            "safety.rules",
            "there is a safety monitor, but no rule for monitor_unsafe",
        );
    }
}

pub(super) fn enclosure(settings: &Settings, faults: &mut Faults) {
    let enclosure = &settings.enclosure;
    if enclosure.clearance == Clearance::ParkFirst {
        faults.within("enclosure.park_grace_s", enclosure.park_grace_s, 1.0, 600.0);
    }
    faults.within("enclosure.travel_s", enclosure.travel_s, 1.0, 1200.0);
    faults.within("enclosure.retry_s", enclosure.retry_s, 1.0, 600.0);
    faults.within("enclosure.max_age_s", enclosure.max_age_s, 1.0, 120.0);
    faults.within(
        "enclosure.least_travel_s",
        enclosure.least_travel_s,
        0.0,
        enclosure.travel_s.max(0.0),
    );
    faults.within("enclosure.slit_tolerance_deg", enclosure.slit_tolerance_deg, 0.1, 45.0);
}

pub(super) fn guard(settings: &Settings, faults: &mut Faults) {
    let guard = &settings.guard;
    faults.within("guard.silence_s", guard.silence_s, 2.0, 300.0);
    faults.within("guard.proof_s", guard.proof_s, 0.0, 300.0);
    if guard.enabled && guard.silence_s <= settings.safety.heartbeat_s {
        faults.add("guard.silence_s", "is not longer than safety.heartbeat_s");
    }
    let simulated = settings
        .devices
        .values()
        .any(|device| device.kind == DeviceKind::Plc && device.link == Link::Simulated);
    if guard.enabled && simulated {
        faults.add("guard.enabled", "a simulated controller has no line to guard");
    }
}

pub(super) fn alarms(settings: &Settings, faults: &mut Faults) {
    for (name, told) in &settings.alarms.notify {
        let key = |field: &str| format!("alarms.notify.{name}.{field}");
        faults.name(format!("alarms.notify.{name}"), name);
        faults.within(key("after_s"), told.after_s, 0.0, 86_400.0);
        faults.within(key("timeout_s"), told.timeout_s, 1.0, 300.0);
        if let Some(repeat_s) = told.repeat_s {
            faults.within(key("repeat_s"), repeat_s, 10.0, 86_400.0);
        }
        match &told.way {
            AlarmWay::Command { program, .. } => faults.filled(key("program"), program),
            AlarmWay::Webhook { url, .. } if !url.starts_with("http://") => {
                faults.add(
                    key("url"),
                    "does not start with http:// (put a proxy on this machine before anything else)",
                );
            }
            AlarmWay::Webhook { .. } => {}
            AlarmWay::Mail {
                server,
                from,
                to,
                user,
                password_file,
                ..
            } => {
                faults.filled(key("server"), server);
                if to.is_empty() {
                    faults.add(key("to"), "is empty");
                }
                for address in to.iter().chain([from]) {
                    if address.parse::<lettre::Address>().is_err()
                        && address.parse::<lettre::message::Mailbox>().is_err()
                    {
                        faults.add(key("to"), format!("{address:?} is not a mail address"));
                    }
                }
                if user.is_some() != password_file.is_some() {
                    faults.add(key("user"), "user and password_file go together");
                }
            }
        }
    }
}
