//! The access handshake: a person asks to enter, motion stops, and only then is the request granted. Pure.
//!
//! ```text
//! requested -> (the verdict is unsafe: everything ends, the mount parks, the roof closes)
//!           -> at rest, freshly measured ------------------------------> grant, again until the request is gone
//!           -> not at rest when the grace is over -> stop mount and roof, call a person
//! ```

use alidade_drivers::interface::EnclosureStatus;
use alidade_model::{
    clock::move_by,
    states::{EnclosureState, MountState},
    time::UtcTime,
};

/// What the handshake looks at. `None` is what is not freshly measured, and that is not at rest.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub requested: bool,
    pub mount: Option<MountState>,
    /// False at a site whose mount is nobody's business.
    pub has_mount: bool,
    pub enclosure: Option<EnclosureStatus>,
    pub now: UtcTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Grant,
    StopMount,
    StopEnclosure,
    Alarm(&'static str),
}

/// The memory between looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    since: Option<UtcTime>,
    granted: Option<UtcTime>,
    stopped: bool,
}

impl Memory {
    /// The clock was set: who waits has waited for as long as before.
    pub fn move_by(&mut self, seconds: f64) {
        move_by(&mut self.since, seconds);
        move_by(&mut self.granted, seconds);
    }
}

/// Pause between two grants of one request, seconds.
const AGAIN_S: f64 = 10.0;

/// Decides; `grace_s` is how long park and close may take before they are stopped.
pub fn decide(memory: &Memory, view: &View, grace_s: f64) -> (Memory, Vec<Effect>) {
    if !view.requested {
        return (Memory::default(), Vec::new());
    }
    let mut next = memory.clone();
    let since = *next.since.get_or_insert(view.now);
    let mount_rests = !view.has_mount || matches!(view.mount, Some(MountState::Parked | MountState::Idle));
    let roof_rests = view.enclosure.is_some_and(|e| {
        let moving = matches!(e.state, EnclosureState::Opening | EnclosureState::Closing);
        !moving && !e.rotating && e.state != EnclosureState::Unknown
    });
    // It takes a moment until what was commanded is seen to move: rest counts only after that.
    let settled = view.now.seconds_since(since) >= 3.0;
    let mut effects = Vec::new();
    if mount_rests && roof_rests && settled {
        if next.granted.is_none_or(|at| view.now.seconds_since(at) >= AGAIN_S) {
            next.granted = Some(view.now);
            effects.push(Effect::Grant);
        }
    } else if view.now.seconds_since(since) >= grace_s && !next.stopped {
        next.stopped = true;
        effects.extend([
            Effect::StopMount,
            Effect::StopEnclosure,
            Effect::Alarm(
                "somebody wants to enter and the telescope does not come to rest: stopped, a person is needed",
            ),
        ]);
    }
    (next, effects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(second: f64, mount: Option<MountState>, state: EnclosureState) -> View {
        View {
            requested: true,
            mount,
            has_mount: true,
            enclosure: Some(EnclosureStatus {
                state,
                azimuth_deg: None,
                rotating: false,
            }),
            now: UtcTime::from_unix_micros(0).unwrap().plus_seconds(second),
        }
    }

    fn walk(views: &[View]) -> Vec<Vec<Effect>> {
        let mut memory = Memory::default();
        views
            .iter()
            .map(|view| {
                let (next, effects) = decide(&memory, view, 60.0);
                memory = next;
                effects
            })
            .collect()
    }

    #[test]
    fn nobody_enters_before_mount_and_roof_are_measured_at_rest() {
        use EnclosureState::{Closed, Closing, Open};
        use MountState::{Parked, Parking, Tracking};
        let effects = walk(&[
            look(0.0, Some(Tracking), Open),
            look(1.0, Some(Parking), Closing),
            look(10.0, Some(Parked), Closing),
            look(20.0, None, Closed),
            look(30.0, Some(Parked), Closed),
            look(31.0, Some(Parked), Closed),
            look(40.0, Some(Parked), Closed),
        ]);
        let none = Vec::new;
        assert_eq!(
            effects,
            [
                none(),
                none(),
                none(),
                none(),
                vec![Effect::Grant],
                none(),
                vec![Effect::Grant]
            ]
        );
    }

    #[test]
    fn what_does_not_come_to_rest_is_stopped_and_a_person_called_once() {
        let effects = walk(&[
            look(0.0, Some(MountState::Slewing), EnclosureState::Open),
            look(60.0, Some(MountState::Slewing), EnclosureState::Open),
            look(61.0, Some(MountState::Slewing), EnclosureState::Open),
            look(70.0, Some(MountState::Idle), EnclosureState::Open),
        ]);
        assert_eq!(effects[1].len(), 3);
        assert!(effects[2].is_empty());
        assert_eq!(
            effects[3],
            [Effect::Grant],
            "stopped is at rest, also with an open roof"
        );
    }
}
