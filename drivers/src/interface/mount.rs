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
    /// Slews to the park position and stays; overtakes what waits, and what runs (ASCOM `Park`).
    fn park(&self) -> Pending<'_, ()>;
    /// Leaves the parked state; most mounts then track (ASCOM `Unpark`).
    fn unpark(&self) -> Pending<'_, ()>;
    /// Sidereal tracking on or off where it stands.
    fn track(&self, on: bool) -> Pending<'_, ()>;
}
