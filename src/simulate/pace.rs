//! How fast virtual time runs.
//!
//! All simulated time is tokio's paused clock. At full speed tokio itself jumps from timer to timer whenever nothing
//! else is to be done. At a pace, a sleeping thread of the blocking pool keeps it from jumping (tokio never jumps while
//! blocking work runs), and a pacer moves the clock on, in steps small against every deadline, giving sockets their
//! turn between two steps.

use alidade_drivers::link::{conversing, quiet};
use std::{str::FromStr, time::Duration};

/// Virtual seconds per second of wall time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    Max,
    Times(f64),
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Pace::Max),
            "real" => Ok(Pace::Times(1.0)),
            _ => {
                let factor = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
                match factor {
                    Ok(factor) if factor.is_finite() && (0.1..=3600.0).contains(&factor) => Ok(Pace::Times(factor)),
                    _ => Err(format!("pace is max, real, or a factor from 0.1x to 3600x, not {text}")),
                }
            }
        }
    }
}

/// Longest step of virtual time without a look at what it woke.
const STEP: Duration = Duration::from_millis(50);
/// Wall time between two visits of the pacer.
const VISIT: Duration = Duration::from_millis(2);
/// Wall time that is caught up after a stall; a suspended laptop goes on from where it stood.
const MEMORY: Duration = Duration::from_millis(250);

/// Moves the paused clock on at `factor` for ever; to be spawned beside everything else.
///
/// While a device owes an answer, virtual time runs no faster than the wall clock: sockets and terminals answer in wall
/// time, and a busy machine must not turn them into devices that never answer. What is lost so is caught up.
#[allow(
    clippy::disallowed_methods,
    reason = "the pacer is what ties virtual time to the wall clock"
)]
pub async fn run(factor: f64) {
    let (_hold, held) = std::sync::mpsc::channel::<()>();
    drop(tokio::task::spawn_blocking(move || held.recv()));
    let (tick, mut ticks) = tokio::sync::mpsc::channel::<()>(1);
    std::thread::spawn(move || {
        while tick.blocking_send(()).is_ok() {
            std::thread::sleep(VISIT);
        }
    });
    let mut last = std::time::Instant::now();
    let mut due = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            () = quiet(), if conversing() > 0 => {}
            tick = ticks.recv() => if tick.is_none() { return },
        }
        let now = std::time::Instant::now();
        let passed = now - last;
        last = now;
        due = (due + passed.mul_f64(factor)).min(MEMORY.mul_f64(factor));
        if conversing() > 0 {
            due -= step_on(passed.min(MEMORY).min(due)).await;
        }
        while conversing() == 0 && !due.is_zero() {
            due -= step_on(due.min(STEP)).await;
        }
    }
}

/// One step of virtual time, and a turn for whom it woke.
async fn step_on(step: Duration) -> Duration {
    tokio::time::advance(step).await;
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_word_or_a_factor() {
        assert_eq!("max".parse(), Ok(Pace::Max));
        assert_eq!("real".parse(), Ok(Pace::Times(1.0)));
        assert_eq!("60x".parse(), Ok(Pace::Times(60.0)));
        for wrong in ["", "fast", "-3x", "NaNx", "1e9x"] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
    }
}
