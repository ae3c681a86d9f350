//! CLEAN: faint detections that the wings of a brighter neighbour explain are dropped (SExtractor manual, "Cleaning").

use super::shape::{Pixel, Shape};

/// How far a source may reach, in sums of the major widths.
const ZONE: f64 = 10.0;

/// What cleaning needs of a detection.
pub(super) struct Candidate {
    pub shape: Shape,
    /// Height above the threshold that `least` pixels have.
    pub height: f64,
}

/// Height above `threshold` reached by `least` of the pixels.
///
/// The pixel after the first `least` is left out, and exactly `least` pixels give the first one's height: so do the
/// peers, and which faint neighbours are dropped hangs on it.
pub(super) fn height(pixels: &[Pixel], threshold: f64, least: usize) -> f64 {
    if pixels.len() < least || least == 0 {
        return 0.0;
    }
    if pixels.len() == least {
        return f64::from(pixels[0].smooth) - threshold;
    }
    let mut values: Vec<f32> = pixels[..least]
        .iter()
        .chain(&pixels[least + 1..])
        .map(|p| p.smooth)
        .collect();
    let (_, value, _) = values.select_nth_unstable_by(least - 1, |a, b| b.total_cmp(a));
    f64::from(*value) - threshold
}

/// Whether the Moffat wings of `bright`, of exponent `beta`, are higher at `faint` than `faint` itself.
fn eats(bright: &Candidate, faint: &Candidate, threshold: f64, beta: f64) -> bool {
    let shape = &bright.shape;
    let area = std::f64::consts::PI * shape.major * shape.minor;
    let amplitude = shape.smooth_flux / (2.0 * area * shape.truncation);
    let slope = ((amplitude / threshold).powf(1.0 / beta) - 1.0) * area / shape.count as f64;
    let fall = 1.0 + slope * shape.reach(faint.shape.x, faint.shape.y);
    fall > 1.0 && fall < 1e10 && amplitude * fall.powf(-beta) > faint.height
}

/// Which detections stand on their own.
pub(super) fn survivors(candidates: &[Candidate], threshold: f64, beta: f64) -> Vec<bool> {
    let mut alive = vec![true; candidates.len()];
    // In order of rows, so that only near ones are compared.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|a, b| candidates[*a].shape.y.total_cmp(&candidates[*b].shape.y));
    let widest = candidates.iter().map(|c| c.shape.major).fold(0.0, f64::max);
    for (place, one) in order.iter().copied().enumerate() {
        for two in order[place + 1..].iter().copied() {
            if !alive[one] {
                break;
            }
            let (a, b) = (&candidates[one], &candidates[two]);
            if b.shape.y - a.shape.y > ZONE * (a.shape.major + widest) {
                break;
            }
            let limit = ZONE * (a.shape.major + b.shape.major);
            if !alive[two] || (a.shape.x - b.shape.x).powi(2) + (a.shape.y - b.shape.y).powi(2) > limit * limit {
                continue;
            }
            if b.shape.smooth_flux < a.shape.smooth_flux {
                alive[two] = !eats(a, b, threshold, beta);
            } else {
                alive[one] = !eats(b, a, threshold, beta);
            }
        }
    }
    alive
}
