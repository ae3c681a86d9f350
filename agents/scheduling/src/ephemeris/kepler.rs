//! Minor bodies by two-body motion from osculating elements.
//!
//! Good near the epoch of the elements (arcseconds within weeks for main-belt objects, less for close approaches, where
//! perturbations matter). Elements are heliocentric, ecliptic and equinox J2000, as the Minor Planet Center gives them.

use super::frame::{Icrs, SkyFrame};
use super::site::Site;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sofars::consts::{AULT, DAYSEC, DD2R, DR2D};
use sofars::vm::{anp, c2s};

/// Gaussian gravitational constant, au^1.5 per day (IAU 1976).
const GAUSS_K: f64 = 0.017_202_098_95;

/// Elements in perihelion form, which serves ellipse, parabola and hyperbola alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MinorBody {
    /// Perihelion distance, au.
    pub perihelion_au: f64,
    pub eccentricity: f64,
    pub inclination_deg: f64,
    /// Longitude of the ascending node.
    pub node_deg: f64,
    /// Argument of perihelion.
    pub perihelion_arg_deg: f64,
    /// Time of perihelion passage, Julian Date TT.
    pub perihelion_jd_tt: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MinorBodyError {
    #[error("an orbital element is not a finite number")]
    NotFinite,
    #[error("the perihelion distance must be positive")]
    Perihelion,
    #[error("the eccentricity must not be negative")]
    Eccentricity,
    #[error("Kepler's equation did not converge")]
    NoConvergence,
}

impl MinorBody {
    /// From the asteroid form: semi-major axis and mean anomaly at an epoch (Julian Date TT). Ellipses only.
    pub fn from_mean_anomaly(
        semi_major_au: f64,
        eccentricity: f64,
        inclination_deg: f64,
        node_deg: f64,
        perihelion_arg_deg: f64,
        mean_anomaly_deg: f64,
        epoch_jd_tt: f64,
    ) -> Result<Self, MinorBodyError> {
        if !(0.0..1.0).contains(&eccentricity) {
            return Err(MinorBodyError::Eccentricity);
        }
        let motion = GAUSS_K / semi_major_au.powf(1.5);
        let m = sofars::vm::anpm(mean_anomaly_deg * DD2R);
        let body = Self {
            perihelion_au: semi_major_au * (1.0 - eccentricity),
            eccentricity,
            inclination_deg,
            node_deg,
            perihelion_arg_deg,
            perihelion_jd_tt: epoch_jd_tt - m / motion,
        };
        body.check().map(|()| body)
    }

    fn check(&self) -> Result<(), MinorBodyError> {
        let all = [
            self.perihelion_au,
            self.eccentricity,
            self.inclination_deg,
            self.node_deg,
            self.perihelion_arg_deg,
            self.perihelion_jd_tt,
        ];
        if all.iter().any(|x| !x.is_finite()) {
            return Err(MinorBodyError::NotFinite);
        }
        if self.perihelion_au <= 0.0 {
            return Err(MinorBodyError::Perihelion);
        }
        if self.eccentricity < 0.0 {
            return Err(MinorBodyError::Eccentricity);
        }
        Ok(())
    }

    /// Position in the orbital plane (towards perihelion, along the motion there), au, `days` after perihelion.
    ///
    /// Universal variables (Danby 1988, Fundamentals of Celestial Mechanics, 6.9) started at perihelion, so that one
    /// formula serves every eccentricity without loss of accuracy around the parabola.
    fn in_plane(&self, days: f64) -> Result<[f64; 2], MinorBodyError> {
        let (q, e) = (self.perihelion_au, self.eccentricity);
        let alpha = (1.0 - e) / q;
        let mut kt = GAUSS_K * days;
        if alpha > 1e-6 {
            let period = sofars::consts::D2PI / alpha.powf(1.5);
            kt -= (kt / period).round() * period;
        }
        let time = |x: f64| {
            let (c2, c3) = stumpff(alpha * x * x);
            (q * x + e * x * x * x * c3, q + e * x * x * c2)
        };
        // The time grows with the variable, its slope is the distance: bracket, then Newton kept inside the bracket.
        let goal = kt.abs();
        let (mut low, mut high) = (0.0, 1.0);
        while time(high).0 < goal && high < 1e9 {
            (low, high) = (high, high * 2.0);
        }
        let mut x = 0.5 * (low + high);
        for _ in 0..200 {
            let (t, r) = time(x);
            if t < goal {
                low = x
            } else {
                high = x
            }
            let newton = x - (t - goal) / r;
            let next = if newton > low && newton < high {
                newton
            } else {
                0.5 * (low + high)
            };
            if (next - x).abs() <= 1e-14 * x.max(1.0) || high - low <= 1e-14 * high {
                let x = next * kt.signum();
                let (c2, c3) = stumpff(alpha * x * x);
                let speed = ((1.0 + e) / q).sqrt();
                return Ok([q - x * x * c2, (kt - x * x * x * c3) * speed]);
            }
            x = next;
        }
        Err(MinorBodyError::NoConvergence)
    }

    /// Heliocentric equatorial (J2000) position at a Julian Date TT, au.
    pub fn heliocentric_au(&self, jd_tt: (f64, f64)) -> Result<[f64; 3], MinorBodyError> {
        self.check()?;
        let [p, w] = self.in_plane((jd_tt.0 - self.perihelion_jd_tt) + jd_tt.1)?;
        let (sw, cw) = (self.perihelion_arg_deg * DD2R).sin_cos();
        let (cu, su) = (p * cw - w * sw, p * sw + w * cw);
        let (sn, cn) = (self.node_deg * DD2R).sin_cos();
        let (si, ci) = (self.inclination_deg * DD2R).sin_cos();
        let (x, y, z) = (cn * cu - sn * su * ci, sn * cu + cn * su * ci, su * si);
        // MPC and JPL elements refer to the obliquity of the IAU 1976 system, 84381.448 arcsec.
        let (se, ce) = (84381.448 / 3600.0 * DD2R).sin_cos();
        Ok([x, ce * y - se * z, se * y + ce * z])
    }
}

/// Stumpff functions c2 and c3.
fn stumpff(z: f64) -> (f64, f64) {
    if z.abs() < 0.1 {
        let series = |first: f64, k: f64| {
            let mut term = first;
            let mut sum = first;
            for n in 1..9 {
                let n = 2.0 * f64::from(n);
                term *= -z / ((n + k - 1.0) * (n + k));
                sum += term;
            }
            sum
        };
        (series(0.5, 2.0), series(1.0 / 6.0, 3.0))
    } else if z > 0.0 {
        let r = z.sqrt();
        ((1.0 - r.cos()) / z, (r - r.sin()) / (r * z))
    } else {
        let r = (-z).sqrt();
        ((1.0 - r.cosh()) / z, (r.sinh() - r) / (-z * r))
    }
}

/// Astrometric topocentric ICRS place of a minor body (one light-time iteration more than needed for 0.01 arcsec).
pub fn minor_body(site: &Site, body: &MinorBody, t: DateTime<Utc>) -> Result<Icrs, MinorBodyError> {
    let frame = SkyFrame::new(site, t);
    let sun: [f64; 3] = std::array::from_fn(|i| frame.earth_bary[0][i] - frame.earth_helio[0][i]);
    let mut tau = 0.0;
    let mut vector = [0.0; 3];
    for _ in 0..3 {
        let helio = body.heliocentric_au((frame.tt.0, frame.tt.1 - tau))?;
        vector = std::array::from_fn(|i| helio[i] + sun[i] - frame.astrom.eb[i]);
        tau = vector.iter().map(|c| c * c).sum::<f64>().sqrt() * AULT / DAYSEC;
    }
    let (ra, dec) = c2s(&vector);
    Ok(Icrs::new(anp(ra) * DR2D, dec * DR2D))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(q: f64, e: f64) -> MinorBody {
        MinorBody {
            perihelion_au: q,
            eccentricity: e,
            inclination_deg: 10.0,
            node_deg: 80.0,
            perihelion_arg_deg: 73.0,
            perihelion_jd_tt: 2_460_000.5,
        }
    }

    #[test]
    fn a_near_parabolic_orbit_is_continuous_across_the_three_forms() {
        let at = |e: f64| body(0.7, e).heliocentric_au((2_460_090.5, 0.0)).unwrap();
        let (ellipse, parabola, hyperbola) = (at(0.999_999), at(1.0), at(1.000_001));
        for i in 0..3 {
            assert!((ellipse[i] - parabola[i]).abs() < 1e-5 && (hyperbola[i] - parabola[i]).abs() < 1e-5);
        }
    }

    #[test]
    fn an_ellipse_returns_after_its_period_and_keeps_its_perihelion_distance() {
        let b = MinorBody::from_mean_anomaly(2.766, 0.0785, 10.6, 80.3, 73.6, 60.0, 2_460_200.5).unwrap();
        let period = 365.256_898 * 2.766f64.powf(1.5);
        let a = b.heliocentric_au((2_460_200.5, 0.0)).unwrap();
        let z = b.heliocentric_au((2_460_200.5, period)).unwrap();
        let d: f64 = (0..3).map(|i| (a[i] - z[i]).powi(2)).sum::<f64>().sqrt();
        assert!(d < 1e-4, "{d}");
        let p = b.heliocentric_au((b.perihelion_jd_tt, 0.0)).unwrap();
        let r = p.iter().map(|c| c * c).sum::<f64>().sqrt();
        assert!((r - b.perihelion_au).abs() < 1e-9);
    }

    #[test]
    fn senseless_elements_are_refused() {
        assert_eq!(
            body(-1.0, 0.5).heliocentric_au((2_460_000.5, 0.0)),
            Err(MinorBodyError::Perihelion)
        );
        assert_eq!(
            body(f64::NAN, 0.5).heliocentric_au((2_460_000.5, 0.0)),
            Err(MinorBodyError::NotFinite)
        );
        assert_eq!(
            body(1.0, -0.5).heliocentric_au((2_460_000.5, 0.0)),
            Err(MinorBodyError::Eccentricity)
        );
    }
}
