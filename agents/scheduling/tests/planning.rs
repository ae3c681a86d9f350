//! A night from sky to plan: rules kept, reasons given, re-plans that hold what must be held.

use alidade_scheduling::ephemeris::{add_seconds, seconds_between};
use alidade_scheduling::{
    After, Cause, Constraints, GroupRule, Icrs, KeptBlock, KeptKind, Plan, PlanOptions, Problem, ProblemError, Reason,
    Request, Site, Span, plan, separation_deg, verify,
};
use chrono::{DateTime, TimeZone, Utc};

fn night() -> Span {
    let start = Utc.with_ymd_and_hms(2027, 3, 14, 23, 53, 0).unwrap();
    Span::new(start, add_seconds(start, 35_880.0))
}

fn at(s: f64) -> DateTime<Utc> {
    add_seconds(night().start, s)
}

fn problem() -> Problem {
    Problem::new(Site::new(-29.2567, -70.7346, 2375.0), night(), -12.0)
}

/// A target that is high for most of the night.
fn request(id: &str, user: &str, duration_s: f64, priority: f64) -> Request {
    let mut r = Request::new(id, user, Icrs::new(165.0, -35.0), duration_s, priority);
    r.overhead_s = 60.0;
    r.constraints = Constraints {
        min_alt_deg: 30.0,
        ..Constraints::default()
    };
    r
}

/// `n` targets over the sky, some in windows, from a fixed recurrence.
fn crowd(n: usize) -> Problem {
    let mut p = problem();
    let mut x = 12_345u64;
    let mut draw = |n: u64| {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % n
    };
    for k in 0..n {
        let (ra, dec) = (draw(3600) as f64 / 10.0, draw(1200) as f64 / 10.0 - 85.0);
        let mut r = Request::new(format!("r{k}"), format!("u{}", k % 4), Icrs::new(ra, dec), 0.0, 1.0);
        r.duration_s = (120 + draw(2400)) as f64;
        r.priority = (1 + draw(10)) as f64;
        r.overhead_s = 45.0;
        r.constraints = Constraints {
            min_alt_deg: 25.0,
            moon_sep_deg: draw(60) as f64,
            ..Constraints::default()
        };
        if k % 3 == 0 {
            let open = draw(30_000) as f64;
            r.windows = vec![Span::new(at(open), at(open + 5400.0))];
        }
        p.requests.push(r);
    }
    p
}

fn made(p: &Problem) -> Plan {
    plan(
        p,
        PlanOptions {
            iterations: 500,
            ..PlanOptions::default()
        },
    )
    .expect("the problem is valid")
}

fn reason<'a>(plan: &'a Plan, id: &str) -> &'a Reason {
    &plan
        .unplanned
        .iter()
        .find(|u| u.id == id)
        .unwrap_or_else(|| panic!("{id} is planned"))
        .reason
}

fn start(plan: &Plan, id: &str) -> f64 {
    let block = plan
        .planned
        .iter()
        .find(|b| b.id == id)
        .unwrap_or_else(|| panic!("{id} is not planned"));
    seconds_between(night().start, block.start)
}

#[test]
fn a_crowded_night_keeps_every_rule_and_accounts_for_every_request() {
    let mut p = crowd(150);
    p.quotas_s = (0..4).map(|u| (format!("u{u}"), 7000.0)).collect();
    let plan = made(&p);
    assert_eq!(plan.planned.len() + plan.unplanned.len(), p.requests.len());
    assert_eq!(verify(&p, &plan), Ok(()));
    for pair in plan.planned.windows(2) {
        assert!(seconds_between(pair[0].end, pair[1].start) >= 45.0);
    }
    for block in &plan.planned {
        let r = p.requests.iter().find(|r| r.id == block.id).unwrap();
        assert!((seconds_between(block.start, block.end) - r.duration_s).abs() < 1e-6);
        assert!(block.start >= p.night.start && block.end <= p.night.end);
        let inside = |w: &Span| w.start <= block.start && block.end <= w.end;
        assert!(r.windows.is_empty() || r.windows.iter().any(inside), "{}", r.id);
        assert!(block.delta_tl_s >= 0.0 && block.delta_tr_s >= 0.0);
    }
    assert!(plan.used_s.values().all(|s| *s <= 7000.0));
    assert!(plan.gap < 0.05 && plan.objective <= plan.upper_bound);
    assert!(plan.unplanned.iter().all(|u| !u.sentence.is_empty()));
}

#[test]
fn a_block_may_use_its_slack() {
    let p = crowd(60);
    let first = made(&p);
    for block in &first.planned {
        for shift in [-block.delta_tl_s.floor(), block.delta_tr_s.floor()] {
            let mut moved = first.clone();
            let b = moved.planned.iter_mut().find(|b| b.id == block.id).unwrap();
            (b.start, b.end) = (add_seconds(b.start, shift), add_seconds(b.end, shift));
            assert_eq!(verify(&p, &moved), Ok(()), "{} by {shift}", block.id);
            let r = p.requests.iter().find(|r| r.id == block.id).unwrap();
            let b = moved.planned.iter().find(|b| b.id == block.id).unwrap();
            assert!(r.windows.is_empty() || r.windows.iter().any(|w| w.start <= b.start && b.end <= w.end));
            for pair in moved.planned.windows(2) {
                assert!(seconds_between(pair[0].end, pair[1].start) >= 44.999);
            }
        }
    }
}

#[test]
fn each_kind_of_no_is_told_apart() {
    let mut p = problem();
    let mut add = |id: &str, change: &dyn Fn(&mut Request)| {
        let mut r = request(id, "a", 1200.0, 5.0);
        change(&mut r);
        p.requests.push(r);
    };
    add("north", &|r| r.target = Icrs::new(165.0, 70.0));
    add("long", &|r| r.duration_s = 40_000.0);
    add("yesterday", &|r| {
        r.windows = vec![Span::new(at(-90_000.0), at(-80_000.0))]
    });
    add("short-window", &|r| r.windows = vec![Span::new(at(7200.0), at(7800.0))]);
    add("low", &|r| r.constraints.max_airmass = Some(1.0001));
    add("east", &|r| r.constraints.hour_angle_deg = Some((-170.0, -160.0)));
    add("early", &|r| r.windows = vec![Span::new(at(0.0), at(1500.0))]);
    p.now = Some(at(3600.0));
    let plan = made(&p);
    assert!(matches!(reason(&plan, "north"), Reason::NeverRises { .. }));
    assert!(matches!(reason(&plan, "long"), Reason::LongerThanNight { .. }));
    assert!(matches!(
        reason(&plan, "yesterday"),
        Reason::WindowClosed { longest_s: 0.0, .. }
    ));
    assert!(matches!(
        reason(&plan, "short-window"),
        Reason::WindowClosed { longest_s: 600.0, .. }
    ));
    assert!(matches!(
        reason(&plan, "low"),
        Reason::NeverRises { .. } | Reason::Constraint { .. }
    ));
    assert!(matches!(
        reason(&plan, "east"),
        Reason::Constraint {
            cause: Cause::HourAngle,
            ..
        }
    ));
    assert!(matches!(
        reason(&plan, "early"),
        Reason::NoTimeLeft { last_start: Some(_) }
    ));
    let north = plan.unplanned.iter().find(|u| u.id == "north").unwrap();
    assert!(north.exclusions.iter().any(|e| e.cause == Cause::BelowAltitude));
}

#[test]
fn the_moon_is_named_when_it_is_the_cause() {
    let mut p = problem();
    let moon = alidade_scheduling::moon(&p.site, at(3600.0));
    let mut r = request("beside-the-moon", "a", 600.0, 5.0);
    r.target = Icrs::new(moon.ra_deg, moon.dec_deg);
    r.constraints = Constraints {
        min_alt_deg: 0.0,
        moon_sep_deg: 20.0,
        ..Constraints::default()
    };
    assert!(separation_deg(moon.ra_deg, moon.dec_deg, r.target.ra_deg, r.target.dec_deg) < 1e-6);
    p.requests.push(r);
    let plan = made(&p);
    assert!(matches!(
        reason(&plan, "beside-the-moon"),
        Reason::Constraint {
            cause: Cause::MoonTooClose,
            ..
        }
    ));
}

#[test]
fn an_exhausted_quota_is_told_with_its_numbers() {
    let mut p = problem();
    p.requests = vec![
        request("a1", "a", 1800.0, 9.0),
        request("a2", "a", 1800.0, 5.0),
        request("b1", "b", 600.0, 1.0),
    ];
    p.quotas_s = [("a".to_owned(), 2000.0)].into();
    let plan = made(&p);
    assert_eq!(plan.planned.len(), 2);
    let expected = Reason::QuotaExhausted {
        user: "a".into(),
        quota_s: 2000.0,
        used_s: 1800.0,
        needed_s: 1800.0,
    };
    assert_eq!(*reason(&plan, "a2"), expected);
    // An alert of the same user is not charged.
    p.requests[1].charged = false;
    assert_eq!(made(&p).planned.len(), 3);
}

#[test]
fn the_displaced_name_their_displacers() {
    let mut p = problem();
    let window = vec![Span::new(at(7200.0), at(9000.0))];
    for (id, priority) in [("strong", 9.0), ("weak", 2.0)] {
        p.requests.push(Request {
            windows: window.clone(),
            ..request(id, "a", 1500.0, priority)
        });
    }
    let plan = made(&p);
    let Reason::Displaced {
        by, value, their_value, ..
    } = reason(&plan, "weak")
    else {
        panic!("{:?}", plan.unplanned)
    };
    assert_eq!(
        (by.as_slice(), *value, *their_value),
        (&["strong".to_owned()][..], 3000.0, 13_500.0)
    );
}

#[test]
fn a_re_plan_leaves_the_past_and_the_running_block_alone() {
    let mut p = crowd(80);
    let first = made(&p);
    let running = first.planned[first.planned.len() / 2].clone();
    let now = add_seconds(running.start, 30.0);
    p.now = Some(now);
    p.kept.push(KeptBlock {
        id: running.id.clone(),
        kind: KeptKind::Fixed,
        start: running.start,
        end: running.end,
        overhead_s: 0.0,
        charge: None,
        unit: None,
    });
    let second = made(&p);
    assert!(second.planned.iter().all(|b| b.id != running.id));
    assert!(second.unplanned.iter().all(|u| u.id != running.id));
    assert!(
        second
            .planned
            .iter()
            .all(|b| seconds_between(running.end, b.start) >= 45.0)
    );
    assert!(!second.planned.is_empty());
}

#[test]
fn promises_are_kept_when_they_cost_little() {
    let mut p = crowd(80);
    let first = made(&p);
    let promised = |b: &alidade_scheduling::Planned| KeptBlock {
        id: b.id.clone(),
        kind: KeptKind::Promised,
        start: b.start,
        end: b.end,
        overhead_s: 45.0,
        charge: None,
        unit: None,
    };
    p.kept = first.planned.iter().map(promised).collect();
    // A newcomer that takes ten minutes somewhere.
    p.requests.push(Request {
        priority: 20.0,
        ..request("newcomer", "u0", 600.0, 20.0)
    });
    let second = made(&p);
    let held = first.planned.iter().filter(|b| {
        second
            .planned
            .iter()
            .any(|c| c.id == b.id && seconds_between(b.start, c.start).abs() < 120.0)
    });
    let held = held.count();
    assert!(second.planned.iter().any(|b| b.id == "newcomer"));
    assert!(
        held * 10 >= first.planned.len() * 7,
        "{held} of {}",
        first.planned.len()
    );
}

#[test]
fn a_promised_start_is_held_to_the_second_where_nothing_changed() {
    let mut p = problem();
    p.requests.push(request("kept", "a", 900.0, 5.0));
    let promised = at(9_017.0);
    p.kept.push(KeptBlock {
        id: "kept".into(),
        kind: KeptKind::Promised,
        start: promised,
        end: add_seconds(promised, 900.0),
        overhead_s: 60.0,
        charge: None,
        unit: None,
    });
    assert_eq!(made(&p).planned[0].start, promised);
}

#[test]
fn a_free_night_honours_the_preferred_start() {
    let mut p = problem();
    let mut r = request("at-transit", "a", 1200.0, 5.0);
    r.preferred = Some(at(15_000.0));
    p.requests.push(r);
    let plan = made(&p);
    assert!((start(&plan, "at-transit") - 15_000.0).abs() <= 60.0);
}

#[test]
fn air_mass_weight_draws_a_target_to_its_culmination() {
    let mut p = problem();
    p.weights.airmass = 0.5;
    p.requests.push(request("high", "a", 1200.0, 5.0));
    let plan = made(&p);
    let middle = add_seconds(plan.planned[0].start, 600.0);
    let here = alidade_scheduling::altaz(&p.site, &p.requests[0].target, middle);
    assert!(here.hour_angle_deg.abs() < 3.0, "{here:?}");
}

#[test]
fn a_follower_waits_for_the_one_it_follows() {
    let mut p = problem();
    let mut second = request("second", "a", 600.0, 9.0);
    second.after = Some(After {
        id: "first".into(),
        min_gap_s: 1800.0,
        max_gap_s: Some(3600.0),
    });
    p.requests = vec![second, request("first", "a", 600.0, 2.0)];
    let made_first = made(&p);
    let gap = start(&made_first, "second") - start(&made_first, "first") - 600.0;
    assert!((1800.0..=3600.0).contains(&gap), "{gap}");
    p.requests[1].target = Icrs::new(165.0, 70.0);
    let without = made(&p);
    assert!(without.planned.is_empty());
    assert_eq!(
        *reason(&without, "second"),
        Reason::AfterOther {
            other: "first".into(),
            other_planned: false
        }
    );
}

#[test]
fn a_group_is_planned_in_its_numbers_or_not_at_all() {
    let mut p = problem();
    for k in 0..3 {
        let mut r = request(&format!("g{k}"), "a", 600.0, 5.0);
        r.group = Some("g".into());
        if k > 0 {
            r.windows = vec![Span::new(at(7200.0), at(7900.0))];
        }
        p.requests.push(r);
    }
    p.groups.insert(
        "g".into(),
        GroupRule {
            at_least: 3,
            at_most: None,
        },
    );
    let plan = made(&p);
    assert!(plan.planned.is_empty());
    assert!(matches!(
        reason(&plan, "g0"),
        Reason::GroupIncomplete { at_least: 3, .. }
    ));
    p.groups.insert(
        "g".into(),
        GroupRule {
            at_least: 0,
            at_most: Some(1),
        },
    );
    let one = made(&p);
    assert_eq!(one.planned.len(), 1);
    assert!(
        one.unplanned
            .iter()
            .any(|u| matches!(u.reason, Reason::GroupFull { at_most: 1, .. }))
    );
}

#[test]
fn equal_input_gives_the_same_plan_to_the_byte() {
    let p = crowd(100);
    let text = || serde_json::to_string(&made(&p)).unwrap();
    assert_eq!(text(), text());
}

#[test]
fn a_plan_survives_json() {
    let plan = made(&crowd(30));
    let back: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(back.planned, plan.planned);
    assert_eq!(back.unplanned.len(), plan.unplanned.len());
}

#[test]
fn impossible_input_is_refused_with_its_place() {
    let refused = |change: &dyn Fn(&mut Problem)| {
        let mut p = problem();
        p.requests.push(request("x", "a", 600.0, 5.0));
        change(&mut p);
        plan(&p, PlanOptions::default()).unwrap_err()
    };
    let what = |e: ProblemError| e.to_string();
    assert!(what(refused(&|p| p.requests[0].target.ra_deg = f64::NAN)).contains("right ascension"));
    assert!(what(refused(&|p| p.requests[0].duration_s = -1.0)).contains("duration"));
    assert!(what(refused(&|p| p.night.end = p.night.start)).contains("night"));
    let twice = refused(&|p| {
        let copy = p.requests[0].clone();
        p.requests.push(copy);
    });
    assert_eq!(twice, ProblemError::DuplicateId("x".into()));
    assert_eq!(refused(&|p| p.site.lat_deg = 91.0), ProblemError::Site("latitude"));
}
