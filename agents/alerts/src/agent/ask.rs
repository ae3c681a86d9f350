//! From a proposal to observing requests: what is exposed, where, and when it may be.
//!
//! One request for the first nights, with a sequence for every step of the exposure plan and every pointing, and one
//! request for each later visit. A step that ends before its pointing can be observed is left out.

use alidade_model::alert::{Coverage, Outlook, Pattern, PlannedTile, When};
use alidade_model::request::{Album, Constraints, Origin, Plan, Request, Sequence, Target, Timing};
use alidade_model::time::UtcTime;

use super::AlertsSettings;
use crate::outlook::Prospect;
use crate::strategy::{Proposal, ProposedStep};

/// A window shorter than this holds nothing, seconds.
const SHORTEST_S: f64 = 60.0;
/// Slew, filters and read-out that a step may need beyond its exposures: its window ends so much later, seconds.
const SLACK_S: f64 = 600.0;

/// What an event's requests are called and made for.
pub(super) struct Naming<'a> {
    /// The house's name of the event.
    pub event: &'a str,
    /// First part of the requests' names, with a number that counts the event's requests.
    pub stem: String,
}

/// The strategy's constraints within what the site allows, in the vocabulary of requests.
pub(super) fn constraints(settings: &AlertsSettings, wanted: &crate::strategy::Constraints) -> Constraints {
    Constraints {
        min_alt_deg: wanted
            .min_altitude_deg
            .unwrap_or(settings.horizon_deg)
            .max(settings.horizon_deg),
        moon_sep_deg: wanted.min_moon_distance_deg.unwrap_or(5.0),
        sun_max_alt_deg: wanted.max_sun_altitude_deg.unwrap_or(settings.sun_max_alt_deg),
        max_airmass: wanted.max_airmass,
        ..Constraints::default()
    }
}

/// The same for the planner's kernel.
pub(super) fn limits(constraints: &Constraints) -> alidade_scheduling::Constraints {
    constraints.into()
}

/// When the site can look at a proposal's pointings, and in which order.
pub(super) fn prospect(settings: &AlertsSettings, proposal: &Proposal, sky: &Prospect<'_>) -> (Outlook, Coverage) {
    let limits = limits(&constraints(settings, &proposal.constraints));
    let end = last_moment(proposal);
    let (outlook, tiles) = if proposal.tiles.is_empty() {
        let outlook = sky.of_place(proposal.ra_deg, proposal.dec_deg, &limits, end);
        (outlook, Vec::new())
    } else {
        sky.of_tiles(&proposal.tiles, &limits, end)
    };
    let seen = |tile: &&PlannedTile| tile.when != When::Never;
    let covered = if tiles.is_empty() {
        proposal.covered_probability
    } else {
        Some(tiles.iter().filter(seen).map(|t| t.probability).sum())
    };
    let dithered = proposal.steps.iter().any(|s| s.dither_deg.is_some_and(|d| d > 0.0));
    let (ra_deg, dec_deg) = proposal.centre_deg.unwrap_or((proposal.ra_deg, proposal.dec_deg));
    let coverage = Coverage {
        pattern: match (tiles.is_empty(), dithered) {
            (false, _) => Pattern::Tiles,
            (true, true) => Pattern::Dither,
            (true, false) => Pattern::Single,
        },
        field_deg: settings.fov_deg,
        ra_deg,
        dec_deg,
        r90_deg: proposal.r90_deg,
        tiles,
        covered,
    };
    (outlook, coverage)
}

/// The end of all that a proposal asks for: of its exposure plan, or of its last visit.
fn last_moment(proposal: &Proposal) -> UtcTime {
    let visits = proposal.revisit_at.last();
    let last_visit = visits.map(|at| UtcTime::new(*at).plus_seconds(proposal.visit_window_s));
    let end = UtcTime::new(proposal.not_after);
    last_visit.map_or(end, |visit| visit.max(end))
}

/// Where to point, and from when on.
fn pointings(proposal: &Proposal, outlook: &Outlook, coverage: &Coverage) -> Vec<(f64, f64, Option<UtcTime>)> {
    if coverage.tiles.is_empty() {
        return vec![(proposal.ra_deg, proposal.dec_deg, outlook.from)];
    }
    coverage
        .tiles
        .iter()
        .filter(|tile| tile.when != When::Never)
        .map(|tile| (tile.ra_deg, tile.dec_deg, tile.from))
        .collect()
}

/// The requests of a proposal: the first is for as soon as possible, the others are later visits.
///
/// # Errors
/// Why nothing can be asked for.
pub(super) fn requests(
    settings: &AlertsSettings,
    proposal: &Proposal,
    (outlook, coverage): (&Outlook, &Coverage),
    naming: &Naming<'_>,
    now: UtcTime,
) -> Result<Vec<Request>, String> {
    let end = UtcTime::new(proposal.not_after);
    let places = pointings(proposal, outlook, coverage);
    let mut builder = Builder {
        settings,
        proposal,
        naming,
        now,
        constraints: constraints(settings, &proposal.constraints),
    };
    let mut requests = Vec::new();
    let first = builder.first(&places, end);
    if !first.sequences.is_empty() {
        requests.push(first);
    }
    for (number, at) in proposal.revisit_at.iter().enumerate() {
        let visit = builder.visit(number + 1, UtcTime::new(*at), &places);
        if !visit.sequences.is_empty() {
            requests.push(visit);
        }
    }
    if requests.is_empty() {
        return Err("no channel has a filter that the strategy wants".into());
    }
    for request in &requests {
        request.check().map_err(|fault| fault.to_string())?;
    }
    Ok(requests)
}

struct Builder<'a> {
    settings: &'a AlertsSettings,
    proposal: &'a Proposal,
    naming: &'a Naming<'a>,
    now: UtcTime,
    constraints: Constraints,
}

type Place = (f64, f64, Option<UtcTime>);

impl Builder<'_> {
    fn request(&self, id: String, title: String) -> Request {
        Request {
            id,
            title,
            user: "alerts".into(),
            origin: Origin::Alert {
                event: self.naming.event.into(),
                strategy: format!("{} v{}", self.proposal.strategy, self.proposal.strategy_version),
            },
            submitted_at: self.now,
            sequences: Vec::new(),
        }
    }

    fn sequence(&self, request: &Request, place: &Place, window: (UtcTime, UtcTime), albums: Vec<Album>) -> Sequence {
        let number = request.sequences.len() + 1;
        // Alerts come before routine work, whose priorities are below 100; what was asked first goes first.
        let priority = 1000.0 - 10.0 * f64::from(self.proposal.priority) - number as f64 * 0.01;
        Sequence {
            id: format!("{}-{number}", request.id),
            request: request.id.clone(),
            user: "alerts".into(),
            target: Target {
                name: self.proposal.event_name.clone(),
                ra_deg: place.0,
                dec_deg: place.1,
            },
            priority,
            window: Some(window),
            t_prefered: Some(window.0),
            constraints: self.constraints.clone(),
            timing: Timing::default(),
            albums,
        }
    }

    fn first(&mut self, places: &[Place], end: UtcTime) -> Request {
        let mut request = self.request(self.naming.stem.clone(), self.proposal.event_name.clone());
        let t0 = UtcTime::new(self.proposal.t0);
        let last = self.proposal.steps.len().saturating_sub(1);
        for (index, step) in self.proposal.steps.iter().enumerate() {
            let albums = self.albums(step);
            if albums.is_empty() {
                continue;
            }
            for place in places {
                // The step that serves now begins at once; a later one when its time comes.
                let start = t0
                    .plus_seconds(step.from_s)
                    .max(self.now)
                    .max(place.2.unwrap_or(self.now));
                let closes = t0.plus_seconds(step.until_s);
                // Another step serves by the time that the sky allows this one.
                if index != last && start >= closes {
                    continue;
                }
                let until = if index == last {
                    end
                } else {
                    end.min(closes.plus_seconds(open_s(&albums) + SLACK_S))
                };
                if until.seconds_since(start) >= SHORTEST_S {
                    let sequence = self.sequence(&request, place, (start, until), albums.clone());
                    request.sequences.push(sequence);
                }
            }
        }
        request
    }

    /// A later visit, with the step that serves at its delay, or the last one when the plan has ended by then.
    fn visit(&mut self, number: usize, at: UtcTime, places: &[Place]) -> Request {
        let id = format!("{}-visit-{number}", self.naming.stem);
        let mut request = self.request(id, format!("{}, visit {number}", self.proposal.event_name));
        let delay_s = at.seconds_since(UtcTime::new(self.proposal.t0));
        let steps = &self.proposal.steps;
        let Some(step) = steps.iter().find(|s| delay_s < s.until_s).or(steps.last()) else {
            return request;
        };
        let albums = self.albums(step);
        let window = (at, at.plus_seconds(self.proposal.visit_window_s));
        for place in places.iter().filter(|_| !albums.is_empty()) {
            let sequence = self.sequence(&request, place, window, albums.clone());
            request.sequences.push(sequence);
        }
        request
    }

    /// An album for every channel that has a wanted filter.
    fn albums(&self, step: &ProposedStep) -> Vec<Album> {
        let mut albums = Vec::new();
        for (channel, has) in &self.settings.channels {
            let plans: Vec<Plan> = step
                .filters
                .iter()
                .filter(|filter| has.contains(filter))
                .map(|filter| Plan {
                    filter: filter.clone(),
                    exposure_s: step.exposure_s,
                    count: step.count,
                    binning: 1,
                    dither_arcsec: step.dither_deg.unwrap_or(0.0) * 3600.0,
                })
                .collect();
            if !plans.is_empty() {
                albums.push(Album {
                    channel: channel.clone(),
                    plans,
                });
            }
        }
        albums
    }
}

/// Open shutter of the slowest channel, seconds.
fn open_s(albums: &[Album]) -> f64 {
    let album = |album: &Album| album.plans.iter().map(|p| f64::from(p.count) * p.exposure_s).sum();
    albums.iter().map(album).fold(0.0, f64::max)
}
