//! The sections of the configuration, with their defaults. What has no sensible default is required (see `load`).

use super::Link;
use alidade_analysis::overscan::{Follow, Section};
use alidade_drivers::modbus::{
    frame::Framing,
    map::{Map, Point, WordOrder},
};
use alidade_model::journal::Severity;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

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

fn yes() -> bool {
    true
}
fn one_second() -> f64 {
    1.0
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
    /// Angle of the detector's columns from north through east, degrees.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    /// Unsafe above the limit.
    Above,
    /// Unsafe below the limit.
    Below,
}

/// When one input makes the site unsafe.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    pub sense: Sense,
    /// In the unit of the input's name; switches are 0 (fine) or 1.
    pub limit: f64,
    /// Beyond this the bad-delay is skipped.
    #[serde(default)]
    pub critical: Option<f64>,
    /// Seconds beyond the limit before it counts.
    #[serde(default)]
    pub bad_delay_s: f64,
    /// Seconds within the limit before it is forgiven.
    #[serde(default)]
    pub good_delay_s: f64,
    /// A reading older than this is no reading, and no reading is unsafe.
    #[serde(default = "thirty_seconds")]
    pub max_age_s: f64,
    /// A value beyond the limit latches the site closed until a person releases it.
    #[serde(default)]
    pub latches: bool,
}

fn thirty_seconds() -> f64 {
    30.0
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SafetySettings {
    /// Seconds between two strokes of the controller's dead-man switch.
    pub heartbeat_s: f64,
    /// A critical agent that has not answered for this long stops the strokes, seconds.
    pub health_s: f64,
    /// A flickering sensor whose value has not changed at all for this long is stuck, seconds.
    pub stuck_after_s: f64,
    /// People are on site and watch: overrides without an end are accepted.
    pub attended: bool,
    /// Longest override of one input, seconds.
    pub longest_override_s: f64,
    /// Inputs that nobody overrides.
    pub never_overridden: Vec<String>,
    /// How long park and close may take when somebody asks to enter, before they are stopped, seconds.
    pub access_grace_s: f64,
    /// Something outside (tcp://HOST:PORT) that answers while the site is connected: what `link_silent_s` measures.
    pub reach: Option<Link>,
    /// By input (`wind_m_s`, `emergency_stop` ...).
    pub rules: BTreeMap<String, RuleSettings>,
}

impl Default for SafetySettings {
    fn default() -> Self {
        Self {
            heartbeat_s: 5.0,
            health_s: 20.0,
            stuck_after_s: 900.0,
            attended: false,
            longest_override_s: 14_400.0,
            never_overridden: [
                "rain_mm_h",
                "emergency_stop",
                "access_requested",
                "intrusion",
                "key_not_remote",
            ]
            .map(String::from)
            .to_vec(),
            access_grace_s: 120.0,
            reach: None,
            rules: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clearance {
    /// The telescope is clear of the enclosure in every position.
    Free,
    /// A low roof: the mount is parked before the roof moves.
    ParkFirst,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnclosureSettings {
    pub clearance: Clearance,
    /// `park_first`: how long the mount may take to park, seconds.
    pub park_grace_s: f64,
    /// `park_first`: close although the mount has not parked.
    pub close_anyway: bool,
    /// Longest time one way, seconds.
    pub travel_s: f64,
    /// Pause between two equal commands, seconds.
    pub retry_s: f64,
    /// A position reading older than this is unknown, seconds.
    pub max_age_s: f64,
    /// A roof that was open cannot be closed sooner than this, seconds: what says so is not believed.
    pub least_travel_s: f64,
    /// The slit must be this near to the mount's azimuth, degrees.
    pub slit_tolerance_deg: f64,
    /// There is no controller that closes by itself when the daemon dies, and that is accepted.
    pub without_dead_man: bool,
}

impl Default for EnclosureSettings {
    fn default() -> Self {
        Self {
            clearance: Clearance::Free,
            park_grace_s: 60.0,
            close_anyway: true,
            travel_s: 60.0,
            retry_s: 10.0,
            max_age_s: 10.0,
            least_travel_s: 5.0,
            slit_tolerance_deg: 3.0,
            without_dead_man: false,
        }
    }
}

/// The second process that owns the line to the enclosure.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSettings {
    /// The daemon reaches the controller through `alidade guard`, and not by the link of the plc.
    pub enabled: bool,
    /// Where the guard listens; only its own user may connect.
    pub socket: PathBuf,
    /// Without a heartbeat of the daemon for this long the guard closes, seconds.
    pub silence_s: f64,
    /// The daemon must have been heard for this long before it may open, seconds.
    pub proof_s: f64,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            socket: "/run/alidade-guard/socket".into(),
            silence_s: 20.0,
            proof_s: 10.0,
        }
    }
}

/// Who is told of alarms.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmSettings {
    /// By name, e.g. `night_assistant`.
    pub notify: BTreeMap<String, AlarmWaySettings>,
}

/// One step of the escalation.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct AlarmWaySettings {
    #[serde(flatten)]
    pub way: AlarmWay,
    /// The least severity that is told.
    #[serde(default = "warning")]
    pub severity: Severity,
    /// Told when nobody has acknowledged the alarm for this long, seconds.
    #[serde(default)]
    pub after_s: f64,
    /// Told again after each such time until it is acknowledged, seconds; once without it.
    #[serde(default)]
    pub repeat_s: Option<f64>,
    /// Longest time that telling may take, seconds.
    #[serde(default = "twenty_seconds")]
    pub timeout_s: f64,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum AlarmWay {
    /// A program is run; the alarm is in its environment (`ALIDADE_ALARM_TEXT` ...).
    Command {
        program: String,
        #[serde(default)]
        args: Vec<String>,
    },
    /// The alarm is posted as JSON.
    Webhook {
        url: String,
        /// File with a bearer token.
        #[serde(default)]
        secret_file: Option<PathBuf>,
    },
    /// A mail is sent.
    Mail {
        server: String,
        #[serde(default = "super::accounts::submission")]
        port: u16,
        /// STARTTLS is demanded; false only for a server on this machine.
        #[serde(default = "yes")]
        tls: bool,
        from: String,
        to: Vec<String>,
        #[serde(default)]
        user: Option<String>,
        #[serde(default)]
        password_file: Option<PathBuf>,
    },
}

fn warning() -> Severity {
    Severity::Warning
}
fn twenty_seconds() -> f64 {
    20.0
}

/// The night by the altitude of the Sun, degrees.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NightSettings {
    pub prepare_sun_alt_deg: f64,
    pub open_sun_alt_deg: f64,
    /// Twilight flats between these (high, low).
    pub flats_sun_alt_deg: (f64, f64),
    pub observe_sun_alt_deg: f64,
    /// Observing ends when the rising Sun passes this.
    pub close_sun_alt_deg: f64,
    /// A sequence that has failed this often is left incomplete.
    pub max_failures: u32,
    /// Shortest time between two re-plans for want of work, seconds.
    pub idle_replan_s: f64,
}

impl Default for NightSettings {
    fn default() -> Self {
        Self {
            prepare_sun_alt_deg: 3.0,
            open_sun_alt_deg: -1.0,
            flats_sun_alt_deg: (-3.0, -8.0),
            observe_sun_alt_deg: -14.0,
            close_sun_alt_deg: -12.0,
            max_failures: 2,
            idle_replan_s: 300.0,
        }
    }
}

/// Calibration frames of every evening, per channel.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationSettings {
    pub bias_count: u32,
    pub dark_count: u32,
    pub dark_exposures_s: Vec<f64>,
    /// Per filter.
    pub flat_count: u32,
    pub flat_exposure_s: f64,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self {
            bias_count: 5,
            dark_count: 3,
            dark_exposures_s: vec![60.0],
            flat_count: 3,
            flat_exposure_s: 3.0,
        }
    }
}

/// Weights of the planner's objective (see the scheduling agent).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulingSettings {
    /// What a change of target takes beyond the movements, seconds.
    pub overhead_s: f64,
    pub overheads: OverheadsSettings,
    /// Work of one plan; equal numbers give equal plans.
    pub iterations: u64,
    pub seed: u64,
    /// Share lost when the start is `preferred_scale_s` or more from the preferred one, 0 to 1.
    pub weight_preferred: f64,
    pub preferred_scale_s: f64,
    /// Share that a target on the horizon loses against one at its best, 0 to 1.
    pub weight_airmass: f64,
    /// Share gained by keeping a promised start.
    pub weight_promise: f64,
    /// Share gained by a request that has tonight or never.
    pub weight_urgency: f64,
    /// Share gained by a user whose quota is less used than the others'.
    pub weight_balance: f64,
    /// Nights looked ahead for the chance of a request.
    pub season_nights: u32,
    /// Share of clear nights by month, January first.
    pub clear_nights: [f64; 12],
    /// Correlation of a night's weather with the night before.
    pub weather_persistence: f64,
    /// Sky minus air of a clear and of an overcast sky, kelvins: between them cloud cover is taken as linear.
    pub clear_sky_k: f64,
    pub overcast_sky_k: f64,
}

/// How the mount's axes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AxesSettings {
    Equatorial,
    AltAz,
}

/// How fast the telescope changes from target to target.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverheadsSettings {
    pub axes: AxesSettings,
    /// Top rate of the slower axis, degrees per second.
    pub slew_deg_s: f64,
    /// Degrees per second squared; 0 reaches the top rate at once.
    pub acceleration_deg_s2: f64,
    pub settle_s: f64,
    /// Added when a German mount changes its side of the pier, seconds.
    pub flip_s: f64,
    /// Rate of the dome in azimuth, degrees per second; 0 for none to wait for.
    pub dome_deg_s: f64,
    pub filter_s: f64,
    /// Focusing after a change of the filter, seconds.
    pub focus_s: f64,
}

impl Default for OverheadsSettings {
    fn default() -> Self {
        Self {
            axes: AxesSettings::Equatorial,
            slew_deg_s: 2.0,
            acceleration_deg_s2: 1.0,
            settle_s: 3.0,
            flip_s: 0.0,
            dome_deg_s: 3.0,
            filter_s: 5.0,
            focus_s: 0.0,
        }
    }
}

impl Default for SchedulingSettings {
    fn default() -> Self {
        Self {
            overhead_s: 15.0,
            overheads: OverheadsSettings::default(),
            iterations: 2000,
            seed: 1,
            weight_preferred: 0.2,
            preferred_scale_s: 3600.0,
            weight_airmass: 0.1,
            weight_promise: 0.05,
            weight_urgency: 0.5,
            weight_balance: 0.2,
            season_nights: 30,
            clear_nights: [0.6; 12],
            weather_persistence: 0.3,
            clear_sky_k: -25.0,
            overcast_sky_k: -10.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObservationSettings {
    /// On target within this, degrees.
    pub pointing_tolerance_deg: f64,
    /// Longest slew, seconds.
    pub slew_s: f64,
    /// Focuser steps at 10 degrees Celsius, and per degree.
    pub focus_base_steps: i64,
    pub focus_steps_per_c: f64,
    /// Frames lost in a row before a channel is given up.
    pub retries: u32,
    /// A target that is off by more is brought to the middle, arcseconds; 0 never.
    pub recentre_arcsec: f64,
    /// Steps of a trial of the focus; 0 leaves it to the temperature.
    pub focus_trial_steps: i64,
    /// Wider stars put the focus in doubt, arcseconds at the zenith.
    pub focus_doubt_arcsec: f64,
    /// Trailed or saturated frames that are taken again, per sequence and channel.
    pub retakes: u32,
}

impl Default for ObservationSettings {
    fn default() -> Self {
        Self {
            pointing_tolerance_deg: 0.05,
            slew_s: 120.0,
            focus_base_steps: 20_000,
            focus_steps_per_c: -40.0,
            retries: 3,
            recentre_arcsec: 30.0,
            focus_trial_steps: 0,
            focus_doubt_arcsec: 5.0,
            retakes: 0,
        }
    }
}

/// Where alert packets come from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum ListenerSettings {
    /// Packets appear as files.
    Folder {
        path: PathBuf,
        #[serde(default = "one_second")]
        poll_s: f64,
    },
    /// A VOEvent broker that this daemon subscribes to (VTP).
    Vtp { host: String, port: u16 },
    /// A VOEvent broker of our own (VTP): authors submit to it, subscribers hear from it.
    Broker(BrokerSettings),
    /// Topics of a Kafka cluster: NASA's GCN if no other is named.
    Kafka(KafkaListenerSettings),
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// Where authors submit.
    pub receive: std::net::SocketAddr,
    /// Where subscribers are served; nobody is without it.
    pub broadcast: Option<std::net::SocketAddr>,
    /// Networks whose machines may submit.
    #[serde(default = "this_machine")]
    pub authors: Vec<String>,
    /// Networks whose machines may subscribe.
    #[serde(default = "this_machine")]
    pub subscribers: Vec<String>,
}

fn this_machine() -> Vec<String> {
    vec!["127.0.0.0/8".into(), "::1".into()]
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaListenerSettings {
    /// `HOST:PORT`, separated by commas.
    #[serde(default = "gcn_brokers")]
    pub brokers: String,
    /// The name under which the cluster remembers how far we have read.
    pub group: String,
    pub topics: Vec<String>,
    /// Topic that speaks all the time; empty for none.
    #[serde(default = "gcn_heartbeat")]
    pub heartbeat: String,
    /// Longest silence of the heartbeat before the line is made again, seconds.
    #[serde(default = "one_minute")]
    pub silence_s: f64,
    /// Longest that the cluster keeps a question while it has nothing to answer, milliseconds.
    #[serde(default = "fetch_wait")]
    pub fetch_wait_ms: u32,
    /// No login and no TLS without it: a cluster on this machine.
    pub client_id: Option<String>,
    /// File with the client's secret.
    pub secret_file: Option<PathBuf>,
    #[serde(default = "gcn_token_url")]
    pub token_url: String,
}

fn gcn_brokers() -> String {
    "kafka.gcn.nasa.gov:9092".into()
}

fn gcn_heartbeat() -> String {
    "gcn.heartbeat".into()
}

fn gcn_token_url() -> String {
    "https://auth.gcn.nasa.gov/oauth2/token".into()
}

fn fetch_wait() -> u32 {
    100
}

fn one_minute() -> f64 {
    60.0
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    /// Folder of strategy files; without it the ones that the daemon carries are used.
    pub strategies: Option<PathBuf>,
    /// Larger packets are refused, bytes.
    pub max_packet_bytes: u64,
    /// Channels that must bring a packet at least so often, seconds: names of listeners, and channels over HTTP.
    pub expect_every_s: BTreeMap<String, f64>,
    /// Whether packets that call themselves tests are followed. Never on the mountain.
    pub follow_tests: bool,
    /// How long events and their packets are in memory, and read again at a restart, days.
    pub remember_events_days: u32,
    /// How long a packet that comes again is known as a copy, days.
    pub remember_packets_days: u32,
    pub listeners: BTreeMap<String, ListenerSettings>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            strategies: None,
            max_packet_bytes: 1 << 20,
            expect_every_s: BTreeMap::new(),
            follow_tests: false,
            remember_events_days: 30,
            remember_packets_days: 400,
            listeners: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    /// `sqlite://PATH` or `postgres://USER@HOST/NAME`.
    pub url: String,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: "sqlite://var/alidade.sqlite".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSettings {
    /// Frames, catalogues, previews, reports.
    pub data_dir: PathBuf,
    /// No new exposure with less free space, megabytes.
    pub min_free_mb: u64,
    /// Index of `alidade image index build`: plate solutions, zero points and candidates need it.
    pub catalogue: Option<PathBuf>,
    /// Elements of minor planets: candidates are named by them.
    pub minor_planets: Option<PathBuf>,
    /// Named objects with their places (`NAME,RA,DEC` in degrees a line): offered where a target is asked for.
    pub targets: Option<PathBuf>,
    /// astrometry.net's solve-field is tried where the own solver finds nothing.
    pub astrometry_net: bool,
    /// Plugins of the pipelines, a folder each.
    pub pipelines: PathBuf,
    /// Executors that runs of packages may ask for: `bubblewrap`, `slurm`, `process`. The first is taken when nothing is said.
    pub package_executors: Vec<String>,
    /// File of the delivery's station; without it one site in the daemon's database, below the data folder.
    pub station: Option<PathBuf>,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            data_dir: "var".into(),
            min_free_mb: 500,
            catalogue: None,
            minor_planets: None,
            targets: None,
            astrometry_net: false,
            pipelines: "config/pipelines".into(),
            package_executors: vec!["bubblewrap".into()],
            station: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    pub enabled: bool,
    pub listen: SocketAddr,
    /// File with a bearer token that is an operator's, for machines that have no account.
    pub token_file: Option<PathBuf>,
    /// A reverse proxy with TLS stands before it: cookies are sent only over TLS.
    pub https: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token_file: None,
            https: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttSettings {
    pub enabled: bool,
    pub host: String,
    pub port: u16,
    pub keep_alive_s: u64,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
}

impl Default for MqttSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            host: "127.0.0.1".into(),
            port: 1883,
            keep_alive_s: 10,
            username: None,
            password_file: None,
        }
    }
}

/// An account and its quota for one night's schedule.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    pub name: String,
    pub institute: String,
    /// Hours of observing time.
    pub quota_h: f64,
}

/// A quota that the users of an institute share.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InstituteSettings {
    /// Hours of observing time, for all its members together.
    pub quota_h: f64,
}
