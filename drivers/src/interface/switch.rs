use super::{Device, DeviceError, Pending, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of a bank of switches: a relay, a dimmer, a socket of the power strip, or something that is only measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SwitchLine {
    /// In the line's own unit, which its name should say; 0 and 1 for off and on.
    pub value: f64,
    /// False for what can only be read (ASCOM `CanWrite`).
    pub writable: bool,
    /// The smallest and the largest value (ASCOM `MinSwitchValue`, `MaxSwitchValue`).
    pub least: f64,
    pub most: f64,
    /// Smallest step between two values (ASCOM `SwitchStep`).
    pub step: f64,
}

/// More lines than this are no bank of switches, and could not be asked within a reading's deadline.
pub const MOST_LINES: usize = 64;

impl SwitchLine {
    /// The name of line `number`, made unlike those before it: two lines of one name are told apart by their numbers.
    pub fn unlike<'a>(name: String, number: usize, mut before: impl Iterator<Item = &'a str>) -> String {
        match before.any(|other| other == name) {
            true => format!("{name} ({number})"),
            false => name,
        }
    }

    /// Refuses what the line cannot be set to, before anything is sent.
    pub fn accepts(&self, device: &str, line: &str, value: f64) -> Result<(), DeviceError> {
        if !self.writable {
            return Err(DeviceError::Unsupported {
                device: device.to_owned(),
                capability: format!("set {line}: it is only read"),
            });
        }
        if (self.least..=self.most).contains(&value) {
            return Ok(());
        }
        Err(DeviceError::OutOfRange {
            device: device.to_owned(),
            quantity: "value of a switch",
            value,
            low: self.least,
            high: self.most,
        })
    }
}

/// The lines of a bank by their names.
pub type SwitchLines = BTreeMap<String, SwitchLine>;

/// Switches and power (ASCOM `ISwitch`).
///
/// A switch does not move: `stop` is accepted and changes nothing, for nobody can know which position would be at rest.
pub trait Switch: Device {
    fn lines(&self) -> Status<SwitchLines>;
    /// Sets a line; whether it was done is seen in [`Switch::lines`].
    fn set(&self, line: &str, value: f64) -> Pending<'_, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_what_is_within_its_bounds_and_only_when_it_can_be_set() {
        let dimmer = SwitchLine {
            value: 0.0,
            writable: true,
            least: 0.0,
            most: 255.0,
            step: 1.0,
        };
        assert!(dimmer.accepts("power", "lamp", 255.0).is_ok());
        for value in [-1.0, 256.0, f64::NAN, f64::INFINITY] {
            let refused = dimmer.accepts("power", "lamp", value).unwrap_err();
            assert!(matches!(refused, DeviceError::OutOfRange { .. }), "{value}: {refused}");
        }
        let meter = SwitchLine {
            writable: false,
            ..dimmer
        };
        let refused = meter.accepts("power", "volts", 1.0).unwrap_err();
        assert!(refused.to_string().contains("only read"), "{refused}");
    }
}
