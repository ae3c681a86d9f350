//! The mount's own spherical astronomy: coordinates of date, altitude and azimuth, sidereal time.

use alidade_model::time::UtcTime;
use alidade_scheduling::Site;
use std::cell::Cell;

/// Mean sidereal time of a site, degrees, as a mount's own controller computes it: Earth rotation angle (Capitaine et al.
/// 2000) and the linear part of precession. The equation of the equinoxes (17 arcsec at most) stays in the pointing error,
/// and UT1 is taken as UTC.
pub fn local_sidereal_deg(site: &Site, now: UtcTime) -> f64 {
    let days = (now.unix_micros() - J2000_UNIX_MICROS) as f64 / 86_400e6;
    let era = 360.0 * (0.779_057_273_264 + (days.rem_euclid(1.0) + 0.002_737_811_911_354_48 * days).rem_euclid(1.0));
    (era + 4_612.156_534 / 3600.0 * days / 36_525.0 + site.lon_deg).rem_euclid(360.0)
}

/// 2000-01-01T12:00:00 in microseconds of the Unix era.
const J2000_UNIX_MICROS: i64 = 946_728_000_000_000;

/// Altitude and azimuth of coordinates of date, degrees (Green 1985, eq. 1.28 to 1.30).
pub fn horizontal(site: &Site, now: UtcTime, ra: f64, dec: f64) -> Pair {
    let hour_angle = (local_sidereal_deg(site, now) - ra).to_radians();
    let (dec, lat) = (dec.to_radians(), site.lat_deg.to_radians());
    let alt = (dec.sin() * lat.sin() + dec.cos() * lat.cos() * hour_angle.cos())
        .clamp(-1.0, 1.0)
        .asin();
    let az = (-dec.cos() * hour_angle.sin()).atan2(dec.sin() * lat.cos() - dec.cos() * lat.sin() * hour_angle.cos());
    (alt.to_degrees(), az.to_degrees().rem_euclid(360.0))
}

/// Coordinates of date of an altitude and azimuth, degrees.
pub fn equatorial(site: &Site, now: UtcTime, alt: f64, az: f64) -> Pair {
    let (alt, az, lat) = (alt.to_radians(), az.to_radians(), site.lat_deg.to_radians());
    let dec = (alt.sin() * lat.sin() + alt.cos() * lat.cos() * az.cos())
        .clamp(-1.0, 1.0)
        .asin();
    let hour_angle = (-alt.cos() * az.sin()).atan2(alt.sin() * lat.cos() - alt.cos() * lat.sin() * az.cos());
    let ra = local_sidereal_deg(site, now) - hour_angle.to_degrees();
    (ra.rem_euclid(360.0), dec.to_degrees())
}

/// What a pair of angles was turned into last: within one instant a client asks for the same thing many times.
#[derive(Debug, Clone, Default)]
pub struct Memo(Cell<Option<(UtcTime, Pair, Pair)>>);

/// Two angles, degrees.
pub type Pair = (f64, f64);

impl Memo {
    /// What `from` is turned into at this instant.
    pub fn or(&self, now: UtcTime, from: Pair, compute: impl FnOnce() -> Pair) -> Pair {
        match self.0.get() {
            Some((at, known, into)) if at == now && known == from => into,
            _ => {
                let into = compute();
                self.0.set(Some((now, from, into)));
                into
            }
        }
    }
}
