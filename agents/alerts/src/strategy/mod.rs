//! Strategies: files that say which events are observed, and how.
//!
//! A strategy *matches* by stream, class, marks and bounds; among those that match the one with the lowest priority
//! number wins and every other is recorded with its reason. The time since the trigger chooses the *step* of the
//! exposure plan. See `config/strategies` for those that are shipped, each with its reasons.

mod decide;
mod document;
mod file;
mod folder;
mod quantity;
mod rehearsal;
mod revise;
mod tiling;

pub use decide::{Decision, DecisionReason, Loser, Proposal, ProposedStep, Seen, decide, decide_seen};
pub use document::Syntax;
pub use file::{StrategyError, from_text, from_toml};
pub use folder::{FolderError, load_folder};
pub use rehearsal::{Fate, Rehearsal, Turn, rehearse};
pub use revise::{Revision, revise};
pub use tiling::{Tile, tile_circle, tile_map};

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::notice::{Class, Flag};

/// A validated strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// Its name; one word of letters, digits, `-` and `_`.
    pub name: String,
    /// Counted up on every change, so that a proposal names what decided it.
    pub version: u32,
    /// For people.
    pub description: String,
    /// 1 is first; the lower number wins.
    pub priority: u8,
    /// Priority when messengers of two kinds speak of the event.
    pub multi_messenger_priority: Option<u8>,
    /// Switched off strategies lose against everything.
    pub enabled: bool,
    /// Not before.
    pub valid_from: Option<DateTime<Utc>>,
    /// Not after.
    pub valid_until: Option<DateTime<Utc>>,
    /// What it wants.
    pub matching: Matching,
    /// When and where it may be observed.
    pub constraints: Constraints,
    /// What it may interrupt.
    pub preempt: Preempt,
    /// Exposures by time since the trigger, in order.
    pub steps: Vec<Step>,
    /// How regions larger than the field are covered; `None` refuses them.
    pub tiling: Option<Tiling>,
    /// Later visits, time after the trigger.
    pub revisit_after: Vec<Duration>,
    /// How long each later visit may wait for the sky and its turn.
    pub visit_window: Duration,
    /// How updates are met.
    pub update: UpdatePolicy,
}

/// The strategies with one added, or put in the place of the one with its name, which is given back.
///
/// # Errors
/// A sentence, when the version does not count up: a proposal must name what decided it.
pub fn amend(current: &[Strategy], new: &Strategy) -> Result<(Vec<Strategy>, Option<Strategy>), String> {
    let mut changed = current.to_vec();
    let known = changed.iter_mut().find(|known| known.name == new.name);
    let replaced = match known {
        Some(known) if new.version <= known.version => {
            let (name, version) = (&new.name, known.version);
            return Err(format!(
                "strategy {name} is at version {version}: the new one needs a higher number than {}",
                new.version
            ));
        }
        Some(known) => Some(std::mem::replace(known, new.clone())),
        None => {
            changed.push(new.clone());
            None
        }
    };
    Ok((changed, replaced))
}

/// What a strategy wants; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Matching {
    /// Globs over streams, at least one of which must match one of the event's; `*` within a part, and a pattern with
    /// fewer parts matches whatever follows.
    pub streams: Vec<String>,
    /// Globs over missions, at least one of which must match one of the event's; empty means any.
    pub missions: Vec<String>,
    /// Classes, at least one; empty means any.
    pub classes: BTreeSet<Class>,
    /// Marks that must be absent.
    pub not_flags: BTreeSet<Flag>,
    /// Marks of which one must be there, for a strategy that is after known sources; empty means none needed.
    pub any_flags: BTreeSet<Flag>,
    /// Smallest 90 % radius, degrees: what is better known is for another strategy.
    pub min_r90_deg: Option<f64>,
    /// Largest 90 % radius, degrees.
    pub max_r90_deg: Option<f64>,
    /// Oldest age since the trigger.
    pub max_age: Option<Duration>,
    /// Oldest age while every notice is preliminary.
    pub max_preliminary_age: Option<Duration>,
    /// Smallest distance from the galactic plane, degrees.
    pub min_galactic_latitude_deg: Option<f64>,
    /// Lower bounds of measures, class probabilities and `importance`; they bind where the event has them.
    pub min: BTreeMap<String, f64>,
    /// Upper bounds.
    pub max: BTreeMap<String, f64>,
    /// Measures that the event must have.
    pub required: BTreeSet<String>,
    /// Takes tests, for commissioning and simulated nights only.
    pub accept_test: bool,
}

/// When and where it may be observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Constraints {
    /// Lowest altitude, degrees.
    pub min_altitude_deg: Option<f64>,
    /// Largest airmass.
    pub max_airmass: Option<f64>,
    /// Smallest distance from the Moon, degrees.
    pub min_moon_distance_deg: Option<f64>,
    /// Highest altitude of the Sun, degrees.
    pub max_sun_altitude_deg: Option<f64>,
}

/// What a proposal may interrupt. It never overrides a safety interlock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preempt {
    /// Nothing: it waits in the plan.
    #[default]
    Queue,
    /// The running sequence, at the end of its exposure.
    AfterExposure,
    /// The running exposure.
    InterruptExposure,
}

/// One step of the exposure plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// It serves until this long after the trigger.
    pub until: Duration,
    /// It serves error regions up to this 90 % radius, degrees.
    pub max_r90_deg: Option<f64>,
    /// Filters, each exposed in turn or, on several channels, at once.
    pub filters: Vec<String>,
    /// One exposure, seconds.
    pub exposure_s: f64,
    /// Exposures per filter.
    pub count: u32,
    /// Dither radius, degrees.
    pub dither_deg: Option<f64>,
}

/// How a region larger than the field is covered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tiling {
    /// Most tiles.
    pub max_tiles: u32,
    /// Least probability that the tiles must cover together, 0 to 1; less is refused.
    pub min_cumulative_prob: f64,
    /// Share of the field by which neighbours overlap, 0 to 0.5.
    pub overlap: f64,
}

/// When a new position moves the telescope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepointIf {
    /// When it leaves the field.
    #[default]
    OutsideFov,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How updates are met.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// When a new position moves the telescope.
    pub repoint_if: RepointIf,
    /// How far out in the field, from 0 at its middle to 1 at its edge, the new 90 % circle may reach before it has left
    /// the field; above 1 a part of it may be lost.
    pub repoint_fraction: f64,
    /// A retraction ends the observation at the next safe point.
    pub stop_on_retraction: bool,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            repoint_if: RepointIf::OutsideFov,
            repoint_fraction: 1.0,
            stop_on_retraction: true,
        }
    }
}

/// What the telescope can do, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitCapabilities {
    /// Smaller side of the field, degrees.
    pub fov_deg: f64,
    /// Filters it has; empty means that any is taken.
    pub filters: BTreeSet<String>,
    /// Lowest and highest declination it reaches, degrees.
    pub dec_range_deg: (f64, f64),
}

impl UnitCapabilities {
    /// A telescope of that field, with any filter, that reaches everywhere.
    #[must_use]
    pub fn with_field(fov_deg: f64) -> Self {
        Self {
            fov_deg,
            filters: BTreeSet::new(),
            dec_range_deg: (-90.0, 90.0),
        }
    }
}

/// Whether a glob matches a stream: `*` any run of characters within a part, `?` one; fewer parts match any rest.
#[must_use]
pub fn glob_matches(glob: &str, stream: &str) -> bool {
    fn part(glob: &[u8], text: &[u8]) -> bool {
        // The textbook two-pointer match: linear in practice, no recursion, whatever the pattern.
        let (mut g, mut t, mut star) = (0, 0, None);
        while t < text.len() {
            match glob.get(g) {
                Some(b'*') => {
                    star = Some((g, t));
                    g += 1;
                }
                Some(b'?') => {
                    g += 1;
                    t += 1;
                }
                Some(c) if *c == text[t] => {
                    g += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, from)) => {
                        star = Some((at, from + 1));
                        g = at + 1;
                        t = from + 1;
                    }
                    None => return false,
                },
            }
        }
        glob.get(g..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
    }
    let mut parts = stream.split('/');
    glob.split('/')
        .all(|g| parts.next().is_some_and(|p| part(g.as_bytes(), p.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_parts_and_prefixes() {
        for (glob, stream) in [
            ("swift/bat/grb_pos", "swift/bat/grb_pos"),
            ("fermi/lat/*", "fermi/lat/offline"),
            ("einstein_probe/wxt", "einstein_probe/wxt/alert"),
            ("*", "gecam/grd/flt"),
            ("svom/*/w?keup", "svom/eclairs/wakeup"),
            ("fermi/gbm/*_pos", "fermi/gbm/flt_pos"),
        ] {
            assert!(glob_matches(glob, stream), "{glob} {stream}");
        }
        for (glob, stream) in [
            ("swift/bat", "swift/xrt/pos"),
            ("fermi/*/pos", "fermi/lat/offline"),
            ("a/b/c/d", "a/b/c"),
            ("", "a/b/c"),
        ] {
            assert!(!glob_matches(glob, stream), "{glob} {stream}");
        }
    }
}
