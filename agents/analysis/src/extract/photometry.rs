//! Light within apertures, widths and windowed centres of single sources.

use super::shape::{Pixel, Shape};
use alidade_fits::Image;

/// Sum above the sky and the number of pixels it was taken over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Light {
    pub flux: f64,
    pub area: f64,
}

/// Subdivisions of a pixel on the edge of an aperture, each way.
const PARTS: u32 = 5;
/// Kron radius in units of the first moment, and the extent over which the moment is taken (SExtractor's usual values).
const KRON_FACTOR: f64 = 2.5;
const KRON_EXTENT: f64 = 6.0;
/// No source is followed further than this from its centre, pixels.
const FURTHEST: f64 = 300.0;
/// Full width at half maximum of a Gaussian in standard deviations: 2 sqrt(2 ln 2).
const FWHM: f64 = 2.354_82;

/// Columns or rows within `radius` of `centre`.
fn span(centre: f64, radius: f64, size: usize) -> std::ops::Range<usize> {
    let low = (centre - radius - 1.0).max(0.0) as usize;
    low.min(size)..((centre + radius + 2.0).max(0.0) as usize).min(size)
}

/// Pixels with a value within `radius` of the centre, with their offsets.
fn around(image: &Image, x: f64, y: f64, radius: f64, mut each: impl FnMut(f64, f64, f64)) {
    let columns = span(x, radius, image.width);
    for row in span(y, radius, image.height) {
        for column in columns.clone() {
            let value = f64::from(image.pixels[row * image.width + column]);
            if value.is_finite() {
                each(column as f64 - x, row as f64 - y, value);
            }
        }
    }
}

/// Share of a pixel for which `inside` holds.
fn share(dx: f64, dy: f64, inside: impl Fn(f64, f64) -> bool) -> f64 {
    let at = |n: u32| (f64::from(n) + 0.5) / f64::from(PARTS) - 0.5;
    let count = (0..PARTS * PARTS)
        .filter(|n| inside(dx + at(n % PARTS), dy + at(n / PARTS)))
        .count();
    count as f64 / f64::from(PARTS * PARTS)
}

/// Sum within a circle; pixels on its edge count by subdivision.
pub(super) fn circle(image: &Image, x: f64, y: f64, radius: f64) -> Light {
    let mut light = Light { flux: 0.0, area: 0.0 };
    let (inner, outer) = ((radius - 0.75).max(0.0).powi(2), (radius + 0.75).powi(2));
    let limit = radius * radius;
    around(image, x, y, radius, |dx, dy, value| {
        let squared = dx * dx + dy * dy;
        let part = if squared > outer {
            return;
        } else if squared < inner {
            1.0
        } else {
            share(dx, dy, |sx, sy| sx * sx + sy * sy < limit)
        };
        light.flux += part * value;
        light.area += part;
    });
    light
}

/// Sum within the Kron ellipse; within a circle of `least` pixels where that is larger.
pub(super) fn kron(image: &Image, shape: &Shape, least: f64) -> Light {
    let (mut moment, mut total) = (0.0, 0.0);
    around(
        image,
        shape.x,
        shape.y,
        (KRON_EXTENT * shape.major).min(FURTHEST),
        |dx, dy, value| {
            let reach = shape.reach(shape.x + dx, shape.y + dy);
            if reach <= KRON_EXTENT * KRON_EXTENT {
                moment += reach.sqrt() * value;
                total += value;
            }
        },
    );
    let radius = if total > 0.0 && moment > 0.0 {
        KRON_FACTOR * moment / total
    } else {
        0.0
    };
    if radius * (shape.major * shape.minor).sqrt() < least.min(3.5) {
        return circle(image, shape.x, shape.y, least.min(3.5));
    }
    let limit = radius * radius;
    // Half a pixel's diagonal in units of the minor axis bounds where subdivision is needed.
    let margin = 0.75 / shape.minor.max(0.05);
    let (inner, outer) = ((radius - margin).max(0.0).powi(2), (radius + margin).powi(2));
    let mut light = Light { flux: 0.0, area: 0.0 };
    around(
        image,
        shape.x,
        shape.y,
        (radius * shape.major).min(FURTHEST),
        |dx, dy, value| {
            let reach = shape.reach(shape.x + dx, shape.y + dy);
            let part = if reach > outer {
                return;
            } else if reach < inner {
                1.0
            } else {
                share(dx, dy, |sx, sy| shape.reach(shape.x + sx, shape.y + sy) < limit)
            };
            light.flux += part * value;
            light.area += part;
        },
    );
    light
}

/// Width of the core: a Gaussian fitted to the logarithm of what is above a fifth of the peak, each pixel weighted by
/// the square of its value; from the moments where there are fewer than five such pixels.
pub(super) fn fwhm(pixels: &[Pixel], shape: &Shape) -> f64 {
    let from_moments = FWHM * ((shape.major.powi(2) + shape.minor.powi(2)) / 2.0).sqrt();
    let (mut weights, mut sr, mut sv, mut srr, mut srv, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0, 0);
    for pixel in pixels.iter().filter(|p| f64::from(p.value) > 0.2 * shape.peak) {
        let squared = (f64::from(pixel.x) - shape.x).powi(2) + (f64::from(pixel.y) - shape.y).powi(2);
        let (weight, log) = (
            f64::from(pixel.value / shape.peak as f32).powi(2),
            f64::from(pixel.value).ln(),
        );
        weights += weight;
        sr += weight * squared;
        sv += weight * log;
        srr += weight * squared * squared;
        srv += weight * squared * log;
        count += 1;
    }
    let slope = (weights * srv - sr * sv) / (weights * srr - sr * sr);
    let width = FWHM * (-0.5 / slope).sqrt();
    if count >= 5 && slope < 0.0 && width.is_finite() && width < 4.0 * from_moments {
        width
    } else {
        from_moments
    }
}

/// Centre by iteration under a Gaussian window of the source's width (SExtractor manual, "Windowed positions"); the
/// barycentre where the iteration leaves it by more than a width.
pub(super) fn windowed(image: &Image, shape: &Shape, fwhm_px: f64) -> (f64, f64) {
    let sigma = (fwhm_px / FWHM).max(0.5);
    let (mut x, mut y) = (shape.x, shape.y);
    let radius = (4.0 * sigma).min(FURTHEST);
    for _ in 0..16 {
        let (mut sum, mut sx, mut sy) = (0.0, 0.0, 0.0);
        around(image, x, y, radius, |dx, dy, value| {
            let squared = dx * dx + dy * dy;
            if squared < radius * radius {
                let weight = value * (-squared / (2.0 * sigma * sigma)).exp();
                sum += weight;
                sx += weight * dx;
                sy += weight * dy;
            }
        });
        let (dx, dy) = (2.0 * sx / sum, 2.0 * sy / sum);
        if !(sum > 0.0 && (x + dx - shape.x).hypot(y + dy - shape.y) < fwhm_px) {
            return (shape.x, shape.y);
        }
        (x, y) = (x + dx, y + dy);
        if dx.hypot(dy) < 2e-4 {
            break;
        }
    }
    (x, y)
}
