//! Safety: is it safe, why not, and the one path by which the enclosure moves.
//!
//! Terms:
//! - *input*: something that must be known and within its limit: a weather quantity, a switch of the controller, the Sun.
//! - *verdict*: safe, or unsafe with one reason per input that forbids it. Unknown, stale, stuck and contradictory
//!   inputs are unsafe.
//! - *bad-delay*: how long an input must be beyond its limit before it counts; a *critical* value skips it.
//! - *good-delay*: how long it must be within its limit before it stops counting.
//! - *latch*: an unsafe state that only a person releases.
//! - *override*: a person answers for one input for a while; it re-arms by itself.
//! - *wanted*: the majordome publishes whether it wants the enclosure open; it never opens anything itself.
//!
//! | module | holds |
//! |---|---|
//! | [`inputs`] | readings by name, as they are judged |
//! | [`verdict`] | pure: inputs and limits to a verdict, with hysteresis |
//! | [`enclosure`] | pure: verdict, wish and measured position to close / open / park / alarm |
//! | [`overrides`] | pure: who answers for which input, until when, and what is refused |
//! | [`access`] | pure: a person asks to enter, motion stops, the request is granted |
//! | [`halt`] | pure: the emergency stop, and the telescope that stands still |
//! | [`guard`] | pure: what the second process decides that owns the line to the enclosure |
//! | [`messages`] | what may be said to the agent |
//! | [`agent`] | the shell: reads, decides, commands, strokes the dead-man heartbeat |
//!
//! Nothing between the cause and the roof waits for anything else: commands to the controller are sent and their
//! completion is read from its sensors.

pub mod access;
pub mod agent;
pub mod enclosure;
pub mod guard;
pub mod halt;
pub mod inputs;
pub mod messages;
pub mod overrides;
pub mod verdict;
