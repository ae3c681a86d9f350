//! The invariants over journal and hardware truth, after every event.

use crate::settings::{Clearance, Sense, Settings};
use alidade_model::{
    invariants::{Broken, Checker, Limits, Truth},
    journal::{Entry, Sink},
    states::{EnclosureState, MountState},
};
use alidade_scheduling::ephemeris;
use alidade_simulations::{
    observatory::{HardwareTruth, Observatory},
    world::WeatherSample,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};
use tokio::sync::Notify;

const TAIL: usize = 25;

/// Judges every entry and every look at the hardware; remembers the first broken invariant.
#[derive(Clone)]
pub struct Judge(Rc<Bench>);

struct Bench {
    observatory: Rc<Observatory>,
    settings: Settings,
    checker: RefCell<Checker>,
    broken: RefCell<Option<Broken>>,
    tail: RefCell<VecDeque<Entry>>,
    verdict: Notify,
    sun: RefCell<ephemeris::SunPath>,
}

impl Sink for Judge {
    fn append(&mut self, entry: &Entry) {
        let mut tail = self.0.tail.borrow_mut();
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(entry.clone());
        drop(tail);
        let judged = self.0.checker.borrow_mut().entry(entry);
        self.note(judged);
    }
}

impl Judge {
    pub fn new(settings: &Settings, observatory: Rc<Observatory>) -> Self {
        let enclosure = &settings.enclosure;
        // What any single reading may take to become a closed roof: its age, the dead-man's patience, the travel.
        let limits = Limits {
            reaction_s: 60.0 + 60.0 + enclosure.travel_s * 1.5,
            // The mount's own limit lies a little below the observing limit; both are checked against this one.
            horizon_deg: settings.site.horizon_limit_deg - 5.0,
            sun_exclusion_deg: settings.site.sun_exclusion_deg,
            ..Limits::default()
        };
        Self(Rc::new(Bench {
            settings: settings.clone(),
            observatory,
            checker: RefCell::new(Checker::new(limits)),
            broken: RefCell::new(None),
            tail: RefCell::new(VecDeque::new()),
            verdict: Notify::new(),
            sun: RefCell::new(ephemeris::SunPath::new(crate::daemon::translate::site(settings))),
        }))
    }

    fn note(&self, judged: Result<(), Broken>) {
        if let Err(broken) = judged {
            let mut first = self.0.broken.borrow_mut();
            if first.is_none() {
                *first = Some(broken);
                self.0.verdict.notify_one();
            }
        }
    }

    /// The daemon was killed.
    pub fn died(&self) {
        self.0.checker.borrow_mut().died();
    }

    /// Looks at the hardware now.
    pub fn look(&self) {
        let hardware = self.0.observatory.truth();
        let judged = self.0.checker.borrow_mut().observe(&self.truth(&hardware));
        self.note(judged);
    }

    /// Resolves when an invariant is broken.
    pub async fn broken(&self) {
        while self.0.broken.borrow().is_none() {
            self.0.verdict.notified().await;
        }
    }

    /// The verdict after the last event; `events` maps each alert event to its accepted packets.
    pub fn finish(&self, events: &BTreeMap<String, Vec<String>>) -> (Option<Broken>, Vec<String>) {
        let last = self.0.checker.borrow().finish(events);
        self.note(last);
        let broken = self.0.broken.borrow().clone();
        let tail = if broken.is_some() {
            let line = |entry| {
                serde_json::to_string(entry)
                    .unwrap_or_default()
                    .chars()
                    .take(400)
                    .collect()
            };
            self.0.tail.borrow().iter().map(line).collect()
        } else {
            Vec::new()
        };
        (broken, tail)
    }

    fn truth(&self, hardware: &HardwareTruth) -> Truth {
        let open = matches!(hardware.enclosure, EnclosureState::Open | EnclosureState::Opening);
        let (sun_up, sun_separation_deg) = if open {
            let sun = self.0.sun.borrow_mut().at(hardware.at.chrono());
            let apart =
                ephemeris::separation_deg(sun.az_deg, sun.alt_deg, hardware.mount_az_deg, hardware.mount_alt_deg);
            (sun.alt_deg > -0.833, apart)
        } else {
            (false, 180.0)
        };
        Truth {
            at: hardware.at,
            enclosure: hardware.enclosure,
            hazard: self.hazard(&hardware.weather),
            enclosure_held: hardware.enclosure_held,
            enclosure_may_move: match self.0.settings.enclosure.clearance {
                Clearance::Free => true,
                Clearance::ParkFirst => {
                    let closing_anyway =
                        self.0.settings.enclosure.close_anyway && hardware.enclosure == EnclosureState::Closing;
                    hardware.mount == MountState::Parked || closing_anyway
                }
            },
            interlock_trips: hardware.interlock_trips,
            must_stand: hardware.must_stand,
            mount_moves: !matches!(hardware.mount, MountState::Parked | MountState::Idle),
            mount_alt_deg: hardware.mount_alt_deg,
            mount_parked: hardware.mount == MountState::Parked,
            sun_separation_deg,
            sun_up,
            light_shutters_open: hardware.light_shutters_open,
        }
    }

    /// Something is really beyond its critical value (or its limit, where it has no delay).
    fn hazard(&self, weather: &WeatherSample) -> bool {
        let values = [
            ("rain_mm_h", weather.rain_mm_h),
            ("gust_m_s", weather.gust_m_s),
            ("wind_m_s", weather.wind_m_s),
            ("humidity_pct", weather.humidity_pct),
        ];
        values.iter().any(|(input, value)| {
            self.0.settings.safety.rules.get(*input).is_some_and(|rule| {
                let bound = rule.critical.unwrap_or(rule.limit);
                match rule.sense {
                    Sense::Above => *value > bound,
                    Sense::Below => *value < bound,
                }
            })
        })
    }
}
