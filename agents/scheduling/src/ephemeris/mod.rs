//! Where things are in the sky of a site, and when the night is.
//!
//! Terms and conventions of this module:
//!
//! - **ICRS**: right ascension and declination in degrees, epoch J2000.0 unless a proper motion moves them.
//! - **Topocentric**: as seen by an observer on the WGS84 ellipsoid, with parallax, light deflection, aberration
//!   (annual and diurnal), precession-nutation IAU 2006/2000A and Earth rotation; refraction only on request.
//! - **Azimuth**: from north (0) through east (90). **Altitude**: 0 on the geometric horizon. **Hour angle**: zero on
//!   the meridian, positive to the west. **Longitude**: positive to the east. Times are UTC.
//! - **Observing night**: local mean noon to local mean noon, named by its evening date.
//!
//! All positional astronomy goes through the `sofars` port of the IAU SOFA library, wrapped here and nowhere else.
//! Accuracy against ERFA (through astropy), given equal Earth orientation: 1e-6 arcsec for stars, 0.2 arcsec for the
//! Moon against the same lunar theory (Meeus 1998, itself 3 arcsec rms from ELP/MPP02). The bundled Earth orientation
//! table (IERS finals2000A) adds less than 0.1 arcsec within its span; beyond it UT1-UTC is held, which costs
//! 15 arcsec per second of drift.

mod bodies;
mod earth;
mod frame;
mod kepler;
mod night;
mod path;
mod rise;
mod site;
mod track;

pub use bodies::{MoonState, SunState, krisciunas_schaefer_moon_nl, moon, sun, sun_altaz};
pub use earth::{EarthOrientation, Eop, EopTable, EopTableError};
pub use frame::{AltAz, Icrs, SkyFrame, airmass, altaz, lst_deg, radec_from_altaz, separation_deg};
pub use kepler::{MinorBody, MinorBodyError, minor_body};
pub use night::{NightPhases, SunBelow, night_bounds, night_phases, sun_below};
pub use path::SunPath;
pub use rise::{RiseSet, rise_transit_set};
pub use site::{Atmosphere, Site};
pub use track::NightTrack;
pub(crate) use track::TRACK_ERROR_DEG;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// A stretch of time, `start` inclusive, `end` exclusive; UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl Span {
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { start, end }
    }
    /// Length in seconds; negative when the end precedes the start.
    pub fn length_s(&self) -> f64 {
        seconds_between(self.start, self.end)
    }
    pub fn contains(&self, t: DateTime<Utc>) -> bool {
        self.start <= t && t < self.end
    }
}

/// Seconds from `from` to `to`, to the microsecond.
pub fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    let d = to.signed_duration_since(from);
    d.num_seconds() as f64 + f64::from(d.subsec_nanos()) * 1e-9
}

/// `t` moved by `seconds`, to the microsecond. Moves beyond the calendar's range leave `t` as it is.
pub fn add_seconds(t: DateTime<Utc>, seconds: f64) -> DateTime<Utc> {
    t.checked_add_signed(Duration::microseconds((seconds * 1e6).round() as i64))
        .unwrap_or(t)
}
