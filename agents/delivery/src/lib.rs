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
pub mod messages;
pub mod service;
