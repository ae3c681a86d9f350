//! The emergency stop: while it is pressed the telescope stands still. Pure.
//!
//! Whoever pressed it may stand at the telescope, so this goes before the roof: nothing parks until the button is out
//! again. What the controller said last counts however old it is; a controller that falls silent has not released anything.
//!
//! ```text
//! pressed:  idle or parked -> nothing
//!           tracking -> stop tracking;  anything else, or unknown -> stop;  each again every retry
//! ```

use alidade_model::{clock::move_by, states::MountState, time::UtcTime};

/// What to tell the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Stop,
    StopTracking,
}

/// The memory between looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    last: Option<(Effect, UtcTime)>,
}

impl Memory {
    /// The clock was set: the pause goes on as before.
    pub fn move_by(&mut self, seconds: f64) {
        let mut at = self.last.map(|(_, at)| at);
        move_by(&mut at, seconds);
        self.last = self.last.zip(at).map(|((effect, _), at)| (effect, at));
    }
}

/// Decides; `mount` is its state, freshly measured, and `retry_s` the pause between two equal commands.
pub fn decide(
    memory: &Memory,
    pressed: bool,
    mount: Option<MountState>,
    now: UtcTime,
    retry_s: f64,
) -> (Memory, Option<Effect>) {
    let wanted = match mount {
        _ if !pressed => return (Memory::default(), None),
        Some(MountState::Idle | MountState::Parked) => return (memory.clone(), None),
        Some(MountState::Tracking) => Effect::StopTracking,
        _ => Effect::Stop,
    };
    match memory.last {
        Some((effect, at)) if effect == wanted && now.seconds_since(at) < retry_s => (memory.clone(), None),
        _ => {
            let last = Some((wanted, now));
            (Memory { last }, Some(wanted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(looks: &[(f64, bool, Option<MountState>)]) -> Vec<Option<Effect>> {
        let mut memory = Memory::default();
        let one = |&(second, pressed, mount): &(f64, bool, Option<MountState>)| {
            let now = UtcTime::from_unix_micros(0).unwrap().plus_seconds(second);
            let (next, effect) = decide(&memory, pressed, mount, now, 10.0);
            memory = next;
            effect
        };
        looks.iter().map(one).collect()
    }

    #[test]
    fn whatever_moves_is_stopped_until_it_stands() {
        use MountState::{Idle, Slewing, Tracking};
        let effects = walk(&[
            (0.0, false, Some(Slewing)),
            (1.0, true, Some(Slewing)),
            (2.0, true, Some(Slewing)),
            (3.0, true, Some(Tracking)),
            (4.0, true, Some(Tracking)),
            (13.0, true, Some(Tracking)),
            (14.0, true, Some(Idle)),
            (30.0, true, None),
            (31.0, false, Some(Tracking)),
        ]);
        let (stop, still) = (Some(Effect::Stop), Some(Effect::StopTracking));
        assert_eq!(effects, [None, stop, None, still, None, still, None, stop, None]);
    }

    #[test]
    fn a_clock_that_is_set_makes_no_pause_longer() {
        let at = |second: f64| UtcTime::from_unix_micros(0).unwrap().plus_seconds(second);
        let (mut memory, _) = decide(&Memory::default(), true, None, at(5000.0), 10.0);
        memory.move_by(-3600.0);
        assert_eq!(decide(&memory, true, None, at(1409.0), 10.0).1, None);
        assert_eq!(decide(&memory, true, None, at(1410.0), 10.0).1, Some(Effect::Stop));
    }
}
