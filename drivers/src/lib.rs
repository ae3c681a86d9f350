//! Devices: what the observatory can ask of its hardware, and the protocols that carry it.
//!
//! | module | holds |
//! |---|---|
//! | [`interface`] | one trait per capability with ASCOM semantics; no protocol |
//! | [`transport`] | byte streams: TCP, serial lines, in-memory duplex; a [`transport::Connector`] opens them |
//!
//! Each protocol lives behind a feature. A driver is a connection task that owns its stream, reconnects with
//! backoff and publishes what it measured; a handle sends it commands with a deadline. No reply means *done*: a
//! command is accepted, and its completion is seen in the measured state.

pub mod interface;
pub mod transport;
