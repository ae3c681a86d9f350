//! Changes between targets that take the time the telescope needs, and several telescopes in one plan.
#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use alidade_scheduling::ephemeris::{add_seconds, seconds_between};
use alidade_scheduling::overheads::{Axes, Overheads, travel_s};
use alidade_scheduling::{
    After, Constraints, GroupRule, Icrs, KeptBlock, KeptKind, Plan, PlanOptions, Problem, ProblemError, Reason,
    Request, Site, Span, Unit, altaz, plan, verify,
};
use chrono::{DateTime, TimeZone, Utc};

fn night() -> Span {
    let start = Utc.with_ymd_and_hms(2027, 3, 14, 23, 53, 0).unwrap();
    Span::new(start, add_seconds(start, 35_880.0))
}

fn at(s: f64) -> DateTime<Utc> {
    add_seconds(night().start, s)
}

fn offset(t: DateTime<Utc>) -> f64 {
    seconds_between(night().start, t)
}

/// A target that is high for most of the night.
fn request(id: &str, user: &str, duration_s: f64, priority: f64) -> Request {
    let mut r = Request::new(id, user, Icrs::new(165.0, -35.0), duration_s, priority);
    r.constraints.min_alt_deg = 30.0;
    r
}

fn empty() -> Problem {
    Problem::new(Site::new(-29.2567, -70.7346, 2375.0), night(), -12.0)
}

/// `n` targets over the sky, some in windows, from a fixed recurrence.
fn crowd(n: usize, seed: u64) -> Problem {
    let mut p = empty();
    let mut x = seed;
    let mut draw = |n: u64| {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % n
    };
    for k in 0..n {
        let (ra, dec) = (draw(3600) as f64 / 10.0, draw(1200) as f64 / 10.0 - 85.0);
        let mut r = Request::new(format!("r{k}"), format!("u{}", k % 4), Icrs::new(ra, dec), 1.0, 1.0);
        r.duration_s = (60 + draw(900)) as f64 + 0.25 * draw(4) as f64;
        r.priority = (1 + draw(10)) as f64;
        r.constraints = Constraints {
            min_alt_deg: 25.0,
            moon_sep_deg: draw(60) as f64,
            ..Constraints::default()
        };
        if k % 3 == 0 {
            let open = draw(30_000) as f64;
            r.windows = vec![Span::new(at(open), at(open + 5400.0))];
        }
        let filters = ["g", "r", "i"].map(str::to_owned);
        if k % 5 != 0 {
            r.filters = Some((filters[draw(3) as usize].clone(), filters[draw(3) as usize].clone()));
        }
        p.requests.push(r);
    }
    p
}

fn slow() -> Overheads {
    Overheads {
        axis1_deg_s: 1.5,
        axis1_deg_s2: 0.4,
        axis2_deg_s: 1.0,
        axis2_deg_s2: 0.4,
        settle_s: 4.0,
        flip_s: 90.0,
        dome_deg_s: 2.5,
        filter_s: 9.0,
        readout_s: 6.0,
        focus_s: 20.0,
        ..Overheads::default()
    }
}

fn made(p: &Problem) -> Plan {
    let options = PlanOptions {
        iterations: 400,
        explain: false,
        ..PlanOptions::default()
    };
    plan(p, options).unwrap()
}

fn turn(a: f64, b: f64) -> f64 {
    let d = (a - b).rem_euclid(360.0);
    d.min(360.0 - d)
}

/// The setup between two blocks, from the full ephemeris and the documented formula, written again.
fn needed_s(
    p: &Problem,
    o: &Overheads,
    a: (&Request, DateTime<Utc>, DateTime<Utc>),
    b: (&Request, DateTime<Utc>),
) -> f64 {
    let began = altaz(&p.site, &a.0.target, a.1);
    let (from, to) = (altaz(&p.site, &a.0.target, a.2), altaz(&p.site, &b.0.target, b.1));
    let (d1, d2) = match o.axes {
        Axes::Equatorial => (
            turn(from.hour_angle_deg, to.hour_angle_deg),
            (a.0.target.dec_deg - b.0.target.dec_deg).abs(),
        ),
        Axes::AltAz => (turn(from.az_deg, to.az_deg), (from.alt_deg - to.alt_deg).abs()),
    };
    let slew = travel_s(d1, o.axis1_deg_s, o.axis1_deg_s2).max(travel_s(d2, o.axis2_deg_s, o.axis2_deg_s2));
    let sides = [began.hour_angle_deg, to.hour_angle_deg];
    let flips =
        o.axes == Axes::Equatorial && (sides[0] < 0.0) != (sides[1] < 0.0) && sides.iter().all(|h| h.abs() > 0.05);
    let flip = if flips { o.flip_s } else { 0.0 };
    let dome = if o.dome_deg_s > 0.0 {
        turn(from.az_deg, to.az_deg) / o.dome_deg_s
    } else {
        0.0
    };
    let changes =
        a.0.filters
            .as_ref()
            .zip(b.0.filters.as_ref())
            .is_some_and(|(x, y)| x.1 != y.0);
    let (filter, focus) = if changes { (o.filter_s, o.focus_s) } else { (0.0, 0.0) };
    let settle = if d1 > 0.05 || d2 > 0.05 { o.settle_s } else { 0.0 };
    o.readout_s + (slew + flip).max(dome).max(filter) + settle + focus
}

fn assert_setups(p: &Problem, plan: &Plan, o: &Overheads) {
    let request = |id: &str| p.requests.iter().find(|r| r.id == id).unwrap();
    for (n, b) in plan.planned.iter().enumerate() {
        let Some(a) = plan.planned[..n].iter().rev().find(|a| a.unit == b.unit) else {
            continue;
        };
        let needed = needed_s(p, o, (request(&a.id), a.start, a.end), (request(&b.id), b.start));
        let left = seconds_between(a.end, b.start);
        // Mean and apparent places differ by at most 0.4 degrees since 2000, which moves take a second for.
        assert!(left >= needed - 2.0, "{} after {}: {left} s of {needed}", b.id, a.id);
        assert!(b.setup_s <= left + 1.0 && b.setup_s >= needed - 2.0);
    }
}

#[test]
fn every_change_of_target_has_the_time_that_mount_dome_filter_and_flip_need() {
    let variants = [
        slow(),
        Overheads {
            axes: Axes::AltAz,
            ..slow()
        },
        Overheads {
            dome_deg_s: 0.0,
            flip_s: 240.0,
            ..slow()
        },
    ];
    for (k, o) in variants.into_iter().enumerate() {
        let mut p = crowd(120, 5 + k as u64);
        p.overheads = Some(o);
        p.quotas_s = (0..4).map(|u| (format!("u{u}"), 9000.0)).collect();
        let plan = made(&p);
        assert!(plan.planned.len() > 20, "{}", plan.planned.len());
        assert_eq!(verify(&p, &plan), Ok(()));
        assert_setups(&p, &plan, &o);
        assert!(plan.objective <= plan.upper_bound);
        assert_eq!(plan.planned.len() + plan.unplanned.len(), p.requests.len());
        assert!(plan.used_s.values().all(|s| *s <= 9000.0));
    }
}

#[test]
fn verification_finds_a_block_that_comes_too_soon() {
    let mut p = crowd(60, 3);
    p.overheads = Some(slow());
    let good = made(&p);
    let tight = good
        .planned
        .windows(2)
        .position(|w| seconds_between(w[0].end, w[1].start) - w[1].setup_s < 20.0);
    let n = tight.unwrap() + 1;
    let mut bad = good.clone();
    let early = seconds_between(bad.planned[n - 1].end, bad.planned[n].start) - 1.0;
    (bad.planned[n].start, bad.planned[n].end) = (
        add_seconds(bad.planned[n].start, -early),
        add_seconds(bad.planned[n].end, -early),
    );
    assert!(verify(&p, &bad).is_err());
}

#[test]
fn slack_and_promises_keep_the_setups() {
    let mut p = crowd(80, 11);
    p.overheads = Some(slow());
    let first = made(&p);
    for (n, block) in first.planned.iter().enumerate() {
        for shift in [-block.delta_tl_s.floor(), block.delta_tr_s.floor()] {
            let mut moved = first.clone();
            let b = &mut moved.planned[n];
            (b.start, b.end) = (add_seconds(b.start, shift), add_seconds(b.end, shift));
            assert_eq!(verify(&p, &moved), Ok(()), "{} by {shift}", block.id);
        }
    }
    p.now = Some(at(9000.0));
    p.kept = first
        .planned
        .iter()
        .filter(|b| b.start > at(9000.0))
        .map(|b| promised(b, None))
        .collect();
    let running = first
        .planned
        .iter()
        .find(|b| b.start < at(9000.0) && b.end > at(9000.0));
    if let Some(b) = running {
        p.kept.push(KeptBlock {
            kind: KeptKind::Fixed,
            overhead_s: 0.0,
            ..promised(b, None)
        });
    }
    let second = made(&p);
    assert_eq!(verify(&p, &second), Ok(()));
    assert_setups(&p, &second, &slow());
    if let (Some(b), Some(next)) = (running, second.planned.first()) {
        let of = |id: &str| p.requests.iter().find(|r| r.id == id).unwrap();
        let needed = needed_s(&p, &slow(), (of(&b.id), b.start, b.end), (of(&next.id), next.start));
        assert!(seconds_between(b.end, next.start) >= needed - 2.0);
    }
}

fn promised(b: &alidade_scheduling::Planned, unit: Option<String>) -> KeptBlock {
    KeptBlock {
        id: b.id.clone(),
        kind: KeptKind::Promised,
        start: b.start,
        end: b.end,
        overhead_s: b.setup_s,
        charge: None,
        unit,
    }
}

#[test]
fn modelled_changes_gain_time_over_the_longest_change_as_a_constant() {
    let mut p = crowd(300, 17);
    p.overheads = Some(slow());
    let modelled = made(&p);
    let mut constant = p.clone();
    constant.overheads = None;
    constant
        .requests
        .iter_mut()
        .for_each(|r| r.overhead_s = slow().longest_s());
    let safe = made(&constant);
    assert_eq!(verify(&p, &safe), Ok(()));
    assert!(
        modelled.objective > 1.1 * safe.objective,
        "{} {}",
        modelled.objective,
        safe.objective
    );
}

fn two() -> Vec<Unit> {
    let mut big = Unit::new("big");
    big.classes = vec!["wide".into()];
    let mut small = Unit::new("small");
    small.classes = vec!["wide".into(), "fast".into()];
    vec![big, small]
}

/// Blocks of one unit do not overlap, those of a request that names a unit are on it.
fn assert_units(p: &Problem, plan: &Plan) {
    for unit in &p.units {
        let mine: Vec<_> = plan
            .planned
            .iter()
            .filter(|b| b.unit.as_ref() == Some(&unit.name))
            .collect();
        for pair in mine.windows(2) {
            let r = p.requests.iter().find(|r| r.id == pair[1].id).unwrap();
            assert!(seconds_between(pair[0].end, pair[1].start) >= r.overhead_s);
        }
    }
    for b in &plan.planned {
        let r = p.requests.iter().find(|r| r.id == b.id).unwrap();
        let unit = p.units.iter().find(|u| Some(&u.name) == b.unit.as_ref()).unwrap();
        assert!(r.unit.as_ref().is_none_or(|wanted| unit.answers_to(wanted)), "{}", r.id);
        assert!(p.night.start <= b.start && b.end <= p.night.end);
    }
    let mut ids: Vec<&str> = plan.planned.iter().map(|b| b.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), plan.planned.len());
    assert_eq!(verify(p, plan), Ok(()));
}

#[test]
fn two_telescopes_respect_every_assignment_and_do_far_more_than_one() {
    let mut p = crowd(200, 29);
    p.requests.iter_mut().for_each(|r| r.overhead_s = 45.0);
    let one = made(&p);
    p.units = two();
    for (k, r) in p.requests.iter_mut().enumerate() {
        r.unit = [None, Some("big"), Some("small"), Some("wide"), Some("fast")][k % 5].map(str::to_owned);
    }
    let options = PlanOptions {
        iterations: 1200,
        explain: false,
        ..PlanOptions::default()
    };
    let both = plan(&p, options).unwrap();
    assert_units(&p, &both);
    assert!(both.planned.iter().any(|b| b.unit.as_deref() == Some("big")));
    assert!(
        both.objective > 1.4 * one.objective,
        "{} {}",
        both.objective,
        one.objective
    );
    assert!(
        both.objective >= 0.96 * both.upper_bound,
        "{} {}",
        both.objective,
        both.upper_bound
    );
    // Who was displaced is told so at a time of this night, also by the second telescope.
    for u in &both.unplanned {
        if let Reason::Displaced { at, .. } = &u.reason {
            assert!(p.night.start <= *at && *at <= p.night.end, "{}", u.sentence);
        }
    }
    // A quota holds over both.
    p.quotas_s = (0..4).map(|u| (format!("u{u}"), 5000.0)).collect();
    let limited = made(&p);
    assert_units(&p, &limited);
    assert!(limited.used_s.values().all(|s| *s <= 5000.0));
}

#[test]
fn telescopes_with_their_own_movements_keep_them() {
    let mut p = crowd(160, 31);
    p.units = two();
    p.units[0].overheads = Some(slow());
    let nimble = Overheads {
        axis1_deg_s: 10.0,
        axis2_deg_s: 10.0,
        ..Overheads::default()
    };
    p.overheads = Some(nimble);
    let plan = made(&p);
    assert_units(&p, &plan);
    for (unit, o) in [("big", slow()), ("small", nimble)] {
        let mut of = plan.clone();
        of.planned.retain(|b| b.unit.as_deref() == Some(unit));
        assert!(of.planned.len() > 10);
        assert_setups(&p, &of, &o);
    }
}

#[test]
fn followers_and_groups_hold_across_telescopes() {
    let mut p = empty();
    p.units = two();
    let mut second = request("second", "a", 600.0, 9.0);
    second.unit = Some("small".into());
    second.after = Some(After {
        id: "first".into(),
        min_gap_s: 900.0,
        max_gap_s: Some(1800.0),
    });
    let mut first = request("first", "a", 600.0, 2.0);
    first.unit = Some("big".into());
    let mut third = request("third", "a", 600.0, 4.0);
    third.unit = Some("big".into());
    third.after = Some(After {
        id: "second".into(),
        min_gap_s: 60.0,
        max_gap_s: None,
    });
    p.requests = vec![second, first, third];
    for k in 0..4 {
        let mut r = request(&format!("g{k}"), "a", 900.0, 5.0);
        r.group = Some("g".into());
        r.unit = Some(if k % 2 == 0 { "big" } else { "small" }.into());
        p.requests.push(r);
    }
    p.groups.insert(
        "g".into(),
        GroupRule {
            at_least: 3,
            at_most: Some(3),
        },
    );
    let plan = made(&p);
    assert_units(&p, &plan);
    let block = |id: &str| {
        plan.planned
            .iter()
            .find(|b| b.id == id)
            .unwrap_or_else(|| panic!("{id}"))
    };
    let gap = seconds_between(block("first").end, block("second").start);
    assert!((900.0..=1800.0).contains(&gap), "{gap}");
    assert!(seconds_between(block("second").end, block("third").start) >= 60.0);
    assert_eq!(plan.planned.iter().filter(|b| b.id.starts_with('g')).count(), 3);
    assert!(
        plan.unplanned
            .iter()
            .any(|u| matches!(u.reason, Reason::GroupFull { .. }))
    );
}

#[test]
fn a_block_that_runs_stops_its_own_telescope_only() {
    let mut p = empty();
    p.units = two();
    p.now = Some(at(10_000.0));
    p.kept = vec![KeptBlock {
        id: "running".into(),
        kind: KeptKind::Fixed,
        start: at(9_000.0),
        end: at(14_000.0),
        overhead_s: 0.0,
        charge: None,
        unit: Some("big".into()),
    }];
    let window = vec![Span::new(at(10_500.0), at(12_500.0))];
    p.requests.push(Request {
        windows: window,
        ..request("now", "a", 1200.0, 5.0)
    });
    let plan = made(&p);
    assert_eq!(plan.planned[0].unit.as_deref(), Some("small"));
    p.kept[0].unit = None;
    assert!(made(&p).planned.is_empty());
}

#[test]
fn a_promise_is_kept_on_its_telescope() {
    let mut p = crowd(60, 41);
    p.units = two();
    let first = made(&p);
    p.kept = first.planned.iter().map(|b| promised(b, b.unit.clone())).collect();
    let second = made(&p);
    let held = first.planned.iter().filter(|b| {
        second
            .planned
            .iter()
            .any(|c| c.id == b.id && c.unit == b.unit && c.start == b.start)
    });
    assert!(held.count() * 10 >= first.planned.len() * 9);
    assert!(second.objective > first.objective);
}

#[test]
fn unknown_telescopes_and_impossible_rates_are_refused() {
    let refused = |change: &dyn Fn(&mut Problem)| {
        let mut p = empty();
        p.units = two();
        p.requests.push(request("x", "a", 600.0, 5.0));
        change(&mut p);
        plan(&p, PlanOptions::default()).unwrap_err()
    };
    let unknown = refused(&|p| p.requests[0].unit = Some("huge".into()));
    assert_eq!(
        unknown.to_string(),
        "request x asks for the unit huge, which is none of the units and classes here"
    );
    let twice = refused(&|p| p.units[1].name = "big".into());
    assert_eq!(twice, ProblemError::DuplicateUnit("big".into()));
    let rate = refused(&|p| {
        p.overheads = Some(Overheads {
            axis1_deg_s: f64::NAN,
            ..Overheads::default()
        })
    });
    assert!(matches!(rate, ProblemError::Overheads(_)));
    let urgency = refused(&|p| p.requests[0].urgency = 1.5);
    assert!(urgency.to_string().contains("urgency"));
}

#[test]
fn urgency_and_the_balance_of_quotas_decide_between_equals() {
    let mut p = empty();
    let window = vec![Span::new(at(7200.0), at(9000.0))];
    for (id, user) in [("ada", "ada"), ("bea", "bea")] {
        p.requests.push(Request {
            windows: window.clone(),
            ..request(id, user, 1500.0, 5.0)
        });
    }
    p.granted_s = [("ada".to_owned(), 36_000.0), ("bea".to_owned(), 36_000.0)].into();
    p.quotas_s = [("ada".to_owned(), 6_000.0), ("bea".to_owned(), 30_000.0)].into();
    let plan = made(&p);
    assert_eq!(plan.planned[0].id, "bea");
    // 30000/36000 less the mean 36000/72000 is one third, of which the weight takes a fifth.
    assert!((plan.planned[0].value - 7500.0 * (1.0 + 0.2 / 3.0)).abs() < 1e-6);
    assert!(plan.objective <= plan.upper_bound + 1e-9);
    p.requests[0].urgency = 0.9;
    let urgent = made(&p);
    assert_eq!(urgent.planned[0].id, "ada");
    assert!((urgent.planned[0].value - 7500.0 * (1.0 + 0.45 - 0.2 / 3.0)).abs() < 1e-6);
    // What no quota pays for has no balance.
    p.requests
        .iter_mut()
        .for_each(|r| (r.charged, r.urgency) = (false, 0.0));
    assert_eq!(made(&p).objective, 7500.0);
}

#[test]
fn the_night_of_one_telescope_is_the_same_with_and_without_its_name() {
    let mut p = crowd(60, 7);
    p.requests.iter_mut().for_each(|r| r.overhead_s = 30.0);
    let nameless = made(&p);
    p.units = vec![Unit::new("only")];
    let named = made(&p);
    assert_eq!(nameless.objective, named.objective);
    assert!(
        nameless
            .planned
            .iter()
            .zip(&named.planned)
            .all(|(a, b)| a.start == b.start && a.id == b.id)
    );
    assert!(
        named
            .planned
            .iter()
            .all(|b| b.unit.as_deref() == Some("only") && offset(b.start) >= 0.0)
    );
}
