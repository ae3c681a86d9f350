//! What keeps it safe: limits, the enclosure, the guard, and who is told of alarms.

use super::yes;
use crate::settings::Link;
use alidade_model::journal::Severity;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

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
    /// A value beyond the limit latches the site closed until a person releases it; see [`Self::latches`].
    #[serde(default)]
    latches: Option<bool>,
}

impl RuleSettings {
    /// Where nothing is said, what tells of people latches: only they know when they are done.
    pub fn latches(&self, input: &str) -> bool {
        self.latches
            .unwrap_or(matches!(input, "emergency_stop" | "access_requested" | "intrusion"))
    }
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
        #[serde(default = "crate::settings::accounts::submission")]
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
