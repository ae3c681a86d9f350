//! Pixels that do not do what the others do.
//!
//! Terms:
//! - *hot*: with far more dark current than the detector around it.
//! - *dead*: with far less, or far more, response to light than the detector around it.
//! - *bad column*: one of which more than a third is bad; then all of it is taken for bad.

use crate::background::Background;
use alidade_fits::{Header, Image};
use serde::Serialize;

/// A pixel is hot: bits of a mask's values.
pub const HOT: u8 = 1;
/// A pixel is dead, or answers light too strongly.
pub const DEAD: u8 = 2;
/// Its column is bad.
pub const COLUMN: u8 = 4;

/// Limits by which pixels are judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Dark current over that of the surroundings, in robust scatters of the master dark.
    pub hot_sigma: f32,
    /// Response over that of the surroundings: dead below this ...
    pub least_response: f32,
    /// ... and above this.
    pub most_response: f32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hot_sigma: 20.0,
            least_response: 0.5,
            most_response: 1.5,
        }
    }
}

/// Share of bad pixels from which a column is bad.
const BAD_COLUMN: f64 = 1.0 / 3.0;
/// How far a good neighbour is looked for, pixels.
const REACH: usize = 5;

/// Which pixels of a detector are bad, and why: sums of [`HOT`], [`DEAD`], [`COLUMN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPixels {
    pub width: usize,
    pub height: usize,
    pub why: Vec<u8>,
}

impl BadPixels {
    /// None are bad.
    pub fn none(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            why: vec![0; width * height],
        }
    }

    /// From a master dark (at any scale) and flats (mean 1) of one size; what has another size than the first is left
    /// out. `None` without any.
    pub fn find(dark: Option<&Image>, flats: &[&Image], limits: &Limits) -> Option<Self> {
        let first = dark.or(flats.first().copied())?;
        let mut mask = Self::none(first.width, first.height);
        let fits = |image: &&Image| (image.width, image.height) == (mask.width, mask.height);
        let (dark, flats): (Option<&Image>, Vec<&Image>) =
            (dark.filter(fits), flats.iter().copied().filter(fits).collect());
        if let Some(dark) = dark {
            mask.hot(dark, limits);
        }
        for flat in flats {
            mask.dead(flat, limits);
        }
        mask.columns();
        Some(mask)
    }

    fn hot(&mut self, dark: &Image, limits: &Limits) {
        // Glow of the amplifier is smooth and no defect.
        let smooth = Background::of(dark);
        let mut level = dark.clone();
        smooth.subtract(&mut level);
        let mut apart: Vec<f32> = level.pixels.iter().filter(|p| p.is_finite()).map(|p| p.abs()).collect();
        let scatter = 1.4826 * crate::calibrate::median(&mut apart);
        // A dark of which most pixels are equal has no scatter: its mean deviation stands in.
        let scatter = if scatter > 0.0 { scatter } else { mean_deviation(&level) };
        for (why, value) in self.why.iter_mut().zip(&level.pixels) {
            if !value.is_finite() || (scatter > 0.0 && *value > limits.hot_sigma * scatter) {
                *why |= HOT;
            }
        }
    }

    fn dead(&mut self, flat: &Image, limits: &Limits) {
        // Vignetting and dust are smooth: a pixel is compared with its surroundings.
        let smooth = Background::of(flat);
        let mut level = flat.clone();
        smooth.subtract(&mut level);
        for ((why, apart), value) in self.why.iter_mut().zip(&level.pixels).zip(&flat.pixels) {
            let expected = value - apart;
            let response = value / expected;
            if !(limits.least_response..=limits.most_response).contains(&response) || expected <= 0.0 {
                *why |= DEAD;
            }
        }
    }

    fn columns(&mut self) {
        for x in 0..self.width {
            let column = || (0..self.height).map(|y| y * self.width + x);
            let bad = column().filter(|at| self.why[*at] != 0).count();
            if bad as f64 > BAD_COLUMN * self.height as f64 {
                let places: Vec<usize> = column().collect();
                places.iter().for_each(|at| self.why[*at] |= COLUMN);
            }
        }
    }

    /// From an image of which every value but zero is bad, as other programs write masks.
    pub fn of_image(image: &Image) -> Self {
        let why = image.pixels.iter().map(|p| match *p {
            0.0 => 0,
            p if p.is_finite() && p > 0.0 && p < 8.0 => p as u8,
            _ => DEAD,
        });
        Self {
            width: image.width,
            height: image.height,
            why: why.collect(),
        }
    }

    /// As a file.
    pub fn bytes(&self, header: &Header) -> Result<Vec<u8>, alidade_fits::FitsError> {
        let mut header = header.clone();
        header.text("IMAGETYP", "bad pixel mask", "0 good, 1 hot, 2 dead, 4 column");
        header.number("NBADPIX", self.count(), "[pix]");
        let pixels: Vec<u16> = self.why.iter().map(|w| u16::from(*w)).collect();
        alidade_fits::write_u16(&header, self.width, self.height, &pixels)
    }

    /// Adds what another mask of the same size knows; `false` for one of another size.
    pub fn add(&mut self, other: &BadPixels) -> bool {
        if (self.width, self.height) != (other.width, other.height) {
            return false;
        }
        self.why.iter_mut().zip(&other.why).for_each(|(a, b)| *a |= b);
        true
    }

    pub fn count(&self) -> usize {
        self.why.iter().filter(|w| **w != 0).count()
    }

    pub fn is_bad(&self, x: usize, y: usize) -> bool {
        x < self.width && y < self.height && self.why[y * self.width + x] != 0
    }

    /// A part of it; `None` where the part reaches beyond.
    pub fn part(&self, section: &crate::overscan::Section) -> Option<Self> {
        if !section.lies_in(self.width, self.height) {
            return None;
        }
        let rows = section.y.0..section.y.1;
        Some(Self {
            width: section.width(),
            height: section.height(),
            why: rows
                .flat_map(|y| {
                    self.why[y * self.width + section.x.0..y * self.width + section.x.1]
                        .iter()
                        .copied()
                })
                .collect(),
        })
    }

    /// Fills bad pixels by their good neighbours: the mean of those within two pixels, weighted by the inverse square of
    /// the distance; where there is none, of the nearest ring that has some within five pixels; else they stay without
    /// a value. How many were filled, and how many not.
    pub fn interpolate(&self, image: &mut Image) -> (usize, usize) {
        if (self.width, self.height) != (image.width, image.height) {
            return (0, 0);
        }
        let (mut filled, mut left) = (0, 0);
        let mut values = Vec::new();
        for (at, _) in self.why.iter().enumerate().filter(|(_, w)| **w != 0) {
            let value = (2..=REACH).find_map(|reach| self.around(image, at, reach));
            if value.is_some() {
                filled += 1;
            } else {
                left += 1;
            }
            values.push((at, value.unwrap_or(f32::NAN)));
        }
        for (at, value) in values {
            image.pixels[at] = value;
        }
        (filled, left)
    }

    fn around(&self, image: &Image, at: usize, reach: usize) -> Option<f32> {
        let (x0, y0) = (at % self.width, at / self.width);
        let (mut sum, mut weights) = (0f64, 0f64);
        for y in y0.saturating_sub(reach)..(y0 + reach + 1).min(self.height) {
            for x in x0.saturating_sub(reach)..(x0 + reach + 1).min(self.width) {
                let place = y * self.width + x;
                if self.why[place] != 0 || !image.pixels[place].is_finite() {
                    continue;
                }
                let (dx, dy) = (x as f64 - x0 as f64, y as f64 - y0 as f64);
                let weight = 1.0 / (dx * dx + dy * dy);
                sum += weight * f64::from(image.pixels[place]);
                weights += weight;
            }
        }
        (weights > 0.0).then(|| (sum / weights) as f32)
    }
}

fn mean_deviation(image: &Image) -> f32 {
    let valid = || image.pixels.iter().filter(|p| p.is_finite());
    let count = valid().count().max(1);
    (valid().map(|p| f64::from(p.abs())).sum::<f64>() / count as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: impl Fn(usize, usize) -> f32) -> Image {
        Image {
            width: 96,
            height: 80,
            pixels: (0..80 * 96).map(|n| value(n % 96, n / 96)).collect(),
        }
    }

    /// A little noise that repeats.
    fn grain(x: usize, y: usize) -> f32 {
        ((x * 7919 + y * 104_729) % 17) as f32 / 17.0 - 0.5
    }

    #[test]
    fn hot_dead_and_whole_bad_columns_are_found_and_glow_and_vignetting_are_not() {
        let dark = image(|x, y| {
            let glow = 3.0 * (-((95 - x) as f32) / 30.0).exp();
            10.0 + glow + grain(x, y) + if (x, y) == (20, 30) { 60.0 } else { 0.0 }
        });
        let flat = image(|x, y| {
            let vignetting = 1.0 - 0.2 * ((x as f32 - 48.0) / 48.0).powi(2);
            let response = if (x, y) == (50, 60) || (x == 70 && y < 40) {
                0.1
            } else {
                1.0
            };
            vignetting * response + 0.01 * grain(x, y)
        });
        let mask = BadPixels::find(Some(&dark), &[&flat], &Limits::default()).unwrap();
        assert_eq!(mask.why[30 * 96 + 20], HOT);
        assert_eq!(mask.why[60 * 96 + 50], DEAD);
        assert_eq!(mask.why[79 * 96 + 70], COLUMN);
        assert_eq!(mask.count(), 2 + 80);
    }

    #[test]
    fn bad_pixels_are_filled_with_what_surrounds_them() {
        let mut frame = image(|x, y| 100.0 + 2.0 * x as f32 + y as f32);
        let truth = frame.clone();
        let mut mask = BadPixels::none(96, 80);
        for y in 0..80 {
            mask.why[y * 96 + 40] = COLUMN;
        }
        mask.why[5 * 96 + 7] = HOT;
        frame.pixels[5 * 96 + 7] = 1e6;
        assert_eq!(mask.interpolate(&mut frame), (81, 0));
        for (at, _) in mask.why.iter().enumerate().filter(|(_, w)| **w != 0) {
            // At the ends of the column the neighbours lie on one side along y.
            assert!((frame.pixels[at] - truth.pixels[at]).abs() < 1.0, "{at}");
        }
        assert_eq!(
            mask.interpolate(&mut Image {
                width: 1,
                height: 1,
                pixels: vec![1.0]
            }),
            (0, 0)
        );
    }

    #[test]
    fn a_mask_survives_its_file_and_any_value_of_another_program_is_bad() {
        let mut mask = BadPixels::none(96, 80);
        mask.why[3] = HOT | COLUMN;
        let bytes = mask.bytes(&Header::new()).unwrap();
        let (header, read) = alidade_fits::read(&bytes).unwrap();
        assert_eq!(BadPixels::of_image(&read), mask);
        assert_eq!(header.get_usize("NBADPIX"), Some(1));
        let other = image(|x, _| if x == 3 { 255.0 } else { 0.0 });
        assert_eq!(BadPixels::of_image(&other).count(), 80);
    }

    #[test]
    fn a_detector_without_a_good_pixel_near_stays_without_a_value() {
        let mut all = BadPixels::none(96, 80);
        all.why.fill(DEAD);
        let mut frame = image(|_, _| 5.0);
        assert_eq!(all.interpolate(&mut frame), (0, 96 * 80));
        assert!(frame.pixels.iter().all(|p| p.is_nan()));
    }
}
