//! The simulated observatory: models with kinematics behind the same wire protocols as real hardware.
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | the shared truth: instant weather, pointing, roof, what the simulators agree on |
//! | [`faults`] | what goes wrong, when, on which device; scripts and random plans |

pub mod faults;
pub mod world;
