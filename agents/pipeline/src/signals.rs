//! Signals of jobs, with slots that are held weakly: whoever wants to go on hearing keeps the slot.

use crate::port::AttemptRow;
use std::sync::{Arc, Weak};

/// What happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// It has a row.
    Created,
    Started,
    Ended,
    Errored,
    /// It is as if it had never run, for the next iteration.
    Reset,
    /// Its row has changed.
    Changed,
}

/// What is called.
pub type Slot = Arc<dyn Fn(Signal, &AttemptRow) + Send + Sync>;

/// Held weakly.
type Ear = Weak<dyn Fn(Signal, &AttemptRow) + Send + Sync>;

/// Who is called at what.
#[derive(Clone, Default)]
pub struct Signals {
    slots: Vec<(Option<Signal>, Ear)>,
    silent: bool,
}

impl Signals {
    /// Calls `slot` at this signal, or at every one, for as long as the caller keeps it.
    pub fn connect(&mut self, signal: Option<Signal>, slot: &Slot) {
        self.slots.push((signal, Arc::downgrade(slot)));
    }

    pub fn disconnect(&mut self, slot: &Slot) {
        self.slots
            .retain(|(_, known)| !known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, slot)));
    }

    pub fn clear(&mut self) {
        self.slots.clear();
    }

    pub fn activate(&mut self) {
        self.silent = false;
    }

    pub fn deactivate(&mut self) {
        self.silent = true;
    }

    pub fn emit(&self, signal: Signal, job: &AttemptRow) {
        if self.silent {
            return;
        }
        for (wanted, slot) in &self.slots {
            if wanted.is_none_or(|w| w == signal)
                && let Some(slot) = slot.upgrade()
            {
                slot(signal, job);
            }
        }
    }
}
