//! Bad files and impossible frames: every command says what is wrong, or flags its result, and none panics.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use alidade_analysis::{
    astrometry::{Star, Wcs, index::Contents},
    bad_pixels::Limits,
    command::{self, CalibrateOptions, CommandError, LightCurveOptions, Method, PhotometryOptions, SolveHints},
    cosmics::CosmicOptions,
    extract::Options,
    overscan::Layout,
    subtract::SubtractOptions,
};
use alidade_fits::{Header, Image};
use flate2::{Compression, write::GzEncoder};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("alidade-bad-input-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

const SIZE: usize = 400;

fn wcs(ra: f64, dec: f64) -> Wcs {
    Wcs {
        crval: (ra, dec),
        crpix: (199.5, 199.5),
        cd: [[-5e-4, 0.0], [0.0, 5e-4]],
        sip: None,
    }
}

/// Stars of the catalogue around (120, 40), and a frame of them.
fn field() -> (Vec<Star>, Image) {
    let mut dice = Dice(4);
    let truth = wcs(120.0, 40.0);
    let mut stars = Vec::new();
    let mut pixels: Vec<f32> = (0..SIZE * SIZE)
        .map(|_| (400.0 + 12.0 * dice.normal()) as f32)
        .collect();
    for _ in 0..60 {
        let (x, y) = (15.0 + 370.0 * dice.unit(), 15.0 + 370.0 * dice.unit());
        let mag = 11.0 + 5.0 * dice.unit();
        let flux = 20.0 * 10f64.powf(-0.4 * (mag - 21.0));
        let (ra_deg, dec_deg) = truth.sky_of(x, y);
        stars.push(Star { ra_deg, dec_deg, mag });
        for py in (y as usize - 12)..(y as usize + 13) {
            for px in (x as usize - 12)..(x as usize + 13) {
                let r = (px as f64 - x).powi(2) + (py as f64 - y).powi(2);
                pixels[py * SIZE + px] += (flux * (-r / 5.0).exp() / (5.0 * std::f64::consts::PI)) as f32;
            }
        }
    }
    let image = Image {
        width: SIZE,
        height: SIZE,
        pixels,
    };
    (stars, image)
}

fn frame(image: &Image, pointing: Option<Wcs>) -> Vec<u8> {
    let mut header = Header::new();
    header.number("EXPTIME", "20.0", "[s]");
    header.number("MJD-OBS", "61113.9", "[d]");
    if let Some(pointing) = pointing {
        pointing.write(&mut header, image.width, image.height);
    }
    alidade_fits::write_f32(&header, image).unwrap()
}

fn constant(value: f32) -> Image {
    Image {
        width: SIZE,
        height: SIZE,
        pixels: vec![value; SIZE * SIZE],
    }
}

fn photometry() -> PhotometryOptions {
    PhotometryOptions {
        hints: SolveHints::default(),
        aperture_px: 5.0,
        gain_e_adu: 1.0,
        saturation: None,
        target: Some((120.0, 40.0)),
        plot: None,
    }
}

fn curve(index: &Path) -> LightCurveOptions {
    LightCurveOptions {
        target: (120.0, 40.0),
        index: Some(index.into()),
        hints: SolveHints::default(),
        aperture_px: 5.0,
        gain_e_adu: 1.0,
        saturation: None,
        plot: None,
    }
}

/// The errors of every command that reads an image.
fn errors(path: &Path, good: &Path, index: &Path, out: &Path) -> Vec<Option<CommandError>> {
    let subtract = SubtractOptions {
        gain_e_adu: 1.0,
        saturation: 60_000.0,
    };
    vec![
        command::stats(path).err(),
        command::extract(path, &Options::default(), None, None).err(),
        command::calibrate(path, &CalibrateOptions::default(), out).err(),
        command::bad_pixels(Some(path), &[], &Limits::default(), &Layout::default(), out).err(),
        command::combine(&[good.into(), path.into()], Method::Clipped, &Layout::default(), out).err(),
        command::picture(path, false, out).err(),
        command::clean(path, &CosmicOptions::default(), out, None).err(),
        command::solve_file(path, index, &SolveHints::default(), 3, None).err(),
        command::photometry(&[path.into()], index, &photometry()).err(),
        command::subtract(path, good, &subtract, out, None).err(),
        command::compress(path, out).err(),
        command::light_curve(&[path.into()], &curve(index)).err(),
        command::combine_flats(&[path.into()], Method::Clipped, &Layout::default(), None, out).err(),
    ]
}

/// A header of 4 bytes a pixel with what it claims, without any data.
fn claims(cards: &[(&str, &str)]) -> Vec<u8> {
    let mut text: String = cards
        .iter()
        .map(|(k, v)| format!("{:80}", format!("{k:8}= {v:>20}")))
        .collect();
    text.push_str(&format!("{:80}", "END"));
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_file_that_gzip_has_packed_is_the_same_image() {
    let folder = Folder::new("gzip");
    let (_, image) = field();
    let bytes = frame(&image, Some(wcs(120.0, 40.0)));
    let plain = folder.file("plain.fits", &bytes);
    let packed = folder.file("packed.fits.gz", &gzipped(&bytes));
    let of = |path: &Path| {
        let mut answer = command::stats(path).unwrap();
        answer["file"].take();
        answer
    };
    assert_eq!(of(&packed), of(&plain));
    assert_eq!(command::verify(&packed).unwrap()["checksums"][0], "right");
    let (header, read) = command::read(&packed).unwrap();
    assert_eq!((header, read), command::read(&plain).unwrap());
}

#[test]
fn every_broken_file_is_refused_with_its_cause_by_every_command() {
    let folder = Folder::new("broken");
    let (stars, image) = field();
    let good_bytes = frame(&image, Some(wcs(120.0, 40.0)));
    let good = folder.file("good.fits", &good_bytes);
    let index = folder.file("index", &Contents::new("field", stars).bytes());
    let out = folder.0.join("out.fits");
    let axes = |bitpix: &'static str, width: &'static str, height: &'static str| {
        claims(&[
            ("SIMPLE", "T"),
            ("BITPIX", bitpix),
            ("NAXIS", "2"),
            ("NAXIS1", width),
            ("NAXIS2", height),
        ])
    };
    let mut endless = claims(&[("SIMPLE", "T")])[..80].to_vec();
    endless.extend(format!("{:80}", "COMMENT and so on").repeat(70_000).bytes());
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("truncated", good_bytes[..good_bytes.len() / 2].to_vec()),
        ("endless header", endless),
        ("wrong BITPIX", axes("12", "10", "10")),
        ("zero size", axes("16", "0", "10")),
        ("ten gigabytes", axes("16", "100000", "50000")),
        ("more than memory", axes("-64", "4000000000", "4000000000")),
        ("not FITS", b"GIF89a and so on".repeat(300)),
        ("empty", Vec::new()),
        ("half of what gzip made", {
            let packed = gzipped(&good_bytes);
            packed[..packed.len() / 2].to_vec()
        }),
        ("gzip of something else", gzipped(b"GIF89a")),
        ("NaN", frame(&constant(f32::NAN), None)),
    ];
    for (name, bytes) in broken {
        let path = folder.file("bad.fits", &bytes);
        for (command, error) in errors(&path, &good, &index, &out).into_iter().enumerate() {
            // Frames without any value still combine and calibrate: to frames without any value.
            if name == "NaN" && [2, 4, 5].contains(&command) {
                continue;
            }
            let error = error.unwrap_or_else(|| panic!("{name}: command {command} took it"));
            assert!(matches!(error, CommandError::BadInput(_)), "{name}: {error:?}");
        }
    }
    assert!(command::stats(&folder.0).is_err() && command::stats(&folder.0.join("nothing")).is_err());
    assert_eq!(command::verify(&good).unwrap()["checksums"][0], "right");
    let mut flipped = good_bytes;
    let last = flipped.len() - 3000;
    flipped[last] ^= 1;
    assert!(command::verify(&folder.file("flipped.fits", &flipped)).is_err());
}

#[test]
fn calibration_frames_of_another_size_are_refused_and_those_of_a_library_are_not_used() {
    let folder = Folder::new("sizes");
    let (_, image) = field();
    let raw = folder.file("raw.fits", &frame(&image, None));
    let out = folder.0.join("out.fits");
    let mut header = Header::new();
    header.text("IMAGETYP", "master bias", "");
    let small = Image {
        width: 30,
        height: 20,
        pixels: vec![10.0; 600],
    };
    std::fs::create_dir_all(folder.0.join("masters")).unwrap();
    let wrong = folder.file("masters/wrong.fits", &alidade_fits::write_f32(&header, &small).unwrap());
    let given = Some(wrong);
    let plain = CalibrateOptions::default;
    let table = [
        CalibrateOptions {
            bias: given.clone(),
            ..plain()
        },
        CalibrateOptions {
            dark: given.clone(),
            ..plain()
        },
        CalibrateOptions {
            flat: given.clone(),
            ..plain()
        },
        CalibrateOptions {
            bad_pixels: given,
            ..plain()
        },
    ];
    for options in table {
        let error = command::calibrate(&raw, &options, &out).unwrap_err();
        assert!(
            matches!(&error, CommandError::BadInput(text) if text.contains("30 x 20")),
            "{error}"
        );
    }
    let library = CalibrateOptions {
        library: Some(folder.0.clone()),
        ..plain()
    };
    let answer = command::calibrate(&raw, &library, &out).unwrap();
    assert_eq!(answer["degradations"].as_array().unwrap().len(), 3, "{answer}");
    assert!(answer["notes"].to_string().contains("another size"), "{answer}");
}

#[test]
fn frames_without_stars_and_saturated_ones_are_not_solved_and_say_so() {
    let folder = Folder::new("starless");
    let (stars, image) = field();
    let index = folder.file("index", &Contents::new("field", stars).bytes());
    let mut noise = constant(0.0);
    let mut dice = Dice(8);
    noise
        .pixels
        .iter_mut()
        .for_each(|p| *p = (400.0 + 12.0 * dice.normal()) as f32);
    let mut burnt = image;
    burnt.pixels.iter_mut().for_each(|p| *p = 65_535.0 - *p / 1e6);
    for frame_of in [&noise, &burnt, &constant(65_535.0)] {
        let path = folder.file("frame.fits", &frame(frame_of, Some(wcs(120.0, 40.0))));
        let answer = command::solve_file(&path, &index, &SolveHints::default(), 3, None).unwrap();
        assert_eq!(answer["solved"], false, "{answer}");
        assert!(answer["cause"].is_string());
        let answer = command::photometry(&[path], &index, &photometry()).unwrap();
        assert_eq!(answer["solved"], false, "{answer}");
    }
}

#[test]
fn a_header_that_lies_about_its_place_is_found_out() {
    let folder = Folder::new("liar");
    let (stars, image) = field();
    let index = folder.file("index", &Contents::new("field", stars).bytes());
    for pointing in [wcs(120.0, 40.0), wcs(300.0, -20.0), wcs(123.0, 41.0)] {
        let honest = pointing.crval == (120.0, 40.0);
        let path = folder.file("frame.fits", &frame(&image, Some(pointing)));
        let answer = command::solve_file(&path, &index, &SolveHints::default(), 3, None).unwrap();
        assert_eq!(answer["solved"], true, "{answer}");
        assert_eq!(answer["header_wcs_wrong"], !honest);
        assert!((answer["ra_deg"].as_f64().unwrap() - 120.0).abs() < 1e-4);
        assert!((answer["dec_deg"].as_f64().unwrap() - 40.0).abs() < 1e-4);
    }
    let path = folder.file("frame.fits", &frame(&image, Some(wcs(120.0, 40.0))));
    let elsewhere = SolveHints {
        ra_deg: Some(10.0),
        dec_deg: Some(-70.0),
        scale_arcsec: Some(1.8),
        ..SolveHints::default()
    };
    let answer = command::solve_file(&path, &index, &elsewhere, 3, None).unwrap();
    assert_eq!(answer["solved"], false, "what the user says holds");
}

#[test]
fn a_solved_frame_calibrates_and_shows_its_light_curve() {
    let folder = Folder::new("whole");
    let (stars, image) = field();
    let index = folder.file("index", &Contents::new("field", stars).bytes());
    let path = folder.file("frame.fits", &frame(&image, None));
    let out = folder.0.join("solved.fits");
    let answer = command::solve_file(&path, &index, &SolveHints::default(), 3, Some(&out)).unwrap();
    assert_eq!(answer["solved"], true, "{answer}");
    assert!(answer["rms_px"].as_f64().unwrap() < 0.1, "{answer}");
    let options = PhotometryOptions {
        plot: Some(folder.0.join("curve.svg")),
        ..photometry()
    };
    let answer = command::photometry(&[out.clone(), out.clone()], &index, &options).unwrap();
    let zero = answer["frames"][0]["zero_point"].as_f64().unwrap();
    assert!((zero - 21.0).abs() < 0.01, "{answer}");
    assert_eq!(answer["light_curve"].as_array().unwrap().len(), 2);
    assert!(
        std::fs::read_to_string(folder.0.join("curve.svg"))
            .unwrap()
            .contains("<svg")
    );
    let picture = command::picture(&out, true, &folder.0.join("grid.png")).unwrap();
    assert!(picture["grid_arcmin"].as_f64().unwrap() > 0.0);
    assert!(command::picture(&path, true, &folder.0.join("grid.png")).is_err());
}
