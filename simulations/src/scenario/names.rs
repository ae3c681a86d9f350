//! What a scenario may refer to: the users, channels, filters and devices of its `observatory.toml`.
//!
//! The daemon checks that file itself, key by key; here it is only asked for names, so that a sequence or a fault that
//! refers to nothing is found before the night begins.

use super::{ScenarioError, fault, toml_file};
use crate::faults::Fault;
use alidade_model::request::{Request, RequestFault};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

#[derive(Debug, Default, Deserialize)]
struct ObservatoryFile {
    #[serde(default)]
    users: BTreeMap<String, toml::Value>,
    #[serde(default)]
    channels: BTreeMap<String, ChannelEntry>,
    #[serde(default)]
    devices: BTreeMap<String, DeviceEntry>,
}

#[derive(Debug, Default, Deserialize)]
struct ChannelEntry {
    filter_wheel: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct DeviceEntry {
    #[serde(default)]
    filters: Vec<String>,
}

/// The names of one observatory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names {
    pub users: Vec<String>,
    /// Filters by channel; empty where there is no wheel.
    pub channels: BTreeMap<String, Vec<String>>,
}

impl Names {
    pub fn read(file: &Path) -> Result<Self, ScenarioError> {
        let found: ObservatoryFile = toml_file(file)?;
        let filters = |channel: ChannelEntry| {
            let wheel = channel.filter_wheel.and_then(|wheel| found.devices.get(&wheel));
            wheel.map(|wheel| wheel.filters.clone()).unwrap_or_default()
        };
        Ok(Self {
            users: found.users.into_keys().collect(),
            channels: found
                .channels
                .into_iter()
                .map(|(name, channel)| (name, filters(channel)))
                .collect(),
        })
    }

    /// The devices that faults can name.
    pub fn devices(&self) -> Vec<String> {
        let mut names: Vec<String> = [
            "plc", "mount", "focuser", "station", "rotator", "power", "alerts", "daemon", "clock",
        ]
        .map(String::from)
        .into();
        for (channel, filters) in &self.channels {
            names.push(format!("camera_{channel}"));
            if !filters.is_empty() {
                names.push(format!("wheel_{channel}"));
            }
        }
        names
    }

    /// Whether everything a request refers to exists.
    pub fn check_request(&self, request: &Request) -> Result<(), RequestFault> {
        if !self.users.contains(&request.user) {
            return Err(RequestFault::UnknownUser {
                user: request.user.clone(),
            });
        }
        for sequence in &request.sequences {
            for album in &sequence.albums {
                let filters = self
                    .channels
                    .get(&album.channel)
                    .ok_or_else(|| RequestFault::UnknownChannel {
                        sequence: sequence.id.clone(),
                        channel: album.channel.clone(),
                        known: self.channels.keys().cloned().collect::<Vec<_>>().join(", "),
                    })?;
                let unknown = album
                    .plans
                    .iter()
                    .find(|plan| !filters.is_empty() && !filters.contains(&plan.filter));
                if let Some(plan) = unknown {
                    return Err(RequestFault::UnknownFilter {
                        sequence: sequence.id.clone(),
                        channel: album.channel.clone(),
                        filter: plan.filter.clone(),
                        known: filters.join(", "),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether every fault concerns something that exists.
    pub fn check_faults(&self, file: &Path, faults: &[Fault]) -> Result<(), ScenarioError> {
        let known = self.devices();
        match faults
            .iter()
            .enumerate()
            .find(|(_, entry)| !known.contains(&entry.device))
        {
            None => Ok(()),
            Some((index, entry)) => Err(fault(
                file,
                Some(format!("fault {}", index + 1)),
                format!("device {:?} is unknown (known: {})", entry.device, known.join(", ")),
            )),
        }
    }
}
