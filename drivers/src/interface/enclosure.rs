use super::{Device, Pending, Status};
use alidade_model::states::EnclosureState;
use serde::{Deserialize, Serialize};

/// What the position sensors of a roof or dome say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EnclosureStatus {
    pub state: EnclosureState,
    /// Azimuth of the slit, degrees, north 0, east 90; `None` for a roll-off roof.
    pub azimuth_deg: Option<f64>,
    pub rotating: bool,
}

/// A dome or a roof (ASCOM `IDome`).
pub trait Enclosure: Device {
    fn enclosure_status(&self) -> Status<EnclosureStatus>;
    /// Accepted is not open: the position sensors say when it is (ASCOM `OpenShutter`, then `ShutterStatus`).
    fn open(&self) -> Pending<'_, ()>;
    /// Never refused for being closed already: the hardware decides what closed means.
    fn close(&self) -> Pending<'_, ()>;
    /// Turns the slit; [`super::DeviceError::Unsupported`] for a roll-off roof.
    fn rotate(&self, azimuth_deg: f64) -> Pending<'_, ()>;
}
