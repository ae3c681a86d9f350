//! Scheduling: ephemerides, observing constraints, the night planner and its reasons.
//!
//! Pure but for [`agent`]: time is passed in, nothing is read or written, nothing is logged. Equal inputs, seed and iterations give
//! equal plans.
//!
//! - [`ephemeris`]: ICRS to topocentric, Sun, Moon, night phases, rise and set, minor bodies.
//! - [`constraints`]: what an observation asks of the sky, "is it observable now", and excluded intervals.
//! - [`problem`]: what the planner is asked. [`mod@plan`]: what it answers. [`reason`]: why not.
//! - [`overheads`]: how long a change of target takes. [`units`]: several telescopes. [`outlook`]: the nights to come.
//! - [`agent`], [`messages`]: the actor around it all; `posing` makes a problem of the book.
//! - [`kernel`]: the optimiser, which knows intervals and seconds only.

pub mod agent;
mod chances;
pub mod compare;
pub mod constraints;
pub mod ephemeris;
pub mod export;
pub mod instance;
pub mod kernel;
mod links;
pub mod messages;
pub mod outlook;
pub mod overheads;
pub mod plan;
mod pointing;
mod posing;
pub mod problem;
pub mod reason;
pub mod report;
mod stretches;
pub mod units;
mod why;

pub use constraints::{Cause, Constraints, Exclusion, HorizonMask, ObservabilityRequest, is_observable};
pub use ephemeris::{
    AltAz, Icrs, MoonState, NightPhases, Site, Span, SunBelow, altaz, lst_deg, moon, night_phases, radec_from_altaz,
    separation_deg, sun_altaz,
};
pub use overheads::{Axes, Overheads};
pub use plan::{Plan, PlanOptions, Planned, Unplanned, plan, verify};
pub use problem::{After, Conditions, GroupRule, KeptBlock, KeptKind, Problem, ProblemError, Request, Weights};
pub use reason::Reason;
pub use units::Unit;
