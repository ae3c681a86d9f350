//! The simulated observatory: models with kinematics behind the same wire protocols as real hardware.
//!
//! | module | holds |
//! |---|---|
//! | [`alpaca`] | the same devices as ASCOM Alpaca devices behind one HTTP port |
//! | [`world`] | what the parts agree on: weather of an instant, a shot, pixels |
//! | [`faults`] | what goes wrong, when, on which device; scripts and random plans |
//! | [`devices`] | models and their protocols |
//! | [`distortion`] | what faults do to an answer on its way |
//! | [`observatory`] | all devices together, over memory, TCP and pseudo-terminals |
//! | [`random`] | the seeded generator |
//! | [`scenario`] | a night as a folder of data |
//! | [`sky`] | stars, detector, pixels |
//! | [`weather`] | the true weather in time |

pub mod alpaca;
pub mod devices;
pub mod distortion;
pub mod faults;
pub mod observatory;
pub mod random;
pub mod scenario;
pub mod sky;
pub mod weather;
pub mod world;
