use super::{Device, Pending, Status};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};

/// Marks one exposure through all its stages: a frame that carries another mark belongs to an exposure that was
/// aborted or lost, and is thrown away.
pub type OperationId = u64;

/// One exposure as ordered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExposeOrder {
    pub operation: OperationId,
    /// Seconds; 0 for a bias.
    pub exposure_s: f64,
    /// False keeps the shutter closed (bias, dark).
    pub light: bool,
    pub binning: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraState {
    Idle,
    Exposing,
    Reading,
    /// A frame waits to be fetched.
    Ready,
    Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CameraStatus {
    pub state: CameraState,
    /// The exposure that `state` is about; `None` when the camera has none or does not know.
    pub operation: Option<OperationId>,
    /// Detector temperature, degrees Celsius.
    pub temperature_c: f64,
    /// Cooler set point, degrees Celsius.
    pub setpoint_c: f64,
}

/// Pixels of one read-out, row by row from the first row of the file (FITS bottom row).
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub operation: OperationId,
    pub width: usize,
    pub height: usize,
    /// Analogue-digital units; empty when the simulation renders no pixels.
    pub pixels: Vec<u16>,
    /// When the shutter opened, by the camera.
    pub started_at: UtcTime,
    /// Seconds the shutter was really open.
    pub exposure_s: f64,
}

/// Exposes and reads out (ASCOM `ICamera`). One exposure at a time: another one is refused while it runs.
pub trait Camera: Device {
    fn status(&self) -> Status<CameraStatus>;
    /// Unbinned sensor size, pixels (width, height); known after the first conversation.
    fn sensor(&self) -> Option<(usize, usize)>;
    /// Begins an exposure; its end is [`CameraState::Ready`] with this operation, or [`CameraState::Fault`].
    fn expose(&self, order: ExposeOrder) -> Pending<'_, ()>;
    /// Fetches the frame of a finished exposure.
    fn fetch(&self, operation: OperationId) -> Pending<'_, Frame>;
    /// Cooler set point, degrees Celsius.
    fn cool(&self, setpoint_c: f64) -> Pending<'_, ()>;
}
