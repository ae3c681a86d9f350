//! Channels of alert packets that have fallen silent.
//!
//! A line may be up and nothing come of it: a writer that has died, a share that was mounted empty, a web client whose
//! password has changed. Where something is known to come, the configuration says how often (`alerts.expect_every_s`),
//! for any listener and for any channel of packets over HTTP; what stays away longer is an alarm, once until it is heard
//! again. Refused packets are heard as well: somebody speaks.

use alidade_model::{
    journal::{Entry, Fact, Recorder, Severity, Sink},
    time::UtcTime,
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

#[derive(Debug, Clone, PartialEq)]
struct Ear {
    every_s: f64,
    heard_at: UtcTime,
    silent: bool,
}

/// When each channel was heard last.
#[derive(Clone, Debug, Default)]
pub struct Hearing(Rc<RefCell<BTreeMap<String, Ear>>>);

impl Hearing {
    /// Channels with the longest pause that is normal, seconds; they count from `now`.
    pub fn new(expected: &BTreeMap<String, f64>, now: UtcTime) -> Self {
        let ear = |every_s: &f64| Ear {
            every_s: *every_s,
            heard_at: now,
            silent: false,
        };
        let ears = expected
            .iter()
            .map(|(channel, every_s)| (channel.clone(), ear(every_s)));
        Self(Rc::new(RefCell::new(ears.collect())))
    }

    /// What has changed since the last look.
    fn changes(&self, now: UtcTime) -> Vec<(Severity, String)> {
        let mut changes = Vec::new();
        for (channel, ear) in self.0.borrow_mut().iter_mut() {
            let silent = now.seconds_since(ear.heard_at) > ear.every_s;
            if silent && !ear.silent {
                let text = format!(
                    "alert channel {channel} has brought no packet since {}; one is expected every {} s",
                    ear.heard_at, ear.every_s
                );
                changes.push((Severity::Warning, text));
            } else if ear.silent && !silent {
                changes.push((Severity::Info, format!("alert channel {channel} brings packets again")));
            }
            ear.silent = silent;
        }
        changes
    }
}

impl Sink for Hearing {
    fn append(&mut self, entry: &Entry) {
        if let Fact::PacketReceived { channel, .. } = &entry.fact
            && let Some(ear) = self.0.borrow_mut().get_mut(channel)
        {
            ear.heard_at = entry.at;
        }
    }
}

/// Alarms when a channel falls silent; does not end.
pub async fn watch(hearing: Hearing, recorder: Recorder) {
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    loop {
        looks.tick().await;
        for (severity, text) in hearing.changes(recorder.now()) {
            recorder.alarm(severity, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: f64) -> UtcTime {
        "2026-03-14T18:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn packet(channel: &str, second: f64) -> Entry {
        Entry {
            seq: 1,
            at: at(second),
            fact: Fact::PacketReceived {
                packet: "p".into(),
                channel: channel.into(),
                size_bytes: 1,
                verdict: "reject".into(),
                reason: "syntax".into(),
                body: String::new(),
                identity: None,
                event: None,
            },
        }
    }

    #[test]
    fn a_channel_that_stays_away_is_told_once_and_its_return_as_well() {
        let mut hearing = Hearing::new(&[("drop".to_owned(), 60.0)].into(), at(0.0));
        assert_eq!(hearing.changes(at(60.0)), []);
        let told = hearing.changes(at(61.0));
        assert!(matches!(&told[..], [(Severity::Warning, text)] if text.contains("drop") && text.contains("60 s")));
        assert_eq!(hearing.changes(at(200.0)), [], "once");
        hearing.append(&packet("http", 201.0));
        assert_eq!(hearing.changes(at(202.0)), [], "another channel does not count");
        hearing.append(&packet("drop", 203.0));
        assert!(matches!(&hearing.changes(at(204.0))[..], [(Severity::Info, _)]));
        assert_eq!(hearing.changes(at(263.0)), []);
        assert_eq!(hearing.changes(at(264.0)).len(), 1);
    }
}
