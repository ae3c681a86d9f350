//! How far a pixel stands out, and how much of it is a star.

use super::{
    CosmicOptions, REACH,
    medians::{median5, median7, median9, separable7},
};
use std::ops::Range;

/// Least noise squared, electrons squared.
const LEAST_VARIANCE: f32 = 1e-5;
/// Least fine structure, in units of the noise.
const LEAST_FINE: f32 = 0.01;

/// Buffers of one worker.
#[derive(Default)]
pub(super) struct Scratch {
    part: Vec<f32>,
    rows: Vec<f32>,
    smooth: Vec<f32>,
    laplacian: Vec<f32>,
}

pub(super) struct Frame<'a> {
    pub clean: &'a [f32],
    pub good: &'a [bool],
    pub width: usize,
    pub height: usize,
    pub options: CosmicOptions,
}

impl Frame<'_> {
    fn variance(&self, level: f32) -> f32 {
        (level + self.options.read_noise_e * self.options.read_noise_e).max(LEAST_VARIANCE)
    }

    /// Laplacian over noise, less its own median, of a part of the image; rows of `out` have the width of the part.
    pub fn significance(&self, columns: &Range<usize>, lines: &Range<usize>, s: &mut Scratch, out: &mut [f32]) {
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
    pub fn level(&self, x: usize, y: usize) -> f32 {
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
    pub fn primaries(&self, columns: &Range<usize>, lines: &Range<usize>, significance: &[f32], out: &mut [bool]) {
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
