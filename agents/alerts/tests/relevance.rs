//! Every property of an event that a strategy may bound, one by one; and what no strategy can make the house follow.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use alidade_alerts::event::{Event, EventBook, EventState, MergeRules, Trust};
use alidade_alerts::notice::{Class, Flag};
use alidade_alerts::strategy::{DecisionReason, Strategy, UnitCapabilities, decide, from_toml};
use alidade_alerts::{Channel, Reason, Verdict, read};
use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;

fn swift() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/public/012_swift_SWIFT_1125809-092.xml");
    std::fs::read_to_string(file).unwrap()
}

/// A Swift burst at RA 64.7, Dec 13.4 (galactic latitude -25 degrees) with a radius of 3 arcminutes, and when it came.
fn burst() -> (Event, DateTime<Utc>) {
    let body = swift();
    let notice = read(body.as_bytes(), Channel::Voevent, DateTime::<Utc>::MAX_UTC)
        .notice
        .unwrap();
    let at = notice.issued_at.unwrap() + Duration::seconds(2);
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    let outcome = book.insert(&read(body.as_bytes(), Channel::Voevent, at));
    (book.event(outcome.event.unwrap()).unwrap(), at)
}

/// A strategy that wants everything, with these lines in its `[match]`.
fn wanting(lines: &str) -> Strategy {
    let text = format!(
        "[strategy]\nname = \"x\"\nversion = 1\npriority = 5\n[match]\nstreams = [\"*\"]\n{lines}\n\
         [[plan.step]]\nuntil = \"48h\"\nfilters = [\"r\"]\nexptime = \"10s\"\ncount = 1\n\
         [plan.tiling]\nmax_tiles = 10\nmin_cumulative_prob = 0.0\n"
    );
    from_toml(&text).unwrap_or_else(|e| panic!("{e}"))
}

fn verdict(event: &Event, strategy: &Strategy, now: DateTime<Utc>) -> DecisionReason {
    let decision = decide(
        event,
        std::slice::from_ref(strategy),
        &UnitCapabilities::with_field(0.4),
        now,
    );
    match decision.losers.into_iter().next() {
        Some(loser) => loser.reason,
        None => decision.reason,
    }
}

type Change = fn(&mut Event);

#[test]
fn each_property_is_a_bound() {
    let below = |measure: &str| DecisionReason::BelowBound {
        measure: measure.into(),
    };
    let above = |measure: &str| DecisionReason::AboveBound {
        measure: measure.into(),
    };
    let missing = |measure: &str| DecisionReason::MeasureMissing {
        measure: measure.into(),
    };
    let flagged = |flag| DecisionReason::Flagged { flag };
    let same: Change = |_| {};
    let rows: Vec<(&str, Change, i64, DecisionReason)> = vec![
        ("", same, 60, DecisionReason::Followed),
        // Mission and kind of notice.
        (
            "missions = [\"svom\", \"fermi\"]",
            same,
            60,
            DecisionReason::MissionNotWanted,
        ),
        ("missions = [\"sw*\"]", same, 60, DecisionReason::Followed),
        // Class.
        ("classes = [\"neutrino\"]", same, 60, DecisionReason::ClassNotWanted),
        ("classes = [\"neutrino\", \"grb\"]", same, 60, DecisionReason::Followed),
        (
            "classes = [\"gravitational_wave\"]",
            |e| {
                e.classes.insert(Class::GravitationalWave);
            },
            60,
            DecisionReason::Followed,
        ),
        // Importance, as VOEvent states it; it binds where it is stated.
        ("min = { importance = 0.5 }", same, 60, DecisionReason::Followed),
        (
            "min = { importance = 0.5 }",
            |e| e.importance = Some(0.4),
            60,
            below("importance"),
        ),
        (
            "min = { importance = 0.5 }",
            |e| e.importance = Some(0.6),
            60,
            DecisionReason::Followed,
        ),
        // Measures and class probabilities.
        (
            "min = { signalness = 0.5 }",
            |e| {
                e.measures.insert("signalness".into(), 0.3);
            },
            60,
            below("signalness"),
        ),
        (
            "max = { far_hz = 1e-7 }",
            |e| {
                e.measures.insert("far_hz".into(), 1e-6);
            },
            60,
            above("far_hz"),
        ),
        (
            "min = { BNS = 0.5 }",
            |e| {
                e.classification.insert("BNS".into(), 0.1);
            },
            60,
            below("BNS"),
        ),
        ("required = [\"signalness\"]", same, 60, missing("signalness")),
        // Error radius.
        ("max_r90 = \"2'\"", same, 60, DecisionReason::RadiusTooLarge),
        ("min_r90 = \"1deg\"", same, 60, DecisionReason::RadiusTooSmall),
        (
            "max_r90 = \"1deg\"",
            |e| e.best.as_mut().unwrap().position.err_deg = None,
            60,
            DecisionReason::RadiusUnknown,
        ),
        // Delay.
        ("max_age = \"10min\"", same, 601, DecisionReason::TooOld),
        ("max_age = \"10min\"", same, 599, DecisionReason::Followed),
        (
            "max_preliminary_age = \"5min\"",
            |e| e.is_preliminary = true,
            400,
            DecisionReason::PreliminaryTooOld,
        ),
        ("max_preliminary_age = \"5min\"", same, 400, DecisionReason::Followed),
        ("", |e| e.t0 = None, 60, DecisionReason::NoTime),
        // Galactic latitude.
        ("min_galactic_latitude = \"20deg\"", same, 60, DecisionReason::Followed),
        (
            "min_galactic_latitude = \"30deg\"",
            same,
            60,
            DecisionReason::NearGalacticPlane,
        ),
        // Known sources and doubtful ones.
        (
            "not_flags = [\"catalogue_source\"]",
            |e| {
                e.flags.insert(Flag::CatalogueSource);
            },
            60,
            flagged(Flag::CatalogueSource),
        ),
        (
            "any_flags = [\"catalogue_source\"]",
            same,
            60,
            DecisionReason::NotFlagged,
        ),
        (
            "any_flags = [\"catalogue_source\"]",
            |e| {
                e.flags.insert(Flag::CatalogueSource);
            },
            60,
            DecisionReason::Followed,
        ),
        (
            "not_flags = [\"sub_threshold\", \"low_significance\"]",
            |e| {
                e.flags.insert(Flag::LowSignificance);
            },
            60,
            flagged(Flag::LowSignificance),
        ),
        // Tests.
        ("", |e| e.is_test = true, 60, DecisionReason::Test),
        ("accept_test = true", |e| e.is_test = true, 60, DecisionReason::Followed),
        // What no strategy decides.
        ("", |e| e.state = EventState::Retracted, 60, DecisionReason::Retracted),
        ("", |e| e.best = None, 60, DecisionReason::NoPosition),
        (
            "",
            |e| {
                e.flags.insert(Flag::NotAGrb);
            },
            60,
            DecisionReason::NotActable {
                reason: Reason::NotAGrb,
            },
        ),
        (
            "",
            |e| e.reason = Reason::LostLock,
            60,
            DecisionReason::NotActable {
                reason: Reason::LostLock,
            },
        ),
    ];
    for (number, (lines, change, delay_s, expected)) in rows.into_iter().enumerate() {
        let (mut event, _) = burst();
        change(&mut event);
        let now = burst().0.t0.unwrap() + Duration::seconds(delay_s);
        assert_eq!(verdict(&event, &wanting(lines), now), expected, "row {number}: {lines}");
    }
}

/// What must never be acted upon, as Swift's own packet says it.
const FORBIDDEN: [(&str, &str); 5] = [
    ("role=\"observation\"", "role=\"test\""),
    (
        "\"StarTrack_Lost_Lock\"      value=\"false\"",
        "\"StarTrack_Lost_Lock\"      value=\"true\"",
    ),
    (
        "\"Def_NOT_a_GRB\"            value=\"false\"",
        "\"Def_NOT_a_GRB\"            value=\"true\"",
    ),
    ("<C1>64.7373</C1>", "<C1></C1>"),
    (
        "</Why>",
        "</Why><Citations><EventIVORN cite=\"retraction\">ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1125809-000</EventIVORN></Citations>",
    ),
];

proptest! {
    /// Whatever else a packet says, and however eager the strategy is.
    #[test]
    fn a_forbidden_packet_is_never_acted_upon(
        which in proptest::sample::subsequence((0..FORBIDDEN.len()).collect::<Vec<_>>(), 1..=FORBIDDEN.len()),
        ra in 0.0..360.0_f64,
        dec in -80.0..80.0_f64,
        radius in 0.001..1.0_f64,
        delay_s in 2..36_000_i64,
    ) {
        let mut body = swift();
        for index in &which {
            let (from, to) = FORBIDDEN[*index];
            prop_assert!(body.contains(from), "{from}");
            body = body.replace(from, to);
        }
        // Harmless differences; a position that was taken away stays away.
        body = body
            .replace("<C1>64.7373</C1>", &format!("<C1>{ra:.4}</C1>"))
            .replace("<C2>13.3517</C2>", &format!("<C2>{dec:.4}</C2>"))
            .replace("<Error2Radius>0.0500<", &format!("<Error2Radius>{radius:.4}<"));
        let at = burst().1 + Duration::seconds(delay_s);
        let reading = read(body.as_bytes(), Channel::Voevent, at);
        prop_assert_ne!(reading.verdict, Verdict::Act, "{}", reading.reason);
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        let outcome = book.insert(&reading);
        if let Some(event) = outcome.event.and_then(|id| book.event(id)) {
            let decision = decide(&event, &[wanting("")], &UnitCapabilities::with_field(0.4), at);
            prop_assert!(decision.followed.is_none(), "{:?}", decision);
        }
    }

    /// The other way round: the eager strategy does follow the packet with nothing against it.
    #[test]
    fn the_same_packet_without_any_of_that_is_acted_upon(dec in -80.0..80.0_f64, delay_s in 2..36_000_i64) {
        let body = swift().replace("<C2>13.3517</C2>", &format!("<C2>{dec:.4}</C2>"));
        let at = burst().1 + Duration::seconds(delay_s);
        let reading = read(body.as_bytes(), Channel::Voevent, at);
        prop_assert_eq!(reading.verdict, Verdict::Act, "{}", reading.reason);
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        let id = book_event(&mut book, &reading);
        let event = book.event(id).unwrap();
        let decision = decide(&event, &[wanting("")], &UnitCapabilities::with_field(0.4), at);
        prop_assert!(decision.followed.is_some(), "{:?}", decision);
    }

    /// Whatever an event is made of, these states of it are not followed.
    #[test]
    fn no_strategy_follows_a_forbidden_event(
        retracted in any::<bool>(),
        test in any::<bool>(),
        placeless in any::<bool>(),
        no_grb in any::<bool>(),
        delay_s in 0..170_000_i64,
    ) {
        let (mut event, _) = burst();
        if retracted { event.state = EventState::Retracted; }
        event.is_test = test;
        if placeless { event.best = None; }
        if no_grb { event.flags.insert(Flag::NotAGrb); }
        let now = event.t0.unwrap() + Duration::seconds(delay_s);
        let decision = decide(&event, &[wanting("")], &UnitCapabilities::with_field(0.4), now);
        prop_assert_eq!(decision.followed.is_none(), retracted || test || placeless || no_grb);
    }
}

fn book_event(book: &mut EventBook, reading: &alidade_alerts::Reading) -> alidade_alerts::EventId {
    book.insert(reading).event.unwrap()
}

#[test]
fn a_later_notice_that_it_was_no_burst_ends_the_observation() {
    let (_, at) = burst();
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    let unit = UnitCapabilities::with_field(0.4);
    let first = book_event(&mut book, &read(swift().as_bytes(), Channel::Voevent, at));
    let event = book.event(first).unwrap();
    let strategy = [wanting("")];
    let before = decide(&event, &strategy, &unit, at).followed.unwrap();
    let update = swift()
        .replace("1125809-092", "1125809-093")
        .replace(FORBIDDEN[2].0, FORBIDDEN[2].1);
    let later = at + Duration::seconds(100);
    let touched = book
        .insert(&read(update.as_bytes(), Channel::Voevent, later))
        .event
        .unwrap();
    assert_eq!(touched, first, "the same trigger");
    let decision = decide(&book.event(touched).unwrap(), &strategy, &unit, later);
    let revision = alidade_alerts::strategy::revise(&before, &decision, unit.fov_deg);
    assert!(
        matches!(revision, alidade_alerts::strategy::Revision::Cancel { .. }),
        "{revision:?}"
    );
}
