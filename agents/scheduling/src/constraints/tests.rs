use super::*;
use chrono::TimeZone;

fn night() -> (Site, Span) {
    let start = Utc.with_ymd_and_hms(2027, 3, 14, 23, 53, 0).unwrap();
    (
        Site::new(-29.2567, -70.7346, 2375.0),
        Span::new(start, add_seconds(start, 35880.0)),
    )
}

#[test]
fn the_edges_of_a_good_stretch_lie_on_the_limit_from_the_inside() {
    let (site, span) = night();
    let sky = Sky::new(&site, span, 60.0);
    let target = Icrs::new(180.0, -30.0);
    let c = Constraints {
        min_alt_deg: 40.0,
        moon_sep_deg: 30.0,
        ..Constraints::default()
    };
    let good = sky.good(&target, &c, &HorizonMask::default(), -12.0);
    assert_eq!(good.len(), 1);
    let (a, b) = good[0];
    for s in [a, b] {
        let alt = crate::ephemeris::altaz(&site, &target, add_seconds(span.start, s)).alt_deg;
        assert!((40.0..40.01).contains(&alt), "{alt}");
    }
    let block = ObservabilityRequest {
        target,
        constraints: c,
        horizon: HorizonMask::default(),
    };
    let at = |s: f64| add_seconds(span.start, s);
    assert_eq!(
        verify_block(&site, &block, -12.0, Span::new(at(a), at(b)), 600.0),
        Ok(())
    );
    let early = verify_block(&site, &block, -12.0, Span::new(at(a - 10.0), at(b)), 600.0);
    assert_eq!(early, Err((at(a - 10.0), Cause::BelowAltitude)));
}

#[test]
fn every_excluded_stretch_names_its_cause_and_the_good_ones_are_the_rest() {
    let (site, span) = night();
    let sky = Sky::new(&site, span, 60.0);
    let target = Icrs::new(180.0, -30.0);
    let c = Constraints {
        min_alt_deg: 40.0,
        hour_angle_deg: Some((-10.0, 20.0)),
        ..Constraints::default()
    };
    let bad = sky.exclusions(&target, &c, &HorizonMask::default(), -12.0);
    assert!(
        bad.iter()
            .any(|e| e.cause == Cause::BelowAltitude && e.limit == Some(40.0))
    );
    assert!(bad.iter().any(|e| e.cause == Cause::HourAngle));
    let good = sky.good(&target, &c, &HorizonMask::default(), -12.0);
    for (a, b) in good {
        let middle = add_seconds(span.start, 0.5 * (a + b));
        assert!(!bad.iter().any(|e| e.span.contains(middle)));
    }
}

#[test]
fn a_horizon_mask_interpolates_round_north() {
    let mask = HorizonMask {
        points: vec![(350.0, 10.0), (10.0, 20.0), (180.0, 0.0)],
    };
    assert_eq!(mask.alt_deg(0.0), Some(15.0));
    assert_eq!(mask.alt_deg(350.0), Some(10.0));
    assert_eq!(mask.alt_deg(95.0), Some(10.0));
    assert_eq!(HorizonMask::default().alt_deg(5.0), None);
}

#[test]
fn observable_now_says_why_not() {
    let (site, span) = night();
    let request = |ra, dec| ObservabilityRequest {
        target: Icrs::new(ra, dec),
        constraints: Constraints {
            min_alt_deg: 30.0,
            sun_max_alt_deg: Some(-12.0),
            ..Constraints::default()
        },
        horizon: HorizonMask::default(),
    };
    assert_eq!(
        is_observable(&site, &request(150.0, -40.0), add_seconds(span.start, 7200.0), 600.0),
        Ok(())
    );
    let no = is_observable(&site, &request(150.0, 60.0), add_seconds(span.start, 7200.0), 600.0).unwrap_err();
    assert_eq!(no.cause, Cause::BelowAltitude);
    let day = is_observable(&site, &request(90.0, -40.0), add_seconds(span.start, -10800.0), 600.0).unwrap_err();
    assert_eq!(day.cause, Cause::SunTooHigh);
}
