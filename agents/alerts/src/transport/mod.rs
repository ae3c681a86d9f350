//! How packets come and go: VOEvent Transport Protocol, folders, and Kafka where it is built in.
//!
//! This is the one part of the crate that waits. Packets are handed on with a way to answer, and a packet is only
//! acknowledged when its answer says that it is safe in the journal.

pub mod folder;
pub mod intake;
pub mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod networks;
pub mod vtp;
