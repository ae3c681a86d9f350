//! A small picture of a frame for people: asinh stretch, sources ringed.

use crate::extract::Source;
use alidade_fits::Image;

/// Longest side of a preview, pixels.
const LONGEST: usize = 512;

/// An 8-bit PNG of a background-subtracted image, north as in the frame, first row at the bottom.
///
/// The stretch is asinh((v - black) / (3 rms)), black one rms below the sky, white at the 99.7th percentile.
pub fn png(image: &Image, rms: f32, sources: &[Source]) -> Result<Vec<u8>, png::EncodingError> {
    let (mut bytes, width, height, step) = small(image, rms);
    for source in sources.iter().take(200) {
        for (x, y) in circle(source.x / step as f64, height as f64 - 1.0 - source.y / step as f64) {
            if x >= 0.0 && y >= 0.0 && (x as usize) < width && (y as usize) < height {
                bytes[y as usize * width + x as usize] = 200;
            }
        }
    }
    encoded(&bytes, width, height, png::ColorType::Grayscale)
}

/// The picture in grey with its width, height, and the frame's pixels for each of its own.
fn small(image: &Image, rms: f32) -> (Vec<u8>, usize, usize, usize) {
    let step = image.width.max(image.height).div_ceil(LONGEST).max(1);
    let (width, height) = ((image.width / step).max(1), (image.height / step).max(1));
    let mut small = Vec::with_capacity(width * height);
    for y in (0..height).rev() {
        for x in 0..width {
            let (mut sum, mut count) = (0.0, 0.0);
            for sy in 0..step {
                for sx in 0..step {
                    let value = image
                        .pixels
                        .get((y * step + sy) * image.width + x * step + sx)
                        .copied()
                        .unwrap_or(f32::NAN);
                    if value.is_finite() {
                        sum += value;
                        count += 1.0;
                    }
                }
            }
            small.push(if count > 0.0 { sum / count } else { 0.0 });
        }
    }
    let softness = (3.0 * rms).max(1e-3);
    let stretch = |value: f32| ((value + rms) / softness).asinh();
    let mut sorted = small.clone();
    let at = (sorted.len() * 997 / 1000).min(sorted.len().saturating_sub(1));
    let white = stretch(*sorted.select_nth_unstable_by(at, f32::total_cmp).1).max(1.0);
    let bytes: Vec<u8> = small
        .iter()
        .map(|v| (stretch(*v) / white * 255.0).clamp(0.0, 255.0) as u8)
        .collect();
    (bytes, width, height, step)
}

/// As [`png()`], in colour: sources ringed in green, and the points of a grid, in pixels of the frame, in blue.
pub fn overlay(
    image: &Image,
    rms: f32,
    sources: &[Source],
    grid: &[(f64, f64)],
) -> Result<Vec<u8>, png::EncodingError> {
    let (grey, width, height, step) = small(image, rms);
    let mut bytes: Vec<u8> = grey.iter().flat_map(|v| [*v, *v, *v]).collect();
    let mut paint = |x: f64, y: f64, colour: [u8; 3]| {
        if x >= 0.0 && y >= 0.0 && (x as usize) < width && (y as usize) < height {
            bytes[3 * (y as usize * width + x as usize)..][..3].copy_from_slice(&colour);
        }
    };
    let top = height as f64 - 1.0;
    for (x, y) in grid {
        paint(
            (x / step as f64).round(),
            (top - y / step as f64).round(),
            [70, 110, 220],
        );
    }
    for source in sources.iter().take(500) {
        for (x, y) in circle(source.x / step as f64, top - source.y / step as f64) {
            paint(x, y, [60, 220, 90]);
        }
    }
    encoded(&bytes, width, height, png::ColorType::Rgb)
}

/// Places on a ring of six pixels radius.
fn circle(cx: f64, cy: f64) -> impl Iterator<Item = (f64, f64)> {
    (0..360).step_by(8).map(move |degree| {
        let (sin, cos) = f64::from(degree).to_radians().sin_cos();
        ((cx + 6.0 * cos).round(), (cy + 6.0 * sin).round())
    })
}

/// Side of a cut-out before it is enlarged, and by how much it is, pixels.
const CUTOUT: usize = 48;
const ENLARGED: usize = 4;

/// The surroundings of a place of a background-subtracted image, enlarged, as an 8-bit PNG; black outside the image.
pub fn cutout(image: &Image, rms: f32, (x, y): (f64, f64)) -> Result<Vec<u8>, png::EncodingError> {
    let (left, bottom) = (
        x.round() as i64 - CUTOUT as i64 / 2,
        y.round() as i64 - CUTOUT as i64 / 2,
    );
    let value = |u: usize, v: usize| {
        let (px, py) = (left + u as i64, bottom + v as i64);
        let inside = (0..image.width as i64).contains(&px) && (0..image.height as i64).contains(&py);
        inside
            .then(|| image.pixels.get(py as usize * image.width + px as usize).copied())
            .flatten()
            .filter(|p| p.is_finite())
            .unwrap_or(0.0)
    };
    let softness = (3.0 * rms).max(1e-3);
    let stretch = |value: f32| ((value + rms) / softness).asinh();
    let highest = (0..CUTOUT * CUTOUT)
        .map(|n| value(n % CUTOUT, n / CUTOUT))
        .fold(0.0, f32::max);
    let white = stretch(highest).max(1.0);
    let side = CUTOUT * ENLARGED;
    let mut bytes = Vec::with_capacity(side * side);
    for v in (0..side).rev() {
        for u in 0..side {
            let level = stretch(value(u / ENLARGED, v / ENLARGED)) / white * 255.0;
            bytes.push(level.clamp(0.0, 255.0) as u8);
        }
    }
    encoded(&bytes, side, side, png::ColorType::Grayscale)
}

pub(crate) fn encoded(
    bytes: &[u8],
    width: usize,
    height: usize,
    colour: png::ColorType,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header()?.write_image_data(bytes)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_frame_becomes_a_small_picture() {
        let image = Image {
            width: 1500,
            height: 900,
            pixels: vec![3.0; 1500 * 900],
        };
        let bytes = png(&image, 2.0, &[]).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (500, 300));
    }
}
