//! Before a request is submitted: what there is here to ask for, and what a request would ask of sky, time and quota.
//! Nothing is changed.

use super::{
    Problem, Shared,
    access::Caller,
    commands::json_body,
    nights::{instants, now, rounded, samples, site},
    records::ask,
    reply::document,
};
use crate::{daemon::translate, settings::Settings, store::Store};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload, block},
};
use alidade_accounts::Permission;
use alidade_model::{
    request::{Constraints, Request, RequestFault, Sequence},
    time::{Night, UtcTime},
};
use alidade_scheduling::{Icrs, Site, agent::SchedulingSettings, constraints::Sky, ephemeris::add_seconds};
use alidade_simulations::scenario;
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

const PREVIEW_LIMIT: usize = 1 << 20;
/// Sequences that are looked at in one preview; the sky of a season is computed for each.
const MOST_SEQUENCES: usize = 40;
/// Nights that are looked at for the best dates.
const MOST_NIGHTS: u32 = 60;
/// Sampling of nights to come, seconds; edges are found to a second, shorter interruptions may be missed.
const STEP_S: f64 = 300.0;
/// The Sun's highest altitude where a request says nothing, degrees; requests always say.
const SUNSET_DEG: f64 = -0.833;

/// The skies of nights to come: the same for every preview, and some milliseconds each.
#[derive(Default)]
pub struct Skies(Mutex<BTreeMap<NaiveDate, Arc<Sky>>>);

impl Skies {
    fn of(&self, site: &Site, date: NaiveDate) -> Arc<Sky> {
        let known = |skies: &BTreeMap<NaiveDate, Arc<Sky>>| skies.get(&date).cloned();
        if let Some(sky) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return sky;
        }
        let sky = Arc::new(Sky::of_night(site, date, STEP_S));
        let mut skies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while skies.len() > 2 * MOST_NIGHTS as usize {
            skies.pop_first();
        }
        skies.insert(date, sky.clone());
        sky
    }
}

fn settings(shared: &Shared) -> Result<Arc<Settings>, Problem> {
    let settings = shared.ports.settings.clone();
    settings.ok_or_else(|| Problem::not_found("this daemon does not tell its instruments"))
}

/// Channels with their filters, and what a request gets when it says nothing.
pub async fn instruments(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let settings = settings(&shared)?;
    let channels: BTreeMap<&String, Value> = settings
        .channels
        .iter()
        .map(|(name, channel)| {
            let field = |pixels: u32| rounded(f64::from(pixels) * channel.pixel_scale_arcsec / 3600.0);
            let told = json!({
                "filters": translate::filters(&settings, channel),
                "readout_s": channel.readout_s,
                "pixel_scale_arcsec": channel.pixel_scale_arcsec,
                "field_deg": [field(channel.width_px), field(channel.height_px)],
            });
            (name, told)
        })
        .collect();
    document(&json!({
        "unit": settings.unit.name,
        "telescope": settings.unit.telescope,
        "channels": channels,
        "constraints": Constraints::default(),
        "lowest_alt_deg": settings.site.horizon_limit_deg,
        "season_nights": settings.scheduling.season_nights,
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Toml,
    Yaml,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// A sequence file.
    text: String,
    format: Format,
}

/// What is wrong, and at which field: `requests.0.sequences.1.target.ra_deg`; empty where no field is to blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Fault {
    field: String,
    message: String,
}

fn read(draft: &Draft, at: UtcTime) -> Result<Vec<Request>, Fault> {
    let fault = |line: &str, message: String| {
        // The reader names the key before the cause; that is the field.
        let (field, rest) = match message.split_once(": ") {
            Some((key, rest)) if key.starts_with("requests") && !key.contains(' ') => (dotted(key), rest.to_owned()),
            _ => (String::new(), message),
        };
        let message = match line {
            "" | "0" => rest,
            line => format!("{rest} (line {line})"),
        };
        Fault { field, message }
    };
    let read = match draft.format {
        Format::Toml => scenario::from_toml(&draft.text, at),
        Format::Json => scenario::from_json(&draft.text, at),
        Format::Yaml => {
            let tree: Value = serde_saphyr::from_str(&draft.text)
                .map_err(|cause: serde_saphyr::Error| fault("", cause.to_string()))?;
            scenario::from_json(&tree.to_string(), at).map_err(|(_, cause)| (String::new(), cause))
        }
    };
    read.map_err(|(line, message)| fault(&line, message))
}

/// `requests[0].user` as `requests.0.user`.
fn dotted(key: &str) -> String {
    key.replace('[', ".").replace(']', "")
}

/// Where in the document a fault of the model is.
fn place(requests: &[Request], index: usize, fault: &RequestFault) -> String {
    let request = format!("requests.{index}");
    let found = |id: &str| {
        let all = &requests.get(index)?.sequences;
        let position = all.iter().position(|sequence| sequence.id == id)?;
        Some((format!("{request}.sequences.{position}"), all.get(position)?))
    };
    let of = |id: &str, tail: &str| found(id).map_or(request.clone(), |(path, _)| format!("{path}.{tail}"));
    match fault {
        RequestFault::NoSequence { .. } => format!("{request}.sequences"),
        RequestFault::UnknownUser { .. } => format!("{request}.user"),
        RequestFault::DuplicateId { .. } => format!("{request}.id"),
        RequestFault::NothingToExpose { sequence } => of(sequence, "albums"),
        RequestFault::EmptyWindow { sequence, .. } => of(sequence, "window"),
        RequestFault::UnknownPredecessor { sequence, .. } | RequestFault::Circle { sequence, .. } => {
            of(sequence, "after")
        }
        RequestFault::GroupDisagrees { sequence, .. } => of(sequence, "group"),
        RequestFault::UnknownChannel { sequence, channel, .. } => match found(sequence) {
            Some((path, sequence)) => {
                album(sequence, channel).map_or(path.clone(), |k| format!("{path}.albums.{k}.channel"))
            }
            None => request,
        },
        RequestFault::UnknownFilter {
            sequence,
            channel,
            filter,
            ..
        } => match found(sequence) {
            Some((path, sequence)) => {
                let plan = album(sequence, channel).and_then(|k| {
                    let plans = &sequence.albums.get(k)?.plans;
                    Some((k, plans.iter().position(|plan| plan.filter == *filter)?))
                });
                plan.map_or(path.clone(), |(k, m)| format!("{path}.albums.{k}.plans.{m}.filter"))
            }
            None => request,
        },
        RequestFault::OutOfRange {
            sequence,
            quantity,
            value,
            ..
        } => match found(sequence) {
            Some((path, sequence)) => format!("{path}.{}", quantity_of(sequence, quantity, *value)),
            None => request,
        },
    }
}

fn album(sequence: &Sequence, channel: &str) -> Option<usize> {
    sequence.albums.iter().position(|album| album.channel == channel)
}

fn quantity_of(sequence: &Sequence, quantity: &str, value: f64) -> String {
    match quantity {
        "ra_deg" | "dec_deg" => format!("target.{quantity}"),
        "priority" => quantity.to_owned(),
        "exposure_s" | "count" | "binning" | "dither_arcsec" => {
            for (k, album) in sequence.albums.iter().enumerate() {
                for (m, plan) in album.plans.iter().enumerate() {
                    let here = match quantity {
                        "exposure_s" => plan.exposure_s,
                        "count" => f64::from(plan.count),
                        "binning" => f64::from(plan.binning),
                        _ => plan.dither_arcsec,
                    };
                    // The fault carries the very number; a number that is none equals nothing.
                    if here == value || (here.is_nan() && value.is_nan()) {
                        return format!("albums.{k}.plans.{m}.{quantity}");
                    }
                }
            }
            "albums".to_owned()
        }
        _ => format!("constraints.{quantity}"),
    }
}

/// Everything that is wrong, each sequence on its own: a form shows all faults at once.
fn faults(requests: &[Request], settings: &Settings, known: impl Fn(&str) -> bool + Copy) -> Vec<Fault> {
    let catalogue = translate::catalogue(settings);
    let mut faults: Vec<Fault> = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let alone = |sequence: &Sequence| Request {
            sequences: vec![Sequence {
                // Ties to the others are judged with the whole request.
                timing: alidade_model::request::Timing {
                    after: None,
                    ..sequence.timing.clone()
                },
                ..sequence.clone()
            }],
            ..request.clone()
        };
        let each = request
            .sequences
            .iter()
            .map(|sequence| catalogue.accept(&alone(sequence), known));
        for verdict in each.chain([catalogue.accept(request, known)]) {
            if let Err(fault) = verdict {
                let told = Fault {
                    field: place(requests, index, &fault),
                    message: fault.to_string(),
                };
                if !faults.contains(&told) {
                    faults.push(told);
                }
            }
        }
    }
    faults
}

/// What the sky, the mount and the planner say of one sequence.
struct Judge<'a> {
    shared: &'a Shared,
    site: Site,
    planner: SchedulingSettings,
    tonight: NaiveDate,
    now: UtcTime,
}

impl Judge<'_> {
    fn limits(&self, sequence: &Sequence) -> alidade_scheduling::Constraints {
        let mut limits = alidade_scheduling::Constraints::from(&sequence.constraints);
        limits.min_alt_deg = limits.min_alt_deg.max(self.planner.lowest_alt_deg);
        limits
    }

    /// Stretches of a night in which it may be observed, as instants.
    fn good(&self, sequence: &Sequence, sky: &Sky) -> Vec<(UtcTime, UtcTime)> {
        let target = Icrs::new(sequence.target.ra_deg, sequence.target.dec_deg);
        let good = sky.good(&target, &self.limits(sequence), &self.planner.horizon, SUNSET_DEG);
        let start = sky.track.span().start;
        let at = |s: f64| UtcTime::new(add_seconds(start, s));
        let mut good: Vec<(UtcTime, UtcTime)> = good.iter().map(|(a, b)| (at(*a).max(self.now), at(*b))).collect();
        let life: Vec<(UtcTime, UtcTime)> = sequence.window.into_iter().collect();
        for windows in [&life, &sequence.timing.windows] {
            if !windows.is_empty() {
                let pairs = good
                    .iter()
                    .flat_map(|g| windows.iter().map(move |w| (g.0.max(w.0), g.1.min(w.1))));
                good = pairs.collect();
            }
        }
        good.retain(|(a, b)| a < b);
        good
    }

    fn nights(&self, sequence: &Sequence, duration_s: f64) -> Vec<Value> {
        let count = self.planner.season_nights.clamp(1, MOST_NIGHTS);
        let dates = (0..u64::from(count)).filter_map(|k| self.tonight.checked_add_days(Days::new(k)));
        dates
            .map(|date| {
                let sky = self.shared.skies.of(&self.site, date);
                let good = self.good(sequence, &sky);
                let lengths = good.iter().map(|(a, b)| b.seconds_since(*a));
                let longest_s = lengths.clone().fold(0.0, f64::max);
                json!({
                    "night": date.to_string(),
                    "good_s": lengths.sum::<f64>().round(),
                    "fits": longest_s >= duration_s,
                    "moon_illumination": rounded(sky.track.moon_illumination()),
                })
            })
            .collect()
    }

    fn told(&self, sequence: &Sequence) -> Value {
        let duration_s = sequence.duration_s(self.planner.readout_s);
        let target = Icrs::new(sequence.target.ra_deg, sequence.target.dec_deg);
        let sky = self.shared.skies.of(&self.site, self.tonight);
        let good = self.good(sequence, &sky);
        let longest_s = good.iter().map(|(a, b)| b.seconds_since(*a)).fold(0.0, f64::max);
        let excluded: Vec<Value> = sky
            .exclusions(&target, &self.limits(sequence), &self.planner.horizon, SUNSET_DEG)
            .iter()
            .map(|e| {
                json!({ "cause": e.cause.code(), "start": UtcTime::new(e.span.start), "end": UtcTime::new(e.span.end),
                        "worst": e.worst.map(rounded), "limit": e.limit.map(rounded) })
            })
            .collect();
        let (track, offsets) = samples(&self.site, self.tonight, 600.0);
        let direction = track.direction(&target);
        let alt: Vec<f64> = offsets
            .iter()
            .map(|s| rounded(track.alt_az_deg(&direction, *s).0))
            .collect();
        let moon: Vec<f64> = offsets.iter().map(|s| rounded(track.moon_alt_deg(*s))).collect();
        let nights = self.nights(sequence, duration_s);
        let mut best: Vec<&Value> = nights.iter().filter(|night| night["fits"] == json!(true)).collect();
        best.sort_by(|a, b| {
            b["good_s"]
                .as_f64()
                .unwrap_or(0.0)
                .total_cmp(&a["good_s"].as_f64().unwrap_or(0.0))
        });
        let best: Vec<&Value> = best.into_iter().take(5).map(|night| &night["night"]).collect();
        let spans: Vec<Value> = good.iter().map(|(a, b)| json!({ "start": a, "end": b })).collect();
        let overheads = &self.planner.overheads;
        let timing = &sequence.timing;
        let ties = [
            ("phase", timing.phase.is_some()),
            ("after", timing.after.is_some()),
            ("group", timing.group.is_some()),
        ];
        let ties: Vec<&str> = ties.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name).collect();
        json!({
            "sequence": sequence.id,
            "request": sequence.request,
            "target": sequence.target.name,
            "open_s": sequence.duration_s(0.0),
            "duration_s": duration_s,
            "setup_least_s": rounded(self.planner.overhead_s + overheads.shortest_s()),
            "setup_most_s": rounded(self.planner.overhead_s + overheads.longest_s()),
            "tonight": {
                "night": self.tonight.to_string(), "fits": longest_s >= duration_s, "longest_s": longest_s.round(),
                "good": spans, "excluded": excluded,
                // Of the curve that is shown; what is excluded all night has a highest place too.
                "highest_deg": rounded(alt.iter().copied().fold(-90.0, f64::max)),
            },
            "curve": { "times": instants(&track, &offsets), "alt_deg": alt, "moon_alt_deg": moon, "floor_deg": self.limits(sequence).floor_deg() },
            "best": best,
            "nights": nights,
            // The planner knows these ties when it plans; a preview does not.
            "not_considered": ties,
        })
    }
}

/// `{"text": FILE, "format": "json" | "toml" | "yaml"}`, the file as `alidade request submit` takes it. The answer has
/// the requests as they can be submitted, what is wrong with them field by field, and what each sequence would ask.
pub async fn preview(
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let draft: Draft = json_body(&request, payload, PREVIEW_LIMIT).await?;
    let settings = settings(&shared)?;
    let now = now(&shared);
    let requests = match read(&draft, now) {
        Ok(requests) => requests,
        Err(fault) => return document(&json!({ "requests": [], "faults": [fault], "sequences": [], "quotas": {} })),
    };
    let balances = match shared.ports.records.is_some() {
        true => Some(ask(&shared, Store::balances).await?),
        false => None,
    };
    let faults = faults(&requests, &settings, |user| {
        balances.as_ref().is_none_or(|balances| balances.contains_key(user))
    });
    let judged = if faults.is_empty() {
        let (shared, requests) = (shared.clone(), requests.clone());
        let work = block(move || {
            let judge = Judge {
                site: site(&shared),
                planner: translate::scheduling(&settings),
                tonight: Night::containing(now, settings.site.longitude_deg).0,
                now,
                shared: &shared,
            };
            let all = requests.iter().flat_map(|request| &request.sequences);
            all.take(MOST_SEQUENCES).map(|one| judge.told(one)).collect::<Vec<_>>()
        });
        work.await.map_err(|cause| Problem::internal(cause.to_string()))?
    } else {
        Vec::new()
    };
    let sees_all = caller.0.may(Permission::ReadAllData).is_ok();
    let quotas: BTreeMap<String, Value> = requests
        .iter()
        .filter(|request| sees_all || caller.0.account.as_ref() == Some(&request.user))
        .filter_map(|request| {
            let balance = balances.as_ref()?.get(&request.user)?;
            let told = json!({ "free_s": balance.free_us as f64 / 1e6, "granted_s": -balance.granted_us as f64 / 1e6 });
            Some((request.user.clone(), told))
        })
        .collect();
    let all: usize = requests.iter().map(|request| request.sequences.len()).sum();
    document(&json!({
        "requests": requests,
        "faults": faults,
        "sequences": judged,
        "left_out": all.saturating_sub(MOST_SEQUENCES),
        "quotas": quotas,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str, format: Format) -> Result<Vec<Request>, Fault> {
        let draft = Draft {
            text: text.into(),
            format,
        };
        read(&draft, "2026-03-14T12:00:00Z".parse().unwrap())
    }

    const YAML: &str = "requests:\n- id: r1\n  user: ada\n  sequences:\n  - target: {name: M 51, ra_deg: 202.47, dec_deg: 47.2}\n    priority: 5\n    albums:\n    - channel: vis\n      plans:\n      - {filter: r, exposure_s: 60, count: 3}\n";

    #[test]
    fn the_three_notations_say_the_same() {
        let toml = "[[requests]]\nid = \"r1\"\nuser = \"ada\"\n[[requests.sequences]]\ntarget = { name = \"M 51\", ra_deg = 202.47, dec_deg = 47.2 }\npriority = 5\nalbums = [{ channel = \"vis\", plans = [{ filter = \"r\", exposure_s = 60, count = 3 }] }]\n";
        let json = r#"{"requests": [{"id": "r1", "user": "ada", "sequences": [{"target": {"name": "M 51", "ra_deg": 202.47,
            "dec_deg": 47.2}, "priority": 5, "albums": [{"channel": "vis", "plans": [{"filter": "r", "exposure_s": 60, "count": 3}]}]}]}]}"#;
        let first = draft(YAML, Format::Yaml).unwrap();
        assert_eq!(first, draft(toml, Format::Toml).unwrap());
        assert_eq!(first, draft(json, Format::Json).unwrap());
    }

    #[test]
    fn a_wrong_kind_of_value_is_named_at_its_field() {
        let fault = draft(&YAML.replace("ra_deg: 202.47", "ra_deg: east"), Format::Yaml).unwrap_err();
        assert_eq!(fault.field, "requests.0.sequences.0.target.ra_deg", "{fault:?}");
        assert!(draft("requests: [", Format::Yaml).is_err());
    }

    #[test]
    fn every_sequence_tells_its_own_fault_at_its_field() {
        let settings = Settings::load(std::path::Path::new("config/simulated.toml")).unwrap();
        let mut requests = draft(YAML, Format::Yaml).unwrap();
        let first = requests[0].sequences[0].clone();
        let mut second = first.clone();
        second.id = "r1-2".into();
        second.albums[0].plans[0].filter = "violet".into();
        requests[0].sequences[0].albums[0].plans[0].exposure_s = 1e6;
        requests[0].sequences.push(second);
        let told = faults(&requests, &settings, |user| user == "ada");
        let fields: Vec<&str> = told.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "requests.0.sequences.0.albums.0.plans.0.exposure_s",
                "requests.0.sequences.1.albums.0.plans.0.filter"
            ]
        );
        let stranger = faults(&draft(YAML, Format::Yaml).unwrap(), &settings, |_| false);
        assert_eq!(stranger[0].field, "requests.0.user");
    }
}
