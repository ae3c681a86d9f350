//! The nights to come: how likely a request is completed within its life, and what tonight is worth to that.
//!
//! Terms: a **night ahead** is **usable** for a request when the sky, its windows and its limits leave it a stretch as long
//! as it takes. A **clear** night is one on which the weather lets the telescope work. A request needs some number of
//! **visits**, at most one a night and at least so many nights apart. The **load** is the time that requests at least as
//! important ask for, over the clear time there is for them.
//!
//! Model, stated so that it can be argued with:
//!
//! - Clear and cloudy nights follow each other as a Markov chain of two states. With `p` the share of clear nights in the
//!   month of a night and `r` the persistence (the correlation of one night with the next), a night is clear with
//!   probability `p + r (1 - p)` after a clear one and `p (1 - r)` after a cloudy one; its long-run share is `p`.
//! - A usable clear night gives the request a visit with probability `min(1, 1 / load)`, independently of other nights.
//!
//! Under that model the probability is exact: a recursion backwards over nights, weather, visits left and nights to wait
//! (dynamic programming; Bellman 1957). There is no chance in it, and equal input gives equal output.

use crate::constraints::{HorizonMask, Sky};
use crate::ephemeris::{Site, Span, seconds_between};
use crate::problem::Request;
use crate::stretches::{intersect, longest, merged};
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// What is known of a site's weather.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Climate {
    /// Share of clear nights by month, January first, 0 to 1.
    pub clear: [f64; 12],
    /// Correlation of a night's weather with the night before, 0 (none) to less than 1.
    pub persistence: f64,
}

impl Climate {
    /// The same share of clear nights all year.
    pub fn even(clear: f64, persistence: f64) -> Self {
        Self {
            clear: [clear; 12],
            persistence,
        }
    }

    /// The first number that is out of range, if any.
    pub fn check(&self) -> Result<(), &'static str> {
        if !self.clear.iter().all(|p| (0.0..=1.0).contains(p)) {
            return Err("a share of clear nights is not in 0 to 1");
        }
        if !(0.0..1.0).contains(&self.persistence) {
            return Err("the persistence of the weather is not in 0 to 1, 1 excluded");
        }
        Ok(())
    }

    /// Long-run share of clear nights in the month of a date.
    pub fn clear_on(&self, date: NaiveDate) -> f64 {
        self.clear[date.month0() as usize]
    }

    /// Probability that a night of this date is clear after a night whose weather is known.
    fn clear_after(&self, date: NaiveDate, clear_before: bool) -> f64 {
        let p = self.clear_on(date);
        let base = p * (1.0 - self.persistence);
        if clear_before { base + self.persistence } else { base }
    }
}

/// A night of a request's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightAhead {
    /// Of its evening.
    pub date: NaiveDate,
    pub usable: bool,
}

/// What a request still needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Visits left; 0 is completed.
    pub visits: u32,
    /// Nights from one visit to the next, at least; 1: every night.
    pub every_nights: u32,
    /// Nights before the next visit may come; 0: tonight.
    pub wait_nights: u32,
    /// Time asked for by requests at least as important, over the clear time there is; below 1: no competition.
    pub load: f64,
    /// Whether tonight is clear, where that is known.
    pub clear_tonight: Option<bool>,
}

impl Need {
    /// One visit, no competition, nothing known of tonight.
    pub fn once() -> Self {
        Self {
            visits: 1,
            every_nights: 1,
            wait_nights: 0,
            load: 1.0,
            clear_tonight: None,
        }
    }

    /// Probability that a usable clear night gives a visit.
    fn access(&self) -> f64 {
        if self.load > 1.0 { 1.0 / self.load } else { 1.0 }
    }
}

/// What is to be expected of a request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// Nights in what is left of its life, tonight included.
    pub nights_left: usize,
    /// Of them, those on which sky, windows and limits allow it.
    pub usable_nights: usize,
    /// Of those, how many will be clear on average.
    pub clear_usable_nights: f64,
    /// That it is completed within its life, 0 to 1.
    pub probability: f64,
    /// The same, should tonight be clear and not give it a visit.
    pub probability_without_tonight: f64,
    /// What a visit tonight adds to the probability, 0 to 1; 0 where tonight cannot give one.
    pub urgency: f64,
}

/// The outlook over the nights of a life, tonight first and without gaps.
pub fn outlook(nights: &[NightAhead], climate: &Climate, need: &Need) -> Outlook {
    let usable = nights.iter().filter(|n| n.usable);
    let mut out = Outlook {
        nights_left: nights.len(),
        usable_nights: usable.clone().count(),
        clear_usable_nights: usable.map(|n| climate.clear_on(n.date)).sum(),
        probability: if need.visits == 0 { 1.0 } else { 0.0 },
        probability_without_tonight: if need.visits == 0 { 1.0 } else { 0.0 },
        urgency: 0.0,
    };
    let Some(tonight) = nights.first().filter(|_| need.visits > 0) else {
        return out;
    };
    let mut table = Table::after_the_last(nights.len(), need);
    for n in (1..nights.len()).rev() {
        table = table.before(n, nights, climate, need);
    }
    let clear = match need.clear_tonight {
        Some(known) => f64::from(u8::from(known)),
        None => climate.clear_on(tonight.date),
    };
    let wait = need.wait_nights as usize;
    let visits = need.visits as usize;
    let given = table.before(0, nights, climate, need);
    out.probability = clear * given.of(true, visits, wait) + (1.0 - clear) * given.of(false, visits, wait);
    let next = |visits: usize, wait: usize| table.expected(1, nights, climate, (true, visits, wait));
    out.probability_without_tonight = next(visits, wait.saturating_sub(1));
    if tonight.usable && wait == 0 && need.clear_tonight != Some(false) {
        let with = next(visits - 1, need.every_nights.max(1) as usize - 1);
        out.urgency = (with - out.probability_without_tonight).clamp(0.0, 1.0);
    }
    out
}

/// Probability of completion from one night on, by the weather of that night, visits left and nights to wait.
struct Table {
    visits: usize,
    waits: usize,
    values: Vec<f64>,
}

impl Table {
    /// When the life is over only what needs nothing more is completed.
    fn after_the_last(nights: usize, need: &Need) -> Self {
        let visits = need.visits as usize + 1;
        // Waiting longer than the life is waiting for ever.
        let longest = need.wait_nights.max(need.every_nights.max(1) - 1) as usize;
        let waits = longest.min(nights) + 1;
        let values = (0..2 * visits * waits).map(|k| if (k / waits).is_multiple_of(visits) { 1.0 } else { 0.0 });
        Self {
            visits,
            waits,
            values: values.collect(),
        }
    }

    fn of(&self, clear: bool, visits: usize, wait: usize) -> f64 {
        let wait = wait.min(self.waits - 1);
        self.values[(usize::from(clear) * self.visits + visits) * self.waits + wait]
    }

    /// Expectation over the weather of night `n`, of which this is the table, after a night whose weather is known.
    fn expected(
        &self,
        n: usize,
        nights: &[NightAhead],
        climate: &Climate,
        (clear, visits, wait): (bool, usize, usize),
    ) -> f64 {
        let Some(night) = nights.get(n) else {
            return self.of(true, visits, wait);
        };
        let p = climate.clear_after(night.date, clear);
        p * self.of(true, visits, wait) + (1.0 - p) * self.of(false, visits, wait)
    }

    /// The table of night `n` from that of the night after it.
    fn before(&self, n: usize, nights: &[NightAhead], climate: &Climate, need: &Need) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for clear in [false, true] {
            for visits in 0..self.visits {
                for wait in 0..self.waits {
                    let next = |visits, wait| self.expected(n + 1, nights, climate, (clear, visits, wait));
                    let may = visits > 0 && wait == 0 && clear && nights[n].usable;
                    let seen = if may { need.access() } else { 0.0 };
                    let missed = next(visits, wait.saturating_sub(1));
                    let visited = if may {
                        next(visits - 1, need.every_nights.max(1) as usize - 1)
                    } else {
                        0.0
                    };
                    values.push(seen * visited + (1.0 - seen) * missed);
                }
            }
        }
        Self { values, ..*self }
    }
}

/// The nights of a life as the sky gives them to one request after another.
pub struct Season {
    nights: Vec<(NaiveDate, Sky)>,
}

impl Season {
    /// Nights of a site, noon to noon, from the evening of `first`; each costs about 7 ms, once for all requests and seasons.
    pub fn new(site: &Site, first: NaiveDate, nights: u64) -> Self {
        /// Stretches are found to a second at their edges; interruptions shorter than this may be missed.
        const STEP_S: f64 = 300.0;
        let night = |k: u64| {
            let date = first + Days::new(k);
            (date, Sky::of_night(site, date, STEP_S))
        };
        Self {
            nights: (0..nights).map(night).collect(),
        }
    }

    /// Which of the season's nights within a life could hold a request.
    pub fn of(&self, request: &Request, horizon: &HorizonMask, night_sun_max_deg: f64, life: Span) -> Vec<NightAhead> {
        let usable = |sky: &Sky| {
            let span = sky.track.span();
            let offset = |t: DateTime<Utc>| seconds_between(span.start, t);
            let windows = request.windows.iter().map(|w| (offset(w.start), offset(w.end)));
            let mut open = intersect(&[(offset(life.start), offset(life.end))], &[(0.0, sky.length_s())]);
            if !request.windows.is_empty() {
                open = intersect(&open, &merged(windows.collect()));
            }
            // Asked first, for it is cheap.
            longest(&open) >= request.duration_s && {
                let good = sky.good(&request.target, &request.constraints, horizon, night_sun_max_deg);
                longest(&intersect(&good, &open)) >= request.duration_s
            }
        };
        let alive = |sky: &Sky| sky.track.span().start < life.end && life.start < sky.track.span().end;
        let nights = self.nights.iter().filter(|(_, sky)| alive(sky));
        nights
            .map(|(date, sky)| NightAhead {
                date: *date,
                usable: usable(sky),
            })
            .collect()
    }
}

/// The outlook of one request (with the highest Sun for requests without a twilight class of their own, degrees) over a life
/// of at most a year, from the sky on; a [`Season`] serves many requests better.
pub fn outlook_of(
    site: &Site,
    horizon: &HorizonMask,
    (request, night_sun_max_deg): (&Request, f64),
    life: Span,
    climate: &Climate,
    need: &Need,
) -> Outlook {
    /// Longest life looked at, nights.
    const MOST_NIGHTS: u64 = 366;
    // The evening's date by the Sun: local mean solar noon begins it.
    let local = |t: DateTime<Utc>| (t + chrono::Duration::seconds((site.lon_deg * 240.0) as i64 - 43_200)).date_naive();
    let (first, last) = (local(life.start), local(life.end));
    let nights = u64::try_from((last - first).num_days() + 1)
        .unwrap_or(0)
        .min(MOST_NIGHTS);
    let season = Season::new(site, first, nights);
    outlook(&season.of(request, horizon, night_sun_max_deg, life), climate, need)
}

#[cfg(test)]
mod tests;
