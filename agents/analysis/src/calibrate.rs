//! Masters, and their application.

use crate::masters;
use alidade_fits::Image;
use serde::{Deserialize, Serialize};

/// What a frame had to do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "missing")]
pub enum Degradation {
    #[error("no master bias")]
    Bias,
    #[error("no master dark")]
    Dark,
    #[error("no master flat for filter {filter}")]
    Flat { filter: String },
    #[error("the {master} has another size than the frame")]
    Size { master: String },
    #[error("overscan: {cause}")]
    Overscan { cause: String },
    #[error("bad-pixel mask: {cause}")]
    BadPixels { cause: String },
    /// A master was used that is not what it should be.
    #[error("the {master} is in doubt: {cause}")]
    Doubtful { master: String, cause: String },
}

/// Median; the mean of the two middle values of an even number. Zero without values.
pub(crate) fn median(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let (_, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = *upper;
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = values[..middle].iter().copied().max_by(f32::total_cmp).unwrap_or(upper);
    (lower + upper) / 2.0
}

/// Combines equal frames pixel by pixel: mean of what lies within four scatters of the median, the scatter estimated
/// as 1.4826 times the median absolute deviation. `None` without frames or with frames of different sizes.
pub fn combine(frames: &[Image]) -> Option<Image> {
    let first = frames.first()?;
    if frames
        .iter()
        .any(|f| (f.width, f.height) != (first.width, first.height) || f.pixels.len() != first.pixels.len())
    {
        return None;
    }
    let slices: Vec<&[f32]> = frames.iter().map(|f| f.pixels.as_slice()).collect();
    let mut pixels = vec![0f32; first.pixels.len()];
    masters::combine_band(&slices, &mut pixels, masters::Method::Clipped);
    Some(Image {
        width: first.width,
        height: first.height,
        pixels,
    })
}

/// Masters that fit one frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Masters<'a> {
    pub bias: Option<&'a Image>,
    /// Bias-subtracted, in units per second.
    pub dark_rate: Option<&'a Image>,
    pub flat: Option<&'a Image>,
}

/// Takes bias and dark off and divides by the flat; what is missing is said, not failed on.
pub fn apply(raw: &mut Image, masters: Masters<'_>, exposure_s: f64, filter: &str) -> Vec<Degradation> {
    let mut degradations = Vec::new();
    let count = raw.pixels.len();
    let mut fitting = |master: Option<&'_ Image>, name: &str, missing: Degradation| match master {
        None => {
            degradations.push(missing);
            false
        }
        Some(master) if master.pixels.len() != count => {
            degradations.push(Degradation::Size { master: name.into() });
            false
        }
        Some(_) => true,
    };
    let use_bias = fitting(masters.bias, "master bias", Degradation::Bias);
    let use_dark = fitting(masters.dark_rate, "master dark", Degradation::Dark);
    let use_flat = fitting(masters.flat, "master flat", Degradation::Flat { filter: filter.into() });
    if let Some(bias) = masters.bias.filter(|_| use_bias) {
        raw.pixels.iter_mut().zip(&bias.pixels).for_each(|(p, b)| *p -= b);
    }
    if let Some(dark) = masters.dark_rate.filter(|_| use_dark) {
        let seconds = exposure_s as f32;
        raw.pixels
            .iter_mut()
            .zip(&dark.pixels)
            .for_each(|(p, d)| *p -= d * seconds);
    }
    if let Some(flat) = masters.flat.filter(|_| use_flat) {
        raw.pixels
            .iter_mut()
            .zip(&flat.pixels)
            .for_each(|(p, f)| *p = if *f > 0.05 { *p / f } else { f32::NAN });
    }
    degradations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat_image(value: f32) -> Image {
        Image {
            width: 4,
            height: 2,
            pixels: vec![value; 8],
        }
    }

    #[test]
    fn a_cosmic_ray_in_one_of_five_frames_leaves_no_trace_in_the_master() {
        let mut frames: Vec<Image> = [100.0, 101.0, 99.0, 100.5, 99.5].map(flat_image).to_vec();
        frames[2].pixels[3] = 9000.0;
        let master = combine(&frames).unwrap();
        assert!((master.pixels[3] - 100.25).abs() < 0.01, "{}", master.pixels[3]);
        assert!((master.pixels[0] - 100.0).abs() < 0.01);
    }

    #[test]
    fn frames_of_different_sizes_make_no_master() {
        let other = Image {
            width: 2,
            height: 4,
            pixels: vec![1.0; 8],
        };
        assert_eq!(combine(&[flat_image(1.0), other]), None);
        assert_eq!(combine(&[]), None);
    }

    #[test]
    fn what_is_missing_is_said_and_the_rest_is_done() {
        let mut raw = flat_image(1100.0);
        let bias = flat_image(1000.0);
        let small = Image {
            width: 1,
            height: 1,
            pixels: vec![1.0],
        };
        let masters = Masters {
            bias: Some(&bias),
            dark_rate: None,
            flat: Some(&small),
        };
        let degradations = apply(&mut raw, masters, 60.0, "r");
        assert_eq!(
            degradations,
            [
                Degradation::Dark,
                Degradation::Size {
                    master: "master flat".into()
                }
            ]
        );
        assert_eq!(raw.pixels, vec![100.0; 8]);
    }
}
