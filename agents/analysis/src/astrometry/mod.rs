//! Astrometry: which part of the sky a frame shows.
//!
//! Terms:
//! - *plate solution*, *WCS*: where every pixel is on the sky, gnomonic with SIP distortion.
//! - *quad*: four stars described by a code that does not change when the picture is moved, turned or scaled (Lang et al.
//!   2010, AJ 139, 1782).
//! - *hypothesis*: a pair or quad of stars of the frame taken for one of the catalogue; it fixes a WCS.
//! - *log-odds*: logarithm of how much better the catalogue explains the frame's stars than chance does.
//!
//! | module | holds |
//! |---|---|
//! | [`wcs`] | the solution: pixel to sky and back, header in and out |
//! | [`fit`] | a WCS from matched stars, with distortion |
//! | [`stars`] | catalogue stars, and where they are looked up |
//! | [`quads`] | codes of four stars, and their table |
//! | [`index`] | stars and quads in a file |
//! | [`net_index`] | the stars of an index file of astrometry.net |
//! | [`mod@solve`] | hypotheses, their verification, the solution |

pub mod fit;
pub mod index;
pub mod net_index;
pub mod quads;
pub mod solve;
pub mod stars;
pub mod wcs;

pub use index::Index;
pub use solve::{Hint, Orientation, Solution, SolveOptions, Spot, solve};
pub use stars::{SkyStars, Star};
pub use wcs::Wcs;
