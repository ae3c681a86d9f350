//! Drafts of GCN circulars, for people to complete and to send: nothing is ever sent from here.
//!
//! The form is that of the circulars' guide: a subject with a keyword the service knows, plain text without tabs, fewer
//! than sixty lines, one event.

use crate::candidates::{Candidate, Kind};

/// What the circular is about.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub event: &'a str,
    pub telescope: &'a str,
    pub site: &'a str,
    /// Start of the exposure, UTC, as in the header.
    pub start: &'a str,
    pub exposure_s: f64,
    pub filter: &'a str,
    pub catalogue: &'a str,
    pub limiting_mag: Option<f64>,
    /// ICRS centre of the frame, degrees.
    pub centre: (f64, f64),
}

/// Candidates that are worth a line.
const MOST: usize = 3;
const LEAST_SCORE: f64 = 0.3;

/// Degrees as hours or degrees, minutes and seconds.
fn sexagesimal(value: f64, sign: bool, decimals: usize) -> String {
    let scale = 10f64.powi(decimals as i32);
    let total = (value.abs() * 3600.0 * scale).round() / scale;
    let (whole, rest) = ((total / 3600.0).floor(), total % 3600.0);
    let (minutes, seconds) = ((rest / 60.0).floor(), rest % 60.0);
    let mark = if !sign {
        ""
    } else if value < 0.0 {
        "-"
    } else {
        "+"
    };
    let width = if decimals > 0 { 3 + decimals } else { 2 };
    format!("{mark}{whole:02}:{minutes:02}:{seconds:0width$.decimals$}")
}

/// The draft: subject, empty line, body.
pub fn draft(seen: &Observation<'_>, candidates: &[Candidate]) -> String {
    let good: Vec<&Candidate> = candidates
        .iter()
        .filter(|c| c.score >= LEAST_SCORE && c.known.is_none() && c.kind != Kind::BrighterThanCatalogue)
        .take(MOST)
        .collect();
    let found = if good.is_empty() {
        "optical upper limit"
    } else {
        "optical counterpart candidate"
    };
    let mut lines = vec![
        format!("Subject: {}: {} {found}", seen.event, seen.telescope),
        String::new(),
        "DRAFT, not sent. Authors, time since trigger and what is in brackets are to be completed.".into(),
        String::new(),
        "[authors] report:".into(),
        String::new(),
        format!(
            "We observed the field of {} [cite the circular of the discovery]",
            seen.event
        ),
        format!("with {} at {}.", seen.telescope, seen.site),
        format!(
            "The exposure of {:.0} s in {} began at {} UTC [T0 + x s], centred on",
            seen.exposure_s, seen.filter, seen.start
        ),
        format!(
            "RA = {}, Dec = {} (J2000).",
            sexagesimal(seen.centre.0 / 15.0, false, 1),
            sexagesimal(seen.centre.1, true, 0)
        ),
        String::new(),
    ];
    for candidate in &good {
        lines.push("We find an uncatalogued source at".into());
        lines.push(format!(
            "RA = {}, Dec = {} (J2000, +/- {:.1} arcsec), {} = {:.2} +/- {:.2}.",
            sexagesimal(candidate.ra / 15.0, false, 2),
            sexagesimal(candidate.dec, true, 1),
            candidate.ra_dec_error_arcsec.max(0.1),
            seen.filter,
            candidate.mag,
            candidate.mag_error
        ));
        if let Some(change) = candidate.change_mag {
            let way = if change > 0.0 { "faded" } else { "brightened" };
            lines.push(format!(
                "It has {way} by {:.2} mag since our first exposure.",
                change.abs()
            ));
        }
    }
    if good.is_empty() {
        lines.push("We find no uncatalogued source.".into());
    }
    if let Some(limit) = seen.limiting_mag {
        lines.push(format!(
            "The limiting magnitude (5 sigma) is {} > {limit:.1}.",
            seen.filter
        ));
    }
    lines.push(String::new());
    lines.push(format!("Magnitudes are calibrated with {},", seen.catalogue));
    lines.push("and not corrected for Galactic extinction.".into());
    lines.push(String::new());
    let ascii = |c: char| if c == '\n' || (' '..='~').contains(&c) { c } else { '?' };
    lines.join("\n").chars().map(ascii).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Observation<'_> = Observation {
        event: "GRB 260314A",
        telescope: "T60",
        site: "Observatoire de Haute-Provence",
        start: "2026-03-14T23:34:00.000",
        exposure_s: 30.0,
        filter: "r",
        catalogue: "Tycho-2",
        limiting_mag: Some(17.93),
        centre: (204.6611, -44.6402),
    };

    #[test]
    fn a_draft_says_what_was_found_in_plain_short_text() {
        let candidate = Candidate {
            kind: Kind::NotInCatalogue,
            ra: 204.6611,
            dec: -0.25,
            ra_dec_error_arcsec: 0.3,
            x: 1.0,
            y: 1.0,
            mag: 15.234,
            mag_error: 0.03,
            snr: 40.0,
            fwhm_ratio: 1.0,
            distance_arcmin: None,
            nearest: None,
            change_mag: Some(0.61),
            detections: 2,
            known: None,
            flags: vec!["fading"],
            score: 0.9,
        };
        let text = draft(&SEEN, &[candidate]);
        assert!(text.starts_with("Subject: GRB 260314A: T60 optical counterpart candidate\n\n"));
        assert!(text.contains("RA = 13:38:38.66, Dec = -00:15:00.0"), "{text}");
        assert!(text.contains("r = 15.23 +/- 0.03") && text.contains("faded by 0.61"));
        assert!(
            text.lines().count() < 60 && text.lines().all(|l| l.len() < 100) && text.is_ascii() && !text.contains('\t')
        );
    }

    #[test]
    fn without_a_candidate_it_is_an_upper_limit() {
        let text = draft(&SEEN, &[]);
        assert!(text.contains("optical upper limit") && text.contains("r > 17.9"));
        assert!(text.contains("Dec = -44:38:25"), "{text}");
    }
}
