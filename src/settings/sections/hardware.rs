//! What stands there: the site, the unit, its devices and its channels.

use super::{one_second, yes};
use crate::settings::Link;
use alidade_analysis::overscan::{Follow, Section};
use alidade_drivers::modbus::{
    frame::Framing,
    map::{Map, Point, WordOrder},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Where the observatory stands.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SiteSettings {
    /// Short name for topics and file names.
    pub name: String,
    pub title: String,
    /// Geodetic (WGS 84), degrees, north positive.
    pub latitude_deg: f64,
    /// Degrees, east positive.
    pub longitude_deg: f64,
    /// Above the ellipsoid, metres.
    pub height_m: f64,
    /// The mount never points below this, degrees.
    pub horizon_limit_deg: f64,
    /// (azimuth, altitude) in degrees, azimuth rising, north 0, east 90; empty means flat.
    pub horizon: Vec<(f64, f64)>,
    /// The open telescope never points nearer to the risen Sun, degrees.
    pub sun_exclusion_deg: f64,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            title: String::new(),
            latitude_deg: 0.0,
            longitude_deg: 0.0,
            height_m: 0.0,
            horizon_limit_deg: 15.0,
            horizon: Vec::new(),
            sun_exclusion_deg: 20.0,
        }
    }
}

/// The telescope.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitSettings {
    /// Short name for topics.
    pub name: String,
    /// For FITS headers.
    pub telescope: String,
    pub aperture_mm: f64,
    pub focal_length_mm: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The observatory's controller: weather, roof, people, heartbeat.
    Plc,
    /// A dome or roof that the controller does not drive.
    Enclosure,
    Mount,
    Camera,
    FilterWheel,
    Focuser,
    /// A weather station beside the controller.
    Station,
    /// Says safe or unsafe, and not why.
    SafetyMonitor,
    /// Turns the field.
    Rotator,
    /// A bank of switches: power, heaters, lamps.
    Switch,
}

impl DeviceKind {
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceKind::Plc => "plc",
            DeviceKind::Enclosure => "enclosure",
            DeviceKind::Mount => "mount",
            DeviceKind::Camera => "camera",
            DeviceKind::FilterWheel => "filter_wheel",
            DeviceKind::Focuser => "focuser",
            DeviceKind::Station => "station",
            DeviceKind::SafetyMonitor => "safety_monitor",
            DeviceKind::Rotator => "rotator",
            DeviceKind::Switch => "switch",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Plc,
    Lx200,
    /// A Celestron NexStar hand control.
    Nexstar,
    /// The PYROS SET/GET/DO grammar.
    Grammar,
    /// Weather station lines.
    Station,
    /// Registers of a controller, TCP or RTU.
    Modbus,
    /// A device behind an INDI server.
    Indi,
    /// A device behind an ASCOM Alpaca server.
    Alpaca,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Plc => "plc",
            Protocol::Lx200 => "lx200",
            Protocol::Nexstar => "nexstar",
            Protocol::Grammar => "grammar",
            Protocol::Station => "station",
            Protocol::Modbus => "modbus",
            Protocol::Indi => "indi",
            Protocol::Alpaca => "alpaca",
        }
    }
}

/// One device and the way to it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSettings {
    pub kind: DeviceKind,
    pub protocol: Protocol,
    pub link: Link,
    /// Observing pauses while it is missing.
    #[serde(default = "yes")]
    pub blocking: bool,
    /// Seconds between two readings.
    #[serde(default = "one_second")]
    pub poll_s: f64,
    /// Seconds after which a command without an answer has an unknown outcome.
    #[serde(default = "three_seconds")]
    pub timeout_s: f64,
    /// Filter wheels only: names in the order of the positions.
    #[serde(default)]
    pub filters: Vec<String>,
    /// INDI only: the device's name on its server, e.g. `CCD Simulator`.
    #[serde(default)]
    pub indi_device: Option<String>,
    /// INDI switches only: lines by the names they shall have, each a `PROPERTY.ELEMENT`; without any, all there are.
    #[serde(default)]
    pub indi_lines: BTreeMap<String, String>,
    /// Alpaca only: the device's number on its server among those of its kind.
    #[serde(default)]
    pub alpaca_number: Option<u32>,
    /// NexStar only: altitude and azimuth where the mount is parked, degrees.
    #[serde(default)]
    pub park_alt_az_deg: Option<(f64, f64)>,
    /// Modbus only: framing and register map.
    #[serde(default)]
    pub modbus: Option<ModbusSettings>,
}

/// How a controller's registers are read.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModbusSettings {
    /// Without it: `tcp` on a TCP link, `rtu` on a serial line.
    #[serde(default)]
    pub framing: Option<Framing>,
    #[serde(default = "first_unit")]
    pub unit: u8,
    #[serde(default)]
    pub word_order: WordOrder,
    pub points: BTreeMap<String, Point>,
}

impl ModbusSettings {
    pub fn map(&self) -> Map {
        Map {
            unit: self.unit,
            word_order: self.word_order,
            points: self.points.clone(),
        }
    }
}

fn first_unit() -> u8 {
    1
}

fn three_seconds() -> f64 {
    3.0
}

/// A camera with what stands in its beam.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// Name of the camera device.
    pub camera: String,
    /// Name of the filter wheel device; without one, `fixed_filter` is in the beam.
    #[serde(default)]
    pub filter_wheel: Option<String>,
    #[serde(default)]
    pub fixed_filter: Option<String>,
    #[serde(default)]
    pub focuser: Option<String>,
    /// Name of the rotator that turns the camera, see [`crate::settings::Settings::rotator_of`].
    #[serde(default)]
    pub rotator: Option<String>,
    /// Unbinned, arcseconds.
    pub pixel_scale_arcsec: f64,
    pub width_px: u32,
    pub height_px: u32,
    /// Electrons per ADU.
    #[serde(default = "one_f64")]
    pub gain_e_adu: f64,
    /// Electrons.
    #[serde(default = "five_electrons")]
    pub read_noise_e: f64,
    #[serde(default = "full_well")]
    pub saturation_adu: f64,
    /// Seconds from the end of an exposure to the start of the next.
    #[serde(default = "three_seconds")]
    pub readout_s: f64,
    /// Detector set point, degrees Celsius.
    #[serde(default = "twenty_below")]
    pub setpoint_c: f64,
    /// Angle of the detector's columns from north through east, degrees; of a channel with a rotator, when that stands at 0.
    #[serde(default)]
    pub position_angle_deg: f64,
    /// Columns or rows that see no light, in unbinned pixels; else the frame's BIASSEC.
    #[serde(default)]
    pub overscan: Option<Section>,
    /// What is kept of a frame, in unbinned pixels; else the frame's TRIMSEC or DATASEC.
    #[serde(default)]
    pub trim: Option<Section>,
    #[serde(default)]
    pub overscan_follow: Follow,
    /// Mask of bad pixels, of the trimmed frame, beside what darks and flats show.
    #[serde(default)]
    pub bad_pixels: Option<PathBuf>,
}

fn one_f64() -> f64 {
    1.0
}
fn five_electrons() -> f64 {
    5.0
}
fn full_well() -> f64 {
    60_000.0
}
fn twenty_below() -> f64 {
    -20.0
}
