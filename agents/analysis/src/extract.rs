//! Sources: connected pixels above the noise of the matched-filtered image.
//!
//! The image is convolved with a 3 x 3 pyramid (the matched filter of a star of about two pixels width); pixels above the
//! threshold are joined with their eight neighbours; groups of at least five become sources. Moments are those of
//! Bertin & Arnouts 1996. There is no deblending yet: touching stars count as one, flagged when it is large.

use alidade_fits::Image;
use serde::{Deserialize, Serialize};

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Position in pixels, the centre of the first pixel at 1 (as FITS counts).
    pub x: f64,
    pub y: f64,
    /// Sum within a circle of five pixels radius, units.
    pub flux: f64,
    pub flux_err: f64,
    /// Full width at half maximum from the second moments, pixels.
    pub fwhm_px: f64,
    /// 1 - minor/major axis.
    pub ellipticity: f64,
    pub peak: f64,
    pub area_px: usize,
    pub flags: u8,
}

/// Touches the border of the image.
pub const BORDER: u8 = 1;
/// Some pixel is saturated.
pub const SATURATED: u8 = 2;
/// So large that it may be several.
pub const LARGE: u8 = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// In standard deviations of the filtered sky.
    pub threshold_sigma: f32,
    pub min_area_px: usize,
    pub aperture_px: f64,
    pub gain_e_adu: f64,
    /// Background-subtracted value from which a pixel is saturated.
    pub saturation: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold_sigma: 5.0,
            min_area_px: 5,
            aperture_px: 5.0,
            gain_e_adu: 1.0,
            saturation: f64::INFINITY,
        }
    }
}

/// Filters by the pyramid 1 2 1 / 2 4 2 / 1 2 1, normalised to sum 1; borders keep their values.
fn filtered(image: &Image) -> Vec<f32> {
    let (width, height) = (image.width, image.height);
    let mut rows = image.pixels.clone();
    for y in 0..height {
        let row = &image.pixels[y * width..][..width];
        for x in 1..width.saturating_sub(1) {
            rows[y * width + x] = (row[x - 1] + 2.0 * row[x] + row[x + 1]) / 4.0;
        }
    }
    let mut out = rows.clone();
    for y in 1..height.saturating_sub(1) {
        for x in 0..width {
            out[y * width + x] =
                (rows[(y - 1) * width + x] + 2.0 * rows[y * width + x] + rows[(y + 1) * width + x]) / 4.0;
        }
    }
    out
}

/// Noise of the filtered image relative to the image: root of the sum of the squared weights.
const FILTER_NOISE: f32 = 0.375;

/// Finds the sources of a background-subtracted image with sky noise `rms`, brightest first.
pub fn extract(image: &Image, rms: f32, options: &Options) -> Vec<Source> {
    let (width, height) = (image.width, image.height);
    if rms.is_nan() || rms <= 0.0 || width < 3 || height < 3 {
        return Vec::new();
    }
    let level = options.threshold_sigma * rms * FILTER_NOISE;
    let smooth = filtered(image);
    let mut seen = vec![false; smooth.len()];
    let mut sources = Vec::new();
    let mut stack = Vec::new();
    let mut group = Vec::new();
    for start in 0..smooth.len() {
        if seen[start] || smooth[start].is_nan() || smooth[start] <= level {
            continue;
        }
        group.clear();
        stack.push(start);
        seen[start] = true;
        while let Some(at) = stack.pop() {
            group.push(at);
            let (x, y) = (at % width, at / width);
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = ny * width + nx;
                    if !seen[next] && smooth[next] > level {
                        seen[next] = true;
                        stack.push(next);
                    }
                }
            }
        }
        if group.len() >= options.min_area_px {
            sources.extend(measure(image, &group, rms, options));
        }
    }
    sources.sort_by(|a, b| b.flux.total_cmp(&a.flux));
    sources
}

fn measure(image: &Image, group: &[usize], rms: f32, options: &Options) -> Option<Source> {
    let (width, height) = (image.width, image.height);
    let (mut sum, mut sx, mut sy, mut peak, mut flags) = (0.0, 0.0, 0.0, f64::MIN, 0);
    for at in group {
        let (x, y, value) = ((at % width) as f64, (at / width) as f64, f64::from(image.pixels[*at]));
        if !value.is_finite() {
            continue;
        }
        sum += value;
        sx += value * x;
        sy += value * y;
        peak = peak.max(value);
        if x < 1.0 || y < 1.0 || x > (width - 2) as f64 || y > (height - 2) as f64 {
            flags |= BORDER;
        }
    }
    if sum.is_nan() || sum <= 0.0 {
        return None;
    }
    let (cx, cy) = (sx / sum, sy / sum);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for at in group {
        let (dx, dy, value) = (
            (at % width) as f64 - cx,
            (at / width) as f64 - cy,
            f64::from(image.pixels[*at]),
        );
        if value.is_finite() {
            xx += value * dx * dx / sum;
            yy += value * dy * dy / sum;
            xy += value * dx * dy / sum;
        }
    }
    let mean = (xx + yy) / 2.0;
    let spread = (((xx - yy) / 2.0).powi(2) + xy * xy).sqrt();
    let (major, minor) = ((mean + spread).max(1e-6).sqrt(), (mean - spread).max(1e-6).sqrt());
    if peak >= options.saturation {
        flags |= SATURATED;
    }
    if group.len() > 400 {
        flags |= LARGE;
    }
    let (flux, pixels) = aperture(image, cx, cy, options.aperture_px);
    let variance = pixels * f64::from(rms).powi(2) + flux.max(0.0) / options.gain_e_adu;
    Some(Source {
        x: cx + 1.0,
        y: cy + 1.0,
        flux,
        flux_err: variance.sqrt(),
        // Second moments of a Gaussian: full width is 2.3548 sigma; the threshold cuts its wings, so this is a lower bound.
        fwhm_px: 2.354_82 * mean.max(1e-6).sqrt(),
        ellipticity: 1.0 - minor / major,
        peak,
        area_px: group.len(),
        flags,
    })
}

/// Sum within a circle; pixels on its edge count by a five-fold subdivision.
fn aperture(image: &Image, cx: f64, cy: f64, radius: f64) -> (f64, f64) {
    let span = |c: f64, size: usize| {
        (
            (c - radius - 1.0).max(0.0) as usize,
            ((c + radius + 2.0).max(0.0) as usize).min(size),
        )
    };
    let ((left, right), (bottom, top)) = (span(cx, image.width), span(cy, image.height));
    let (mut sum, mut area) = (0.0, 0.0);
    for y in bottom..top {
        for x in left..right {
            let (dx, dy) = (x as f64 - cx, y as f64 - cy);
            let distance = dx.hypot(dy);
            let share = if distance < radius - 0.75 {
                1.0
            } else if distance > radius + 0.75 {
                0.0
            } else {
                let inside = (0..25).filter(|n| {
                    let (sx, sy) = (f64::from(n % 5) / 5.0 - 0.4, f64::from(n / 5) / 5.0 - 0.4);
                    (dx + sx).hypot(dy + sy) < radius
                });
                inside.count() as f64 / 25.0
            };
            let value = f64::from(image.pixels[y * image.width + x]);
            if share > 0.0 && value.is_finite() {
                sum += share * value;
                area += share;
            }
        }
    }
    (sum, area)
}

/// Median width of sources that are neither saturated, nor cut, nor large; `None` without any.
pub fn median_fwhm(sources: &[Source]) -> Option<f64> {
    let mut widths: Vec<f64> = sources.iter().filter(|s| s.flags == 0).map(|s| s.fwhm_px).collect();
    if widths.is_empty() {
        return None;
    }
    let middle = widths.len() / 2;
    Some(*widths.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaussian stars of sigma 1.6 pixels on noise of 5 units.
    fn field(stars: &[(f64, f64, f64)]) -> Image {
        let (width, height) = (200, 160);
        let mut state = 1u64;
        let mut noise = || {
            let mut sum = 0.0;
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                sum += (state >> 40) as f64 / (1u64 << 24) as f64;
            }
            (sum - 6.0) * 5.0
        };
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let light: f64 = stars
                    .iter()
                    .map(|(sx, sy, flux)| {
                        let r2 = (x as f64 - sx).powi(2) + (y as f64 - sy).powi(2);
                        flux / (std::f64::consts::TAU * 2.56) * (-r2 / 5.12).exp()
                    })
                    .sum();
                pixels.push((light + noise()) as f32);
            }
        }
        Image { width, height, pixels }
    }

    #[test]
    fn stars_are_found_where_they_are_with_the_flux_they_have() {
        let truth = [(40.3, 50.7, 20_000.0), (120.0, 80.5, 8_000.0), (160.8, 30.2, 3_000.0)];
        let sources = extract(&field(&truth), 5.0, &Options::default());
        assert_eq!(sources.len(), 3);
        for ((x, y, flux), source) in truth.iter().zip(&sources) {
            assert!(
                (source.x - 1.0 - x).abs() < 0.1 && (source.y - 1.0 - y).abs() < 0.1,
                "{source:?}"
            );
            assert!((source.flux / flux - 1.0).abs() < 0.05, "{source:?}");
            assert!((source.fwhm_px - 3.77).abs() < 0.7, "{source:?}");
            assert!(source.ellipticity < 0.15);
        }
    }

    #[test]
    fn noise_alone_holds_no_source() {
        assert!(extract(&field(&[]), 5.0, &Options::default()).is_empty());
        let blank = Image {
            width: 50,
            height: 50,
            pixels: vec![f32::NAN; 2500],
        };
        assert!(extract(&blank, 5.0, &Options::default()).is_empty());
        assert!(extract(&blank, f32::NAN, &Options::default()).is_empty());
    }

    #[test]
    fn a_star_on_the_border_and_a_saturated_one_are_flagged() {
        let options = Options {
            saturation: 2000.0,
            ..Options::default()
        };
        let sources = extract(&field(&[(0.0, 80.0, 9000.0), (100.0, 100.0, 60_000.0)]), 5.0, &options);
        assert_eq!(sources[0].flags & SATURATED, SATURATED);
        assert_eq!(sources[1].flags & BORDER, BORDER);
    }
}
