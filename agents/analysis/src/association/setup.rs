//! What a header tells of the instrument that a frame was taken with.

use alidade_fits::Header;
use alidade_model::time::UtcTime;
use serde::Serialize;

/// What a master is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Bias,
    Dark,
    Flat,
    /// Bad pixels.
    Mask,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Bias, Kind::Dark, Kind::Flat, Kind::Mask];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bias => "master bias",
            Kind::Dark => "master dark",
            Kind::Flat => "master flat",
            Kind::Mask => "bad-pixel mask",
        }
    }

    /// First letters of the header keywords that say which master was used.
    pub fn keyword(self) -> &'static str {
        match self {
            Kind::Bias => "BIAS",
            Kind::Dark => "DARK",
            Kind::Flat => "FLAT",
            Kind::Mask => "MASK",
        }
    }

    /// The kind of master that a header speaks of; `None` of a single frame. A file is a master if IMAGETYP says so, or
    /// NCOMBINE that it was made of several.
    pub fn of(header: &Header) -> Option<Self> {
        let kind = header.get("IMAGETYP")?.to_ascii_lowercase();
        if kind.contains("bad pixel") {
            return Some(Kind::Mask);
        }
        let combined = header.get_usize("NCOMBINE").is_some_and(|n| n > 1);
        if !(combined || kind.starts_with("master")) {
            return None;
        }
        let has = |word: &str| kind.contains(word);
        match () {
            () if has("bias") || has("zero") => Some(Kind::Bias),
            () if has("dark") => Some(Kind::Dark),
            () if has("flat") => Some(Kind::Flat),
            () => None,
        }
    }
}

/// What a frame was taken with.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Setup {
    /// INSTRUME and CHANNEL.
    pub instrument: Option<String>,
    pub channel: Option<String>,
    pub filter: Option<String>,
    /// Detector pixels of a pixel, along x and y.
    pub binning: (usize, usize),
    /// As the header writes it: electrons per unit, or the camera's own setting.
    pub gain: Option<f64>,
    /// Of the detector, degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Width and height without overscan, pixels.
    pub size: (usize, usize),
    /// Modified Julian date of the exposure, days UTC.
    pub mjd: Option<f64>,
}

impl Setup {
    /// What a header tells of a frame of this size.
    pub fn of(header: &Header, size: (usize, usize)) -> Self {
        let text = |key: &str| header.get(key).filter(|v| !v.is_empty());
        let number = |keys: &[&str]| keys.iter().find_map(|k| header.get_f64(k));
        let binning = |key: &str| header.get_usize(key).filter(|n| *n > 0);
        let across = binning("XBINNING").unwrap_or(1);
        Self {
            instrument: text("INSTRUME"),
            channel: text("CHANNEL"),
            filter: text("FILTER"),
            binning: (across, binning("YBINNING").unwrap_or(across)),
            gain: number(&["GAIN", "EGAIN"]),
            temperature_c: number(&["CCD-TEMP", "CCDTEMP", "DET-TEMP"]),
            size,
            mjd: number(&["MJD-OBS"]).or_else(|| mjd_of(&text("DATE-OBS")?)),
        }
    }
}

/// Modified Julian date of a DATE-OBS, days UTC.
pub fn mjd_of(date: &str) -> Option<f64> {
    let zoned = if date.contains('T') {
        format!("{}Z", date.trim_end_matches('Z'))
    } else {
        format!("{date}T00:00:00Z")
    };
    let time: UtcTime = zoned.parse().ok()?;
    Some(time.julian_date() - 2_400_000.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_people_write_them() {
        let mut header = Header::new();
        header.text("DATE-OBS", "2026-03-14T12:00:00.5", "");
        header.number("XBINNING", 2, "");
        header.text("IMAGETYP", "Dark Frame", "");
        let setup = Setup::of(&header, (10, 20));
        assert!((setup.mjd.unwrap() - 61_113.500_005_787).abs() < 1e-8, "{setup:?}");
        assert_eq!((setup.binning, setup.gain), ((2, 2), None));
        assert_eq!(mjd_of("2026-03-14"), Some(61_113.0));
        assert_eq!(Kind::of(&header), None);
        header.number("NCOMBINE", 9, "");
        assert_eq!(Kind::of(&header), Some(Kind::Dark));
        header.text("IMAGETYP", "master flat r", "");
        assert_eq!(Kind::of(&header), Some(Kind::Flat));
    }
}
