use super::{Device, Pending, Status};
use serde::{Deserialize, Serialize};

/// What a rotator measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RotatorStatus {
    /// Position angle of the image's upper edge on the sky, degrees 0 to 360, from north through east (ASCOM `Position`):
    /// the mechanism's angle with what a synchronisation has added.
    pub position_deg: f64,
    /// Angle of the mechanism itself, degrees 0 to 360 (ASCOM `MechanicalPosition`); `None` where a device knows only one.
    pub mechanical_deg: Option<f64>,
    pub moving: bool,
}

/// Turns the camera about the optical axis (ASCOM `IRotator`).
pub trait Rotator: Device {
    fn status(&self) -> Status<RotatorStatus>;
    /// Turns to this position angle on the sky, degrees; any angle is taken as the one between 0 and 360 (ASCOM
    /// `MoveAbsolute`). Which way round is the device's business: it knows where its cables end.
    fn turn_to(&self, position_deg: f64) -> Pending<'_, ()>;
}
