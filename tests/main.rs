//! The whole program as its users meet it: the binary on its command line, the daemon with its peers, the pages in a browser.
//! One test binary, because each links all of it: `cargo test --test whole nights::` runs one file of it.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

mod accounts_command;
mod alarms;
mod alert_nights;
mod alert_peers;
mod architecture;
mod browser;
mod daemon;
mod data_recipes;
mod delivery;
mod device;
mod faults;
mod feedback;
mod guard;
mod http_accounts;
mod http_api;
mod http_schema;
mod indi_night;
mod journey;
mod live_night;
mod log;
mod mqtt_feed;
mod nights;
mod packages;
mod pages;
mod pipelines;
mod remote_commands;
mod settings;
mod store_both;
