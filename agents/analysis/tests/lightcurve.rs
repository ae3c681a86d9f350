//! Light curves of simulated frames with a star that is known to vary.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod support;

use alidade_analysis::{
    astrometry::index::Contents,
    command::{self, CommandError, LightCurveOptions, SolveHints},
    lightcurve::By,
    photometry::Brightness,
};
use alidade_fits::Header;
use std::path::PathBuf;
use support::{Folder, Light, SECONDS, SIZE, counts, field, header, pixels, truth};

const FRAMES: usize = 8;
const VARIABLE: (f64, f64) = (560.3, 433.8);

/// The magnitude of the variable, and the air mass, on a frame.
fn variable(n: usize) -> f64 {
    13.0 + 0.3 * (n as f64 * 0.9).sin()
}

fn airmass(n: usize) -> f64 {
    1.0 + 0.15 * n as f64
}

/// By how much all stars are fainter: 0.2 magnitudes an air mass.
fn dimmed(n: usize) -> f64 {
    10f64.powf(-0.4 * 0.2 * airmass(n))
}

/// Writes the frames.
fn frames(folder: &Folder, lights: &[Light]) -> Vec<PathBuf> {
    let one = |n: usize| {
        let own = Light {
            x: VARIABLE.0,
            y: VARIABLE.1,
            counts: counts(variable(n)),
            trail_px: 0.0,
        };
        let shift = 3.0 * n as f64;
        let seen: Vec<Light> = lights
            .iter()
            .chain([&own])
            .map(|l| Light {
                x: l.x + shift,
                counts: l.counts * dimmed(n),
                ..*l
            })
            .collect();
        let mut header = header(5.0 * n as f64);
        header.number("AIRMASS", airmass(n), "");
        let path = folder.0.join(format!("{n}.fits"));
        std::fs::write(&path, written(&header, 40 + n as u64, &seen)).unwrap();
        path
    };
    (0..FRAMES).map(one).collect()
}

fn written(header: &Header, seed: u64, lights: &[Light]) -> Vec<u8> {
    alidade_fits::write_u16(header, SIZE, SIZE, &pixels(seed, lights)).unwrap()
}

#[test]
fn a_variable_star_is_followed_through_the_air_and_a_constant_one_stays_so() {
    let folder = Folder::new("curve");
    let (mut stars, lights) = field();
    // A catalogue is never right: half of the stars are off, some grossly.
    for (n, star) in stars.iter_mut().enumerate() {
        star.mag += [0.0, 0.08, -0.08, 0.0][n % 4] + if n % 40 == 3 { 0.6 } else { 0.0 };
    }
    let constant = (0..lights.len())
        .find(|n| (13.4..13.8).contains(&stars[*n].mag) && n % 4 == 0 && (lights[*n].x - 512.0).abs() < 300.0)
        .unwrap();
    let index = folder.0.join("stars.idx");
    std::fs::write(&index, Contents::new("field", stars.clone()).bytes()).unwrap();
    let paths = frames(&folder, &lights);
    let options = |target: (f64, f64)| LightCurveOptions {
        target,
        index: Some(index.clone()),
        hints: SolveHints::default(),
        aperture_px: 6.0,
        gain_e_adu: 1.0,
        saturation: Some(60_000.0),
        plot: None,
    };
    let target = truth().sky_of(VARIABLE.0, VARIABLE.1);
    let curve = command::curve_of(&paths, &options(target)).unwrap();
    let band = &curve.bands["r"];
    assert_eq!((band.detected, band.varies), (FRAMES, Some(true)), "{band:?}");
    assert!((band.extinction_mag_airmass.unwrap() - 0.2).abs() < 0.02, "{band:?}");
    let mut off = Vec::new();
    for (n, point) in curve.points.iter().enumerate() {
        assert!(point.by == Some(By::Stars) && point.comparisons > 50, "{point:?}");
        let Some(Brightness::Detected { mag, error }) = point.brightness else {
            panic!("{point:?}")
        };
        assert!(error < 0.03, "{point:?}");
        off.push(mag - variable(n));
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    assert!(
        mean.abs() < 0.05 && off.iter().all(|o| (o - mean).abs() < 0.03),
        "{off:?}"
    );
    let still = (stars[constant].ra_deg, stars[constant].dec_deg);
    let curve = command::curve_of(&paths, &options(still)).unwrap();
    assert_eq!(curve.bands["r"].varies, Some(false), "{:?}", curve.bands["r"]);
    // As the command says it, with a picture; a place off the frame is a point with its cause, broken files as well.
    let broken = folder.0.join("broken.fits");
    std::fs::write(&broken, "nothing").unwrap();
    let with: Vec<PathBuf> = paths[..2].iter().chain([&broken]).cloned().collect();
    let plot = folder.0.join("curve.png");
    let drawn = LightCurveOptions {
        plot: Some(plot.clone()),
        ..options(target)
    };
    let answer = command::light_curve(&with, &drawn).unwrap();
    let points = answer["points"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    assert!(
        points[0]["mag"].is_number() && points[0]["kind"] == "detected",
        "{answer}"
    );
    assert!(points[2]["cause"].as_str().unwrap().contains("not FITS"), "{answer}");
    assert!(std::fs::read(&plot).unwrap().starts_with(b"\x89PNG"));
    let elsewhere = command::light_curve(&paths[..1], &options((10.0, -60.0))).unwrap();
    assert_eq!(elsewhere["points"][0]["cause"], "the target is not on the frame");
    let error = command::light_curve(&[broken], &options(target)).unwrap_err();
    assert!(matches!(error, CommandError::BadInput(_)), "{error}");
}

#[test]
fn calibrated_frames_need_no_catalogue_and_raw_ones_say_what_they_lack() {
    let folder = Folder::new("curve-header");
    let (_, lights) = field();
    let paths = frames(&folder, &lights);
    let options = LightCurveOptions {
        target: truth().sky_of(VARIABLE.0, VARIABLE.1),
        index: None,
        hints: SolveHints::default(),
        aperture_px: 6.0,
        gain_e_adu: 1.0,
        saturation: None,
        plot: None,
    };
    let error = command::light_curve(&paths[..1], &options).unwrap_err().to_string();
    assert!(error.contains("MAGZP"), "{error}");
    let mut header = header(0.0);
    truth().write(&mut header, SIZE, SIZE);
    header.number("MAGZP", "21.0", "");
    let path = folder.0.join("calibrated.fits");
    let own = Light {
        x: VARIABLE.0,
        y: VARIABLE.1,
        counts: counts(14.2),
        trail_px: 0.0,
    };
    let seen: Vec<Light> = lights.iter().chain([&own]).copied().collect();
    std::fs::write(&path, written(&header, 9, &seen)).unwrap();
    let seen_on = command::seen_on(&path, &options);
    let curve = command::curve_of(&[path], &options).unwrap();
    assert_eq!(
        alidade_analysis::lightcurve::curve(options.target, vec![seen_on]),
        curve
    );
    let nothing = command::seen_on(&folder.0.join("none.fits"), &options);
    assert!(nothing.cause.is_some() && nothing.rate.is_none(), "{nothing:?}");
    let point = &curve.points[0];
    assert_eq!((point.by, point.mjd.is_some()), (Some(By::Header), true));
    assert!(
        matches!(point.brightness, Some(Brightness::Detected { mag, .. }) if (mag - 14.2).abs() < 0.03),
        "{point:?}"
    );
    assert_eq!(point.mjd, Some(61_113.9 + SECONDS / 172_800.0));
}
