//! What the guard decides: whether the daemon is heard, whether it may open, and what to do when it is silent. Pure.
//!
//! The guard is a second process that owns the line to the enclosure. It starts deaf: until it has heard the daemon's
//! heartbeats for a while nothing may be opened, and an enclosure that is found open is closed.

use crate::enclosure::{self, Effect, View};
use alidade_drivers::interface::{EnclosureStatus, KeySwitch, PlcStatus};
use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};

/// The numbers of the guard.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Without a heartbeat for this long the daemon is silent, seconds.
    pub silence_s: f64,
    /// The daemon must have been heard for this long before it may open, seconds.
    pub proof_s: f64,
    pub enclosure: enclosure::Policy,
}

/// When the daemon's heartbeats were heard.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hearing {
    /// The first of an uninterrupted series, and the last.
    span: Option<(UtcTime, UtcTime)>,
}

impl Hearing {
    pub fn heard(&mut self, now: UtcTime, policy: &Policy) {
        self.span = Some(match self.span {
            Some((first, _)) if self.alive(now, policy) => (first, now),
            _ => (now, now),
        });
    }

    /// A heartbeat is not older than the silence that is tolerated. A clock that jumps is a silence.
    pub fn alive(&self, now: UtcTime, policy: &Policy) -> bool {
        self.span
            .is_some_and(|(_, last)| (0.0..=policy.silence_s).contains(&now.seconds_since(last)))
    }

    fn proven(&self, now: UtcTime, policy: &Policy) -> bool {
        let since_first = self.span.map(|(first, _)| now.seconds_since(first));
        self.alive(now, policy) && since_first.is_some_and(|s| s >= policy.proof_s)
    }
}

/// What the guard sees of the controller.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    pub enclosure: &'a Reading<EnclosureStatus>,
    pub plc: &'a Reading<PlcStatus>,
    /// The controller's own rain sensor, if it has one.
    pub rain_mm_h: Option<Result<f64, NoData>>,
    pub now: UtcTime,
}

/// Why the enclosure may not be opened now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the daemon has not been heard for long enough")]
    NotProven,
    #[error("the position of the enclosure is not known")]
    PositionUnknown,
    #[error("the state of the controller is not known")]
    ControllerUnknown,
    #[error("the emergency stop is pressed")]
    EmergencyStop,
    #[error("the key is not at remote")]
    KeyNotRemote,
    #[error("somebody asks to enter")]
    AccessRequested,
    #[error("the controller demands a closed enclosure")]
    MustBeClosed,
    #[error("it rains, or the rain sensor does not say")]
    Rain,
}

/// Whether the daemon may open now.
pub fn may_open(hearing: &Hearing, seen: &Seen<'_>, policy: &Policy) -> Result<(), Denied> {
    if !hearing.proven(seen.now, policy) {
        return Err(Denied::NotProven);
    }
    let max_age_s = policy.enclosure.max_age_s;
    if seen.enclosure.fresh(seen.now, max_age_s).is_err() {
        return Err(Denied::PositionUnknown);
    }
    let Ok(plc) = seen.plc.fresh(seen.now, max_age_s) else {
        return Err(Denied::ControllerUnknown);
    };
    if plc.emergency_stop {
        return Err(Denied::EmergencyStop);
    }
    if plc.key_switch != KeySwitch::Remote {
        return Err(Denied::KeyNotRemote);
    }
    if plc.access_requested {
        return Err(Denied::AccessRequested);
    }
    if plc.must_be_closed {
        return Err(Denied::MustBeClosed);
    }
    match seen.rain_mm_h {
        None | Some(Ok(0.0)) => Ok(()),
        Some(_) => Err(Denied::Rain),
    }
}

/// What to do now: nothing while the daemon is heard, else close as the site's policy says.
pub fn decide(
    memory: &enclosure::Memory,
    hearing: &Hearing,
    seen: &Seen<'_>,
    policy: &Policy,
) -> (enclosure::Memory, Vec<Effect>) {
    if hearing.alive(seen.now, policy) {
        return (enclosure::Memory::default(), Vec::new());
    }
    let view = View {
        safe: false,
        latched: false,
        wanted_open: false,
        measured: seen.enclosure,
        // The guard has no line to the mount: where the policy is to park first, the grace decides.
        mount_parked: false,
        now: seen.now,
    };
    enclosure::decide(memory, &view, &policy.enclosure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::states::EnclosureState;

    fn at(second: f64) -> UtcTime {
        UtcTime::from_unix_micros(0).unwrap().plus_seconds(second)
    }

    fn policy() -> Policy {
        Policy {
            silence_s: 15.0,
            proof_s: 10.0,
            enclosure: enclosure::Policy::default(),
        }
    }

    fn roof(state: EnclosureState, second: f64) -> Reading<EnclosureStatus> {
        Reading::good(
            EnclosureStatus {
                state,
                azimuth_deg: None,
                rotating: false,
            },
            at(second),
        )
    }

    fn plc(second: f64) -> Reading<PlcStatus> {
        Reading::good(
            PlcStatus {
                mode: "AUTO".into(),
                key_switch: KeySwitch::Remote,
                emergency_stop: false,
                intrusion: false,
                access_requested: false,
                must_be_closed: false,
                alarms: vec![],
                bypasses: vec![],
            },
            at(second),
        )
    }

    fn heard(seconds: &[f64]) -> Hearing {
        let mut hearing = Hearing::default();
        for second in seconds {
            hearing.heard(at(*second), &policy());
        }
        hearing
    }

    #[test]
    fn nothing_opens_before_the_daemon_was_heard_for_a_while() {
        let ask = |hearing: &Hearing, second: f64| {
            let (enclosure, plc) = (roof(EnclosureState::Closed, second), plc(second));
            let seen = Seen {
                enclosure: &enclosure,
                plc: &plc,
                rain_mm_h: Some(Ok(0.0)),
                now: at(second),
            };
            may_open(hearing, &seen, &policy())
        };
        assert_eq!(ask(&Hearing::default(), 0.0), Err(Denied::NotProven));
        assert_eq!(ask(&heard(&[0.0, 5.0]), 5.0), Err(Denied::NotProven));
        assert_eq!(ask(&heard(&[0.0, 5.0, 10.0]), 10.0), Ok(()));
        assert_eq!(
            ask(&heard(&[0.0, 5.0, 10.0, 30.0]), 31.0),
            Err(Denied::NotProven),
            "after a silence anew"
        );
        assert_eq!(ask(&heard(&[0.0, 5.0, 10.0]), 26.0), Err(Denied::NotProven));
    }

    #[test]
    fn each_reason_of_the_controller_denies() {
        let hearing = heard(&[0.0, 10.0]);
        let (open, good) = (roof(EnclosureState::Closed, 10.0), plc(10.0));
        let ask = |enclosure: &Reading<EnclosureStatus>, plc: &Reading<PlcStatus>, rain| {
            let seen = Seen {
                enclosure,
                plc,
                rain_mm_h: rain,
                now: at(10.0),
            };
            may_open(&hearing, &seen, &policy()).err()
        };
        let with = |change: fn(&mut PlcStatus)| {
            let mut reading = good.clone();
            if let Ok(status) = &mut reading.value {
                change(status);
            }
            ask(&open, &reading, None)
        };
        assert_eq!(ask(&open, &good, None), None);
        assert_eq!(ask(&open, &good, Some(Ok(0.2))), Some(Denied::Rain));
        assert_eq!(ask(&open, &good, Some(Err(NoData::SensorFault))), Some(Denied::Rain));
        assert_eq!(
            ask(&roof(EnclosureState::Closed, -5.0), &good, None),
            Some(Denied::PositionUnknown)
        );
        assert_eq!(ask(&open, &plc(-5.0), None), Some(Denied::ControllerUnknown));
        assert_eq!(with(|s| s.emergency_stop = true), Some(Denied::EmergencyStop));
        assert_eq!(with(|s| s.key_switch = KeySwitch::Local), Some(Denied::KeyNotRemote));
        assert_eq!(with(|s| s.access_requested = true), Some(Denied::AccessRequested));
        assert_eq!(with(|s| s.must_be_closed = true), Some(Denied::MustBeClosed));
    }

    #[test]
    fn a_silent_daemon_means_closing_and_a_heard_one_is_left_alone() {
        let (mut memory, mut commands) = (enclosure::Memory::default(), Vec::new());
        let hearing = heard(&[0.0]);
        for second in [1.0, 14.0, 16.0, 17.0, 27.0] {
            let (open, plc) = (roof(EnclosureState::Open, second), plc(second));
            let seen = Seen {
                enclosure: &open,
                plc: &plc,
                rain_mm_h: None,
                now: at(second),
            };
            let (next, effects) = decide(&memory, &hearing, &seen, &policy());
            memory = next;
            commands.push(effects.contains(&Effect::Close));
        }
        assert_eq!(commands, [false, false, true, false, true]);
    }
}
