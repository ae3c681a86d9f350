//! The recursion against Monte Carlo and closed forms, and nights from the sky.

use super::*;
use crate::ephemeris::{Icrs, add_seconds};
use chrono::TimeZone;

/// Uniform in [0, 1): Knuth's MMIX linear congruence, its high bits.
struct Draw(u64);

impl Draw {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn nights(n: u64, usable: impl Fn(u64) -> bool) -> Vec<NightAhead> {
    let first = NaiveDate::from_ymd_opt(2027, 1, 20).unwrap();
    (0..n)
        .map(|k| NightAhead {
            date: first + Days::new(k),
            usable: usable(k),
        })
        .collect()
}

/// Share of simulated lives that complete. `tonight`: a clear first night that gives a visit, or not.
fn simulated(nights: &[NightAhead], climate: &Climate, need: &Need, tonight: Option<bool>, draw: &mut Draw) -> f64 {
    const LIVES: u32 = 60_000;
    let mut completed = 0;
    for _ in 0..LIVES {
        let (mut left, mut wait, mut clear) = (need.visits, need.wait_nights, false);
        for (n, night) in nights.iter().enumerate() {
            let p = if n == 0 {
                need.clear_tonight
                    .map_or(climate.clear_on(night.date), |c| f64::from(u8::from(c)))
            } else {
                climate.clear_after(night.date, clear)
            };
            clear = draw.unit() < p;
            let mut visit = clear && night.usable && wait == 0 && left > 0 && draw.unit() < need.access();
            if let (0, Some(forced)) = (n, tonight) {
                (clear, visit) = (true, forced);
            }
            if visit {
                left -= 1;
                wait = need.every_nights.max(1);
            }
            wait = wait.saturating_sub(1);
        }
        completed += u32::from(left == 0);
    }
    f64::from(completed) / f64::from(LIVES)
}

#[test]
fn the_recursion_agrees_with_sixty_thousand_simulated_lives() {
    let mut draw = Draw(5);
    let mut clear = [0.55; 12];
    clear[1] = 0.35;
    let cases = [
        (
            30,
            Climate {
                clear,
                persistence: 0.4,
            },
            Need {
                visits: 4,
                every_nights: 3,
                load: 1.6,
                ..Need::once()
            },
        ),
        (
            12,
            Climate {
                clear,
                persistence: 0.0,
            },
            Need {
                visits: 2,
                wait_nights: 3,
                ..Need::once()
            },
        ),
        (
            45,
            Climate {
                clear,
                persistence: 0.7,
            },
            Need {
                visits: 6,
                every_nights: 2,
                load: 2.5,
                ..Need::once()
            },
        ),
        (
            8,
            Climate {
                clear,
                persistence: 0.5,
            },
            Need {
                clear_tonight: Some(false),
                load: 1.2,
                ..Need::once()
            },
        ),
    ];
    for (n, climate, need) in cases {
        let nights = nights(n, |k| k % 5 != 3);
        let exact = outlook(&nights, &climate, &need);
        let drawn = simulated(&nights, &climate, &need, None, &mut draw);
        // Four standard errors of 60,000 lives are 0.008.
        assert!(
            (exact.probability - drawn).abs() < 0.01,
            "{n}: {} {drawn}",
            exact.probability
        );
        let without = simulated(&nights, &climate, &need, Some(false), &mut draw);
        assert!(
            (exact.probability_without_tonight - without).abs() < 0.01,
            "{n}: {exact:?} {without}"
        );
        if need.wait_nights == 0 && need.clear_tonight.is_none() {
            let with = simulated(&nights, &climate, &need, Some(true), &mut draw);
            assert!(
                (exact.urgency - (with - without)).abs() < 0.015,
                "{n}: {exact:?} {with} {without}"
            );
        }
    }
}

#[test]
fn independent_nights_follow_the_closed_form() {
    // One visit in n nights of which each is missed with 1 - p a.
    let need = Need {
        load: 2.0,
        ..Need::once()
    };
    let o = outlook(&nights(10, |_| true), &Climate::even(0.6, 0.0), &need);
    assert!((o.probability - (1.0 - 0.7f64.powi(10))).abs() < 1e-12);
    assert!((o.probability_without_tonight - (1.0 - 0.7f64.powi(9))).abs() < 1e-12);
    assert!((o.urgency - 0.7f64.powi(9)).abs() < 1e-12);
    assert_eq!((o.nights_left, o.usable_nights), (10, 10));
    assert!((o.clear_usable_nights - 6.0).abs() < 1e-12);
}

#[test]
fn tonight_or_never_is_urgent_and_the_hopeless_is_not() {
    let climate = Climate::even(0.7, 0.3);
    let last = outlook(&nights(1, |_| true), &climate, &Need::once());
    assert_eq!((last.urgency, last.probability_without_tonight), (1.0, 0.0));
    assert!((last.probability - 0.7).abs() < 1e-12);
    let hopeless = outlook(
        &nights(3, |_| true),
        &climate,
        &Need {
            visits: 4,
            ..Need::once()
        },
    );
    assert_eq!((hopeless.probability, hopeless.urgency), (0.0, 0.0));
    let done = outlook(
        &nights(3, |_| true),
        &climate,
        &Need {
            visits: 0,
            ..Need::once()
        },
    );
    assert_eq!((done.probability, done.urgency), (1.0, 0.0));
    let over = outlook(&[], &climate, &Need::once());
    assert_eq!((over.probability, over.nights_left), (0.0, 0));
    let not_tonight = outlook(&nights(5, |k| k > 0), &climate, &Need::once());
    assert_eq!(not_tonight.urgency, 0.0);
}

#[test]
fn more_nights_clearer_skies_and_less_competition_never_hurt() {
    let of = |n: u64, p: f64, load: f64, visits: u32| {
        let need = Need {
            visits,
            load,
            every_nights: 2,
            ..Need::once()
        };
        outlook(&nights(n, |k| k % 3 != 1), &Climate::even(p, 0.4), &need).probability
    };
    for k in 1..20 {
        let x = f64::from(k) / 20.0;
        assert!(of(20, x, 1.5, 3) <= of(20, x + 0.05, 1.5, 3) + 1e-12);
        assert!(of(20, 0.5, 1.0 + x, 3) >= of(20, 0.5, 1.05 + x, 3) - 1e-12);
        assert!(of(k as u64 + 4, 0.5, 1.5, 3) <= of(k as u64 + 5, 0.5, 1.5, 3) + 1e-12);
        assert!(of(20, 0.5, 1.5, k) >= of(20, 0.5, 1.5, k + 1) - 1e-12);
    }
}

#[test]
fn a_persistent_cloud_costs_more_than_a_passing_one() {
    let need = Need {
        clear_tonight: Some(false),
        ..Need::once()
    };
    let of = |persistence| outlook(&nights(4, |_| true), &Climate::even(0.6, persistence), &need).probability;
    assert!(of(0.0) > of(0.4) && of(0.4) > of(0.8));
}

#[test]
fn the_season_of_a_target_ends_when_it_sets_with_the_sun() {
    let site = Site::new(-29.2567, -70.7346, 2375.0);
    let first = NaiveDate::from_ymd_opt(2027, 3, 1).unwrap();
    let season = Season::new(&site, first, 120);
    let start = Utc.with_ymd_and_hms(2027, 3, 1, 20, 0, 0).unwrap();
    let life = Span::new(start, add_seconds(start, 110.0 * 86_400.0));
    // Orion's right ascension, south enough: an evening object in March, behind the Sun in June.
    let mut r = Request::new("orion", "u", Icrs::new(84.0, -20.0), 3600.0, 1.0);
    r.constraints.min_alt_deg = 30.0;
    r.constraints.sun_max_alt_deg = Some(-12.0);
    let nights = season.of(&r, &HorizonMask::default(), -12.0, life);
    assert!(nights.len() >= 109 && nights.len() <= 111, "{}", nights.len());
    let usable = nights.iter().take_while(|n| n.usable).count();
    assert!((40..80).contains(&usable), "{usable}");
    assert!(nights[usable..].iter().all(|n| !n.usable));
    let o = outlook(
        &nights,
        &Climate::even(0.7, 0.3),
        &Need {
            visits: 10,
            every_nights: 3,
            ..Need::once()
        },
    );
    assert!(o.probability > 0.5 && o.usable_nights == usable, "{o:?}");
    let soon = Span::new(life.start, add_seconds(life.start, 10.0 * 86_400.0));
    let need = Need::once();
    let alone = outlook_of(
        &site,
        &HorizonMask::default(),
        (&r, -12.0),
        soon,
        &Climate::even(0.7, 0.3),
        &need,
    );
    assert_eq!(
        alone,
        outlook(
            &season.of(&r, &HorizonMask::default(), -12.0, soon),
            &Climate::even(0.7, 0.3),
            &need
        )
    );
    assert!(alone.nights_left >= 10 && alone.probability > 0.99);
    // A window of one night is its only chance.
    r.windows = vec![Span::new(
        add_seconds(start, 86_400.0),
        add_seconds(start, 2.0 * 86_400.0),
    )];
    assert_eq!(
        season
            .of(&r, &HorizonMask::default(), -12.0, life)
            .iter()
            .filter(|n| n.usable)
            .count(),
        1
    );
}

#[test]
fn impossible_climates_are_refused() {
    assert_eq!(Climate::even(0.5, 0.3).check(), Ok(()));
    assert!(Climate::even(1.1, 0.3).check().is_err());
    assert!(Climate::even(0.5, 1.0).check().is_err());
    assert!(Climate::even(f64::NAN, 0.0).check().is_err());
}
