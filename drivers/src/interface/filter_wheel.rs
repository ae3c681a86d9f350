use super::{Device, Pending, Status};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterWheelStatus {
    /// Name of the filter in the beam; `None` while moving or unknown.
    pub filter: Option<String>,
    pub moving: bool,
}

/// Brings a filter into the beam (ASCOM `IFilterWheel`).
pub trait FilterWheel: Device {
    fn status(&self) -> Status<FilterWheelStatus>;
    /// In the order of the wheel's positions, from the configuration.
    fn filters(&self) -> &[String];
    /// Turns to the filter of this name; refused when the wheel has none (ASCOM `Position`, which is -1 while it moves).
    fn select(&self, filter: &str) -> Pending<'_, ()>;
}
