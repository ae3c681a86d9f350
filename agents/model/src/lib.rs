//! The vocabulary of the observatory: what everybody else talks about.
//!
//! Nothing here performs I/O, reads a clock by itself or knows an actor. A state is an enum with a table of legal
//! transitions; a quantity is finite by construction; a missing measurement is a value with a reason, never a guess.
//!
//! | module | terms |
//! |---|---|
//! | [`units`] | degrees, seconds, metres per second ...: finite numbers with a unit |
//! | [`time`] | UTC cut to microseconds, Julian dates, the observing night |
//! | [`clock`] | the one source of "now" |
//! | [`offload`] | where long computations run: inline in simulation, on other threads live |
//! | [`reading`] | a measured value with its age, or no data with a reason |
//! | [`request`] | request > sequence > album > plan |
//! | [`exposure`] | exposure and data product |
//! | [`states`] | the life-cycles and their legal transitions |
//! | [`ledger`] | quota as a double-entry ledger |
//! | [`book`] | every sequence and its state, with the ledger: the only writer of both |
//! | [`schedule`] | the plan of one night |
//! | [`alert`] | when the site can look at an event, its tiles, and what is reported of it |
//! | [`journal`] | facts, and the recorder that appends them |
//! | [`invariants`] | OBS-1 to OBS-11 as a checker over facts and measured truth |

pub mod alert;
pub mod book;
pub mod clock;
pub mod exposure;
pub mod invariants;
pub mod journal;
pub mod ledger;
pub mod offload;
pub mod reading;
pub mod request;
pub mod schedule;
pub mod states;
pub mod time;
pub mod units;
