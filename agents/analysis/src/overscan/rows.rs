//! Frames on disk, read some rows at a time without their overscan.

use super::{Layout, LayoutError, Levels, Placed, place, trimmed_header};
use alidade_fits::{Header, Image, Rows, RowsError};
use std::path::Path;

/// A frame on disk, read some rows at a time without its overscan.
pub struct TrimmedRows {
    rows: Rows,
    placed: Placed,
    levels: Levels,
}

/// Rows of a strip that are read at once.
const STRIP_ROWS: usize = 256;

impl TrimmedRows {
    /// Opens a frame; with an overscan its strip is read once.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self, TrimError> {
        let rows = Rows::open(path)?;
        let (placed, _) = place(&rows.header, rows.width, rows.height, layout)?;
        let mut levels = Levels::None;
        if let Some(section) = placed.overscan {
            let mut pixels = Vec::with_capacity(section.width() * section.height());
            for from in (section.y.0..section.y.1).step_by(STRIP_ROWS) {
                let count = STRIP_ROWS.min(section.y.1 - from);
                for row in rows.rows(from, count)?.chunks(rows.width) {
                    pixels.extend_from_slice(&row[section.x.0..section.x.1]);
                }
            }
            levels = placed.levels(&Image {
                width: section.width(),
                height: section.height(),
                pixels,
            });
        }
        Ok(Self { rows, placed, levels })
    }

    pub fn width(&self) -> usize {
        self.placed.trim.width()
    }

    pub fn height(&self) -> usize {
        self.placed.trim.height()
    }

    pub fn header(&self) -> &Header {
        &self.rows.header
    }

    /// The header as it is after the cut.
    pub fn trimmed_header(&self) -> Header {
        let mut header = self.rows.header.clone();
        if !self.placed.is_plain() {
            trimmed_header(&mut header, &self.placed, &self.levels);
        }
        header
    }

    /// `count` rows from row `from` of the trimmed part on, into `out` (which is cleared first).
    pub fn rows(&self, from: usize, count: usize, out: &mut Vec<f32>) -> Result<(), RowsError> {
        out.clear();
        let first = self.placed.trim.y.0 + from;
        let count = count.min(self.height().saturating_sub(from));
        if self.placed.is_plain() {
            return self.rows.read_into(first, count, out);
        }
        let band = self.rows.rows(first, count)?;
        self.placed.cut(&self.levels, &band, first, out);
        Ok(())
    }
}

/// Why a frame cannot be read without its overscan.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
}
