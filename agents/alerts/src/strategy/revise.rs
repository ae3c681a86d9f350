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

#[cfg(test)]
mod tests {
    use super::super::{Constraints, Loser, Preempt, ProposedStep, UpdatePolicy};
    use super::*;
    use crate::event::EventId;
    use chrono::{DateTime, Utc};

    const FOV_DEG: f64 = 0.4;

    fn t0() -> DateTime<Utc> {
        "2026-11-20T20:00:00Z".parse().unwrap()
    }

    /// A single pointing on the equator at that right ascension, degrees.
    fn at(ra_deg: f64, r90_deg: f64, update: UpdatePolicy) -> Proposal {
        Proposal {
            event: EventId(1),
            event_name: "a burst".into(),
            strategy: "x".into(),
            strategy_version: 1,
            priority: 5,
            ra_deg,
            dec_deg: 0.0,
            r90_deg: Some(r90_deg),
            centre_deg: None,
            tiles: Vec::new(),
            covered_probability: None,
            t0: t0(),
            not_before: t0(),
            not_after: t0() + chrono::Duration::hours(48),
            steps: vec![ProposedStep {
                from_s: 0.0,
                until_s: 600.0,
                filters: vec!["r".into()],
                exposure_s: 10.0,
                count: 10,
                dither_deg: None,
            }],
            revisit_at: Vec::new(),
            visit_window_s: 0.0,
            constraints: Constraints::default(),
            preempt: Preempt::InterruptExposure,
            update,
            is_test: false,
        }
    }

    fn decision(reason: DecisionReason, followed: Option<Proposal>, losers: Vec<Loser>) -> Decision {
        Decision {
            event: EventId(1),
            at: t0(),
            followed,
            reason,
            losers,
        }
    }

    fn moves(update: UpdatePolicy, shift_deg: f64, r90_deg: f64) -> bool {
        let new = at(10.0 + shift_deg, r90_deg, update);
        let revision = revise(
            &at(10.0, 0.1, update),
            &decision(DecisionReason::Followed, Some(new), Vec::new()),
            FOV_DEG,
        );
        matches!(revision, Revision::Replace { repoint: true, .. })
    }

    #[test]
    fn the_stated_share_of_the_field_decides_when_an_update_moves_the_telescope() {
        // Half a field is 0.2 degrees: of it the share, less the new radius, may lie between the positions.
        for (share, shift_deg, r90_deg, moved) in [
            (1.0, 0.0, 0.05, false),
            (1.0, 0.149, 0.05, false),
            (1.0, 0.151, 0.05, true),
            (0.5, 0.049, 0.05, false),
            (0.5, 0.051, 0.05, true),
            (1.5, 0.249, 0.05, false),
            (1.5, 0.251, 0.05, true),
            (1.0, 0.01, 0.3, true),
            (0.0, 0.01, 0.0, true),
        ] {
            let update = UpdatePolicy {
                repoint_fraction: share,
                ..UpdatePolicy::default()
            };
            assert_eq!(
                moves(update, shift_deg, r90_deg),
                moved,
                "{share} {shift_deg} {r90_deg}"
            );
        }
        for (repoint_if, shift_deg, moved) in [
            (RepointIf::Never, 5.0, false),
            (RepointIf::Always, 0.001, true),
            (RepointIf::Always, 0.0, false),
        ] {
            let update = UpdatePolicy {
                repoint_if,
                ..UpdatePolicy::default()
            };
            assert_eq!(moves(update, shift_deg, 0.05), moved, "{repoint_if:?} {shift_deg}");
        }
    }

    #[test]
    fn other_exposures_or_a_more_urgent_strategy_replace_the_plan_without_a_slew() {
        let policy = UpdatePolicy::default();
        let mut shorter = at(10.0, 0.05, policy);
        shorter.steps[0].exposure_s = 5.0;
        let mut urgent = at(10.0, 0.05, policy);
        urgent.priority = 2;
        for new in [shorter, urgent] {
            let revision = revise(
                &at(10.0, 0.1, policy),
                &decision(DecisionReason::Followed, Some(new), Vec::new()),
                FOV_DEG,
            );
            assert!(
                matches!(revision, Revision::Replace { repoint: false, .. }),
                "{revision:?}"
            );
        }
    }

    #[test]
    fn a_withdrawn_burst_ends_an_observation_unless_its_strategy_says_otherwise_and_age_never_does() {
        let lost = |reason: &DecisionReason| {
            let loser = Loser {
                strategy: "x".into(),
                version: 1,
                reason: reason.clone(),
            };
            decision(DecisionReason::NoneMatches, None, vec![loser])
        };
        let retracted = decision(DecisionReason::Retracted, None, Vec::new());
        let flagged = lost(&DecisionReason::Flagged {
            flag: crate::notice::Flag::NotAGrb,
        });
        let old = lost(&DecisionReason::TooOld);
        let stubborn = UpdatePolicy {
            stop_on_retraction: false,
            ..UpdatePolicy::default()
        };
        for (policy, decision, ends) in [
            (UpdatePolicy::default(), &retracted, true),
            (UpdatePolicy::default(), &flagged, true),
            (UpdatePolicy::default(), &old, false),
            (stubborn, &retracted, false),
            (stubborn, &flagged, false),
        ] {
            let revision = revise(&at(10.0, 0.1, policy), decision, FOV_DEG);
            assert_eq!(
                matches!(revision, Revision::Cancel { .. }),
                ends,
                "{:?}",
                decision.reason
            );
        }
    }
}
