//! Where to point: apparent coordinates for the mount, and the patch of sky for twilight flats.

use alidade_model::time::UtcTime;
use alidade_scheduling::ephemeris::{self, Icrs, Site};

/// A direction as a mount wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Apparent {
    /// Right ascension and declination, apparent of date, degrees.
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Altitude and azimuth (north 0, east 90), degrees.
    pub alt_deg: f64,
    pub az_deg: f64,
}

/// ICRS to apparent coordinates of date at `now`.
///
/// The topocentric direction is turned back to the equator of date by the local sidereal time, so diurnal aberration and
/// polar motion (0.5 arcsec together) stay in; mounts do not see them.
pub fn apparent(site: &Site, ra_deg: f64, dec_deg: f64, now: UtcTime) -> Apparent {
    let direction = ephemeris::altaz(site, &Icrs::new(ra_deg, dec_deg), now.chrono());
    let (ra_deg, dec_deg) = equatorial(site, direction.alt_deg, direction.az_deg, now);
    Apparent {
        ra_deg,
        dec_deg,
        alt_deg: direction.alt_deg,
        az_deg: direction.az_deg,
    }
}

/// A fixed altitude and azimuth as apparent coordinates of date.
pub fn apparent_of_altaz(site: &Site, alt_deg: f64, az_deg: f64, now: UtcTime) -> Apparent {
    let (ra_deg, dec_deg) = equatorial(site, alt_deg, az_deg, now);
    Apparent {
        ra_deg,
        dec_deg,
        alt_deg,
        az_deg,
    }
}

/// Spherical triangle pole-zenith-star (Green, Spherical Astronomy, 1985, eq. 1.28 to 1.30).
fn equatorial(site: &Site, alt_deg: f64, az_deg: f64, now: UtcTime) -> (f64, f64) {
    let (alt, az, lat) = (alt_deg.to_radians(), az_deg.to_radians(), site.lat_deg.to_radians());
    let dec = (alt.sin() * lat.sin() + alt.cos() * lat.cos() * az.cos())
        .clamp(-1.0, 1.0)
        .asin();
    let hour_angle = (-alt.cos() * az.sin()).atan2(alt.sin() * lat.cos() - alt.cos() * lat.sin() * az.cos());
    let ra = ephemeris::lst_deg(site, now.chrono()) - hour_angle.to_degrees();
    (ra.rem_euclid(360.0), dec.to_degrees())
}

/// Where the twilight sky is flattest: 20 degrees from the zenith, away from the Sun (Chromey & Hasselbacher 1996,
/// PASP 108, 944).
pub fn flat_field_direction(sun_az_deg: f64) -> (f64, f64) {
    (70.0, (sun_az_deg + 180.0).rem_euclid(360.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apparent_place_points_to_the_same_spot_of_the_sky() {
        let site = Site::new(43.9308, 5.7133, 650.0);
        let now: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        let m51 = apparent(&site, 202.4696, 47.1952, now);
        // Precession moved M 51 by about 26 years x 40 arcsec in right ascension.
        assert!((m51.ra_deg - 202.4696).abs() > 0.1 && (m51.ra_deg - 202.4696).abs() < 0.5);
        let (ra, dec) = equatorial(&site, m51.alt_deg, m51.az_deg, now);
        assert!((ra - m51.ra_deg).abs() < 1e-9 && (dec - m51.dec_deg).abs() < 1e-9);
    }
}
