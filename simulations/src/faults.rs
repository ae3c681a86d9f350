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
    /// An alert packet arrives twice.
    DuplicatePacket,
    /// A malformed packet arrives.
    MalformedPacket,
    /// The daemon is killed (as by `kill -9`) and started again after the fault's duration.
    KillDaemon,
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

/// A night's worth of bad luck: up to eight faults and up to three spells of bad weather. Equal seeds, equal nights.
///
/// The roof itself is never blocked and at most one weather source fails at a time: what no observatory could survive
/// belongs into scripts with their own expectations.
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
        let roll = random.below(11);
        let (device, kind, for_s) = match roll {
            0 | 1 => (device, FaultKind::Mute, random.between(2.0, 240.0)),
            2 => (
                device,
                FaultKind::Delay {
                    seconds: random.between(0.5, 12.0),
                },
                random.between(5.0, 300.0),
            ),
            3 | 4 => (device, FaultKind::Garbage, random.between(1.0, 120.0)),
            5 | 6 => (device, FaultKind::DropLink, random.between(1.0, 600.0)),
            7 if device != "plc" => (device, FaultKind::Stuck, random.between(10.0, 900.0)),
            7 => (device, FaultKind::DeadSensor, random.between(30.0, 900.0)),
            8 => ("alerts".to_owned(), FaultKind::DuplicatePacket, 0.0),
            9 => ("alerts".to_owned(), FaultKind::MalformedPacket, 0.0),
            _ => ("daemon".to_owned(), FaultKind::KillDaemon, random.between(3.0, 120.0)),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_night() {
        let start: UtcTime = "2026-03-14T17:00:00Z".parse().unwrap();
        let devices = ["plc".to_owned(), "mount".to_owned()];
        let plan = |seed| random_plan(seed, start, start.plus_seconds(40_000.0), &devices);
        assert_eq!(plan(1), plan(1));
        let distinct = (0..50).filter(|seed| plan(*seed) != plan(seed + 1)).count();
        assert!(distinct > 40);
        assert!((0..200).all(|seed| plan(seed).0.iter().all(|f| f.for_s >= 0.0 && f.at > start)));
    }
}
