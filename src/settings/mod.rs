//! The configuration: typed, with every quantity checked against its range, and every fault named.
//!
//! Sources, later ones win: the defaults of this module, the TOML file, environment variables
//! `ALIDADE__SECTION__KEY` (`ALIDADE__HTTP__LISTEN=0.0.0.0:8080`). Unknown keys are faults. [`Settings::load`] does not
//! stop at the first fault: it collects all of them, each with file, line, key and cause.
//!
//! Relative paths are relative to the working folder. Secrets are not in the file but in files that it names; a
//! leading `$CREDENTIALS_DIRECTORY` is replaced, for systemd's `LoadCredential=`.
//!
//! | module | holds |
//! |---|---|
//! | `sections` | every key with its unit and default, grouped: hardware, safety, observing, alerts, services |
//! | `check` | what is wrong with their values, in the same groups |
//! | `accounts`, `link` | who may use the doors; how a device is reached |
//! | `load` | reads file and environment, and puts a line to every fault |

mod accounts;
mod check;
mod link;
mod load;
mod sections;

pub use accounts::*;
pub use link::Link;
pub use sections::*;

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

/// Everything that is configured.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub site: SiteSettings,
    pub unit: UnitSettings,
    /// By device name; names appear in the journal and the pages.
    pub devices: BTreeMap<String, DeviceSettings>,
    /// By channel name, as in albums.
    pub channels: BTreeMap<String, ChannelSettings>,
    pub safety: SafetySettings,
    pub enclosure: EnclosureSettings,
    pub guard: GuardSettings,
    pub alarms: AlarmSettings,
    pub night: NightSettings,
    pub calibration: CalibrationSettings,
    pub scheduling: SchedulingSettings,
    pub observation: ObservationSettings,
    pub alerts: AlertSettings,
    pub database: DatabaseSettings,
    pub storage: StorageSettings,
    pub http: HttpSettings,
    pub mqtt: MqttSettings,
    pub accounts: AccountsSettings,
    /// By account name, as in requests.
    pub users: BTreeMap<String, UserSettings>,
    /// By the institute's name in small letters.
    pub institutes: BTreeMap<String, InstituteSettings>,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `config/alidade.toml:12`, or `environment variable ALIDADE__SITE__NAME`.
    pub place: String,
    /// `site.latitude_deg`; empty when the file as a whole is meant.
    pub key: String,
    pub cause: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.cause)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.cause)
        }
    }
}

/// All that is wrong, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    pub faults: Vec<Fault>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl Settings {
    /// Reads the file and this process's environment.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(load::PREFIX))
            .collect();
        Self::load_with(path, environment)
    }

    /// Reads the file and the given environment.
    pub fn load_with(path: &Path, environment: BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|cause| SettingsError {
            faults: vec![Fault {
                place: path.display().to_string(),
                key: String::new(),
                cause: format!("cannot be read: {cause}"),
            }],
        })?;
        load::read(&path.display().to_string(), &text, environment)
    }

    /// Name of the rotator that turns a channel's camera: the one it names. Where no channel names one, the only rotator
    /// there is turns them all.
    pub fn rotator_of<'a>(&'a self, channel: &'a ChannelSettings) -> Option<&'a str> {
        if self.channels.values().any(|c| c.rotator.is_some()) {
            return channel.rotator.as_deref();
        }
        let mut rotators = self.devices.iter().filter(|(_, d)| d.kind == DeviceKind::Rotator);
        match (rotators.next(), rotators.next()) {
            (Some((name, _)), None) => Some(name),
            _ => None,
        }
    }
}

/// Reads a secret from its file; without the white space around it.
pub fn read_secret(file: &Path) -> io::Result<String> {
    let path = match file.strip_prefix("$CREDENTIALS_DIRECTORY") {
        Ok(rest) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => PathBuf::from(folder).join(rest),
            None => return Err(io::Error::other("CREDENTIALS_DIRECTORY is not set")),
        },
        Err(_) => file.to_owned(),
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", path.display())))?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(io::Error::other(format!("{}: is empty", path.display())));
    }
    Ok(secret.to_owned())
}
