//! What several of these tests need: a daemon and its peers, started on ports and in folders of their own and stopped again.

pub mod browser;
pub mod command;
pub mod deaf;
pub mod facts;
pub mod hardware;
pub mod http;
#[path = "../../drivers/tests/support/indi.rs"]
pub mod indi;
pub use indi::ports;
pub mod journal;
pub mod matrix;
pub mod mosquitto;
pub mod observatory;
pub mod postgres;
pub mod python;
pub mod served_night;
pub mod service;
pub mod shots;
