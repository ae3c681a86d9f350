//! The place of the observer.

use super::earth::{EarthOrientation, Eop};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Ambient air for the refraction model of SOFA `refco` (valid above about 5 degrees of altitude).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Atmosphere {
    /// Station pressure, hPa (not reduced to sea level).
    pub pressure_hpa: f64,
    pub temperature_c: f64,
    /// Relative humidity, 0 to 1.
    pub humidity: f64,
    /// Effective wavelength, micrometres.
    pub wavelength_um: f64,
}

impl Atmosphere {
    /// A dry standard atmosphere at `height_m`, 10 C, 0.55 um; pressure from the barometric formula in the notes of
    /// SOFA `apco13` (`1013.25 exp(-h / (29.3 T))`).
    pub fn standard(height_m: f64) -> Self {
        Self {
            pressure_hpa: 1013.25 * (-height_m / (29.3 * 283.15)).exp(),
            temperature_c: 10.0,
            humidity: 0.2,
            wavelength_um: 0.55,
        }
    }
}

/// An observing site on the WGS84 ellipsoid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Geodetic latitude, degrees, north positive.
    pub lat_deg: f64,
    /// Longitude, degrees, east positive.
    pub lon_deg: f64,
    /// Height above the ellipsoid, metres.
    pub height_m: f64,
    /// None: no refraction (geometric altitude).
    #[serde(default)]
    pub atmosphere: Option<Atmosphere>,
    #[serde(default)]
    pub earth_orientation: EarthOrientation,
}

impl Site {
    /// A site without refraction that uses the bundled Earth orientation table.
    pub fn new(lat_deg: f64, lon_deg: f64, height_m: f64) -> Self {
        Self {
            lat_deg,
            lon_deg,
            height_m,
            atmosphere: None,
            earth_orientation: EarthOrientation::Bundled,
        }
    }
    pub fn with_atmosphere(self, atmosphere: Atmosphere) -> Self {
        Self {
            atmosphere: Some(atmosphere),
            ..self
        }
    }
    pub fn with_earth_orientation(self, eop: Eop) -> Self {
        Self {
            earth_orientation: EarthOrientation::Fixed(eop),
            ..self
        }
    }
    /// Earth orientation parameters in force at `t`.
    pub fn eop(&self, t: DateTime<Utc>) -> Eop {
        self.earth_orientation.at(t)
    }
}
