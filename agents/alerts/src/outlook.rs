//! When the site can look at a place: now, later tonight, in another night, or not before it is too late.
//!
//! Terms: a *night* runs from local mean noon to the next and belongs to its evening; a *stretch* is a time in which
//! every constraint holds; *the end* is when the strategy's time is over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use alidade_model::alert::{Outlook, PlannedTile, When};
use alidade_model::time::{Night, UtcTime};
use alidade_scheduling::constraints::{Cause, Constraints, Exclusion, HorizonMask, ObservabilityRequest, Sky};
use alidade_scheduling::ephemeris::night_bounds;
use alidade_scheduling::{Icrs, Site, Span, is_observable};
use chrono::NaiveDate;

use crate::strategy::Tile;

/// A stretch shorter than this is not worth a slew, seconds.
const WORTH_S: f64 = 60.0;
/// Nights that are looked ahead; a strategy that waits longer is asked again by then.
const NIGHTS: usize = 7;
/// Sampling of a night; shorter interruptions may be missed, edges are found to a second.
const STEP_S: f64 = 120.0;

/// What the ephemerides say of the nights to come over one site, by their evenings; each is computed when it is first
/// asked for, and serves every event of the night.
#[derive(Default)]
pub struct Skies(RefCell<BTreeMap<NaiveDate, Rc<Sky>>>);

impl Skies {
    fn of(&self, site: &Site, evening: NaiveDate) -> Rc<Sky> {
        let mut known = self.0.borrow_mut();
        let sky = known
            .entry(evening)
            .or_insert_with(|| Rc::new(Sky::of_night(site, evening, STEP_S)));
        sky.clone()
    }

    /// Computes the sky of the night at `now` and of the next one, some milliseconds each, so that the first alert of a
    /// night does not wait for it.
    pub fn prepare(&self, site: &Site, now: UtcTime) {
        let tonight = Night::containing(now, site.lon_deg).0;
        for evening in tonight.iter_days().take(2) {
            self.of(site, evening);
        }
    }

    fn forget_before(&self, evening: NaiveDate) {
        let mut known = self.0.borrow_mut();
        *known = known.split_off(&evening);
    }
}

/// The sky over a site from one moment to the end.
pub struct Prospect<'a> {
    site: &'a Site,
    horizon: &'a HorizonMask,
    skies: &'a Skies,
    now: UtcTime,
    /// What is left of each night, and its evening.
    nights: Vec<(Span, NaiveDate)>,
}

/// First stretch in which a place can be observed: in which night, counted from 0 for tonight, and its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    night: usize,
    from: UtcTime,
    until: UtcTime,
}

impl<'a> Prospect<'a> {
    /// What lies between `now` and some nights later.
    #[must_use]
    pub fn new(site: &'a Site, horizon: &'a HorizonMask, skies: &'a Skies, now: UtcTime) -> Self {
        let tonight = Night::containing(now, site.lon_deg).0;
        skies.forget_before(tonight);
        let nights = (0..NIGHTS)
            .filter_map(|k| tonight.checked_add_days(chrono::Days::new(k as u64)))
            .map(|date| {
                let night = night_bounds(site, date);
                (Span::new(night.start.max(now.chrono()), night.end), date)
            })
            .collect();
        Self {
            site,
            horizon,
            skies,
            now,
            nights,
        }
    }

    /// The whole sky of a night of which something is left.
    fn sky(&self, night: usize) -> Option<Rc<Sky>> {
        let (left, evening) = self.nights.get(night)?;
        (left.length_s() > 1.0).then(|| self.skies.of(self.site, *evening))
    }

    /// The first stretch of a place that is worth a slew and begins before `end`.
    fn first(&self, target: &Icrs, constraints: &Constraints, end: UtcTime) -> Option<Stretch> {
        for night in 0..self.nights.len() {
            let left = UtcTime::new(self.nights[night].0.start);
            if left >= end {
                return None;
            }
            let Some(sky) = self.sky(night) else { continue };
            let start = UtcTime::new(night_bounds(self.site, self.nights[night].1).start);
            let good = sky.good(target, constraints, self.horizon, 90.0);
            let found = good.into_iter().find_map(|(a, b)| {
                let from = start.plus_seconds(a).max(left);
                let until = start.plus_seconds(b).min(end);
                (until.seconds_since(from) >= WORTH_S).then_some((from, until))
            });
            if let Some((from, until)) = found {
                return Some(Stretch { night, from, until });
            }
        }
        None
    }

    /// Whether a place can be observed at all before `end`.
    #[must_use]
    pub fn ever(&self, ra_deg: f64, dec_deg: f64, constraints: &Constraints, end: UtcTime) -> bool {
        self.first(&Icrs::new(ra_deg, dec_deg), constraints, end).is_some()
    }

    /// Why a place cannot be observed now, if it cannot. Daylight says more than the target's own altitude.
    fn obstacle(&self, target: &Icrs, constraints: &Constraints) -> Option<Exclusion> {
        let ask = |constraints| {
            let request = ObservabilityRequest {
                target: *target,
                constraints,
                horizon: self.horizon.clone(),
            };
            is_observable(self.site, &request, self.now.chrono(), WORTH_S).err()
        };
        let obstacle = ask(*constraints)?;
        let sun_alone = Constraints {
            min_alt_deg: -90.0,
            sun_max_alt_deg: constraints.sun_max_alt_deg,
            ..Constraints::default()
        };
        Some(ask(sun_alone).unwrap_or(obstacle))
    }

    /// The outlook of one place until `end`.
    #[must_use]
    pub fn of_place(&self, ra_deg: f64, dec_deg: f64, constraints: &Constraints, end: UtcTime) -> Outlook {
        let target = Icrs::new(ra_deg, dec_deg);
        if end.seconds_since(self.now) < WORTH_S {
            return never("window_closed", "the strategy's time is over".into());
        }
        let first = self.first(&target, constraints, end);
        let up = first.is_some_and(|stretch| stretch.from <= self.now);
        let obstacle = if up { None } else { self.obstacle(&target, constraints) };
        let Some(obstacle) = obstacle else {
            return Outlook {
                when: When::Now,
                reason: "ok".into(),
                sentence: "observable now".into(),
                from: Some(self.now),
                until: None,
            };
        };
        let not_now = told(&obstacle);
        match first {
            Some(stretch) => waiting(&stretch, code(obstacle.cause), &not_now),
            None => {
                let (cause, why) = self.forbids(&target, constraints, end);
                never(&cause, format!("{why}; it would have to be before {}", stamp(end)))
            }
        }
    }

    /// What stands against a place until `end`: the cause that takes most of the dark time, or the Sun when it never gets dark.
    fn forbids(&self, target: &Icrs, constraints: &Constraints, end: UtcTime) -> (String, String) {
        let mut highest = f64::MIN;
        let mut sums: BTreeMap<Cause, (f64, Exclusion)> = BTreeMap::new();
        let mut dark_s = 0.0;
        for night in 0..self.nights.len() {
            let span = self.nights[night].0;
            if UtcTime::new(span.start) >= end {
                break;
            }
            if span.length_s() <= 1.0 {
                continue;
            }
            // What is over of tonight forbids nothing.
            let sky = Sky::new(self.site, span, STEP_S);
            let span = Span::new(span.start, span.end.min(end.chrono()));
            highest = highest.max(sky.highest_deg(target));
            let exclusions = sky.exclusions(target, constraints, self.horizon, 90.0);
            let bright: Vec<Span> = of_cause(&exclusions, Cause::SunTooHigh);
            dark_s += span.length_s() - bright.iter().map(|b| overlap_s(b, &span)).sum::<f64>();
            for exclusion in exclusions.iter().filter(|e| e.cause != Cause::SunTooHigh) {
                let mine = Span::new(exclusion.span.start, exclusion.span.end.min(span.end));
                let lit: f64 = bright.iter().map(|b| overlap_s(b, &mine)).sum();
                let sum = sums.entry(exclusion.cause).or_insert((0.0, *exclusion));
                sum.0 += overlap_s(&mine, &mine) - lit;
            }
        }
        if dark_s < WORTH_S {
            return (code(Cause::SunTooHigh), "it does not get dark".into());
        }
        if highest < constraints.floor_deg() {
            let floor = constraints.floor_deg();
            let text = format!("it never gets higher than {highest:.1} deg, and {floor:.1} deg are asked");
            return (code(Cause::BelowAltitude), text);
        }
        let worst = sums.into_values().max_by(|a, b| a.0.total_cmp(&b.0));
        match worst {
            Some((seconds, exclusion)) if seconds > 0.0 => {
                let text = format!("while it is dark {}", exclusion.cause.describe());
                (code(exclusion.cause), text)
            }
            _ => (
                code(Cause::WindowClosed),
                "what is left of the night is too short".into(),
            ),
        }
    }

    /// Tiles in the order in which they are observed: those of now before those of later tonight and of other nights,
    /// the most probable first among equals; those that are never seen last.
    #[must_use]
    pub fn of_tiles(&self, tiles: &[Tile], constraints: &Constraints, end: UtcTime) -> (Outlook, Vec<PlannedTile>) {
        let mut planned: Vec<PlannedTile> = tiles
            .iter()
            .map(|tile| {
                let stretch = self.first(&Icrs::new(tile.ra_deg, tile.dec_deg), constraints, end);
                let when = stretch.map_or(When::Never, |s| match s.night {
                    0 if s.from.seconds_since(self.now) < 1.0 => When::Now,
                    0 => When::LaterTonight,
                    _ => When::NextNight,
                });
                PlannedTile {
                    ra_deg: tile.ra_deg,
                    dec_deg: tile.dec_deg,
                    probability: tile.probability,
                    when,
                    from: stretch.map(|s| s.from),
                }
            })
            .collect();
        planned.sort_by(|a, b| {
            a.when
                .cmp(&b.when)
                .then(b.probability.total_cmp(&a.probability))
                .then(a.dec_deg.total_cmp(&b.dec_deg))
                .then(a.ra_deg.total_cmp(&b.ra_deg))
        });
        (self.summed(&planned, constraints, end), planned)
    }

    fn summed(&self, tiles: &[PlannedTile], constraints: &Constraints, end: UtcTime) -> Outlook {
        let Some(first) = tiles.first() else {
            return never("out_of_reach", "no tile can be reached".into());
        };
        if first.when == When::Never {
            return self.of_place(first.ra_deg, first.dec_deg, constraints, end);
        }
        let share = |when| {
            let of = tiles.iter().filter(|t| t.when == when);
            of.map(|t| t.probability).sum::<f64>() * 100.0
        };
        let shares = [
            (When::Now, "now"),
            (When::LaterTonight, "later tonight"),
            (When::NextNight, "in another night"),
            (When::Never, "never"),
        ];
        let words: Vec<String> = shares
            .into_iter()
            .filter(|(when, _)| tiles.iter().any(|t| t.when == *when))
            .map(|(when, word)| format!("{:.0} % {word}", share(when)))
            .collect();
        let reason = if first.when == When::Now {
            "ok".to_owned()
        } else {
            let target = Icrs::new(first.ra_deg, first.dec_deg);
            self.obstacle(&target, constraints)
                .map_or_else(|| "ok".to_owned(), |e| code(e.cause))
        };
        Outlook {
            when: first.when,
            reason,
            sentence: format!("{} tiles: {}", tiles.len(), words.join(", ")),
            from: tiles
                .iter()
                .filter(|t| t.when == first.when)
                .filter_map(|t| t.from)
                .min(),
            until: None,
        }
    }
}

fn of_cause(exclusions: &[Exclusion], cause: Cause) -> Vec<Span> {
    exclusions.iter().filter(|e| e.cause == cause).map(|e| e.span).collect()
}

fn overlap_s(a: &Span, b: &Span) -> f64 {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    ((end - start).num_milliseconds() as f64 / 1000.0).max(0.0)
}

/// Date and minute: an end may be days away.
fn stamp(at: UtcTime) -> String {
    at.chrono().format("%Y-%m-%d %H:%M UTC").to_string()
}

fn told(exclusion: &Exclusion) -> String {
    let numbers = match (exclusion.worst, exclusion.limit) {
        (Some(worst), Some(limit)) => format!(" ({worst:.1}, limit {limit:.1})"),
        _ => String::new(),
    };
    format!("{}{numbers}", exclusion.cause.describe())
}

/// The stable code of a cause, as in JSON.
fn code(cause: Cause) -> String {
    match serde_json::to_value(cause) {
        Ok(serde_json::Value::String(code)) => code,
        _ => format!("{cause:?}"),
    }
}

fn waiting(stretch: &Stretch, reason: String, not_now: &str) -> Outlook {
    let (when, word) = if stretch.night == 0 {
        (When::LaterTonight, "later tonight")
    } else {
        (When::NextNight, "in a later night")
    };
    let (from, until) = (stamp(stretch.from), stretch.until.hh_mm());
    Outlook {
        when,
        reason,
        sentence: format!("{word}, from {from} to {until}; not now: {not_now}"),
        from: Some(stretch.from),
        until: Some(stretch.until),
    }
}

fn never(reason: &str, why: String) -> Outlook {
    Outlook {
        when: When::Never,
        reason: reason.into(),
        sentence: format!("never: {why}"),
        from: None,
        until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observatoire de Haute-Provence.
    fn site() -> Site {
        Site::new(43.93, 5.71, 650.0)
    }

    fn at(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn asked() -> Constraints {
        Constraints {
            min_alt_deg: 25.0,
            sun_max_alt_deg: Some(-12.0),
            moon_sep_deg: 5.0,
            ..Constraints::default()
        }
    }

    fn place(ra: f64, dec: f64, now: &str, end: &str) -> Outlook {
        let site = site();
        Prospect::new(&site, &HorizonMask::default(), &Skies::default(), at(now)).of_place(ra, dec, &asked(), at(end))
    }

    // In the middle of 14 March at 5.7 degrees east the sidereal time at midnight is about 11 h 50 min (177 degrees).
    #[test]
    fn each_of_the_four_answers_comes_with_its_reason() {
        let cases = [
            (
                180.0,
                44.0,
                "2026-03-14T23:30:00Z",
                "2026-03-16T23:30:00Z",
                When::Now,
                "ok",
            ),
            // Rises after midnight.
            (
                270.0,
                10.0,
                "2026-03-14T21:00:00Z",
                "2026-03-16T21:00:00Z",
                When::LaterTonight,
                "below_altitude",
            ),
            // The afternoon before the night belongs to the night.
            (
                180.0,
                44.0,
                "2026-03-14T14:00:00Z",
                "2026-03-16T14:00:00Z",
                When::LaterTonight,
                "sun_too_high",
            ),
            // After dawn, before noon: the night is over.
            (
                180.0,
                44.0,
                "2026-03-15T07:00:00Z",
                "2026-03-17T07:00:00Z",
                When::NextNight,
                "sun_too_high",
            ),
            // Has set in the west; comes back in the evening of the next day.
            (
                75.0,
                20.0,
                "2026-03-15T01:30:00Z",
                "2026-03-17T01:30:00Z",
                When::NextNight,
                "below_altitude",
            ),
            (
                180.0,
                -60.0,
                "2026-03-14T23:30:00Z",
                "2026-03-16T23:30:00Z",
                When::Never,
                "below_altitude",
            ),
            // Only next night, but the strategy's time ends in the morning.
            (
                75.0,
                20.0,
                "2026-03-15T01:30:00Z",
                "2026-03-15T08:00:00Z",
                When::Never,
                "below_altitude",
            ),
            (
                180.0,
                44.0,
                "2026-03-14T23:30:00Z",
                "2026-03-14T23:30:10Z",
                When::Never,
                "window_closed",
            ),
            // All that is left is daylight.
            (
                180.0,
                44.0,
                "2026-03-15T07:00:00Z",
                "2026-03-15T15:00:00Z",
                When::Never,
                "sun_too_high",
            ),
        ];
        for (ra, dec, now, end, when, reason) in cases {
            let outlook = place(ra, dec, now, end);
            assert_eq!(
                (outlook.when, outlook.reason.as_str()),
                (when, reason),
                "{ra} {dec} at {now}: {outlook:?}"
            );
            assert!(!outlook.sentence.is_empty());
            assert_eq!(outlook.from.is_some(), when != When::Never);
            if let (Some(from), Some(until)) = (outlook.from, outlook.until) {
                assert!(from >= at(now) && until <= at(end) && until > from, "{outlook:?}");
            }
        }
    }

    #[test]
    fn a_sky_that_is_known_already_says_what_a_new_one_says() {
        let (site, open, known) = (site(), HorizonMask::default(), Skies::default());
        let end = at("2026-03-17T12:00:00Z");
        for minutes in (0..2880).step_by(240) {
            let now = at("2026-03-14T13:00:00Z").plus_seconds(f64::from(minutes) * 60.0);
            for (ra, dec) in [(180.0, 44.0), (270.0, 10.0), (75.0, 20.0), (180.0, -60.0)] {
                let ask = |skies| Prospect::new(&site, &open, skies, now).of_place(ra, dec, &asked(), end);
                assert_eq!(ask(&known), ask(&Skies::default()), "{ra} {dec} at {now}");
            }
        }
        assert!(
            known.0.borrow().len() <= NIGHTS,
            "the nights that are over are forgotten"
        );
    }

    #[test]
    fn what_is_promised_for_later_is_observable_then() {
        let site = site();
        for (ra, dec) in [(270.0, 10.0), (290.0, 30.0), (240.0, -5.0)] {
            let outlook = place(ra, dec, "2026-03-14T19:30:00Z", "2026-03-16T19:00:00Z");
            assert_eq!(outlook.when, When::LaterTonight, "{outlook:?}");
            let from = outlook.from.unwrap();
            let later = Prospect::new(&site, &HorizonMask::default(), &Skies::default(), from).of_place(
                ra,
                dec,
                &asked(),
                at("2026-03-16T19:00:00Z"),
            );
            assert_eq!(later.when, When::Now, "{later:?}");
        }
    }

    #[test]
    fn tiles_of_now_come_before_more_probable_ones_of_later() {
        let tile = |ra_deg, dec_deg, probability| Tile {
            ra_deg,
            dec_deg,
            probability,
        };
        let site = site();
        let open = HorizonMask::default();
        let skies = Skies::default();
        let prospect = Prospect::new(&site, &open, &skies, at("2026-03-14T21:00:00Z"));
        let tiles = [
            tile(180.0, -70.0, 0.3),
            tile(270.0, 10.0, 0.25),
            tile(150.0, 30.0, 0.1),
            tile(150.0, 31.0, 0.2),
        ];
        let (outlook, planned) = prospect.of_tiles(&tiles, &asked(), at("2026-03-16T21:00:00Z"));
        let order: Vec<(f64, When)> = planned.iter().map(|t| (t.probability, t.when)).collect();
        assert_eq!(
            order,
            [
                (0.2, When::Now),
                (0.1, When::Now),
                (0.25, When::LaterTonight),
                (0.3, When::Never)
            ]
        );
        assert_eq!(outlook.when, When::Now);
        assert_eq!(outlook.sentence, "4 tiles: 30 % now, 25 % later tonight, 30 % never");
    }
}
