//! Observation: one order on the instruments.
//!
//! Terms:
//! - *order*: a sequence of the book, or a set of calibration frames.
//! - *channel*: one camera with its filter wheel; the channels of an order run in parallel.
//! - *gate*: a light exposure starts, and goes on, only while the enclosure is freshly measured open.
//! - *interrupt*: ends the running order at once and begins another one without waiting for read-outs: the mount is
//!   already slewing while the cameras are being stopped.
//! - *yield*: ends the running order when the frames that are being exposed are on disk; they count.
//!
//! | module | holds |
//! |---|---|
//! | [`messages`] | orders, interrupts, their answers, the published status |
//! | [`pointing`] | pure: ICRS to apparent coordinates of date, where to take flats |
//! | [`frame_file`] | pure: pixels and circumstances to a FITS file |
//! | [`exposure`] | one exposure from shutter to file, with every way to end |
//! | [`feedback`] | pure: what frames say back to mount, focus and exposures |
//! | [`adjust`] | carries that out between exposures |
//! | [`slew`] | mount and slit to a target, and the proof that they are there |
//! | [`procedure`] | an order step by step: unpark, focus, slew, filter, expose |
//! | `calibration` | the other kind of order: biases, darks, flats |
//! | `ready` | filters and focus to where an order wants them |
//! | [`agent`] | the shell: takes orders, keeps at most one running |

pub mod adjust;
pub mod agent;
mod calibration;
pub mod exposure;
pub mod feedback;
pub mod frame_file;
pub mod messages;
pub mod pointing;
pub mod procedure;
mod ready;
pub mod slew;
