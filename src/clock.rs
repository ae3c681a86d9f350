//! The clocks: the system's, one that follows tokio's, and one that is wrong at times. Nothing else in the program reads the time of day.

use alidade_model::{clock::Clock, time::UtcTime};
use std::{cell::Cell, rc::Rc, time::Duration};

/// The system's clock, for live operation.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one live clock")]
    fn now(&self) -> UtcTime {
        UtcTime::new(chrono::Utc::now())
    }
}

/// The present UTC instant for commands that judge by it.
#[allow(clippy::disallowed_methods, reason = "this is the one live clock")]
pub fn utc_now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

/// A fixed instant plus the time that tokio's clock has run since: it stands, jumps and scales with it.
#[derive(Debug, Clone)]
pub struct TokioClock {
    epoch: UtcTime,
    started: tokio::time::Instant,
    /// The last answer: between two jumps of the paused clock everybody asks for the same instant.
    last: Cell<(Duration, UtcTime)>,
}

impl TokioClock {
    /// Starts at `epoch` now.
    pub fn starting_at(epoch: UtcTime) -> Self {
        Self {
            epoch,
            started: tokio::time::Instant::now(),
            last: Cell::new((Duration::ZERO, epoch)),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UtcTime {
        let run = self.started.elapsed();
        let (known, at) = self.last.get();
        if known == run {
            return at;
        }
        let micros = i64::try_from(run.as_micros()).unwrap_or(i64::MAX / 4);
        let now = UtcTime::from_unix_micros(self.epoch.unix_micros().saturating_add(micros)).unwrap_or(self.epoch);
        self.last.set((run, now));
        now
    }
}

/// Another clock that is wrong for a while, as a computer's is before its time service sets it.
pub struct SteppedClock {
    right: Rc<dyn Clock>,
    /// From, until (by the right clock), and how far off it is, seconds.
    steps: Vec<(UtcTime, UtcTime, f64)>,
}

impl SteppedClock {
    pub fn new(right: Rc<dyn Clock>, steps: Vec<(UtcTime, UtcTime, f64)>) -> Self {
        Self { right, steps }
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> UtcTime {
        let now = self.right.now();
        let off = self.steps.iter().find(|(from, until, _)| *from <= now && now < *until);
        off.map_or(now, |(_, _, seconds)| now.plus_seconds(*seconds))
    }
}
