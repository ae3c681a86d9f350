//! Overrides: one input does not forbid for a while, because a person says so. Pure.
//!
//! An override has an owner, a reason and an end, and re-arms by itself. While it lasts, the input is still judged and shown;
//! it only does not forbid. A restart of the daemon keeps those that have an end and are not over; one without an end has to
//! be said again, for nobody knows who still watches.

use crate::verdict::Verdict;
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    pub input: String,
    /// Who answers for it.
    pub who: String,
    pub reason: String,
    /// `None` lasts until it is lifted, which only an attended site accepts.
    pub until: Option<UtcTime>,
}

/// What a site accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct OverridePolicy {
    /// Inputs that nobody overrides.
    pub never: Vec<String>,
    /// Longest override, seconds.
    pub longest_s: f64,
    /// People are on site and watch: overrides without an end are accepted.
    pub attended: bool,
}

/// Why an override was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("there is no input {0}")]
    NoSuchInput(String),
    #[error("{0} is never overridden")]
    Never(String),
    #[error("an override without an end is refused while the site is unattended")]
    Permanent,
    #[error("an override needs {0}")]
    Missing(&'static str),
    #[error("an override lasts up to {0:.0} s and ends in the future")]
    End(f64),
}

/// The overrides that hold, by input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides(BTreeMap<String, Override>);

impl Overrides {
    /// Takes an override, or says why not; a second one for an input replaces the first.
    pub fn place(
        &mut self,
        wanted: Override,
        known: &[&str],
        policy: &OverridePolicy,
        now: UtcTime,
    ) -> Result<(), Refused> {
        if !known.contains(&wanted.input.as_str()) {
            return Err(Refused::NoSuchInput(wanted.input));
        }
        if policy.never.contains(&wanted.input) {
            return Err(Refused::Never(wanted.input));
        }
        for (text, what) in [(&wanted.who, "an owner"), (&wanted.reason, "a reason")] {
            if text.trim().is_empty() {
                return Err(Refused::Missing(what));
            }
        }
        match wanted.until {
            None if !policy.attended => return Err(Refused::Permanent),
            Some(until) if !(0.0..=policy.longest_s).contains(&until.seconds_since(now)) => {
                return Err(Refused::End(policy.longest_s));
            }
            _ => {}
        }
        self.0.insert(wanted.input.clone(), wanted);
        Ok(())
    }

    /// Takes over what held before a restart, and returns what is armed again, with the cause.
    pub fn resume(
        &mut self,
        before: Vec<Override>,
        known: &[&str],
        policy: &OverridePolicy,
        now: UtcTime,
    ) -> Vec<(Override, String)> {
        let mut ended = Vec::new();
        for over in before {
            let cause = match over.until {
                None => Some("an override without an end does not outlive a restart".to_owned()),
                Some(until) if until <= now => Some("its end came while the daemon was away".to_owned()),
                Some(_) => self
                    .place(over.clone(), known, policy, now)
                    .err()
                    .map(|refused| refused.to_string()),
            };
            ended.extend(cause.map(|cause| (over, cause)));
        }
        ended
    }

    /// Takes one back; false when there was none.
    pub fn lift(&mut self, input: &str) -> bool {
        self.0.remove(input).is_some()
    }

    /// Takes out and returns those whose end has come, or which the site no longer accepts.
    pub fn expire(&mut self, now: UtcTime, policy: &OverridePolicy) -> Vec<Override> {
        let over = |o: &Override| o.until.map_or(!policy.attended, |until| until <= now);
        let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(|(_, o)| over(o));
        self.0 = kept;
        let gone: BTreeMap<String, Override> = gone;
        gone.into_values().collect()
    }

    pub fn all(&self) -> impl Iterator<Item = &Override> {
        self.0.values()
    }

    /// The verdict with what is overridden not forbidding. Every row stays, and says who answers for it.
    pub fn apply(&self, verdict: Verdict) -> Verdict {
        if self.0.is_empty() {
            return verdict;
        }
        let mut rows = verdict.rows;
        for row in &mut rows {
            let Some(o) = self.0.get(&row.input) else { continue };
            let until = o.until.map_or("lifted".to_owned(), |t| t.to_string());
            row.text = format!("{}; overridden by {} until {until}: {}", row.text, o.who, o.reason);
            row.counts_as_unsafe = false;
        }
        let reasons: Vec<String> = rows
            .iter()
            .filter(|row| row.counts_as_unsafe)
            .map(|row| row.text.clone())
            .collect();
        Verdict {
            safe: reasons.is_empty(),
            reasons,
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Memory, Rule, Sense, evaluate};
    use alidade_model::reading::Reading;

    fn at(second: f64) -> UtcTime {
        "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn policy(attended: bool) -> OverridePolicy {
        OverridePolicy {
            never: vec!["rain_mm_h".into()],
            longest_s: 3600.0,
            attended,
        }
    }

    fn wanted(input: &str, seconds: Option<f64>) -> Override {
        Override {
            input: input.into(),
            who: "ada".into(),
            reason: "the sensor is being changed".into(),
            until: seconds.map(at),
        }
    }

    const KNOWN: [&str; 3] = ["gust_m_s", "humidity_pct", "rain_mm_h"];

    #[test]
    fn a_restart_keeps_what_has_an_end_and_arms_the_rest() {
        let mut overrides = Overrides::default();
        let before = vec![
            wanted("gust_m_s", Some(100.0)),
            wanted("humidity_pct", Some(10.0)),
            wanted("rain_mm_h", Some(100.0)),
            wanted("colour", Some(100.0)),
            Override {
                input: "gust_m_s".into(),
                ..wanted("gust_m_s", None)
            },
        ];
        let ended = overrides.resume(before, &KNOWN, &policy(true), at(50.0));
        let armed: Vec<&str> = ended.iter().map(|(o, _)| o.input.as_str()).collect();
        assert_eq!(armed, ["humidity_pct", "rain_mm_h", "colour", "gust_m_s"]);
        let kept: Vec<&str> = overrides.all().map(|o| o.input.as_str()).collect();
        assert_eq!(kept, ["gust_m_s"]);
        assert_eq!(
            overrides.expire(at(100.0), &policy(true)).len(),
            1,
            "its end is the old one"
        );
    }

    #[test]
    fn what_is_not_accepted_is_refused_with_its_reason() {
        let mut overrides = Overrides::default();
        let mut place = |o: Override, attended| overrides.place(o, &KNOWN, &policy(attended), at(0.0));
        assert_eq!(
            place(wanted("rain_mm_h", Some(60.0)), true),
            Err(Refused::Never("rain_mm_h".into()))
        );
        assert_eq!(
            place(wanted("colour", Some(60.0)), true),
            Err(Refused::NoSuchInput("colour".into()))
        );
        assert_eq!(place(wanted("gust_m_s", None), false), Err(Refused::Permanent));
        assert_eq!(place(wanted("gust_m_s", None), true), Ok(()));
        assert_eq!(place(wanted("gust_m_s", Some(3601.0)), true), Err(Refused::End(3600.0)));
        assert_eq!(place(wanted("gust_m_s", Some(-1.0)), true), Err(Refused::End(3600.0)));
        let nobody = Override {
            who: " ".into(),
            ..wanted("gust_m_s", Some(60.0))
        };
        assert_eq!(place(nobody, true), Err(Refused::Missing("an owner")));
    }

    #[test]
    fn an_override_re_arms_by_itself_and_a_permanent_one_when_the_people_leave() {
        let mut overrides = Overrides::default();
        overrides
            .place(wanted("gust_m_s", Some(60.0)), &KNOWN, &policy(true), at(0.0))
            .unwrap();
        overrides
            .place(wanted("humidity_pct", None), &KNOWN, &policy(true), at(0.0))
            .unwrap();
        assert!(overrides.expire(at(59.0), &policy(true)).is_empty());
        let over = overrides.expire(at(60.0), &policy(true));
        assert_eq!(over.iter().map(|o| o.input.as_str()).collect::<Vec<_>>(), ["gust_m_s"]);
        let left = overrides.expire(at(61.0), &policy(false));
        assert_eq!(
            left.iter().map(|o| o.input.as_str()).collect::<Vec<_>>(),
            ["humidity_pct"]
        );
    }

    #[test]
    fn an_overridden_input_is_still_judged_and_shown_with_its_owner() {
        let rule = |input: &str| Rule {
            input: input.into(),
            sense: Sense::Above,
            limit: 10.0,
            critical: None,
            bad_delay_s: 0.0,
            good_delay_s: 0.0,
            max_age_s: 10.0,
            latches: false,
        };
        let inputs = [("gust_m_s", 20.0), ("humidity_pct", 5.0)]
            .map(|(name, value)| (name, Reading::good(value, at(0.0))))
            .into();
        let rules = [rule("gust_m_s"), rule("humidity_pct")];
        let (_, verdict) = evaluate(&Memory::default(), &rules, &inputs, at(0.0));
        assert!(!verdict.safe);
        let mut overrides = Overrides::default();
        overrides
            .place(wanted("gust_m_s", Some(60.0)), &KNOWN, &policy(true), at(0.0))
            .unwrap();
        let shown = overrides.apply(verdict);
        assert!(shown.safe && shown.reasons.is_empty());
        let row = &shown.rows[0];
        assert!(
            row.text.contains("gust_m_s 20.0 above 10") && row.text.contains("overridden by ada"),
            "{}",
            row.text
        );
    }
}
