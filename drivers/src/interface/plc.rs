use super::{Device, Enclosure, Pending, Status};
use alidade_model::reading::Reading;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// What stations measure. The name carries the unit, as everywhere outside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Mean wind, m/s.
    WindMS,
    /// Strongest gust of the last minute, m/s.
    GustMS,
    /// Relative humidity outside, percent.
    HumidityPct,
    /// Air temperature outside, degrees Celsius.
    TemperatureC,
    /// Dew point outside, degrees Celsius.
    DewPointC,
    /// Air pressure at the site, hPa.
    PressureHpa,
    /// Rain rate, mm/h; any rain at all is more than 0.
    RainMmH,
    /// Sky minus air temperature in the thermal infrared, K: strongly negative when clear.
    SkyTemperatureK,
    /// Daylight, lux.
    LightLux,
    /// Relative humidity inside the enclosure, percent.
    InsideHumidityPct,
    /// Charge of the uninterruptible power supply, percent.
    UpsChargePct,
    /// A safety monitor says: 0 safe, 1 unsafe.
    MonitorUnsafe,
    /// Free space of the disk that takes the data, megabytes (1,000,000 bytes).
    DiskFreeMb,
    /// How long nothing of the network outside has been reached, seconds.
    LinkSilentS,
}

impl Quantity {
    pub const ALL: [Quantity; 14] = [
        Quantity::WindMS,
        Quantity::GustMS,
        Quantity::HumidityPct,
        Quantity::TemperatureC,
        Quantity::DewPointC,
        Quantity::PressureHpa,
        Quantity::RainMmH,
        Quantity::SkyTemperatureK,
        Quantity::LightLux,
        Quantity::InsideHumidityPct,
        Quantity::UpsChargePct,
        Quantity::MonitorUnsafe,
        Quantity::DiskFreeMb,
        Quantity::LinkSilentS,
    ];

    /// The name with its unit suffix, as in configuration, journal and feed.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::WindMS => "wind_m_s",
            Quantity::GustMS => "gust_m_s",
            Quantity::HumidityPct => "humidity_pct",
            Quantity::TemperatureC => "temperature_c",
            Quantity::DewPointC => "dew_point_c",
            Quantity::PressureHpa => "pressure_hpa",
            Quantity::RainMmH => "rain_mm_h",
            Quantity::SkyTemperatureK => "sky_temperature_k",
            Quantity::LightLux => "light_lux",
            Quantity::InsideHumidityPct => "inside_humidity_pct",
            Quantity::UpsChargePct => "ups_charge_pct",
            Quantity::MonitorUnsafe => "monitor_unsafe",
            Quantity::DiskFreeMb => "disk_free_mb",
            Quantity::LinkSilentS => "link_silent_s",
        }
    }

    /// Outside of this range a sensor is broken.
    pub fn plausible(self) -> (f64, f64) {
        match self {
            Quantity::WindMS => (0.0, 100.0),
            Quantity::GustMS => (0.0, 150.0),
            Quantity::HumidityPct | Quantity::InsideHumidityPct => (0.0, 110.0),
            Quantity::TemperatureC => (-60.0, 60.0),
            Quantity::DewPointC => (-80.0, 60.0),
            Quantity::PressureHpa => (400.0, 1100.0),
            Quantity::RainMmH => (0.0, 500.0),
            Quantity::SkyTemperatureK => (-100.0, 60.0),
            Quantity::LightLux => (0.0, 200_000.0),
            Quantity::UpsChargePct => (0.0, 100.0),
            Quantity::MonitorUnsafe => (0.0, 1.0),
            Quantity::DiskFreeMb | Quantity::LinkSilentS => (0.0, f64::MAX),
        }
    }
}

/// A station, or several behind one controller (ASCOM `IObservingConditions`).
pub trait ObservingConditions: Device {
    /// What was measured last, each with its own instant; a quantity that is not measured is missing.
    fn readings(&self) -> watch::Receiver<BTreeMap<Quantity, Reading<f64>>>;
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
    /// Strokes the dead-man switch; when strokes stop, the controller closes the roof by itself.
    fn heartbeat(&self) -> Pending<'_, ()>;
    /// Grants the access that [`PlcStatus::access_requested`] asks for (motion has stopped).
    fn grant_access(&self) -> Pending<'_, ()>;
}
