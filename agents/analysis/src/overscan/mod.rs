//! The part of a detector that sees no light, and the part that does.
//!
//! Terms:
//! - *section*: a rectangle of pixels as FITS keywords write it, `[x1:x2,y1:y2]`, counted from 1, both ends included
//!   (NOAO convention; IRAF `ccdproc`).
//! - *overscan*: columns or rows that were read without pixels behind them: they hold the bias level of this very frame
//!   (BIASSEC).
//! - *trim*: what is kept (TRIMSEC, else DATASEC).

mod level;
mod rows;
mod section;

pub use rows::{TrimError, TrimmedRows};
pub use section::Section;

use alidade_fits::{Header, Image};
use level::{middle, smoothed};
use serde::{Deserialize, Serialize};

/// How the level of the overscan follows the read-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// One level for the whole frame: the median of the strip.
    Level,
    /// Each row (or column, of a strip of rows) its own median: takes banding off, at the price of the strip's noise.
    Each,
    /// The medians smoothed by a cubic in the row number, clipped at three scatters: follows a slope, adds no noise.
    #[default]
    Smooth,
}

/// Where a detector is blind and where it is not; `None` leaves it to the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    pub overscan: Option<Section>,
    pub trim: Option<Section>,
    pub follow: Follow,
    /// The header's own sections are not believed.
    pub ignore_header: bool,
}

impl Layout {
    /// Neither overscan nor trim, whatever a header says.
    pub const NONE: Layout = Layout {
        overscan: None,
        trim: None,
        follow: Follow::Smooth,
        ignore_header: true,
    };
}

/// What can be wrong with a layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("the overscan {0} is not within the frame of {1} x {2}")]
    Overscan(Section, usize, usize),
    #[error("the trimmed part {0} is not within the frame of {1} x {2}")]
    Trim(Section, usize, usize),
}

/// The layout of one frame, checked against its size.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    overscan: Option<Section>,
    pub trim: Section,
    follow: Follow,
    width: usize,
    height: usize,
}

/// The sections of a frame: what is configured (in the detector's own pixels), else what its header says (in the
/// frame's). A header that points outside its frame is not believed and said in the list; a configured section is an
/// error.
pub fn place(
    header: &Header,
    width: usize,
    height: usize,
    layout: &Layout,
) -> Result<(Placed, Vec<String>), LayoutError> {
    let binning = header.get_usize("XBINNING").unwrap_or(1).max(1);
    let mut notes = Vec::new();
    let mut read = |keys: &[&str]| {
        let found = keys
            .iter()
            .filter(|_| !layout.ignore_header)
            .find_map(|k| Some((*k, header.get(k)?)));
        let (key, text) = found?;
        let section = text
            .parse::<Section>()
            .ok()
            .filter(|section| section.lies_in(width, height));
        if section.is_none() {
            notes.push(format!("{key} {text} is not within the frame: not used"));
        }
        section
    };
    let overscan = match layout.overscan.map(|s| s.binned(binning)) {
        Some(section) if !section.lies_in(width, height) => {
            return Err(LayoutError::Overscan(section, width, height));
        }
        Some(section) => Some(section),
        None => read(&["BIASSEC"]),
    };
    let trim = match layout.trim.map(|s| s.binned(binning)) {
        Some(section) if !section.lies_in(width, height) => return Err(LayoutError::Trim(section, width, height)),
        Some(section) => section,
        None => read(&["TRIMSEC", "DATASEC"]).unwrap_or(Section::whole(width, height)),
    };
    let placed = Placed {
        overscan,
        trim,
        follow: layout.follow,
        width,
        height,
    };
    Ok((placed, notes))
}

/// What is taken off.
#[derive(Debug, Clone, PartialEq)]
enum Levels {
    None,
    One(f32),
    Rows(Vec<f32>),
    Columns(Vec<f32>),
}

impl Placed {
    /// Nothing to take off and nothing to cut.
    pub fn is_plain(&self) -> bool {
        self.overscan.is_none() && self.trim == Section::whole(self.width, self.height)
    }

    pub fn has_overscan(&self) -> bool {
        self.overscan.is_some()
    }

    /// Levels from the strip, its pixels row by row.
    fn levels(&self, strip: &Image) -> Levels {
        let Some(section) = self.overscan else {
            return Levels::None;
        };
        // A strip beside the light follows the rows, one above or below it the columns.
        let covers = |a: (usize, usize), b: (usize, usize)| a.0 <= b.0 && a.1 >= b.1;
        let by_rows = covers(section.y, self.trim.y);
        let by_columns = !by_rows && covers(section.x, self.trim.x);
        if self.follow == Follow::Level || !(by_rows || by_columns) {
            return Levels::One(middle(strip.pixels.iter().copied()));
        }
        let each: Vec<f32> = if by_rows {
            strip
                .pixels
                .chunks(strip.width)
                .map(|row| middle(row.iter().copied()))
                .collect()
        } else {
            let column = |x: usize| strip.pixels.iter().skip(x).step_by(strip.width).copied();
            (0..strip.width).map(|x| middle(column(x))).collect()
        };
        let each = if self.follow == Follow::Smooth {
            smoothed(&each)
        } else {
            each
        };
        // By the number of the row in the whole frame.
        let first = if by_rows { section.y.0 } else { section.x.0 };
        let count = if by_rows { self.height } else { self.width };
        let whole = (0..count).map(|n| each[n.clamp(first, first + each.len() - 1) - first]);
        if by_rows {
            Levels::Rows(whole.collect())
        } else {
            Levels::Columns(whole.collect())
        }
    }

    /// Takes the levels off rows from number `first` of the whole frame on, and keeps what the trim keeps of them.
    fn cut(&self, levels: &Levels, rows: &[f32], first: usize, out: &mut Vec<f32>) {
        for (n, row) in rows.chunks(self.width).enumerate() {
            let y = first + n;
            if !(self.trim.y.0..self.trim.y.1).contains(&y) {
                continue;
            }
            let row = &row[self.trim.x.0..self.trim.x.1];
            match levels {
                Levels::None => out.extend_from_slice(row),
                Levels::One(level) => out.extend(row.iter().map(|v| v - level)),
                Levels::Rows(by_row) => out.extend(row.iter().map(|v| v - by_row[y])),
                Levels::Columns(by_column) => {
                    out.extend(row.iter().zip(&by_column[self.trim.x.0..]).map(|(v, l)| v - l));
                }
            }
        }
    }
}

/// Takes the overscan off a frame and cuts it to its trimmed part; the header says so and follows.
pub fn apply(header: &mut Header, image: Image, placed: &Placed) -> Image {
    if placed.is_plain() {
        return image;
    }
    let levels = placed
        .overscan
        .and_then(|s| s.of(&image))
        .map_or(Levels::None, |strip| placed.levels(&strip));
    let mut pixels = Vec::with_capacity(placed.trim.width() * placed.trim.height());
    placed.cut(&levels, &image.pixels, 0, &mut pixels);
    trimmed_header(header, placed, &levels);
    Image {
        width: placed.trim.width(),
        height: placed.trim.height(),
        pixels,
    }
}

/// Says what was done, and moves the reference pixel with the cut.
fn trimmed_header(header: &mut Header, placed: &Placed, levels: &Levels) {
    for key in ["BIASSEC", "TRIMSEC", "DATASEC", "CCDSEC"] {
        header.remove(key);
    }
    let mean = match levels {
        Levels::None => None,
        Levels::One(level) => Some(*level),
        Levels::Rows(all) | Levels::Columns(all) => Some(all.iter().sum::<f32>() / all.len() as f32),
    };
    if let (Some(mean), Some(section)) = (mean, placed.overscan) {
        header.number("OVERSCAN", format!("{mean:.3}"), "[ADU] mean overscan taken off");
        header.history(&format!("overscan {section} taken off"));
    }
    moved(header, placed.trim);
    header.history(&format!("trimmed to {}", placed.trim));
}

/// Moves the reference pixel of the world coordinates to where it is in a part of the frame.
pub fn moved(header: &mut Header, part: Section) {
    for (key, from) in [("CRPIX1", part.x.0), ("CRPIX2", part.y.0)] {
        if from > 0
            && let Some(value) = header.get_f64(key)
        {
            header.number(key, format!("{:.6}", value - from as f64), "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 columns of light (level 500 above a slope of the bias along the rows) beside 8 of overscan; 64 rows.
    fn frame(bias: impl Fn(usize) -> f32) -> Image {
        let pixels = (0..64).flat_map(|y| {
            let bias = bias(y);
            (0..48).map(move |x| {
                if x < 40 {
                    bias + 500.0
                } else {
                    bias + if x == 44 { 9.0 } else { 0.0 }
                }
            })
        });
        Image {
            width: 48,
            height: 64,
            pixels: pixels.collect(),
        }
    }

    fn header() -> Header {
        let mut header = Header::new();
        header.text("BIASSEC", "[41:48,1:64]", "");
        header.text("TRIMSEC", "[3:40,1:64]", "");
        header.number("CRPIX1", "24.5", "");
        header
    }

    #[test]
    fn a_sloping_bias_is_taken_off_by_the_overscan_of_the_frame_itself() {
        let slope = |y: usize| 1000.0 + 0.5 * y as f32 - 0.002 * (y * y) as f32;
        for follow in [Follow::Each, Follow::Smooth] {
            let mut header = header();
            let layout = Layout {
                follow,
                ..Layout::default()
            };
            let (placed, notes) = place(&header, 48, 64, &layout).unwrap();
            assert!(notes.is_empty());
            let image = apply(&mut header, frame(slope), &placed);
            assert_eq!((image.width, image.height), (38, 64));
            let worst = image.pixels.iter().map(|p| (p - 500.0).abs()).fold(0f32, f32::max);
            assert!(worst < 0.01, "{follow:?} {worst}");
            assert_eq!(header.get_f64("CRPIX1"), Some(22.5));
            assert_eq!(header.get("BIASSEC"), None);
        }
    }

    #[test]
    fn one_wild_row_of_the_strip_bends_the_smooth_level_nowhere() {
        let mut image = frame(|_| 1000.0);
        image.pixels[20 * 48 + 40..21 * 48].fill(30_000.0);
        let mut header = header();
        let (placed, _) = place(&header, 48, 64, &Layout::default()).unwrap();
        let image = apply(&mut header, image, &placed);
        assert!(image.pixels.iter().all(|p| (p - 500.0).abs() < 0.01));
    }

    #[test]
    fn a_header_that_lies_is_not_believed_and_a_setting_that_lies_is_an_error() {
        let mut header = Header::new();
        header.text("BIASSEC", "[1041:1048,1:64]", "");
        let (placed, notes) = place(&header, 48, 64, &Layout::default()).unwrap();
        assert!(placed.is_plain() && notes.len() == 1, "{notes:?}");
        let wrong = Layout {
            trim: "[1:100,1:64]".parse().ok(),
            ..Layout::default()
        };
        assert!(matches!(place(&header, 48, 64, &wrong), Err(LayoutError::Trim(..))));
    }

    #[test]
    fn a_strip_below_the_light_follows_the_columns() {
        let image = Image {
            width: 30,
            height: 12,
            pixels: (0..12)
                .flat_map(|y| (0..30).map(move |x| x as f32 + if y < 4 { 0.0 } else { 100.0 }))
                .collect(),
        };
        let layout = Layout {
            overscan: "[1:30,1:4]".parse().ok(),
            trim: "[1:30,5:12]".parse().ok(),
            follow: Follow::Each,
            ..Layout::default()
        };
        let mut header = Header::new();
        let (placed, _) = place(&header, 30, 12, &layout).unwrap();
        let out = apply(&mut header, image, &placed);
        assert!(out.pixels.iter().all(|p| *p == 100.0) && out.height == 8);
    }

    #[test]
    fn rows_of_a_file_are_those_of_the_whole_frame_without_its_overscan() {
        let image = frame(|y| 900.0 + y as f32);
        let path = std::env::temp_dir().join(format!("alidade-overscan-{}.fits", std::process::id()));
        std::fs::write(&path, alidade_fits::write_f32(&header(), &image).unwrap()).unwrap();
        let rows = TrimmedRows::open(&path, &Layout::default()).unwrap();
        let (mut header, image) = alidade_fits::read(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (placed, _) = place(&header, 48, 64, &Layout::default()).unwrap();
        let whole = apply(&mut header, image, &placed);
        let mut band = Vec::new();
        rows.rows(10, 7, &mut band).unwrap();
        assert_eq!(band, whole.pixels[10 * 38..17 * 38]);
        assert_eq!((rows.width(), rows.height()), (38, 64));
    }
}
