//! What to do with the enclosure: a pure function of verdict, wish, and measured position.
//!
//! Closing is never skipped because something says closed: it is skipped only when a fresh reading of the position
//! sensors says so, and has not said so sooner than the roof can travel. The first close of every unsafe time is commanded
//! whatever is measured. Opening needs the verdict safe, the wish, and a fresh reading.
//!
//! ```text
//! must be closed:  closed (fresh) -> nothing
//!                  else, mount in the way and grace not over -> park, wait
//!                  else, closing -> wait for the travel time, then alarm and close again
//!                  else -> close, again every retry
//! may be open:     closed or stopped (fresh) -> open;  opening, open -> nothing
//! ```

use alidade_drivers::interface::EnclosureStatus;
use alidade_model::{clock::move_by, reading::Reading, states::EnclosureState, time::UtcTime};
use serde::{Deserialize, Serialize};

/// Whether the mount must be out of the way before the enclosure moves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "policy", deny_unknown_fields)]
pub enum Clearance {
    /// A dome, or a roof that clears the telescope in every position.
    Free,
    /// A low roof: the mount is parked first. When it has not parked within `grace_s` the roof closes all the same
    /// if `close_anyway`, else it stays and a person is called.
    ParkFirst { grace_s: f64, close_anyway: bool },
}

/// The numbers of one site's enclosure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub clearance: Clearance,
    /// Longest time one way, seconds.
    pub travel_s: f64,
    /// Pause between two equal commands, seconds.
    pub retry_s: f64,
    /// A position reading older than this is unknown, seconds.
    pub max_age_s: f64,
    /// A roof that was open cannot be closed sooner than this, seconds: what says so is not believed.
    pub least_travel_s: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            clearance: Clearance::Free,
            travel_s: 60.0,
            retry_s: 10.0,
            max_age_s: 10.0,
            least_travel_s: 5.0,
        }
    }
}

/// Everything that the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub safe: bool,
    pub latched: bool,
    pub wanted_open: bool,
    pub measured: &'a Reading<EnclosureStatus>,
    /// Fresh and parked, by the mount's own sensors.
    pub mount_parked: bool,
    pub now: UtcTime,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Close,
    Open,
    ParkMount,
    Alarm(String),
}

/// The memory between decisions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Since when it must be closed and is not measured closed.
    closing_since: Option<UtcTime>,
    last_command: Option<(Command, UtcTime)>,
    alarmed: bool,
    /// When it was last measured open.
    last_open: Option<UtcTime>,
    /// A closed that came too soon is not believed until then.
    disbelieved_until: Option<UtcTime>,
    /// At the last look it was allowed and wanted to be open.
    permitted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Close,
    Open,
    Park,
}

impl Memory {
    /// The clock was set: what was commanded is repeated, and what was waited for has come, when it would have.
    pub fn move_by(&mut self, seconds: f64) {
        for at in [
            &mut self.closing_since,
            &mut self.last_open,
            &mut self.disbelieved_until,
        ] {
            move_by(at, seconds);
        }
        if let Some((_, at)) = &mut self.last_command {
            *at = at.plus_seconds(seconds);
        }
    }

    fn due(&mut self, command: Command, now: UtcTime, retry_s: f64) -> bool {
        let due = match self.last_command {
            Some((last, at)) if last == command => now.seconds_since(at) >= retry_s,
            _ => true,
        };
        if due {
            self.last_command = Some((command, now));
        }
        due
    }
}

/// Decides; call it on every change and at least every second.
pub fn decide(memory: &Memory, view: &View<'_>, policy: &Policy) -> (Memory, Vec<Effect>) {
    let mut next = memory.clone();
    let mut effects = Vec::new();
    let measured = view
        .measured
        .fresh(view.now, policy.max_age_s)
        .map_or(EnclosureState::Unknown, |s| s.state);
    let state = believed(&mut next, measured, view, policy, &mut effects);
    let permitted = view.safe && !view.latched && view.wanted_open;
    let revoked = std::mem::replace(&mut next.permitted, permitted) && !permitted;
    if permitted {
        next.closing_since = None;
        next.alarmed = false;
        open(&mut next, state, view, policy, &mut effects);
    } else if state == EnclosureState::Closed {
        let clear = policy.clearance == Clearance::Free || view.mount_parked;
        if revoked && clear {
            effects.push(Effect::Close);
        }
        next = Memory::default();
    } else {
        let since = *next.closing_since.get_or_insert(view.now);
        close(&mut next, state, since, view, policy, &mut effects);
    }
    (next, effects)
}

/// The measured state, or unknown when it says closed sooner after open than any roof closes.
fn believed(
    next: &mut Memory,
    measured: EnclosureState,
    view: &View<'_>,
    policy: &Policy,
    effects: &mut Vec<Effect>,
) -> EnclosureState {
    if measured == EnclosureState::Open {
        next.last_open = Some(view.now);
        next.disbelieved_until = None;
    }
    if measured != EnclosureState::Closed {
        return measured;
    }
    if let Some(until) = next.disbelieved_until {
        if view.now < until {
            return EnclosureState::Unknown;
        }
        // It has had the time to close since the close was commanded.
        next.disbelieved_until = None;
        next.last_open = None;
        return measured;
    }
    let Some(since_open) = next.last_open.map(|open| view.now.seconds_since(open)) else {
        return measured;
    };
    if since_open >= policy.least_travel_s {
        return measured;
    }
    next.disbelieved_until = Some(view.now.plus_seconds(policy.travel_s));
    effects.push(Effect::Alarm(format!(
        "the enclosure says closed {since_open:.0} s after it said open: not believed, and commanded closed"
    )));
    EnclosureState::Unknown
}

fn open(next: &mut Memory, state: EnclosureState, view: &View<'_>, policy: &Policy, effects: &mut Vec<Effect>) {
    let clear = match policy.clearance {
        Clearance::Free => true,
        Clearance::ParkFirst { .. } => view.mount_parked,
    };
    match state {
        EnclosureState::Closed | EnclosureState::Stopped | EnclosureState::Closing => {
            if !clear {
                if next.due(Command::Park, view.now, policy.retry_s) {
                    effects.push(Effect::ParkMount);
                }
            } else if next.due(Command::Open, view.now, policy.retry_s) {
                effects.push(Effect::Open);
            }
        }
        EnclosureState::Open | EnclosureState::Opening | EnclosureState::Unknown | EnclosureState::Fault => {}
    }
}

fn close(
    next: &mut Memory,
    state: EnclosureState,
    since: UtcTime,
    view: &View<'_>,
    policy: &Policy,
    effects: &mut Vec<Effect>,
) {
    let elapsed = view.now.seconds_since(since);
    let mut allowance = policy.travel_s * 1.5;
    if let Clearance::ParkFirst { grace_s, close_anyway } = policy.clearance
        && !view.mount_parked
    {
        allowance += grace_s;
        if elapsed < grace_s || !close_anyway {
            if next.due(Command::Park, view.now, policy.retry_s) {
                effects.push(Effect::ParkMount);
            }
            if elapsed >= grace_s && !std::mem::replace(&mut next.alarmed, true) {
                effects.push(Effect::Alarm(
                    "the mount does not park and the roof waits for it: a person is needed".into(),
                ));
            }
            return;
        }
    }
    if elapsed >= allowance && !std::mem::replace(&mut next.alarmed, true) {
        effects.push(Effect::Alarm(format!(
            "enclosure still {state} {elapsed:.0} s after it had to close"
        )));
    }
    // While it is measured closing it is left alone for its travel time; a second command may restart some roofs.
    let retry = if state == EnclosureState::Closing {
        allowance
    } else {
        policy.retry_s
    };
    if next.due(Command::Close, view.now, retry) {
        effects.push(Effect::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::reading::NoData;

    fn at(second: f64) -> UtcTime {
        "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn measured(state: EnclosureState, second: f64) -> Reading<EnclosureStatus> {
        Reading::good(
            EnclosureStatus {
                state,
                azimuth_deg: None,
                rotating: false,
            },
            at(second),
        )
    }

    fn ask(
        memory: &mut Memory,
        policy: &Policy,
        safe: bool,
        wanted_open: bool,
        state: EnclosureState,
        parked: bool,
        second: f64,
    ) -> Vec<Effect> {
        let reading = measured(state, second);
        let view = View {
            safe,
            latched: false,
            wanted_open,
            measured: &reading,
            mount_parked: parked,
            now: at(second),
        };
        let (next, effects) = decide(memory, &view, policy);
        *memory = next;
        effects
    }

    #[test]
    fn the_whole_table_of_verdict_wish_and_state() {
        let mut lines = Vec::new();
        for (safe, wanted) in [(false, false), (false, true), (true, false), (true, true)] {
            let line: Vec<_> = EnclosureState::ALL
                .iter()
                .map(|state| {
                    match ask(
                        &mut Memory::default(),
                        &Policy::default(),
                        safe,
                        wanted,
                        *state,
                        false,
                        0.0,
                    )
                    .as_slice()
                    {
                        [] => "-",
                        [Effect::Close] => "close",
                        [Effect::Open] => "open",
                        other => panic!("{other:?}"),
                    }
                })
                .collect();
            lines.push(line.join(" "));
        }
        // closed opening open closing stopped unknown fault
        let must_close = "- close close close close close close";
        assert_eq!(lines, [must_close, must_close, must_close, "open - - open open - -"]);
    }

    #[test]
    fn an_old_closed_reading_does_not_count_as_closed() {
        let reading = measured(EnclosureState::Closed, 0.0);
        let view = View {
            safe: false,
            latched: false,
            wanted_open: false,
            measured: &reading,
            mount_parked: true,
            now: at(60.0),
        };
        assert_eq!(decide(&Memory::default(), &view, &Policy::default()).1, [Effect::Close]);
        let silent = Reading::none(NoData::LinkDown, at(60.0));
        let view = View {
            measured: &silent,
            ..view
        };
        assert_eq!(decide(&Memory::default(), &view, &Policy::default()).1, [Effect::Close]);
    }

    #[test]
    fn a_closed_that_comes_too_soon_is_not_believed_until_the_roof_had_its_time() {
        let (mut memory, policy) = (Memory::default(), Policy::default());
        let mut look = |safe, state, second| ask(&mut memory, &policy, safe, true, state, true, second);
        assert_eq!(look(true, EnclosureState::Open, 0.0), []);
        // A cache says closed while nothing has moved; then it rains.
        let effects = look(true, EnclosureState::Closed, 1.0);
        assert!(
            matches!(effects.as_slice(), [Effect::Alarm(text)] if text.contains("not believed")),
            "{effects:?}"
        );
        assert_eq!(look(false, EnclosureState::Closed, 2.0), [Effect::Close]);
        assert_eq!(look(false, EnclosureState::Closed, 3.0), []);
        assert_eq!(look(false, EnclosureState::Closed, 12.0), [Effect::Close]);
        assert_eq!(look(false, EnclosureState::Closed, 61.0), []);
        assert_eq!(look(false, EnclosureState::Closed, 75.0), []);
    }

    #[test]
    fn a_roof_that_closed_in_its_time_is_believed() {
        let (mut memory, policy) = (Memory::default(), Policy::default());
        let mut look = |state, second| ask(&mut memory, &policy, false, false, state, true, second);
        assert_eq!(look(EnclosureState::Open, 0.0), [Effect::Close]);
        assert_eq!(look(EnclosureState::Closing, 1.0), []);
        assert_eq!(look(EnclosureState::Closed, 25.0), []);
        assert_eq!(look(EnclosureState::Closed, 90.0), []);
    }

    #[test]
    fn the_first_close_is_commanded_whatever_is_measured() {
        let (mut memory, policy) = (Memory::default(), Policy::default());
        let mut look = |safe, second| ask(&mut memory, &policy, safe, true, EnclosureState::Closed, true, second);
        assert_eq!(look(true, 0.0), [Effect::Open]);
        assert_eq!(look(false, 1.0), [Effect::Close]);
        assert_eq!(look(false, 2.0), []);
    }

    #[test]
    fn a_jammed_shutter_is_commanded_again_and_raises_one_alarm() {
        let mut memory = Memory::default();
        let policy = Policy::default();
        let mut closes = 0;
        let mut alarms = 0;
        for second in 0..300 {
            for effect in ask(
                &mut memory,
                &policy,
                false,
                false,
                EnclosureState::Stopped,
                true,
                f64::from(second),
            ) {
                match effect {
                    Effect::Close => closes += 1,
                    Effect::Alarm(_) => alarms += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((closes, alarms), (30, 1));
    }

    #[test]
    fn a_low_roof_waits_for_the_mount_and_then_follows_the_policy() {
        let low = |close_anyway| Policy {
            clearance: Clearance::ParkFirst {
                grace_s: 60.0,
                close_anyway,
            },
            ..Policy::default()
        };
        let mut memory = Memory::default();
        assert_eq!(
            ask(&mut memory, &low(true), false, false, EnclosureState::Open, false, 0.0),
            [Effect::ParkMount]
        );
        assert_eq!(
            ask(&mut memory, &low(true), false, false, EnclosureState::Open, true, 30.0),
            [Effect::Close]
        );
        let mut memory = Memory::default();
        ask(&mut memory, &low(true), false, false, EnclosureState::Open, false, 0.0);
        assert_eq!(
            ask(&mut memory, &low(true), false, false, EnclosureState::Open, false, 61.0),
            [Effect::Close]
        );
        let mut memory = Memory::default();
        ask(&mut memory, &low(false), false, false, EnclosureState::Open, false, 0.0);
        let effects = ask(
            &mut memory,
            &low(false),
            false,
            false,
            EnclosureState::Open,
            false,
            61.0,
        );
        assert!(
            matches!(effects.as_slice(), [Effect::ParkMount, Effect::Alarm(_)]),
            "{effects:?}"
        );
    }

    #[test]
    fn a_latch_keeps_it_closed_although_all_is_well() {
        let reading = measured(EnclosureState::Open, 0.0);
        let view = View {
            safe: true,
            latched: true,
            wanted_open: true,
            measured: &reading,
            mount_parked: false,
            now: at(0.0),
        };
        assert_eq!(decide(&Memory::default(), &view, &Policy::default()).1, [Effect::Close]);
    }
}
