//! What an update means for an observation that was proposed before.

use serde::{Deserialize, Serialize};

use super::tiling::Tile;
use super::{Decision, DecisionReason, Proposal, RepointIf};
use crate::event::separation_deg;

/// What an update means for an observation that was proposed before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "revision")]
pub enum Revision {
    /// Go on; only the record changes.
    Keep,
    /// Go on with this instead.
    Replace {
        /// The new proposal.
        proposal: Box<Proposal>,
        /// The telescope has to move.
        repoint: bool,
    },
    /// End at the next safe point, keep what was taken.
    Cancel {
        /// Why.
        reason: DecisionReason,
    },
}

/// Says what a new decision means for an observation proposed before. `fov_deg` is the field it is taken with.
#[must_use]
pub fn revise(previous: &Proposal, decision: &Decision, fov_deg: f64) -> Revision {
    let Some(new) = &decision.followed else {
        let ends = previous.update.stop_on_retraction && withdraws(decision, &previous.strategy);
        return if ends {
            let own = decision.losers.iter().find(|l| l.strategy == previous.strategy);
            Revision::Cancel {
                reason: own.map_or_else(|| decision.reason.clone(), |l| l.reason.clone()),
            }
        } else {
            Revision::Keep
        };
    };
    let moved = separation_deg(previous.ra_deg, previous.dec_deg, new.ra_deg, new.dec_deg);
    let repoint = match previous.update.repoint_if {
        RepointIf::Never => false,
        RepointIf::Always => moved > 1e-6,
        RepointIf::OutsideFov => leaves(previous, new, fov_deg),
    };
    let other_plan = new.strategy != previous.strategy
        || new.priority < previous.priority
        || new.tiles.is_empty() != previous.tiles.is_empty()
        || exposures_differ(previous, new);
    if repoint || other_plan {
        Revision::Replace {
            proposal: Box::new(new.clone()),
            repoint,
        }
    } else {
        Revision::Keep
    }
}

/// Tiles are laid anew when the old ones hold less than this share of what the new ones would.
const TILES_KEPT: f64 = 0.8;

/// Whether the source, as it is known now, has left what is pointed at.
fn leaves(previous: &Proposal, new: &Proposal, fov_deg: f64) -> bool {
    let half = previous.update.repoint_fraction * fov_deg / 2.0;
    let moved = separation_deg(previous.ra_deg, previous.dec_deg, new.ra_deg, new.dec_deg);
    match (previous.tiles.is_empty(), new.tiles.is_empty()) {
        (true, true) => moved > (half - new.r90_deg.unwrap_or(0.0)).max(0.0) && moved > 1e-6,
        // The region has grown beyond the field: its middle decides.
        (true, false) => moved > half,
        // It fits the field now: no use to go on searching.
        (false, true) => true,
        (false, false) => {
            let within = |tile: &&Tile| {
                let near = |old: &Tile| separation_deg(old.ra_deg, old.dec_deg, tile.ra_deg, tile.dec_deg) <= half;
                previous.tiles.iter().any(near)
            };
            let kept: f64 = new.tiles.iter().filter(within).map(|t| t.probability).sum();
            kept < TILES_KEPT * new.tiles.iter().map(|t| t.probability).sum::<f64>()
        }
    }
}

/// Whether the error radius called for other exposures; steps that have merely passed do not count.
fn exposures_differ(previous: &Proposal, new: &Proposal) -> bool {
    let Some(now) = new.steps.first() else { return false };
    let before = previous.steps.iter().find(|s| (s.until_s - now.until_s).abs() < 1e-3);
    before.is_none_or(|b| {
        (b.exposure_s - now.exposure_s).abs() > 1e-9 || b.filters != now.filters || b.count != now.count
    })
}

/// Whether the event, or this strategy's interest in it, is over for a reason that should stop an observation. Age is
/// none: the observation's own window ends it.
fn withdraws(decision: &Decision, strategy: &str) -> bool {
    match &decision.reason {
        DecisionReason::Retracted | DecisionReason::NotActable { .. } => true,
        _ => decision.losers.iter().any(|l| {
            l.strategy == strategy
                && matches!(
                    l.reason,
                    DecisionReason::Flagged { .. }
                        | DecisionReason::NoPosition
                        | DecisionReason::BelowBound { .. }
                        | DecisionReason::AboveBound { .. }
                )
        }),
    }
}
