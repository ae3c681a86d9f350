//! The chance of every sequence to be completed within its life, once a night, and what tonight is worth to it.
//!
//! A sequence without an end of life is looked at over the whole season ahead. The competition it meets is the time that
//! sequences of its priority and above ask for, over the clear dark time of the season.

use crate::{
    Problem, Request, Site, Span,
    outlook::{Climate, Need, Outlook, Season, outlook},
    posing::overlaps,
    reason::to_thousandths,
};
use alidade_model::{
    book::{Book, Line},
    request::{Sequence, SequenceId},
    schedule::Chance,
    states::SequenceState,
    time::UtcTime,
};
use chrono::NaiveDate;
use std::{collections::BTreeMap, sync::Arc};

/// When a sequence may be observed over all its life.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Life {
    span: Span,
    windows: Vec<Span>,
}

/// Periods beyond which the phase of a sequence is not written out: then any night has it.
const MOST_PERIODS: f64 = 2000.0;

fn span((start, end): (UtcTime, UtcTime)) -> Span {
    Span::new(start.chrono(), end.chrono())
}

fn life(sequence: &Sequence, now: UtcTime, season_end: UtcTime) -> Life {
    let (start, end) = sequence.window.unwrap_or((now, season_end));
    let (start, end) = (start.max(now), end.min(season_end));
    let mut windows = sequence.timing.windows.clone();
    if let Some(phase) = &sequence.timing.phase
        && end.seconds_since(start) / phase.period_s < MOST_PERIODS
    {
        let open = phase.windows(start, end);
        windows = if windows.is_empty() {
            open
        } else {
            overlaps(&windows, &open)
        };
    }
    Life {
        span: span((start, end)),
        windows: windows.into_iter().map(span).collect(),
    }
}

/// The lives of the sequences that wait. Alerts have none: they come before everything anyway.
pub(crate) fn lives(book: &Book, now: UtcTime, season_nights: u32) -> BTreeMap<SequenceId, Life> {
    let season_end = now.plus_seconds(f64::from(season_nights) * 86_400.0);
    let waits = |line: &&Line| {
        line.from_alert.is_none() && matches!(line.state, SequenceState::Observable | SequenceState::Planned)
    };
    let lines = book.lines().filter(waits);
    lines
        .map(|line| (line.sequence.id.clone(), life(&line.sequence, now, season_end)))
        .collect()
}

/// The nights ahead with what is known of them; made once a night, for it takes some milliseconds a night.
#[derive(Clone)]
pub(crate) struct Ahead {
    pub season: Arc<Season>,
    pub known: BTreeMap<SequenceId, Outlook>,
}

impl Ahead {
    pub fn new(site: &Site, first: NaiveDate, nights: u32) -> Self {
        Self {
            season: Arc::new(Season::new(site, first, u64::from(nights))),
            known: BTreeMap::new(),
        }
    }

    /// Sets the urgency of a problem's requests, and keeps the outlook of those that had none yet.
    pub fn judge(&mut self, problem: &mut Problem, lives: &BTreeMap<SequenceId, Life>, climate: &Climate, nights: u32) {
        let load = loads(problem, climate, nights);
        let mut requests = std::mem::take(&mut problem.requests);
        for request in &mut requests {
            let Some(life) = lives.get(&request.id) else { continue };
            let outlook = match self.known.get(&request.id) {
                Some(known) => *known,
                None => {
                    let over_life = Request {
                        windows: life.windows.clone(),
                        ..request.clone()
                    };
                    let (horizon, sun) = (&problem.horizon, problem.sun_max_alt_deg);
                    let nights = self.season.of(&over_life, horizon, sun, life.span);
                    let need = Need {
                        load: load.get(&request.id).copied().unwrap_or(1.0),
                        ..Need::once()
                    };
                    outlook(&nights, climate, &need)
                }
            };
            request.urgency = outlook.urgency;
            self.known.insert(request.id.clone(), outlook);
        }
        problem.requests = requests;
    }
}

/// Time asked for at each request's priority and above, over the clear dark time of the season.
fn loads(problem: &Problem, climate: &Climate, nights: u32) -> BTreeMap<SequenceId, f64> {
    let share = climate.clear.iter().sum::<f64>() / 12.0;
    let clear_s = (problem.night.length_s() * f64::from(nights) * share).max(1.0);
    let mut order: Vec<&Request> = problem.requests.iter().collect();
    order.sort_by(|a, b| b.priority.total_cmp(&a.priority).then_with(|| a.id.cmp(&b.id)));
    let mut asked_s = 0.0;
    let mut out = BTreeMap::new();
    for request in order {
        asked_s += request.duration_s + request.overhead_s;
        out.insert(request.id.clone(), asked_s / clear_s);
    }
    out
}

/// What people are told of an outlook.
pub(crate) fn told(outlook: &Outlook) -> Chance {
    Chance {
        nights: outlook.nights_left as u32,
        usable_nights: outlook.usable_nights as u32,
        probability: to_thousandths(outlook.probability),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HorizonMask, Icrs, PlanOptions, plan};

    fn at(text: &str) -> UtcTime {
        format!("2026-03-{text}Z").parse().unwrap()
    }

    /// Two equal targets of which the night can hold one.
    fn problem() -> Problem {
        let night = span((at("14T21:00:00"), at("14T21:20:00")));
        let mut problem = Problem::new(Site::new(43.93, 5.71, 650.0), night, -14.0);
        problem.horizon = HorizonMask::default();
        for id in ["a", "b"] {
            problem
                .requests
                .push(Request::new(id, "ada", Icrs::new(180.0, 40.0), 900.0, 5.0));
        }
        problem
    }

    #[test]
    fn what_has_tonight_or_never_comes_before_what_can_wait() {
        for (urgent, patient) in [("a", "b"), ("b", "a")] {
            let mut problem = problem();
            let life = |end: &str| Life {
                span: span((at("14T18:00:00"), at(end))),
                windows: Vec::new(),
            };
            let lives = BTreeMap::from([
                (urgent.to_owned(), life("15T06:00:00")),
                (patient.to_owned(), life("24T06:00:00")),
            ]);
            let mut ahead = Ahead::new(&problem.site, at("14T12:00:00").chrono().date_naive(), 10);
            ahead.judge(&mut problem, &lives, &Climate::even(0.6, 0.0), 10);
            let chance = |id: &str| told(&ahead.known[id]);
            assert_eq!((chance(urgent).nights, chance(patient).nights), (1, 10));
            assert!(
                (chance(urgent).probability - 0.6).abs() < 1e-9,
                "one night, clear or not"
            );
            assert!(chance(patient).probability > 0.99);
            let made = plan(&problem, PlanOptions::default()).unwrap();
            assert_eq!(made.planned.len(), 1);
            assert_eq!(made.planned[0].id, urgent);
        }
    }
}
