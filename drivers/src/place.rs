//! Where a mount stands, and what that makes of its coordinates. Pure.

use alidade_model::time::UtcTime;

/// Where the mount stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees, north positive.
    pub latitude_deg: f64,
    /// Degrees, east positive.
    pub longitude_deg: f64,
    /// Metres above sea level.
    pub altitude_m: f64,
}

impl Place {
    /// Altitude and azimuth (degrees; north 0, east 90) of apparent coordinates of date.
    ///
    /// Mean sidereal time by Meeus, *Astronomical Algorithms*, 2nd edition, equation 12.4, with UTC for UT1 and without
    /// nutation: 15 arcseconds at most, far below what a horizon limit asks.
    pub fn horizontal(&self, ra_deg: f64, dec_deg: f64, now: UtcTime) -> (f64, f64) {
        let days = now.julian_date() - 2_451_545.0;
        let sidereal_deg = 280.460_618_37 + 360.985_647_366_29 * days + self.longitude_deg;
        let (hour_angle, dec, lat) = (
            (sidereal_deg - ra_deg).rem_euclid(360.0).to_radians(),
            dec_deg.to_radians(),
            self.latitude_deg.to_radians(),
        );
        let sin_alt = lat.sin() * dec.sin() + lat.cos() * dec.cos() * hour_angle.cos();
        let north = dec.sin() * lat.cos() - dec.cos() * lat.sin() * hour_angle.cos();
        let east = -dec.cos() * hour_angle.sin();
        (
            sin_alt.clamp(-1.0, 1.0).asin().to_degrees(),
            east.atan2(north).to_degrees().rem_euclid(360.0),
        )
    }
}

/// Rotates mean equatorial coordinates (degrees) from J2000.0 to the mean equator and equinox of `now`, or back.
///
/// Precession of the IAU 1976 by Meeus, *Astronomical Algorithms*, 2nd edition, equations 21.3 and 21.4. Nutation (17
/// arcseconds) and aberration (20) are neglected: pointing is corrected on the stars.
pub fn precessed(ra_deg: f64, dec_deg: f64, now: UtcTime, from_j2000: bool) -> (f64, f64) {
    let t = (now.julian_date() - 2_451_545.0) / 36_525.0;
    let arcsec = |linear: f64, square: f64, cube: f64| ((linear + (square + cube * t) * t) * t / 3600.0).to_radians();
    let (zeta, z, theta) = (
        arcsec(2306.2181, 0.30188, 0.017_998),
        arcsec(2306.2181, 1.09468, 0.018_203),
        arcsec(2004.3109, -0.42665, -0.041_833),
    );
    let (first, second, tilt) = if from_j2000 {
        (zeta, z, theta)
    } else {
        (-z, -zeta, -theta)
    };
    let (ra, dec) = (ra_deg.to_radians() + first, dec_deg.to_radians());
    let (a, b, c) = (
        dec.cos() * ra.sin(),
        tilt.cos() * dec.cos() * ra.cos() - tilt.sin() * dec.sin(),
        tilt.sin() * dec.cos() * ra.cos() + tilt.cos() * dec.sin(),
    );
    (
        (a.atan2(b) + second).to_degrees().rem_euclid(360.0),
        c.atan2(a.hypot(b)).to_degrees(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pole_stands_at_the_latitude_in_the_north_and_the_equator_culminates_in_the_south() {
        let place = Place {
            latitude_deg: 43.93,
            longitude_deg: 5.71,
            altitude_m: 650.0,
        };
        let now: UtcTime = "2026-02-25T20:00:00Z".parse().unwrap();
        let (alt, _) = place.horizontal(17.0, 90.0, now);
        assert!((alt - 43.93).abs() < 1e-9);
        let highest = (0..360)
            .map(|ra| place.horizontal(f64::from(ra), 0.0, now))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap();
        assert!(
            (highest.0 - 46.07).abs() < 0.02 && (highest.1 - 180.0).abs() < 2.0,
            "{highest:?}"
        );
    }

    /// Meeus, *Astronomical Algorithms*, example 13.b: Venus from Washington on 1987 April 10 at 19:21 UT.
    #[test]
    fn a_published_example_comes_out() {
        let place = Place {
            latitude_deg: 38.921_389,
            longitude_deg: -77.065_556,
            altitude_m: 92.0,
        };
        let (alt, az) = place.horizontal(347.319_333, -6.719_917, "1987-04-10T19:21:00Z".parse().unwrap());
        assert!(
            (alt - 15.1249).abs() < 0.005 && (az - (68.0337 + 180.0)).abs() < 0.005,
            "{alt} {az}"
        );
    }

    /// Meeus, *Astronomical Algorithms*, example 21.b: theta Persei to 2028 November 13.19 TD.
    #[test]
    fn a_star_is_precessed_as_published_and_back() {
        let then: UtcTime = "2028-11-13T04:32:00Z".parse().unwrap();
        let (ra, dec) = precessed(41.054_063, 49.227_750, then, true);
        assert!(
            (ra - 41.547_214).abs() < 2e-5 && (dec - 49.348_483).abs() < 2e-5,
            "{ra} {dec}"
        );
        let (ra, dec) = precessed(ra, dec, then, false);
        assert!(
            (ra - 41.054_063).abs() < 1e-6 && (dec - 49.227_750).abs() < 1e-6,
            "{ra} {dec}"
        );
    }
}
