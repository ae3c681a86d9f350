//! `alidade check --config FILE`: validates the configuration and names every fault.

use super::CliError;
use crate::{log, settings::Settings};
use serde_json::json;
use std::{io::Write, path::Path};

/// Prints the outcome. 0: valid. 2: faults, one line each, naming place, key and cause.
///
/// With `json`, `out` gets one document: `{"valid": false, "faults": [{"place", "key", "cause"}]}`.
pub fn run(config: &Path, json: bool, out: &mut impl Write) -> Result<u8, CliError> {
    let (told, code) = match Settings::load(config) {
        Ok(_) if json => (json!({ "valid": true, "faults": [] }).to_string(), 0),
        Ok(settings) => {
            let told = format!(
                "{}: valid: {} ({}), {} devices, {} channels, {} safety rules, {} users",
                config.display(),
                settings.site.title,
                settings.unit.telescope,
                settings.devices.len(),
                settings.channels.len(),
                settings.safety.rules.len(),
                settings.users.len(),
            );
            (told, 0)
        }
        Err(error) => {
            log::say(&error);
            if !json {
                return Ok(2);
            }
            let faults = error.faults.iter();
            let faults = faults.map(|fault| json!({ "place": fault.place, "key": fault.key, "cause": fault.cause }));
            let faults: Vec<_> = faults.collect();
            (json!({ "valid": false, "faults": faults }).to_string(), 2)
        }
    };
    writeln!(out, "{told}").map_err(|e| CliError::failed(format!("standard output: {e}")))?;
    Ok(code)
}
