use super::{Device, Enclosure, Pending, Readings, Status};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A station, or several behind one controller (ASCOM `IObservingConditions`).
pub trait ObservingConditions: Device {
    /// What was measured last, each with its own instant; a quantity that is not measured is missing.
    fn readings(&self) -> watch::Receiver<Readings>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySwitch {
    Off,
    Remote,
    Local,
    Error,
}

/// What the observatory's programmable controller says beside weather and roof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlcStatus {
    /// Mode word, e.g. `AUTO`, `MANU`, `ESTOP`.
    pub mode: String,
    pub key_switch: KeySwitch,
    pub emergency_stop: bool,
    pub intrusion: bool,
    /// A person asks to enter.
    pub access_requested: bool,
    /// The controller itself demands a closed roof.
    pub must_be_closed: bool,
    /// Alarms that are raised, by name (`rain`, `wind`, `communication` ...).
    pub alarms: Vec<String>,
    /// Alarms that somebody has bypassed.
    pub bypasses: Vec<String>,
}

/// The observatory's controller: weather, roof, people, and the dead-man heartbeat.
pub trait Plc: Device + Enclosure + ObservingConditions {
    fn plc_status(&self) -> Status<PlcStatus>;
    /// Whether the emergency stop is pressed, by the controller's last word, however old: silence releases no button. False
    /// before the first word.
    fn emergency_stop(&self) -> watch::Receiver<bool>;
    /// Strokes the dead-man switch; when strokes stop, the controller closes the roof by itself.
    fn heartbeat(&self) -> Pending<'_, ()>;
    /// Grants the access that [`PlcStatus::access_requested`] asks for (motion has stopped).
    fn grant_access(&self) -> Pending<'_, ()>;
}
