//! The image of a point: a Moffat profile with beta 3 (Moffat 1969, A&A 3, 455), the shape of seeing with its wings.

const BETA: f64 = 3.0;
/// Half width of the finely integrated core, pixels.
const CORE: f64 = 3.0;

/// An image being built, linear, any unit.
pub struct Canvas<'a> {
    pub width: usize,
    pub height: usize,
    pub light: &'a mut [f32],
    /// What is fainter than this a pixel need not be drawn.
    pub least: f64,
}

/// A Moffat profile of one width.
#[derive(Debug, Clone, Copy)]
pub struct Moffat {
    alpha2: f64,
    /// The core is integrated over this many points a side of each pixel: undersampled images keep centroid and flux.
    fine: usize,
}

impl Moffat {
    /// `fwhm_px`: full width at half maximum, pixels.
    pub fn new(fwhm_px: f64) -> Self {
        let fwhm_px = fwhm_px.max(0.3);
        let alpha2 = (fwhm_px / (2.0 * (2f64.powf(1.0 / BETA) - 1.0).sqrt())).powi(2);
        Self {
            alpha2,
            fine: (6.0 / fwhm_px).ceil().clamp(2.0, 8.0) as usize,
        }
    }

    fn at(&self, dx: f64, dy: f64) -> f64 {
        let base = 1.0 + (dx * dx + dy * dy) / self.alpha2;
        1.0 / (base * base * base)
    }

    fn over_pixel(&self, dx: f64, dy: f64) -> f64 {
        let mut sum = 0.0;
        for j in 0..self.fine {
            for i in 0..self.fine {
                let inside = |n: usize| (n as f64 + 0.5) / self.fine as f64 - 0.5;
                sum += self.at(dx + inside(i), dy + inside(j));
            }
        }
        sum / (self.fine * self.fine) as f64
    }

    /// Adds a point of total `flux` at (`x0`, `y0`), pixels, centre of the first pixel at 0.
    pub fn stamp(&self, canvas: &mut Canvas<'_>, (x0, y0): (f64, f64), flux: f64) {
        let peak = flux * (BETA - 1.0) / (std::f64::consts::PI * self.alpha2);
        let reach = (self.alpha2 * ((peak / canvas.least).max(1.0).powf(1.0 / BETA) - 1.0))
            .sqrt()
            .clamp(CORE, 150.0);
        let (w, h) = (canvas.width as f64, canvas.height as f64);
        if !(x0 > -reach && y0 > -reach && x0 < w + reach && y0 < h + reach) {
            return;
        }
        let span = |centre: f64, size: f64| {
            (
                (centre - reach).clamp(0.0, size) as usize,
                (centre + reach + 1.0).clamp(0.0, size) as usize,
            )
        };
        let ((left, right), (bottom, top)) = (span(x0, w), span(y0, h));
        for y in bottom..top {
            let dy = y as f64 - y0;
            let row = &mut canvas.light[y * canvas.width..][..canvas.width];
            for (x, pixel) in row.iter_mut().enumerate().take(right).skip(left) {
                let dx = x as f64 - x0;
                let core = dx.abs() < CORE && dy.abs() < CORE;
                *pixel += (peak * if core { self.over_pixel(dx, dy) } else { self.at(dx, dy) }) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum and centroid of one point.
    fn measured(fwhm_px: f64, place: (f64, f64)) -> (f64, f64, f64) {
        let mut light = vec![0f32; 101 * 101];
        let mut canvas = Canvas {
            width: 101,
            height: 101,
            light: &mut light,
            least: 1e-3,
        };
        Moffat::new(fwhm_px).stamp(&mut canvas, place, 10_000.0);
        let (mut sum, mut sx, mut sy) = (0.0, 0.0, 0.0);
        for (i, value) in light.iter().enumerate() {
            let value = f64::from(*value);
            sum += value;
            sx += value * (i % 101) as f64;
            sy += value * (i / 101) as f64;
        }
        (sum, sx / sum, sy / sum)
    }

    #[test]
    fn a_point_keeps_its_flux_and_its_place_even_when_undersampled() {
        // Narrower than this, pixels pull every centroid towards their own centres, as real ones do.
        for fwhm_px in [1.0, 1.2, 2.0, 4.0] {
            for place in [(50.0, 50.0), (50.5, 49.5), (49.77, 50.31)] {
                let (sum, x, y) = measured(fwhm_px, place);
                assert!(
                    (sum / 10_000.0 - 1.0).abs() < 0.02,
                    "fwhm {fwhm_px} at {place:?}: {sum}"
                );
                assert!(
                    (x - place.0).abs() < 0.02 && (y - place.1).abs() < 0.02,
                    "fwhm {fwhm_px}: {x} {y}"
                );
            }
        }
    }

    #[test]
    fn a_point_outside_the_frame_leaves_only_its_wing() {
        let mut light = vec![0f32; 100];
        let mut canvas = Canvas {
            width: 10,
            height: 10,
            light: &mut light,
            least: 0.1,
        };
        Moffat::new(2.0).stamp(&mut canvas, (-3.0, 5.0), 1e5);
        Moffat::new(2.0).stamp(&mut canvas, (f64::NAN, 5.0), 1e5);
        Moffat::new(2.0).stamp(&mut canvas, (900.0, 5.0), 1e5);
        assert!(light[50] > light[51] && light[51] > light[59] && light[50] < 1e4);
    }
}
