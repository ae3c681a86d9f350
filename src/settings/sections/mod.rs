//! The sections of the configuration, with their defaults. What has no sensible default is required (see `load`).

mod alerts;
mod hardware;
mod observing;
mod safety;
mod services;

pub use alerts::*;
pub use hardware::*;
pub use observing::*;
pub use safety::*;
pub use services::*;

fn yes() -> bool {
    true
}

fn one_second() -> f64 {
    1.0
}
