//! Analysis: from raw frame to calibrated image, catalogue and preview.
//!
//! Terms:
//! - *master*: many calibration frames combined into one.
//! - *degradation*: something that should have been applied and was not there. It is recorded with the frame; the night
//!   goes on.
//! - *source*: a group of connected pixels above the noise of the matched-filtered image.
//!
//! | module | holds |
//! |---|---|
//! | [`calibrate`] | pure: masters, and their application |
//! | [`association`] | pure: which master fits a frame, and what is said where none does |
//! | [`archive`] | masters on disk, tonight's and those of other nights |
//! | [`flats`] | master flats of frames of different brightness |
//! | [`overscan`] | pure: the part of a detector that sees no light, and the part that does |
//! | [`bad_pixels`] | pure: hot and dead pixels, found and filled |
//! | [`masters`] | masters of many large frames, a band of rows at a time |
//! | [`background`] | pure: the sky and its noise, on a mesh |
//! | [`extract`] | pure: sources with position, flux, width |
//! | [`astrometry`] | where the frame is on the sky: catalogue index, plate solver, WCS with distortion |
//! | [`cosmics`] | cosmic rays found and replaced |
//! | [`measure`] | plate solution and zero point of a frame of the night |
//! | [`candidates`] | what is new, brighter, fading or moving |
//! | [`circular`] | the draft of a GCN circular, for people to send |
//! | [`minor_planets`] | where known ones are |
//! | [`subtract`] | difference of two frames, and what changed |
//! | [`photometry`] | zero point, limiting magnitude, extinction, brightness at a place |
//! | [`preview`] | pure: a small picture |
//! | [`lightcurve`] | the brightness of a target over many frames, with the air mass taken out |
//! | [`plot`] | celestial grid, light curve |
//! | [`reduce`] | pure: the whole chain for one frame |
//! | [`command`] | what the command line does with files |
//! | [`transparency`] | pure: clouds told from the stars' light |
//! | [`solve_field`] | astrometry.net as a second engine |
//! | [`work`] | masters, one frame, the error circle of an alert: off the agents' thread |
//! | [`agent`] | the shell: keeps the masters of the night, reduces every frame, alert frames first |

pub mod agent;
pub mod archive;
pub mod association;
pub mod astrometry;
pub mod background;
pub mod bad_pixels;
pub mod calibrate;
pub mod candidates;
pub mod circular;
pub mod command;
pub mod cosmics;
pub mod extract;
pub mod flats;
mod levels;
pub mod lightcurve;
pub mod masters;
pub mod measure;
pub mod minor_planets;
pub mod overscan;
mod parallel;
pub mod photometry;
pub mod plot;
pub mod preview;
pub mod reduce;
pub mod solve_field;
pub mod subtract;
pub mod transparency;
pub mod work;
