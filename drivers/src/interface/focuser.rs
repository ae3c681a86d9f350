use super::{Device, Pending, Status};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FocuserStatus {
    /// Steps from the inner end.
    pub position_steps: i64,
    pub moving: bool,
    /// Tube temperature, degrees Celsius.
    pub temperature_c: f64,
}

/// Moves the focus (ASCOM `IFocuser`).
pub trait Focuser: Device {
    fn status(&self) -> Status<FocuserStatus>;
    /// Moves to this position, steps from the inner end (ASCOM `Move` of an absolute focuser).
    fn move_to(&self, position_steps: i64) -> Pending<'_, ()>;
}
