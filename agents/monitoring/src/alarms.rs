//! Alarms: raised, told to people by steps, and acknowledged. Pure.
//!
//! ```text
//! raised -> told by every step whose severity it has, each after its delay, again while nobody acknowledges
//!        -> acknowledged by a person: told no more, but shown
//! ```
//!
//! An alarm that is raised again with the same words while nobody has acknowledged it is the same alarm, once more.

use alidade_model::{journal::Severity, time::UtcTime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// One step of the escalation: who is told of what, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// From the configuration, e.g. `night_assistant`.
    pub name: String,
    /// The least severity that this step is told of.
    pub severity: Severity,
    /// Told when nobody has acknowledged for this long, seconds.
    pub after_s: f64,
    /// Told again after each such time, seconds; `None` for once.
    pub repeat_s: Option<f64>,
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// The number of the journal entry that raised it.
    pub id: u64,
    pub at: UtcTime,
    pub severity: Severity,
    pub text: String,
    /// How often it was raised.
    pub count: u32,
    pub last_at: UtcTime,
    /// Who has taken note of it, and when.
    pub acknowledged: Option<(String, UtcTime)>,
    /// When each step was last told.
    #[serde(skip)]
    told: BTreeMap<String, UtcTime>,
}

/// Somebody is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub alarm: Alarm,
    pub step: String,
}

/// The alarms of this run, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Desk {
    alarms: VecDeque<Alarm>,
}

/// More are not kept; the journal has them all.
const KEPT: usize = 500;

impl Desk {
    /// Takes note of an alarm.
    pub fn raise(&mut self, id: u64, at: UtcTime, severity: Severity, text: &str) {
        let same = |a: &&mut Alarm| a.acknowledged.is_none() && a.severity == severity && a.text == text;
        if let Some(known) = self.alarms.iter_mut().rev().find(same) {
            known.count += 1;
            known.last_at = at;
            return;
        }
        if self.alarms.len() == KEPT {
            // What somebody has seen goes first.
            let oldest = self.alarms.iter().position(|a| a.acknowledged.is_some()).unwrap_or(0);
            self.alarms.remove(oldest);
        }
        self.alarms.push_back(Alarm {
            id,
            at,
            severity,
            text: text.to_owned(),
            count: 1,
            last_at: at,
            acknowledged: None,
            told: BTreeMap::new(),
        });
    }

    /// A person has taken note; `Err` with the reason when there is nothing to acknowledge.
    pub fn acknowledge(&mut self, id: u64, who: &str, at: UtcTime) -> Result<&Alarm, String> {
        let Some(alarm) = self.alarms.iter_mut().find(|alarm| alarm.id == id) else {
            return Err(format!("there is no alarm {id}"));
        };
        if let Some((before, _)) = &alarm.acknowledged {
            return Err(format!("alarm {id} was acknowledged by {before}"));
        }
        alarm.acknowledged = Some((who.to_owned(), at));
        Ok(alarm)
    }

    /// An earlier run has told a step.
    pub fn was_told(&mut self, id: u64, step: &str, at: UtcTime) {
        if let Some(alarm) = self.alarms.iter_mut().find(|alarm| alarm.id == id) {
            alarm.told.insert(step.to_owned(), at);
        }
    }

    /// Who is to be told now; they count as told.
    pub fn due(&mut self, steps: &[Step], now: UtcTime) -> Vec<Notice> {
        let mut notices = Vec::new();
        for alarm in self.alarms.iter_mut().filter(|a| a.acknowledged.is_none()) {
            for step in steps.iter().filter(|step| alarm.severity >= step.severity) {
                // Rather too soon than an hour late because the clock was set back.
                let over = |since: UtcTime, wait_s: f64| !(0.0..wait_s).contains(&now.seconds_since(since));
                let due = match (alarm.told.get(&step.name), step.repeat_s) {
                    (None, _) => over(alarm.at, step.after_s),
                    (Some(last), Some(pause)) => over(*last, pause),
                    (Some(_), None) => false,
                };
                if due {
                    alarm.told.insert(step.name.clone(), now);
                    notices.push(Notice {
                        alarm: alarm.clone(),
                        step: step.name.clone(),
                    });
                }
            }
        }
        notices
    }

    /// All that are kept, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Alarm> {
        self.alarms.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: f64) -> UtcTime {
        UtcTime::from_unix_micros(0).unwrap().plus_seconds(second)
    }

    fn steps() -> Vec<Step> {
        let step = |name: &str, severity, after_s, repeat_s| Step {
            name: name.into(),
            severity,
            after_s,
            repeat_s,
        };
        vec![
            step("chat", Severity::Warning, 0.0, None),
            step("phone", Severity::Critical, 60.0, Some(300.0)),
        ]
    }

    fn told(desk: &mut Desk, second: f64) -> Vec<(u64, String)> {
        let notices = desk.due(&steps(), at(second));
        notices.into_iter().map(|n| (n.alarm.id, n.step)).collect()
    }

    #[test]
    fn it_escalates_until_somebody_takes_note() {
        let mut desk = Desk::default();
        desk.raise(7, at(0.0), Severity::Critical, "the roof does not close");
        desk.raise(8, at(1.0), Severity::Info, "a frame was lost");
        assert_eq!(told(&mut desk, 1.0), [(7, "chat".to_owned())]);
        assert_eq!(told(&mut desk, 59.0), []);
        assert_eq!(told(&mut desk, 60.0), [(7, "phone".to_owned())]);
        assert_eq!(told(&mut desk, 359.0), []);
        assert_eq!(told(&mut desk, 360.0), [(7, "phone".to_owned())]);
        desk.acknowledge(7, "ada", at(400.0)).unwrap();
        assert_eq!(told(&mut desk, 2000.0), []);
        assert!(desk.acknowledge(7, "bob", at(401.0)).unwrap_err().contains("ada"));
        assert!(desk.acknowledge(99, "bob", at(401.0)).is_err());
    }

    #[test]
    fn the_same_words_again_are_the_same_alarm_until_it_is_acknowledged() {
        let mut desk = Desk::default();
        desk.raise(1, at(0.0), Severity::Warning, "link down");
        desk.raise(2, at(5.0), Severity::Warning, "link down");
        assert_eq!(told(&mut desk, 5.0).len(), 1);
        let counts: Vec<u32> = desk.newest_first().map(|a| a.count).collect();
        assert_eq!(counts, [2]);
        desk.acknowledge(1, "ada", at(6.0)).unwrap();
        desk.raise(3, at(7.0), Severity::Warning, "link down");
        assert_eq!(told(&mut desk, 7.0), [(3, "chat".to_owned())]);
    }

    #[test]
    fn who_was_told_before_a_restart_is_not_told_again_at_once() {
        let mut desk = Desk::default();
        desk.raise(7, at(0.0), Severity::Critical, "the roof does not close");
        desk.was_told(7, "chat", at(0.0));
        desk.was_told(7, "phone", at(60.0));
        assert_eq!(told(&mut desk, 100.0), []);
        assert_eq!(told(&mut desk, 360.0), [(7, "phone".to_owned())]);
    }

    #[test]
    fn nobody_is_told_later_because_the_clock_was_set_back() {
        let mut desk = Desk::default();
        desk.raise(7, at(0.0), Severity::Critical, "the roof does not close");
        desk.was_told(7, "chat", at(0.0));
        assert_eq!(told(&mut desk, -3600.0), [(7, "phone".to_owned())]);
        assert_eq!(told(&mut desk, -3500.0), [], "and not again and again");
    }

    #[test]
    fn the_desk_does_not_grow_without_end_and_keeps_what_nobody_has_seen() {
        let mut desk = Desk::default();
        for id in 0..(KEPT as u64) {
            desk.raise(id, at(id as f64), Severity::Warning, &format!("{id}"));
        }
        desk.acknowledge(3, "ada", at(0.0)).unwrap();
        desk.raise(9999, at(9999.0), Severity::Warning, "one more");
        assert_eq!(desk.newest_first().count(), KEPT);
        assert!(desk.newest_first().all(|a| a.id != 3));
    }
}
