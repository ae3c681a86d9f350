//! Which planned sequence is due: a pure look at the schedule and the book.

use alidade_model::{
    book::Book,
    request::SequenceId,
    schedule::{Placed, Schedule},
    states::SequenceState,
    time::UtcTime,
};

/// What the schedule says about now.
#[derive(Debug, Clone, PartialEq)]
pub enum Due {
    /// Begin this one.
    Now(SequenceId),
    /// Nothing before then.
    Wait { until: UtcTime, sequence: SequenceId },
    /// A place in the plan has been missed: plan anew.
    Missed(SequenceId),
    /// Nothing is left.
    Empty,
}

/// The earliest planned sequence that has not been begun, judged at `now`.
///
/// It may begin early by its own slack to the left (its window and its neighbour allow it), and late by its slack to
/// the right.
pub fn due(schedule: &Schedule, book: &Book, now: UtcTime) -> Due {
    let waiting = |placed: &&Placed| {
        book.line(&placed.sequence)
            .is_some_and(|line| line.state == SequenceState::Planned)
    };
    // A schedule is in time order.
    let Some(placed) = schedule.placed.iter().find(waiting) else {
        return Due::Empty;
    };
    // What its forerunner did not need of its own time is ours, as far as the sky allows.
    let saved_s = schedule
        .placed
        .iter()
        .filter(|other| other.start < placed.start)
        .map(|other| other.end)
        .max()
        .map_or(0.0, |end| end.seconds_since(now).max(0.0));
    let early = placed.start.plus_seconds(-placed.delta_tl_s.max(0.0));
    let early = match placed.earliest {
        Some(earliest) => early.min(early.plus_seconds(-saved_s).max(earliest)),
        None => early,
    };
    let late = placed.start.plus_seconds(placed.delta_tr_s.max(0.0) + 60.0);
    if now < early {
        Due::Wait {
            until: early,
            sequence: placed.sequence.clone(),
        }
    } else if now <= late {
        Due::Now(placed.sequence.clone())
    } else {
        Due::Missed(placed.sequence.clone())
    }
}
