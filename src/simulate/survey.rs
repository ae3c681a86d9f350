//! A survey of the simulated sky: what a real observatory has as its catalogue.

use alidade_analysis::astrometry::{SkyStars, Star};
use alidade_model::units::separation_deg;
use alidade_simulations::sky::Catalogue;

/// Magnitude to which the survey goes. The simulated sky has fainter stars, as the real one has beyond every catalogue.
const DEPTH: f64 = 17.0;

pub struct Survey {
    sky: Catalogue,
}

impl Survey {
    pub fn new(sky: Catalogue) -> Self {
        Self { sky }
    }
}

impl SkyStars for Survey {
    fn cone(&self, ra_deg: f64, dec_deg: f64, radius_deg: f64) -> Result<Vec<Star>, String> {
        let near = |s: &alidade_simulations::sky::Star| {
            s.mag < DEPTH && separation_deg((ra_deg, dec_deg), (s.ra_deg, s.dec_deg)) <= radius_deg
        };
        Ok(self
            .sky
            .around((ra_deg, dec_deg), radius_deg)
            .into_iter()
            .filter(near)
            .map(|s| Star {
                ra_deg: s.ra_deg,
                dec_deg: s.dec_deg,
                mag: s.mag,
            })
            .collect())
    }

    fn depth(&self) -> f64 {
        DEPTH
    }

    fn name(&self) -> String {
        "survey of the simulated sky".into()
    }
}
