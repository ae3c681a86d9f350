//! The shipped strategies, against real notices.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use alidade_alerts::event::{Event, EventBook, MergeRules, Trust};
use alidade_alerts::strategy::{
    DecisionReason, Preempt, Proposal, Revision, Strategy, UnitCapabilities, decide, load_folder, revise,
};
use alidade_alerts::{Channel, read};
use chrono::{DateTime, Duration, Utc};

fn shipped() -> Vec<Strategy> {
    load_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/strategies")).unwrap()
}

fn notice(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let path: PathBuf = ["public", "merge"]
        .iter()
        .map(|s| folder.join(s).join(name))
        .find(|p| p.exists())
        .unwrap();
    std::fs::read(path).unwrap()
}

/// A book that took these in, each as if it had just been sent, and the last event touched.
fn event(names: &[&str]) -> (EventBook, Event) {
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    let mut last = None;
    for name in names {
        let bytes = notice(name);
        let epoch = DateTime::<Utc>::MAX_UTC;
        let issued = read(&bytes, Channel::Any, epoch).notice.unwrap();
        let at = issued.issued_at.or(issued.event_time).unwrap() + Duration::seconds(2);
        last = book.insert(&read(&bytes, Channel::Any, at)).event;
    }
    let event = book.event(last.unwrap()).unwrap();
    (book, event)
}

fn proposal(event: &Event, unit: &UnitCapabilities, delay: Duration) -> Proposal {
    let decision = decide(event, &shipped(), unit, event.t0.unwrap() + delay);
    decision.followed.unwrap_or_else(|| panic!("{:?}", decision.losers))
}

#[test]
fn every_shipped_strategy_is_valid_and_has_its_own_name() {
    let strategies = shipped();
    assert_eq!(strategies.len(), 5);
    assert!(
        strategies.iter().all(|s| s.enabled != (s.name == "test")),
        "all but the test strategy are on"
    );
}

#[test]
fn a_swift_burst_interrupts_with_short_exposures_first() {
    let (_, event) = event(&["012_swift_SWIFT_1125809-092.xml"]);
    let proposal = proposal(&event, &UnitCapabilities::with_field(0.4), Duration::seconds(60));
    assert_eq!(proposal.strategy, "grb-arcmin");
    assert_eq!(proposal.preempt, Preempt::InterruptExposure);
    assert!((proposal.ra_deg - 64.7373).abs() < 1e-9 && (proposal.dec_deg - 13.3517).abs() < 1e-9);
    assert!(proposal.tiles.is_empty());
    assert!(
        (proposal.steps[0].exposure_s - 10.0).abs() < 1e-9,
        "the step of the first minutes"
    );
    assert_eq!(proposal.steps.len(), 4);
    assert_eq!(proposal.not_after, event.t0.unwrap() + Duration::hours(48));
}

#[test]
fn a_later_decision_starts_with_a_later_step() {
    let (_, event) = event(&["012_swift_SWIFT_1125809-092.xml"]);
    let proposal = proposal(&event, &UnitCapabilities::with_field(0.4), Duration::hours(1));
    assert!((proposal.steps[0].exposure_s - 60.0).abs() < 1e-9);
    assert_eq!(proposal.steps[0].filters, ["g", "r", "i", "z", "y"]);
    let old = decide(
        &event,
        &shipped(),
        &UnitCapabilities::with_field(0.4),
        event.t0.unwrap() + Duration::hours(49),
    );
    assert!(old.followed.is_none());
    let own = old.losers.iter().find(|l| l.strategy == "grb-arcmin").unwrap();
    assert_eq!(own.reason, DecisionReason::TooOld);
    assert_eq!(old.losers.len(), 5, "every strategy says why not");
}

#[test]
fn an_x_ray_position_within_the_field_does_not_move_the_telescope() {
    let unit = UnitCapabilities::with_field(0.4);
    let (mut book, first) = event(&["012_swift_SWIFT_1125809-092.xml"]);
    let before = proposal(&first, &unit, Duration::seconds(60));
    let at = first.t0.unwrap() + Duration::seconds(400);
    let outcome = book.insert(&read(&notice("013_swift_SWIFT_1125809-104.xml"), Channel::Any, at));
    let after = book.event(outcome.event.unwrap()).unwrap();
    assert_eq!(after.id, first.id);
    let best = after.best.as_ref().unwrap();
    assert!(
        (best.position.ra_deg - 64.7149).abs() < 1e-9,
        "the smaller circle is the better one"
    );
    assert_eq!(after.positions.len(), 2, "the history is kept");
    let decision = decide(&after, &shipped(), &unit, first.t0.unwrap() + Duration::seconds(70));
    assert_eq!(revise(&before, &decision, unit.fov_deg), Revision::Keep);
    // In a field of 2.4 arcminutes it is outside.
    let revision = revise(&before, &decision, 0.04);
    assert!(
        matches!(revision, Revision::Replace { repoint: true, .. }),
        "{revision:?}"
    );
}

#[test]
fn a_retraction_cancels_and_a_late_original_does_not_revive() {
    let unit = UnitCapabilities::with_field(0.4);
    let (mut book, first) = event(&["031_svom_eclairs_296.xml"]);
    let before = proposal(&first, &unit, Duration::seconds(60));
    let text = String::from_utf8(notice("042_svom_grm_286.xml"))
        .unwrap()
        .replace("sb26020402", "sb26021102");
    let text = text.replace("2026-02-04T12:1", "2026-02-11T19:2");
    let at = first.t0.unwrap() + Duration::minutes(9);
    book.insert(&read(text.as_bytes(), Channel::Voevent, at));
    let after = book.event(first.id).unwrap();
    let decision = decide(&after, &shipped(), &unit, at);
    assert_eq!(decision.reason, DecisionReason::Retracted);
    assert_eq!(
        revise(&before, &decision, unit.fov_deg),
        Revision::Cancel {
            reason: DecisionReason::Retracted
        }
    );
    let late = String::from_utf8(notice("031_svom_eclairs_296.xml"))
        .unwrap()
        .replace("_eclairs-wakeup", "_eclairs-late");
    let outcome = book.insert(&read(late.as_bytes(), Channel::Voevent, at));
    assert_eq!(outcome.reason.code(), "already_retracted");
}

#[test]
fn tests_are_followed_only_by_a_strategy_that_asks_for_them() {
    let (_, event) = event(&["063_swift_swift_bat_grb_pos_test_9264.xml"]);
    let unit = UnitCapabilities::with_field(0.4);
    let at = event.t0.unwrap() + Duration::seconds(30);
    assert!(decide(&event, &shipped(), &unit, at).followed.is_none());
    let mut strategies = shipped();
    strategies.iter_mut().for_each(|s| s.enabled = true);
    let followed = decide(&event, &strategies, &unit, at).followed.unwrap();
    assert_eq!((followed.strategy.as_str(), followed.is_test), ("test", true));
}

#[test]
fn a_large_error_circle_is_tiled_from_its_middle() {
    let (_, event) = event(&["018_fermi_GRB180116A_Fermi_GBM_Fin_Pos.xml"]);
    let wide = UnitCapabilities::with_field(5.0);
    let proposal = proposal(&event, &wide, Duration::minutes(30));
    assert_eq!(proposal.strategy, "grb-degrees");
    assert!(
        proposal.r90_deg.unwrap() > 8.0,
        "5.2 degrees statistical are more with systematics"
    );
    assert!(proposal.tiles.len() > 4 && proposal.covered_probability.unwrap() > 0.8);
    assert!((proposal.ra_deg - 212.77).abs() < 1e-6);
    let narrow = UnitCapabilities::with_field(0.4);
    let decision = decide(&event, &shipped(), &narrow, event.t0.unwrap() + Duration::minutes(30));
    let own = decision.losers.iter().find(|l| l.strategy == "grb-degrees").unwrap();
    assert_eq!(own.reason, DecisionReason::CoverageTooSmall);
}

#[test]
fn a_sky_map_becomes_ranked_tiles_the_telescope_can_reach() {
    let (_, event) = event(&["068_lvk_initial.json"]);
    let mut unit = UnitCapabilities::with_field(4.0);
    let all = proposal(&event, &unit, Duration::hours(4));
    assert_eq!(all.strategy, "gravitational-wave");
    assert!(all.covered_probability.unwrap() > 0.5 && all.tiles.len() <= 60);
    assert!(all.tiles.is_sorted_by(|a, b| a.probability >= b.probability));
    unit.dec_range_deg = (-20.0, 90.0);
    let decision = decide(&event, &shipped(), &unit, event.t0.unwrap() + Duration::hours(4));
    assert!(
        decision
            .followed
            .is_none_or(|p| p.tiles.iter().all(|t| t.dec_deg >= -20.0))
    );
}

#[test]
fn two_messengers_raise_the_priority() {
    let (_, mut event) = event(&["012_swift_SWIFT_1125809-092.xml"]);
    let unit = UnitCapabilities::with_field(0.4);
    assert_eq!(proposal(&event, &unit, Duration::seconds(60)).priority, 4);
    event.classes.insert(alidade_alerts::notice::Class::GravitationalWave);
    assert_eq!(proposal(&event, &unit, Duration::seconds(60)).priority, 2);
}
