//! Metadata of products as ObsCore 1.1 (IVOA Recommendation, 9 May 2017, table 1), taken from FITS keywords.
//!
//! Angles are ICRS degrees, instants MJD (UTC here), wavelengths metres. What a file does not say stays unknown.

use alidade_fits::Header;
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::{fs::File, io::Read, path::Path};

/// One product. `name` is the archive's document; the rest are ObsCore's columns that vary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObsCore {
    pub obs_publisher_did: String,
    pub name: String,
    pub unit: String,
    pub program: String,
    pub sha256: String,
    pub recorded: UtcTime,
    /// `image`, `spectrum`, ...; `None` for what is neither.
    pub dataproduct_type: Option<String>,
    /// 0 raw in the instrument's form, 1 raw in a standard form, 2 calibrated, 3 combined, 4 analysis.
    pub calib_level: i32,
    pub obs_collection: String,
    pub obs_id: String,
    pub access_url: String,
    pub access_format: String,
    /// Kilobytes, rounded up.
    pub access_estsize: i64,
    pub target_name: Option<String>,
    pub s_ra: Option<f64>,
    pub s_dec: Option<f64>,
    /// Diameter of the field, degrees.
    pub s_fov: Option<f64>,
    /// STC-S.
    pub s_region: Option<String>,
    /// Full width at half maximum, arcseconds.
    pub s_resolution: Option<f64>,
    pub s_xel1: Option<i64>,
    pub s_xel2: Option<i64>,
    pub t_min: Option<f64>,
    pub t_max: Option<f64>,
    pub t_exptime: Option<f64>,
    pub em_min: Option<f64>,
    pub em_max: Option<f64>,
    pub o_ucd: Option<String>,
    pub facility_name: Option<String>,
    pub instrument_name: Option<String>,
    pub filter: Option<String>,
}

/// What is known of a product before its file is read.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    pub collection: &'a str,
    pub unit: &'a str,
    pub program: &'a str,
    pub name: &'a str,
    pub sha256: &'a str,
    pub size: u64,
    pub now: UtcTime,
}

/// MJD of JD 0.
const MJD_ZERO: f64 = 2_400_000.5;
/// Longest header that is looked at, bytes.
const HEADER_LIMIT: u64 = 1 << 20;

/// Half-power edges of pass bands, metres: Johnson-Cousins (Bessell 1990, PASP 102, 1181, table 2, from the widths about
/// the effective wavelengths) and SDSS (Fukugita et al. 1996, AJ 111, 1748, table 3).
const BANDS: &[(&str, f64, f64)] = &[
    ("U", 333.5e-9, 399.5e-9),
    ("B", 398.0e-9, 492.0e-9),
    ("V", 507.0e-9, 595.0e-9),
    ("R", 589.0e-9, 727.0e-9),
    ("I", 732.0e-9, 880.0e-9),
    ("u", 321.6e-9, 385.4e-9),
    ("g", 408.5e-9, 546.5e-9),
    ("r", 552.0e-9, 688.0e-9),
    ("i", 691.5e-9, 838.5e-9),
    ("z", 817.5e-9, 960.0e-9),
];

/// Media type of a file by its name.
pub fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "fits" | "fit" | "fts" => "image/fits",
        "fz" => "image/fits",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "json" => "application/json",
        "csv" => "text/csv",
        "xml" => "text/xml",
        "zip" => "application/zip",
        "txt" | "md" | "log" => "text/plain",
        "vot" => "application/x-votable+xml",
        _ => "application/octet-stream",
    }
}

/// The identifier that the world knows a product by.
pub fn publisher_did(collection: &str, name: &str) -> String {
    format!("ivo://{collection}/products?{name}")
}

/// Metadata of a file: from its keywords if it is FITS, else the bare minimum.
pub fn describe(path: &Path, identity: Identity) -> std::io::Result<ObsCore> {
    let mut bytes = Vec::new();
    if media_type(identity.name) == "image/fits" {
        File::open(path)?.take(HEADER_LIMIT).read_to_end(&mut bytes)?;
    }
    let header = Header::parse(&bytes).ok().map(|(header, _)| header);
    Ok(from_header(header.as_ref(), identity))
}

fn text(header: &Header, keywords: &[&str]) -> Option<String> {
    keywords
        .iter()
        .find_map(|keyword| header.get(keyword))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

fn number(header: &Header, keywords: &[&str]) -> Option<f64> {
    keywords
        .iter()
        .find_map(|keyword| header.get_f64(keyword))
        .filter(|value| value.is_finite())
}

/// Degrees from `h:m:s` or `d:m:s`.
fn sexagesimal(text: &str, hours: bool) -> Option<f64> {
    let mut value = 0.0;
    let bare = text.trim().trim_start_matches(['+', '-']);
    let parts: Vec<&str> = bare.split([':', ' ']).filter(|p| !p.is_empty()).collect();
    if parts.len() != 3 {
        return None;
    }
    for (part, unit) in parts.iter().zip([1.0, 60.0, 3600.0]) {
        value += part.parse::<f64>().ok()? / unit;
    }
    let sign = if text.trim().starts_with('-') { -1.0 } else { 1.0 };
    Some(sign * value * if hours { 15.0 } else { 1.0 })
}

fn instant(text: &str) -> Option<f64> {
    let text = text.trim();
    let whole = if text.ends_with('Z') {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    let whole = if whole.contains('T') {
        whole
    } else {
        whole.replace('Z', "T00:00:00Z")
    };
    whole.parse::<UtcTime>().ok().map(|t| t.julian_date() - MJD_ZERO)
}

/// Field diameter and region from the scale and the size of the image.
fn field(header: &Header, ra: f64, dec: f64, size: (f64, f64)) -> Option<(f64, String)> {
    let scale = number(header, &["CD1_1"])
        .map(|a| a.hypot(number(header, &["CD2_1"]).unwrap_or(0.0)))
        .or_else(|| number(header, &["CDELT1"]).map(f64::abs))
        .or_else(|| number(header, &["PIXSCALE", "SECPIX"]).map(|arcsec| arcsec / 3600.0))?;
    let diameter = scale * size.0.hypot(size.1);
    (diameter > 0.0 && diameter < 180.0)
        .then(|| (diameter, format!("CIRCLE ICRS {ra:.6} {dec:.6} {:.6}", diameter / 2.0)))
}

/// The pure part of [`describe`].
pub fn from_header(header: Option<&Header>, identity: Identity) -> ObsCore {
    let mut product = ObsCore {
        obs_publisher_did: publisher_did(identity.collection, identity.name),
        name: identity.name.into(),
        unit: identity.unit.into(),
        program: identity.program.into(),
        sha256: identity.sha256.into(),
        recorded: identity.now,
        dataproduct_type: None,
        calib_level: 2,
        obs_collection: identity.collection.into(),
        obs_id: identity.unit.into(),
        access_url: format!("/api/v1/data/archive/{}", identity.name),
        access_format: media_type(identity.name).into(),
        access_estsize: i64::try_from(identity.size.div_ceil(1024)).unwrap_or(i64::MAX),
        target_name: None,
        s_ra: None,
        s_dec: None,
        s_fov: None,
        s_region: None,
        s_resolution: None,
        s_xel1: None,
        s_xel2: None,
        t_min: None,
        t_max: None,
        t_exptime: None,
        em_min: None,
        em_max: None,
        o_ucd: None,
        facility_name: None,
        instrument_name: None,
        filter: None,
    };
    if let Some(header) = header {
        fill(&mut product, header);
    }
    product
}

fn fill(product: &mut ObsCore, header: &Header) {
    let size = |keyword: &str| header.get_usize(keyword).map(|n| n as i64);
    let is_image = size("NAXIS") >= Some(2);
    product.dataproduct_type = is_image.then(|| "image".into());
    product.o_ucd = is_image.then(|| "phot.count".into());
    let raw = text(header, &["IMAGETYP", "OBSTYPE"]).is_some_and(|kind| kind.to_lowercase().contains("raw"));
    product.calib_level = match text(header, &["CALSTAT", "PIPEVER", "REDUCED"]) {
        _ if raw => 1,
        Some(_) => 2,
        None => 1,
    };
    product.target_name = text(header, &["OBJECT", "TARGET"]);
    product.s_ra = number(header, &["CRVAL1", "RA_DEG", "RA"])
        .or_else(|| sexagesimal(&text(header, &["RA", "OBJCTRA"])?, true))
        .filter(|ra| (0.0..=360.0).contains(ra));
    product.s_dec = number(header, &["CRVAL2", "DEC_DEG", "DEC"])
        .or_else(|| sexagesimal(&text(header, &["DEC", "OBJCTDEC"])?, false))
        .filter(|dec| (-90.0..=90.0).contains(dec));
    product.s_xel1 = is_image.then(|| size("ZNAXIS1").or(size("NAXIS1"))).flatten();
    product.s_xel2 = is_image.then(|| size("ZNAXIS2").or(size("NAXIS2"))).flatten();
    if let (Some(ra), Some(dec), Some(x), Some(y)) = (product.s_ra, product.s_dec, product.s_xel1, product.s_xel2)
        && let Some((diameter, region)) = field(header, ra, dec, (x as f64, y as f64))
    {
        (product.s_fov, product.s_region) = (Some(diameter), Some(region));
    }
    product.s_resolution = number(header, &["FWHM_AS", "SEEING"]).filter(|fwhm| *fwhm > 0.0);
    product.t_exptime = number(header, &["EXPTIME", "EXPOSURE"]).filter(|s| *s >= 0.0);
    product.t_min = number(header, &["MJD-OBS", "MJD-BEG"]).or_else(|| instant(&text(header, &["DATE-OBS"])?));
    product.t_max = number(header, &["MJD-END"])
        .or_else(|| instant(&text(header, &["DATE-END"])?))
        .or_else(|| Some(product.t_min? + product.t_exptime? / 86_400.0));
    product.filter = text(header, &["FILTER", "FILTER1"]);
    if let Some((_, min, max)) = product
        .filter
        .as_deref()
        .and_then(|filter| BANDS.iter().find(|(name, ..)| *name == filter))
    {
        (product.em_min, product.em_max) = (Some(*min), Some(*max));
    }
    product.facility_name = text(header, &["OBSERVAT", "SITENAME", "TELESCOP"]);
    product.instrument_name = text(header, &["INSTRUME", "CAMERA", "DETECTOR"]);
}

/// Great-circle distance in degrees (haversine form, Sinnott 1984, Sky & Telescope 68, 158).
pub fn separation_deg(ra1: f64, dec1: f64, ra2: f64, dec2: f64) -> f64 {
    let (dec1, dec2) = (dec1.to_radians(), dec2.to_radians());
    let a =
        ((dec2 - dec1) / 2.0).sin().powi(2) + dec1.cos() * dec2.cos() * ((ra2 - ra1).to_radians() / 2.0).sin().powi(2);
    2.0 * a.sqrt().min(1.0).asin().to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity<'static> {
        Identity {
            collection: "ohp",
            unit: "s1-20260314",
            program: "ada",
            name: "a.fits",
            sha256: "00",
            size: 4097,
            now: UtcTime::from_unix_micros(0).unwrap(),
        }
    }

    #[test]
    fn keywords_become_columns() {
        let mut header = Header::new();
        header.number("NAXIS", 2, "");
        header.number("NAXIS1", 1000, "");
        header.number("NAXIS2", 1000, "");
        header.number("CRVAL1", 83.633, "");
        header.number("CRVAL2", 22.0145, "");
        header.number("CD1_1", -2.0e-4, "");
        header.number("CD2_1", 0.0, "");
        header.text("DATE-OBS", "2026-03-14T21:00:00.000", "");
        header.number("EXPTIME", 60.0, "");
        header.text("FILTER", "R", "");
        header.text("OBJECT", "M1", "");
        let product = from_header(Some(&header), identity());
        assert_eq!(product.dataproduct_type.as_deref(), Some("image"));
        assert_eq!(product.access_estsize, 5);
        assert!((product.s_fov.unwrap() - 0.282_842_7).abs() < 1e-6);
        // 2026-03-14 is MJD 61113.
        assert!((product.t_min.unwrap() - 61_113.875).abs() < 1e-6);
        assert!((product.t_max.unwrap() - product.t_min.unwrap() - 60.0 / 86_400.0).abs() < 1e-9);
        assert_eq!(product.em_min, Some(589.0e-9));
    }

    #[test]
    fn sexagesimal_positions_and_nonsense_are_told_apart() {
        assert!((sexagesimal("05:34:31.94", true).unwrap() - 83.633_083).abs() < 1e-5);
        assert!((sexagesimal("-00:30:00", false).unwrap() + 0.5).abs() < 1e-12);
        assert_eq!(sexagesimal("north", false), None);
        let mut header = Header::new();
        header.number("CRVAL1", 720.0, "");
        assert_eq!(from_header(Some(&header), identity()).s_ra, None);
    }

    #[test]
    fn a_file_that_is_not_fits_has_the_bare_minimum() {
        let product = from_header(None, identity());
        assert_eq!((product.s_ra, product.dataproduct_type), (None, None));
    }

    #[test]
    fn separations_are_right_at_the_pole_and_across_zero() {
        assert!((separation_deg(0.0, 89.0, 180.0, 89.0) - 2.0).abs() < 1e-9);
        assert!((separation_deg(359.5, 0.0, 0.5, 0.0) - 1.0).abs() < 1e-9);
    }
}
