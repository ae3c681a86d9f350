//! Where minor planets of given elements are: motion in an ellipse about the Sun, seen from the Earth's centre.
//!
//! Good to about a minute of arc within a year of the elements' epoch: enough to name what is found, not to point at it.
//! Sources: Meeus, Astronomical Algorithms (2nd ed.), chapters 25 (Sun), 30 (Kepler's equation) and 33 (elliptic motion).

use crate::candidates::Known;

/// Osculating elements, ecliptic and equinox J2000, angles in degrees.
#[derive(Debug, Clone, PartialEq)]
pub struct Elements {
    pub name: String,
    /// Julian date (TT).
    pub epoch_jd: f64,
    pub mean_anomaly_deg: f64,
    pub perihelion_deg: f64,
    pub node_deg: f64,
    pub inclination_deg: f64,
    pub eccentricity: f64,
    /// Semi-major axis, astronomical units.
    pub axis_au: f64,
}

/// Mean motion of a body at one astronomical unit, degrees a day: Gauss's constant.
const GAUSS_DEG_D: f64 = 0.985_607_668_6;
/// Obliquity of the ecliptic at J2000, degrees (IAU 1976).
const OBLIQUITY_DEG: f64 = 23.439_291_1;
/// Light takes this many days for an astronomical unit.
const LIGHT_D_AU: f64 = 0.005_775_518_3;

/// Reads `name,epoch_jd,mean_anomaly_deg,perihelion_deg,node_deg,inclination_deg,eccentricity,axis_au` lines after a
/// header; lines that begin with # are comments.
pub fn read_csv(text: &str) -> Result<Vec<Elements>, String> {
    let mut found = Vec::new();
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    for (number, line) in lines.skip(1) {
        let wrong = || format!("line {}: eight columns, name first, are wanted", number + 1);
        let (name, rest) = line.split_once(',').ok_or_else(wrong)?;
        let numbers: Vec<f64> = rest
            .split(',')
            .map(|w| w.trim().parse::<f64>().ok().filter(|v| v.is_finite()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let [
            epoch_jd,
            mean_anomaly_deg,
            perihelion_deg,
            node_deg,
            inclination_deg,
            eccentricity,
            axis_au,
        ] = numbers[..]
        else {
            return Err(wrong());
        };
        if !(0.0..0.99).contains(&eccentricity) || axis_au <= 0.0 {
            return Err(format!("line {}: not an ellipse", number + 1));
        }
        found.push(Elements {
            name: name.trim().into(),
            epoch_jd,
            mean_anomaly_deg,
            perihelion_deg,
            node_deg,
            inclination_deg,
            eccentricity,
            axis_au,
        });
    }
    Ok(found)
}

/// Eccentric anomaly by Newton's method, radians.
fn eccentric(mean: f64, e: f64) -> f64 {
    let mut anomaly = if e > 0.8 { std::f64::consts::PI } else { mean };
    for _ in 0..50 {
        let step = (anomaly - e * anomaly.sin() - mean) / (1.0 - e * anomaly.cos());
        anomaly -= step;
        if step.abs() < 1e-12 {
            break;
        }
    }
    anomaly
}

impl Elements {
    /// Heliocentric place, J2000 ecliptic, astronomical units.
    fn heliocentric(&self, jd: f64) -> [f64; 3] {
        let motion = GAUSS_DEG_D / self.axis_au.powf(1.5);
        let mean = (self.mean_anomaly_deg + motion * (jd - self.epoch_jd))
            .rem_euclid(360.0)
            .to_radians();
        let e = self.eccentricity;
        let anomaly = eccentric(mean, e);
        let x = self.axis_au * (anomaly.cos() - e);
        let y = self.axis_au * (1.0 - e * e).sqrt() * anomaly.sin();
        let (sw, cw) = self.perihelion_deg.to_radians().sin_cos();
        let (sn, cn) = self.node_deg.to_radians().sin_cos();
        let (si, ci) = self.inclination_deg.to_radians().sin_cos();
        let (u, v) = (cw * x - sw * y, sw * x + cw * y);
        [cn * u - sn * ci * v, sn * u + cn * ci * v, si * v]
    }

    /// Astrometric direction from the Earth, ICRS degrees; `jd` is UTC, a minute from TT, which nothing here notices.
    pub fn direction(&self, jd: f64) -> (f64, f64) {
        let sun = sun(jd);
        let mut delay = 0.0;
        let mut v = [0.0; 3];
        for _ in 0..3 {
            let place = self.heliocentric(jd - delay);
            v = [place[0] + sun[0], place[1] + sun[1], place[2] + sun[2]];
            delay = LIGHT_D_AU * v.iter().map(|c| c * c).sum::<f64>().sqrt();
        }
        let (sin, cos) = OBLIQUITY_DEG.to_radians().sin_cos();
        let (y, z) = (v[1] * cos - v[2] * sin, v[1] * sin + v[2] * cos);
        (
            y.atan2(v[0]).to_degrees().rem_euclid(360.0),
            z.atan2(v[0].hypot(y)).to_degrees(),
        )
    }
}

/// Geocentric place of the Sun, J2000 ecliptic, astronomical units (Meeus, chapter 25, 0.01 degrees).
fn sun(jd: f64) -> [f64; 3] {
    let t = (jd - 2_451_545.0) / 36_525.0;
    let mean = (357.529_11 + t * (35_999.050_29 - 0.000_153_7 * t)).to_radians();
    let longitude = 280.466_46 + t * (36_000.769_83 + 0.000_303_2 * t);
    let centre = (1.914_602 - 0.004_817 * t) * mean.sin()
        + (0.019_993 - 0.000_101 * t) * (2.0 * mean).sin()
        + 0.000_289 * (3.0 * mean).sin();
    let e = 0.016_708_634 - 0.000_042_037 * t;
    let radius = 1.000_001_018 * (1.0 - e * e) / (1.0 + e * (mean + centre.to_radians()).cos());
    // From the equinox of date to J2000: general precession, 1.396 971 degrees a century.
    let (sin, cos) = (longitude + centre - 1.396_971 * t).to_radians().sin_cos();
    [radius * cos, radius * sin, 0.0]
}

/// Those within `radius_deg` of a direction.
pub fn near(elements: &[Elements], jd: f64, ra_deg: f64, dec_deg: f64, radius_deg: f64) -> Vec<Known> {
    elements
        .iter()
        .map(|e| (e, e.direction(jd)))
        .filter(|(_, (ra, dec))| crate::astrometry::stars::separation(*ra, *dec, ra_deg, dec_deg) <= radius_deg)
        .map(|(e, (ra, dec))| Known {
            name: e.name.clone(),
            ra_deg: ra,
            dec_deg: dec,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sun_is_where_the_textbook_has_it() {
        // Meeus, example 25.a: 1992 October 13.0 TD, R = 0.997 66; true longitude of date 199.909 87 degrees.
        let place = sun(2_448_908.5);
        let radius = place[0].hypot(place[1]);
        let of_date = place[1].atan2(place[0]).to_degrees().rem_euclid(360.0) + 1.396_971 * -0.072_183_436;
        assert!((radius - 0.997_66).abs() < 1e-5, "{radius}");
        assert!((of_date - 199.909_87).abs() < 1e-3, "{of_date}");
    }

    #[test]
    fn an_ellipse_obeys_kepler() {
        // Meeus, example 30.a: e = 0.1, M = 5 degrees, E = 5.554 589 degrees.
        assert!((eccentric(5f64.to_radians(), 0.1).to_degrees() - 5.554_589).abs() < 1e-6);
        let body = Elements {
            name: "test".into(),
            epoch_jd: 2_460_000.5,
            mean_anomaly_deg: 0.0,
            perihelion_deg: 30.0,
            node_deg: 80.0,
            inclination_deg: 10.0,
            eccentricity: 0.2,
            axis_au: 2.5,
        };
        let period = 360.0 / (GAUSS_DEG_D / 2.5f64.powf(1.5));
        let (a, b) = (body.heliocentric(2_460_000.5), body.heliocentric(2_460_000.5 + period));
        assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-9));
        assert!((a.iter().map(|c| c * c).sum::<f64>().sqrt() - 2.0).abs() < 1e-12);
        let (ra, dec) = body.direction(2_460_000.5);
        assert_eq!(near(std::slice::from_ref(&body), 2_460_000.5, ra, dec, 0.1).len(), 1);
        assert!(near(&[body], 2_460_000.5, ra, -dec - 20.0, 0.1).is_empty());
    }

    #[test]
    fn elements_are_read_and_a_bad_line_is_named() {
        let head = "name,epoch_jd,mean_anomaly_deg,perihelion_deg,node_deg,inclination_deg,eccentricity,axis_au\n";
        let one = read_csv(&format!(
            "{head}1 Ceres,2460200.5,60.08,73.42,80.25,10.59,0.0789,2.767\n"
        ))
        .unwrap();
        assert_eq!(one[0].name, "1 Ceres");
        assert!(
            read_csv(&format!("{head}1 Ceres,2460200.5\n"))
                .unwrap_err()
                .contains("line 2")
        );
        assert!(
            read_csv(&format!("{head}x,1,2,3,4,5,1.5,2\n"))
                .unwrap_err()
                .contains("ellipse")
        );
    }
}
