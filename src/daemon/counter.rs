//! The invariants of the journal, checked in the running daemon: a broken one is a critical alarm, and never the end of
//! the daemon that found it.

use crate::store::restore::Restored;
use alidade_model::{
    invariants::{Checker, Limits},
    journal::{Entry, Recorder, Severity, Sink},
};
use std::{cell::RefCell, rc::Rc};

/// Looks at every fact; what is broken waits until somebody cries it out, outside the turn that recorded it.
#[derive(Clone)]
pub struct Counter(Rc<RefCell<(Checker, Vec<String>)>>);

impl Counter {
    /// Goes on behind what the database has of the time before.
    pub fn behind(restored: &Restored) -> Self {
        let checker = Checker::new(Limits::default());
        let checker = checker.behind(restored.last_seq, &restored.book, &restored.open_exposures);
        Self(Rc::new(RefCell::new((checker, Vec::new()))))
    }

    /// Raises an alarm for each invariant that was broken since the last call.
    pub fn cry(&self, recorder: &Recorder) {
        // The alarm is itself a fact that this sink sees: nothing may be borrowed while it is raised.
        let broken = std::mem::take(&mut self.0.borrow_mut().1);
        for broken in broken {
            recorder.alarm(Severity::Critical, format!("invariant broken: {broken}"));
        }
    }
}

impl Sink for Counter {
    fn append(&mut self, entry: &Entry) {
        let mut inner = self.0.borrow_mut();
        if let Err(broken) = inner.0.entry(entry) {
            inner.1.push(broken.to_string());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends by panicking")]
mod tests {
    use super::*;
    use crate::store::{Durability, OpenOptions, Store};
    use alidade_model::{clock::Clock, exposure::ExposureOutcome, journal::Fact, time::UtcTime};

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> UtcTime {
            "2026-03-14T12:00:00Z".parse().unwrap()
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Rc<RefCell<Vec<Fact>>>);

    impl Sink for Kept {
        fn append(&mut self, entry: &Entry) {
            self.0.borrow_mut().push(entry.fact.clone());
        }
    }

    #[test]
    fn a_broken_invariant_is_an_alarm_and_the_daemon_lives_on() {
        let options = OpenOptions {
            migrate: true,
            durability: Durability::Relaxed,
        };
        let restored = Store::open("sqlite::memory:", options).unwrap().restore().unwrap();
        let (counter, kept) = (Counter::behind(&restored), Kept::default());
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(kept.clone()), Box::new(counter.clone())];
        let recorder = Recorder::new(Rc::new(Noon), 0, sinks);
        counter.cry(&recorder);
        assert!(kept.0.borrow().is_empty());
        // An exposure ends that was never begun.
        recorder.record(Fact::ExposureEnded {
            exposure: "nobody".into(),
            outcome: ExposureOutcome::Failed { cause: "none".into() },
        });
        counter.cry(&recorder);
        counter.cry(&recorder);
        let facts = kept.0.borrow();
        let alarms: Vec<&Fact> = facts.iter().filter(|f| matches!(f, Fact::Alarm { .. })).collect();
        assert!(
            matches!(&alarms[..], [Fact::Alarm { severity: Severity::Critical, text }] if text.contains("OBS-5")),
            "{alarms:?}"
        );
    }
}
