//! When a sequence may be observed: windows, phases, order, groups, series.

use super::{RequestFault, Sequence, SequenceId, within};
use crate::time::UtcTime;
use serde::{Deserialize, Serialize};

/// When a sequence may be observed within its life (`window`): everything is optional.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// It lies inside one of these; empty: any time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<(UtcTime, UtcTime)>,
    /// It lies inside this part of a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
}

impl Timing {
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the numbers of a sequence's timing.
    pub(super) fn check(&self, sequence: &str) -> Result<(), RequestFault> {
        let within = |quantity: &str, value, low, high| within(sequence, quantity, value, low, high);
        if let Some(phase) = &self.phase {
            within("phase period_s", phase.period_s, 60.0, 1e10)?;
            within("phase from", phase.from, 0.0, 1.0)?;
            within("phase to", phase.to, 0.0, 1.0)?;
        }
        if let Some(after) = &self.after {
            within("after min_gap_s", after.min_gap_s, 0.0, 1e9)?;
            if let Some(most) = after.max_gap_s {
                within("after max_gap_s", most, after.min_gap_s, 1e9)?;
            }
        }
        if let Some(group) = &self.group {
            let most = group.at_most.unwrap_or(u32::MAX);
            within(
                "group at_least",
                f64::from(group.at_least),
                0.0,
                f64::from(most).min(1e6),
            )?;
        }
        Ok(())
    }
}

/// A part of something periodic: an eclipse, a transit, a pulsation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// An instant of phase 0.
    pub epoch: UtcTime,
    pub period_s: f64,
    /// From .. to, 0 to 1; `from` larger than `to` goes through phase 0.
    pub from: f64,
    pub to: f64,
}

impl Phase {
    /// The instants between two others whose phase is in the range, as ascending windows.
    pub fn windows(&self, start: UtcTime, end: UtcTime) -> Vec<(UtcTime, UtcTime)> {
        let width = (self.to - self.from).rem_euclid(1.0);
        // The same phase twice is the whole period, not nothing.
        let width = if width == 0.0 { 1.0 } else { width };
        let begun = (start.seconds_since(self.epoch) / self.period_s - self.from).floor();
        let count = (end.seconds_since(start) / self.period_s).ceil().max(0.0) as u64 + 2;
        (0..count)
            .map(|n| {
                let from = (begun + n as f64 + self.from) * self.period_s;
                (
                    self.epoch.plus_seconds(from),
                    self.epoch.plus_seconds(from + width * self.period_s),
                )
            })
            .map(|(a, b)| (a.max(start), b.min(end)))
            .filter(|(a, b)| a < b)
            .collect()
    }
}

/// "Not before": it starts after another sequence has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    pub sequence: SequenceId,
    /// From the end of the other to the start of this one, seconds.
    #[serde(default)]
    pub min_gap_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gap_s: Option<f64>,
    /// False: when the other will never be observed, this one is free of it (a later visit of a series).
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

/// Sequences of one request that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    /// Fewer than this in sight, and none is planned.
    #[serde(default)]
    pub at_least: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
}

/// The same sequence several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// Visits in all.
    pub count: u32,
    /// From the end of a visit to the start of the next, seconds.
    pub every_s: f64,
    /// How much earlier or later the next may start, seconds.
    pub tolerance_s: f64,
}

/// Visits beyond which a series is refused.
pub const MOST_VISITS: u32 = 1000;

impl Repeat {
    /// A sequence as a series of visits: `ID`, `ID.2`, `ID.3` ... A visit that is never observed holds up no later one.
    pub fn series(&self, first: &Sequence) -> Result<Vec<Sequence>, RequestFault> {
        let within = |quantity: &str, value, low, high| within(&first.id, quantity, value, low, high);
        within("repeat count", f64::from(self.count), 1.0, f64::from(MOST_VISITS))?;
        within("repeat every_s", self.every_s, 0.0, 1e9)?;
        within("repeat tolerance_s", self.tolerance_s, 0.0, self.every_s)?;
        let mut visits = vec![first.clone()];
        for number in 2..=self.count {
            let mut visit = first.clone();
            visit.id = format!("{}.{number}", first.id);
            // Only the first visit can be asked for at an hour; the others follow from it.
            visit.t_prefered = None;
            visit.timing.after = visits.last().map(|before| After {
                sequence: before.id.clone(),
                min_gap_s: self.every_s - self.tolerance_s,
                max_gap_s: Some(self.every_s + self.tolerance_s),
                required: false,
            });
            visits.push(visit);
        }
        Ok(visits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_phase_through_zero_opens_around_every_minimum() {
        let phase = Phase {
            epoch: at("2026-03-01T00:00:00Z"),
            period_s: 7200.0,
            from: 0.9,
            to: 0.1,
        };
        let windows = phase.windows(at("2026-03-14T20:00:00Z"), at("2026-03-15T00:00:00Z"));
        assert_eq!(
            windows,
            [
                (at("2026-03-14T20:00:00Z"), at("2026-03-14T20:12:00Z")),
                (at("2026-03-14T21:48:00Z"), at("2026-03-14T22:12:00Z")),
                (at("2026-03-14T23:48:00Z"), at("2026-03-15T00:00:00Z")),
            ]
        );
        let whole = Phase {
            from: 0.3,
            to: 0.3,
            ..phase
        };
        let open: f64 = whole
            .windows(at("2026-03-14T20:00:00Z"), at("2026-03-15T00:00:00Z"))
            .iter()
            .map(|(a, b)| b.seconds_since(*a))
            .sum();
        assert!(
            (open - 14_400.0).abs() < 1e-3,
            "the same phase twice is every phase: {open}"
        );
    }
}
