//! From a list of sources to a calibrated frame: plate solution, zero point, limit, and how well the optics did.

use crate::{
    astrometry::{Hint, Orientation, SkyStars, Solution, SolveOptions, Spot, Wcs, solve::solve, stars::separation},
    extract::{self, Source},
    photometry::{self, ZeroPoint},
};
use alidade_fits::Header;
use serde::Serialize;

/// How far a mount is off on a good night, and may be off, degrees: with the smaller one far fewer hypotheses are tried.
pub(crate) const POINTING_DEG: [f64; 2] = [0.05, 0.4];
/// How well scale and orientation of a channel are known.
const SCALE_SHARE: f64 = 0.02;
const ORIENTATION_DEG: f64 = 3.0;
/// Ellipticity from which stars are trails.
const TRAILED: f64 = 0.4;

/// What a frame measured of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub solution: Solution,
    /// ICRS centre, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Distance of the centre from where the header has it, arcseconds.
    pub offset_arcsec: f64,
    /// The same, east and north.
    pub offset_east_north_arcsec: (f64, f64),
    pub zero: Option<ZeroPoint>,
    pub limiting_mag: Option<f64>,
}

/// The seeing at the zenith of stars so wide at an air mass, in the unit of the width: the atmosphere widens them with the
/// air mass to the power 3/5 (Fried 1966, J. Opt. Soc. Am. 56, 1372).
pub fn zenith_seeing(fwhm: f64, airmass: f64) -> f64 {
    fwhm / airmass.max(1.0).powf(0.6)
}

/// The sources worth matching: what is much narrower than a star is none.
pub fn worth_matching(sources: &[Source]) -> Vec<&Source> {
    let least = 0.5 * extract::median_fwhm(sources).unwrap_or(0.0);
    sources.iter().filter(|s| s.fwhm_px >= least).collect()
}

/// Their places and fluxes.
pub fn spots(sources: &[Source]) -> Vec<Spot> {
    let spot = |s: &&Source| Spot {
        x: s.x_win,
        y: s.y_win,
        flux: s.flux_auto,
    };
    worth_matching(sources).iter().map(spot).collect()
}

/// What of a detector and an extraction photometry needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    pub width: usize,
    pub height: usize,
    pub rms: f32,
    pub aperture_px: f64,
    pub gain_e_adu: f64,
    pub exposure_s: f64,
}

/// Solves a frame of the night by the pointing in its header and calibrates it.
pub fn measure(
    header: &Header,
    sources: &[Source],
    sky: &dyn SkyStars,
    conditions: &Conditions,
) -> Result<Measured, String> {
    let guess = Wcs::read(header).ok_or("the header has no pointing")?;
    let ((ra, dec), _) = guess.circle(conditions.width, conditions.height);
    let scale = guess.scale_arcsec();
    let hint = |radius| Hint {
        position: Some((ra, dec, radius)),
        scale: Some((scale * (1.0 - SCALE_SHARE), scale * (1.0 + SCALE_SHARE))),
        orientation: Some(Orientation {
            rotation_deg: guess.rotation_deg(),
            tolerance_deg: ORIENTATION_DEG,
            east_left: guess.east_left(),
        }),
    };
    let spots = spots(sources);
    let within = |radius| {
        let options = SolveOptions {
            width: conditions.width,
            height: conditions.height,
            hint: hint(radius),
            order: 3,
        };
        solve(&spots, sky, None, &options)
    };
    let solution = within(POINTING_DEG[0])
        .or_else(|_| within(POINTING_DEG[1]))
        .map_err(|e| e.to_string())?;
    let ((ra_deg, dec_deg), _) = solution.wcs.circle(conditions.width, conditions.height);
    let worth = worth_matching(sources);
    let matched = solution.stars.iter().map(|(spot, star)| (worth[*spot], *star));
    let seconds = if conditions.exposure_s > 0.0 {
        conditions.exposure_s
    } else {
        1.0
    };
    let zero = photometry::zero_point(matched, seconds);
    let limiting_mag = zero.map(|z| {
        photometry::limiting_magnitude(
            &z,
            conditions.rms,
            conditions.aperture_px,
            conditions.gain_e_adu,
            seconds,
        )
    });
    Ok(Measured {
        offset_arcsec: separation(ra, dec, ra_deg, dec_deg) * 3600.0,
        offset_east_north_arcsec: (
            ((ra_deg - ra + 180.0).rem_euclid(360.0) - 180.0) * dec.to_radians().cos() * 3600.0,
            (dec_deg - dec) * 3600.0,
        ),
        ra_deg,
        dec_deg,
        zero,
        limiting_mag,
        solution,
    })
}

impl Measured {
    /// Puts solution and calibration into a header.
    pub fn record(&self, header: &mut Header, catalogue: &str, width: usize, height: usize) {
        record_solution(header, &self.solution, width, height);
        header.text("WCSCAT", catalogue, "catalogue of the solution");
        if let Some(zero) = &self.zero {
            header.number("MAGZP", format!("{:.4}", zero.mag), "[mag] of one count a second");
            header.number("MAGZPERR", format!("{:.4}", zero.error), "[mag]");
            header.number("MAGZPRMS", format!("{:.4}", zero.scatter), "[mag] scatter of the stars");
            header.number("MAGZPN", zero.stars, "stars of the zero point");
        }
        if let Some(limit) = self.limiting_mag {
            header.number("MAGLIM", format!("{limit:.3}"), "[mag] five sigma");
        }
    }
}

/// Puts a plate solution into a header.
pub fn record_solution(header: &mut Header, solution: &Solution, width: usize, height: usize) {
    solution.wcs.write(header, width, height);
    header.number("WCSNREF", solution.matched, "stars of the plate solution");
    header.number(
        "WCSRMS",
        format!("{:.4}", solution.rms_arcsec),
        "[arcsec] of the plate solution",
    );
    header.number(
        "WCSODDS",
        format!("{:.1}", solution.log_odds),
        "natural logarithm of the odds",
    );
}

/// Median ellipticity of stars, and whether it says that they are trailed; `None` with fewer than five.
pub fn trailing(sources: &[Source]) -> Option<(f64, bool)> {
    let mut values: Vec<f64> = sources.iter().filter(|s| s.flags == 0).map(|s| s.ellipticity).collect();
    if values.len() < 5 {
        return None;
    }
    let middle = values.len() / 2;
    let median = *values.select_nth_unstable_by(middle, f64::total_cmp).1;
    Some((median, median > TRAILED))
}
