//! The truth table as a whole, kept as a file: every kind of reading in every standing, for both senses, with and without
//! critical value and delays; and walks through it that must hold whatever the readings are.
//!
//! After a deliberate change: `ALIDADE_WRITE=1 cargo test -p alidade-safety --test truth_table`, and read the difference.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::{
    reading::{NoData, Reading},
    time::UtcTime,
};
use alidade_safety::{
    inputs::Inputs,
    overrides::{Override, OverridePolicy, Overrides},
    verdict::{Memory, Rule, Sense, evaluate},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, fmt::Write, path::Path};

fn at(second: f64) -> UtcTime {
    "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
}

fn rule(sense: Sense, critical: bool, delays: bool) -> Rule {
    let (limit, beyond) = match sense {
        Sense::Above => (15.0, 25.0),
        Sense::Below => (60.0, 30.0),
    };
    Rule {
        input: "x".into(),
        sense,
        limit,
        critical: critical.then_some(beyond),
        bad_delay_s: if delays { 30.0 } else { 0.0 },
        good_delay_s: if delays { 600.0 } else { 0.0 },
        max_age_s: 10.0,
        latches: false,
    }
}

/// What may be read, by name.
fn readings(sense: Sense, now: f64) -> Vec<(&'static str, Option<Reading<f64>>)> {
    let (fine, edge, bad, worst) = match sense {
        Sense::Above => (5.0, 15.0, 16.0, 26.0),
        Sense::Below => (90.0, 60.0, 50.0, 20.0),
    };
    let good = |value| Some(Reading::good(value, at(now)));
    let none = |reason| Some(Reading::none(reason, at(now)));
    vec![
        ("fine", good(fine)),
        ("at the limit", good(edge)),
        ("beyond", good(bad)),
        ("critical", good(worst)),
        ("not a number", good(f64::NAN)),
        ("infinite", good(f64::INFINITY)),
        ("fine, 11 s old", Some(Reading::good(fine, at(now - 11.0)))),
        ("fine, 11 s ahead", Some(Reading::good(fine, at(now + 11.0)))),
        ("absent", None),
        ("never read", none(NoData::NeverRead)),
        ("link down", none(NoData::LinkDown)),
        ("timeout", none(NoData::Timeout)),
        ("sensor fault", none(NoData::SensorFault)),
        ("out of range", none(NoData::OutOfRange)),
        ("stale", none(NoData::Stale)),
        ("stuck", none(NoData::Stuck)),
        ("contradiction", none(NoData::Contradiction)),
    ]
}

fn inputs(reading: Option<Reading<f64>>) -> Inputs {
    reading.into_iter().map(|reading| ("x", reading)).collect()
}

/// Ways into the standings of a rule: seconds and values before the reading that is looked at, at second 100.
fn histories(sense: Sense) -> Vec<(&'static str, Vec<(f64, f64)>)> {
    let (fine, bad) = match sense {
        Sense::Above => (5.0, 16.0),
        Sense::Below => (90.0, 50.0),
    };
    vec![
        ("at the start", vec![]),
        ("good before", vec![(50.0, fine)]),
        ("turning for 10 s", vec![(50.0, fine), (90.0, bad)]),
        ("turning for 40 s", vec![(50.0, fine), (60.0, bad)]),
        ("bad before", vec![(50.0, bad)]),
        ("recovering for 50 s", vec![(10.0, bad), (50.0, fine)]),
    ]
}

fn table() -> String {
    let mut text = String::from("# rule | history | reading -> safe? reason\n");
    for sense in [Sense::Above, Sense::Below] {
        for (critical, delays) in [(true, true), (true, false), (false, true), (false, false)] {
            let rule = rule(sense, critical, delays);
            for (history, steps) in histories(sense) {
                for (name, reading) in readings(sense, 100.0) {
                    let mut memory = Memory::default();
                    for (second, value) in &steps {
                        let before = inputs(Some(Reading::good(*value, at(*second))));
                        memory = evaluate(&memory, std::slice::from_ref(&rule), &before, at(*second)).0;
                    }
                    let (_, verdict) = evaluate(&memory, std::slice::from_ref(&rule), &inputs(reading), at(100.0));
                    assert_eq!(verdict.safe, verdict.reasons.is_empty());
                    writeln!(
                        text,
                        "{sense:?}{}{} | {history} | {name} -> {} {}",
                        if critical { " critical" } else { "" },
                        if delays { " delayed" } else { "" },
                        if verdict.safe { "safe" } else { "UNSAFE" },
                        verdict.rows[0].text
                    )
                    .unwrap();
                }
            }
        }
    }
    text
}

#[test]
fn the_truth_table_is_the_one_that_was_agreed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/truth_table.txt");
    let now = table();
    if std::env::var_os("ALIDADE_WRITE").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let agreed = std::fs::read_to_string(&file).unwrap();
    for (number, (agreed, now)) in agreed.lines().zip(now.lines()).enumerate() {
        assert_eq!(agreed, now, "line {}", number + 1);
    }
    assert_eq!(agreed.lines().count(), now.lines().count());
}

#[test]
fn every_kind_of_missing_data_is_unsafe_with_a_reason_of_its_own() {
    let rule = rule(Sense::Above, true, true);
    let mut reasons = std::collections::BTreeSet::new();
    for (name, reading) in readings(Sense::Above, 100.0).into_iter().skip(10) {
        let memory = evaluate(
            &Memory::default(),
            std::slice::from_ref(&rule),
            &inputs(Some(Reading::good(5.0, at(50.0)))),
            at(50.0),
        )
        .0;
        let (_, verdict) = evaluate(&memory, std::slice::from_ref(&rule), &inputs(reading), at(100.0));
        assert!(!verdict.safe, "{name}");
        reasons.insert(verdict.reasons[0].clone());
    }
    assert_eq!(reasons.len(), 7, "{reasons:?}");
}

/// One thing that may happen to an input.
#[derive(Debug, Clone)]
enum Step {
    Value(f64),
    Lost(NoData),
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0.0f64..30.0).prop_map(Step::Value),
        1 => prop::sample::select(vec![NoData::LinkDown, NoData::Timeout, NoData::SensorFault, NoData::Stuck, NoData::Contradiction, NoData::OutOfRange]).prop_map(Step::Lost),
        1 => Just(Step::Nothing),
    ]
}

proptest! {
    /// Safe says: every input has a fresh, finite value, none is critical, and none was beyond its limit or lost within
    /// its good-delay, except for less than its bad-delay.
    #[test]
    fn safe_is_never_said_without_fresh_values_within_their_limits(
        steps in prop::collection::vec((0.2f64..20.0, 0usize..2, step()), 1..120)
    ) {
        let rules = [
            Rule { input: "a".into(), ..rule(Sense::Above, true, true) },
            Rule { input: "b".into(), good_delay_s: 60.0, bad_delay_s: 0.0, ..rule(Sense::Above, false, false) },
        ];
        let mut memory = Memory::distrusting();
        let mut known = Inputs::new();
        // When each input last forbade by itself, without any delay.
        let mut lost: BTreeMap<&str, f64> = BTreeMap::new();
        let mut second = 0.0;
        for (gap, which, step) in steps {
            second += gap;
            let name = ["a", "b"][which];
            match step {
                Step::Value(value) => {
                    known.insert(name, Reading::good(value, at(second)));
                    if value > 25.0 { lost.insert(name, second); }
                }
                Step::Lost(reason) => {
                    known.insert(name, Reading::none(reason, at(second)));
                    lost.insert(name, second);
                }
                Step::Nothing => {}
            }
            let (next, verdict) = evaluate(&memory, &rules, &known, at(second));
            memory = next;
            if verdict.safe {
                for rule in &rules {
                    let reading = known.get(&rule.input).unwrap();
                    prop_assert!(reading.age_s(at(second)).abs() <= rule.max_age_s);
                    let value = reading.value.unwrap();
                    prop_assert!(value.is_finite());
                    prop_assert!(rule.critical.is_none_or(|critical| value <= critical));
                    prop_assert!(rule.bad_delay_s > 0.0 || value <= rule.limit);
                    if let Some(then) = lost.get(rule.input.as_str()).filter(|_| rule.input == "a") {
                        prop_assert!(second - then >= rule.good_delay_s, "lost {} s ago", second - then);
                    }
                }
            }
        }
    }

    /// An override hides one reason and nothing else.
    #[test]
    fn an_override_never_makes_safe_what_another_input_forbids(a in 0.0f64..30.0, b in 0.0f64..30.0, over_b: bool) {
        let rules = ["a", "b"].map(|name| Rule { input: name.into(), ..rule(Sense::Above, false, false) });
        let known = Inputs::from([("a", Reading::good(a, at(0.0))), ("b", Reading::good(b, at(0.0)))]);
        let (_, plain) = evaluate(&Memory::default(), &rules, &known, at(0.0));
        let mut overrides = Overrides::default();
        let policy = OverridePolicy { never: vec![], longest_s: 100.0, attended: false };
        if over_b {
            let wanted = Override { input: "b".into(), who: "ada".into(), reason: "test".into(), until: Some(at(50.0)) };
            overrides.place(wanted, &["a", "b"], &policy, at(0.0)).unwrap();
        }
        let shown = overrides.apply(plain.clone());
        prop_assert_eq!(shown.safe, a <= 15.0 && (b <= 15.0 || over_b));
        prop_assert_eq!(shown.rows.len(), plain.rows.len());
        // And it re-arms.
        prop_assert!(overrides.expire(at(50.0), &policy).len() == usize::from(over_b));
        let (_, again) = evaluate(&Memory::default(), &rules, &known, at(0.0));
        prop_assert_eq!(overrides.apply(again).safe, plain.safe);
    }
}
