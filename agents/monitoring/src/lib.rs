//! Monitoring: what the devices measure, fused into conditions; the phases of the night; the health of every device.
//!
//! Terms:
//! - *source*: a station or controller that measures a quantity; several may measure the same.
//! - *fused*: one reading per quantity from all its sources, by the rule in [`fusion`].
//! - *stuck*: a sensor whose value has not changed at all for longer than nature allows.
//! - *phase*: day, evening, night or morning, by the altitude of the Sun (see [`phase`]).
//!
//! | module | holds |
//! |---|---|
//! | [`fusion`] | pure: readings of several sources to one, with stuck and contradictory ones taken out |
//! | [`mod@inputs`] | pure: what the verdict may ask for, each held against what else is known of it |
//! | [`alarms`] | pure: alarms, whom they are told to and when, acknowledgement |
//! | [`phase`] | pure: altitude of the Sun and its sense to the phase of the night |
//! | [`agent`] | the shell: reads the drivers' snapshots every second, publishes, tells safety |

pub mod agent;
pub mod alarms;
pub mod fusion;
pub mod inputs;
pub mod phase;
