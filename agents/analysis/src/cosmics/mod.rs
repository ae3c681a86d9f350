//! Cosmic rays in a single frame, by their sharp edges: L.A.Cosmic (van Dokkum 2001, PASP 113, 1420).
//!
//! The Laplacian of the image, over the noise expected there, is high where the picture is sharper than optics can
//! make it. Stars are told apart by their *fine structure*: the median over 5 pixels less that over 9. Medians are taken
//! row by row, then column by column, as the astroscrappy package does, so that masks compare; outside the image is
//! darkness, and as many pixels of the border as a median is wide to one side keep their values.
//!
//! After the first pass only tiles in which something was replaced are looked at again: nothing else can have changed.

mod grow;
mod medians;
mod significance;

use alidade_fits::Image;
use grow::{grow, replace};
use significance::{Frame, Scratch};
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosmicOptions {
    /// Laplacian over noise from which a pixel is suspect.
    pub sigma_clip: f32,
    /// Share of it for neighbours of a cosmic ray.
    pub sigma_fraction: f32,
    /// Least contrast between Laplacian and fine structure.
    pub object_limit: f32,
    pub gain_e_adu: f32,
    pub read_noise_e: f32,
    /// Electrons; stars of at least this many are left alone.
    pub saturation_e: f32,
    pub iterations: usize,
}

impl Default for CosmicOptions {
    fn default() -> Self {
        Self {
            sigma_clip: 4.5,
            sigma_fraction: 0.3,
            object_limit: 5.0,
            gain_e_adu: 1.0,
            read_noise_e: 6.5,
            saturation_e: 65_536.0,
            iterations: 4,
        }
    }
}

/// Frames with sharper stars than this, full width at half maximum in pixels, are better left alone: van Dokkum's method
/// needs stars that are sampled.
pub const LEAST_FWHM_PX: f64 = 2.5;
/// Rows of a band of the first pass, and side of the tiles of the later ones.
const BAND: usize = 64;
const TILE: usize = 32;
/// How far a pixel's significance depends on others: two medians of seven.
const REACH: usize = 6;

/// Cosmic rays of a frame with its sky: replaces them by the mean of their surroundings and returns where they were.
/// Pixels without a value are left alone.
pub fn clean(image: &mut Image, options: &CosmicOptions) -> Vec<bool> {
    let (width, height) = (image.width, image.height);
    let mut mask = vec![false; image.pixels.len()];
    if width == 0 || width.checked_mul(height) != Some(image.pixels.len()) {
        return mask;
    }
    let mut clean: Vec<f32> = image.pixels.iter().map(|p| p * options.gain_e_adu).collect();
    let mut good: Vec<bool> = clean.iter().map(|p| p.is_finite()).collect();
    let mut level = None;
    if good.contains(&false) {
        let typical = median_of(&clean, &good);
        level = Some(typical);
        let missing = good.clone();
        clean
            .iter_mut()
            .zip(&missing)
            .filter(|(_, g)| !**g)
            .for_each(|(p, _)| *p = typical);
        spread(&mut good, &missing, width, 1);
    }
    exclude_saturated(&clean, &mut good, width, options.saturation_e);
    let mut significance = vec![0f32; clean.len()];
    let mut primary = vec![false; clean.len()];
    first_pass(&clean, &good, width, options, &mut significance, &mut primary);
    let across = width.div_ceil(TILE);
    let mut dirty: Vec<usize> = (0..across * height.div_ceil(TILE)).collect();
    for round in 0..options.iterations.max(1) {
        if round > 0 {
            let frame = Frame {
                clean: &clean,
                good: &good,
                width,
                height,
                options: *options,
            };
            look_again(&frame, &dirty, across, &mut significance, &mut primary);
        }
        let found = grow(&primary, &significance, &good, &mask, (width, height), &dirty, options);
        if found.is_empty() {
            break;
        }
        found.iter().for_each(|at| mask[*at] = true);
        dirty = replace(&mut clean, &mask, &good, (width, height), &found, || {
            *level.get_or_insert_with(|| median_of(&image.pixels, &[]) * options.gain_e_adu)
        });
    }
    for ((pixel, masked), value) in image.pixels.iter_mut().zip(&mask).zip(&clean) {
        if *masked {
            *pixel = value / options.gain_e_adu;
        }
    }
    mask
}

fn median_of(values: &[f32], good: &[bool]) -> f32 {
    let mut kept: Vec<f32> = if good.is_empty() {
        values.iter().copied().filter(|v| v.is_finite()).collect()
    } else {
        values.iter().zip(good).filter(|(_, g)| **g).map(|(v, _)| *v).collect()
    };
    if kept.is_empty() {
        return 0.0;
    }
    let middle = (kept.len() - 1) / 2;
    *kept.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Marks everything within `reach` of what is not good in `source` as not good.
fn spread(good: &mut [bool], source: &[bool], width: usize, reach: usize) {
    let height = source.len() / width;
    for at in source.iter().enumerate().filter(|(_, g)| !**g).map(|(at, _)| at) {
        let (x, y) = (at % width, at / width);
        for row in y.saturating_sub(reach)..(y + reach + 1).min(height) {
            good[row * width..][x.saturating_sub(reach)..(x + reach + 1).min(width)].fill(false);
        }
    }
}

/// Saturated stars, unlike saturated cosmic rays, are bright all around. They and four pixels more are left out.
fn exclude_saturated(clean: &[f32], good: &mut [bool], width: usize, saturation: f32) {
    let height = clean.len() / width;
    let (mut scratch, nothing) = (CosmicOptions::default(), Vec::new());
    scratch.saturation_e = saturation;
    let frame = Frame {
        clean,
        good: &nothing,
        width,
        height,
        options: scratch,
    };
    let cores: Vec<usize> = clean
        .iter()
        .enumerate()
        .filter(|(at, v)| **v >= saturation && frame.level(at % width, at / width) > saturation / 10.0)
        .map(|(at, _)| at)
        .collect();
    // A disc of radius two without its corners, twice.
    let ball = |dx: i64, dy: i64| dx.abs() + dy.abs() < 4;
    for at in cores {
        let (x, y) = ((at % width) as i64, (at / width) as i64);
        for (dx, dy) in square(2).filter(|(dx, dy)| ball(*dx, *dy)) {
            for (ex, ey) in square(2).filter(|(ex, ey)| ball(*ex, *ey)) {
                let (px, py) = (x + dx + ex, y + dy + ey);
                let middle = (0..width as i64).contains(&(x + dx)) && (0..height as i64).contains(&(y + dy));
                if middle && (0..width as i64).contains(&px) && (0..height as i64).contains(&py) {
                    good[py as usize * width + px as usize] = false;
                }
            }
        }
    }
}

fn square(reach: i64) -> impl Iterator<Item = (i64, i64)> {
    (-reach..=reach).flat_map(move |dy| (-reach..=reach).map(move |dx| (dx, dy)))
}

/// Significance and primaries of the whole frame, bands shared among the processors.
fn first_pass(
    clean: &[f32],
    good: &[bool],
    width: usize,
    options: &CosmicOptions,
    significance: &mut [f32],
    primary: &mut [bool],
) {
    let frame = Frame {
        clean,
        good,
        width,
        height: clean.len() / width,
        options: *options,
    };
    let bands = significance
        .chunks_mut(BAND * width)
        .zip(primary.chunks_mut(BAND * width))
        .enumerate();
    crate::parallel::each(
        bands,
        clean.len(),
        Scratch::default,
        |scratch, (number, (significance, primary))| {
            let lines = number * BAND..number * BAND + significance.len() / width;
            frame.significance(&(0..width), &lines, scratch, significance);
            frame.primaries(&(0..width), &lines, significance, primary);
        },
    );
}

fn tile(number: usize, across: usize, width: usize, height: usize) -> (Range<usize>, Range<usize>) {
    let (x, y) = (number % across * TILE, number / across * TILE);
    (x..(x + TILE).min(width), y..(y + TILE).min(height))
}

/// The same for some tiles.
fn look_again(frame: &Frame<'_>, tiles: &[usize], across: usize, significance: &mut [f32], primary: &mut [bool]) {
    let mut scratch = Scratch::default();
    let (mut values, mut flags) = (Vec::new(), Vec::new());
    for number in tiles {
        let (columns, lines) = tile(*number, across, frame.width, frame.height);
        values.resize(columns.len() * lines.len(), 0.0);
        flags.resize(values.len(), false);
        frame.significance(&columns, &lines, &mut scratch, &mut values);
        frame.primaries(&columns, &lines, &values, &mut flags);
        for (n, y) in lines.enumerate() {
            let part = n * columns.len()..(n + 1) * columns.len();
            significance[y * frame.width..][columns.clone()].copy_from_slice(&values[part.clone()]);
            primary[y * frame.width..][columns.clone()].copy_from_slice(&flags[part]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scene(width: usize, height: usize) -> Image {
        let mut state = 5u64;
        let mut unit = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut pixels = vec![0f32; width * height];
        for pixel in &mut pixels {
            let normal: f64 = (0..12).map(|_| unit()).sum::<f64>() - 6.0;
            *pixel = (200.0 + 15.0 * normal) as f32;
        }
        for _ in 0..15 {
            let (cx, cy, peak) = (
                unit() * width as f64,
                unit() * height as f64,
                10f64.powf(2.0 + 1.3 * unit()),
            );
            for y in 0..height {
                for x in 0..width {
                    let r = (x as f64 - cx).powi(2) + (y as f64 - cy).powi(2);
                    pixels[y * width + x] += (peak * (-r / 6.0).exp()) as f32;
                }
            }
        }
        Image { width, height, pixels }
    }

    #[test]
    fn rays_are_found_and_replaced_and_stars_are_left() {
        let plain = scene(160, 120);
        let mut hit = plain.clone();
        let track: Vec<usize> = (0..12).map(|n| (20 + n) * 160 + 30 + 2 * n).collect();
        for at in &track {
            hit.pixels[*at] += 900.0;
        }
        hit.pixels[7] = f32::NAN;
        let mask = clean(&mut hit, &CosmicOptions::default());
        assert!(track.iter().all(|at| mask[*at]));
        assert!(
            track
                .iter()
                .all(|at| (hit.pixels[*at] - plain.pixels[*at]).abs() < 120.0)
        );
        let near = |at: usize| {
            track
                .iter()
                .any(|t| (t % 160).abs_diff(at % 160) <= 2 && (t / 160).abs_diff(at / 160) <= 2)
        };
        let false_ones = mask.iter().enumerate().filter(|(at, m)| **m && !near(*at)).count();
        assert!(false_ones < 10, "{false_ones}");
        assert!(hit.pixels[7].is_nan());
    }

    #[test]
    fn looking_again_at_tiles_gives_what_a_whole_new_pass_gives() {
        let mut image = scene(150, 130);
        for n in 0..40 {
            let at = n * 479 % image.pixels.len();
            image.pixels[at] += 700.0;
            image.pixels[(at + 1) % 19_000] += 400.0;
        }
        let options = CosmicOptions::default();
        let mut once = image.clone();
        let mut mask = clean(
            &mut once,
            &CosmicOptions {
                iterations: 1,
                ..options
            },
        );
        // A further pass over the frame cleaned so far, with what was found before taken for good.
        for _ in 1..4 {
            let more = clean(
                &mut once,
                &CosmicOptions {
                    iterations: 1,
                    ..options
                },
            );
            mask.iter_mut().zip(more).for_each(|(a, b)| *a |= b);
        }
        let whole = clean(&mut image, &options);
        let differ = whole.iter().zip(&mask).filter(|(a, b)| a != b).count();
        assert!(differ <= mask.iter().filter(|m| **m).count() / 20, "{differ}");
    }

    proptest! {
        #[test]
        fn no_frame_is_too_small(width in 1usize..14, height in 1usize..14) {
            let mut image = Image { width, height, pixels: vec![3.0; width * height] };
            image.pixels[width * height / 2] = 5000.0;
            clean(&mut image, &CosmicOptions::default());
        }
    }
}
