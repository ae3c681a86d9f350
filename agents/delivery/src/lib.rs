//! Delivery: the life of processed data, from observation-unit set to delivered product.
//!
//! Terms: an *observation-unit set* (unit) is what one run of a program's sequence produced. Its states and their legal
//! transitions are the table [`alidade_model::states::UnitState`]; only [`service`] moves a unit, each time with author
//! and cause.
//!
//! | module | holds |
//! |---|---|
//! | [`service`] | pure: the units and the one way to change their state |
//! | [`messages`] | what may be said to the agent |
//! | [`agent`] | the shell |

pub mod agent;
pub mod archive;
pub mod bell;
pub mod books;
pub mod desk;
pub mod driver;
pub mod evict;
pub mod ingest;
pub mod launcher;
pub mod link;
pub mod manifest;
pub mod memory;
pub mod messages;
pub mod moves;
pub mod obscore;
pub mod packages;
pub mod products;
pub mod pulls;
pub mod recipes;
pub mod replica;
pub mod report;
pub mod review;
pub mod scrub;
pub mod selector;
pub mod service;
pub mod sites;
pub mod space;
pub mod station;
pub mod transfer;
pub mod unit;
pub mod votable;
pub mod weblog;
pub mod xtss;
