//! The sky background and its noise, on a mesh of cells.
//!
//! In each cell pixels beyond three sigma are clipped until nothing changes; the background is the mode estimate
//! 2.5 median - 1.5 mean, or the median where the cell is crowded (Bertin & Arnouts 1996, A&AS 117, 393, section 4.1).
//! Cells are smoothed by a 3 x 3 median and interpolated bilinearly.

use alidade_fits::Image;

/// Side of a cell, pixels.
const CELL: usize = 64;

/// Background and noise of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Background {
    columns: usize,
    rows: usize,
    levels: Vec<f32>,
    /// Median of the cells.
    pub level: f32,
    /// Standard deviation of the sky, median of the cells.
    pub rms: f32,
}

/// Mode and standard deviation of a cell after clipping.
fn clipped(values: &mut Vec<f32>) -> Option<(f32, f32)> {
    values.retain(|v| v.is_finite());
    for _ in 0..20 {
        if values.len() < 16 {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let sigma = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
        let middle = values.len() / 2;
        let (_, median, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
        let median = f64::from(*median);
        let before = values.len();
        values.retain(|v| (f64::from(*v) - median).abs() <= 3.0 * sigma);
        if values.len() == before {
            let mode = if sigma > 0.0 && ((mean - median) / sigma).abs() < 0.3 {
                2.5 * median - 1.5 * mean
            } else {
                median
            };
            return Some((mode as f32, sigma as f32));
        }
    }
    None
}

fn median_of(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

impl Background {
    pub fn of(image: &Image) -> Self {
        let (columns, rows) = (image.width.div_ceil(CELL), image.height.div_ceil(CELL));
        let mut cells: Vec<Option<(f32, f32)>> = Vec::with_capacity(columns * rows);
        let mut values = Vec::with_capacity(CELL * CELL);
        for row in 0..rows {
            for column in 0..columns {
                values.clear();
                for y in row * CELL..((row + 1) * CELL).min(image.height) {
                    let from = y * image.width + column * CELL;
                    let to = y * image.width + ((column + 1) * CELL).min(image.width);
                    values.extend_from_slice(&image.pixels[from..to]);
                }
                cells.push(clipped(&mut values));
            }
        }
        let level = median_of(cells.iter().flatten().map(|c| c.0).collect());
        let rms = median_of(cells.iter().flatten().map(|c| c.1).collect());
        let raw: Vec<f32> = cells.iter().map(|cell| cell.map_or(level, |c| c.0)).collect();
        let smooth = |column: usize, row: usize| {
            let near: Vec<f32> = (row.saturating_sub(1)..(row + 2).min(rows))
                .flat_map(|r| (column.saturating_sub(1)..(column + 2).min(columns)).map(move |c| (r, c)))
                .map(|(r, c)| raw[r * columns + c])
                .collect();
            median_of(near)
        };
        let levels = (0..rows)
            .flat_map(|r| (0..columns).map(move |c| (c, r)))
            .map(|(c, r)| smooth(c, r))
            .collect();
        Self {
            columns,
            rows,
            levels,
            level,
            rms,
        }
    }

    /// Takes the background off.
    pub fn subtract(&self, image: &mut Image) {
        let place = |at: usize, count: usize| {
            let cell = ((at as f32 + 0.5) / CELL as f32 - 0.5).clamp(0.0, (count - 1) as f32);
            let low = cell.floor() as usize;
            (low, (low + 1).min(count - 1), cell - cell.floor())
        };
        let across: Vec<(usize, usize, f32)> = (0..image.width).map(|x| place(x, self.columns)).collect();
        for y in 0..image.height {
            let (low, high, up) = place(y, self.rows);
            let (bottom, top) = (&self.levels[low * self.columns..], &self.levels[high * self.columns..]);
            for (pixel, (left, right, along)) in image.pixels[y * image.width..][..image.width].iter_mut().zip(&across)
            {
                let b = bottom[*left] + (bottom[*right] - bottom[*left]) * along;
                let t = top[*left] + (top[*right] - top[*left]) * along;
                *pixel -= b + (t - b) * up;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sloping_sky_with_a_star_is_found_and_taken_off() {
        let (width, height) = (512, 512);
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
        // Away from the border, where the median of the neighbouring cells leans inwards.
        let middle = image.pixels[300 * width + 200..][..97].iter().sum::<f32>() / 97.0;
        assert!(middle.abs() < 2.0, "{middle}");
        assert!((background.rms - 3.0).abs() < 3.5, "{}", background.rms);
    }
}
