//! What the observatory is doing, as one plain value.
//!
//! The daemon publishes a [`Snapshot`] through a watch channel; the gateways show it and decide nothing. Everything
//! that was measured carries its age, everything that is unknown carries a reason, and the units are in the names.
//! Azimuth counts from north through east, equatorial coordinates are ICRS unless a name says otherwise.

use alidade_alerts::record::Histogram;
use alidade_model::{
    journal::Severity,
    reading::Reading,
    schedule::{Chance, Excluded},
    states::{EnclosureState, MountState, NightState, SequenceState},
    time::UtcTime,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Version of the JSON shape of [`Snapshot`] and of the MQTT feed made of it.
pub const SCHEMA: u32 = 1;

/// The daemon publishes at least this often, in seconds of wall time, even when nothing has changed: that is how a
/// hung daemon is told from a quiet one.
pub const PUBLISH_PERIOD_S: f64 = 1.0;

/// A snapshot older than this, in seconds of wall time, is shown as stale.
pub const STALE_AFTER_S: f64 = 5.0;

/// Everything the dashboard's first page and the MQTT feed show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    pub now: UtcTime,
    pub site: SiteView,
    pub unit: String,
    pub version: String,
    pub mode: Mode,
    /// Names this start of the daemon; another value means that it was restarted.
    pub boot_id: String,
    /// Number of the last journal entry.
    pub journal_seq: u64,
    pub sentence: Sentence,
    pub night: NightView,
    pub safety: SafetyView,
    pub enclosure: EnclosureView,
    pub mount: MountView,
    pub cameras: Vec<CameraView>,
    /// Every device, by name.
    #[serde(default)]
    pub devices: Vec<DeviceView>,
    /// By quantity name with unit suffix (`wind_m_s`).
    pub weather: BTreeMap<String, Gauge>,
    /// Strip charts: oldest first, at most about 120 points a quantity (every snapshot carries them).
    pub weather_history: BTreeMap<String, Vec<HistoryPoint>>,
    /// The alert that is being worked on, or the last one of this night.
    pub alert: Option<AlertView>,
    pub schedule: Vec<ScheduleRow>,
    pub unplanned: Vec<UnplannedRow>,
    /// Directions of known sequences for the sky plot.
    pub sky: Vec<SkyTarget>,
    pub sun: Option<Direction>,
    pub moon: Option<MoonView>,
    /// Newest first.
    pub frames: Vec<FrameView>,
    pub quotas: Vec<QuotaView>,
    /// Newest first.
    pub alarms: Vec<AlarmView>,
    /// Monotonic counters since the start of the daemon, e.g. `exposures_written`, `invariants_broken`.
    pub counters: BTreeMap<String, u64>,
    /// How long each stage of an alert's way took, since the start of the daemon.
    #[serde(default)]
    pub alert_stages: BTreeMap<String, Histogram>,
}

/// One device as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Name in the configuration.
    pub device: String,
    /// `mount`, `camera`, `filter_wheel`, `focuser`, `plc`, `station`, `rotator`, `switch`.
    pub kind: String,
    /// Whether it answers.
    pub up: bool,
    /// Since when it does, or does not.
    pub since: UtcTime,
    /// Why it does not.
    pub cause: Option<String>,
    pub model: Option<String>,
    pub version: Option<String>,
    /// Answers that were not understood, since the start of the daemon.
    pub garbage: u64,
    /// What it says of itself: a number with its unit in the name, a word, or nothing where a sensor has no value.
    pub fields: BTreeMap<String, Value>,
    pub age_s: Option<f64>,
    /// Why there is no status.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteView {
    /// Short name, as in topics: `ohp`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Geodetic, degrees, north positive.
    pub latitude_deg: f64,
    /// Degrees, east positive.
    pub longitude_deg: f64,
    pub height_m: f64,
    /// Horizon mask: (azimuth, altitude) in degrees, by rising azimuth; empty means flat at `horizon_limit_deg`.
    pub horizon: Vec<(f64, f64)>,
    /// The mount never points below, degrees.
    pub horizon_limit_deg: f64,
}

/// Whether the world is real.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mode {
    Live,
    /// `pace` simulated seconds pass in one wall second; 0 means as fast as possible.
    Simulated {
        pace: f64,
    },
}

/// The answer to the only question visitors ask.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    /// `observing NGC 4889 in g and r, 3 of 10`
    pub doing: String,
    /// `it has the highest score of 12 observable sequences`
    pub why: String,
    pub until: Option<UtcTime>,
    /// `M 101 at 22:41`
    pub next: String,
    /// `rain, wind above 15 m/s, or an alert`
    pub would_change: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightView {
    /// Evening date.
    pub night: String,
    pub state: NightState,
    /// `day`, `civil twilight`, `nautical twilight`, `astronomical twilight`, `night`.
    pub phase: String,
    pub sunset: Option<UtcTime>,
    /// Start of observing darkness.
    pub dusk: Option<UtcTime>,
    pub dawn: Option<UtcTime>,
    pub sunrise: Option<UtcTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafetyState {
    Safe,
    Unsafe,
    /// Unsafe until a person releases it.
    Latched,
}

impl SafetyState {
    pub fn as_str(self) -> &'static str {
        match self {
            SafetyState::Safe => "safe",
            SafetyState::Unsafe => "unsafe",
            SafetyState::Latched => "latched",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SafetyView {
    pub state: SafetyState,
    pub since: Option<UtcTime>,
    /// Empty when safe.
    pub reasons: Vec<String>,
    pub inputs: Vec<SafetyInput>,
    #[serde(default)]
    pub overrides: Vec<OverrideView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    Unsafe,
    /// No usable reading; counts as unsafe.
    Unknown,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Unsafe => "unsafe",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One row of the truth table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SafetyInput {
    /// `wind_m_s`, `emergency_stop`, `operator_latch` ...
    pub name: String,
    /// As a person reads it: `12.4`, `closed`, `pressed`; `None` without data.
    pub value: Option<String>,
    /// `m/s`; empty for words.
    pub unit: String,
    /// Seconds since the measurement; `None` when never read.
    pub age_s: Option<f64>,
    pub verdict: Verdict,
    /// Why the verdict is what it is: `above 15 m/s since 22:10`, `link down`.
    pub reason: String,
    /// `15 m/s for 30 s, good again after 600 s below 12 m/s`
    pub limit: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnclosureView {
    pub state: EnclosureState,
    /// Of the slit; `None` for a roll-off roof.
    pub azimuth_deg: Option<f64>,
    pub age_s: Option<f64>,
    /// Why there is no measured state.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MountView {
    pub state: MountState,
    pub alt_deg: Option<f64>,
    pub az_deg: Option<f64>,
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    /// Name of what it points at.
    pub target: Option<String>,
    pub age_s: Option<f64>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraView {
    pub channel: String,
    /// `idle`, `exposing`, `reading`, `ready`, `fault`, `unknown`.
    pub state: String,
    /// 0 to 1 within the running exposure.
    pub progress: Option<f64>,
    pub filter: Option<String>,
    pub exposure_s: Option<f64>,
    /// Exposures of this sequence on disk, and how many are wanted.
    pub frames_done: Option<(u32, u32)>,
    pub temperature_c: Option<f64>,
    pub setpoint_c: Option<f64>,
    pub age_s: Option<f64>,
    pub reason: Option<String>,
}

/// One measured number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    pub value: Option<f64>,
    pub unit: String,
    /// Why `value` is missing.
    pub reason: Option<String>,
    pub age_s: Option<f64>,
    /// The limit beyond which it is unsafe, to draw in the strip chart.
    pub limit: Option<f64>,
}

impl Gauge {
    /// Shows a reading as it stands at `now`; older than `max_age_s` is no value.
    pub fn of(reading: &Reading<f64>, now: UtcTime, unit: &str, max_age_s: f64, limit: Option<f64>) -> Self {
        let fresh = reading.fresh(now, max_age_s);
        Self {
            value: fresh.ok().copied(),
            unit: unit.to_owned(),
            reason: fresh.err().map(|reason| reason.to_string()),
            age_s: Some(reading.age_s(now)),
            limit,
        }
    }
}

/// One point of a strip chart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    pub at: UtcTime,
    /// `None` is a hole: nothing was measured.
    pub value: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    pub event: String,
    /// `GRB 260314A`, or the packet's identifier.
    pub name: String,
    /// `followed`, `ignored`, `retracted` ...
    pub state: String,
    /// What was decided and why, as a sentence.
    pub decision: String,
    pub strategy: Option<String>,
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    /// 90 % error radius, degrees.
    pub r90_deg: Option<f64>,
    pub received_at: UtcTime,
    /// In order of time.
    pub stages: Vec<AlertStage>,
}

/// One step of an alert's way through the system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertStage {
    /// `received`, `decided`, `planned`, `slewing`, `on target`, `first exposure`, `first frame`, `reduced`.
    pub stage: String,
    pub at: UtcTime,
    /// Seconds since the packet's last byte arrived.
    pub latency_s: f64,
}

/// One bar of the night's Gantt chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRow {
    pub sequence: String,
    pub target: String,
    pub user: String,
    pub state: SequenceState,
    /// Planned start and end; `None` when it was executed without having been planned (an alert).
    pub start: Option<UtcTime>,
    pub end: Option<UtcTime>,
    /// When it really began and ended.
    pub executed_start: Option<UtcTime>,
    pub executed_end: Option<UtcTime>,
    pub from_alert: bool,
}

/// A sequence without a place tonight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnplannedRow {
    pub sequence: String,
    pub target: String,
    pub user: String,
    /// Machine-readable: `never_rises`, `quota`.
    pub reason: String,
    /// The same with its numbers.
    pub sentence: String,
    /// Where the sky excludes it, interval by interval; long, and told by `/api/v1/sequences/{id}/why` only.
    #[serde(skip)]
    pub excluded: Vec<Excluded>,
    /// How likely it is completed within its life.
    pub chance: Option<Chance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkyTarget {
    pub sequence: String,
    pub name: String,
    pub alt_deg: f64,
    pub az_deg: f64,
    pub state: SequenceState,
    pub from_alert: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    pub alt_deg: f64,
    pub az_deg: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MoonView {
    pub alt_deg: f64,
    pub az_deg: f64,
    /// Lit fraction of the disk, 0 to 1.
    pub illuminated: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameView {
    pub exposure: String,
    pub channel: String,
    /// `bias`, `dark`, `flat`, `object`.
    pub kind: String,
    pub target: Option<String>,
    pub filter: String,
    pub exposure_s: f64,
    pub taken_at: UtcTime,
    /// Product paths relative to the data folder, as served below `/api/v1/products/`.
    pub preview: Option<String>,
    pub fits: Option<String>,
    pub fwhm_px: Option<f64>,
    pub sources: Option<u64>,
    pub background: Option<f64>,
    /// What the reduction had to do without.
    pub degradations: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaView {
    pub user: String,
    pub granted_s: f64,
    pub free_s: f64,
    pub reserved_s: f64,
    pub spent_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmView {
    /// By which it is acknowledged.
    #[serde(default)]
    pub id: u64,
    pub at: UtcTime,
    pub severity: Severity,
    pub text: String,
    /// How often it was raised.
    #[serde(default)]
    pub count: u32,
    /// Who has taken note of it; `None` while nobody has.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
}

/// An input that does not forbid for a while, because a person says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideView {
    pub input: String,
    /// Who answers for it.
    pub who: String,
    pub reason: String,
    /// When it ends by itself; `None` lasts until it is lifted.
    pub until: Option<UtcTime>,
}

impl Snapshot {
    /// A snapshot that knows nothing yet: every state is unknown, the verdict is unsafe.
    pub fn unknown(now: UtcTime, site: SiteView, unit: &str, boot_id: &str) -> Self {
        let never = || Some("never read".to_owned());
        Self {
            schema: SCHEMA,
            now,
            site,
            unit: unit.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: Mode::Live,
            boot_id: boot_id.to_owned(),
            journal_seq: 0,
            sentence: Sentence {
                doing: "starting".into(),
                why: "the daemon has just come up".into(),
                until: None,
                next: "read every device".into(),
                would_change: "nothing".into(),
            },
            night: NightView {
                night: String::new(),
                state: NightState::Off,
                phase: "unknown".into(),
                sunset: None,
                dusk: None,
                dawn: None,
                sunrise: None,
            },
            safety: SafetyView {
                state: SafetyState::Unsafe,
                since: None,
                reasons: vec!["nothing has been measured yet".into()],
                inputs: Vec::new(),
                overrides: Vec::new(),
            },
            enclosure: EnclosureView {
                state: EnclosureState::Unknown,
                azimuth_deg: None,
                age_s: None,
                reason: never(),
            },
            mount: MountView {
                state: MountState::Unknown,
                alt_deg: None,
                az_deg: None,
                ra_deg: None,
                dec_deg: None,
                target: None,
                age_s: None,
                reason: never(),
            },
            cameras: Vec::new(),
            devices: Vec::new(),
            weather: BTreeMap::new(),
            weather_history: BTreeMap::new(),
            alert: None,
            schedule: Vec::new(),
            unplanned: Vec::new(),
            sky: Vec::new(),
            sun: None,
            moon: None,
            frames: Vec::new(),
            quotas: Vec::new(),
            alarms: Vec::new(),
            counters: BTreeMap::new(),
            alert_stages: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::reading::NoData;

    #[test]
    fn an_old_reading_is_shown_without_its_value_and_with_its_age() {
        let now: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        let old = Reading::good(4.2, now.plus_seconds(-90.0));
        let gauge = Gauge::of(&old, now, "m/s", 30.0, Some(15.0));
        assert_eq!(gauge.value, None);
        assert_eq!(gauge.reason.as_deref(), Some("reading too old"));
        assert_eq!(gauge.age_s, Some(90.0));
        let lost = Reading::none(NoData::LinkDown, now);
        assert_eq!(
            Gauge::of(&lost, now, "m/s", 30.0, None).reason.as_deref(),
            Some("link down")
        );
    }

    #[test]
    fn what_is_not_known_yet_is_unsafe() {
        let now: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        let site = SiteView {
            name: "ohp".into(),
            title: "OHP".into(),
            latitude_deg: 43.9,
            longitude_deg: 5.7,
            height_m: 650.0,
            horizon: Vec::new(),
            horizon_limit_deg: 10.0,
        };
        let snapshot = Snapshot::unknown(now, site, "t1", "b1");
        assert_eq!(snapshot.safety.state, SafetyState::Unsafe);
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    }
}
