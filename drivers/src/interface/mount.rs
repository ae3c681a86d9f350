use super::{Device, Pending, Status};
use alidade_model::states::MountState;
use serde::{Deserialize, Serialize};

/// What a mount measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MountStatus {
    pub state: MountState,
    /// Right ascension, apparent of date, degrees.
    pub ra_deg: f64,
    /// Declination, apparent of date, degrees.
    pub dec_deg: f64,
    /// Altitude above the horizon, degrees.
    pub alt_deg: f64,
    /// Azimuth, degrees, north 0, east 90.
    pub az_deg: f64,
}

/// Points the telescope (ASCOM `ITelescope`).
pub trait Mount: Device {
    fn status(&self) -> Status<MountStatus>;
    /// Slews to apparent coordinates of date (degrees) and tracks there. Refused below the mount's own limits and while
    /// parked.
    fn slew(&self, ra_deg: f64, dec_deg: f64) -> Pending<'_, ()>;
    fn park(&self) -> Pending<'_, ()>;
    fn unpark(&self) -> Pending<'_, ()>;
    /// Sidereal tracking on or off where it stands.
    fn track(&self, on: bool) -> Pending<'_, ()>;
}
