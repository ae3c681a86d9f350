//! Ephemerides, observing constraints and the night planner.
pub mod ephemeris;
