//! Zero points of frames, and a target on them.

use super::{
    CommandError, SolveHints, bad,
    lightcurve::drawn,
    number, open_index, read,
    sky::{Searched, solve_searched},
    write,
};
use crate::{
    archive::exposure,
    astrometry::{Index, SkyStars},
    background::Background,
    extract::{self, Options},
    measure::worth_matching,
    photometry, plot,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How photometry is done.
#[derive(Debug, Clone)]
pub struct PhotometryOptions {
    pub hints: SolveHints,
    pub aperture_px: f64,
    pub gain_e_adu: f64,
    /// Level from which a pixel is saturated; else SATURATE of the header.
    pub saturation: Option<f64>,
    /// ICRS degrees of a star that is followed.
    pub target: Option<(f64, f64)>,
    /// Where its light curve is drawn: an SVG by the name's end, else a PNG.
    pub plot: Option<PathBuf>,
}

/// Zero point, limiting magnitude and air mass term of frames, and the light curve of a target.
pub fn photometry(paths: &[PathBuf], index: &Path, options: &PhotometryOptions) -> Result<Value, CommandError> {
    let index = open_index(index)?;
    let (mut frames, mut line, mut curve) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let (frame, zero, point) = photometry_of(path, &index, options)?;
        if let (Some(zero), Some(air)) = (zero, frame["airmass"].as_f64()) {
            line.push((air, zero));
        }
        curve.extend(point);
        frames.push(frame);
    }
    let mut answer = match frames.len() {
        1 => frames.remove(0),
        _ => json!({ "frames": frames }),
    };
    if let Some((slope, above)) = photometry::extinction(&line) {
        answer["extinction_mag_airmass"] = json!(slope);
        answer["zero_point_above_air"] = json!(above);
    }
    if options.target.is_some() {
        if let Some(out) = &options.plot {
            let points: Vec<plot::Seen> = curve.iter().filter_map(|p| Some((p.minutes?, p.seen?))).collect();
            let first = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
            let since: Vec<plot::Seen> = points.iter().map(|p| (p.0 - first, p.1)).collect();
            write(out, &drawn("Light curve", &since, out)?)?;
        }
        answer["light_curve"] = json!(curve.into_iter().map(|p| p.told).collect::<Vec<_>>());
    }
    Ok(answer)
}

/// A target on one frame.
struct Followed {
    told: Value,
    /// Minutes since any time.
    minutes: Option<f64>,
    seen: Option<photometry::Brightness>,
}

type OneFrame = (Value, Option<f64>, Option<Followed>);

/// Reads, takes the sky off and extracts for photometry.
pub(super) fn prepared(path: &Path, options: &PhotometryOptions) -> Result<Searched, CommandError> {
    let extraction = Options {
        aperture_px: options.aperture_px,
        gain_e_adu: options.gain_e_adu,
        ..Options::default()
    };
    let (header, mut image) = read(path)?;
    if !image.pixels.iter().any(|p| p.is_finite()) {
        return Err(bad(path, "no pixel has a value"));
    }
    let sky = Background::of(&image);
    let saturation = options
        .saturation
        .or_else(|| header.get_f64("SATURATE"))
        .unwrap_or(f64::INFINITY);
    sky.subtract(&mut image);
    let extraction = Options {
        saturation: saturation - f64::from(sky.level),
        ..extraction
    };
    let sources = extract::extract(&image, sky.rms, &extraction);
    Ok(Searched {
        header,
        image,
        rms: sky.rms,
        sources,
    })
}

fn photometry_of(path: &Path, index: &Index, options: &PhotometryOptions) -> Result<OneFrame, CommandError> {
    let searched = prepared(path, options)?;
    let seconds = exposure(&searched.header);
    let exposure_s = seconds.unwrap_or(1.0);
    let mut frame = json!({ "file": path.display().to_string(), "exposure_s": seconds, "sources": searched.sources.len(),
        "airmass": searched.header.get_f64("AIRMASS").filter(|a| (1.0..40.0).contains(a)), "catalogue": SkyStars::name(index) });
    let solution = match solve_searched(&searched, index, &options.hints, 3) {
        Ok((solution, _)) => solution,
        Err(cause) => {
            frame["solved"] = json!(false);
            frame["cause"] = json!(cause);
            return Ok((frame, None, None));
        }
    };
    frame["solved"] = json!(true);
    frame["rms_arcsec"] = number(solution.rms_arcsec);
    frame["matched"] = json!(solution.matched);
    let worth = worth_matching(&searched.sources);
    let matched = solution.stars.iter().map(|(spot, star)| (worth[*spot], *star));
    let Some(zero) = photometry::zero_point(matched, exposure_s) else {
        frame["cause"] = json!("fewer than three stars calibrate");
        return Ok((frame, None, None));
    };
    frame["zero_point"] = json!(zero.mag);
    frame["zero_point_counts"] = json!(zero.mag + 2.5 * exposure_s.log10());
    frame["zero_point_error"] = json!(zero.error);
    frame["scatter_mag"] = json!(zero.scatter);
    frame["stars"] = json!(zero.stars);
    let (rms, aperture, gain) = (searched.rms, options.aperture_px, options.gain_e_adu);
    frame["limiting_mag"] = number(photometry::limiting_magnitude(&zero, rms, aperture, gain, exposure_s));
    frame["limiting_mag_sigma"] = json!(5);
    let point = options.target.and_then(|(ra, dec)| {
        let place = solution.wcs.pixel_of(ra, dec)?;
        let found = photometry::forced(&searched.image, place, &zero, rms, aperture, gain, exposure_s);
        let time = searched.header.get("DATE-AVG").or_else(|| searched.header.get("DATE-OBS"));
        Some(Followed {
            told: json!({ "file": path.display().to_string(), "time": time, "x": place.0, "y": place.1, "brightness": found }),
            minutes: searched.header.get_f64("MJD-OBS").map(|d| d * 1440.0 + exposure_s / 120.0),
            seen: found,
        })
    });
    Ok((frame, Some(zero.mag), point))
}
