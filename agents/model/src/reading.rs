//! Measurements with their age. Unknown is a value with a reason, and unknown is unsafe.

use crate::time::UtcTime;
use serde::{Deserialize, Serialize};

/// Why there is no measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    #[error("never read")]
    NeverRead,
    #[error("link down")]
    LinkDown,
    #[error("device timed out")]
    Timeout,
    #[error("device reports its sensor as failed")]
    SensorFault,
    #[error("value outside the sensor's range")]
    OutOfRange,
    #[error("reading too old")]
    Stale,
    #[error("value has not changed for too long")]
    Stuck,
    #[error("sources contradict each other")]
    Contradiction,
}

/// A measured value or the reason why there is none, and when that was established.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading<T> {
    pub value: Result<T, NoData>,
    pub measured_at: UtcTime,
}

impl<T> Reading<T> {
    pub fn good(value: T, measured_at: UtcTime) -> Self {
        Self {
            value: Ok(value),
            measured_at,
        }
    }

    pub fn none(reason: NoData, measured_at: UtcTime) -> Self {
        Self {
            value: Err(reason),
            measured_at,
        }
    }

    /// Age in seconds at `now`.
    pub fn age_s(&self, now: UtcTime) -> f64 {
        now.seconds_since(self.measured_at)
    }

    /// The value if it is younger than `max_age_s`, else why it cannot be used.
    pub fn fresh(&self, now: UtcTime, max_age_s: f64) -> Result<&T, NoData> {
        let value = self.value.as_ref().map_err(|reason| *reason)?;
        // A reading from the future is as untrustworthy as an old one: a clock has jumped.
        if self.age_s(now).abs() > max_age_s {
            Err(NoData::Stale)
        } else {
            Ok(value)
        }
    }
}
