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
    clock::move_by,
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

    /// The clock was set: what was ordered or waited for is due when it would have been.
    pub fn move_by(&mut self, seconds: f64) {
        for at in [&mut self.since, &mut self.last_park, &mut self.last_replan] {
            move_by(at, seconds);
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
mod tests;
