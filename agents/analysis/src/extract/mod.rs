//! Sources: connected pixels above the noise of the matched-filtered image.
//!
//! The image is convolved with a 3 x 3 pyramid; pixels above the threshold are joined with their eight neighbours; groups
//! large enough, their pixels in the order of a scan (`scan`), are split where they hold several sources (`deblend`),
//! measured (`shape`), and freed of what is only the wing of a neighbour (`clean`). Fluxes are those of apertures
//! (`photometry`). Steps and definitions are those of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393), so that catalogues
//! compare.

mod clean;
mod deblend;
mod detect;
mod photometry;
mod scan;
mod shape;

use crate::{bad_pixels::BadPixels, parallel};
use alidade_fits::Image;
use clean::Candidate;
use photometry::Light;
use serde::{Deserialize, Serialize};
use shape::{Pixel, Shape};

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Barycentre of the filtered light in pixels, the centre of the first pixel at 0.
    pub x: f64,
    pub y: f64,
    /// Centre within a Gaussian window of the star's width: the more precise one.
    pub x_win: f64,
    pub y_win: f64,
    /// Sum within a circle of [`Options::aperture_px`], units above the sky.
    pub flux: f64,
    /// One standard deviation of `flux`: sky noise and photon noise.
    pub flux_err: f64,
    /// Sum within the Kron ellipse of 2.5 first moments (Kron 1980, ApJS 43, 305).
    pub flux_auto: f64,
    pub flux_auto_err: f64,
    /// Full width at half maximum of the core, pixels.
    pub fwhm_px: f64,
    /// Standard deviations of the light above the threshold along the axes, pixels.
    pub a_px: f64,
    pub b_px: f64,
    /// Angle of the major axis from x towards y, degrees.
    pub theta_deg: f64,
    /// 1 - minor/major axis.
    pub ellipticity: f64,
    pub peak: f64,
    pub area_px: usize,
    /// Sum of [`BORDER`], [`SATURATED`], [`BLENDED`], [`LARGE`], [`BAD_PIXELS`].
    pub flags: u8,
}

/// Touches the border of the image, or its aperture reaches over it.
pub const BORDER: u8 = 1;
/// Some pixel is saturated.
pub const SATURATED: u8 = 2;
/// Larger than twenty pixels each way: hardly a star.
pub const LARGE: u8 = 4;
/// Was split from a neighbour.
pub const BLENDED: u8 = 8;
/// Some of its pixels, or of its core, are bad ones that were filled.
pub const BAD_PIXELS: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Height of the filtered image that makes a detection, in standard deviations of the plain sky.
    pub threshold_sigma: f32,
    pub min_area_px: usize,
    /// Levels at which a group is tried for several sources.
    pub deblend_levels: usize,
    /// Share of the whole light that a branch must hold to be a source; 1 splits nothing.
    pub deblend_contrast: f64,
    /// Exponent of the wings with which bright sources swallow faint ones; `None` leaves them.
    pub clean: Option<f64>,
    pub aperture_px: f64,
    pub gain_e_adu: f64,
    /// Background-subtracted value from which a pixel is saturated.
    pub saturation: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold_sigma: 3.0,
            min_area_px: 5,
            deblend_levels: 32,
            deblend_contrast: 0.005,
            clean: Some(1.0),
            aperture_px: 5.0,
            gain_e_adu: 1.0,
            saturation: f64::INFINITY,
        }
    }
}

/// A detection with its pixels, and whether it was split from a neighbour.
type Found = (Candidate, Vec<Pixel>, bool);

/// Finds the sources of a background-subtracted image with sky noise `rms`, brightest first.
pub fn extract(image: &Image, rms: f32, options: &Options) -> Vec<Source> {
    extract_masked(image, rms, options, None)
}

/// The same on an image of which bad pixels were filled: sources that hold such are flagged.
pub fn extract_masked(image: &Image, rms: f32, options: &Options, bad: Option<&BadPixels>) -> Vec<Source> {
    let bad = bad.filter(|b| (b.width, b.height) == (image.width, image.height));
    let shaped = image.width.checked_mul(image.height) == Some(image.pixels.len());
    let positive = rms > 0.0 && options.threshold_sigma > 0.0;
    if !positive || image.pixels.is_empty() || !shaped {
        return Vec::new();
    }
    let level = options.threshold_sigma * rms;
    let threshold = f64::from(level);
    let least = options.min_area_px.max(1);
    let smooth = detect::filtered(image);
    let groups = detect::groups(image, &smooth, level, least);
    let mut found: Vec<Vec<Found>> = Vec::new();
    found.resize_with(groups.len(), Vec::new);
    let work = groups.into_iter().zip(&mut found);
    parallel::each(
        work,
        image.pixels.len(),
        || (),
        |(), (mut group, found)| {
            scan::arrange(&mut group);
            let split = deblend::split(
                group,
                threshold,
                options.deblend_levels,
                options.deblend_contrast,
                least.min(deblend::LEAST_PX),
            );
            for (pixels, centre) in split {
                let candidate = Candidate {
                    shape: Shape::of(&pixels, threshold, centre),
                    height: clean::height(&pixels, threshold, least),
                };
                found.push((candidate, pixels, centre.is_some()));
            }
        },
    );
    let (mut candidates, mut parts) = (Vec::new(), Vec::new());
    for (candidate, pixels, blended) in found.into_iter().flatten() {
        candidates.push(candidate);
        parts.push((pixels, blended));
    }
    let alive = match options.clean {
        Some(beta) => clean::survivors(&candidates, threshold, beta),
        None => vec![true; candidates.len()],
    };
    let kept = candidates.iter().zip(&parts).zip(alive).filter(|(_, alive)| *alive);
    let mut places: Vec<_> = kept.map(|((candidate, part), _)| (part, candidate, None)).collect();
    parallel::each(
        places.iter_mut(),
        image.pixels.len(),
        || (),
        |(), place| {
            let ((pixels, blended), candidate, source) = place;
            let mut measured = measure(image, &candidate.shape, pixels, *blended, rms, options);
            if bad.is_some_and(|bad| pixels.iter().any(|p| bad.is_bad(p.x as usize, p.y as usize))) {
                measured.flags |= BAD_PIXELS;
            }
            *source = Some(measured);
        },
    );
    let mut sources: Vec<Source> = places.into_iter().filter_map(|p| p.2).collect();
    sources.sort_by(|a, b| b.flux.total_cmp(&a.flux).then(a.y.total_cmp(&b.y)));
    sources
}

fn measure(image: &Image, shape: &Shape, pixels: &[Pixel], blended: bool, rms: f32, options: &Options) -> Source {
    let (width, height) = (image.width as f64, image.height as f64);
    let mut flags = if blended { BLENDED } else { 0 };
    let radius = options.aperture_px;
    let near = |value: f64, size: f64| value - radius < -0.5 || value + radius > size - 0.5;
    if near(shape.x, width) || near(shape.y, height) {
        flags |= BORDER;
    }
    if shape.peak >= options.saturation {
        flags |= SATURATED;
    }
    if shape.count > 400 {
        flags |= LARGE;
    }
    let noise = |light: &Light| (light.area * f64::from(rms).powi(2) + light.flux.max(0.0) / options.gain_e_adu).sqrt();
    let circle = photometry::circle(image, shape.x, shape.y, radius);
    let auto = photometry::kron(image, shape, radius);
    let fwhm_px = photometry::fwhm(pixels, shape);
    let (x_win, y_win) = photometry::windowed(image, shape, fwhm_px);
    Source {
        x: shape.x,
        y: shape.y,
        x_win,
        y_win,
        flux: circle.flux,
        flux_err: noise(&circle),
        flux_auto: auto.flux,
        flux_auto_err: noise(&auto),
        fwhm_px,
        a_px: shape.major,
        b_px: shape.minor,
        theta_deg: shape.theta.to_degrees(),
        ellipticity: 1.0 - shape.minor / shape.major,
        peak: shape.peak,
        area_px: shape.count,
        flags,
    }
}

/// Sum within a circle about a place of a background-subtracted image, and the pixels it was taken over.
pub fn aperture(image: &Image, x: f64, y: f64, radius_px: f64) -> (f64, f64) {
    let light = photometry::circle(image, x, y, radius_px);
    (light.flux, light.area)
}

/// Median width of sources that are neither saturated, nor cut, nor large, nor blended; `None` without any.
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
            assert!((source.x - x).abs() < 0.1 && (source.y - y).abs() < 0.1, "{source:?}");
            assert!((source.flux / flux - 1.0).abs() < 0.05, "{source:?}");
            assert!((source.fwhm_px - 3.77).abs() < 0.3, "{source:?}");
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

    #[test]
    fn a_source_that_holds_a_filled_pixel_says_so() {
        let image = field(&[(40.0, 50.0, 20_000.0), (120.0, 80.0, 8_000.0)]);
        let mut bad = BadPixels::none(200, 160);
        bad.why[80 * 200 + 121] = crate::bad_pixels::HOT;
        bad.why[10 * 200 + 10] = crate::bad_pixels::HOT;
        let sources = extract_masked(&image, 5.0, &Options::default(), Some(&bad));
        assert_eq!(sources.iter().map(|s| s.flags).collect::<Vec<_>>(), [0, BAD_PIXELS]);
        let other = BadPixels::none(3, 3);
        assert!(
            extract_masked(&image, 5.0, &Options::default(), Some(&other))
                .iter()
                .all(|s| s.flags == 0)
        );
    }

    #[test]
    fn two_touching_stars_are_two_sources_and_say_so() {
        let truth = [(80.0, 80.0, 40_000.0), (86.5, 81.0, 20_000.0)];
        let sources = extract(&field(&truth), 5.0, &Options::default());
        assert_eq!(sources.len(), 2, "{sources:?}");
        for ((x, y, _), source) in truth.iter().zip(&sources) {
            assert!((source.x - x).hypot(source.y - y) < 0.5, "{source:?}");
            assert_eq!(source.flags & BLENDED, BLENDED);
        }
        let whole = Options {
            deblend_contrast: 1.0,
            clean: None,
            ..Options::default()
        };
        assert_eq!(extract(&field(&truth), 5.0, &whole).len(), 1);
    }

    #[test]
    fn the_kron_aperture_holds_nearly_all_the_light() {
        let source = &extract(&field(&[(90.2, 70.6, 50_000.0)]), 5.0, &Options::default())[0];
        assert!((source.flux_auto / 50_000.0 - 1.0).abs() < 0.03, "{source:?}");
        assert!(
            (source.x_win - 90.2).abs() < 0.02 && (source.y_win - 70.6).abs() < 0.02,
            "{source:?}"
        );
    }
}
