//! `alidade check --config FILE`: validates the configuration and names every fault.

use crate::settings::Settings;
use serde_json::json;
use std::{path::Path, process::ExitCode};

/// Prints the outcome. 0: valid. 2: faults, one line each, naming place, key and cause.
///
/// With `json`, stdout holds one document: `{"valid": false, "faults": [{"place", "key", "cause"}]}`.
pub fn run(config: &Path, json: bool) -> ExitCode {
    match Settings::load(config) {
        Ok(settings) => {
            if json {
                println!("{}", json!({ "valid": true, "faults": [] }));
            } else {
                println!(
                    "{}: valid: {} ({}), {} devices, {} channels, {} safety rules, {} users",
                    config.display(),
                    settings.site.title,
                    settings.unit.telescope,
                    settings.devices.len(),
                    settings.channels.len(),
                    settings.safety.rules.len(),
                    settings.users.len(),
                );
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            if json {
                let faults: Vec<_> = error
                    .faults
                    .iter()
                    .map(|fault| json!({ "place": fault.place, "key": fault.key, "cause": fault.cause }))
                    .collect();
                println!("{}", json!({ "valid": false, "faults": faults }));
            }
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
