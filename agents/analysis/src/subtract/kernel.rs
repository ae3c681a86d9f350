//! The kernel that makes the stars of one frame look like those of another.
//!
//! It is a sum of Gaussians times polynomials. All but the first have no light of their own, so that the ratio of the
//! frames' fluxes, the first one's coefficient, is one for the whole field while the shape varies linearly over it.

use crate::astrometry::fit;
use alidade_fits::Image;

/// Degrees of the polynomials with the narrow, the middle and the wide Gaussian.
const DEGREES: [usize; 3] = [4, 2, 1];
/// Terms of the variation over the field: 1, x, y.
const VARIATION: usize = 3;
/// Half a side of the part of a star that is fitted, in widths of the blurred frame, pixels.
const STAMP_FWHM: f64 = 2.5;
/// Side of the blocks over which the kernel is held constant, pixels.
const BLOCK: usize = 48;
/// Rounds of rejection, and how much worse than usual a star may fit.
const ROUNDS: usize = 4;
const REJECT: f64 = 3.0;

/// The functions a kernel is made of, on a square of `2 half + 1` pixels.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    half: usize,
    stamp: usize,
    functions: Vec<Vec<f32>>,
}

impl Basis {
    /// For stars of these widths (full width at half maximum), pixels.
    pub(super) fn new(narrow: f64, wide: f64) -> Self {
        let sigma = |fwhm: f64| fwhm / 2.354_82;
        let needed = (sigma(wide).powi(2) - sigma(narrow).powi(2)).max(0.25).sqrt();
        let widths = [
            0.6 * needed.max(0.8),
            1.2 * needed.max(0.8),
            sigma(wide).max(2.0 * needed),
        ];
        let half = ((2.6 * widths[2]).ceil() as usize).clamp(4, 14);
        let side = 2 * half + 1;
        let mut functions = Vec::new();
        for (width, degree) in widths.iter().zip(DEGREES) {
            for p in 0..=degree {
                for q in 0..=degree - p {
                    let along = |power: usize| -> Vec<f64> {
                        (0..side)
                            .map(|n| {
                                let t = (n as f64 - half as f64) / width;
                                t.powi(power as i32) * (-t * t / 2.0).exp()
                            })
                            .collect()
                    };
                    let (u, v) = (along(p), along(q));
                    let mut function: Vec<f64> = v.iter().flat_map(|b| u.iter().map(move |a| a * b)).collect();
                    let sum: f64 = function.iter().sum();
                    if sum.abs() > 1e-9 {
                        function.iter_mut().for_each(|f| *f /= sum);
                    }
                    functions.push(function);
                }
            }
        }
        let first = functions[0].clone();
        for function in functions.iter_mut().skip(1) {
            let sum: f64 = function.iter().sum();
            if sum.abs() > 0.5 {
                function.iter_mut().zip(&first).for_each(|(f, g)| *f -= g);
            }
        }
        Self {
            half,
            stamp: ((STAMP_FWHM * wide).ceil() as usize).clamp(5, 16),
            functions: functions
                .iter()
                .map(|f| f.iter().map(|v| *v as f32).collect())
                .collect(),
        }
    }

    fn unknowns(&self) -> usize {
        1 + (self.functions.len() - 1) * VARIATION + 1
    }
}

/// One star: the sharp one through every function, and the blurred one.
pub(super) struct Stamp {
    place: (f64, f64),
    /// By function, then by pixel; the last is one everywhere, for the sky.
    columns: Vec<Vec<f32>>,
    target: Vec<f32>,
    weights: Vec<f32>,
}

impl Stamp {
    /// `None` where pixels are missing.
    pub(super) fn cut(
        sharp: &Image,
        blurred: &Image,
        basis: &Basis,
        place: (f64, f64),
        rms: f64,
        gain: f64,
    ) -> Option<Self> {
        let (cx, cy) = (place.0.round() as usize, place.1.round() as usize);
        let reach = basis.stamp + basis.half;
        let fits = cx >= reach && cy >= reach && cx + reach < sharp.width && cy + reach < sharp.height;
        if !fits {
            return None;
        }
        let side = 2 * reach + 1;
        let mut source = Vec::with_capacity(side * side);
        for y in cy - reach..=cy + reach {
            source.extend_from_slice(&sharp.pixels[y * sharp.width + cx - reach..][..side]);
        }
        let own = 2 * basis.stamp + 1;
        let mut target = Vec::with_capacity(own * own);
        for y in cy - basis.stamp..=cy + basis.stamp {
            target.extend_from_slice(&blurred.pixels[y * blurred.width + cx - basis.stamp..][..own]);
        }
        if source.iter().chain(&target).any(|p| p.is_nan()) {
            return None;
        }
        let kernel_side = 2 * basis.half + 1;
        let mut columns: Vec<Vec<f32>> = Vec::with_capacity(basis.functions.len() + 1);
        for function in &basis.functions {
            let mut column = vec![0f32; own * own];
            for (row, line) in column.chunks_exact_mut(own).enumerate() {
                for (k, part) in function.chunks_exact(kernel_side).enumerate() {
                    // Convolution turns the kernel round.
                    let from = &source[(row + kernel_side - 1 - k) * side..][..side];
                    for (m, weight) in part.iter().enumerate() {
                        let shifted = &from[kernel_side - 1 - m..][..own];
                        line.iter_mut().zip(shifted).for_each(|(v, s)| *v += weight * s);
                    }
                }
            }
            columns.push(column);
        }
        columns.push(vec![1.0; own * own]);
        let weights = target
            .iter()
            .map(|t| (1.0 / (rms * rms + f64::from(t.max(0.0)) / gain)) as f32)
            .collect();
        Some(Self {
            place,
            columns,
            target,
            weights,
        })
    }

    fn variation(&self, width: usize, height: usize) -> [f64; VARIATION] {
        variation(self.place.0, self.place.1, width, height)
    }
}

fn variation(x: f64, y: f64, width: usize, height: usize) -> [f64; VARIATION] {
    [1.0, 2.0 * x / width as f64 - 1.0, 2.0 * y / height as f64 - 1.0]
}

/// A fitted kernel.
pub(super) struct Fitted {
    basis: Basis,
    solution: Vec<f64>,
    width: usize,
    height: usize,
}

/// Sums of products of a stamp's columns with each other and with its target.
fn products(stamp: &Stamp) -> (Vec<f64>, Vec<f64>) {
    let count = stamp.columns.len();
    let (mut gram, mut right) = (vec![0.0; count * count], vec![0.0; count]);
    for (i, a) in stamp.columns.iter().enumerate() {
        let weighted: Vec<f32> = a.iter().zip(&stamp.weights).map(|(v, w)| v * w).collect();
        let dot = |b: &[f32]| -> f64 { weighted.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum() };
        for (j, b) in stamp.columns.iter().enumerate().skip(i) {
            gram[i * count + j] = dot(b);
            gram[j * count + i] = gram[i * count + j];
        }
        right[i] = dot(&stamp.target);
    }
    (gram, right)
}

/// Places of a column among the unknowns, with its factors: the first and the sky do not vary.
fn spread(column: usize, functions: usize, factors: &[f64; VARIATION]) -> Vec<(usize, f64)> {
    if column == 0 {
        vec![(0, 1.0)]
    } else if column == functions {
        vec![(1 + (functions - 1) * VARIATION, 1.0)]
    } else {
        (0..VARIATION)
            .map(|t| (1 + (column - 1) * VARIATION + t, factors[t]))
            .collect()
    }
}

/// Fits the kernel; stars that fit much worse than the others are left out. Also how many remained.
pub(super) fn fit(basis: &Basis, stamps: &[Stamp], width: usize, height: usize) -> Option<(Fitted, usize)> {
    let known: Vec<(Vec<f64>, Vec<f64>)> = stamps.iter().map(products).collect();
    let functions = basis.functions.len();
    let unknowns = basis.unknowns();
    let mut kept: Vec<usize> = (0..stamps.len()).collect();
    let mut best = None;
    for _ in 0..ROUNDS {
        let (mut matrix, mut right) = (vec![0.0; unknowns * unknowns], vec![0.0; unknowns]);
        for at in &kept {
            let factors = stamps[*at].variation(width, height);
            let (gram, own) = &known[*at];
            let places: Vec<Vec<(usize, f64)>> = (0..=functions).map(|c| spread(c, functions, &factors)).collect();
            for (i, rows) in places.iter().enumerate() {
                for (row, a) in rows {
                    right[*row] += a * own[i];
                    for (j, columns) in places.iter().enumerate() {
                        for (column, b) in columns {
                            matrix[row * unknowns + column] += a * b * gram[i * (functions + 1) + j];
                        }
                    }
                }
            }
        }
        // A little stiffness keeps what few stars cannot tell at zero.
        let scale = matrix[0].abs() * 1e-9 + 1e-12;
        for n in 0..unknowns {
            matrix[n * unknowns + n] += scale;
        }
        let fitted = Fitted {
            basis: basis.clone(),
            solution: fit::linear(matrix, right)?,
            width,
            height,
        };
        let errors: Vec<(usize, f64)> = kept.iter().map(|at| (*at, fitted.misfit(&stamps[*at]))).collect();
        let mut sorted: Vec<f64> = errors.iter().map(|e| e.1).collect();
        let middle = sorted.len() / 2;
        let usual = *sorted.select_nth_unstable_by(middle, f64::total_cmp).1;
        let before = kept.len();
        kept = errors.iter().filter(|e| e.1 <= REJECT * usual).map(|e| e.0).collect();
        best = Some((fitted, before));
        if kept.len() == before || kept.len() < super::LEAST_STAMPS {
            break;
        }
    }
    best
}

impl Fitted {
    /// Light of the kernel: the ratio of the frames' fluxes.
    pub(super) fn sum(&self) -> f64 {
        self.solution[0]
    }

    fn coefficients(&self, factors: &[f64; VARIATION]) -> Vec<f64> {
        let functions = self.basis.functions.len();
        (0..functions)
            .map(|c| {
                spread(c, functions, factors)
                    .iter()
                    .map(|(at, factor)| self.solution[*at] * factor)
                    .sum()
            })
            .collect()
    }

    fn sky(&self) -> f64 {
        self.solution[self.basis.unknowns() - 1]
    }

    /// Mean squared deviation of a star from the model, in units of its noise.
    fn misfit(&self, stamp: &Stamp) -> f64 {
        let coefficients = self.coefficients(&stamp.variation(self.width, self.height));
        let mut sum = 0.0;
        for (n, target) in stamp.target.iter().enumerate() {
            let light: f64 = coefficients
                .iter()
                .zip(&stamp.columns)
                .map(|(c, v)| c * f64::from(v[n]))
                .sum();
            sum += (f64::from(*target) - light - self.sky()).powi(2) * f64::from(stamp.weights[n]);
        }
        sum / stamp.target.len() as f64
    }

    /// The kernel at a place.
    fn kernel(&self, x: f64, y: f64) -> Vec<f32> {
        let coefficients = self.coefficients(&variation(x, y, self.width, self.height));
        let mut kernel = vec![0f32; self.basis.functions[0].len()];
        for (c, function) in coefficients.iter().zip(&self.basis.functions) {
            let c = *c as f32;
            kernel.iter_mut().zip(function).for_each(|(k, f)| *k += c * f);
        }
        kernel
    }

    /// The frame through the kernel; no value within half a kernel of the border and of missing pixels.
    pub(super) fn convolve(&self, image: &Image) -> Vec<f32> {
        let (width, height, half) = (image.width, image.height, self.basis.half);
        let side = 2 * half + 1;
        let mut out = vec![f32::NAN; width * height];
        let sky = self.sky() as f32;
        let bands = out.chunks_mut(BLOCK * width).enumerate();
        crate::parallel::each(bands, width * height, Vec::new, |line: &mut Vec<f32>, (band, rows)| {
            let (bottom, count) = (band * BLOCK, rows.len() / width);
            for left in (half..width.saturating_sub(half)).step_by(BLOCK) {
                let right = (left + BLOCK).min(width - half);
                let kernel = self.kernel((left + right) as f64 / 2.0, bottom as f64 + count as f64 / 2.0);
                for (n, row) in rows.chunks_exact_mut(width).enumerate() {
                    let y = bottom + n;
                    if y < half || y + half >= height {
                        continue;
                    }
                    line.clear();
                    line.resize(right - left, sky);
                    for (k, part) in kernel.chunks_exact(side).enumerate() {
                        let from = &image.pixels[(y + half - k) * width..][..width];
                        for (m, weight) in part.iter().enumerate() {
                            let shifted = &from[left + half - m..][..right - left];
                            line.iter_mut().zip(shifted).for_each(|(v, s)| *v += weight * s);
                        }
                    }
                    row[left..right].copy_from_slice(line);
                }
            }
        });
        out
    }
}
