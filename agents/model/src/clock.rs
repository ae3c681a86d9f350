//! The one source of "now".
//!
//! Live it is the system clock; in simulation a fixed UTC epoch plus the time that tokio's (paused) clock has run.
//! Both implementations live in the composition root; everything else sees this trait.

use crate::time::UtcTime;

pub trait Clock {
    fn now(&self) -> UtcTime;
}

/// More seconds between two looks of somebody who looks every second or two: the clock was set meanwhile.
const LONGEST_LOOK_S: f64 = 5.0;

/// When somebody who looks every second or two has looked, to notice that the clock was set in between (or that everything
/// stood still). What is remembered by its instant is then to be moved along, so that delays go on where they stood: after
/// a clock was set back by an hour, an order would wait for an hour to be repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Looks {
    last: Option<UtcTime>,
}

impl Looks {
    /// By how many seconds remembered instants are to be moved at this look; too far by the time since the last look.
    pub fn moved_s(&mut self, now: UtcTime) -> Option<f64> {
        let gap_s = now.seconds_since(self.last.replace(now)?);
        (!(0.0..=LONGEST_LOOK_S).contains(&gap_s)).then_some(gap_s)
    }
}

/// Moves an instant, if there is one.
pub fn move_by(at: &mut Option<UtcTime>, seconds: f64) {
    if let Some(at) = at {
        *at = at.plus_seconds(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_goes_back_or_leaps_moves_what_is_remembered() {
        let at = |second| "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second);
        let mut looks = Looks::default();
        let moved: Vec<_> = [0.0, 1.0, 1.0, 5.5, 3605.5, 3606.5, 6.5, 7.5]
            .map(|second| looks.moved_s(at(second)))
            .into();
        assert_eq!(moved, [None, None, None, None, Some(3600.0), None, Some(-3600.0), None]);
    }
}
