//! The phases of the night by the altitude of the Sun's centre.
//!
//! ```text
//! day --sun sets--> evening --below night_alt--> night --above night_alt--> morning --sun rises--> day
//! ```

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Day,
    Evening,
    Night,
    Morning,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Day => "day",
            Phase::Evening => "evening",
            Phase::Night => "night",
            Phase::Morning => "morning",
        }
    }

    /// From the Sun's altitude (degrees, no refraction), whether it sinks, and the altitude below which it is night.
    /// -0.833 degrees is the conventional altitude of the centre at rise and set (refraction 34', semidiameter 16').
    pub fn of(sun_alt_deg: f64, sinking: bool, night_alt_deg: f64) -> Self {
        if sun_alt_deg > -0.833 {
            Phase::Day
        } else if sun_alt_deg <= night_alt_deg {
            Phase::Night
        } else if sinking {
            Phase::Evening
        } else {
            Phase::Morning
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_phases_follow_the_sun() {
        assert_eq!(Phase::of(10.0, true, -12.0), Phase::Day);
        assert_eq!(Phase::of(-5.0, true, -12.0), Phase::Evening);
        assert_eq!(Phase::of(-20.0, false, -12.0), Phase::Night);
        assert_eq!(Phase::of(-5.0, false, -12.0), Phase::Morning);
    }
}
