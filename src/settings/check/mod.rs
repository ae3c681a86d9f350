//! Values against their ranges, and names against each other.

mod alerts;
mod hardware;
mod observing;
mod safety;
mod services;

use super::Settings;

/// A value that is wrong.
pub struct Wrong {
    pub key: String,
    pub cause: String,
    /// Another key that it names, where the real fault may lie.
    pub refers_to: Option<String>,
}

#[derive(Default)]
struct Faults(Vec<Wrong>);

impl Faults {
    fn add(&mut self, key: impl Into<String>, cause: impl Into<String>) {
        self.0.push(Wrong {
            key: key.into(),
            cause: cause.into(),
            refers_to: None,
        });
    }

    fn within(&mut self, key: impl Into<String>, value: f64, low: f64, high: f64) {
        // NaN is in no range.
        if !(low..=high).contains(&value) {
            self.add(key, format!("{value} is outside {low} to {high}"));
        }
    }

    fn whole(&mut self, key: impl Into<String>, value: u64, low: u64, high: u64) {
        if !(low..=high).contains(&value) {
            self.add(key, format!("{value} is outside {low} to {high}"));
        }
    }

    /// Names go into topics, file names and headers.
    fn name(&mut self, key: impl Into<String>, name: &str) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            self.add(key, format!("{name:?} is not a name (1 to 32 of a-z, 0-9, _ and -)"));
        }
    }

    fn filled(&mut self, key: impl Into<String>, text: &str) {
        if text.trim().is_empty() {
            self.add(key, "is empty");
        }
    }
}

/// All faults of the values.
pub fn faults(settings: &Settings) -> Vec<Wrong> {
    let mut faults = Faults::default();
    hardware::site(settings, &mut faults);
    hardware::devices(settings, &mut faults);
    hardware::channels(settings, &mut faults);
    safety::safety(settings, &mut faults);
    safety::enclosure(settings, &mut faults);
    safety::guard(settings, &mut faults);
    safety::alarms(settings, &mut faults);
    observing::night(settings, &mut faults);
    observing::work(settings, &mut faults);
    services::accounts(settings, &mut faults);
    alerts::alerts(settings, &mut faults);
    services::outside(settings, &mut faults);
    faults.0
}
