//! How likely a hypothesis is, star by star.

/// Share of the frame's stars that no catalogue explains.
const DISTRACTORS: f64 = 0.3;

/// Running log-odds over the stars of a frame, each catalogue star used once.
pub(super) struct Odds {
    pub(super) sum: f64,
    pub(super) best: f64,
    area: f64,
    stars: f64,
    pub(super) used: Vec<usize>,
}

impl Odds {
    pub(super) fn new(area: f64, stars: f64) -> Self {
        Self {
            sum: 0.0,
            best: f64::NEG_INFINITY,
            area,
            stars: stars.max(1.0),
            used: Vec::new(),
        }
    }

    /// Adds one star of the frame: the nearest catalogue star and its distance, with the uncertainty, pixels.
    pub(super) fn add(&mut self, nearest: Option<(usize, f64)>, sigma: f64) {
        let peak = (1.0 - DISTRACTORS) * self.area / (self.stars * std::f64::consts::TAU * sigma * sigma);
        let gain = match nearest {
            Some((star, distance)) if !self.used.contains(&star) => {
                let near = peak * (-distance * distance / (2.0 * sigma * sigma)).exp();
                if near > 0.05 {
                    self.used.push(star);
                }
                near
            }
            _ => 0.0,
        };
        self.sum += (DISTRACTORS + gain).ln();
        self.best = self.best.max(self.sum);
    }
}
