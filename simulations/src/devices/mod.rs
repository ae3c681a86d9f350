//! The devices: kinematics that can be stopped in mid-move, and the wire protocols around them.
//!
//! A model never ticks: it is advanced to the present when somebody looks. Its state is what its position says.
//!
//! | module | model | protocol |
//! |---|---|---|
//! | [`plc`] | roof, dome azimuth, alarms, dead-man | COLIBRI text |
//! | [`mount`] | slews, tracks, parks, refuses what is too low | LX200, `meade` its other dialect, `sphere` its astronomy |
//! | [`nexstar`] | the same mount | NexStar hand control |
//! | [`camera`] | exposes, reads out, cools | PYROS grammar |
//! | [`movers`] | filter wheel, focuser | PYROS grammar |
//! | [`rotator`] | turns the field, and not across the end of its cables | PYROS grammar |
//! | [`power`] | switches the others' current | PYROS grammar |
//! | [`station`] | weather station | NMEA-0183 |
//!
//! `words` writes their numbers.

#[cfg(test)]
pub(crate) mod asking;
pub mod camera;
pub mod meade;
pub mod mount;
pub mod movers;
pub mod nexstar;
pub mod plc;
pub mod power;
pub mod rotator;
pub mod sphere;
pub mod station;
pub mod words;

/// A question as it came off the wire, and what the answer looks like.
pub trait Responder {
    /// The byte that ends a question.
    fn terminator(&self) -> u8;
    /// Answers one question (without its terminator); an empty answer is sent as nothing.
    fn answer(&mut self, question: &[u8]) -> Vec<u8>;
    /// The answer of a device that refuses everything it is commanded; `None` for a question about its state.
    fn refusal(&self, question: &[u8]) -> Option<Vec<u8>>;
}
