//! Pixels and circumstances to a FITS file, complete or not at all.
//!
//! Keywords follow the FITS standard 4.0 (section 4.4.2 and WCS papers I and II) and, where it is silent, common usage of
//! robotic telescopes (IMAGETYP, CCD-TEMP, PIERSIDE ...). The WCS is a guess from the pointing: good to the pointing error.

use crate::exposure::{Optics, Wanted};
use alidade_drivers::interface::{Frame, Identity};
use alidade_fits::Header;
use alidade_model::time::{Night, UtcTime};
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, path::Path};

/// Where the frame was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Observatory {
    pub site: String,
    pub lat_deg: f64,
    /// East positive.
    pub lon_deg: f64,
    pub height_m: f64,
    pub telescope: String,
    pub aperture_mm: f64,
    pub focal_length_mm: f64,
}

/// Everything the header says beside the frame itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    pub id: String,
    pub channel: String,
    pub wanted: Wanted,
    pub optics: Optics,
    pub camera: Option<Identity>,
    pub temperature_c: Option<f64>,
    pub observatory: Observatory,
    pub night: Night,
}

/// Writes the file beside its place and renames it there; returns its size and SHA-256.
pub fn write(path: &Path, frame: &Frame, circumstances: &Circumstances) -> Result<(u64, String), String> {
    let bytes = encode(frame, circumstances)?;
    let folder = path.parent().ok_or("no folder")?;
    std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, &bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|e| e.to_string())?;
    let mut sha256 = String::with_capacity(64);
    for byte in Sha256::digest(&bytes) {
        write!(sha256, "{byte:02x}").map_err(|e| e.to_string())?;
    }
    Ok((bytes.len() as u64, sha256))
}

/// One file as bytes.
pub fn encode(frame: &Frame, c: &Circumstances) -> Result<Vec<u8>, String> {
    let mut header = Header::new();
    describe(&mut header, frame, c);
    if frame.pixels.is_empty() {
        return Ok(alidade_fits::write_header_only(&header));
    }
    alidade_fits::write_u16(&header, frame.width, frame.height, &frame.pixels).map_err(|e| e.to_string())
}

fn iso(time: UtcTime) -> String {
    time.chrono().format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

fn describe(cards: &mut Header, frame: &Frame, c: &Circumstances) {
    let (w, o) = (&c.wanted, &c.observatory);
    cards.text("OBJECT", &w.object, "what was observed");
    cards.text("IMAGETYP", w.kind.imagetyp(), "kind of frame");
    cards.text("DATE-OBS", &iso(frame.started_at), "[UTC] shutter opened");
    cards.text(
        "DATE-AVG",
        &iso(frame.started_at.plus_seconds(frame.exposure_s / 2.0)),
        "[UTC] middle of exposure",
    );
    cards.text("TIMESYS", "UTC", "");
    cards.number(
        "MJD-OBS",
        format!("{:.8}", frame.started_at.julian_date() - 2_400_000.5),
        "[d] shutter opened",
    );
    cards.number("EXPTIME", format!("{:.3}", frame.exposure_s), "[s] shutter open");
    cards.text("FILTER", &w.filter, "");
    cards.number("XBINNING", w.binning, "");
    cards.number("YBINNING", w.binning, "");
    cards.number("GAIN", format!("{:.3}", c.optics.gain_e_adu), "[e-/ADU]");
    if let Some(temperature) = c.temperature_c {
        cards.number("CCD-TEMP", format!("{temperature:.2}"), "[degC] detector");
    }
    if let Some(camera) = &c.camera {
        cards.text("INSTRUME", &camera.model, "");
        cards.text("FWVERS", &camera.version, "camera firmware");
    }
    cards.text("CHANNEL", &c.channel, "instrument channel");
    cards.text("TELESCOP", &o.telescope, "");
    cards.number("APTDIA", format!("{:.1}", o.aperture_mm), "[mm] aperture");
    cards.number("FOCALLEN", format!("{:.1}", o.focal_length_mm), "[mm]");
    cards.text("SITENAME", &o.site, "");
    cards.number("SITELAT", format!("{:.6}", o.lat_deg), "[deg] north positive");
    cards.number("SITELONG", format!("{:.6}", o.lon_deg), "[deg] east positive");
    cards.number("SITEELEV", format!("{:.1}", o.height_m), "[m]");
    cards.text("OBSERVER", &w.user, "account");
    cards.text("NIGHT", &c.night.to_string(), "evening date");
    cards.text("OBSID", &c.id, "exposure");
    if let Some(sequence) = &w.sequence {
        cards.text("SEQID", sequence, "sequence");
    }
    if let Some(event) = &w.event {
        cards.text("EVENTID", event, "alert event");
    }
    if let Some((alt, az)) = w.alt_az {
        cards.number("ALTITUDE", format!("{alt:.4}"), "[deg]");
        cards.number("AZIMUTH", format!("{az:.4}"), "[deg] north 0, east 90");
        if alt > 3.0 {
            cards.number("AIRMASS", format!("{:.4}", airmass(alt)), "Pickering 2002");
        }
    }
    if let Some((ra, dec)) = w.pointing {
        wcs(cards, frame, c, ra, dec);
    }
    cards.text("ORIGIN", "Alidade", "");
    cards.text("PROGRAM", concat!("alidade ", env!("CARGO_PKG_VERSION")), "");
}

/// Airmass by Pickering 2002 (DIO 12, p. 20), good to the horizon; `alt_deg` is the apparent altitude.
fn airmass(alt_deg: f64) -> f64 {
    1.0 / (alt_deg + 244.0 / (165.0 + 47.0 * alt_deg.powf(1.1)))
        .to_radians()
        .sin()
}

/// A gnomonic WCS with the pointing in the middle (FITS WCS paper II).
fn wcs(cards: &mut Header, frame: &Frame, c: &Circumstances, ra: f64, dec: f64) {
    let scale = c.optics.scale_arcsec * f64::from(c.wanted.binning) / 3600.0;
    let (sin, cos) = c.optics.rotation_deg.to_radians().sin_cos();
    cards.number("RA", format!("{ra:.7}"), "[deg] pointing");
    cards.number("DEC", format!("{dec:.7}"), "[deg] pointing");
    cards.text("RADESYS", "ICRS", "");
    cards.number("EQUINOX", "2000.0", "");
    cards.number("WCSAXES", 2, "");
    cards.text("CTYPE1", "RA---TAN", "");
    cards.text("CTYPE2", "DEC--TAN", "");
    cards.text("CUNIT1", "deg", "");
    cards.text("CUNIT2", "deg", "");
    cards.number("CRVAL1", format!("{ra:.7}"), "[deg] pointing, a guess");
    cards.number("CRVAL2", format!("{dec:.7}"), "[deg]");
    cards.number("CRPIX1", format!("{:.1}", frame.width as f64 / 2.0 + 0.5), "");
    cards.number("CRPIX2", format!("{:.1}", frame.height as f64 / 2.0 + 0.5), "");
    // North up and east left at position angle 0.
    cards.number("CD1_1", format!("{:.9E}", -scale * cos), "");
    cards.number("CD1_2", format!("{:.9E}", scale * sin), "");
    cards.number("CD2_1", format!("{:.9E}", scale * sin), "");
    cards.number("CD2_2", format!("{:.9E}", scale * cos), "");
}
