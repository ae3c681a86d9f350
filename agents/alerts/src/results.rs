//! What the observatory tells about an event: the report as a document, and a draft of a circular for people.
//!
//! The report's shape is `agents/alerts/schemas/alert-report.schema.json`. The draft follows the style guide of GCN
//! Circulars (title, authors, text in the third person, times in UT, errors with their containment); it is never sent
//! by itself: a person reads it, adds what was seen, and sends it.

use alidade_model::alert::{AlertReport, REPORT_SCHEMA};
use alidade_model::states::EventState;
use alidade_model::time::UtcTime;

use crate::record::AlertRecord;

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The site, as people call it.
    pub site: String,
    /// The telescope, as people call it.
    pub telescope: String,
}

/// The report of an event as it stands: its next revision.
#[must_use]
pub fn report(record: &AlertRecord, reporter: &Reporter) -> AlertReport {
    let status = if record.state == EventState::Retracted {
        "retracted"
    } else if record.frames.iter().any(|f| f.sources.is_some()) {
        "reduced"
    } else {
        "first_light"
    };
    AlertReport {
        schema: REPORT_SCHEMA,
        event: record.event.clone(),
        revision: record.published.as_ref().map_or(0, |p| p.revision) + 1,
        status: status.to_owned(),
        name: record.name.clone(),
        site: reporter.site.clone(),
        telescope: reporter.telescope.clone(),
        strategy: record.strategy.clone(),
        request: record.request.clone(),
        trigger_time: record.stages.get("event").copied(),
        ra_deg: record.ra_deg,
        dec_deg: record.dec_deg,
        r90_deg: record.r90_deg,
        covered: record.coverage.as_ref().and_then(|c| c.covered),
        stages: record.stages.clone(),
        frames: record.frames.clone(),
        searched: record.searched,
        candidates: record.candidates.clone(),
    }
}

/// The file that holds the report of an event, below the outbox; the draft is beside it.
#[must_use]
pub fn file_name(report: &AlertReport) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    report.event.chars().map(plain).collect()
}

/// Seconds for people.
fn delay(seconds: f64) -> String {
    match seconds {
        s if s < 600.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.2} h", s / 3600.0),
    }
}

fn ut(at: UtcTime) -> String {
    at.chrono().format("%Y-%m-%d %H:%M:%S UT").to_string()
}

/// A circular's text, for a person to complete.
#[must_use]
pub fn draft(report: &AlertReport) -> String {
    // Mission names and numbers come from outside.
    let name = crate::reason::printable(&report.name, 80);
    let mut lines = vec![
        "DRAFT, NOT SENT. Read it, complete it, and send it yourself, or not at all.".to_owned(),
        String::new(),
    ];
    if report.status == "retracted" {
        lines.push(format!(
            "THE EVENT WAS RETRACTED. Do not send this unless {name} is real after all."
        ));
        lines.push(String::new());
    }
    lines.push(format!("SUBJECT: {name}: {} optical observations", report.telescope));
    lines.push(String::new());
    lines.push("[AUTHORS] report:".to_owned());
    lines.push(String::new());
    lines.push(observed(report, &name));
    if let (Some(ra), Some(dec)) = (report.ra_deg, report.dec_deg) {
        let error = report.r90_deg.map_or_else(String::new, |r90| {
            format!(", error radius {} (90 % containment)", angle(r90))
        });
        lines.push(format!(
            "The position was RA, Dec (J2000) = {ra:.5}, {dec:+.5} degrees{error}."
        ));
    }
    if let Some(covered) = report.covered {
        lines.push(format!(
            "The observed fields hold {:.0} % of the localisation probability.",
            covered * 100.0
        ));
    }
    lines.push(String::new());
    lines.extend(table(report));
    lines.push(String::new());
    if report.candidates.is_empty() && report.searched == 0 {
        lines.push("[RESULT: no counterpart was looked for yet, or describe what was found.]".to_owned());
    } else if report.candidates.is_empty() {
        lines.push(format!(
            "No new source was found automatically in {} frames. [LIMITING MAGNITUDE, and whether a person has looked.]",
            report.searched
        ));
    } else {
        lines.push("Candidate counterparts:".to_owned());
        lines.extend(report.candidates.iter().map(|c| {
            let mag = match (c.mag, c.mag_err) {
                (Some(mag), Some(err)) => format!("{} = {mag:.2} +/- {err:.2}", c.filter),
                (Some(mag), None) => format!("{} = {mag:.2}", c.filter),
                _ => c.filter.clone(),
            };
            format!("RA, Dec = {:.5}, {:+.5}; {mag}; {}", c.ra_deg, c.dec_deg, c.note)
        }));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn angle(deg: f64) -> String {
    match deg {
        d if d >= 1.0 => format!("{d:.1} deg"),
        d if d >= 1.0 / 60.0 => format!("{:.1} arcmin", d * 60.0),
        d => format!("{:.1} arcsec", d * 3600.0),
    }
}

fn observed(report: &AlertReport, name: &str) -> String {
    let begun = report
        .frames
        .first()
        .map(|f| f.started_at)
        .or(report.stages.get("first_light").copied());
    let mut text = format!("{} at {} observed the field of {name}", report.telescope, report.site);
    if let Some(begun) = begun {
        text.push_str(&format!(" from {}", ut(begun)));
        if let Some(trigger) = report.trigger_time {
            text.push_str(&format!(", {} after the trigger", delay(begun.seconds_since(trigger))));
        }
        if let Some(received) = report.stages.get("received") {
            text.push_str(&format!(
                " and {} after the notice",
                delay(begun.seconds_since(*received))
            ));
        }
    }
    text.push('.');
    text
}

fn table(report: &AlertReport) -> Vec<String> {
    let mut lines = vec!["start (UT)               T-T0        filter  exposure  sources".to_owned()];
    lines.extend(report.frames.iter().map(|frame| {
        format!(
            "{}  {:>10}  {:>6}  {:>6.1} s  {}",
            frame.started_at.chrono().format("%Y-%m-%d %H:%M:%S.%3f"),
            frame.since_trigger_s.map_or_else(|| "-".to_owned(), delay),
            frame.filter,
            frame.exposure_s,
            frame.sources.map_or_else(|| "-".to_owned(), |n| n.to_string()),
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::alert::{Candidate, ReportedFrame};
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn full() -> AlertReport {
        let at = |text: &str| -> UtcTime { text.parse().unwrap() };
        AlertReport {
            schema: REPORT_SCHEMA,
            event: "event-3".into(),
            revision: 2,
            status: "reduced".into(),
            name: "SVOM sb26022501".into(),
            site: "Observatoire de Haute-Provence".into(),
            telescope: "T1".into(),
            strategy: Some("grb-arcmin".into()),
            request: Some("alert-3-1".into()),
            trigger_time: Some(at("2026-03-14T23:31:05Z")),
            ra_deg: Some(204.6611),
            dec_deg: Some(44.6402),
            r90_deg: Some(0.1),
            covered: Some(0.94),
            stages: [("received".to_owned(), at("2026-03-14T23:32:10Z"))].into(),
            frames: vec![ReportedFrame {
                exposure: "x-vis".into(),
                channel: "vis".into(),
                filter: "r".into(),
                exposure_s: 10.0,
                started_at: at("2026-03-14T23:32:35Z"),
                since_trigger_s: Some(90.0),
                fwhm_px: Some(2.4),
                sources: Some(120),
                background: Some(200.0),
                path: Some("2026-03-14/x.fits".into()),
                degradations: vec!["no dark".into()],
            }],
            searched: 2,
            candidates: vec![Candidate {
                ra_deg: 204.66,
                dec_deg: 44.64,
                err_arcsec: Some(0.5),
                filter: "r".into(),
                mag: Some(16.2),
                mag_err: Some(0.1),
                exposure: "x-vis".into(),
                note: "not in Gaia".into(),
            }],
        }
    }

    #[test]
    fn the_draft_says_what_a_circular_says_and_that_it_is_a_draft() {
        let text = draft(&full());
        assert!(text.starts_with("DRAFT, NOT SENT."));
        for words in [
            "SUBJECT: SVOM sb26022501: T1 optical observations",
            "from 2026-03-14 23:32:35 UT, 90 s after the trigger and 25 s after the notice.",
            "204.66110, +44.64020 degrees, error radius 6.0 arcmin (90 % containment)",
            "94 % of the localisation probability",
            "r = 16.20 +/- 0.10; not in Gaia",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        let empty = AlertReport {
            candidates: vec![],
            ..full()
        };
        assert!(draft(&empty).contains("No new source was found automatically in 2 frames."));
        let hostile = AlertReport {
            name: "x\u{1b}[31m".into(),
            status: "retracted".into(),
            ..full()
        };
        let text = draft(&hostile);
        assert!(!text.contains('\u{1b}') && text.contains("RETRACTED"), "{text}");
    }

    /// The schema is the documentation: it must know every key that is written, and nothing else.
    #[test]
    fn the_documented_schema_is_the_shape_that_is_written() {
        let text = include_str!("../schemas/alert-report.schema.json");
        let schema: Value = serde_json::from_str(text).unwrap();
        let written = serde_json::to_value(full()).unwrap();
        same_keys("", &schema, &written);
        same_keys("/properties/frames/items", &schema, &written["frames"][0]);
        same_keys("/properties/candidates/items", &schema, &written["candidates"][0]);
    }

    fn same_keys(pointer: &str, schema: &Value, written: &Value) {
        let table = schema.pointer(pointer).unwrap();
        let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(keys(&table["properties"]), keys(written), "{pointer}");
        let required = table["required"].as_array().unwrap().len();
        assert_eq!(required, keys(written).len(), "every key is always there");
    }
}
