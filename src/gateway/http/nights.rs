//! Nights: the list of them, one as it was planned and as it went, and its ephemerides.
//!
//! A night is named by its evening date. Ephemerides are computed here and only here; pages draw them.

use super::{
    Problem, Shared,
    records::ask,
    reply::{document, limited, query},
};
use crate::store::nights::{NightSummary, SequenceFace};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, block},
};
use alidade_model::{
    journal::{Entry, Fact},
    schedule::{Excluded, Schedule, Unplaced},
    states::SequenceState,
    time::{Night, UtcTime},
};
use alidade_scheduling::{
    Icrs, Site, Span,
    ephemeris::{NightTrack, add_seconds, night_bounds, night_phases},
};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Schedules of a night that are looked at: the last of them.
const MOST_SCHEDULES: u32 = 500;
/// Curves in one picture.
const MOST_CURVES: usize = 150;
const LONGEST_REPORT: usize = 256 * 1024;

/// Where the site is, as it is published.
pub fn site(shared: &Shared) -> Site {
    let snapshot = shared.ports.snapshot.borrow();
    let site = &snapshot.site;
    Site::new(site.latitude_deg, site.longitude_deg, site.height_m)
}

/// The time that the daemon lives in.
pub fn now(shared: &Shared) -> UtcTime {
    shared.ports.snapshot.borrow().now
}

/// An evening date for which there are ephemerides.
fn night_of(text: &str) -> Result<Night, Problem> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|date| text.len() == 10 && (1960..=2100).contains(&date.year()))
        .map(Night)
        .ok_or_else(|| Problem::bad_request(format!("{text:?} is not an evening date from 1960-01-01 to 2100-12-31")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    before: Option<String>,
    limit: Option<u32>,
}

/// `?before=DATE&limit=`: the newest first, `{"nights": [...], "next_before": DATE}`. `next_before` is absent at the end.
pub async fn list(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let wanted: Wanted = query(&request)?;
    let limit = limited(wanted.limit, 30, 366)?;
    let before = wanted.before.as_deref().map(night_of).transpose()?;
    let nights = ask(&shared, move |store| store.nights_before(before, limit)).await?;
    let mut body = json!({ "nights": nights });
    if let Some(last) = nights.last().filter(|_| nights.len() == limit as usize) {
        body["next_before"] = json!(last.night);
    }
    document(&body)
}

/// A place in the night of one sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bar {
    sequence: String,
    start: UtcTime,
    /// None: it is not over.
    end: Option<UtcTime>,
    /// What became of it, for one that was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<SequenceState>,
}

/// A stretch of time in which the site was not safe.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Spell {
    from: UtcTime,
    until: Option<UtcTime>,
    reasons: Vec<String>,
}

/// What the journal and the schedules of one night say.
#[derive(Debug, Default)]
struct Course {
    /// By the first schedule of the night.
    first: Vec<Bar>,
    /// The last word on each sequence that was executed or still has a place.
    planned: Vec<Bar>,
    executed: Vec<Bar>,
    unplaced: Vec<Unplaced>,
    spells: Vec<Spell>,
}

impl Course {
    fn of(schedules: &[Schedule], entries: &[Entry], from: UtcTime) -> Self {
        let executed = executed(entries);
        let mut course = Course {
            first: schedules.first().map(places).unwrap_or_default(),
            spells: spells(entries, from),
            ..Course::default()
        };
        let done: BTreeSet<&str> = executed.iter().map(|bar| bar.sequence.as_str()).collect();
        let mut last_word: BTreeMap<String, Bar> = BTreeMap::new();
        let mut told: BTreeMap<&str, &Vec<Excluded>> = BTreeMap::new();
        for schedule in schedules {
            last_word.extend(places(schedule).into_iter().map(|bar| (bar.sequence.clone(), bar)));
            for reason in schedule.unplaced.iter().filter(|reason| !reason.excluded.is_empty()) {
                told.insert(&reason.sequence, &reason.excluded);
            }
        }
        if let Some(last) = schedules.last() {
            let placed: BTreeSet<&str> = last.placed.iter().map(|place| place.sequence.as_str()).collect();
            last_word.retain(|id, _| placed.contains(id.as_str()) || done.contains(id.as_str()));
            // Excluded stretches are told once a night; here they belong to the reason.
            course.unplaced = last.unplaced.clone();
            for reason in course.unplaced.iter_mut().filter(|reason| reason.excluded.is_empty()) {
                reason.excluded = told.get(reason.sequence.as_str()).copied().cloned().unwrap_or_default();
            }
        }
        course.planned = last_word.into_values().collect();
        course
            .planned
            .sort_by(|a, b| (a.start, &a.sequence).cmp(&(b.start, &b.sequence)));
        course.executed = executed;
        course
    }

    fn sequences(&self) -> Vec<String> {
        let bars = self.first.iter().chain(&self.planned).chain(&self.executed);
        let all: BTreeSet<&String> = bars.map(|bar| &bar.sequence).collect();
        all.into_iter().cloned().collect()
    }
}

fn places(schedule: &Schedule) -> Vec<Bar> {
    let bar = |place: &alidade_model::schedule::Placed| Bar {
        sequence: place.sequence.clone(),
        start: place.start,
        end: Some(place.end),
        outcome: None,
    };
    schedule.placed.iter().map(bar).collect()
}

fn executed(entries: &[Entry]) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for entry in entries {
        let Fact::SequenceMoved { sequence, from, to, .. } = &entry.fact else {
            continue;
        };
        if *to == SequenceState::Executing {
            bars.push(Bar {
                sequence: sequence.clone(),
                start: entry.at,
                end: None,
                outcome: None,
            });
        } else if *from == SequenceState::Executing
            && let Some(bar) = bars
                .iter_mut()
                .rev()
                .find(|bar| bar.sequence == *sequence && bar.end.is_none())
        {
            bar.end = Some(entry.at);
            bar.outcome = Some(*to);
        }
    }
    bars
}

/// `from` cuts what began before the night.
fn spells(entries: &[Entry], from: UtcTime) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    let mut open = false;
    for entry in entries {
        let Fact::SafetyChanged { safe, reasons, .. } = &entry.fact else {
            continue;
        };
        if open && let Some(spell) = spells.last_mut() {
            spell.until = Some(entry.at);
        }
        open = !safe;
        if open {
            spells.push(Spell {
                from: entry.at,
                until: None,
                reasons: reasons.clone(),
            });
        }
    }
    spells.retain(|spell| spell.until.is_none_or(|until| until > from));
    for spell in &mut spells {
        spell.from = spell.from.max(from);
    }
    spells
}

struct Told {
    row: Option<NightSummary>,
    course: Course,
    faces: BTreeMap<String, SequenceFace>,
    made: Vec<Value>,
}

async fn told(shared: &Shared, night: Night) -> Result<(Span, Told), Problem> {
    let span = night_bounds(&site(shared), night.0);
    let (from, until) = (UtcTime::new(span.start), UtcTime::new(span.end));
    let told = ask(shared, move |store| {
        let row = match night.0.succ_opt() {
            Some(next) => store.nights_before(Some(Night(next)), 1)?.pop(),
            None => None,
        };
        let schedules = store.schedules_between(from, until, MOST_SCHEDULES)?;
        // What held when the night began was said before it.
        let earlier = store.entries_between(&["safety_changed"], from.plus_seconds(-7.0 * 86_400.0), from)?;
        let mut entries: Vec<Entry> = earlier.into_iter().next_back().into_iter().collect();
        entries.extend(store.entries_between(&["sequence_moved", "safety_changed"], from, until)?);
        let course = Course::of(&schedules, &entries, from);
        let mut ids = course.sequences();
        ids.extend(course.unplaced.iter().map(|reason| reason.sequence.clone()));
        let made = schedules.iter().map(|s| {
            json!({ "id": s.id, "made_at": s.made_at, "cause": s.cause, "first": s.first,
                    "placed": s.placed.len(), "unplaced": s.unplaced.len() })
        });
        Ok(Told {
            row: row.filter(|row| row.night == night.to_string()),
            faces: store.faces(&ids)?,
            made: made.collect(),
            course,
        })
    });
    Ok((span, told.await?))
}

/// The report of a night, if it was written and is still there.
async fn report(shared: &Shared, path: Option<String>) -> Result<Option<String>, Problem> {
    let Some(path) = path.filter(|path| !path.split('/').any(|part| part == "..") && !path.starts_with('/')) else {
        return Ok(None);
    };
    let file = shared.ports.data_dir.join(path);
    let read = block(move || std::fs::read_to_string(file));
    let text = read.await.map_err(|cause| Problem::internal(cause.to_string()))?;
    Ok(text.ok().map(|text| text.chars().take(LONGEST_REPORT).collect()))
}

/// One night: `planned` is the last word of its schedules, `first` the first one, `executed` what really happened.
pub async fn show(night: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let night = night_of(&night)?;
    let (span, told) = told(&shared, night).await?;
    let report = report(&shared, told.row.as_ref().and_then(|row| row.report.clone())).await?;
    let phases = night_phases(&site(&shared), night.0);
    document(&json!({
        "night": night.to_string(),
        "now": now(&shared),
        "bounds": { "start": UtcTime::new(span.start), "end": UtcTime::new(span.end) },
        "phases": phases,
        "record": told.row,
        "first": told.course.first,
        "planned": told.course.planned,
        "executed": told.course.executed,
        "unplaced": told.course.unplaced,
        "unsafe": told.course.spells,
        "sequences": told.faces,
        "schedules": told.made,
        "report": report,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    step_s: Option<u32>,
}

/// Two decimals of a degree: a picture shows no more.
pub fn rounded(degrees: f64) -> f64 {
    (degrees * 100.0).round() / 100.0
}

/// Instants from half an hour before sunset to half an hour after sunrise; the whole night where the Sun stays down or up.
pub fn samples(site: &Site, date: NaiveDate, step_s: f64) -> (Arc<NightTrack>, Vec<f64>) {
    const TWILIGHT_S: f64 = 1800.0;
    let phases = night_phases(site, date);
    let track = NightTrack::of_night(site, date);
    let down = phases.sun_down.span(phases.night).unwrap_or(phases.night);
    let first = (track.offset_s(down.start) - TWILIGHT_S).max(0.0);
    let last = (track.offset_s(down.end) + TWILIGHT_S).min(phases.night.length_s());
    let count = ((last - first) / step_s).ceil() as usize;
    let offsets = (0..=count).map(|k| (first + step_s * k as f64).min(last)).collect();
    (track, offsets)
}

pub fn instants(track: &NightTrack, offsets: &[f64]) -> Vec<UtcTime> {
    let start = track.span().start;
    offsets.iter().map(|s| UtcTime::new(add_seconds(start, *s))).collect()
}

/// `?step_s=`: altitudes in degrees (topocentric, without refraction) at `times`.
pub async fn sky(request: HttpRequest, night: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let Step { step_s } = query(&request)?;
    let step_s = step_s.unwrap_or(600);
    if !(60..=3600).contains(&step_s) {
        return Err(Problem::bad_request(format!("step_s {step_s} is outside 60 to 3600")));
    }
    let night = night_of(&night)?;
    let (_, told) = told(&shared, night).await?;
    let site = site(&shared);
    let published = shared.ports.snapshot.borrow().site.clone();
    let drawn = block(move || {
        let (track, offsets) = samples(&site, night.0, f64::from(step_s));
        let course: Vec<String> = told.course.sequences();
        let curve = |id: &String| {
            let face = told.faces.get(id)?;
            let direction = track.direction(&Icrs::new(face.ra_deg, face.dec_deg));
            let alt: Vec<f64> = offsets
                .iter()
                .map(|s| rounded(track.alt_az_deg(&direction, *s).0))
                .collect();
            Some(json!({ "sequence": id, "target": face.target, "from_alert": face.from_alert, "alt_deg": alt }))
        };
        let curves: Vec<Value> = course.iter().filter_map(curve).take(MOST_CURVES).collect();
        let alt = |of: &dyn Fn(f64) -> f64| -> Vec<f64> { offsets.iter().map(|s| rounded(of(*s))).collect() };
        json!({
            "night": night.to_string(),
            "times": instants(&track, &offsets),
            "sun_alt_deg": alt(&|s| track.sun_alt_deg(s)),
            "moon_alt_deg": alt(&|s| track.moon_alt_deg(s)),
            "moon_illumination": rounded(track.moon_illumination()),
            "horizon_limit_deg": published.horizon_limit_deg,
            "horizon": published.horizon,
            "left_out": course.len().saturating_sub(MOST_CURVES),
            "targets": curves,
        })
    });
    document(&drawn.await.map_err(|cause| Problem::internal(cause.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn moved(seq: u64, second: f64, sequence: &str, from: SequenceState, to: SequenceState) -> Entry {
        Entry {
            seq,
            at: at("2026-03-14T22:00:00Z").plus_seconds(second),
            fact: Fact::SequenceMoved {
                sequence: sequence.into(),
                from,
                to,
                cause: "test".into(),
            },
        }
    }

    fn safety(second: f64, safe: bool) -> Entry {
        Entry {
            seq: 1,
            at: at("2026-03-14T22:00:00Z").plus_seconds(second),
            fact: Fact::SafetyChanged {
                safe,
                latched: false,
                reasons: if safe { Vec::new() } else { vec!["rain".into()] },
            },
        }
    }

    #[test]
    fn a_sequence_that_was_interrupted_and_taken_up_again_has_two_bars() {
        use SequenceState::*;
        let entries = [
            moved(1, 0.0, "a", Planned, Executing),
            moved(2, 60.0, "a", Executing, Planned),
            moved(3, 90.0, "b", Planned, Executing),
            moved(4, 120.0, "a", Planned, Executing),
            moved(5, 180.0, "a", Executing, Executed),
        ];
        let bars = executed(&entries);
        let told: Vec<_> = bars
            .iter()
            .map(|bar| (bar.sequence.as_str(), bar.end.is_some(), bar.outcome))
            .collect();
        assert_eq!(
            told,
            [
                ("a", true, Some(Planned)),
                ("b", false, None),
                ("a", true, Some(Executed))
            ]
        );
    }

    #[test]
    fn an_unsafe_spell_that_began_before_the_night_is_cut_and_one_that_goes_on_stays_open() {
        let night = at("2026-03-14T22:00:00Z");
        let entries = [
            safety(-600.0, false),
            safety(30.0, true),
            safety(60.0, false),
            safety(70.0, false),
        ];
        let spells = spells(&entries, night);
        let told: Vec<_> = spells
            .iter()
            .map(|s| (s.from.seconds_since(night), s.until.map(|u| u.seconds_since(night))))
            .collect();
        assert_eq!(told, [(0.0, Some(30.0)), (60.0, Some(70.0)), (70.0, None)]);
    }
}
