//! Alidade runs a robotic observatory: the composition root and the doors to the outside.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the commands |
//! | [`error`] | how a command ends when it does not succeed |
//! | [`settings`] | the configuration |
//! | [`topology`] | the message graph |
//! | [`daemon`] | the agents wired together |
//! | [`simulate`] | simulated nights |
//! | [`gateway`] | HTTP and MQTT |
//! | [`processing`] | the pipeline engine with this program's database and folders |
//! | [`observed`] | targets with their data, and their light curves |
//! | [`store`] | the database; the only place that names Diesel |
//! | [`log`] | what is told on standard error, which nobody waits for |
//! | [`clock`] | the live clock and the simulated one |

// Both panic when nobody reads any more, and wait for who reads slowly.
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod cli;
pub mod clock;
pub mod daemon;
pub mod error;
pub mod gateway;
pub mod log;
pub mod observed;
pub mod processing;
pub mod settings;
pub mod simulate;
pub mod store;
pub mod topology;
