//! Sun and Moon.

use super::frame::{AltAz, Icrs, SkyFrame};
use super::site::Site;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sofars::consts::{AULT, DAU, DAYSEC, DD2R, DR2D};
use sofars::vm::{anp, c2s, pdp, pn, rxp};

/// The Sun as seen from the site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SunState {
    /// The ICRS place of a star seen in the same direction.
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub alt_deg: f64,
    pub az_deg: f64,
    pub distance_au: f64,
}

/// The Moon as seen from the site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MoonState {
    /// The ICRS place of a star seen in the same direction (so that pointing there shows the Moon).
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub alt_deg: f64,
    pub az_deg: f64,
    pub distance_km: f64,
    /// Illuminated fraction of the disc, 0 (new) to 1 (full).
    pub illumination: f64,
    /// Sun-Moon-observer angle, degrees: 0 at full Moon, 180 at new Moon.
    pub phase_angle_deg: f64,
    /// Ecliptic longitude of the Moon minus that of the Sun, 0 to 360: 0 new, 90 first quarter, 180 full, 270 last.
    pub elongation_deg: f64,
}

/// Direction of one body: CIRS (radians), topocentric astrometric vector in au.
pub(crate) struct BodyDirection {
    pub cirs: (f64, f64),
    pub vector_au: [f64; 3],
}

fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| a[i] - b[i])
}

fn norm(a: [f64; 3]) -> f64 {
    pdp(&a, &a).sqrt()
}

impl SkyFrame {
    /// The observer's place relative to the centre of the Earth, GCRS axes, au.
    fn observer_geocentric(&self) -> [f64; 3] {
        sub(self.astrom.eb, self.earth_bary[0])
    }

    /// Aberration by the observer's velocity, then bias-precession-nutation. Light deflection is left out: it does not
    /// apply to the Sun and is below 1e-3 arcsec for the Moon more than 10 degrees away from it.
    pub(crate) fn apparent(&self, vector_au: [f64; 3]) -> BodyDirection {
        let (_, unit) = pn(&vector_au);
        let aberrated = sofars::astro::ab(&unit, &self.astrom.v, self.astrom.em, self.astrom.bm1);
        let mut cirs = [0.0; 3];
        rxp(&self.astrom.bpn, &aberrated, &mut cirs);
        let (ra, dec) = c2s(&cirs);
        BodyDirection {
            cirs: (anp(ra), dec),
            vector_au,
        }
    }

    pub(crate) fn sun_direction(&self) -> BodyDirection {
        // The Sun's own barycentric motion during the light time (8 min at 15 m/s) is 0.01 arcsec.
        let sun_bary = sub(self.earth_bary[0], self.earth_helio[0]);
        self.apparent(sub(sun_bary, self.astrom.eb))
    }

    pub(crate) fn moon_direction(&self) -> BodyDirection {
        let observer = self.observer_geocentric();
        let light_days = |d_au: f64| d_au * AULT / DAYSEC;
        let now = sofars::eph::moon98(self.tt.0, self.tt.1)[0];
        let tau = light_days(norm(sub(now, observer)));
        // The light left the Moon tau ago, when the Earth too was elsewhere.
        let then = sofars::eph::moon98(self.tt.0, self.tt.1 - tau)[0];
        let vector = std::array::from_fn(|i| then[i] - self.earth_bary[1][i] * tau - observer[i]);
        self.apparent(vector)
    }

    pub fn sun(&self) -> SunState {
        let direction = self.sun_direction();
        let (ri, di) = direction.cirs;
        let here = self.altaz_of_cirs(ri, di);
        let place = self.icrs_of_cirs(ri, di);
        SunState {
            ra_deg: place.ra_deg,
            dec_deg: place.dec_deg,
            alt_deg: here.alt_deg,
            az_deg: here.az_deg,
            distance_au: norm(direction.vector_au),
        }
    }

    pub fn sun_altaz(&self) -> AltAz {
        let (ri, di) = self.sun_direction().cirs;
        self.altaz_of_cirs(ri, di)
    }

    pub fn moon(&self) -> MoonState {
        let moon = self.moon_direction();
        let sun = self.sun_direction().vector_au;
        let (ri, di) = moon.cirs;
        let here = self.altaz_of_cirs(ri, di);
        let place: Icrs = self.icrs_of_cirs(ri, di);
        let to_sun = sub(sun, moon.vector_au);
        let to_observer = moon.vector_au.map(|c| -c);
        let cos_phase = (pdp(&to_sun, &to_observer) / (norm(to_sun) * norm(to_observer))).clamp(-1.0, 1.0);
        MoonState {
            ra_deg: place.ra_deg,
            dec_deg: place.dec_deg,
            alt_deg: here.alt_deg,
            az_deg: here.az_deg,
            distance_km: norm(moon.vector_au) * DAU / 1000.0,
            illumination: 0.5 * (1.0 + cos_phase),
            phase_angle_deg: cos_phase.acos() * DR2D,
            elongation_deg: anp(ecliptic_longitude(moon.vector_au) - ecliptic_longitude(sun)) * DR2D,
        }
    }
}

/// Ecliptic longitude of an equatorial vector, radians; J2000 mean obliquity (IAU 2006: 84381.406 arcsec).
fn ecliptic_longitude(v: [f64; 3]) -> f64 {
    let (s, c) = (84381.406 / 3600.0 * DD2R).sin_cos();
    (c * v[1] + s * v[2]).atan2(v[0])
}

pub fn sun(site: &Site, t: DateTime<Utc>) -> SunState {
    SkyFrame::new(site, t).sun()
}

/// Topocentric place of the centre of the Sun.
pub fn sun_altaz(site: &Site, t: DateTime<Utc>) -> AltAz {
    SkyFrame::new(site, t).sun_altaz()
}

pub fn moon(site: &Site, t: DateTime<Utc>) -> MoonState {
    SkyFrame::new(site, t).moon()
}

/// Moonlight on the night sky in V, in nanolamberts (Krisciunas & Schaefer 1991, PASP 103, 1033, eqs. 3, 15, 20, 21).
///
/// `phase_angle_deg`: 0 at full Moon; `separation_deg`: Moon to target; `extinction_mag`: V extinction per air mass.
/// Zero when the Moon or the target is below the horizon. A dark sky is about 79 nL (21.6 mag/arcsec2).
pub fn krisciunas_schaefer_moon_nl(
    phase_angle_deg: f64,
    separation_deg: f64,
    moon_alt_deg: f64,
    target_alt_deg: f64,
    extinction_mag: f64,
) -> f64 {
    if moon_alt_deg <= 0.0 || target_alt_deg <= 0.0 {
        return 0.0;
    }
    let a = phase_angle_deg.abs();
    let intensity = 10f64.powf(-0.4 * (3.84 + 0.026 * a + 4e-9 * a.powi(4)));
    let cos_rho = (separation_deg * DD2R).cos();
    let rayleigh = 10f64.powf(5.36) * (1.06 + cos_rho * cos_rho);
    let mie = if separation_deg >= 10.0 {
        10f64.powf(6.15 - separation_deg / 40.0)
    } else {
        6.2e7 / (separation_deg * separation_deg).max(0.25)
    };
    let path = |alt: f64| (1.0 - 0.96 * (alt * DD2R).cos().powi(2)).powf(-0.5);
    let through = |alt: f64| 10f64.powf(-0.4 * extinction_mag * path(alt));
    (rayleigh + mie) * intensity * through(moon_alt_deg) * (1.0 - through(target_alt_deg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn the_moon_is_full_on_2027_01_22_and_new_on_2027_01_07() {
        // Dates of the phases: any almanac; full 2027-01-22 12:17, new 2027-01-07 20:24 UTC.
        let site = Site::new(43.9308, 5.7133, 650.0);
        let full = moon(&site, Utc.with_ymd_and_hms(2027, 1, 22, 12, 17, 0).unwrap());
        assert!(
            full.illumination > 0.995 && (full.elongation_deg - 180.0).abs() < 1.5,
            "{full:?}"
        );
        let new = moon(&site, Utc.with_ymd_and_hms(2027, 1, 7, 20, 24, 0).unwrap());
        assert!(new.illumination < 0.005, "{new:?}");
    }

    #[test]
    fn the_sun_stands_in_the_south_at_local_noon_in_the_north() {
        let site = Site::new(43.9308, 0.0, 650.0);
        let sun = sun(&site, Utc.with_ymd_and_hms(2027, 6, 21, 12, 2, 0).unwrap());
        assert!(
            (sun.az_deg - 180.0).abs() < 1.0 && (sun.alt_deg - (90.0 - 43.93 + 23.44)).abs() < 0.1,
            "{sun:?}"
        );
    }

    #[test]
    fn moonlight_matches_the_worked_scale_of_the_source() {
        // Full Moon 60 degrees high, target at zenith-like 60 degrees, 60 degrees apart: several hundred to 2000 nL.
        let b = krisciunas_schaefer_moon_nl(0.0, 60.0, 60.0, 60.0, 0.172);
        assert!((500.0..3000.0).contains(&b), "{b}");
        assert_eq!(krisciunas_schaefer_moon_nl(0.0, 60.0, -1.0, 60.0, 0.172), 0.0);
    }
}
