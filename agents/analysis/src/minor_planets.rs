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

/// Reads a file of elements: the table of [`read_csv`], or orbits in the one-line format of the Minor Planet Center, as
/// its MPCORB file has them (its "Export format for minor-planet orbits"), with or without that file's own header.
pub fn read(text: &str) -> Result<Vec<Elements>, String> {
    let first = text.lines().find(|l| !l.trim().is_empty() && !l.starts_with('#'));
    if first.is_some_and(|l| l.trim_start().starts_with("name,")) {
        return read_csv(text);
    }
    // What MPCORB says of itself ends with a line of dashes.
    let skipped = text.lines().position(|l| l.starts_with("-----")).map_or(0, |n| n + 1);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().skip(skipped) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let elements = one_line(line).ok_or_else(|| wrong("not an orbit in the one-line format"))?;
        if !(0.0..0.99).contains(&elements.eccentricity) || elements.axis_au <= 0.0 {
            // Near-parabolic ones are in the file, a few in a million: they are left out, not refused.
            continue;
        }
        found.push(elements);
    }
    Ok(found)
}

/// One orbit: columns as the format fixes them, counted from 1.
fn one_line(line: &str) -> Option<Elements> {
    let column = |first: usize, last: usize| line.get(first - 1..last.min(line.len())).map(str::trim);
    let value = |first, last| column(first, last)?.parse::<f64>().ok().filter(|v| v.is_finite());
    let readable = column(167, 194).filter(|n| !n.is_empty());
    Some(Elements {
        name: readable.or_else(|| column(1, 7))?.to_owned(),
        epoch_jd: packed_date(column(21, 25)?)?,
        mean_anomaly_deg: value(27, 35)?,
        perihelion_deg: value(38, 46)?,
        node_deg: value(49, 57)?,
        inclination_deg: value(60, 68)?,
        eccentricity: value(71, 79)?,
        axis_au: value(93, 103)?,
    })
}

/// Julian date of a packed date such as K24AH: century (I 18, J 19, K 20), year, month and day (1 to 9, then letters).
fn packed_date(text: &str) -> Option<f64> {
    let [century, tens, ones, month, day] = text.as_bytes() else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(36).map(i64::from);
    let century = digit(century).filter(|c| (18..=29).contains(c))?;
    let (tens, ones) = (digit(tens).filter(|d| *d < 10)?, digit(ones).filter(|d| *d < 10)?);
    let month = digit(month).filter(|m| (1..=12).contains(m))?;
    let day = digit(day).filter(|d| (1..=31).contains(d))?;
    // Meeus, chapter 7, Gregorian calendar.
    let (year, month) = match month {
        1 | 2 => (100 * century + 10 * tens + ones - 1, month + 12),
        _ => (100 * century + 10 * tens + ones, month),
    };
    let leap = 2 - year / 100 + year / 400;
    let days = (365.25 * (year + 4716) as f64).floor() + (30.6001 * (month + 1) as f64).floor();
    Some(days + (day + leap) as f64 - 1524.5)
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
            v = equatorial(self.heliocentric(jd - delay), sun);
            delay = LIGHT_D_AU * v.iter().map(|c| c * c).sum::<f64>().sqrt();
        }
        (
            v[1].atan2(v[0]).to_degrees().rem_euclid(360.0),
            v[2].atan2(v[0].hypot(v[1])).to_degrees(),
        )
    }
}

/// From the Earth to a body, along the axes of the ICRS: both places given along those of the ecliptic.
fn equatorial(body: [f64; 3], sun: [f64; 3]) -> [f64; 3] {
    let [x, y, z] = [body[0] + sun[0], body[1] + sun[1], body[2] + sun[2]];
    let (sin, cos) = OBLIQUITY_DEG.to_radians().sin_cos();
    [x, y * cos - z * sin, y * sin + z * cos]
}

fn vector(ra_deg: f64, dec_deg: f64) -> [f64; 3] {
    let ((sa, ca), (sd, cd)) = (ra_deg.to_radians().sin_cos(), dec_deg.to_radians().sin_cos());
    [cd * ca, cd * sa, sd]
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

/// Light time moves nothing that is farther than the Moon by more than this, degrees.
const LIGHT_MARGIN_DEG: f64 = 0.5;

/// Those within `radius_deg` of a direction.
pub fn near(elements: &[Elements], jd: f64, ra_deg: f64, dec_deg: f64, radius_deg: f64) -> Vec<Known> {
    let sun = sun(jd);
    let centre = vector(ra_deg, dec_deg);
    let least = (radius_deg + LIGHT_MARGIN_DEG).min(180.0).to_radians().cos();
    // Without light time first: of a million orbits few are anywhere near.
    let roughly = |e: &&Elements| {
        let v = equatorial(e.heliocentric(jd), sun);
        let length = v.iter().map(|c| c * c).sum::<f64>().sqrt();
        v.iter().zip(centre).map(|(a, b)| a * b).sum::<f64>() >= least * length
    };
    elements
        .iter()
        .filter(roughly)
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

    /// Laid out by the columns of the format, with the elements of (1) Ceres as they are widely published.
    fn ceres_line() -> String {
        let mut line = vec![b' '; 202];
        let mut put =
            |first: usize, text: &str| line[first - 1..first - 1 + text.len()].copy_from_slice(text.as_bytes());
        put(1, "00001");
        put(9, " 3.34");
        put(15, " 0.15");
        put(21, "K239D");
        put(27, " 60.07881");
        put(38, " 73.42179");
        put(49, " 80.25496");
        put(60, " 10.58688");
        put(71, "0.0789126");
        put(81, " 0.21406008");
        put(93, "  2.7672544");
        put(167, "(1) Ceres");
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn an_orbit_of_one_line_is_the_same_as_in_a_table_and_ceres_is_where_it_was() {
        let file = format!("MPCORB\nwords of the file\n{}\n{}\n", "-".repeat(80), ceres_line());
        let one = &read(&file).unwrap()[0];
        assert_eq!((one.name.as_str(), one.epoch_jd), ("(1) Ceres", 2_460_200.5));
        let table = "name,epoch_jd,mean_anomaly_deg,perihelion_deg,node_deg,inclination_deg,eccentricity,axis_au\n\
                     (1) Ceres,2460200.5,60.07881,73.42179,80.25496,10.58688,0.0789126,2.7672544\n";
        assert_eq!(&read(table).unwrap()[0], one);
        assert_eq!(read(&ceres_line()).unwrap().len(), 1);
        // It was in opposition on 2023 March 21: opposite to the Sun in longitude, north of it by 16 degrees.
        let (ra, dec) = one.direction(2_460_024.8);
        let [x, y, z] = vector(ra, dec);
        let (sin, cos) = OBLIQUITY_DEG.to_radians().sin_cos();
        let (longitude, latitude) = ((y * cos + z * sin).atan2(x), (z * cos - y * sin).asin());
        let sun = sun(2_460_024.8);
        let apart = (longitude - sun[1].atan2(sun[0])).to_degrees().rem_euclid(360.0);
        assert!((apart - 180.0).abs() < 0.3, "{apart}");
        assert!((latitude.to_degrees() - 16.5).abs() < 1.0, "{}", latitude.to_degrees());
        assert!(read("nothing of the kind\n").unwrap_err().contains("line 1"));
        assert!(read(&ceres_line()[..90]).is_err());
    }

    #[test]
    fn packed_dates_are_unpacked_and_bad_ones_are_not() {
        assert_eq!(packed_date("J9611"), Some(2_450_083.5));
        assert_eq!(packed_date("K01AM"), Some(2_452_204.5));
        for bad in ["K01DM", "K0110", "X0111", "K011", "K01é1"] {
            assert_eq!(packed_date(bad), None, "{bad}");
        }
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
