//! What goes wrong, when, and on which device.

use crate::{
    random::Random,
    weather::{Spell, SpellKind},
};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};

/// A way of failing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum FaultKind {
    /// The device hears and acts but does not answer.
    Mute,
    /// Answers come late by this many seconds.
    Delay { seconds: f64 },
    /// Answers are preceded by random bytes.
    Garbage,
    /// The connection is cut, and refused while the fault lasts.
    DropLink,
    /// Every command is refused.
    Refuse,
    /// The motor does not move although commands are accepted.
    Stuck,
    /// The roof stops at this fraction of its travel (0 closed, 1 open).
    ShutterJam { fraction: f64 },
    /// The sensors repeat their last value.
    FrozenSensor,
    /// The sensors report no value.
    DeadSensor,
    /// The device keeps its connection but neither acts nor answers.
    Hang,
    /// Every answer breaks off in its middle.
    HalfMessage,
    /// Every answer is the one that belonged to the question before.
    OtherReply,
    /// Every answer is preceded by far more bytes than any message has, without an end.
    Oversized,
    /// Answers come in another encoding (UTF-16, little-endian).
    WrongEncoding,
    /// Checksums and echoed counters are wrong by one digit.
    WrongChecksum,
    /// Every question about the state gets the answer that it got when the fault began: a cache.
    StaleReplies,
    /// The switches of the roof show this wherever it really is.
    ShutterShows { shows: ShutterShown },
    /// The thermometer reads too high by this, kelvin.
    ThermometerOffset { kelvin: f64 },
    /// The wheel stops one position after the one that it was sent to.
    WrongPlace,
    /// Slews end this far from where they were sent, arcminutes; the mount itself says where it is.
    LandsOff { arcmin: f64 },
    /// A stopped camera offers the frame of the exposure that it was told to give up.
    GhostFrame,
    /// Another client says this to the device, once.
    Foreign { says: String },
    /// Somebody presses the emergency stop, and pulls it out again afterwards.
    EmergencyStop,
    /// Somebody turns the key to local.
    KeyLocal,
    /// Somebody asks to enter.
    AccessRequest,
    /// A door is opened that nobody should open.
    Intrusion,
    /// Mains is lost: the battery is at this charge, percent.
    OnBattery { charge_pct: f64 },
    /// The computer's clock is off by this, seconds; device `clock`.
    ClockStep { seconds: f64 },
    /// An alert packet arrives twice.
    DuplicatePacket,
    /// A malformed packet arrives.
    MalformedPacket,
    /// The daemon is killed (as by `kill -9`) and started again after the fault's duration.
    KillDaemon,
}

/// What switches of a roof may pretend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutterShown {
    Closed,
    Open,
    /// Both limits at once.
    Both,
    /// Neither closed nor open nor between: the cable is off.
    Neither,
}

/// One fault of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub at: UtcTime,
    /// Device name (`plc`, `mount`, `camera_vis` ...), `alerts` or `daemon`.
    pub device: String,
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How long it lasts, seconds.
    pub for_s: f64,
}

impl Fault {
    /// From one table of a script; the error is the cause alone. Every key must be one that the kind knows.
    pub fn from_table(table: toml::Table) -> Result<Self, String> {
        let own: &[&str] = match table.get("kind").and_then(toml::Value::as_str) {
            Some("delay") => &["seconds"],
            Some("shutter_jam") => &["fraction"],
            Some("shutter_shows") => &["shows"],
            Some("thermometer_offset") => &["kelvin"],
            Some("foreign") => &["says"],
            Some("lands_off") => &["arcmin"],
            Some("on_battery") => &["charge_pct"],
            Some("clock_step") => &["seconds"],
            _ => &[],
        };
        let stray = table
            .keys()
            .find(|key| !["at", "device", "kind", "for_s"].contains(&key.as_str()) && !own.contains(&key.as_str()));
        if let Some(key) = stray {
            return Err(format!("key {key} does not belong to this fault"));
        }
        let read: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| e.message().replace('\n', " "))?;
        let within = |name: &str, value: f64, high: f64| {
            if (0.0..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} {value} is outside 0 to {high}"))
            }
        };
        within("for_s", read.for_s, 1e6)?;
        match &read.kind {
            FaultKind::Delay { seconds } => within("seconds", *seconds, 3600.0)?,
            FaultKind::ShutterJam { fraction } => within("fraction", *fraction, 1.0)?,
            FaultKind::ThermometerOffset { kelvin } => within("kelvin", *kelvin, 100.0)?,
            FaultKind::OnBattery { charge_pct } => within("charge_pct", *charge_pct, 100.0)?,
            FaultKind::LandsOff { arcmin } => within("arcmin", *arcmin, 600.0)?,
            FaultKind::ClockStep { seconds } => within("seconds", seconds.abs(), 86_400.0)?,
            _ => {}
        }
        Ok(read)
    }
}

/// A night's worth of bad luck: up to eight faults and up to three spells of bad weather. Equal seeds, equal nights.
///
/// Not among them is what no observatory could survive, which belongs into scripts with their own expectations: the roof
/// never lies about being closed, and its controller neither hangs nor repeats itself for longer than a minute. While the roof
/// is held (jammed, its motor dead, the emergency stop pressed) nobody is blamed for where it is, only for what comes after.
pub fn random_plan(seed: u64, start: UtcTime, end: UtcTime, devices: &[String]) -> (Vec<Fault>, Vec<Spell>) {
    let mut random = Random::new(seed ^ 0xfa017);
    let length = end.seconds_since(start);
    let mut faults = Vec::new();
    for _ in 0..random.below(9) {
        let at = start.plus_seconds(random.between(300.0, length));
        let device = devices
            .get(random.below(devices.len()))
            .cloned()
            .unwrap_or_else(|| "mount".into());
        let (device, kind, for_s) = mishap(&mut random, device);
        faults.push(Fault {
            at,
            device,
            kind,
            for_s,
        });
    }
    faults.sort_by_key(|fault| fault.at);
    let mut spells = Vec::new();
    for _ in 0..random.below(4) {
        let start = start.plus_seconds(random.between(0.0, length));
        let kind = match random.below(4) {
            0 | 1 => SpellKind::Shower {
                rain_mm_h: random.between(0.3, 12.0),
            },
            2 => SpellKind::Storm {
                gust_m_s: random.between(16.0, 35.0),
            },
            _ if random.unit() < 0.5 => SpellKind::Fog,
            _ => SpellKind::Cloud,
        };
        spells.push(Spell {
            start,
            end: start.plus_seconds(random.between(120.0, 5400.0)),
            kind,
        });
    }
    (faults, spells)
}

/// What happens, to whom (to this device, or to something that is not one), and for how many seconds.
fn mishap(random: &mut Random, device: String) -> (String, FaultKind, f64) {
    let longest = |seconds: f64| if device == "plc" { 60.0 } else { seconds };
    let (kind, for_s) = match random.below(21) {
        0 | 1 => (FaultKind::Mute, random.between(2.0, 240.0)),
        2 => {
            let seconds = random.between(0.5, 12.0);
            (FaultKind::Delay { seconds }, random.between(5.0, 300.0))
        }
        3 => (FaultKind::Garbage, random.between(1.0, 120.0)),
        4 => {
            let kind = match random.below(5) {
                0 => FaultKind::HalfMessage,
                1 => FaultKind::Oversized,
                2 => FaultKind::WrongEncoding,
                3 => FaultKind::WrongChecksum,
                _ => FaultKind::OtherReply,
            };
            (kind, random.between(1.0, longest(120.0)))
        }
        5 | 6 => (FaultKind::DropLink, random.between(1.0, 600.0)),
        7 => (FaultKind::Hang, random.between(5.0, longest(300.0))),
        8 => (FaultKind::Refuse, random.between(5.0, 300.0)),
        9 => (FaultKind::StaleReplies, random.between(5.0, longest(240.0))),
        10 | 11 if device == "plc" => (FaultKind::DeadSensor, random.between(30.0, 900.0)),
        10 | 11 => (FaultKind::Stuck, random.between(10.0, 900.0)),
        12 | 13 => of_its_own(random, &device),
        14 => {
            let seconds = random.between(-3600.0, 3600.0);
            let kind = FaultKind::ClockStep { seconds };
            return ("clock".into(), kind, random.between(10.0, 900.0));
        }
        15 => return ("alerts".into(), FaultKind::DuplicatePacket, 0.0),
        16 => return ("alerts".into(), FaultKind::MalformedPacket, 0.0),
        17 => return ("plc".into(), holds_the_roof(random), random.between(30.0, 900.0)),
        _ => return ("daemon".into(), FaultKind::KillDaemon, random.between(3.0, 120.0)),
    };
    (device, kind, for_s)
}

/// Nothing that the roof is told moves it.
fn holds_the_roof(random: &mut Random) -> FaultKind {
    match random.below(3) {
        0 => FaultKind::EmergencyStop,
        1 => FaultKind::Stuck,
        _ => {
            let fraction = random.between(0.05, 0.95);
            FaultKind::ShutterJam { fraction }
        }
    }
}

/// What can happen to a device of this kind only, and for how many seconds.
fn of_its_own(random: &mut Random, device: &str) -> (FaultKind, f64) {
    let foreign = |says: &str| FaultKind::Foreign { says: says.to_owned() };
    let while_s = random.between(30.0, 900.0);
    match (device, random.below(7)) {
        ("plc", 0) => {
            let charge_pct = random.between(5.0, 100.0);
            (FaultKind::OnBattery { charge_pct }, while_s)
        }
        ("plc", 1) => {
            let shows = if random.unit() < 0.5 {
                ShutterShown::Both
            } else {
                ShutterShown::Neither
            };
            (FaultKind::ShutterShows { shows }, random.between(5.0, 120.0))
        }
        ("plc", 2) => (FaultKind::KeyLocal, while_s),
        ("plc", 3) => (FaultKind::AccessRequest, 5.0),
        ("plc", 4) => (FaultKind::Intrusion, while_s),
        ("plc", 5) => (foreign("Dome{OPEN}"), 1.0),
        ("plc" | "station", 6) => {
            let kelvin = random.between(5.0, 25.0);
            (FaultKind::ThermometerOffset { kelvin }, while_s)
        }
        ("station", _) => (FaultKind::FrozenSensor, while_s),
        ("mount", _) => {
            let arcmin = random.between(1.0, 60.0);
            (FaultKind::LandsOff { arcmin }, while_s)
        }
        ("focuser", _) => (foreign("DO GOTO 12000"), 1.0),
        (wheel, 0..=3) if wheel.starts_with("wheel_") => (FaultKind::WrongPlace, while_s),
        (wheel, _) if wheel.starts_with("wheel_") => (foreign("DO GOTO 1"), 1.0),
        (camera, _) if camera.starts_with("camera_") => (FaultKind::GhostFrame, while_s),
        _ => (FaultKind::Refuse, while_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> UtcTime {
        "2026-03-14T17:00:00Z".parse().unwrap()
    }

    fn plan(seed: u64) -> (Vec<Fault>, Vec<Spell>) {
        let devices = ["plc".to_owned(), "mount".to_owned(), "camera_vis".to_owned()];
        random_plan(seed, start(), start().plus_seconds(40_000.0), &devices)
    }

    #[test]
    fn a_seed_is_a_night() {
        assert_eq!(plan(1), plan(1));
        let distinct = (0..50).filter(|seed| plan(*seed) != plan(seed + 1)).count();
        assert!(distinct > 40);
    }

    #[test]
    fn over_many_nights_everything_goes_wrong_sometimes() {
        let mut kinds = std::collections::BTreeSet::new();
        let (mut quiet, mut faults, mut wet) = (0, 0, 0);
        for seed in 0..400 {
            let (night, spells) = plan(seed);
            quiet += usize::from(night.is_empty());
            faults += night.len();
            wet += usize::from(spells.iter().any(|s| matches!(s.kind, SpellKind::Shower { .. })));
            for fault in night {
                kinds.insert(format!("{:?}", fault.kind).split([' ', '{']).next().unwrap().to_owned());
            }
        }
        assert!(
            quiet > 10 && (800..2400).contains(&faults) && (100..350).contains(&wet),
            "{quiet} {faults} {wet}"
        );
        for kind in [
            "Mute",
            "Delay",
            "Garbage",
            "HalfMessage",
            "OtherReply",
            "DropLink",
            "Hang",
            "Refuse",
            "StaleReplies",
            "Stuck",
            "DeadSensor",
            "ShutterShows",
            "ShutterJam",
            "EmergencyStop",
            "LandsOff",
            "GhostFrame",
            "ClockStep",
            "DuplicatePacket",
            "MalformedPacket",
            "KillDaemon",
        ] {
            assert!(kinds.contains(kind), "{kind} never happens: {kinds:?}");
        }
    }

    #[test]
    fn a_script_is_read_key_by_key() {
        let read = |text: &str| Fault::from_table(text.parse().unwrap());
        let fault =
            read("at = \"2026-03-14T20:00:00Z\"\ndevice = \"mount\"\nkind = \"delay\"\nseconds = 2.5\nfor_s = 60.0");
        assert_eq!(fault.unwrap().kind, FaultKind::Delay { seconds: 2.5 });
        let wrong = |text: &str| {
            read(&format!(
                "at = \"2026-03-14T20:00:00Z\"\ndevice = \"mount\"\nfor_s = 60\n{text}"
            ))
            .unwrap_err()
        };
        assert_eq!(
            wrong("kind = \"mute\"\nseconds = 3"),
            "key seconds does not belong to this fault"
        );
        assert_eq!(
            wrong("kind = \"shutter_jam\"\nfraction = 1.5"),
            "fraction 1.5 is outside 0 to 1"
        );
        assert!(wrong("kind = \"explode\"").contains("explode"));
        assert!(wrong("").contains("kind"));
    }

    proptest! {
        #[test]
        fn a_random_night_holds_up_to_eight_faults_within_it(seed: u64) {
            let (faults, spells) = plan(seed);
            prop_assert!(faults.len() <= 8 && spells.len() <= 3);
            prop_assert!(faults.is_sorted_by_key(|fault| fault.at));
            for fault in faults {
                prop_assert!(fault.at > start() && fault.at <= start().plus_seconds(40_000.0));
                prop_assert!(fault.for_s >= 0.0 && fault.for_s <= 900.0);
            }
        }
    }
}
