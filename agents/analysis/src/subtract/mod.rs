//! Subtraction of a reference frame: what remains has changed.
//!
//! The stars of both frames are matched; the one is resampled onto the pixels of the other; the sharper is convolved so
//! that its stars look like the blurrier one's, with a kernel that varies over the field (`kernel`; Alard & Lupton 1998,
//! ApJ 503, 325; Alard 2000, A&AS 144, 363); the difference is searched, and what is an artefact of bright stars, of the
//! alignment or of the border is told apart.

mod align;
mod kernel;

use crate::{
    background::Background,
    extract::{self, BORDER, Options, Source},
};
use alidade_fits::Image;
use align::{align, resampled};
use kernel::Stamp;
use serde::Serialize;

/// Stars that the kernel is fitted to, at most and at least.
const MOST_STAMPS: usize = 150;
const LEAST_STAMPS: usize = 6;
/// Signal to noise of a candidate.
const LEAST_SNR: f64 = 6.0;
/// Share of a star's light that subtraction may leave behind.
const RESIDUE: f64 = 0.03;
/// Most light of the wrong sign about a candidate, as a share of its own.
const DIPOLE: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SubtractOptions {
    pub gain_e_adu: f64,
    /// Level from which pixels are saturated, in units of the files.
    pub saturation: f64,
}

/// A frame with its sky taken off.
#[derive(Debug, Clone)]
pub struct Searched {
    pub image: Image,
    pub rms: f32,
    pub sources: Vec<Source>,
    pub fwhm_px: f64,
    /// Background-subtracted level of saturation.
    saturation: f32,
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub x: f64,
    pub y: f64,
    /// In units of the new frame; negative where the reference was brighter.
    pub flux: f64,
    pub snr: f64,
    /// Width over that of the stars.
    pub fwhm_ratio: f64,
    /// Signal to noise with a share of the light of the star beneath counted as noise.
    pub score: f64,
    /// On top of a star of the reference.
    pub on_star: bool,
}

/// The result.
#[derive(Debug, Clone)]
pub struct Difference {
    /// New less reference, on the pixels of the new frame; no value where one of them has none.
    pub image: Image,
    pub rms: f32,
    pub stars: usize,
    pub alignment_rms_px: f64,
    /// Flux of the reference in units of the new frame.
    pub flux_ratio: f64,
    /// `reference` or `new`.
    pub convolved: &'static str,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SubtractError {
    #[error("the frames cannot be aligned: {0}")]
    Alignment(String),
    #[error("only {0} stars for the kernel")]
    TooFewStars(usize),
    #[error("the kernel cannot be fitted")]
    Kernel,
}

/// Takes the sky off and finds the sources.
pub fn searched(mut image: Image, options: &SubtractOptions) -> Searched {
    let sky = Background::of(&image);
    sky.subtract(&mut image);
    let saturation = (options.saturation - f64::from(sky.level)) as f32;
    let extraction = Options {
        gain_e_adu: options.gain_e_adu,
        saturation: f64::from(saturation),
        ..Options::default()
    };
    let sources = extract::extract(&image, sky.rms, &extraction);
    Searched {
        fwhm_px: extract::median_fwhm(&sources).unwrap_or(2.5),
        rms: sky.rms,
        image,
        sources,
        saturation,
    }
}

/// Subtracts a reference from a new frame. `scale` is the range of the new frame's pixels in those of the reference.
pub fn subtract(
    new: &Searched,
    reference: &Searched,
    scale: (f64, f64),
    options: &SubtractOptions,
) -> Result<Difference, SubtractError> {
    let alignment = align(new, reference, scale)?;
    let (width, height) = (new.image.width, new.image.height);
    let mut moved = resampled(reference, &alignment, width, height);
    let mut fresh = new.image.clone();
    for pixel in &mut fresh.pixels {
        if *pixel >= new.saturation {
            *pixel = f32::NAN;
        }
    }
    // The sharper one is blurred.
    let reversed = new.fwhm_px < 0.97 * reference.fwhm_px;
    let (sharp, blurred) = if reversed { (&fresh, &moved) } else { (&moved, &fresh) };
    let (narrow, wide) = if reversed {
        (new.fwhm_px, reference.fwhm_px)
    } else {
        (reference.fwhm_px, new.fwhm_px)
    };
    let basis = kernel::Basis::new(narrow, wide);
    let rms = f64::from(new.rms).hypot(f64::from(reference.rms));
    let stamps: Vec<Stamp> = alignment
        .stars
        .iter()
        .filter_map(|place| Stamp::cut(sharp, blurred, &basis, *place, rms, options.gain_e_adu))
        .take(MOST_STAMPS)
        .collect();
    if stamps.len() < LEAST_STAMPS {
        return Err(SubtractError::TooFewStars(stamps.len()));
    }
    let (fitted, used) = kernel::fit(&basis, &stamps, width, height).ok_or(SubtractError::Kernel)?;
    let model = fitted.convolve(sharp);
    let sum = fitted.sum();
    let mut image = Image {
        width,
        height,
        pixels: Vec::with_capacity(width * height),
    };
    let sign = if reversed { -1.0 } else { 1.0 };
    // In units of the new frame also where that one was convolved.
    let unit = if reversed { (1.0 / sum) as f32 } else { 1.0 };
    let pairs = blurred.pixels.iter().zip(&model);
    image
        .pixels
        .extend(pairs.map(|(target, model)| sign * unit * (target - model)));
    let rest = Background::of(&image);
    let level = rest.rms.max(f32::MIN_POSITIVE);
    let flux_ratio = if reversed { 1.0 / sum } else { sum };
    moved.pixels.iter_mut().for_each(|p| *p *= flux_ratio as f32);
    let changes = changes(&image, level, &fresh, &moved, wide, options);
    Ok(Difference {
        image,
        rms: level,
        stars: used,
        alignment_rms_px: alignment.rms_px,
        flux_ratio,
        convolved: if reversed { "new" } else { "reference" },
        changes,
    })
}

/// Searches a difference in both signs.
fn changes(
    difference: &Image,
    rms: f32,
    new: &Image,
    reference: &Image,
    fwhm: f64,
    options: &SubtractOptions,
) -> Vec<Change> {
    let mut found = Vec::new();
    for sign in [1.0f32, -1.0] {
        let mut image = difference.clone();
        image.pixels.iter_mut().for_each(|p| *p *= sign);
        let extraction = Options {
            threshold_sigma: 3.0,
            gain_e_adu: options.gain_e_adu,
            aperture_px: (1.2 * fwhm).max(3.0),
            clean: None,
            ..Options::default()
        };
        for source in extract::extract(&image, rms, &extraction) {
            if let Some(change) = change(&image, &source, rms, new, reference, fwhm, &extraction) {
                found.push(Change {
                    flux: f64::from(sign) * change.flux,
                    ..change
                });
            }
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.x.total_cmp(&b.x)));
    found
}

/// A source of the difference, unless it is an artefact.
fn change(
    image: &Image,
    source: &Source,
    rms: f32,
    new: &Image,
    reference: &Image,
    fwhm: f64,
    extraction: &Options,
) -> Option<Change> {
    let radius = extraction.aperture_px;
    let (x, y) = (source.x_win, source.y_win);
    let (flux, area) = extract::aperture(image, x, y, radius);
    let whole = std::f64::consts::PI * radius * radius;
    if area < 0.98 * whole || source.flags & BORDER != 0 {
        return None;
    }
    let (fresh, _) = extract::aperture(new, x, y, radius);
    let (old, _) = extract::aperture(reference, x, y, radius);
    // What both have is the star beneath.
    let star = fresh.min(old).max(0.0);
    let photons = (fresh.max(0.0) + old.max(0.0)) / extraction.gain_e_adu;
    let plain = (area * f64::from(rms).powi(2) + photons).sqrt();
    let score = flux / plain.hypot(RESIDUE * star);
    let (mut wrong, mut right) = (0.0, 0.0);
    let reach = (1.5 * radius) as i64;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let (px, py) = (x.round() as i64 + dx, y.round() as i64 + dy);
            let inside = (0..image.width as i64).contains(&px) && (0..image.height as i64).contains(&py);
            if inside && dx * dx + dy * dy <= reach * reach {
                let value = image.pixels[py as usize * image.width + px as usize];
                if value.is_nan() {
                    return None;
                }
                // Noise alone is not counted.
                if value > 2.0 * rms {
                    right += f64::from(value);
                } else if value < -2.0 * rms {
                    wrong -= f64::from(value);
                }
            }
        }
    }
    let ratio = source.fwhm_px / fwhm;
    let real = score >= LEAST_SNR && wrong < DIPOLE * right && (0.5..2.5).contains(&ratio);
    real.then_some(Change {
        x,
        y,
        flux,
        snr: flux / plain,
        fwhm_ratio: ratio,
        score,
        on_star: star > 5.0 * plain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Stars blurred by `sigma`, seen through a small shift and turn, `factor` as bright, with noise.
    fn frame(stars: &[(f64, f64, f64)], sigma: f64, shift: (f64, f64), factor: f64, dice: &mut Dice) -> Image {
        let (width, height) = (400, 360);
        let mut light = vec![100.0f64; width * height];
        for (x, y, flux) in stars {
            let (cx, cy) = (x + shift.0 + 1e-3 * y, y + shift.1 - 1e-3 * x);
            for py in (cy as i64 - 15).max(0)..(cy as i64 + 16).min(height as i64) {
                for px in (cx as i64 - 15).max(0)..(cx as i64 + 16).min(width as i64) {
                    let r = (px as f64 - cx).powi(2) + (py as f64 - cy).powi(2);
                    light[py as usize * width + px as usize] +=
                        factor * flux * (-r / (2.0 * sigma * sigma)).exp() / (std::f64::consts::TAU * sigma * sigma);
                }
            }
        }
        let pixels = light.iter().map(|l| (l + l.sqrt() * dice.normal()) as f32).collect();
        Image { width, height, pixels }
    }

    #[test]
    fn a_new_star_is_the_only_change_whichever_frame_is_sharper() {
        let mut dice = Dice(3);
        let mut stars: Vec<(f64, f64, f64)> = (0..90)
            .map(|_| {
                (
                    380.0 * dice.unit() + 10.0,
                    340.0 * dice.unit() + 10.0,
                    10f64.powf(3.0 + 1.8 * dice.unit()),
                )
            })
            .collect();
        let options = SubtractOptions {
            gain_e_adu: 1.0,
            saturation: 60_000.0,
        };
        let old = stars.clone();
        stars.push((211.3, 150.7, 3000.0));
        for (a, b) in [(1.8, 1.4), (1.4, 1.8)] {
            let reference = searched(frame(&old, b, (0.0, 0.0), 1.0, &mut dice), &options);
            let new = searched(frame(&stars, a, (2.3, -1.6), 1.3, &mut dice), &options);
            let difference = subtract(&new, &reference, (0.98, 1.02), &options).unwrap();
            let places: Vec<(f64, f64)> = difference.changes.iter().map(|c| (c.x, c.y)).collect();
            assert_eq!(places.len(), 1, "{:?}", difference.changes);
            let (x, y) = (211.3 + 2.3 + 0.1507, 150.7 - 1.6 - 0.2113);
            assert!((places[0].0 - x).hypot(places[0].1 - y) < 0.3, "{places:?}");
            assert!((difference.flux_ratio - 1.3).abs() < 0.03, "{}", difference.flux_ratio);
            assert!(
                (difference.changes[0].flux / 3900.0 - 1.0).abs() < 0.15,
                "{:?}",
                difference.changes
            );
        }
    }

    #[test]
    fn frames_of_different_fields_are_refused() {
        let mut dice = Dice(9);
        let mut field = || -> Vec<(f64, f64, f64)> {
            (0..60)
                .map(|_| {
                    (
                        380.0 * dice.unit() + 10.0,
                        340.0 * dice.unit() + 10.0,
                        20_000.0 * dice.unit(),
                    )
                })
                .collect()
        };
        let (one, two) = (field(), field());
        let options = SubtractOptions {
            gain_e_adu: 1.0,
            saturation: 60_000.0,
        };
        let a = searched(frame(&one, 1.5, (0.0, 0.0), 1.0, &mut dice), &options);
        let b = searched(frame(&two, 1.5, (0.0, 0.0), 1.0, &mut dice), &options);
        assert!(matches!(
            subtract(&a, &b, (0.98, 1.02), &options),
            Err(SubtractError::Alignment(_))
        ));
    }
}
