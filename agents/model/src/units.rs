//! Quantities: finite numbers that carry their unit in their type.
//!
//! Inside the program a quantity is one of these; at its edges (configuration, JSON, SQL) the unit is the suffix of
//! the name (`wind_gust_m_s`, `alt_deg`).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number that is NaN or infinite was offered as a measurement.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{quantity} must be a finite number, not {value}")]
pub struct NotFinite {
    pub quantity: &'static str,
    pub value: f64,
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Accepts any finite number.
            pub fn new(value: f64) -> Result<Self, NotFinite> {
                if value.is_finite() {
                    Ok(Self(value))
                } else {
                    Err(NotFinite { quantity: stringify!($name), value })
                }
            }

            /// For literals and computed values known to be finite.
            ///
            /// # Panics
            /// When `value` is NaN or infinite.
            pub const fn of(value: f64) -> Self {
                assert!(value.is_finite(), "a quantity is finite");
                Self(value)
            }

            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = NotFinite;
            fn try_from(value: f64) -> Result<Self, NotFinite> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(quantity: $name) -> f64 {
                quantity.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if let Some(digits) = f.precision() {
                    write!(f, "{:.*} {}", digits, self.0, $unit)
                } else {
                    write!(f, "{} {}", self.0, $unit)
                }
            }
        }
    };
}

quantity!(/** An angle in degrees. */ Degrees, "deg");
quantity!(/** A right ascension or hour angle in hours (24 to the turn). */ Hours, "h");
quantity!(/** A small angle in arcseconds. */ Arcseconds, "arcsec");
quantity!(/** A temperature in degrees Celsius. */ Celsius, "degC");
quantity!(/** A speed in metres per second. */ MetersPerSecond, "m/s");
quantity!(/** A fraction in percent: 0 none, 100 all. */ Percent, "%");
quantity!(/** A pressure in hectopascals. */ Hectopascals, "hPa");
quantity!(/** A duration in seconds. */ Seconds, "s");

impl Seconds {
    /// As a [`std::time::Duration`]; negative durations become zero.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.get().max(0.0))
    }
}

/// Great-circle separation in degrees of two directions given in degrees (haversine, stable at small angles).
pub fn separation_deg(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lon1, lat1) = (a.0.to_radians(), a.1.to_radians());
    let (lon2, lat2) = (b.0.to_radians(), b.1.to_radians());
    let h = ((lat2 - lat1) / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * ((lon2 - lon1) / 2.0).sin().powi(2);
    2.0 * h.sqrt().min(1.0).asin().to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_refuses_what_is_not_a_number() {
        assert!(Degrees::new(f64::NAN).is_err());
        assert!(serde_json::from_str::<Celsius>("null").is_err());
        assert_eq!(serde_json::to_string(&Seconds::of(2.5)).unwrap(), "2.5");
    }

    #[test]
    fn the_poles_are_half_a_turn_apart() {
        assert!((separation_deg((10.0, 90.0), (200.0, -90.0)) - 180.0).abs() < 1e-9);
        assert!((separation_deg((359.9999, 0.0), (0.0001, 0.0)) - 0.0002).abs() < 1e-9);
    }
}
