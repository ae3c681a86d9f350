//! FITS headers and two-dimensional images: bytes to values and back (FITS Standard 4.0).
//!
//! Terms: a *card* is 80 bytes, a *block* 2880; a *header* is cards up to `END`, filled to a block; an *image* follows in
//! big-endian numbers, filled to a block. Reading is bounded: what a header claims is checked against what is there
//! before memory is taken. Read are the primary array or else the first image of an extension, plain or compressed by
//! Rice; other tables and compressions are refused by name.

mod bands;
mod checksum;
mod extension;
mod header;
mod image;
mod rice;
mod rows;

pub use bands::{Bands, BandsError};
pub use checksum::{Checksum, verify};
pub use extension::units;
pub use header::Header;
pub use image::{Image, read, write_f32, write_header_only, write_i16, write_rice_u16, write_u16};
pub use rows::{Rows, RowsError};

/// Size of a block, bytes.
pub const BLOCK: usize = 2880;
/// Size of a card, bytes.
pub const CARD: usize = 80;

/// Why bytes are no image that can be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitsError {
    #[error("not FITS: it does not begin with SIMPLE = T")]
    NotFits,
    #[error("it is compressed by gzip as a whole and has to be unpacked first")]
    Gzip,
    #[error("the header has no END within {0} bytes")]
    NoEnd(usize),
    #[error("keyword {0} is missing")]
    Missing(&'static str),
    #[error("keyword {keyword} is {value}, which is not possible here")]
    Impossible { keyword: String, value: String },
    #[error("the image claims {claimed} bytes and {present} are there")]
    Truncated { claimed: usize, present: usize },
    #[error("{pixels} pixels for {width} x {height}")]
    Shape { pixels: usize, width: usize, height: usize },
}
