//! The sky background and its noise, on a mesh of cells.
//!
//! In each cell the histogram of the pixels within five standard deviations is clipped at three until nothing changes;
//! the background is the mode estimate 2.5 median - 1.5 mean, or the median where the cell is crowded (Bertin & Arnouts
//! 1996, A&AS 117, 393, section 4.1). Cells are smoothed by a 3 x 3 median, narrowed at the border, and joined by a
//! natural bicubic spline. Histogram bins and clipping steps follow what SExtractor documents, so that levels compare.

use crate::parallel;
use alidade_fits::Image;

/// Side of a cell for frames of at least [`SMALL`] pixels, and for smaller ones.
const CELL: usize = 64;
const SMALL_CELL: usize = 32;
const SMALL: usize = 256;
/// Half width of the histogram in standard deviations, and its largest number of bins.
const HISTOGRAM_SIGMA: f64 = 5.0;
const MOST_BINS: usize = 4096;

/// Background and noise of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Background {
    cell: usize,
    columns: usize,
    rows: usize,
    levels: Vec<f32>,
    /// Second derivatives of the levels along the columns.
    curves: Vec<f32>,
    /// Median of the cells.
    pub level: f32,
    /// Standard deviation of the sky, median of the cells.
    pub rms: f32,
}

/// Sum, sum of squares and number of the pixels of a cell within limits.
fn moments(rows: &[&[f32]], low: f32, high: f32) -> (f64, f64, usize) {
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0);
    for row in rows {
        // Eight partial sums per row: a single chain of additions would wait on itself.
        let (mut sums, mut square, mut counts) = ([0f64; 8], [0f64; 8], [0u32; 8]);
        for chunk in row.chunks(8) {
            for (lane, value) in chunk.iter().enumerate() {
                let inside = *value >= low && *value <= high;
                let kept = if inside { f64::from(*value) } else { 0.0 };
                sums[lane] += kept;
                square[lane] += kept * kept;
                counts[lane] += u32::from(inside);
            }
        }
        sum += sums.iter().sum::<f64>();
        squares += square.iter().sum::<f64>();
        count += counts.iter().sum::<u32>() as usize;
    }
    (sum, squares, count)
}

fn mean_and_sigma((sum, squares, count): (f64, f64, usize)) -> (f64, f64) {
    let mean = sum / count as f64;
    (mean, (squares / count as f64 - mean * mean).max(0.0).sqrt())
}

/// Mode and standard deviation of a cell; `None` where less than half of it has values.
fn cell_level(rows: &[&[f32]], bins: &mut Vec<u32>) -> Option<(f32, f32)> {
    let size: usize = rows.iter().map(|r| r.len()).sum();
    let all = moments(rows, f32::MIN, f32::MAX);
    if all.2 == 0 || (all.2 as f64) < size as f64 * 0.5 {
        return None;
    }
    let (mean, sigma) = mean_and_sigma(all);
    let inner = moments(rows, (mean - 2.0 * sigma) as f32, (mean + 2.0 * sigma) as f32);
    if inner.2 == 0 {
        return Some((mean as f32, sigma as f32));
    }
    let (mean, sigma) = mean_and_sigma(inner);
    let density = std::f64::consts::FRAC_2_PI.sqrt() * HISTOGRAM_SIGMA / 4.0;
    let count = ((density * inner.2 as f64 + 1.0) as usize).min(MOST_BINS);
    let width = if sigma > 0.0 {
        2.0 * HISTOGRAM_SIGMA * sigma / count as f64
    } else {
        1.0
    };
    let zero = mean - HISTOGRAM_SIGMA * sigma;
    bins.clear();
    bins.resize(count, 0);
    let (scale, shift) = (1.0 / width as f32, (0.499_999 - zero / width) as f32);
    for value in rows.iter().flat_map(|r| r.iter()) {
        let bin = value * scale + shift;
        if bin > -1.0 && bin < count as f32 {
            bins[bin as usize] += 1;
        }
    }
    let (mean, median, sigma) = clipped(bins, mean);
    let crowded = sigma <= 0.0 || ((mean - median) / sigma).abs() >= 0.3;
    let mode = if sigma <= 0.0 {
        mean
    } else if crowded {
        median
    } else {
        2.5 * median - 1.5 * mean
    };
    Some(((zero + mode * width) as f32, (sigma * width) as f32))
}

/// Mean, median and standard deviation of a histogram, in bins, after clipping at three standard deviations.
fn clipped(bins: &[u32], start: f64) -> (f64, f64, f64) {
    let last = bins.len() - 1;
    let (mut low, mut high) = (0, last);
    let (mut mean, mut median, mut sigma, mut before) = (start, start, 10.0 * last as f64, 1.0);
    for _ in 0..100 {
        if sigma < 0.1 || f64::abs(sigma / before - 1.0) <= 1e-4 {
            break;
        }
        before = sigma;
        let (mut total, mut first, mut second) = (0.0, 0.0, 0.0);
        // From both ends towards the middle until the halves balance.
        let (mut left, mut right, mut below, mut above) = (low, high as isize, 0u64, 0u64);
        for (bin, number) in bins.iter().enumerate().take(high + 1).skip(low) {
            if below < above {
                below += u64::from(bins[left]);
                left += 1;
            } else {
                above += u64::from(bins[right.max(0) as usize]);
                right -= 1;
            }
            let weight = f64::from(*number);
            total += weight;
            first += weight * bin as f64;
            second += weight * (bin * bin) as f64;
        }
        let at = |index: isize| {
            usize::try_from(index)
                .ok()
                .and_then(|i| bins.get(i))
                .copied()
                .unwrap_or(0)
        };
        let fullest = f64::from(at(left as isize).max(at(right)));
        let imbalance = if fullest > 0.0 {
            (above as f64 - below as f64) / (2.0 * fullest)
        } else {
            0.0
        };
        median = if right >= 0 {
            right as f64 + 0.5 + imbalance
        } else {
            0.0
        };
        if total > 0.0 {
            mean = first / total;
            sigma = (second / total - mean * mean).max(0.0).sqrt();
        } else {
            sigma = 0.0;
        }
        low = (median - 3.0 * sigma + 0.5).max(0.0) as usize;
        high = ((median + 3.0 * sigma + 0.5).max(0.0) as usize).min(last);
        if low > high {
            break;
        }
    }
    (mean, median, sigma)
}

/// Median; the mean of the two middle values of an even number.
fn median_of(values: &mut [f32]) -> f32 {
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

/// Second derivatives, divided by six, of the natural spline through equidistant nodes.
fn curvature(nodes: &[f32]) -> Vec<f32> {
    let count = nodes.len();
    let mut curve = vec![0f32; count];
    if count < 3 {
        return curve;
    }
    let mut rest = vec![0f32; count];
    for at in 1..count - 1 {
        let pivot = -1.0 / (curve[at - 1] + 4.0);
        curve[at] = pivot;
        rest[at] = pivot * (rest[at - 1] - 6.0 * (nodes[at + 1] + nodes[at - 1] - 2.0 * nodes[at]));
    }
    curve[count - 1] = 0.0;
    let mut next = 0.0;
    for at in (1..count - 1).rev() {
        // The sixth is taken at every step, which damps the spline a little: so do the peers, and levels must compare.
        next = (curve[at] * next + rest[at]) / 6.0;
        curve[at] = next;
    }
    curve[0] = 0.0;
    curve
}

/// Replaces every cell by the median of its neighbourhood of one cell each way, as far as it is symmetric.
fn smoothed(cells: &[f32], columns: usize, rows: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(cells.len());
    for row in 0..rows {
        let up = usize::from(row > 0 && row + 1 < rows);
        for column in 0..columns {
            let aside = usize::from(column > 0 && column + 1 < columns);
            let mut near: Vec<f32> = (row - up..=row + up)
                .flat_map(|r| cells[r * columns + column - aside..=r * columns + column + aside].to_vec())
                .collect();
            out.push(median_of(&mut near));
        }
    }
    out
}

/// Fills cells without a value from the nearest ones that have.
fn filled(cells: &[Option<(f32, f32)>], columns: usize) -> Vec<(f32, f32)> {
    let place = |at: usize| ((at % columns) as i64, (at / columns) as i64);
    let nearest = |at: usize| {
        let (x, y) = place(at);
        let (mut best, mut sum, mut count) = (i64::MAX, (0.0, 0.0), 0.0);
        for (other, cell) in cells.iter().enumerate() {
            let Some((level, sigma)) = cell else { continue };
            let (ox, oy) = place(other);
            let distance = (ox - x).pow(2) + (oy - y).pow(2);
            if distance < best {
                (best, sum, count) = (distance, (0.0, 0.0), 0.0);
            }
            if distance == best {
                sum = (sum.0 + level, sum.1 + sigma);
                count += 1.0;
            }
        }
        if count > 0.0 {
            (sum.0 / count, sum.1 / count)
        } else {
            (0.0, 0.0)
        }
    };
    cells
        .iter()
        .enumerate()
        .map(|(at, cell)| cell.unwrap_or_else(|| nearest(at)))
        .collect()
}

impl Background {
    /// Background on the usual mesh: cells of 64 pixels, 32 on frames with a side below 256.
    pub fn of(image: &Image) -> Self {
        Self::with_cell(
            image,
            if image.width.min(image.height) < SMALL {
                SMALL_CELL
            } else {
                CELL
            },
        )
    }

    /// Background on a mesh of cells of so many pixels each way.
    pub fn with_cell(image: &Image, cell: usize) -> Self {
        let cell = cell.max(1);
        let (columns, rows) = (image.width.div_ceil(cell), image.height.div_ceil(cell));
        let mut cells = vec![None; columns * rows];
        let bands = cells.chunks_mut(columns.max(1)).enumerate();
        parallel::each(bands, image.pixels.len(), Vec::new, |bins, (row, cells)| {
            for (column, level) in cells.iter_mut().enumerate() {
                let across = column * cell..((column + 1) * cell).min(image.width);
                let lines: Vec<&[f32]> = (row * cell..((row + 1) * cell).min(image.height))
                    .map(|y| &image.pixels[y * image.width..][across.clone()])
                    .collect();
                *level = cell_level(&lines, bins);
            }
        });
        let cells = filled(&cells, columns);
        let levels = smoothed(&cells.iter().map(|c| c.0).collect::<Vec<_>>(), columns, rows);
        let mut noise = smoothed(&cells.iter().map(|c| c.1).collect::<Vec<_>>(), columns, rows);
        let mut curves = vec![0f32; levels.len()];
        for column in 0..columns {
            let nodes: Vec<f32> = (0..rows).map(|row| levels[row * columns + column]).collect();
            for (row, curve) in curvature(&nodes).into_iter().enumerate() {
                curves[row * columns + column] = curve;
            }
        }
        let level = median_of(&mut levels.clone());
        let mut rms = median_of(&mut noise);
        if rms <= 0.0 {
            noise.retain(|n| *n > 0.0);
            rms = median_of(&mut noise);
        }
        Self {
            cell,
            columns,
            rows,
            levels,
            curves,
            level,
            rms,
        }
    }

    /// The background of one row of pixels.
    fn row(&self, y: usize, line: &mut [f32]) {
        let spline = |t: f32, low: f32, high: f32, low_curve: f32, high_curve: f32| {
            let s = 1.0 - t;
            s * low + t * high + (s * s * s - s) * low_curve + (t * t * t - t) * high_curve
        };
        let nodes: Vec<f32> = if self.rows < 2 {
            self.levels.clone()
        } else {
            let place = y as f32 / self.cell as f32 - 0.5;
            let low = (place.max(0.0) as usize).min(self.rows - 2);
            let t = place - low as f32;
            let at = |row: usize, column: usize| row * self.columns + column;
            (0..self.columns)
                .map(|c| {
                    let (low, high) = (at(low, c), at(low + 1, c));
                    spline(
                        t,
                        self.levels[low],
                        self.levels[high],
                        self.curves[low],
                        self.curves[high],
                    )
                })
                .collect()
        };
        if self.columns < 2 {
            line.fill(nodes[0]);
            return;
        }
        let curves = curvature(&nodes);
        let step = 1.0 / self.cell as f32;
        let mut from = 0;
        for low in 0..self.columns - 1 {
            let last = low + 2 == self.columns;
            let to = if last {
                line.len()
            } else {
                ((low + 1) * self.cell + self.cell.div_ceil(2)).min(line.len())
            };
            for (x, value) in line.iter_mut().enumerate().take(to).skip(from) {
                let t = (x as f32 + 0.5) * step - 0.5 - low as f32;
                *value = spline(t, nodes[low], nodes[low + 1], curves[low], curves[low + 1]);
            }
            from = to;
        }
    }

    /// Takes the background off.
    pub fn subtract(&self, image: &mut Image) {
        let (width, size) = (image.width, image.pixels.len());
        let rows = image.pixels.chunks_exact_mut(width.max(1)).enumerate();
        parallel::each(
            rows,
            size,
            || vec![0f32; width],
            |line, (y, row)| {
                self.row(y, line);
                row.iter_mut().zip(line.iter()).for_each(|(pixel, sky)| *pixel -= sky);
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sloping_sky_with_a_star_is_found_and_taken_off() {
        let (width, height) = (256, 192);
        let mut image = Image {
            width,
            height,
            pixels: Vec::new(),
        };
        for y in 0..height {
            for x in 0..width {
                let noise = (((x * 7919 + y * 104_729) % 97) as f32 - 48.0) / 10.0;
                image.pixels.push(500.0 + x as f32 * 0.1 + y as f32 * 0.2 + noise);
            }
        }
        for y in 90..100 {
            for x in 90..100 {
                image.pixels[y * width + x] += 5000.0;
            }
        }
        let background = Background::of(&image);
        background.subtract(&mut image);
        let corner = image.pixels[30 * width + 30..][..40].iter().sum::<f32>() / 40.0;
        assert!(corner.abs() < 2.0, "{corner}");
        assert!((background.rms - 3.0).abs() < 1.5, "{}", background.rms);
    }

    #[test]
    fn cells_without_values_take_those_of_their_neighbours() {
        let mut image = Image {
            width: 300,
            height: 300,
            pixels: (0..90_000).map(|n| 100.0 + (n % 7) as f32).collect(),
        };
        for y in 0..64 {
            image.pixels[y * 300..][..64].fill(f32::NAN);
        }
        let background = Background::of(&image);
        assert!((background.level - 103.0).abs() < 1.0, "{}", background.level);
        background.subtract(&mut image);
        assert!(image.pixels.iter().filter(|p| p.is_finite()).all(|p| p.abs() < 6.0));
        let blank = Image {
            width: 70,
            height: 1,
            pixels: vec![f32::NAN; 70],
        };
        assert_eq!(Background::of(&blank).rms, 0.0);
    }
}
