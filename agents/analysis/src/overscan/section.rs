//! Rectangles of pixels.

use alidade_fits::Image;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A rectangle of pixels: first, and one past the last, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Section {
    pub x: (usize, usize),
    pub y: (usize, usize),
}

impl FromStr for Section {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a section like [1:32,1:1024]");
        let inner = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let (x, y) = inner.and_then(|t| t.split_once(',')).ok_or_else(wrong)?;
        let range = |part: &str| {
            let (first, last) = part.split_once(':')?;
            let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            // Some cameras write a flipped axis backwards.
            let (first, last) = (first.min(last), first.max(last));
            (first >= 1).then(|| (first - 1, last))
        };
        Ok(Self {
            x: range(x).ok_or_else(wrong)?,
            y: range(y).ok_or_else(wrong)?,
        })
    }
}

impl TryFrom<String> for Section {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:{},{}:{}]", self.x.0 + 1, self.x.1, self.y.0 + 1, self.y.1)
    }
}

impl From<Section> for String {
    fn from(section: Section) -> Self {
        section.to_string()
    }
}

impl Section {
    pub fn whole(width: usize, height: usize) -> Self {
        Self {
            x: (0, width),
            y: (0, height),
        }
    }

    pub fn width(&self) -> usize {
        self.x.1 - self.x.0
    }

    pub fn height(&self) -> usize {
        self.y.1 - self.y.0
    }

    /// Whether it has pixels, all of them within an image of this size.
    pub fn lies_in(&self, width: usize, height: usize) -> bool {
        self.x.0 < self.x.1 && self.y.0 < self.y.1 && self.x.1 <= width && self.y.1 <= height
    }

    /// In pixels of `binning` by `binning` of the detector's own.
    pub fn binned(&self, binning: usize) -> Self {
        let by = |(from, to): (usize, usize)| (from.div_ceil(binning.max(1)), to / binning.max(1));
        Self {
            x: by(self.x),
            y: by(self.y),
        }
    }

    /// What an image has here; `None` where it reaches beyond.
    pub fn of(&self, image: &Image) -> Option<Image> {
        if !self.lies_in(image.width, image.height) {
            return None;
        }
        let rows = self.y.0..self.y.1;
        let row = |y: usize| &image.pixels[y * image.width + self.x.0..y * image.width + self.x.1];
        Some(Image {
            width: self.width(),
            height: self.height(),
            pixels: rows.flat_map(|y| row(y).iter().copied()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_as_written_and_a_bad_one_is_refused() {
        let section: Section = "[41:48,1:64]".parse().unwrap();
        assert_eq!((section.x, section.y), ((40, 48), (0, 64)));
        assert_eq!(section.to_string(), "[41:48,1:64]");
        assert_eq!("[48:41,64:1]".parse::<Section>().unwrap(), section);
        for bad in [
            "",
            "[1:2]",
            "[0:5,1:5]",
            "1:2,3:4",
            "[a:b,1:2]",
            "[1:2,3:99999999999999999999999]",
        ] {
            assert!(bad.parse::<Section>().is_err(), "{bad}");
        }
        assert_eq!(section.binned(2).x, (20, 24));
    }
}
