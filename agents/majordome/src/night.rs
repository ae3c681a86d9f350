//! The night as a state machine: analyse, then transition, then act.
//!
//! ```text
//!             devices read                Sun low             open + dark or flats taken
//! off -> starting -----------> waiting -----------> preparing ---------------------------> ready <--> observing
//!                                 ^                     |  ^                                | |          |
//!                                 |                     v  |  unsafe, device missing,       | v          v
//!                                 |                   paused <---- operator ----------------+-+----------+
//!                                 |                     |                 morning (any of these)
//!                              closed <--- closing <----+------------------------------------------------+
//! ```
//!
//! The decision sees one [`View`] of everything and returns effects; it reads no clock and sends nothing.

use crate::{
    agenda::Due,
    messages::{Circumstances, Takeover},
};
use alidade_model::{
    request::SequenceId,
    states::{LifeCycle, NightState},
    time::UtcTime,
};
use alidade_observation::messages::Outcome;
use std::collections::BTreeMap;

/// The numbers of the night.
#[derive(Debug, Clone, PartialEq)]
pub struct NightSettings {
    /// Preparations begin with the Sun below this altitude, degrees.
    pub prepare_sun_alt_deg: f64,
    /// The enclosure may open with the Sun below this, degrees.
    pub open_sun_alt_deg: f64,
    /// Twilight flats between these altitudes of the Sun, degrees (high, low).
    pub flats_sun_alt_deg: (f64, f64),
    /// Observing ends with the rising Sun above this, degrees.
    pub close_sun_alt_deg: f64,
    /// A sequence that has failed this often is left incomplete.
    pub max_failures: u32,
    /// Shortest time between two re-plans for want of work, seconds.
    pub idle_replan_s: f64,
}

/// Who runs on the instruments.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    Sequence {
        id: SequenceId,
        priority: f64,
        event: Option<String>,
    },
    /// Bias and dark behind closed doors.
    Darks,
    Flats,
}

/// A sequence that an alert wants observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Opportunity {
    pub sequence: SequenceId,
    pub event: String,
    pub priority: f64,
    pub takeover: Takeover,
}

/// One look at everything.
#[derive(Debug, Clone)]
pub struct View {
    pub now: UtcTime,
    pub sky: Option<Circumstances>,
    pub safe: bool,
    pub reasons: Vec<String>,
    /// Freshly measured positions.
    pub enclosure_open: bool,
    pub enclosure_closed: bool,
    pub mount_parked: bool,
    /// The order that ended since the last look.
    pub ended: Option<(String, Outcome)>,
    pub due: Due,
    pub priority_of_due: f64,
    /// The alert event that what is due follows: a retraction ends it too, and only a better alert displaces it.
    pub event_of_due: Option<String>,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Move {
        from: NightState,
        to: NightState,
        cause: String,
    },
    WantOpen(bool),
    Execute(Task),
    /// Ends the running task for `cause` and begins the next at once.
    Interrupt {
        cause: String,
        next: Option<Task>,
    },
    /// Ends the running sequence with the frames that are being exposed.
    Yield {
        sequence: SequenceId,
        cause: String,
    },
    Park,
    Replan {
        cause: String,
        first: bool,
    },
    /// The task is over; `outcome` tells what becomes of its sequence.
    Settle {
        task: Task,
        outcome: Outcome,
        give_up: bool,
    },
    Alarm(String),
    Report,
}

/// The memory between looks.
#[derive(Debug, Clone)]
pub struct NightMachine {
    pub state: NightState,
    pub cause: String,
    pub since: Option<UtcTime>,
    pub task: Option<Task>,
    pub operator_pause: bool,
    opportunities: Vec<Opportunity>,
    /// The running sequence that was told to give way with its frame.
    yielding: Option<SequenceId>,
    failures: BTreeMap<SequenceId, u32>,
    darks_taken: bool,
    flats_taken: bool,
    flat_tries: u32,
    planned: bool,
    last_park: Option<UtcTime>,
    last_replan: Option<UtcTime>,
    alarmed: bool,
    want_open: bool,
}

impl NightMachine {
    /// `calibrated`: this night's calibration frames are on disk already (after a restart).
    pub fn new(calibrated: bool) -> Self {
        Self {
            state: NightState::Off,
            cause: String::new(),
            since: None,
            task: None,
            operator_pause: false,
            opportunities: Vec::new(),
            yielding: None,
            failures: BTreeMap::new(),
            darks_taken: calibrated,
            flats_taken: calibrated,
            flat_tries: 0,
            planned: false,
            last_park: None,
            last_replan: None,
            alarmed: false,
            want_open: false,
        }
    }

    pub fn opportunities(&self) -> &[Opportunity] {
        &self.opportunities
    }

    /// Queues an alert's sequence, the most important first. A second word about the same sequence replaces the first.
    pub fn offer(&mut self, opportunity: Opportunity) {
        self.opportunities
            .retain(|known| known.sequence != opportunity.sequence);
        self.opportunities.push(opportunity);
        self.opportunities.sort_by(|a, b| {
            b.priority
                .total_cmp(&a.priority)
                .then_with(|| a.sequence.cmp(&b.sequence))
        });
    }

    /// Forgets what waits for a retracted event and ends it if it runs.
    pub fn retract(&mut self, event: &str, cause: &str) -> Vec<Effect> {
        self.opportunities.retain(|known| known.event != event);
        let runs = matches!(&self.task, Some(Task::Sequence { event: Some(running), .. }) if running == event);
        if runs { self.interrupt(cause, None) } else { Vec::new() }
    }

    /// Ends the running task; its sequence is settled at once, because the instruments are free from now on.
    pub fn interrupt(&mut self, cause: &str, next: Option<Task>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let ended = self.task.take();
        self.yielding = None;
        effects.push(Effect::Interrupt {
            cause: cause.into(),
            next: next.clone(),
        });
        if let Some(task) = ended {
            effects.push(Effect::Settle {
                task,
                outcome: Outcome::Aborted { cause: cause.into() },
                give_up: false,
            });
        }
        self.task = next;
        effects
    }

    fn go(&mut self, to: NightState, cause: impl Into<String>, now: UtcTime, effects: &mut Vec<Effect>) {
        if self.state == to || !self.state.allows(to) {
            return;
        }
        let cause = cause.into();
        effects.push(Effect::Move {
            from: self.state,
            to,
            cause: cause.clone(),
        });
        self.state = to;
        self.cause = cause;
        self.since = Some(now);
        self.alarmed = false;
    }

    fn want(&mut self, open: bool, effects: &mut Vec<Effect>) {
        if self.want_open != open {
            self.want_open = open;
            effects.push(Effect::WantOpen(open));
        }
    }

    fn execute(&mut self, task: Task, effects: &mut Vec<Effect>) {
        self.yielding = None;
        self.task = Some(task.clone());
        effects.push(Effect::Execute(task));
    }

    /// One look; call it every second and on every change.
    pub fn look(&mut self, view: &View, settings: &NightSettings) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.settle(view, settings, &mut effects);
        let Some(sky) = &view.sky else {
            if self.state == NightState::Off {
                self.go(NightState::Starting, "daemon started", view.now, &mut effects);
            }
            return effects;
        };
        let dark_enough = sky.sun_alt_deg < settings.prepare_sun_alt_deg
            && (sky.sun_sinking || sky.sun_alt_deg < settings.close_sun_alt_deg);
        let morning = !sky.sun_sinking && sky.sun_alt_deg > settings.close_sun_alt_deg;
        match self.state {
            NightState::Off => self.go(NightState::Starting, "daemon started", view.now, &mut effects),
            NightState::Starting => {
                if sky.all_read {
                    let (to, cause) = if dark_enough {
                        (NightState::Preparing, "devices read, Sun low")
                    } else {
                        (NightState::Waiting, "devices read, Sun up")
                    };
                    self.go(to, cause, view.now, &mut effects);
                } else if sky.blocking_down.is_empty() {
                    self.cause = "the enclosure's position has not been read yet".into();
                } else {
                    self.cause = format!("missing: {}", sky.blocking_down.join(", "));
                }
            }
            NightState::Waiting => {
                if dark_enough {
                    self.go(NightState::Preparing, "Sun low", view.now, &mut effects);
                }
            }
            NightState::Preparing | NightState::Ready | NightState::Observing | NightState::Paused => {
                if morning {
                    self.close("morning", view, &mut effects);
                } else {
                    self.work(view, sky, settings, &mut effects);
                }
            }
            NightState::Closing => self.closing(view, &mut effects),
            NightState::Closed => {
                if sky.sun_alt_deg > settings.prepare_sun_alt_deg {
                    *self = Self {
                        state: self.state,
                        ..Self::new(false)
                    };
                    self.go(NightState::Waiting, "day", view.now, &mut effects);
                }
            }
            NightState::Fault => {}
        }
        effects
    }

    /// Takes note of a task that has ended by itself.
    fn settle(&mut self, view: &View, settings: &NightSettings, effects: &mut Vec<Effect>) {
        let (Some((id, outcome)), Some(task)) = (&view.ended, &self.task) else {
            return;
        };
        if task_id(task) != id {
            return;
        }
        let Some(task) = self.task.take() else { return };
        let mut give_up = false;
        match (&task, outcome) {
            (Task::Darks, _) => self.darks_taken = true,
            (Task::Flats, Outcome::Done) => self.flats_taken = true,
            (Task::Flats, _) => {
                self.flat_tries += 1;
                self.flats_taken = self.flat_tries >= 2;
            }
            (Task::Sequence { id, .. }, Outcome::Failed { .. }) => {
                let count = self.failures.entry(id.clone()).or_default();
                *count += 1;
                give_up = *count >= settings.max_failures;
            }
            (Task::Sequence { .. }, _) => {}
        }
        let replan = matches!(
            (&task, outcome),
            (
                Task::Sequence { .. },
                Outcome::Failed { .. } | Outcome::Aborted { .. } | Outcome::Yielded { .. }
            )
        );
        effects.push(Effect::Settle {
            task,
            outcome: outcome.clone(),
            give_up,
        });
        if replan && !self.operator_pause {
            self.replan("a sequence did not finish", view.now, false, effects);
        }
        if self.state == NightState::Observing {
            self.go(NightState::Ready, "task over", view.now, effects);
        }
    }

    fn replan(&mut self, cause: &str, now: UtcTime, first: bool, effects: &mut Vec<Effect>) {
        self.last_replan = Some(now);
        effects.push(Effect::Replan {
            cause: cause.into(),
            first,
        });
    }

    /// Why observing must pause, if it must.
    fn obstacle(&self, view: &View, sky: &Circumstances) -> Option<String> {
        if self.operator_pause {
            Some("paused by an operator".into())
        } else if !sky.blocking_down.is_empty() {
            Some(format!("missing: {}", sky.blocking_down.join(", ")))
        } else if !view.safe {
            Some(format!("unsafe: {}", view.reasons.join("; ")))
        } else {
            None
        }
    }

    /// The night's work: preparing, ready, observing and paused are one decision.
    fn work(&mut self, view: &View, sky: &Circumstances, settings: &NightSettings, effects: &mut Vec<Effect>) {
        if !self.planned {
            self.planned = true;
            self.replan("first schedule of the night", view.now, true, effects);
        }
        if !self.darks_taken && self.state == NightState::Preparing {
            if self.task.is_none() && sky.blocking_down.is_empty() && !self.operator_pause {
                self.execute(Task::Darks, effects);
            }
            return;
        }
        let may_open = sky.sun_alt_deg < settings.open_sun_alt_deg;
        self.want(may_open && !self.operator_pause, effects);
        if let Some(cause) = self.obstacle(view, sky).filter(|_| may_open) {
            if self.task.is_some() {
                effects.extend(self.interrupt(&cause, None));
                self.replan(&cause, view.now, false, effects);
            }
            self.go(NightState::Paused, cause, view.now, effects);
            self.park(view, effects);
            return;
        }
        if self.state == NightState::Paused && view.enclosure_open {
            let to = if self.flats_taken || sky.sun_alt_deg < settings.flats_sun_alt_deg.1 {
                NightState::Ready
            } else {
                NightState::Preparing
            };
            self.go(to, "safe and open again", view.now, effects);
            self.replan("observing resumes", view.now, false, effects);
        }
        if self.state == NightState::Observing && self.task.is_none() {
            // Ended from outside the plan: retracted, or replaced by a better position.
            self.go(NightState::Ready, "nothing runs any more", view.now, effects);
        }
        match self.state {
            NightState::Preparing => self.prepare(view, sky, settings, effects),
            NightState::Ready => self.begin(view, settings, effects),
            NightState::Observing => self.give_way(view, effects),
            _ => {}
        }
    }

    fn prepare(&mut self, view: &View, sky: &Circumstances, settings: &NightSettings, effects: &mut Vec<Effect>) {
        if !view.enclosure_open || self.task.is_some() || self.operator_pause {
            return;
        }
        let (high, low) = settings.flats_sun_alt_deg;
        let flats_possible = sky.sun_sinking && sky.sun_alt_deg > low;
        if self.flats_taken || !flats_possible {
            self.go(NightState::Ready, "open and prepared", view.now, effects);
        } else if sky.sun_alt_deg < high {
            self.execute(Task::Flats, effects);
        }
    }

    fn begin(&mut self, view: &View, settings: &NightSettings, effects: &mut Vec<Effect>) {
        if self.task.is_some() || !view.enclosure_open {
            return;
        }
        if !self.opportunities.is_empty() {
            let first = self.opportunities.remove(0);
            let task = Task::Sequence {
                id: first.sequence,
                priority: first.priority,
                event: Some(first.event),
            };
            self.go(NightState::Observing, "alert", view.now, effects);
            self.execute(task, effects);
            return;
        }
        match &view.due {
            Due::Now(id) => {
                self.go(NightState::Observing, format!("{id} is due"), view.now, effects);
                self.execute(
                    Task::Sequence {
                        id: id.clone(),
                        priority: view.priority_of_due,
                        event: view.event_of_due.clone(),
                    },
                    effects,
                );
            }
            Due::Missed(id) => self.replan(&format!("{id} missed its place"), view.now, false, effects),
            Due::Empty | Due::Wait { .. } => {
                let idle = self
                    .last_replan
                    .is_none_or(|at| view.now.seconds_since(at) >= settings.idle_replan_s);
                if idle {
                    self.replan("nothing to do", view.now, false, effects);
                }
            }
        }
    }

    /// A running routine sequence gives way to an alert, at once or with its frame; a running alert only to a better one.
    fn give_way(&mut self, view: &View, effects: &mut Vec<Effect>) {
        let Some(first) = self.opportunities.first() else {
            return;
        };
        let running = match &self.task {
            Some(Task::Sequence {
                event: Some(_),
                priority,
                ..
            }) if first.priority <= *priority => return,
            Some(Task::Sequence { id, .. }) => Some(id),
            Some(Task::Flats | Task::Darks) => None,
            None => return,
        };
        let cause = format!("displaced by alert {}", first.event);
        if let (Some(id), Takeover::AfterExposure) = (running, first.takeover) {
            if self.yielding.as_ref() != Some(id) {
                effects.push(Effect::Yield {
                    sequence: id.clone(),
                    cause,
                });
                self.yielding = Some(id.clone());
            }
            return;
        }
        let first = self.opportunities.remove(0);
        let next = Task::Sequence {
            id: first.sequence,
            priority: first.priority,
            event: Some(first.event),
        };
        effects.extend(self.interrupt(&cause, Some(next)));
        self.replan(&cause, view.now, false, effects);
    }

    fn park(&mut self, view: &View, effects: &mut Vec<Effect>) {
        let due = self.last_park.is_none_or(|at| view.now.seconds_since(at) >= 30.0);
        if !view.mount_parked && self.task.is_none() && due {
            self.last_park = Some(view.now);
            effects.push(Effect::Park);
        }
    }

    fn close(&mut self, cause: &str, view: &View, effects: &mut Vec<Effect>) {
        if self.task.is_some() {
            effects.extend(self.interrupt(cause, None));
        }
        self.want(false, effects);
        self.go(NightState::Closing, cause, view.now, effects);
        self.last_park = None;
        self.park(view, effects);
    }

    fn closing(&mut self, view: &View, effects: &mut Vec<Effect>) {
        self.want(false, effects);
        self.park(view, effects);
        if view.enclosure_closed && view.mount_parked {
            self.go(NightState::Closed, "closed and parked", view.now, effects);
            effects.push(Effect::Report);
        } else if self.since.is_some_and(|at| view.now.seconds_since(at) > 600.0)
            && !std::mem::replace(&mut self.alarmed, true)
        {
            effects.push(Effect::Alarm(
                "not closed and parked ten minutes after the end of the night".into(),
            ));
        }
    }
}

/// The identifier that the observation agent reports for a task.
pub fn task_id(task: &Task) -> &str {
    match task {
        Task::Sequence { id, .. } => id,
        Task::Darks => "bias and dark",
        Task::Flats => "twilight flats",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::time::Night;

    fn settings() -> NightSettings {
        NightSettings {
            prepare_sun_alt_deg: 5.0,
            open_sun_alt_deg: -1.0,
            flats_sun_alt_deg: (-3.0, -9.0),
            close_sun_alt_deg: -9.0,
            max_failures: 3,
            idle_replan_s: 300.0,
        }
    }

    fn at(second: f64) -> UtcTime {
        "2026-03-14T18:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn view(second: f64, sun_alt_deg: f64, sun_sinking: bool) -> View {
        View {
            now: at(second),
            sky: Some(Circumstances {
                sun_alt_deg,
                sun_sinking,
                night: Night(at(0.0).chrono().date_naive()),
                dusk: None,
                dawn: None,
                all_read: true,
                blocking_down: vec![],
            }),
            safe: true,
            reasons: vec![],
            enclosure_open: true,
            enclosure_closed: false,
            mount_parked: false,
            ended: None,
            due: Due::Now("s1".into()),
            priority_of_due: 5.0,
            event_of_due: None,
        }
    }

    /// A machine in the middle of a routine sequence.
    fn observing() -> NightMachine {
        let mut machine = NightMachine::new(true);
        for _ in 0..6 {
            machine.look(&view(0.0, -20.0, true), &settings());
        }
        assert_eq!(machine.state, NightState::Observing);
        machine
    }

    fn alert(priority: f64) -> Opportunity {
        Opportunity {
            sequence: format!("grb-{priority}"),
            event: "grb".into(),
            priority,
            takeover: Takeover::Now,
        }
    }

    #[test]
    fn an_evening_goes_from_off_to_observing_by_way_of_darks_and_flats() {
        let mut machine = NightMachine::new(false);
        let mut tasks = Vec::new();
        let mut ended = None;
        for (second, sun) in [
            (0.0, 4.0),
            (1.0, 4.0),
            (2.0, 4.0),
            (3.0, 4.0),
            (4.0, -5.0),
            (5.0, -5.0),
            (6.0, -5.0),
            (7.0, -9.5),
            (8.0, -12.0),
            (9.0, -12.0),
        ] {
            let look = View {
                ended: ended.take(),
                ..view(second, sun, true)
            };
            for effect in machine.look(&look, &settings()) {
                if let Effect::Execute(task) = effect {
                    ended = Some((task_id(&task).to_owned(), Outcome::Done));
                    tasks.push(task);
                }
            }
        }
        assert_eq!(tasks[0], Task::Darks);
        assert_eq!(tasks[1], Task::Flats);
        assert!(matches!(tasks[2], Task::Sequence { .. }));
    }

    #[test]
    fn rain_interrupts_settles_and_pauses_in_one_look() {
        let mut machine = observing();
        let rain = View {
            safe: false,
            reasons: vec!["rain_mm_h 2.0 above 0".into()],
            ..view(100.0, -20.0, true)
        };
        let effects = machine.look(&rain, &settings());
        assert!(
            matches!(&effects[0], Effect::Interrupt { next: None, .. }),
            "{effects:?}"
        );
        assert!(effects.iter().any(|e| matches!(
            e,
            Effect::Settle {
                outcome: Outcome::Aborted { .. },
                ..
            }
        )));
        assert_eq!(machine.state, NightState::Paused);
        assert!(machine.cause.contains("rain"));
    }

    #[test]
    fn it_resumes_when_it_is_safe_and_measured_open() {
        let mut machine = observing();
        machine.look(
            &View {
                safe: false,
                ..view(100.0, -20.0, true)
            },
            &settings(),
        );
        machine.look(
            &View {
                enclosure_open: false,
                ..view(200.0, -20.0, true)
            },
            &settings(),
        );
        assert_eq!(machine.state, NightState::Paused, "safe but not open yet");
        machine.look(&view(300.0, -20.0, true), &settings());
        assert!(matches!(machine.state, NightState::Ready | NightState::Observing));
    }

    #[test]
    fn an_alert_displaces_a_routine_sequence_and_a_lesser_alert_waits() {
        let mut machine = observing();
        machine.offer(alert(100.0));
        let effects = machine.look(&view(10.0, -20.0, true), &settings());
        assert!(
            matches!(&effects[0], Effect::Interrupt { next: Some(Task::Sequence { id, .. }), .. } if id == "grb-100")
        );
        machine.offer(alert(50.0));
        assert!(
            !machine
                .look(&view(11.0, -20.0, true), &settings())
                .iter()
                .any(|e| matches!(e, Effect::Interrupt { .. }))
        );
        machine.offer(alert(200.0));
        assert!(
            machine
                .look(&view(12.0, -20.0, true), &settings())
                .iter()
                .any(|e| matches!(e, Effect::Interrupt { .. }))
        );
    }

    #[test]
    fn an_alert_that_waits_for_the_frame_takes_over_at_its_end_and_one_that_cannot_wait_comes_first() {
        let mut machine = observing();
        let patient = |priority| Opportunity {
            takeover: Takeover::AfterExposure,
            ..alert(priority)
        };
        machine.offer(patient(100.0));
        let effects = machine.look(&view(10.0, -20.0, true), &settings());
        assert!(
            matches!(&effects[..], [Effect::Yield { sequence, .. }] if sequence == "s1"),
            "{effects:?}"
        );
        assert!(
            machine.look(&view(11.0, -20.0, true), &settings()).is_empty(),
            "said once"
        );
        let cause = "displaced by alert grb".to_owned();
        let over = View {
            ended: Some(("s1".into(), Outcome::Yielded { cause })),
            ..view(12.0, -20.0, true)
        };
        let effects = machine.look(&over, &settings());
        let begun = |effects: &[Effect], wanted: &str| {
            effects
                .iter()
                .any(|e| matches!(e, Effect::Execute(Task::Sequence { id, .. }) if id == wanted))
        };
        assert!(begun(&effects, "grb-100"), "{effects:?}");
        let replanned = effects.iter().any(|e| matches!(e, Effect::Replan { .. }));
        assert!(replanned, "the rest of what gave way is planned again: {effects:?}");
        machine.offer(patient(50.0));
        assert!(machine.look(&view(13.0, -20.0, true), &settings()).is_empty());
        machine.offer(patient(150.0));
        machine.offer(alert(200.0));
        let effects = machine.look(&view(14.0, -20.0, true), &settings());
        assert!(
            matches!(&effects[0], Effect::Interrupt { next: Some(Task::Sequence { id, .. }), .. } if id == "grb-200")
        );
    }

    #[test]
    fn a_retraction_ends_what_runs_for_its_event() {
        let mut machine = observing();
        machine.offer(alert(100.0));
        machine.look(&view(10.0, -20.0, true), &settings());
        let effects = machine.retract("grb", "retracted");
        assert!(matches!(&effects[0], Effect::Interrupt { next: None, .. }));
        assert!(machine.retract("another", "retracted").is_empty());
        machine.offer(alert(50.0));
        let effects = machine.look(&view(11.0, -20.0, true), &settings());
        let next = effects
            .iter()
            .any(|e| matches!(e, Effect::Execute(Task::Sequence { id, .. }) if id == "grb-50"));
        assert!(next, "the night goes on: {effects:?}");
        assert_eq!(machine.state, NightState::Observing);
    }

    #[test]
    fn a_retraction_also_ends_what_the_schedule_began_for_its_event() {
        let mut machine = NightMachine::new(true);
        let look = View {
            priority_of_due: 960.0,
            event_of_due: Some("grb".into()),
            ..view(0.0, -20.0, true)
        };
        for _ in 0..6 {
            machine.look(&look, &settings());
        }
        assert_eq!(machine.state, NightState::Observing);
        machine.offer(alert(100.0));
        let effects = machine.look(&view(10.0, -20.0, true), &settings());
        assert!(effects.is_empty(), "a lesser alert waits: {effects:?}");
        let effects = machine.retract("grb", "retracted");
        assert!(matches!(&effects[0], Effect::Interrupt { next: None, .. }));
    }

    #[test]
    fn the_morning_closes_from_every_working_state() {
        for state in [
            NightState::Preparing,
            NightState::Ready,
            NightState::Observing,
            NightState::Paused,
        ] {
            let mut machine = observing();
            machine.state = state;
            let effects = machine.look(&view(0.0, -5.0, false), &settings());
            assert_eq!(machine.state, NightState::Closing, "{state}");
            assert!(effects.contains(&Effect::WantOpen(false)));
            let done = View {
                enclosure_closed: true,
                enclosure_open: false,
                mount_parked: true,
                ..view(60.0, -4.0, false)
            };
            assert!(machine.look(&done, &settings()).contains(&Effect::Report));
            assert_eq!(machine.state, NightState::Closed);
        }
    }

    #[test]
    fn a_sequence_that_fails_three_times_is_given_up() {
        let mut machine = observing();
        let failed = || View {
            ended: Some(("s1".into(), Outcome::Failed { cause: "camera".into() })),
            ..view(0.0, -20.0, true)
        };
        let mut given_up = Vec::new();
        for _ in 0..3 {
            for effect in machine.look(&failed(), &settings()) {
                if let Effect::Settle { give_up, .. } = effect {
                    given_up.push(give_up);
                }
            }
        }
        assert_eq!(given_up, [false, false, true]);
    }

    #[test]
    fn calibration_frames_that_an_operator_stopped_stay_stopped_until_the_pause_is_lifted() {
        let darks = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Execute(Task::Darks)));
        let mut machine = NightMachine::new(false);
        let second = |machine: &mut NightMachine, s: f64| machine.look(&view(s, -5.0, true), &settings());
        let mut begun = false;
        for s in 0..5 {
            begun |= darks(&second(&mut machine, f64::from(s)));
        }
        assert!(begun && machine.state == NightState::Preparing, "{:?}", machine.state);
        machine.operator_pause = true;
        drop(machine.interrupt("aborted by somebody", None));
        for s in 5..10 {
            assert!(
                !darks(&second(&mut machine, f64::from(s))),
                "they begin again by themselves"
            );
        }
        machine.operator_pause = false;
        assert!(darks(&second(&mut machine, 10.0)));
    }

    #[test]
    fn an_operator_pause_holds_until_it_is_lifted() {
        let mut machine = observing();
        machine.operator_pause = true;
        machine.look(&view(0.0, -20.0, true), &settings());
        assert_eq!(machine.state, NightState::Paused);
        machine.look(&view(1.0, -20.0, true), &settings());
        assert_eq!(machine.state, NightState::Paused);
        machine.operator_pause = false;
        machine.look(&view(2.0, -20.0, true), &settings());
        assert_ne!(machine.state, NightState::Paused);
    }
}
