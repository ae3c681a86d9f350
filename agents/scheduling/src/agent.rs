//! The shell: turns the book into a planning problem, plans off the agents' thread, books the result.
//!
//! It is asked and never pushes: the schedule appears in a watch. While a plan is being computed, further requests are
//! merged into one that runs after it.

use crate::{
    Constraints, Icrs, KeptBlock, KeptKind, Plan, PlanOptions, Problem, Request, Site, Span, Weights, constraints::Sky,
    ephemeris, messages::Replan,
};
use actix::prelude::*;
use alidade_model::{
    book::{Line, SharedBook},
    journal::{Fact, Recorder},
    offload::Offload,
    schedule::{Placed, Schedule, Unplaced},
    states::SequenceState,
    time::{Night, UtcTime},
};
use std::{collections::BTreeMap, rc::Rc, sync::Arc};
use tokio::sync::watch;

/// The planner's numbers.
#[derive(Debug, Clone)]
pub struct SchedulingSettings {
    pub site: Site,
    pub weights: Weights,
    /// Read-out and transfer between two frames, seconds.
    pub readout_s: f64,
    /// Slew, filter and focus before a sequence, seconds.
    pub overhead_s: f64,
    /// Kernel work of one plan: equal iterations, seed and book give equal plans.
    pub iterations: u64,
    pub seed: u64,
}

/// See the module's text.
pub struct Scheduling {
    settings: SchedulingSettings,
    book: SharedBook,
    recorder: Recorder,
    offload: Offload,
    schedule: watch::Sender<Option<Rc<Schedule>>>,
    computing: bool,
    waiting: Option<Replan>,
    made: u64,
    /// What the ephemerides say of one night.
    sky: Option<(Night, Span, Arc<Sky>)>,
}

impl Scheduling {
    pub fn new(
        settings: SchedulingSettings,
        book: SharedBook,
        recorder: Recorder,
        offload: Offload,
        schedule: watch::Sender<Option<Rc<Schedule>>>,
    ) -> Self {
        Self {
            settings,
            book,
            recorder,
            offload,
            schedule,
            computing: false,
            waiting: None,
            made: 0,
            sky: None,
        }
    }

    fn compute(&mut self, order: Replan, ctx: &mut Context<Self>) {
        self.computing = true;
        let now = self.recorder.now();
        self.expire(now);
        let Some((span, sky)) = self.night(now) else {
            self.computing = false;
            return;
        };
        let problem = self.problem(now, order.first, span);
        let (iterations, seed) = (self.settings.iterations, self.settings.seed);
        let offload = self.offload.clone();
        let work = async move {
            offload
                .run(move || {
                    // Nobody asks the daemon why the sky excludes an interval: the sentence is enough.
                    let options = PlanOptions {
                        iterations,
                        seed,
                        explain: false,
                        ..PlanOptions::default()
                    };
                    crate::plan::plan_under(&sky, &problem, options)
                })
                .await
        };
        ctx.spawn(work.into_actor(self).map(move |outcome, actor, ctx| {
            match outcome {
                Ok(Ok(plan)) => {
                    actor.adopt(plan, &order, now);
                }
                Ok(Err(error)) => actor.failed(&error.to_string()),
                Err(lost) => actor.failed(&lost.to_string()),
            }
            actor.computing = false;
            if let Some(next) = actor.waiting.take() {
                actor.compute(next, ctx);
            }
        }));
    }

    fn failed(&self, cause: &str) {
        self.recorder.record(Fact::Degraded {
            what: "planning; the last schedule stays".into(),
            cause: cause.into(),
        });
    }

    /// Sequences whose window is over will never be observed.
    fn expire(&self, now: UtcTime) {
        let over: Vec<String> = self
            .book
            .borrow()
            .lines()
            .filter(|line| {
                matches!(
                    line.state,
                    SequenceState::Observable | SequenceState::Planned | SequenceState::Incomplete
                )
            })
            .filter(|line| line.sequence.window.is_some_and(|(_, end)| end <= now))
            .map(|line| line.sequence.id.clone())
            .collect();
        let mut book = self.book.borrow_mut();
        for id in over {
            let outcome = book
                .refund(&id, "window over", &self.recorder)
                .and_then(|()| book.move_to(&id, SequenceState::Expired, "its window is over", &self.recorder));
            if let Err(error) = outcome {
                self.failed(&error.to_string());
            }
        }
    }

    fn remaining_s(&self, line: &Line) -> f64 {
        let full = line.sequence.duration_s(self.settings.readout_s);
        let left = line.sequence.albums.iter().map(|album| {
            let mut skip = line.done.get(&album.channel).copied().unwrap_or(0);
            album
                .plans
                .iter()
                .map(|plan| {
                    let skipped = skip.min(plan.count);
                    skip -= skipped;
                    f64::from(plan.count - skipped) * (plan.exposure_s + self.settings.readout_s)
                })
                .sum::<f64>()
        });
        left.fold(0.0, f64::max).clamp(1.0, full.max(1.0))
    }

    /// The span in which the Sun is down and its sky; nothing where it never sets. Computed once a night.
    fn night(&mut self, now: UtcTime) -> Option<(Span, Arc<Sky>)> {
        let site = &self.settings.site;
        let night = Night::containing(now, site.lon_deg);
        if self.sky.as_ref().is_none_or(|(known, ..)| *known != night) {
            let phases = ephemeris::night_phases(site, night.0);
            let span = phases.sun_down.span(phases.night)?;
            self.sky = Some((night, span, Arc::new(Sky::new(site, span, 60.0))));
        }
        self.sky.as_ref().map(|(_, span, sky)| (*span, sky.clone()))
    }

    fn problem(&self, now: UtcTime, first: bool, span: Span) -> Problem {
        let book = self.book.borrow();
        let mut requests = Vec::new();
        let mut kept = Vec::new();
        let mut quotas_s: BTreeMap<String, f64> = book
            .ledger()
            .balances()
            .iter()
            .map(|(user, b)| (user.clone(), (b.free_us + b.reserved_us) as f64 / 1e6))
            .collect();
        for line in book.lines() {
            let id = line.sequence.id.clone();
            match line.state {
                SequenceState::Observable | SequenceState::Planned => requests.push(self.request(line)),
                SequenceState::Executing => {
                    let end = now.plus_seconds(self.remaining_s(line));
                    // Its time is reserved already and no longer free for others.
                    if let Some(left) = quotas_s.get_mut(&line.sequence.user) {
                        *left = (*left - book.ledger().of_sequence(&id).0 as f64 / 1e6).max(0.0);
                    }
                    kept.push(KeptBlock {
                        id,
                        kind: KeptKind::Fixed,
                        start: now.chrono(),
                        end: end.chrono(),
                        overhead_s: 0.0,
                        charge: None,
                        unit: None,
                    });
                }
                _ => {}
            }
        }
        if let Some(schedule) = self.schedule.borrow().as_ref() {
            let promised = schedule.placed.iter().filter(|p| {
                p.start > now
                    && book
                        .line(&p.sequence)
                        .is_some_and(|l| l.state == SequenceState::Planned)
            });
            kept.extend(promised.map(|p| KeptBlock {
                id: p.sequence.clone(),
                kind: KeptKind::Promised,
                start: p.start.plus_seconds(self.settings.overhead_s).chrono(),
                end: p.end.chrono(),
                overhead_s: self.settings.overhead_s,
                charge: None,
                unit: None,
            }));
        }
        Problem {
            site: self.settings.site,
            night: Span::new(span.start, span.end),
            now: (!first || now.chrono() > span.start).then(|| now.chrono()),
            sun_max_alt_deg: -0.833,
            requests,
            quotas_s,
            kept,
            weights: self.settings.weights,
            ..Problem::new(self.settings.site, span, -0.833)
        }
    }

    fn request(&self, line: &Line) -> Request {
        let sequence = &line.sequence;
        let target = Icrs::new(sequence.target.ra_deg, sequence.target.dec_deg);
        // Whole minutes keep the planner on its coarse, fast grid; what is left of the last one is slack.
        let duration_s = (self.remaining_s(line) / 60.0).ceil() * 60.0;
        let mut request = Request::new(
            sequence.id.clone(),
            sequence.user.clone(),
            target,
            duration_s,
            sequence.priority.max(1e-3),
        );
        request.overhead_s = self.settings.overhead_s;
        request.constraints = Constraints {
            min_alt_deg: sequence.constraints.min_alt_deg,
            moon_sep_deg: sequence.constraints.moon_sep_deg,
            sun_max_alt_deg: Some(sequence.constraints.sun_max_alt_deg),
            ..Constraints::default()
        };
        request.windows = sequence
            .window
            .iter()
            .map(|(start, end)| Span::new(start.chrono(), end.chrono()))
            .collect();
        request.preferred = sequence.t_prefered.map(UtcTime::chrono);
        request.charged = line.from_alert.is_none();
        request
    }

    /// Books a plan: reserves for what got a place, gives back what lost it, and publishes.
    fn adopt(&mut self, plan: Plan, order: &Replan, asked_at: UtcTime) {
        self.made += 1;
        let mut placed: Vec<Placed> = Vec::new();
        let mut unplaced: Vec<Unplaced> = plan
            .unplanned
            .iter()
            .map(|u| Unplaced {
                sequence: u.id.clone(),
                reason: u.reason.code().to_owned(),
                sentence: u.sentence.clone(),
            })
            .collect();
        let mut book = self.book.borrow_mut();
        for u in &unplaced {
            let planned = book
                .line(&u.sequence)
                .is_some_and(|l| l.state == SequenceState::Planned);
            if planned {
                let released = book
                    .refund(&u.sequence, "no longer planned", &self.recorder)
                    .and_then(|()| book.move_to(&u.sequence, SequenceState::Observable, &u.sentence, &self.recorder));
                if let Err(error) = released {
                    self.failed(&error.to_string());
                }
            }
            book.explain(&u.sequence, &u.sentence);
        }
        for p in &plan.planned {
            let state = book.line(&p.id).map(|l| l.state);
            if !matches!(state, Some(SequenceState::Observable | SequenceState::Planned)) {
                // Begun or cancelled while the plan was being computed.
                continue;
            }
            let seconds = (p.end - p.start).num_milliseconds() as f64 / 1000.0;
            let booked = book
                .reserve(&p.id, seconds, &self.recorder)
                .and_then(|()| book.move_to(&p.id, SequenceState::Planned, "placed in the schedule", &self.recorder));
            match booked {
                Ok(()) => placed.push(Placed {
                    sequence: p.id.clone(),
                    // The telescope is taken for the slew and the filter already.
                    start: UtcTime::new(p.start).plus_seconds(-self.settings.overhead_s),
                    end: UtcTime::new(p.end),
                    earliest: Some(UtcTime::new(p.earliest)),
                    delta_tl_s: p.delta_tl_s,
                    delta_tr_s: p.delta_tr_s,
                }),
                Err(error) => unplaced.push(Unplaced {
                    sequence: p.id.clone(),
                    reason: "quota".into(),
                    sentence: error.to_string(),
                }),
            }
        }
        drop(book);
        let schedule = Schedule {
            id: format!("{}-{:03}", asked_at.chrono().format("%Y%m%dT%H%M%S"), self.made),
            made_at: self.recorder.now(),
            cause: order.cause.clone(),
            first: order.first,
            placed,
            unplaced,
            objective: plan.objective,
            upper_bound: plan.upper_bound,
        };
        self.recorder.record(Fact::ScheduleMade {
            schedule: schedule.clone(),
        });
        self.schedule.send_replace(Some(Rc::new(schedule)));
    }
}

impl Actor for Scheduling {
    type Context = Context<Self>;
}

impl Handler<Replan> for Scheduling {
    type Result = ();

    fn handle(&mut self, order: Replan, ctx: &mut Self::Context) {
        if self.computing {
            // One plan later serves all who asked meanwhile.
            let first = order.first || self.waiting.as_ref().is_some_and(|w| w.first);
            self.waiting = Some(Replan { first, ..order });
        } else {
            self.compute(order, ctx);
        }
    }
}
