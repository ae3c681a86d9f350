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

impl RotatorStatus {
    /// An angle as these fields have them: some devices count a turn on, or below zero. None for what is no angle of theirs.
    pub fn angle(told_deg: f64) -> Option<f64> {
        (-360.0..=720.0).contains(&told_deg).then(|| told_deg.rem_euclid(360.0))
    }
}

/// Turns the camera about the optical axis (ASCOM `IRotator`).
pub trait Rotator: Device {
    fn status(&self) -> Status<RotatorStatus>;
    /// Turns to this position angle on the sky, degrees; any angle is taken as the one between 0 and 360 (ASCOM
    /// `MoveAbsolute`). Which way round is the device's business: it knows where its cables end.
    fn turn_to(&self, position_deg: f64) -> Pending<'_, ()>;
}
