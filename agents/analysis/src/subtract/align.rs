//! A reference frame brought onto the pixels of a new one.

use super::{MOST_STAMPS, Searched, SubtractError};
use crate::{
    astrometry::{
        Hint, SkyStars, SolveOptions, Star, Wcs,
        solve::{Spot, solve},
        stars::separation,
    },
    extract::{BLENDED, BORDER, SATURATED, Source},
    measure,
};
use alidade_fits::Image;

/// Sources of the reference as a catalogue, a pixel an arcsecond.
struct Pixels(Vec<Star>);

/// Where the reference's pixels are on the sky that serves for the alignment alone.
fn stage(image: &Image) -> Wcs {
    let step = 1.0 / 3600.0;
    Wcs {
        crval: (180.0, 0.0),
        crpix: ((image.width as f64 - 1.0) / 2.0, (image.height as f64 - 1.0) / 2.0),
        cd: [[-step, 0.0], [0.0, step]],
        sip: None,
    }
}

impl SkyStars for Pixels {
    fn cone(&self, ra: f64, dec: f64, radius: f64) -> Result<Vec<Star>, String> {
        let near = |s: &&Star| separation(ra, dec, s.ra_deg, s.dec_deg) <= radius;
        Ok(self.0.iter().filter(near).copied().collect())
    }

    fn depth(&self) -> f64 {
        f64::INFINITY
    }

    fn name(&self) -> String {
        "reference frame".into()
    }
}

/// Where the new frame's pixels are in the reference, and the stars both have.
pub(super) struct Alignment {
    new: Wcs,
    stage: Wcs,
    pub rms_px: f64,
    /// Places in the new frame.
    pub stars: Vec<(f64, f64)>,
}

pub(super) fn align(new: &Searched, reference: &Searched, scale: (f64, f64)) -> Result<Alignment, SubtractError> {
    let stage = stage(&reference.image);
    let stars = measure::worth_matching(&reference.sources)
        .iter()
        .filter(|s| s.flux_auto > 0.0)
        .map(|s| {
            let (ra_deg, dec_deg) = stage.sky_of(s.x_win, s.y_win);
            Star {
                ra_deg,
                dec_deg,
                mag: -2.5 * s.flux_auto.log10(),
            }
        })
        .collect();
    let reach = (reference.image.width as f64).hypot(reference.image.height as f64) / 2.0 / 3600.0;
    let options = SolveOptions {
        width: new.image.width,
        height: new.image.height,
        hint: Hint {
            position: Some((180.0, 0.0, reach)),
            scale: Some(scale),
            orientation: None,
        },
        order: 3,
    };
    let spots: Vec<Spot> = measure::spots(&new.sources);
    let found = solve(&spots, &Pixels(stars), None, &options).map_err(|e| SubtractError::Alignment(e.to_string()))?;
    let worth = measure::worth_matching(&new.sources);
    let good = |s: &Source| s.flags & (SATURATED | BORDER | BLENDED) == 0 && s.flux > 20.0 * s.flux_err;
    let mut stars: Vec<&Source> = found.stars.iter().map(|(n, _)| worth[*n]).filter(|s| good(s)).collect();
    stars.sort_by(|a, b| b.flux.total_cmp(&a.flux));
    Ok(Alignment {
        rms_px: found.rms_px,
        stars: stars.iter().take(2 * MOST_STAMPS).map(|s| (s.x_win, s.y_win)).collect(),
        new: found.wcs,
        stage,
    })
}

/// Weights of the six pixels around a place by Lanczos' window of three lobes, 3 sin(pi d) sin(pi d / 3) / (pi d)^2, made
/// to sum to one: the place lies between the third pixel and the fourth, `part` of a pixel from the third.
///
/// The distances d are a whole number apart, so one sine and one cosine of pi part / 3 give all twelve sines: the sum of
/// angles for those of a third, sin 3a = 3 sin a - 4 sin^3 a for the others.
fn lanczos(part: f64) -> [f64; 6] {
    const HALF: f64 = 0.5;
    const ROOT: f64 = 0.866_025_403_784_438_6;
    /// Sine and cosine of 2, 1, 0, -1, -2, -3 thirds of pi.
    const THIRDS: [(f64, f64); 6] = [
        (ROOT, -HALF),
        (ROOT, HALF),
        (0.0, 1.0),
        (-ROOT, HALF),
        (-ROOT, -HALF),
        (0.0, -1.0),
    ];
    if part < 1e-9 {
        return [0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    }
    if part > 1.0 - 1e-9 {
        return [0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    }
    let (sine, cosine) = (std::f64::consts::PI * part / 3.0).sin_cos();
    let whole = sine * (3.0 - 4.0 * sine * sine);
    let mut weights = [0.0; 6];
    let mut sum = 0.0;
    for (n, (weight, (s, c))) in weights.iter_mut().zip(THIRDS).enumerate() {
        let distance = part + 2.0 - n as f64;
        let sign = if n % 2 == 0 { whole } else { -whole };
        *weight = sign * (sine * c + cosine * s) / (distance * distance);
        sum += *weight;
    }
    weights.map(|weight| weight / sum)
}

/// The reference on the pixels of the new frame; no value outside, beside missing pixels and saturated ones.
pub(super) fn resampled(reference: &Searched, alignment: &Alignment, width: usize, height: usize) -> Image {
    /// Between nodes so many pixels apart places are interpolated.
    const STEP: usize = 32;
    let place = |x: usize, y: usize| {
        let (ra, dec) = alignment.new.sky_of(x as f64, y as f64);
        alignment.stage.pixel_of(ra, dec).unwrap_or((-1e9, -1e9))
    };
    let columns = width.div_ceil(STEP) + 1;
    let nodes: Vec<(f64, f64)> = (0..=height.div_ceil(STEP))
        .flat_map(|row| (0..columns).map(move |column| (column, row)))
        .map(|(column, row)| place(column * STEP, row * STEP))
        .collect();
    let source = &reference.image;
    let limit = reference.saturation;
    let mut pixels = vec![f32::NAN; width * height];
    let rows = pixels.chunks_mut(width.max(1)).enumerate();
    crate::parallel::each(
        rows,
        width * height,
        || (),
        |(), (y, line)| {
            let (row, v) = (y / STEP, (y % STEP) as f64 / STEP as f64);
            for (x, value) in line.iter_mut().enumerate() {
                let (column, u) = (x / STEP, (x % STEP) as f64 / STEP as f64);
                let at = |c: usize, r: usize| nodes[(row + r) * columns + column + c];
                let mix = |of: fn((f64, f64)) -> f64| {
                    (1.0 - v) * ((1.0 - u) * of(at(0, 0)) + u * of(at(1, 0)))
                        + v * ((1.0 - u) * of(at(0, 1)) + u * of(at(1, 1)))
                };
                *value = interpolated(source, mix(|p| p.0), mix(|p| p.1), limit);
            }
        },
    );
    Image { width, height, pixels }
}

fn interpolated(image: &Image, x: f64, y: f64, limit: f32) -> f32 {
    let (left, bottom) = (x.floor() as i64 - 2, y.floor() as i64 - 2);
    if left < 0 || bottom < 0 || left + 6 > image.width as i64 || bottom + 6 > image.height as i64 {
        return f32::NAN;
    }
    let (wx, wy) = (lanczos(x - x.floor()), lanczos(y - y.floor()));
    let mut total = 0.0;
    for (n, v) in wy.iter().enumerate() {
        let row = &image.pixels[(bottom as usize + n) * image.width + left as usize..][..6];
        if row.iter().any(|p| p.is_nan() || *p >= limit) {
            return f32::NAN;
        }
        total += v * row.iter().zip(&wx).map(|(p, w)| f64::from(*p) * w).sum::<f64>();
    }
    total as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_the_window_are_those_of_its_formula() {
        let plain = |t: f64| {
            let p = std::f64::consts::PI * t;
            if t.abs() < 1e-12 {
                1.0
            } else {
                3.0 * p.sin() * (p / 3.0).sin() / (p * p)
            }
        };
        for step in 0..=1000 {
            let part = f64::from(step) / 1000.0;
            let expected = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|n| plain(part + 2.0 - n));
            let sum: f64 = expected.iter().sum();
            for (found, expected) in lanczos(part).iter().zip(expected.map(|w| w / sum)) {
                assert!((found - expected).abs() < 1e-12, "{part}: {found} for {expected}");
            }
        }
    }
}
