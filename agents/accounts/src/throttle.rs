//! How often somebody may try a secret.
//!
//! A *key* is what is counted: an account, an address. After [`FAILURES`] failures within [`WINDOW_S`] the key waits until
//! the oldest of them is that old. Nobody is locked out for longer, whoever fails in their name; and the memory is bounded:
//! beyond [`KEYS`] keys the one that failed longest ago is forgotten.

use alidade_model::time::UtcTime;
use std::collections::{BTreeMap, VecDeque};

pub const FAILURES: usize = 5;
/// Fifteen minutes, seconds.
pub const WINDOW_S: f64 = 900.0;
pub const KEYS: usize = 10_000;

/// The failures that still count.
#[derive(Debug, Default)]
pub struct Throttle(BTreeMap<String, VecDeque<UtcTime>>);

impl Throttle {
    /// Seconds until `key` may try again; none if it may now.
    pub fn wait_s(&self, key: &str, now: UtcTime) -> Option<f64> {
        let failures = self.0.get(key)?;
        let counted: Vec<_> = failures
            .iter()
            .filter(|at| now.seconds_since(**at) < WINDOW_S)
            .collect();
        let first = counted.len().checked_sub(FAILURES)?;
        Some(WINDOW_S - now.seconds_since(*counted[first]))
    }

    pub fn failed(&mut self, key: &str, now: UtcTime) {
        if !self.0.contains_key(key) && self.0.len() >= KEYS {
            let oldest = self.0.iter().min_by_key(|(_, at)| at.back().copied());
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&oldest);
            }
        }
        let failures = self.0.entry(key.to_owned()).or_default();
        failures.push_back(now);
        while failures.len() > FAILURES {
            failures.pop_front();
        }
    }

    pub fn succeeded(&mut self, key: &str) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> UtcTime {
        "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(seconds)
    }

    #[test]
    fn the_sixth_try_waits_until_the_first_is_a_quarter_of_an_hour_old() {
        let mut throttle = Throttle::default();
        for second in 0..5 {
            assert_eq!(throttle.wait_s("ada", at(f64::from(second))), None);
            throttle.failed("ada", at(f64::from(second)));
        }
        assert_eq!(throttle.wait_s("ada", at(10.0)), Some(890.0));
        assert_eq!(throttle.wait_s("tycho", at(10.0)), None);
        assert_eq!(throttle.wait_s("ada", at(900.0)), None);
        throttle.succeeded("ada");
        assert_eq!(throttle.wait_s("ada", at(10.0)), None);
    }

    #[test]
    fn a_crowd_of_names_takes_bounded_memory() {
        let mut throttle = Throttle::default();
        for number in 0..KEYS + 50 {
            throttle.failed(&format!("nobody{number}"), at(number as f64));
        }
        assert_eq!(throttle.0.len(), KEYS);
    }

    proptest! {
        #[test]
        fn whatever_comes_never_more_than_five_failures_in_a_window_pass(gaps in prop::collection::vec(0.0..400.0f64, 1..60)) {
            let mut throttle = Throttle::default();
            let (mut now, mut let_through) = (0.0, Vec::new());
            for gap in gaps {
                now += gap;
                if throttle.wait_s("x", at(now)).is_none() {
                    throttle.failed("x", at(now));
                    let_through.push(now);
                }
            }
            for (index, start) in let_through.iter().enumerate() {
                let within = let_through[index..].iter().filter(|t| **t - start < WINDOW_S - 0.001).count();
                prop_assert!(within <= FAILURES);
            }
        }
    }
}
