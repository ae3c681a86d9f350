//! Alidade runs a robotic observatory: the composition root and the doors to the outside.

pub mod gateway;
pub mod settings;
pub mod store;
