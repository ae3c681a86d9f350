//! Devices: what the observatory can ask of its hardware, and the protocols that carry it.
//!
//! | module | holds |
//! |---|---|
//! | [`interface`] | one trait per capability with ASCOM semantics; no protocol |
//! | [`transport`] | byte streams: TCP, serial lines, memory; a [`transport::Connector`] opens them |
//! | [`wire`] | framed reads with bounds |
//! | [`link`] | the connection task that every driver shares |
//! | [`handle`] | what a caller holds of a device, one a capability: the orders and the states of every protocol |
//! | [`place`] | where a mount stands, and what that makes of its coordinates |
//! | `plc` | the observatory's controller, COLIBRI text dialect |
//! | `modbus` | the observatory's controller behind Modbus TCP or RTU, with a register map |
//! | `lx200` | mounts that speak LX200 (Meade, Losmandy Gemini) |
//! | `nexstar` | mounts behind a Celestron NexStar hand control |
//! | `grammar` | cameras, wheels, focusers, rotators and switches that speak the PYROS SET / GET / DO grammar |
//! | `alpaca` | mounts, cameras, wheels, focusers, rotators, switches, domes, weather and safety monitors behind an ASCOM Alpaca server |
//! | `indi` | mounts, cameras, wheels, focusers, rotators, domes and weather behind an INDI server |
//! | [`split`] | a roof with a driver of its own, and the controller beside it, as one |
//! | `station` | a weather station with NMEA-0183 sentences |
//!
//! Each protocol lives behind a feature. A driver is a connection task that owns its stream, reconnects with
//! backoff and publishes what it measured; a handle sends it commands with a deadline. No reply means *done*: a
//! command is accepted, and its completion is seen in the measured state.

#[cfg(feature = "alpaca")]
pub mod alpaca;
#[cfg(feature = "grammar")]
pub mod grammar;
pub mod handle;
#[cfg(feature = "indi")]
pub mod indi;
pub mod interface;
pub mod link;
#[cfg(feature = "lx200")]
pub mod lx200;
#[cfg(feature = "modbus")]
pub mod modbus;
#[cfg(feature = "nexstar")]
pub mod nexstar;
pub mod place;
#[cfg(feature = "plc")]
pub mod plc;
pub mod split;
#[cfg(feature = "station")]
pub mod station;
pub mod transport;
pub mod wire;
