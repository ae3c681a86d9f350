//! Why a request is not in the plan: one structured reason, one sentence.

use crate::constraints::Cause;
use crate::ephemeris::Span;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The first thing that stands in the way, from the sky down to competition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Longer than the night itself.
    LongerThanNight { needed_s: f64, night_s: f64 },
    /// No window overlaps the night, or none long enough.
    WindowClosed {
        needed_s: f64,
        longest_s: f64,
        next_window: Option<Span>,
    },
    /// The target stays below its lowest altitude all night.
    NeverRises { highest_deg: f64, needed_deg: f64 },
    /// One constraint, together with those before it, leaves too short a stretch.
    Constraint {
        cause: Cause,
        needed_s: f64,
        longest_s: f64,
        worst: Option<f64>,
        limit: Option<f64>,
    },
    /// It was possible earlier this night, or only where a fixed block stands.
    NoTimeLeft { last_start: Option<DateTime<Utc>> },
    QuotaExhausted {
        user: String,
        quota_s: f64,
        used_s: f64,
        needed_s: f64,
    },
    /// The group's limit went to others.
    GroupFull {
        group: String,
        at_most: usize,
        by: Vec<String>,
    },
    /// Fewer members than the group asks for could be planned.
    GroupIncomplete {
        group: String,
        at_least: usize,
        possible: usize,
    },
    /// The request it must follow is not planned, or leaves no time.
    AfterOther { other: String, other_planned: bool },
    /// Better requests hold every place it could take; `by` are those on its cheapest place.
    Displaced {
        by: Vec<String>,
        at: DateTime<Utc>,
        value: f64,
        their_value: f64,
    },
}

impl Reason {
    /// A stable word for counters and interfaces, the same as `kind` in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::LongerThanNight { .. } => "longer_than_night",
            Self::WindowClosed { .. } => "window_closed",
            Self::NeverRises { .. } => "never_rises",
            Self::Constraint { .. } => "constraint",
            Self::NoTimeLeft { .. } => "no_time_left",
            Self::QuotaExhausted { .. } => "quota_exhausted",
            Self::GroupFull { .. } => "group_full",
            Self::GroupIncomplete { .. } => "group_incomplete",
            Self::AfterOther { .. } => "after_other",
            Self::Displaced { .. } => "displaced",
        }
    }
}

/// What is told to people needs no more digits.
pub(crate) fn to_thousandths(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

fn minutes(s: f64) -> String {
    if s < 120.0 {
        format!("{s:.0} s")
    } else {
        format!("{:.1} min", s / 60.0)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LongerThanNight { needed_s, night_s } => {
                write!(
                    f,
                    "it takes {}, the night has {}",
                    minutes(*needed_s),
                    minutes(*night_s)
                )
            }
            Self::WindowClosed {
                needed_s,
                longest_s,
                next_window,
            } => {
                if *longest_s > 0.0 {
                    let (longest, needed) = (minutes(*longest_s), minutes(*needed_s));
                    write!(
                        f,
                        "its time windows leave at most {longest} of this night, it takes {needed}"
                    )
                } else {
                    write!(f, "none of its time windows falls in this night")?;
                    next_window.map_or(Ok(()), |w| {
                        write!(f, " (next opens {})", w.start.format("%Y-%m-%d %H:%M UTC"))
                    })
                }
            }
            Self::NeverRises {
                highest_deg,
                needed_deg,
            } => write!(
                f,
                "the target never rises above {needed_deg:.1} degrees this night (highest {highest_deg:.1} degrees)"
            ),
            Self::Constraint {
                cause,
                needed_s,
                longest_s,
                worst,
                limit,
            } => {
                write!(f, "{}", cause.describe())?;
                if let (Some(worst), Some(limit)) = (worst, limit) {
                    write!(f, " ({worst:.1} at worst, limit {limit:.1})")?;
                }
                if *longest_s > 0.0 {
                    write!(
                        f,
                        ": at most {} remain, it takes {}",
                        minutes(*longest_s),
                        minutes(*needed_s)
                    )
                } else {
                    write!(f, " whenever the rest would allow it")
                }
            }
            Self::NoTimeLeft { last_start: Some(t) } => {
                write!(f, "no time is left: it had to start by {}", t.format("%H:%M:%S UTC"))
            }
            Self::NoTimeLeft { last_start: None } => write!(f, "no time is left in this night"),
            Self::QuotaExhausted {
                user,
                quota_s,
                used_s,
                needed_s,
            } => write!(
                f,
                "the quota of {user} is used up: {} of {} given to others of its requests, it takes {}",
                minutes(*used_s),
                minutes(*quota_s),
                minutes(*needed_s)
            ),
            Self::GroupFull { group, at_most, by } => {
                write!(f, "group {group} wants at most {at_most}, which are {}", by.join(", "))
            }
            Self::GroupIncomplete {
                group,
                at_least,
                possible,
            } => {
                write!(
                    f,
                    "group {group} wants at least {at_least}, only {possible} could be planned together"
                )
            }
            Self::AfterOther {
                other,
                other_planned: false,
            } => {
                write!(f, "it must follow {other}, which is not planned")
            }
            Self::AfterOther {
                other,
                other_planned: true,
            } => {
                write!(f, "it must follow {other}, which leaves it no time")
            }
            Self::Displaced {
                by,
                at,
                value,
                their_value,
            } if by.is_empty() => {
                let at = at.format("%H:%M:%S UTC");
                write!(
                    f,
                    "no better plan was found with it ({value:.0} at {at} against {their_value:.0})"
                )
            }
            Self::Displaced {
                by,
                at,
                value,
                their_value,
            } => {
                let (by, at) = (by.join(", "), at.format("%H:%M:%S UTC"));
                write!(
                    f,
                    "displaced by {by}: at {at} it brings {value:.0}, they bring {their_value:.0}"
                )
            }
        }
    }
}
