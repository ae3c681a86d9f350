//! The one source of "now".
//!
//! Live it is the system clock; in simulation a fixed UTC epoch plus the time that tokio's (paused) clock has run.
//! Both implementations live in the composition root; everything else sees this trait.

use crate::time::UtcTime;

pub trait Clock {
    fn now(&self) -> UtcTime;
}
