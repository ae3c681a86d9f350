//! The verdict: a table-driven function from inputs to safe or unsafe, with hysteresis.
//!
//! ```text
//!             bad for bad_delay, or critical, or no data for max_age
//!   counts not ------------------------------------------------------> counts
//!              <------------------------------------------------------
//!                               good for good_delay
//! ```
//!
//! At start every input counts as unsafe ("not known yet") until it has been read; inputs that are good at their
//! first reading are accepted at once, because nothing is known against them.

use crate::inputs::Inputs;
use alidade_model::{clock::move_by, reading::NoData, time::UtcTime};
use serde::{Deserialize, Serialize};

/// Which side of the limit is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    /// Unsafe above the limit (wind, humidity, rain, Sun altitude).
    Above,
    /// Unsafe below the limit (distance to the dew point, battery charge).
    Below,
}

/// The rule for one input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the input with its unit suffix, e.g. `gust_m_s`. Switches are 0 (fine) or 1.
    pub input: String,
    pub sense: Sense,
    pub limit: f64,
    /// Beyond this the bad-delay is skipped.
    #[serde(default)]
    pub critical: Option<f64>,
    /// Seconds beyond the limit before it counts.
    #[serde(default)]
    pub bad_delay_s: f64,
    /// Seconds within the limit before it is forgiven.
    #[serde(default)]
    pub good_delay_s: f64,
    /// A reading older than this is no reading.
    pub max_age_s: f64,
    /// A measured value beyond the limit latches: only a person lets the site be safe again.
    #[serde(default)]
    pub latches: bool,
}

impl Rule {
    /// True for a measured value that only a person forgives.
    pub fn latches_at(&self, value: f64) -> bool {
        self.latches && self.forbids(value)
    }

    /// True for a measured value that counts without waiting for its delay.
    pub fn forbids_at_once(&self, value: f64) -> bool {
        self.is_critical(value) || (self.bad_delay_s <= 0.0 && self.forbids(value))
    }

    fn forbids(&self, value: f64) -> bool {
        match self.sense {
            Sense::Above => value > self.limit,
            Sense::Below => value < self.limit,
        }
    }

    fn is_critical(&self, value: f64) -> bool {
        self.critical.is_some_and(|critical| match self.sense {
            Sense::Above => value > critical,
            Sense::Below => value < critical,
        })
    }
}

/// How one input stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// Never read since the start.
    Unread,
    Good,
    /// Beyond its limit, but not for long enough yet.
    Turning {
        since: UtcTime,
    },
    /// Counts as unsafe; `good_since` when it is recovering.
    Bad {
        cause: Cause,
        since: UtcTime,
        good_since: Option<UtcTime>,
    },
}

/// Why an input counts as unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    BeyondLimit { value: f64 },
    Critical { value: f64 },
    NoData { reason: NoData },
}

/// One line of the truth table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub input: String,
    pub limit: f64,
    pub sense: Sense,
    pub value: Result<f64, NoData>,
    pub age_s: f64,
    pub counts_as_unsafe: bool,
    /// The sentence for people.
    pub text: String,
}

/// The outcome of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub safe: bool,
    pub reasons: Vec<String>,
    pub rows: Vec<Row>,
}

/// What is remembered of one rule.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    input: String,
    standing: Standing,
    /// Where its reading was among the inputs the last time.
    place: usize,
}

/// The memory between evaluations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// In the order in which the rules are judged.
    known: Vec<Known>,
    /// Nothing vouches for the time before the first reading: it may have rained a minute ago.
    distrust: bool,
}

impl Memory {
    /// For a start after which nobody knows what was before: a first good reading begins the good-delay.
    pub fn distrusting() -> Self {
        Self {
            distrust: true,
            ..Self::default()
        }
    }

    /// The clock was set: every delay goes on where it stood.
    pub fn move_by(&mut self, seconds: f64) {
        for known in &mut self.known {
            match &mut known.standing {
                Standing::Unread | Standing::Good => {}
                Standing::Turning { since } => *since = since.plus_seconds(seconds),
                Standing::Bad { since, good_since, .. } => {
                    *since = since.plus_seconds(seconds);
                    move_by(good_since, seconds);
                }
            }
        }
    }

    pub fn standing(&self, input: &str) -> &Standing {
        let known = self.known.iter().find(|known| known.input == input);
        known.map_or(&Standing::Unread, |known| &known.standing)
    }

    /// What is known of the rule that is judged as the n-th.
    fn of(&mut self, n: usize, rule: &Rule) -> &mut Known {
        let is_its = |known: &Known| known.input == rule.input;
        let at = if self.known.get(n).is_some_and(is_its) {
            Some(n)
        } else {
            self.known.iter().position(is_its)
        };
        let at = at.unwrap_or_else(|| {
            self.known.push(Known {
                input: rule.input.clone(),
                standing: Standing::Unread,
                place: 0,
            });
            self.known.len() - 1
        });
        &mut self.known[at]
    }
}

/// Evaluates every rule; an input that is absent from `inputs` has never been read.
pub fn evaluate(memory: &Memory, rules: &[Rule], inputs: &Inputs, now: UtcTime) -> (Memory, Verdict) {
    let mut next = memory.clone();
    let verdict = judge(&mut next, rules, inputs, now);
    (next, verdict)
}

/// The same, on a memory of one's own: this is done every second of the night.
pub fn judge(memory: &mut Memory, rules: &[Rule], inputs: &Inputs, now: UtcTime) -> Verdict {
    let mut rows = Vec::with_capacity(rules.len());
    let mut reasons = Vec::new();
    let distrust = memory.distrust;
    for (n, rule) in rules.iter().enumerate() {
        let known = memory.of(n, rule);
        let reading = inputs.get_from(&rule.input, &mut known.place);
        let value = match reading {
            None => Err(NoData::NeverRead),
            Some(reading) => reading.fresh(now, rule.max_age_s).copied(),
        };
        known.standing = match advance(&known.standing, rule, value, now) {
            Standing::Good if distrust && rule.good_delay_s > 0.0 && known.standing == Standing::Unread => {
                Standing::Bad {
                    cause: Cause::NoData {
                        reason: NoData::NeverRead,
                    },
                    since: now,
                    good_since: Some(now),
                }
            }
            standing => standing,
        };
        let row = describe(rule, &known.standing, value, reading.map_or(0.0, |r| r.age_s(now)), now);
        if row.counts_as_unsafe {
            reasons.push(row.text.clone());
        }
        rows.push(row);
    }
    Verdict {
        safe: reasons.is_empty(),
        reasons,
        rows,
    }
}

fn advance(before: &Standing, rule: &Rule, value: Result<f64, NoData>, now: UtcTime) -> Standing {
    let bad = |cause| match before {
        Standing::Bad { since, .. } => Standing::Bad {
            cause,
            since: *since,
            good_since: None,
        },
        _ => Standing::Bad {
            cause,
            since: now,
            good_since: None,
        },
    };
    let value = match value {
        Ok(value) if value.is_finite() => value,
        Ok(_) => {
            return bad(Cause::NoData {
                reason: NoData::OutOfRange,
            });
        }
        // Before the first reading there is nothing to forgive later: the first good value is accepted at once.
        Err(NoData::NeverRead) if *before == Standing::Unread => return Standing::Unread,
        Err(reason) => return bad(Cause::NoData { reason }),
    };
    if rule.is_critical(value) {
        return bad(Cause::Critical { value });
    }
    if rule.forbids(value) {
        return match before {
            Standing::Bad { .. } | Standing::Unread => bad(Cause::BeyondLimit { value }),
            Standing::Turning { since } if now.seconds_since(*since) >= rule.bad_delay_s => {
                bad(Cause::BeyondLimit { value })
            }
            Standing::Good if rule.bad_delay_s <= 0.0 => bad(Cause::BeyondLimit { value }),
            Standing::Turning { since } => Standing::Turning { since: *since },
            Standing::Good => Standing::Turning { since: now },
        };
    }
    match before {
        Standing::Bad {
            cause,
            since,
            good_since,
        } => {
            let recovering = good_since.unwrap_or(now);
            if now.seconds_since(recovering) >= rule.good_delay_s {
                Standing::Good
            } else {
                Standing::Bad {
                    cause: *cause,
                    since: *since,
                    good_since: Some(recovering),
                }
            }
        }
        _ => Standing::Good,
    }
}

fn describe(rule: &Rule, standing: &Standing, value: Result<f64, NoData>, age_s: f64, now: UtcTime) -> Row {
    let bound = match rule.sense {
        Sense::Above => "above",
        Sense::Below => "below",
    };
    let (counts_as_unsafe, text) = match standing {
        Standing::Unread => (true, format!("{} not known yet", rule.input)),
        // Said every second for every input: put together without the formatting machinery.
        Standing::Good => (false, [&rule.input, " fine"].concat()),
        Standing::Turning { since } => (
            false,
            format!(
                "{} {bound} {} for {:.0} s, counts after {:.0} s",
                rule.input,
                rule.limit,
                now.seconds_since(*since),
                rule.bad_delay_s
            ),
        ),
        Standing::Bad {
            good_since: Some(good), ..
        } => (
            true,
            format!(
                "{} fine again for {:.0} s of {:.0} s",
                rule.input,
                now.seconds_since(*good),
                rule.good_delay_s
            ),
        ),
        Standing::Bad {
            cause: Cause::NoData { reason },
            ..
        } => (true, format!("{}: {reason}", rule.input)),
        Standing::Bad {
            cause: Cause::BeyondLimit { value } | Cause::Critical { value },
            ..
        } => {
            // A yes or no of the controller, not a measurement.
            let flag = rule.limit == 0.5 && (*value == 0.0 || *value == 1.0);
            let text = if flag {
                format!("{} {}", rule.input, if *value == 1.0 { "yes" } else { "no" })
            } else {
                format!("{} {value:.1} {bound} {}", rule.input, rule.limit)
            };
            (true, text)
        }
    };
    Row {
        input: rule.input.clone(),
        limit: rule.limit,
        sense: rule.sense,
        value,
        age_s,
        counts_as_unsafe,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::reading::Reading;
    use proptest::prelude::*;

    fn gust() -> Rule {
        Rule {
            input: "gust_m_s".into(),
            sense: Sense::Above,
            limit: 15.0,
            critical: Some(25.0),
            bad_delay_s: 30.0,
            good_delay_s: 600.0,
            max_age_s: 10.0,
            latches: false,
        }
    }

    fn at(second: f64) -> UtcTime {
        "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn inputs(value: f64, second: f64) -> Inputs {
        Inputs::from([("gust_m_s", Reading::good(value, at(second)))])
    }

    #[test]
    fn after_a_start_that_nothing_vouches_for_a_first_good_reading_is_not_enough() {
        let mut memory = Memory::distrusting();
        let mut safe = Vec::new();
        for second in [0.0, 1.0, 599.0, 601.0] {
            let (next, verdict) = evaluate(&memory, &[gust()], &inputs(3.0, second), at(second));
            memory = next;
            safe.push(verdict.safe);
        }
        assert_eq!(safe, [false, false, false, true]);
        let (_, trusted) = evaluate(&Memory::default(), &[gust()], &inputs(3.0, 0.0), at(0.0));
        assert!(trusted.safe, "a restart within a safe minute goes on at once");
    }

    /// Feeds (second, value) pairs and returns whether each was judged safe.
    fn walk(values: &[(f64, f64)]) -> Vec<bool> {
        let mut memory = Memory::default();
        values
            .iter()
            .map(|(second, value)| {
                let (next, verdict) = evaluate(&memory, &[gust()], &inputs(*value, *second), at(*second));
                memory = next;
                verdict.safe
            })
            .collect()
    }

    #[test]
    fn what_was_never_read_is_unsafe() {
        let (_, verdict) = evaluate(&Memory::default(), &[gust()], &Inputs::new(), at(0.0));
        assert!(!verdict.safe);
        assert_eq!(verdict.reasons, ["gust_m_s not known yet"]);
    }

    #[test]
    fn a_short_gust_is_tolerated_and_a_long_one_is_not() {
        assert_eq!(
            walk(&[(0.0, 5.0), (1.0, 16.0), (29.0, 16.0), (30.0, 5.0)]),
            [true, true, true, true]
        );
        assert_eq!(walk(&[(0.0, 5.0), (1.0, 16.0), (31.0, 16.0)]), [true, true, false]);
    }

    #[test]
    fn a_critical_gust_counts_at_once() {
        assert_eq!(walk(&[(0.0, 5.0), (1.0, 26.0)]), [true, false]);
    }

    #[test]
    fn a_bad_value_at_the_first_reading_counts_at_once() {
        assert_eq!(walk(&[(0.0, 16.0)]), [false]);
    }

    #[test]
    fn it_is_forgiven_only_after_the_good_delay_without_relapse() {
        assert_eq!(
            walk(&[
                (0.0, 26.0),
                (10.0, 5.0),
                (600.0, 5.0),
                (605.0, 16.0),
                (606.0, 5.0),
                (1205.0, 5.0),
                (1206.0, 5.0)
            ]),
            [false, false, false, false, false, false, true]
        );
    }

    #[test]
    fn a_stale_reading_is_unsafe_however_good_it_was() {
        let (memory, verdict) = evaluate(&Memory::default(), &[gust()], &inputs(5.0, 0.0), at(1.0));
        assert!(verdict.safe);
        let (_, verdict) = evaluate(&memory, &[gust()], &inputs(5.0, 0.0), at(12.0));
        assert_eq!(verdict.reasons, ["gust_m_s: reading too old"]);
    }

    #[test]
    fn the_truth_table_of_one_input_is_this() {
        let rule = gust();
        let standings = [
            Standing::Unread,
            Standing::Good,
            Standing::Turning { since: at(0.0) },
            Standing::Bad {
                cause: Cause::BeyondLimit { value: 16.0 },
                since: at(0.0),
                good_since: None,
            },
        ];
        let values: [Result<f64, NoData>; 5] = [Ok(5.0), Ok(16.0), Ok(26.0), Ok(f64::NAN), Err(NoData::Timeout)];
        let mut table = Vec::new();
        for standing in &standings {
            let line: String = values
                .iter()
                .map(|value| match advance(standing, &rule, *value, at(10.0)) {
                    Standing::Unread => 'u',
                    Standing::Good => 'g',
                    Standing::Turning { .. } => 't',
                    Standing::Bad {
                        good_since: Some(_), ..
                    } => 'r',
                    Standing::Bad { .. } => 'b',
                })
                .collect();
            table.push(line);
        }
        //                  fine, beyond, critical, not a number, silent
        assert_eq!(table, ["gbbbb", "gtbbb", "gtbbb", "rbbbb"]);
    }

    proptest! {
        #[test]
        fn safe_means_every_input_is_fresh_and_has_not_been_beyond_its_limit_for_the_bad_delay(
            steps in prop::collection::vec((0.5f64..40.0, prop::option::of(0.0f64..30.0)), 1..80)
        ) {
            let rule = gust();
            let mut memory = Memory::default();
            let (mut second, mut last_good, mut current) = (0.0, f64::NEG_INFINITY, Inputs::new());
            for (gap, value) in steps {
                second += gap;
                if let Some(value) = value {
                    current = inputs(value, second);
                }
                // What was judged good last, be it by a reading of some seconds ago.
                let judged = current.get("gust_m_s").map(|reading| reading.fresh(at(second), rule.max_age_s).copied());
                if judged.is_some_and(|value| value.is_ok_and(|value| value <= rule.limit)) {
                    last_good = second;
                }
                let (next, verdict) = evaluate(&memory, std::slice::from_ref(&rule), &current, at(second));
                memory = next;
                if verdict.safe {
                    let reading = current.get("gust_m_s").unwrap();
                    prop_assert!(reading.age_s(at(second)) <= rule.max_age_s);
                    let value = *reading.value.as_ref().unwrap();
                    prop_assert!(value <= 25.0);
                    // Nobody judged for up to 40 s between the last good and the first bad value.
                    prop_assert!(value <= rule.limit || second - last_good <= rule.bad_delay_s + 40.0);
                }
            }
        }
    }
}
