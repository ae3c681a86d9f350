//! What stands around it: the database, files, the page, the feed, and people.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

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
