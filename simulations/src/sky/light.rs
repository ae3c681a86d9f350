//! How bright things are: filters, the night sky, twilight, moonlight, the air.
//!
//! Magnitudes are on one scale for all filters: magnitude 0 gives [`ZERO_POINT_E`] electrons a second times the filter's
//! throughput. A *surface brightness* is in magnitudes a square arcsecond, or linear, as ten to the -0.4 times that.

use alidade_scheduling::{Site, ephemeris};
use chrono::{DateTime, Utc};

/// Electrons a second of a star of magnitude 0 through r: some 9e9 photons a second a square metre in 130 nm (Bessell et
/// al. 1998, A&A 333, 231, table A2), a 60 cm mirror, and four tenths of them detected.
pub const ZERO_POINT_E: f64 = 9.45e8;

/// What a filter lets through beside r, the dark sky seen through it, and what a unit air mass takes away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    pub throughput: f64,
    /// Magnitudes a square arcsecond at the zenith, moonless.
    pub dark_sky_mag: f64,
    /// Magnitudes an air mass.
    pub extinction_mag: f64,
}

/// Known filter names; any other sees as r does. Sky and extinction are those of a good low site, rounded.
const BANDS: [(&str, Band); 17] = [
    ("u", band(0.12, 21.8, 0.50)),
    ("g", band(1.15, 21.4, 0.20)),
    ("r", band(1.0, 20.6, 0.12)),
    ("i", band(0.75, 19.7, 0.08)),
    ("z", band(0.40, 19.0, 0.06)),
    ("y", band(0.15, 18.0, 0.07)),
    ("zs", band(0.35, 19.0, 0.06)),
    ("U", band(0.10, 21.6, 0.55)),
    ("B", band(0.75, 21.8, 0.28)),
    ("V", band(0.95, 21.0, 0.16)),
    ("R", band(1.0, 20.5, 0.12)),
    ("I", band(0.70, 19.3, 0.08)),
    ("J", band(0.35, 16.0, 0.08)),
    ("H", band(0.35, 14.0, 0.05)),
    ("Ks", band(0.25, 13.0, 0.06)),
    ("K", band(0.25, 13.0, 0.06)),
    ("clear", band(3.2, 20.5, 0.15)),
];

const fn band(throughput: f64, dark_sky_mag: f64, extinction_mag: f64) -> Band {
    Band {
        throughput,
        dark_sky_mag,
        extinction_mag,
    }
}

/// The band of a filter, by its exact name and then without regard to a prime or "sdss" before it.
pub fn band_of(filter: &str) -> Band {
    let short = filter
        .trim_end_matches('\'')
        .trim_start_matches("sdss")
        .trim_start_matches(['-', '_', ' ']);
    BANDS
        .iter()
        .find(|(name, _)| *name == filter || *name == short)
        .map_or(BANDS[2].1, |(_, band)| *band)
}

/// Magnitudes a square arcsecond to linear surface brightness.
fn linear(mag: f64) -> f64 {
    10f64.powf(-0.4 * mag)
}

/// Optical path through the air at an altitude, in zenith paths; 10 at the horizon and below (Krisciunas & Schaefer
/// 1991, eq. 3, which also describes the airglow layer).
pub fn air_mass(alt_deg: f64) -> f64 {
    let sin_z = alt_deg.clamp(0.0, 90.0).to_radians().cos();
    (1.0 - 0.96 * sin_z * sin_z).powf(-0.5).min(10.0)
}

/// The twilight sky at the zenith, V magnitudes a square arcsecond (Patat, Ugolnikov & Postylyakov 2006, A&A 455, 385,
/// table 1: 11.84 + 1.518 x - 0.057 x², x = zenith distance of the Sun - 95 degrees). Beyond their range, 105 degrees,
/// the parabola goes on to its top; above it, 95 degrees, the tangent.
fn twilight_mag(sun_alt_deg: f64) -> Option<f64> {
    let x = (90.0 - sun_alt_deg) - 95.0;
    match x {
        x if x > 13.0 => None,
        x if x < 0.0 => Some((11.84 + 1.518 * x).max(3.5)),
        x => Some(11.84 + 1.518 * x - 0.057 * x * x),
    }
}

/// Nanolamberts to linear surface brightness in V (Garstang 1989, as in Krisciunas & Schaefer 1991, eq. 1).
fn from_nanolamberts(nl: f64) -> f64 {
    nl / 34.08 * (-20.7233f64).exp()
}

/// What brightens the sky in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    pub ra_deg: f64,
    pub dec_deg: f64,
    pub alt_deg: f64,
    /// Fraction of the sky covered; clouds throw the lamps of the valley back.
    pub cloud: f64,
}

/// Linear surface brightness of the sky. Without a site neither Sun nor Moon shines.
pub fn sky(band: &Band, aim: &Aim, site: Option<&Site>, at: DateTime<Utc>) -> f64 {
    let dark = linear(band.dark_sky_mag - 1.5 * aim.cloud) * air_mass(aim.alt_deg);
    let Some(site) = site else { return dark };
    let twilight = twilight_mag(ephemeris::sun_altaz(site, at).alt_deg).map_or(0.0, linear);
    let moon = ephemeris::moon(site, at);
    let apart = ephemeris::separation_deg(aim.ra_deg, aim.dec_deg, moon.ra_deg, moon.dec_deg);
    let moonlight = ephemeris::krisciunas_schaefer_moon_nl(
        moon.phase_angle_deg,
        apart,
        moon.alt_deg,
        aim.alt_deg,
        band.extinction_mag,
    );
    dark + twilight + from_nanolamberts(moonlight)
}

/// Fraction of a star's light that comes through air and clouds; a full cover takes three magnitudes.
pub fn transmission(band: &Band, alt_deg: f64, cloud: f64) -> f64 {
    linear(band.extinction_mag * air_mass(alt_deg) + 3.0 * cloud)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim() -> Aim {
        Aim {
            ra_deg: 130.0,
            dec_deg: 20.0,
            alt_deg: 60.0,
            cloud: 0.0,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_sky_darkens_through_twilight() {
        let site = Site::new(43.9317, 5.7133, 650.0);
        let sky = |time: &str| sky(&band_of("r"), &aim(), Some(&site), at(time));
        // Sunset at the Observatoire de Haute-Provence on 2026-03-14 is at 17:42 UTC, the end of twilight at 19:15.
        let evening = [
            "2026-03-14T17:50:00Z",
            "2026-03-14T18:10:00Z",
            "2026-03-14T18:30:00Z",
            "2026-03-14T20:00:00Z",
        ];
        assert!(evening.windows(2).all(|pair| sky(pair[0]) > 2.0 * sky(pair[1])));
        let dark = super::sky(&band_of("r"), &aim(), None, at("2026-03-14T21:00:00Z"));
        assert!(
            (sky("2026-03-14T21:00:00Z") / dark - 1.0).abs() < 0.02,
            "no Moon, no Sun"
        );
    }

    #[test]
    fn a_full_moon_brightens_the_sky_by_some_magnitudes() {
        // Full Moon on 2026-03-03, 11:38 UTC.
        let site = Site::new(43.9317, 5.7133, 650.0);
        let full = sky(&band_of("V"), &aim(), Some(&site), at("2026-03-03T00:00:00Z"));
        let none = sky(&band_of("V"), &aim(), None, at("2026-03-03T00:00:00Z"));
        let brighter = 2.5 * (full / none).log10();
        assert!((1.5..5.0).contains(&brighter), "{brighter} mag");
    }

    #[test]
    fn air_and_clouds_take_light_away() {
        let r = band_of("r");
        assert!(transmission(&r, 90.0, 0.0) > transmission(&r, 30.0, 0.0));
        assert!((transmission(&r, 90.0, 1.0) / transmission(&r, 90.0, 0.0) - linear(3.0)).abs() < 1e-9);
        assert!((air_mass(30.0) - 2.0).abs() < 0.15 && (air_mass(90.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn filters_go_by_their_usual_names() {
        assert_eq!(band_of("g'"), band_of("g"));
        assert_eq!(band_of("sdss_z"), band_of("z"));
        assert_ne!(band_of("R"), band_of("I"));
        assert_eq!(band_of("something new"), band_of("r"));
    }
}
