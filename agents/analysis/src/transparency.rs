//! How clear the sky is, from the stars: the zero point of a frame beside the best of the night.
//!
//! A cloud that lets half the light through makes every star 0.75 magnitudes fainter. The zero point is taken to the
//! zenith by a mean extinction, so that air mass is not taken for cloud (Hardie 1962, Astronomical Techniques, 178).

use std::collections::BTreeMap;

/// Magnitudes an air mass, of a clear sky in the middle of the optical range.
const EXTINCTION_MAG: f64 = 0.15;
/// Frames before anything is said: the first one is its own best.
const LEAST_FRAMES: usize = 3;
/// A zero point worse than this says nothing.
const MOST_SCATTER_MAG: f64 = 0.3;
const LEAST_STARS: usize = 5;

/// Zero points of one night by channel and filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transparency {
    known: BTreeMap<(String, String), Known>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    frames: usize,
    /// The two best: the best one alone may be an accident.
    best: [f64; 2],
}

/// What one frame's zero point says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// Magnitude of one count a second.
    pub zero_point: f64,
    pub scatter: f64,
    pub stars: usize,
    pub airmass: f64,
}

impl Transparency {
    /// A new night.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Share of the light that clouds take, 0 to 1, as far as this frame tells; `None` while too few are known.
    pub fn cloud(&mut self, channel: &str, filter: &str, told: &Told) -> Option<f64> {
        let airmass_known = (1.0..5.0).contains(&told.airmass);
        if told.stars < LEAST_STARS || told.scatter > MOST_SCATTER_MAG || !airmass_known || !told.zero_point.is_finite()
        {
            return None;
        }
        let above = told.zero_point + EXTINCTION_MAG * (told.airmass - 1.0);
        let known = self.known.entry((channel.into(), filter.into())).or_default();
        known.frames += 1;
        if known.frames == 1 {
            known.best = [above, f64::NEG_INFINITY];
        } else if above > known.best[0] {
            known.best = [above, known.best[0]];
        } else if above > known.best[1] {
            known.best[1] = above;
        }
        (known.frames >= LEAST_FRAMES).then(|| {
            let lost = (known.best[1] - above).max(0.0);
            1.0 - 10f64.powf(-0.4 * lost)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(zero_point: f64, airmass: f64) -> Told {
        Told {
            zero_point,
            scatter: 0.03,
            stars: 30,
            airmass,
        }
    }

    #[test]
    fn a_cloud_is_told_from_air_mass_and_only_after_some_frames() {
        let mut night = Transparency::default();
        assert_eq!(night.cloud("vis", "r", &told(22.0, 1.0)), None);
        assert_eq!(night.cloud("vis", "r", &told(22.0, 1.0)), None);
        let clear = night.cloud("vis", "r", &told(21.85, 2.0)).unwrap();
        assert!(clear < 0.01, "{clear}");
        let half = night.cloud("vis", "r", &told(22.0 - 0.7526, 1.0)).unwrap();
        assert!((half - 0.5).abs() < 1e-3, "{half}");
        assert_eq!(night.cloud("vis", "g", &told(20.0, 1.0)), None);
        night.forget();
        assert_eq!(night.cloud("vis", "r", &told(20.0, 1.0)), None);
    }

    #[test]
    fn one_accident_does_not_make_the_rest_of_the_night_cloudy() {
        let mut night = Transparency::default();
        for _ in 0..3 {
            night.cloud("vis", "r", &told(22.0, 1.0));
        }
        assert!(night.cloud("vis", "r", &told(24.0, 1.0)).unwrap() < 1e-9);
        assert!(night.cloud("vis", "r", &told(22.0, 1.0)).unwrap() < 1e-9);
        let bad = Told {
            stars: 2,
            ..told(18.0, 1.0)
        };
        assert_eq!(night.cloud("vis", "r", &bad), None);
    }
}
