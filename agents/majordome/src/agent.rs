//! The shell: looks at everything once a second and on every message, lets the core decide, sends.

use crate::{
    agenda::{self, Due},
    messages::{
        BookChanged, Circumstances, Denied, Disposition, Operate, OperatorOrder, Ping, Retract, SafetyChanged,
        TargetOfOpportunity,
    },
    night::{Effect, NightMachine, NightSettings, Opportunity, Task, View, task_id},
};
use actix::prelude::*;
use alidade_drivers::interface::{Enclosure, Mount};
use alidade_model::{
    book::{BookError, SharedBook},
    clock::Looks,
    journal::{Fact, Recorder, Severity},
    schedule::Schedule,
    states::{EnclosureState, MountState, NightState, SequenceState},
    time::{Night, UtcTime},
};
use alidade_observation::messages::{
    CalibrationFrames, Execute, Interrupt, ObservationStatus, Order, Outcome, Park, Yield,
};
use alidade_scheduling::messages::Replan;
use serde::Serialize;
use std::{rc::Rc, time::Duration};
use tokio::sync::watch;

/// What it does, why, until when, what next, and what would change it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MajordomeStatus {
    pub state: NightState,
    pub since: Option<UtcTime>,
    pub doing: String,
    pub why: String,
    pub until: Option<UtcTime>,
    pub next: String,
    pub would_change: String,
    /// The running sequence, and the alert event it follows.
    pub sequence: Option<String>,
    pub event: Option<String>,
    pub paused_by_operator: bool,
}

impl MajordomeStatus {
    pub fn off() -> Self {
        Self {
            state: NightState::Off,
            since: None,
            doing: "off".into(),
            why: String::new(),
            until: None,
            next: String::new(),
            would_change: String::new(),
            sequence: None,
            event: None,
            paused_by_operator: false,
        }
    }
}

/// Outgoing edges, hardware to read, and what it publishes.
pub struct MajordomePorts {
    pub replan: Recipient<Replan>,
    pub execute: Recipient<Execute>,
    pub interrupt: Recipient<Interrupt>,
    pub give_way: Recipient<Yield>,
    pub park: Recipient<Park>,
    pub schedule: watch::Receiver<Option<Rc<Schedule>>>,
    pub observation: watch::Receiver<ObservationStatus>,
    pub enclosure: Rc<dyn Enclosure>,
    pub mount: Rc<dyn Mount>,
    pub book: SharedBook,
    pub wanted_open: watch::Sender<bool>,
    pub status: watch::Sender<MajordomeStatus>,
    /// Writes the report of a night.
    pub report: Rc<dyn Fn(Night)>,
}

#[derive(Debug, Clone)]
pub struct MajordomeSettings {
    pub night: NightSettings,
    pub darks: Vec<CalibrationFrames>,
    pub flats: Vec<CalibrationFrames>,
    /// Position readings older than this do not count, seconds.
    pub max_age_s: f64,
    pub readout_s: f64,
    /// This night's calibration frames are on disk already.
    pub calibrated: bool,
}

/// See the module's text.
pub struct Majordome {
    ports: MajordomePorts,
    settings: MajordomeSettings,
    recorder: Recorder,
    machine: NightMachine,
    sky: Option<Circumstances>,
    safety: Option<SafetyChanged>,
    seen_serial: u64,
    looks: Looks,
    /// An order that the observation agent refused: settled like one that failed.
    refused: Option<(String, Outcome)>,
}

impl Majordome {
    pub fn new(ports: MajordomePorts, settings: MajordomeSettings, recorder: Recorder) -> Self {
        let machine = NightMachine::new(settings.calibrated);
        Self {
            ports,
            settings,
            recorder,
            machine,
            sky: None,
            safety: None,
            seen_serial: 0,
            looks: Looks::default(),
            refused: None,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let view = self.view();
        if let Some(seconds) = self.looks.moved_s(view.now) {
            self.machine.move_by(seconds);
        }
        let effects = self.machine.look(&view, &self.settings.night);
        for effect in effects {
            self.execute(effect, ctx);
        }
        self.publish(&view);
    }

    fn view(&mut self) -> View {
        let now = self.recorder.now();
        let observation = self.ports.observation.borrow();
        let ended = if observation.serial == self.seen_serial {
            None
        } else {
            observation.ended.clone()
        };
        self.seen_serial = observation.serial;
        drop(observation);
        let enclosure = self
            .ports
            .enclosure
            .enclosure_status()
            .borrow()
            .fresh(now, self.settings.max_age_s)
            .map(|s| s.state);
        let mount = self
            .ports
            .mount
            .status()
            .borrow()
            .fresh(now, self.settings.max_age_s)
            .map(|s| s.state);
        let book = self.ports.book.borrow();
        let due = self
            .ports
            .schedule
            .borrow()
            .as_ref()
            .map_or(Due::Empty, |schedule| agenda::due(schedule, &book, now));
        let priority_of_due = match &due {
            Due::Now(id) => book.line(id).map_or(0.0, |line| line.sequence.priority),
            _ => 0.0,
        };
        let event_of_due = match &due {
            Due::Now(id) => book.line(id).and_then(|line| line.from_alert.clone()),
            _ => None,
        };
        View {
            now,
            sky: self.sky.clone(),
            safe: self.safety.as_ref().is_some_and(|s| s.safe),
            reasons: self
                .safety
                .as_ref()
                .map_or_else(|| vec!["no verdict yet".into()], |s| s.reasons.clone()),
            enclosure_open: enclosure == Ok(EnclosureState::Open),
            enclosure_closed: enclosure == Ok(EnclosureState::Closed),
            mount_parked: mount == Ok(MountState::Parked),
            ended: self.refused.take().or(ended),
            due,
            priority_of_due,
            event_of_due,
        }
    }

    fn execute(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Move { from, to, cause } => {
                self.recorder.record(Fact::NightMoved { from, to, cause });
            }
            Effect::WantOpen(open) => {
                self.ports.wanted_open.send_replace(open);
            }
            Effect::Execute(task) => {
                if let Some(order) = self.order(&task) {
                    let id = order.id().to_owned();
                    let answer = self.ports.execute.send(Execute(order));
                    self.heed(answer, id, ctx);
                } else {
                    self.refused = Some((
                        task_id(&task).to_owned(),
                        Outcome::Failed {
                            cause: "cannot be begun".into(),
                        },
                    ));
                }
            }
            Effect::Interrupt { cause, next } => {
                let next = next.and_then(|task| self.order(&task));
                let id = next.as_ref().map_or_else(String::new, |order| order.id().to_owned());
                let answer = self.ports.interrupt.send(Interrupt { cause, next });
                self.heed(answer, id, ctx);
            }
            Effect::Yield { sequence, cause } => {
                // An order that is over already needs no word, and one that runs on is interrupted by what is better.
                self.ports.give_way.do_send(Yield { order: sequence, cause });
            }
            Effect::Park => self.ports.park.do_send(Park),
            Effect::Replan { cause, first } => self.ports.replan.do_send(Replan { cause, first }),
            Effect::Settle { task, outcome, give_up } => self.settle(&task, &outcome, give_up),
            Effect::Alarm(text) => self.recorder.alarm(Severity::Serious, text),
            Effect::Report => {
                if let Some(sky) = &self.sky {
                    (self.ports.report)(sky.night);
                }
            }
        }
    }

    /// A refused order is settled at the next look.
    fn heed<F>(&mut self, answer: F, id: String, ctx: &mut Context<Self>)
    where
        F: Future<Output = Result<Result<Disposition, alidade_observation::messages::Denied>, MailboxError>> + 'static,
    {
        ctx.spawn(answer.into_actor(self).map(move |answer, actor, _| {
            let cause = match answer {
                Ok(Ok(_)) => return,
                Ok(Err(denied)) => denied.to_string(),
                Err(lost) => lost.to_string(),
            };
            if !id.is_empty() {
                actor.refused = Some((id, Outcome::Failed { cause }));
            }
        }));
    }

    /// The order for a task; a sequence is marked as executing in the book.
    fn order(&mut self, task: &Task) -> Option<Order> {
        match task {
            Task::Darks => Some(Order::Calibration {
                id: task_id(task).into(),
                frames: self.settings.darks.clone(),
            }),
            Task::Flats => Some(Order::Calibration {
                id: task_id(task).into(),
                frames: self.settings.flats.clone(),
            }),
            Task::Sequence { id, event, .. } => {
                let mut book = self.ports.book.borrow_mut();
                let cause = event
                    .as_ref()
                    .map_or_else(|| "due".to_owned(), |event| format!("alert {event}"));
                if let Err(error) = book.move_to(id, SequenceState::Executing, &cause, &self.recorder) {
                    self.recorder.record(Fact::Degraded {
                        what: format!("sequence {id}"),
                        cause: error.to_string(),
                    });
                    return None;
                }
                let line = book.line(id)?;
                Some(Order::Sequence {
                    sequence: Box::new(line.sequence.clone()),
                    done: line.done.clone(),
                    event: event.clone(),
                })
            }
        }
    }

    /// What becomes of a sequence whose task is over.
    fn settle(&mut self, task: &Task, outcome: &Outcome, give_up: bool) {
        let Task::Sequence { id, .. } = task else {
            if let Outcome::Failed { cause } | Outcome::Aborted { cause } | Outcome::Yielded { cause } = outcome {
                self.recorder.record(Fact::Degraded {
                    what: task_id(task).into(),
                    cause: cause.clone(),
                });
            }
            return;
        };
        let settled = self.settle_sequence(id, outcome, give_up);
        if let Err(error) = settled {
            self.recorder.record(Fact::Degraded {
                what: format!("sequence {id}"),
                cause: error.to_string(),
            });
        }
    }

    fn settle_sequence(&mut self, id: &str, outcome: &Outcome, give_up: bool) -> Result<(), BookError> {
        let recorder = &self.recorder;
        let mut book = self.ports.book.borrow_mut();
        if book.line(id).is_some_and(|line| line.state == SequenceState::Cancelled) {
            return Ok(());
        }
        match outcome {
            Outcome::Done => {
                book.spend(id, recorder)?;
                book.move_to(id, SequenceState::Executed, "all exposures on disk", recorder)
            }
            Outcome::Aborted { cause } => {
                book.refund(id, cause, recorder)?;
                book.start_over(id, recorder);
                book.move_to(id, SequenceState::Observable, cause, recorder)
            }
            Outcome::Yielded { cause } => {
                book.refund(id, cause, recorder)?;
                book.move_to(id, SequenceState::Observable, cause, recorder)
            }
            Outcome::Failed { cause } => {
                book.refund(id, cause, recorder)?;
                book.move_to(id, SequenceState::Incomplete, cause, recorder)?;
                if give_up {
                    Ok(())
                } else {
                    book.move_to(id, SequenceState::Observable, "to be tried again", recorder)
                }
            }
        }
    }

    /// A sequence as people call it: its target and user.
    fn named(&self, id: &str) -> String {
        let book = self.ports.book.borrow();
        book.line(id).map_or_else(
            || id.to_owned(),
            |l| format!("{} ({})", l.sequence.target.name, l.sequence.user),
        )
    }

    fn publish(&self, view: &View) {
        let machine = &self.machine;
        let (mut sequence, mut event) = (None, None);
        let (doing, until) = match &machine.task {
            Some(Task::Sequence { id, event: follows, .. }) => {
                sequence = Some(id.clone());
                event.clone_from(follows);
                let book = self.ports.book.borrow();
                let line = book.line(id);
                let name = self.named(id);
                let end = line.and_then(|l| {
                    let since = machine.since?;
                    Some(since.plus_seconds(l.sequence.duration_s(self.settings.readout_s) + 60.0))
                });
                (format!("observing {name}"), end)
            }
            Some(task) => (format!("taking {}", task_id(task)), None),
            None => (machine.state.to_string(), None),
        };
        let next = match &view.due {
            Due::Now(id) | Due::Wait { sequence: id, .. } if machine.state == NightState::Paused => {
                format!("{}, when it is safe and open again", self.named(id))
            }
            Due::Now(id) if sequence.as_deref() != Some(id.as_str()) => match machine.state {
                NightState::Observing => format!("{}, when this is done", self.named(id)),
                _ => format!("{}, as soon as all is ready", self.named(id)),
            },
            Due::Wait { until, sequence } => format!("{} at {}", self.named(sequence), until.hh_mm()),
            _ => match view.sky.as_ref().and_then(|s| {
                if machine.state == NightState::Waiting {
                    s.dusk
                } else {
                    s.dawn
                }
            }) {
                Some(time) if machine.state == NightState::Waiting => format!("night at {}", time.hh_mm()),
                Some(time) => format!("closing at dawn, {}", time.hh_mm()),
                None => String::new(),
            },
        };
        let would_change = match machine.state {
            NightState::Observing | NightState::Ready => "an alert, an unsafe reading, an operator, dawn",
            NightState::Paused => "all inputs safe for their good-delay, or dawn",
            NightState::Waiting => "sunset",
            NightState::Closing => "enclosure measured closed and mount parked",
            _ => "devices, Sun, safety",
        };
        self.ports.status.send_replace(MajordomeStatus {
            state: machine.state,
            since: machine.since,
            doing,
            // A pause outlasts its first cause: what counts is what forbids now.
            why: if machine.state == NightState::Paused && !view.safe {
                format!("unsafe: {}", view.reasons.join("; "))
            } else {
                machine.cause.clone()
            },
            until,
            next,
            would_change: would_change.into(),
            sequence,
            event,
            paused_by_operator: machine.operator_pause,
        });
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.look(ctx);
        ctx.run_later(Duration::from_secs(1), Self::tick);
    }
}

/// After a restart nothing runs: what was executing is not, and its exposures that are on disk are kept.
pub fn release_interrupted(book: &SharedBook, recorder: &Recorder) -> Result<(), BookError> {
    let mut book = book.borrow_mut();
    let interrupted: Vec<String> = book
        .lines()
        .filter(|l| l.state == SequenceState::Executing)
        .map(|l| l.sequence.id.clone())
        .collect();
    for id in interrupted {
        book.refund(&id, "daemon restarted", recorder)?;
        book.move_to(&id, SequenceState::Observable, "daemon restarted", recorder)?;
    }
    Ok(())
}

impl Actor for Majordome {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The end of an order is acted on when it happens, not at the next second.
        let mut ended = self.ports.observation.clone();
        let address = ctx.address().downgrade();
        actix::spawn(async move {
            while ended.changed().await.is_ok() {
                let Some(address) = address.upgrade() else { return };
                address.do_send(Look);
            }
        });
        self.tick(ctx);
    }
}

/// Something that it watches has changed.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Handler<Look> for Majordome {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        let serial = self.ports.observation.borrow().serial;
        if serial != self.seen_serial {
            self.look(ctx);
        }
    }
}

impl Handler<Ping> for Majordome {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<Circumstances> for Majordome {
    type Result = ();

    fn handle(&mut self, message: Circumstances, _: &mut Self::Context) {
        self.sky = Some(message);
    }
}

impl Handler<SafetyChanged> for Majordome {
    type Result = ();

    fn handle(&mut self, message: SafetyChanged, ctx: &mut Self::Context) {
        self.safety = Some(message);
        self.look(ctx);
    }
}

impl Handler<TargetOfOpportunity> for Majordome {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, message: TargetOfOpportunity, ctx: &mut Self::Context) -> Self::Result {
        let state = self.ports.book.borrow().line(&message.sequence).map(|line| line.state);
        match state {
            None => return Err(Denied::UnknownSequence(message.sequence)),
            Some(SequenceState::Executing) => return Ok(Disposition::AlreadyInProgress),
            Some(SequenceState::Observable | SequenceState::Planned) => {}
            Some(_) => return Err(Denied::SequenceOver(message.sequence)),
        }
        self.machine.offer(Opportunity {
            sequence: message.sequence,
            event: message.event,
            priority: message.priority,
            takeover: message.takeover,
        });
        self.look(ctx);
        Ok(Disposition::Accepted)
    }
}

impl Handler<Retract> for Majordome {
    type Result = ();

    fn handle(&mut self, message: Retract, ctx: &mut Self::Context) {
        for effect in self.machine.retract(&message.event, &message.cause) {
            self.execute(effect, ctx);
        }
        self.look(ctx);
    }
}

impl Handler<BookChanged> for Majordome {
    type Result = ();

    fn handle(&mut self, message: BookChanged, _: &mut Self::Context) {
        self.ports.replan.do_send(Replan {
            cause: message.cause,
            first: false,
        });
    }
}

impl Handler<Operate> for Majordome {
    type Result = Result<Disposition, Denied>;

    fn handle(&mut self, message: Operate, ctx: &mut Self::Context) -> Self::Result {
        let answer = match message.order {
            OperatorOrder::Pause if self.machine.operator_pause => Ok(Disposition::AlreadyInProgress),
            OperatorOrder::Pause => {
                self.machine.operator_pause = true;
                Ok(Disposition::Accepted)
            }
            OperatorOrder::Resume if !self.machine.operator_pause => Err(Denied::NotPaused),
            OperatorOrder::Resume => {
                self.machine.operator_pause = false;
                Ok(Disposition::Accepted)
            }
            OperatorOrder::AbortSequence if self.machine.task.is_none() => Err(Denied::NothingRunning),
            OperatorOrder::AbortSequence => {
                for effect in self.machine.interrupt(&format!("aborted by {}", message.who), None) {
                    self.execute(effect, ctx);
                }
                if self.machine.state == NightState::Observing {
                    let (from, to) = (NightState::Observing, NightState::Ready);
                    self.machine.state = to;
                    self.recorder.record(Fact::NightMoved {
                        from,
                        to,
                        cause: "aborted by an operator".into(),
                    });
                }
                Ok(Disposition::Accepted)
            }
        };
        let outcome = match &answer {
            Ok(disposition) => format!("{disposition:?}"),
            Err(denied) => denied.to_string(),
        };
        self.recorder.record(Fact::OperatorCommand {
            who: message.who,
            command: format!("{:?}", message.order),
            outcome,
        });
        self.look(ctx);
        answer
    }
}
