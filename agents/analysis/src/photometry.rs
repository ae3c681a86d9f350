//! Photometry: from counts to magnitudes.
//!
//! Terms:
//! - *instrumental magnitude*: -2.5 log10 of the counts a second.
//! - *zero point*: what is added to it to give the catalogue's magnitude; at the air mass of the frame.
//! - *limiting magnitude*: of a star whose aperture holds five times its noise.
//! - *extinction*: by how much the zero point falls for each air mass.

use crate::{
    astrometry::{Star, fit},
    extract::{self, Source},
};
use alidade_fits::Image;
use serde::Serialize;

/// Signal to noise of the limiting magnitude, and of stars that calibrate.
const LIMIT_SNR: f64 = 5.0;
const CALIBRATOR_SNR: f64 = 10.0;
/// Deviations beyond this many scatters are clipped.
const CLIP: f64 = 3.0;
/// Median absolute deviation to standard deviation of a normal distribution.
const MAD: f64 = 1.4826;

/// A frame's zero point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ZeroPoint {
    /// For counts a second.
    pub mag: f64,
    /// Of the mean: scatter over the root of the number.
    pub error: f64,
    /// Standard deviation of one star.
    pub scatter: f64,
    pub stars: usize,
}

/// A measured brightness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Brightness {
    Detected {
        mag: f64,
        error: f64,
    },
    /// Not seen: fainter than this.
    Fainter {
        mag: f64,
    },
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return f64::NAN;
    }
    let (lower, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    match lower.iter().copied().max_by(f64::total_cmp) {
        Some(low) if values.len().is_multiple_of(2) => (low + upper) / 2.0,
        _ => upper,
    }
}

/// Mean of what remains after clipping about the median, with its scatter and number; `None` for fewer than three.
pub fn clipped(values: &[f64]) -> Option<(f64, f64, usize)> {
    let mut kept: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    for _ in 0..10 {
        let centre = median(&mut kept.clone());
        let mut off: Vec<f64> = kept.iter().map(|v| (v - centre).abs()).collect();
        let reach = CLIP * (MAD * median(&mut off)).max(1e-6);
        let before = kept.len();
        kept.retain(|v| (v - centre).abs() <= reach);
        if kept.len() == before {
            break;
        }
    }
    if kept.len() < 3 {
        return None;
    }
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let scatter = (kept.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (kept.len() - 1) as f64).sqrt();
    Some((mean, scatter, kept.len()))
}

/// The zero point of stars that were matched with a catalogue, from their fixed apertures. Saturated, cut and blended
/// stars, and faint ones, do not calibrate.
pub fn zero_point<'a>(matched: impl Iterator<Item = (&'a Source, Star)>, exposure_s: f64) -> Option<ZeroPoint> {
    let spoiled = extract::BORDER | extract::SATURATED | extract::BLENDED;
    let differences: Vec<f64> = matched
        .filter(|(s, _)| s.flags & spoiled == 0 && s.flux > CALIBRATOR_SNR * s.flux_err)
        .map(|(source, star)| star.mag + 2.5 * (source.flux / exposure_s).log10())
        .collect();
    let (mag, scatter, stars) = clipped(&differences)?;
    Some(ZeroPoint {
        mag,
        error: scatter / (stars as f64).sqrt(),
        scatter,
        stars,
    })
}

/// Faintest star of an aperture of `radius_px` over sky noise `rms`.
pub fn limiting_magnitude(zero: &ZeroPoint, rms: f32, radius_px: f64, gain_e_adu: f64, exposure_s: f64) -> f64 {
    // Flux f with f = snr sqrt(noise^2 + f / gain).
    let sky = std::f64::consts::PI * radius_px * radius_px * f64::from(rms).powi(2);
    let half = LIMIT_SNR * LIMIT_SNR / (2.0 * gain_e_adu.max(1e-6));
    let flux = half + (half * half + LIMIT_SNR * LIMIT_SNR * sky).sqrt();
    zero.mag - 2.5 * (flux / exposure_s).log10()
}

/// Counts in an aperture at a place of a background-subtracted image, whether something is there or not, and their noise;
/// `None` where less than half of the aperture has values.
pub fn forced_flux(image: &Image, (x, y): (f64, f64), rms: f32, radius_px: f64, gain_e_adu: f64) -> Option<(f64, f64)> {
    let inside = x >= 0.0 && y >= 0.0 && x < image.width as f64 && y < image.height as f64;
    let (flux, area) = extract::aperture(image, x, y, radius_px);
    if !inside || area < 0.5 * std::f64::consts::PI * radius_px * radius_px {
        return None;
    }
    let noise = (area * f64::from(rms).powi(2) + flux.max(0.0) / gain_e_adu.max(1e-6)).sqrt();
    Some((flux, noise))
}

/// The same as a brightness.
pub fn forced(
    image: &Image,
    place: (f64, f64),
    zero: &ZeroPoint,
    rms: f32,
    radius_px: f64,
    gain_e_adu: f64,
    exposure_s: f64,
) -> Option<Brightness> {
    let (flux, noise) = forced_flux(image, place, rms, radius_px, gain_e_adu)?;
    if flux > 3.0 * noise {
        let error = (2.5 / std::f64::consts::LN_10 * noise / flux).hypot(zero.error);
        let mag = zero.mag - 2.5 * (flux / exposure_s).log10();
        Some(Brightness::Detected { mag, error })
    } else {
        let mag = limiting_magnitude(zero, rms, radius_px, gain_e_adu, exposure_s);
        Some(Brightness::Fainter { mag })
    }
}

/// Extinction (magnitudes an air mass) and zero point outside the atmosphere, of frames at several air masses; `None`
/// where they span less than 0.2.
pub fn extinction(frames: &[(f64, f64)]) -> Option<(f64, f64)> {
    let low = frames.iter().map(|f| f.0).fold(f64::INFINITY, f64::min);
    let high = frames.iter().map(|f| f.0).fold(f64::NEG_INFINITY, f64::max);
    if frames.len() < 3 || high - low < 0.2 {
        return None;
    }
    // A cloud only dims: frames far below the line are left out and the line drawn again.
    let mut kept: Vec<(f64, f64)> = frames.to_vec();
    let mut line = (0.0, 0.0);
    for _ in 0..5 {
        let rows: Vec<Vec<f64>> = kept.iter().map(|f| vec![1.0, -f.0]).collect();
        let values: Vec<f64> = kept.iter().map(|f| f.1).collect();
        let found = fit::least_squares(&rows, &values)?;
        line = (found[1], found[0]);
        let off = |f: &(f64, f64)| f.1 - (found[0] - found[1] * f.0);
        let mut sizes: Vec<f64> = kept.iter().map(|f| off(f).abs()).collect();
        let reach = CLIP * (MAD * median(&mut sizes)).max(0.005);
        let before = kept.len();
        kept.retain(|f| off(f).abs() <= reach);
        if kept.len() == before || kept.len() < 3 {
            break;
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(flux: f64, flags: u8) -> Source {
        Source {
            x: 0.0,
            y: 0.0,
            x_win: 0.0,
            y_win: 0.0,
            flux,
            flux_err: flux.sqrt(),
            flux_auto: flux,
            flux_auto_err: 1.0,
            fwhm_px: 3.0,
            a_px: 1.3,
            b_px: 1.3,
            theta_deg: 0.0,
            ellipticity: 0.0,
            peak: flux / 10.0,
            area_px: 20,
            flags,
        }
    }

    #[test]
    fn variable_and_saturated_stars_do_not_move_the_zero_point() {
        let flux = |mag: f64| 30.0 * 10f64.powf(-0.4 * (mag - 22.5));
        let mut pairs: Vec<(Source, Star)> = (0..20)
            .map(|n| {
                let mag = 12.0 + f64::from(n) * 0.2;
                let wobble = f64::from(n % 3 - 1) * 0.01;
                (
                    source(flux(mag + wobble), 0),
                    Star {
                        ra_deg: 0.0,
                        dec_deg: 0.0,
                        mag,
                    },
                )
            })
            .collect();
        pairs[3].0.flux *= 4.0;
        pairs[5].0.flux *= 0.2;
        pairs[7].0.flux *= 0.7;
        pairs[7].0.flags = extract::SATURATED;
        let zero = zero_point(pairs.iter().map(|(s, c)| (s, *c)), 30.0).unwrap();
        assert!((zero.mag - 22.5).abs() < 0.006, "{zero:?}");
        assert_eq!(zero.stars, 17);
        assert_eq!(zero_point(pairs[..2].iter().map(|(s, c)| (s, *c)), 30.0), None);
    }

    #[test]
    fn the_limit_is_the_star_with_five_times_its_noise() {
        let zero = ZeroPoint {
            mag: 22.5,
            error: 0.01,
            scatter: 0.02,
            stars: 10,
        };
        let limit = limiting_magnitude(&zero, 10.0, 5.0, 1.5, 30.0);
        let flux = 30.0 * 10f64.powf(-0.4 * (limit - 22.5));
        let noise = (std::f64::consts::PI * 25.0 * 100.0 + flux / 1.5).sqrt();
        assert!((flux / noise - 5.0).abs() < 1e-6);
        let empty = Image {
            width: 40,
            height: 40,
            pixels: vec![0.0; 1600],
        };
        let found = forced(&empty, (20.0, 20.0), &zero, 10.0, 5.0, 1.5, 30.0);
        assert_eq!(found, Some(Brightness::Fainter { mag: limit }));
        assert_eq!(forced(&empty, (-3.0, 20.0), &zero, 10.0, 5.0, 1.5, 30.0), None);
    }

    #[test]
    fn extinction_is_found_through_a_passing_cloud() {
        let frames: Vec<(f64, f64)> = (0..12)
            .map(|n| {
                let air = 1.0 + f64::from(n) * 0.1;
                let cloud = if n == 4 || n == 5 { 0.8 } else { 0.0 };
                (air, 23.0 - 0.15 * air - cloud + f64::from(n % 2) * 0.004)
            })
            .collect();
        let (slope, above) = extinction(&frames).unwrap();
        assert!(
            (slope - 0.15).abs() < 0.01 && (above - 23.0).abs() < 0.02,
            "{slope} {above}"
        );
        assert_eq!(extinction(&frames[..2]), None);
    }
}
