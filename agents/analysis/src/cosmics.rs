//! Cosmic rays in a single frame, by their sharp edges: L.A.Cosmic (van Dokkum 2001, PASP 113, 1420).
//!
//! The Laplacian of the image, over the noise expected there, is high where the picture is sharper than optics can
//! make it. Stars are told apart by their *fine structure*: the median over 5 pixels less that over 9. Medians are taken
//! row by row, then column by column, as the astroscrappy package does, so that masks compare; outside the image is
//! darkness, and as many pixels of the border as a median is wide to one side keep their values.
//!
//! After the first pass only tiles in which something was replaced are looked at again: nothing else can have changed.

use alidade_fits::Image;
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
/// Least noise squared, electrons squared.
const LEAST_VARIANCE: f32 = 1e-5;
/// Least fine structure, in units of the noise.
const LEAST_FINE: f32 = 0.01;

#[inline(always)]
fn order<const N: usize>(v: &mut [f32; N], a: usize, b: usize) {
    // Written so that it becomes the processor's minimum and maximum, which f32::min with its care for NaN does not.
    let (low, high) = if v[a] < v[b] { (v[a], v[b]) } else { (v[b], v[a]) };
    v[a] = low;
    v[b] = high;
}

macro_rules! network {
    ($name:ident, $n:literal, $middle:literal, $($a:literal $b:literal),+) => {
        #[inline(always)]
        fn $name(mut v: [f32; $n]) -> f32 {
            $(order(&mut v, $a, $b);)+
            v[$middle]
        }
    };
}

// Shortest exchange networks for the median (Smith 1996, Vision Interface; Devillard 1998).
network!(median5, 5, 2, 0 1, 3 4, 0 3, 1 4, 1 2, 2 3, 1 2);
network!(median7, 7, 3, 0 5, 0 3, 1 6, 2 4, 0 1, 3 5, 2 6, 2 3, 3 6, 4 5, 1 4, 1 3, 3 4);
network!(median9, 9, 4, 1 2, 4 5, 7 8, 0 1, 3 4, 6 7, 1 2, 4 5, 7 8, 0 3, 5 8, 4 7, 3 6, 1 4, 2 5, 4 7, 4 2, 6 4, 4 2);

/// Median over seven of every row, then of every column; three pixels at the border stay.
fn separable7(image: &[f32], width: usize, out: &mut [f32], rows: &mut Vec<f32>) {
    let height = image.len() / width;
    rows.clear();
    rows.extend_from_slice(image);
    if width >= 7 {
        for (row, line) in image.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            let [a, b, c, d, e, f, g] = [0, 1, 2, 3, 4, 5, 6].map(|n| &row[n..width - 6 + n]);
            for (x, value) in line[3..width - 3].iter_mut().enumerate() {
                *value = median7([a[x], b[x], c[x], d[x], e[x], f[x], g[x]]);
            }
        }
    }
    out.copy_from_slice(image);
    if width < 7 || height < 7 {
        return;
    }
    for y in 3..height - 3 {
        let inner = 3..width - 3;
        let line = |n: usize| &rows[(y + n - 3) * width..][inner.clone()];
        let [a, b, c, d, e, f, g] = [0, 1, 2, 3, 4, 5, 6].map(line);
        for (x, value) in out[y * width..][inner.clone()].iter_mut().enumerate() {
            *value = median7([a[x], b[x], c[x], d[x], e[x], f[x], g[x]]);
        }
    }
}

/// Buffers of one worker.
#[derive(Default)]
struct Scratch {
    part: Vec<f32>,
    rows: Vec<f32>,
    smooth: Vec<f32>,
    laplacian: Vec<f32>,
}

struct Frame<'a> {
    clean: &'a [f32],
    good: &'a [bool],
    width: usize,
    height: usize,
    options: CosmicOptions,
}

impl Frame<'_> {
    fn variance(&self, level: f32) -> f32 {
        (level + self.options.read_noise_e * self.options.read_noise_e).max(LEAST_VARIANCE)
    }

    /// Laplacian over noise, less its own median, of a part of the image; rows of `out` have the width of the part.
    fn significance(&self, columns: &Range<usize>, lines: &Range<usize>, s: &mut Scratch, out: &mut [f32]) {
        let left = columns.start.saturating_sub(REACH);
        let right = (columns.end + REACH).min(self.width);
        let bottom = lines.start.saturating_sub(REACH);
        let top = (lines.end + REACH).min(self.height);
        let width = right - left;
        s.part.clear();
        for y in bottom..top {
            s.part.extend_from_slice(&self.clean[y * self.width..][left..right]);
        }
        s.smooth.resize(s.part.len(), 0.0);
        s.laplacian.resize(s.part.len(), 0.0);
        separable7(&s.part, width, &mut s.smooth, &mut s.rows);
        let dark = vec![0f32; width];
        let count = top - bottom;
        for y in 0..count {
            let row = &s.part[y * width..][..width];
            let below = if y > 0 {
                &s.part[(y - 1) * width..][..width]
            } else {
                &dark
            };
            let above = if y + 1 < count {
                &s.part[(y + 1) * width..][..width]
            } else {
                &dark
            };
            let smooth = &s.smooth[y * width..][..width];
            let line = &mut s.laplacian[y * width..][..width];
            let of = |c: f32, l: f32, r: f32, u: f32, d: f32, level: f32| {
                let twice = 2.0 * c;
                let corner = |a: f32, b: f32| {
                    let v = twice - a - b;
                    if v > 0.0 { v } else { 0.0 }
                };
                let sum = (corner(l, u) + corner(l, d)) + (corner(r, u) + corner(r, d));
                sum * 0.25 / (2.0 * self.variance(level).sqrt())
            };
            for x in [0, width - 1] {
                let l = if x > 0 { row[x - 1] } else { 0.0 };
                let r = if x + 1 < width { row[x + 1] } else { 0.0 };
                line[x] = of(row[x], l, r, above[x], below[x], smooth[x]);
            }
            if width > 2 {
                let inner = width - 2;
                let (l, c, r) = (&row[..inner], &row[1..=inner], &row[2..]);
                let (u, d, m) = (&above[1..=inner], &below[1..=inner], &smooth[1..=inner]);
                for (x, value) in line[1..=inner].iter_mut().enumerate() {
                    *value = of(c[x], l[x], r[x], u[x], d[x], m[x]);
                }
            }
        }
        separable7(&s.laplacian, width, &mut s.smooth, &mut s.rows);
        let step = columns.len();
        for (y, line) in lines.clone().zip(out.chunks_exact_mut(step)) {
            let from = (y - bottom) * width + columns.start - left;
            for ((value, plain), smooth) in line.iter_mut().zip(&s.laplacian[from..]).zip(&s.smooth[from..]) {
                *value = plain - smooth;
            }
        }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        self.clean[y * self.width + x]
    }

    /// The level about a pixel that the noise is taken from.
    fn level(&self, x: usize, y: usize) -> f32 {
        if x < 3 || y < 3 || x + 3 >= self.width || y + 3 >= self.height {
            return self.at(x, y);
        }
        let mut rows = [0.0; 7];
        for (n, row) in rows.iter_mut().enumerate() {
            let from = (y + n - 3) * self.width + x - 3;
            let v = &self.clean[from..from + 7];
            *row = median7([v[0], v[1], v[2], v[3], v[4], v[5], v[6]]);
        }
        median7(rows)
    }

    /// Fine structure over noise.
    fn fine(&self, x: usize, y: usize) -> f32 {
        if x < 4 || y < 4 || x + 4 >= self.width || y + 4 >= self.height {
            return LEAST_FINE;
        }
        // Medians of five along the rows, for the rows and columns that are needed.
        let mut across = [[0f32; 9]; 13];
        for (n, line) in across.iter_mut().enumerate() {
            let Some(row) = (y + n).checked_sub(6).filter(|r| *r < self.height) else {
                continue;
            };
            for (m, value) in line.iter_mut().enumerate() {
                let column = x + m - 4;
                *value = if column < 2 || column + 2 >= self.width {
                    self.at(column, row)
                } else {
                    let v = &self.clean[row * self.width + column - 2..][..5];
                    median5([v[0], v[1], v[2], v[3], v[4]])
                };
            }
        }
        let mut medians = [0f32; 9];
        let mut centre = 0.0;
        for (n, median) in medians.iter_mut().enumerate() {
            let row = y + n - 4;
            let mut small = [0f32; 9];
            for (m, value) in small.iter_mut().enumerate() {
                let column = x + m - 4;
                let border = column < 2 || row < 2 || column + 2 >= self.width || row + 2 >= self.height;
                *value = if border {
                    self.at(column, row)
                } else {
                    median5([0, 1, 2, 3, 4].map(|k| across[n + k][m]))
                };
            }
            if n == 4 {
                centre = small[4];
            }
            *median = median9(small);
        }
        let noise = self.variance(self.level(x, y)).sqrt();
        ((centre - median9(medians)) / noise).max(LEAST_FINE)
    }

    /// Pixels that are cosmic rays by themselves.
    fn primaries(&self, columns: &Range<usize>, lines: &Range<usize>, significance: &[f32], out: &mut [bool]) {
        for (row, (y, line)) in lines.clone().zip(significance.chunks_exact(columns.len())).enumerate() {
            for (n, value) in line.iter().enumerate() {
                let x = columns.start + n;
                out[row * columns.len() + n] = *value > self.options.sigma_clip
                    && self.good[y * self.width + x]
                    && value / self.fine(x, y) > self.options.object_limit;
            }
        }
    }
}

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

/// New pixels of cosmic rays: primaries, their neighbours that are as significant, and those of all these that are
/// nearly so. Only tiles in `dirty` and what touches them can hold any.
fn grow(
    primary: &[bool],
    significance: &[f32],
    good: &[bool],
    mask: &[bool],
    (width, height): (usize, usize),
    dirty: &[usize],
    options: &CosmicOptions,
) -> Vec<usize> {
    let across = width.div_ceil(TILE);
    let low = options.sigma_clip * options.sigma_fraction;
    // The peers do not grow along the border.
    let inner = |x: usize, y: usize| x > 0 && y > 0 && x + 1 < width && y + 1 < height;
    let near = |x: usize, y: usize| {
        let reach = usize::from(inner(x, y));
        (y - reach..=y + reach).flat_map(move |v| (x - reach..=x + reach).map(move |u| (u, v)))
    };
    let secondary = |x: usize, y: usize| {
        let at = y * width + x;
        significance[at] > options.sigma_clip && good[at] && near(x, y).any(|(u, v)| primary[v * width + u])
    };
    let mut found = Vec::new();
    for number in dirty {
        let (columns, lines) = tile(*number, across, width, height);
        for y in lines.start.saturating_sub(2)..(lines.end + 2).min(height) {
            for x in columns.start.saturating_sub(2)..(columns.end + 2).min(width) {
                let at = y * width + x;
                if significance[at] > low && good[at] && !mask[at] && near(x, y).any(|(u, v)| secondary(u, v)) {
                    found.push(at);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Replaces cosmic rays by the mean of the good pixels within two; returns the tiles that have to be looked at again.
fn replace(
    clean: &mut [f32],
    mask: &[bool],
    good: &[bool],
    (width, height): (usize, usize),
    found: &[usize],
    mut typical: impl FnMut() -> f32,
) -> Vec<usize> {
    let across = width.div_ceil(TILE);
    let mut affected: Vec<usize> = Vec::with_capacity(found.len() * 4);
    for at in found {
        let (x, y) = (at % width, at / width);
        for v in y.saturating_sub(2)..(y + 3).min(height) {
            for u in x.saturating_sub(2)..(x + 3).min(width) {
                if mask[v * width + u] {
                    affected.push(v * width + u);
                }
            }
        }
    }
    affected.sort_unstable();
    affected.dedup();
    let mut tiles = Vec::new();
    for at in affected {
        let (x, y) = (at % width, at / width);
        if x < 2 || y < 2 || x + 2 >= width || y + 2 >= height {
            continue;
        }
        let (mut sum, mut count) = (0f32, 0f32);
        for v in y - 2..=y + 2 {
            for u in x - 2..=x + 2 {
                let other = v * width + u;
                if !mask[other] && good[other] {
                    sum += clean[other];
                    count += 1.0;
                }
            }
        }
        clean[at] = if count > 0.0 { sum / count } else { typical() };
        for v in [y.saturating_sub(REACH), (y + REACH).min(height - 1)] {
            for u in [x.saturating_sub(REACH), (x + REACH).min(width - 1)] {
                tiles.push(v / TILE * across + u / TILE);
            }
        }
    }
    tiles.sort_unstable();
    tiles.dedup();
    tiles
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
        fn networks_find_the_median(values in proptest::array::uniform9(-1e3f32..1e3)) {
            let middle = |n: usize| {
                let mut sorted = values[..n].to_vec();
                sorted.sort_by(f32::total_cmp);
                sorted[n / 2]
            };
            prop_assert_eq!(median9(values), middle(9));
            prop_assert_eq!(median7([0, 1, 2, 3, 4, 5, 6].map(|n| values[n])), middle(7));
            prop_assert_eq!(median5([0, 1, 2, 3, 4].map(|n| values[n])), middle(5));
        }

        #[test]
        fn no_frame_is_too_small(width in 1usize..14, height in 1usize..14) {
            let mut image = Image { width, height, pixels: vec![3.0; width * height] };
            image.pixels[width * height / 2] = 5000.0;
            clean(&mut image, &CosmicOptions::default());
        }
    }
}
