//! Targets with their data over HTTP: frames with real pixels, on a night that is played.

use super::{
    House,
    http::{get, post, send},
};
use crate::support::{
    observatory::at,
    shots::{EXPOSURE_S, Shot},
};
use alidade_accounts::Role;
use alidade_analysis::{astrometry::Wcs, preview};
use alidade_fits::{Header, Image};
use alidade_model::{exposure::ProductKind, time::UtcTime};
use serde_json::{Value, json};

const SIDE: usize = 160;
const ZERO_POINT: f64 = 21.0;
/// A star that does not vary: pixels, and magnitude.
const STILL: (f64, f64, f64) = (40.0, 110.0, 14.5);

/// North up, east left, 1.8 arcseconds a pixel, the target of the sequence r1-1 in the middle.
fn sky() -> Wcs {
    Wcs {
        crval: (195.03, 27.97),
        crpix: (79.5, 79.5),
        cd: [[-5e-4, 0.0], [0.0, 5e-4]],
        sip: None,
    }
}

/// Pixels of a frame with the target of this magnitude: stars of Gaussian form on a noisy sky.
fn pixels(seed: u64, mag: f64) -> Image {
    // Knuth's linear congruential generator (MMIX).
    let mut state = seed;
    let mut unit = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut all: Vec<f64> = (0..SIDE * SIDE)
        .map(|_| 100.0 + 4.0 * ((0..6).map(|_| unit()).sum::<f64>() - 3.0))
        .collect();
    let (x, y) = sky().crpix;
    for (x, y, mag) in [(x, y, mag), STILL, (120.0, 30.0, 15.0), (130.0, 128.0, 16.0)] {
        let counts = EXPOSURE_S * 10f64.powf(-0.4 * (mag - ZERO_POINT));
        for (n, pixel) in all.iter_mut().enumerate() {
            let r = ((n % SIDE) as f64 - x).powi(2) + ((n / SIDE) as f64 - y).powi(2);
            *pixel += counts * (-r / 5.0).exp() / (5.0 * std::f64::consts::PI);
        }
    }
    Image {
        width: SIDE,
        height: SIDE,
        pixels: all.into_iter().map(|value| value as f32).collect(),
    }
}

/// Writes the files of a frame and lets the daemon tell of it; without a magnitude it is not reduced.
fn take(house: &mut House, shot: &Shot, mag: Option<f64>) {
    if let Some(mag) = mag {
        let mut image = pixels(house.entries, mag);
        let mut header = Header::new();
        sky().write(&mut header, SIDE, SIDE);
        header.number("EXPTIME", EXPOSURE_S, "[s]");
        header.number("MJD-OBS", shot.started_at.julian_date() - 2_400_000.5, "[d]");
        header.text("FILTER", shot.filter, "");
        header.number("AIRMASS", "1.2", "");
        header.number("MAGZP", ZERO_POINT, "[mag]");
        let root = house.observatory.folder.clone();
        let write = |kind, bytes: Vec<u8>| {
            let path = root.join(shot.path(kind));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write(
            ProductKind::Calibrated,
            alidade_fits::write_i16(&header, &image).unwrap(),
        );
        image.pixels.iter_mut().for_each(|pixel| *pixel -= 100.0);
        write(ProductKind::Preview, preview::png(&image, 4.0, &[]).unwrap());
        write(ProductKind::Raw, alidade_fits::write_i16(&header, &image).unwrap());
        write(ProductKind::Catalogue, b"{}".to_vec());
    }
    for fact in shot.facts() {
        house.happen(fact);
    }
}

fn clock(text: &str) -> UtcTime {
    at(&format!("2026-03-14T{text}Z"))
}

fn shot<'a>(exposure: &'a str, sequence: &'a str, filter: &'a str, started: &str, solved: bool) -> Shot<'a> {
    Shot {
        exposure,
        sequence,
        filter,
        started_at: clock(started),
        solved: solved.then_some((ZERO_POINT, 18.9)),
    }
}

/// M 51 once, then NGC 4889 in two filters, fading; the last frame waits for its reduction.
pub fn observe(house: &mut House) {
    take(house, &shot("x0", "r1-2", "r", "19:50:00", true), Some(15.0));
    take(house, &shot("x1", "r1-1", "r", "20:02:00", true), Some(14.0));
    take(house, &shot("x2", "r1-1", "g", "20:05:00", true), Some(14.8));
    take(house, &shot("x3", "r1-1", "r", "20:08:00", true), Some(14.6));
    take(house, &shot("x4", "r1-1", "r", "20:11:00", false), None);
}

/// One frame more, reduced.
pub fn another(house: &mut House) {
    take(house, &shot("x5", "r1-1", "r", "20:14:00", true), Some(15.2));
}

fn mags(curve: &Value) -> Vec<(String, f64)> {
    let points = curve["points"].as_array().unwrap();
    let of = |point: &Value| {
        let exposure = point["exposure"].as_str().unwrap().to_owned();
        (exposure, point["mag"].as_f64().unwrap_or(f64::NAN))
    };
    points.iter().map(of).collect()
}

fn agree(told: &[(String, f64)], truth: &[(&str, f64)]) {
    let names: Vec<&str> = told.iter().map(|point| point.0.as_str()).collect();
    assert_eq!(names, truth.iter().map(|point| point.0).collect::<Vec<_>>());
    for (one, (_, mag)) in told.iter().zip(truth) {
        assert!((one.1 - mag).abs() < 0.03, "{one:?} in place of {mag}");
    }
}

#[test]
fn targets_and_their_frames_are_told_in_pages() {
    let mut house = House::new("pages-targets");
    assert_eq!(house.told("/api/v1/observed"), json!({ "targets": [] }));
    let asked_for = house.told("/api/v1/observed/M%2051");
    assert_eq!(
        (&asked_for["frames"], &asked_for["first_at"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(house.told("/api/v1/observed/M%2051/frames"), json!({ "frames": [] }));
    observe(&mut house);
    let first = house.told("/api/v1/observed?limit=1");
    let target = &first["targets"][0];
    assert_eq!((&target["name"], &target["frames"]), (&json!("NGC 4889"), &json!(4)));
    assert_eq!(target["filters"], json!(["g", "r"]));
    assert_eq!(target["first_at"], "2026-03-14T20:02:00.000000Z");
    let next = first["next_before"].as_u64().unwrap();
    let second = house.told(&format!("/api/v1/observed?limit=1&before={next}"));
    assert_eq!(second["targets"][0]["name"], "M 51");
    assert_eq!(house.told("/api/v1/observed?text=m51")["targets"][0]["name"], "M 51");
    assert_eq!(house.told("/api/v1/observed?text=LMC"), json!({ "targets": [] }));
    let one = house.told("/api/v1/observed/ngc4889");
    assert_eq!((&one["name"], &one["ra_deg"]), (&json!("NGC 4889"), &json!(195.03)));
    let sequence = &one["sequences"][0];
    assert_eq!(
        (&sequence["sequence"], &sequence["state"]),
        (&json!("r1-1"), &json!("executed"))
    );
    let page = house.told("/api/v1/observed/NGC%204889/frames?limit=3");
    let frames = page["frames"].as_array().unwrap();
    let exposures: Vec<&str> = frames.iter().map(|frame| frame["exposure"].as_str().unwrap()).collect();
    assert_eq!(exposures, ["x4", "x3", "x2"]);
    assert_eq!(
        (&frames[0]["reduced_at"], frames[0]["files"].as_object().unwrap().len()),
        (&Value::Null, 1)
    );
    assert_eq!(
        (&frames[1]["zero_point"], &frames[1]["limiting_mag"]),
        (&json!(21.0), &json!(18.9))
    );
    // What is told can be fetched.
    for kind in ["preview", "calibrated"] {
        let path = frames[1]["files"][kind].as_str().unwrap();
        assert_eq!(
            get(house.addr(), &format!("/api/v1/products/{path}")).status,
            200,
            "{path}"
        );
    }
    let rest = house.told(&format!(
        "/api/v1/observed/NGC%204889/frames?before={}",
        page["next_before"]
    ));
    assert_eq!(rest["frames"].as_array().unwrap().len(), 1);
    let green = house.told("/api/v1/observed/NGC%204889/frames?filter=g");
    assert_eq!(green["frames"].as_array().unwrap().len(), 1);
}

#[test]
fn a_light_curve_is_measured_on_the_calibrated_frames_and_says_what_it_looked_at() {
    let mut house = House::new("pages-curve");
    observe(&mut house);
    let own = "/api/v1/observed/NGC%204889/light-curve";
    let curve = house.told(own);
    agree(&mags(&curve), &[("x1", 14.0), ("x2", 14.8), ("x3", 14.6)]);
    assert_eq!(
        (&curve["frames"], &curve["calibrated"], &curve["older"]),
        (&json!(4), &json!(3), &json!(false))
    );
    assert_eq!(curve["points"][0]["at"], "2026-03-14T20:02:30.000000Z");
    assert_eq!(
        curve["points"][0]["file"], "2026-03-14/calibrated/x1.fits",
        "no place of this machine is told"
    );
    assert_eq!(
        (&curve["bands"]["r"]["detected"], &curve["bands"]["g"]["points"]),
        (&json!(2), &json!(1))
    );
    // Another frame, and the same question: all of it.
    another(&mut house);
    agree(
        &mags(&house.told(own)),
        &[("x1", 14.0), ("x2", 14.8), ("x3", 14.6), ("x5", 15.2)],
    );
    let answer = get(house.addr(), own);
    let tag = answer.header("etag").unwrap().to_owned();
    let again = send(house.addr(), "GET", own, &[("if-none-match", &tag)], b"");
    assert_eq!(again.status, 304);
    let newest = house.told(&format!("{own}?limit=2"));
    agree(&mags(&newest), &[("x5", 15.2)]);
    assert_eq!((&newest["calibrated"], &newest["older"]), (&json!(1), &json!(true)));
    let red = house.told(&format!("{own}?filter=g"));
    agree(&mags(&red), &[("x2", 14.8)]);
    // Another star of the same frames does not vary.
    let (ra, dec) = sky().sky_of(STILL.0, STILL.1);
    let still = house.told(&format!("{own}?ra_deg={ra}&dec_deg={dec}"));
    agree(&mags(&still), &["x1", "x2", "x3", "x5"].map(|name| (name, STILL.2)));
    // A frame whose file is gone is a point with its cause.
    std::fs::remove_file(house.observatory.folder.join("2026-03-14/calibrated/x5.fits")).unwrap();
    let curve = house.told(own);
    let cause = |curve: &Value| {
        let points = curve["points"].as_array().unwrap().clone();
        let lost = points.into_iter().find(|point| point["exposure"] == "x5").unwrap();
        lost["cause"].as_str().unwrap().to_owned()
    };
    assert_eq!(cause(&curve), "its file is not there");
    let path = house.observatory.folder.join("2026-03-14/calibrated/x5.fits");
    std::fs::write(&path, "no image").unwrap();
    let said = cause(&house.told(own));
    assert!(
        said.contains("FITS") && !said.contains(&house.observatory.folder.display().to_string()),
        "{said}"
    );
}

#[test]
fn what_cannot_be_measured_or_understood_is_a_problem_with_its_reason() {
    let mut house = House::new("pages-curve-faults");
    let own = "/api/v1/observed/NGC%204889/light-curve";
    let problem = |house: &House, path: &str, status: u16| -> String {
        let answer = get(house.addr(), path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    assert!(problem(&house, own, 409).contains("no frame"));
    take(&mut house, &shot("x4", "r1-1", "r", "20:11:00", false), None);
    assert!(problem(&house, own, 409).contains("none of its newest 1 frames is calibrated"));
    observe(&mut house);
    assert!(problem(&house, &format!("{own}?ra_deg=10"), 409).contains("not on the frame"));
    for path in ["", "/frames", "/light-curve"] {
        let said = problem(&house, &format!("/api/v1/observed/Vulcan{path}"), 404);
        assert_eq!(said, "there is no target Vulcan");
    }
    for wrong in [
        format!("{own}?ra_deg=-1"),
        format!("{own}?ra_deg=360.5"),
        format!("{own}?ra_deg=NaN"),
        format!("{own}?dec_deg=91"),
        format!("{own}?dec_deg=inf"),
        format!("{own}?dec_deg=north"),
        format!("{own}?limit=0"),
        format!("{own}?limit=201"),
        format!("{own}?radius=1"),
        "/api/v1/observed?limit=0".into(),
        "/api/v1/observed?before=-1".into(),
        format!("/api/v1/observed?text={}", "x".repeat(101)),
        "/api/v1/observed?x=1".into(),
        "/api/v1/observed/M%2051/frames?limit=1001".into(),
        "/api/v1/observed/M%2051/frames?before=soon".into(),
    ] {
        problem(&house, &wrong, 400);
    }
    assert_eq!(post(house.addr(), "/api/v1/observed", "{}").status, 405);
    // Who has not said who they are has no data of their own.
    let visitors = House::seen_by("pages-targets-visitor", Role::Visitor);
    for path in [
        "/api/v1/observed",
        "/api/v1/observed/M%2051",
        "/api/v1/observed/M%2051/light-curve",
    ] {
        assert_eq!(get(visitors.addr(), path).status, 401, "{path}");
    }
    assert!(
        house.told("/api/v1/pages")["pages"]
            .as_array()
            .unwrap()
            .contains(&json!("/targets"))
    );
}
