//! The life-cycles: states, and which transitions are legal (OBS-9).
//!
//! ```text
//! sequence   draft -> submitted -> observable <-> planned -> executing -> executed
//!                         |            |  ^          |           |  \---> incomplete -> observable
//!                         v            v  '----------+-----------'
//!                      rejected     expired        cancelled
//!
//! night      off -> starting -> waiting -> preparing -> ready <-> observing
//!                                  ^           |  \       |  \______/ |
//!                                  |           v   v      v           v
//!                                closed <--- closing <- paused(reason)  (any) -> fault(reason)
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;

/// A transition that no table allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    pub what: String,
    pub from: String,
    pub to: String,
}

/// A life-cycle with a table of legal transitions.
pub trait LifeCycle: Copy + PartialEq + fmt::Display {
    const THING: &'static str;
    fn allows(self, next: Self) -> bool;

    fn step(self, next: Self) -> Result<Self, IllegalTransition> {
        if self.allows(next) {
            Ok(next)
        } else {
            Err(IllegalTransition {
                what: Self::THING.into(),
                from: self.to_string(),
                to: next.to_string(),
            })
        }
    }
}

macro_rules! life_cycle {
    ($(#[$doc:meta])* $name:ident, $thing:literal, { $($variant:ident = $text:literal => [$($next:ident),*]),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok($name::$variant),)*
                    other => Err(format!("{other} is not a state of a {}", $thing)),
                }
            }
        }

        impl LifeCycle for $name {
            const THING: &'static str = $thing;
            fn allows(self, next: Self) -> bool {
                match self { $($name::$variant => {
                    let legal: &[$name] = &[$($name::$next),*];
                    legal.contains(&next)
                }),* }
            }
        }
    };
}

life_cycle!(
    /// Where a sequence stands.
    SequenceState, "sequence", {
    Draft = "draft" => [Submitted, Cancelled],
    Submitted = "submitted" => [Observable, Rejected, Cancelled],
    Observable = "observable" => [Planned, Executing, Cancelled, Expired, Rejected],
    Planned = "planned" => [Observable, Executing, Cancelled, Expired],
    Executing = "executing" => [Executed, Incomplete, Observable, Cancelled],
    Executed = "executed" => [Observable],
    Incomplete = "incomplete" => [Observable, Cancelled, Expired],
    Cancelled = "cancelled" => [],
    Rejected = "rejected" => [],
    Expired = "expired" => [],
});

life_cycle!(
    /// What the majordome is doing with the night.
    NightState, "night", {
    Off = "off" => [Starting],
    Starting = "starting" => [Waiting, Preparing, Paused, Closing, Fault],
    Waiting = "waiting" => [Preparing, Paused, Closing, Off, Fault],
    Preparing = "preparing" => [Ready, Paused, Closing, Waiting, Fault],
    Ready = "ready" => [Observing, Paused, Closing, Fault],
    Observing = "observing" => [Ready, Paused, Closing, Fault],
    Paused = "paused" => [Preparing, Ready, Waiting, Closing, Fault],
    Closing = "closing" => [Closed, Fault],
    Closed = "closed" => [Waiting, Off, Fault],
    Fault = "fault" => [Starting, Closing, Off],
});

life_cycle!(
    /// What the position sensors of the roof or dome shutter say.
    EnclosureState, "enclosure", {
    Closed = "closed" => [Opening, Open, Unknown, Fault, Stopped],
    Opening = "opening" => [Open, Closing, Closed, Stopped, Unknown, Fault],
    Open = "open" => [Closing, Closed, Unknown, Fault, Stopped],
    Closing = "closing" => [Closed, Opening, Open, Stopped, Unknown, Fault],
    Stopped = "stopped" => [Opening, Closing, Open, Closed, Unknown, Fault],
    Unknown = "unknown" => [Closed, Opening, Open, Closing, Stopped, Fault],
    Fault = "fault" => [Closed, Opening, Open, Closing, Stopped, Unknown],
});

life_cycle!(
    /// What the mount reports about its motion.
    MountState, "mount", {
    Parked = "parked" => [Unparking, Idle, Slewing, Tracking, Unknown, Fault],
    Unparking = "unparking" => [Idle, Tracking, Slewing, Parking, Parked, Unknown, Fault],
    Slewing = "slewing" => [Tracking, Idle, Parking, Parked, Unknown, Fault],
    Tracking = "tracking" => [Slewing, Idle, Parking, Parked, Unknown, Fault],
    Idle = "idle" => [Slewing, Tracking, Parking, Parked, Unparking, Unknown, Fault],
    Parking = "parking" => [Parked, Idle, Slewing, Tracking, Unknown, Fault],
    Unknown = "unknown" => [Parked, Unparking, Slewing, Tracking, Idle, Parking, Fault],
    Fault = "fault" => [Parked, Unparking, Slewing, Tracking, Idle, Parking, Unknown],
});

life_cycle!(
    /// Whether a pipeline run is still going.
    RunState, "pipeline run", {
    Waiting = "waiting" => [Initializing, Canceled, Failed],
    Initializing = "initializing" => [Running, Failed, Canceled],
    Running = "running" => [Paused, Finishing, Failed, Canceled],
    Paused = "paused" => [Running, Failed, Canceled],
    Finishing = "finishing" => [Done, Failed],
    Done = "done" => [],
    Failed = "failed" => [Waiting],
    Canceled = "canceled" => [],
});

life_cycle!(
    /// The life of an observation-unit set, from processed data to delivery.
    UnitState, "observation unit set", {
    FullyObserved = "FullyObserved" => [ReadyForProcessing],
    ReadyForProcessing = "ReadyForProcessing" => [Processing],
    Processing = "Processing" => [ReadyForReview, ProcessingProblem, ReadyForProcessing],
    ProcessingProblem = "ProcessingProblem" => [ReadyForProcessing],
    ReadyForReview = "ReadyForReview" => [Reviewing],
    Reviewing = "Reviewing" => [Verified, ReadyForReview, ReadyForProcessing],
    Verified = "Verified" => [DeliveryInProgress],
    DeliveryInProgress = "DeliveryInProgress" => [Delivered],
    Delivered = "Delivered" => [QA3InProgress],
    QA3InProgress = "QA3InProgress" => [Delivered, ReadyForProcessing],
});

life_cycle!(
    /// What became of the packets about one physical event.
    EventState, "alert event", {
    New = "new" => [Merged, Updated, Retracted, Followed, Ignored],
    Merged = "merged" => [Merged, Updated, Retracted, Followed, Ignored],
    Updated = "updated" => [Merged, Updated, Retracted, Followed, Ignored],
    Followed = "followed" => [Merged, Updated, Retracted, Followed],
    Ignored = "ignored" => [Merged, Updated, Retracted, Followed, Ignored],
    Retracted = "retracted" => [Ignored],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_sequence_stays_finished() {
        for end in [
            SequenceState::Cancelled,
            SequenceState::Rejected,
            SequenceState::Expired,
        ] {
            assert!(
                SequenceState::ALL.iter().all(|next| !end.allows(*next)),
                "{end} is final"
            );
        }
    }

    #[test]
    fn every_state_reads_back_from_its_name() {
        for state in SequenceState::ALL {
            assert_eq!(state.as_str().parse::<SequenceState>().as_ref(), Ok(state));
        }
        assert!("flying".parse::<NightState>().is_err());
    }

    #[test]
    fn a_displaced_sequence_goes_back_to_observable() {
        assert!(SequenceState::Executing.step(SequenceState::Observable).is_ok());
        let refused = SequenceState::Executed.step(SequenceState::Executing).unwrap_err();
        assert_eq!(refused.to_string(), "sequence cannot go from executed to executing");
    }
}
