//! The shell: turns the book into a planning problem, plans off the agents' thread, books the result.
//!
//! It is asked and never pushes: the schedule appears in a watch. While a plan is being computed, further requests are
//! merged into one that runs after it.

use crate::{
    Conditions, Exclusion, HorizonMask, Overheads, Plan, PlanOptions, ProblemError, Site, Span, Weights,
    chances::{self, Ahead},
    constraints::Sky,
    ephemeris,
    messages::Replan,
    outlook::Climate,
    posing::{Posing, hopeless},
    reason::to_thousandths,
};
use actix::prelude::*;
use alidade_model::{
    book::SharedBook,
    journal::{Fact, Recorder},
    offload::Offload,
    request::SequenceId,
    schedule::{Chance, Excluded, Placed, Schedule, Unplaced},
    states::SequenceState,
    time::{Night, UtcTime},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};
use tokio::sync::watch;

/// The planner's numbers.
#[derive(Debug, Clone)]
pub struct SchedulingSettings {
    pub site: Site,
    pub weights: Weights,
    /// Read-out and transfer between two frames, seconds.
    pub readout_s: f64,
    /// What a change of target takes beyond the movements, seconds.
    pub overhead_s: f64,
    pub overheads: Overheads,
    /// How often nights are clear here, and how many of them are looked ahead.
    pub climate: Climate,
    pub season_nights: u32,
    /// The local horizon, and the mount's lowest altitude in degrees.
    pub horizon: HorizonMask,
    pub lowest_alt_deg: f64,
    /// Kernel work of one plan: equal iterations, seed and book give equal plans.
    pub iterations: u64,
    pub seed: u64,
}

/// What is measured of the sky now, for the weather classes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SkyNow {
    /// At the zenith, full width at half maximum, arcseconds.
    pub seeing_arcsec: Option<f64>,
    /// Share of the sky under cloud, 0 to 1.
    pub cloud_cover: Option<f64>,
}

impl SkyNow {
    /// The sky is expected to stay as it is for so long, seconds; beyond that nothing is known, and every class is met.
    const PERSISTS_S: f64 = 2.0 * 3600.0;

    fn expected(self, now: UtcTime) -> Vec<Conditions> {
        if self == Self::default() {
            return Vec::new();
        }
        let until = now.plus_seconds(Self::PERSISTS_S);
        vec![Conditions {
            span: Span::new(now.chrono(), until.chrono()),
            seeing_arcsec: self.seeing_arcsec,
            cloud_cover: self.cloud_cover,
        }]
    }
}

/// See the module's text.
pub struct Scheduling {
    settings: SchedulingSettings,
    book: SharedBook,
    recorder: Recorder,
    offload: Offload,
    schedule: watch::Sender<Option<Rc<Schedule>>>,
    sky_now: Rc<dyn Fn() -> SkyNow>,
    computing: bool,
    waiting: Option<Replan>,
    made: u64,
    /// What the ephemerides say of one night.
    sky: Option<(Night, Span, Arc<Sky>)>,
    /// Sequences whose excluded stretches of this night are in the journal.
    told: BTreeMap<SequenceId, Vec<Excluded>>,
    /// The nights to come, as this one sees them.
    ahead: Option<Ahead>,
}

impl Scheduling {
    pub fn new(
        settings: SchedulingSettings,
        book: SharedBook,
        recorder: Recorder,
        offload: Offload,
        schedule: watch::Sender<Option<Rc<Schedule>>>,
        sky_now: Rc<dyn Fn() -> SkyNow>,
    ) -> Self {
        Self {
            settings,
            book,
            recorder,
            offload,
            schedule,
            sky_now,
            computing: false,
            waiting: None,
            made: 0,
            sky: None,
            told: BTreeMap::new(),
            ahead: None,
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
        let mut problem = Posing {
            settings: &self.settings,
            book: &self.book.borrow(),
            promised: self.schedule.borrow().as_deref(),
            conditions: &(self.sky_now)().expected(now),
            now,
            first: order.first,
            night: span,
        }
        .problem();
        let (iterations, seed) = (self.settings.iterations, self.settings.seed);
        let offload = self.offload.clone();
        let settings = (self.settings.site, self.settings.climate, self.settings.season_nights);
        let lives = chances::lives(&self.book.borrow(), now, self.settings.season_nights);
        let tonight = Night::containing(now, self.settings.site.lon_deg).0;
        let ahead = self.ahead.clone();
        let told: BTreeSet<SequenceId> = self.told.keys().cloned().collect();
        let work = async move {
            offload
                .run_behind(move || {
                    let (site, climate, nights) = settings;
                    let mut ahead = ahead.unwrap_or_else(|| Ahead::new(&site, tonight, nights));
                    ahead.judge(&mut problem, &lives, &climate, nights);
                    let options = PlanOptions {
                        iterations,
                        seed,
                        explain: false,
                        ..PlanOptions::default()
                    };
                    let mut plan = crate::plan::plan_under(&sky, &problem, options)?;
                    // The stretches are long and change little within a night: each sequence's are told once.
                    let new: BTreeSet<&str> = plan.unplanned.iter().map(|u| u.id.as_str()).collect();
                    let mut stretches =
                        crate::plan::exclusions_under(&sky, &problem, |id| new.contains(id) && !told.contains(id));
                    for u in &mut plan.unplanned {
                        u.exclusions = stretches.remove(&u.id).unwrap_or_default();
                    }
                    Ok::<(Plan, Ahead), ProblemError>((plan, ahead))
                })
                .await
        };
        ctx.spawn(work.into_actor(self).map(move |outcome, actor, ctx| {
            match outcome {
                Ok(Ok((plan, ahead))) => {
                    actor.ahead = Some(ahead);
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

    /// Sequences that will never be observed leave the queue.
    fn expire(&self, now: UtcTime) {
        let over: Vec<(String, String)> = {
            let book = self.book.borrow();
            let waiting = book.lines().filter(|line| {
                matches!(
                    line.state,
                    SequenceState::Observable | SequenceState::Planned | SequenceState::Incomplete
                )
            });
            waiting
                .filter_map(|line| Some((line.sequence.id.clone(), hopeless(line, &book, now)?)))
                .collect()
        };
        let mut book = self.book.borrow_mut();
        for (id, cause) in over {
            let outcome = book
                .refund(&id, &cause, &self.recorder)
                .and_then(|()| book.move_to(&id, SequenceState::Expired, &cause, &self.recorder));
            if let Err(error) = outcome {
                self.failed(&error.to_string());
            }
        }
    }

    /// The span in which the Sun is down and its sky; nothing where it never sets. Computed once a night.
    fn night(&mut self, now: UtcTime) -> Option<(Span, Arc<Sky>)> {
        let site = &self.settings.site;
        let night = Night::containing(now, site.lon_deg);
        if self.sky.as_ref().is_none_or(|(known, ..)| *known != night) {
            let phases = ephemeris::night_phases(site, night.0);
            let span = phases.sun_down.span(phases.night)?;
            self.sky = Some((night, span, Arc::new(Sky::new(site, span, 60.0))));
            self.told.clear();
            self.ahead = None;
        }
        self.sky.as_ref().map(|(_, span, sky)| (*span, sky.clone()))
    }

    fn chance(&self, id: &str) -> Option<Chance> {
        self.ahead.as_ref()?.known.get(id).map(chances::told)
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
                detail: serde_json::to_value(&u.reason).unwrap_or_default(),
                excluded: u.exclusions.iter().map(excluded).collect(),
                chance: self.chance(&u.id),
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
                    start: UtcTime::new(p.start).plus_seconds(-p.setup_s),
                    setup_s: p.setup_s,
                    end: UtcTime::new(p.end),
                    earliest: Some(UtcTime::new(p.earliest)),
                    chance: self.chance(&p.id),
                    delta_tl_s: p.delta_tl_s,
                    delta_tr_s: p.delta_tr_s,
                }),
                Err(error) => unplaced.push(Unplaced {
                    sequence: p.id.clone(),
                    reason: "quota_exhausted".into(),
                    sentence: error.to_string(),
                    detail: serde_json::Value::Null,
                    excluded: Vec::new(),
                    chance: self.chance(&p.id),
                }),
            }
        }
        drop(book);
        let mut schedule = Schedule {
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
        // Who reads the schedule gets all stretches; the journal has them once.
        for u in &mut schedule.unplaced {
            if u.excluded.is_empty() {
                u.excluded = self.told.get(&u.sequence).cloned().unwrap_or_default();
            } else {
                self.told.insert(u.sequence.clone(), u.excluded.clone());
            }
        }
        self.schedule.send_replace(Some(Rc::new(schedule)));
    }
}

fn excluded(exclusion: &Exclusion) -> Excluded {
    Excluded {
        cause: exclusion.cause.code().into(),
        start: UtcTime::new(exclusion.span.start),
        end: UtcTime::new(exclusion.span.end),
        worst: exclusion.worst.filter(|w| w.is_finite()).map(to_thousandths),
        limit: exclusion.limit,
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
