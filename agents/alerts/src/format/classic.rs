//! GCN's classic text notices: `NAME: value` lines, as sent by e-mail and over `gcn.classic.text.*`.
//!
//! Only lines whose meaning is fixed are read: title, type, trigger number, position (J2000), error, date (TJD) and time
//! (seconds of day). Names differ in their first word (`GRB_RA`, `SRC_RA`, `EVENT_RA`, ...).

use sha2::{Digest, Sha256};

use super::where_when::decimal;
use super::{Draft, hex, names_a_test, slug};
use crate::instant;
use crate::limits::Limits;
use crate::notice::{Class, Flag, Notice, Position, Role, TimeKind};
use crate::reason::{Reason, Refusal};

const PREFIXES: &[&str] = &["GRB", "SRC", "EVENT", "BURST", "TRANS", "TRIGGER", "POINT", "CNTRPART"];

struct Lines<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Lines<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| *v)
    }

    /// The value of `*_suffix`, whatever kind of thing the notice is about.
    fn of(&self, suffix: &str) -> Option<&'a str> {
        PREFIXES
            .iter()
            .find_map(|prefix| self.get(&format!("{prefix}_{suffix}")))
    }
}

/// The number at the start of a text: `74.741d {...}` gives 74.741.
fn leading(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
        .unwrap_or(text.len());
    decimal(text.get(..end)?)
}

/// Error radius in degrees: `3.00 [arcmin radius, ...]`, `5.2 [deg radius, ...]`, `7 [arcsec ...]`.
fn error_deg(text: &str) -> Option<f64> {
    let unit = text.split_once('[').map_or("", |(_, unit)| unit.trim_start());
    let factor = [("arcmin", 1.0 / 60.0), ("arcsec", 1.0 / 3600.0), ("deg", 1.0)];
    let (_, factor) = factor.into_iter().find(|(name, _)| unit.starts_with(name))?;
    leading(text).map(|v| v * factor)
}

/// Mission, stream, class and marks of a title and a type.
fn identify(title: &str, notice_type: &str, notice: &mut Notice) {
    let mission = title.split_once('/').map_or(title, |(_, rest)| rest);
    let mission = mission.split(" NOTICE").next().unwrap_or_default().trim();
    let lower = notice_type.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().all(|w| lower.contains(w));
    let (stream, statistical, flag) = if has(&["fermi-gbm", "alert"]) {
        ("fermi/gbm/alert", true, Some(Flag::PositionUnreliable))
    } else if has(&["fermi-gbm", "sub"]) {
        ("fermi/gbm/subthresh", true, Some(Flag::SubThreshold))
    } else if has(&["fermi-gbm", "flight"]) {
        ("fermi/gbm/flt_pos", true, None)
    } else if has(&["fermi-gbm", "final"]) {
        ("fermi/gbm/fin_pos", true, None)
    } else if has(&["fermi-gbm", "ground"]) {
        ("fermi/gbm/gnd_pos", true, None)
    } else if has(&["swift-bat", "position"]) || has(&["swift-bat", "grb"]) {
        ("swift/bat/grb_pos", false, None)
    } else if has(&["swift-xrt", "position"]) {
        ("swift/xrt/pos", false, None)
    } else if has(&["icecube", "gold"]) {
        ("icecube/track/gold", false, None)
    } else if has(&["icecube", "bronze"]) {
        ("icecube/track/bronze", false, None)
    } else {
        ("", false, None)
    };
    notice.mission = mission.to_string();
    notice.stream = if stream.is_empty() {
        format!("{}/text/{}", slug(mission), slug(&lower))
    } else {
        stream.to_string()
    };
    notice.class = if stream.starts_with("icecube") {
        Class::Neutrino
    } else {
        Class::Grb
    };
    notice.time_kind = if lower.contains("xrt") || lower.contains("uvot") {
        TimeKind::FollowUp
    } else {
        TimeKind::Trigger
    };
    notice.flags.extend(flag);
    if statistical && let Some(position) = &mut notice.position {
        position.statistical_only = true;
        position.containment = Some(0.68);
    }
}

/// Reads a text notice.
///
/// # Errors
/// The refusal when the text is no GCN notice.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Draft, Refusal> {
    if bytes.len() > limits.max_packet_bytes {
        return Err(Refusal::new(Reason::TooLarge, format!("{} bytes", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Refusal::new(Reason::Encoding, e.to_string()))?;
    let lines = Lines(
        text.lines()
            .take(limits.max_elements)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect(),
    );
    let (Some(title), Some(notice_type)) = (lines.get("TITLE"), lines.get("NOTICE_TYPE")) else {
        return Err(Refusal::new(
            Reason::UnknownFormat,
            "neither XML nor JSON nor a GCN text notice",
        ));
    };
    let mut draft = Draft::new(Notice::blank(String::new()));
    read_position(&lines, &mut draft);
    read_time(&lines, &mut draft);
    let notice = &mut draft.notice;
    identify(title, notice_type, notice);
    notice.notice_type = Some(notice_type.to_string());
    notice.content_sha256 = hex(&Sha256::digest(
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
    ));
    let number = ["TRIGGER_NUM", "EVENT_NUM", "TRIGGER_NUMBER", "EVENT_ID_NUM"]
        .iter()
        .find_map(|name| lines.get(name));
    notice.trigger_id = number
        .and_then(|text| text.split([',', ' ', ';']).next())
        .filter(|id| !id.is_empty())
        .map(str::to_string);
    notice.author = "gcn".to_string();
    let made = lines.get("NOTICE_DATE").unwrap_or_default();
    let id = notice.trigger_id.clone().unwrap_or_default();
    notice.key = format!("text:{notice_type}|{id}|{made}").to_ascii_lowercase();
    let comments = lines
        .0
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("COMMENTS"))
        .map(|(_, v)| *v);
    for comment in comments {
        let comment = comment.to_ascii_lowercase();
        notice.is_retraction |= comment.contains("retraction");
        if comment.contains("definitely not a grb") {
            notice.flags.insert(Flag::NotAGrb);
        }
        if comment.contains("lost lock") {
            notice.flags.insert(Flag::StarTrackerLostLock);
        }
    }
    notice.is_test = names_a_test(title) || names_a_test(notice_type) || id == "99999";
    notice.role = if notice.is_test { Role::Test } else { Role::Observation };
    Ok(draft)
}

fn read_position(lines: &Lines<'_>, draft: &mut Draft) {
    let (Some(ra), Some(dec)) = (lines.of("RA"), lines.of("DEC")) else {
        return;
    };
    if ra.to_ascii_lowercase().starts_with("undefined") {
        return;
    }
    if !ra.contains("J2000") || !dec.contains("J2000") {
        draft.refuse(Reason::CoordinateSystem, "a position that is not J2000");
        return;
    }
    let (Some(ra_deg), Some(dec_deg)) = (leading(ra), leading(dec)) else {
        draft.refuse(Reason::BadNumber, "position");
        return;
    };
    if !(0.0..=360.0).contains(&ra_deg) || !(-90.0..=90.0).contains(&dec_deg) {
        draft.refuse(Reason::OutOfRange, format!("position {ra_deg}, {dec_deg} deg"));
        return;
    }
    let err_deg = lines
        .of("ERROR")
        .or_else(|| lines.of("ERROR90"))
        .and_then(error_deg)
        .filter(|e| *e > 0.0);
    if err_deg.is_some_and(|e| e >= 180.0) {
        draft.notice.all_sky = true;
    } else if !(ra_deg.abs() < 1e-9 && dec_deg.abs() < 1e-9 && err_deg.is_none()) {
        draft.notice.position = Some(Position {
            ra_deg: if ra_deg >= 360.0 { 0.0 } else { ra_deg },
            dec_deg,
            err_deg,
            containment: Some(0.9),
            statistical_only: false,
        });
    }
}

fn read_time(lines: &Lines<'_>, draft: &mut Draft) {
    let (Some(date), Some(time)) = (lines.of("DATE"), lines.of("TIME")) else {
        return;
    };
    // A TJD has five digits: exact in a double.
    #[allow(clippy::cast_possible_truncation)]
    let tjd = leading(date).filter(|d| d.fract() == 0.0).map(|d| d as i64);
    draft.notice.event_time = tjd
        .zip(leading(time))
        .and_then(|(tjd, sod)| instant::from_tjd(tjd, sod));
    if draft.notice.event_time.is_none() {
        draft.refuse(Reason::BadTime, format!("date {date}, time {time}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWIFT: &str = "TITLE:           GCN/SWIFT NOTICE\n\
        NOTICE_DATE:     Fri 07 Sep 12 00:24:36 UT\n\
        NOTICE_TYPE:     Swift-BAT GRB Position\n\
        TRIGGER_NUM:     532871,   Seg_Num: 0\n\
        GRB_RA:           74.741d {+04h 58m 57.9s} (J2000),\n\
                          74.878d {+04h 59m 30.7s} (current)\n\
        GRB_DEC:          -9.314d {-09d 18' 49\"} (J2000),\n\
        GRB_ERROR:       3.00 [arcmin radius, statistical only]\n\
        GRB_DATE:        16177 TJD;   251 DOY;   12/09/07\n\
        GRB_TIME:        1463.08 SOD {00:24:23.08} UT\n";

    #[test]
    fn a_swift_text_notice_is_read() {
        let draft = read(SWIFT.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(draft.refusal, None);
        let position = draft.notice.position.unwrap();
        assert!((position.ra_deg - 74.741).abs() < 1e-9 && (position.dec_deg + 9.314).abs() < 1e-9);
        assert!((position.err_deg.unwrap() - 0.05).abs() < 1e-9);
        assert_eq!(draft.notice.trigger_id.as_deref(), Some("532871"));
        assert_eq!(draft.notice.stream, "swift/bat/grb_pos");
        assert_eq!(
            instant::format_millis(draft.notice.event_time.unwrap()),
            "2012-09-07T00:24:23.080Z"
        );
    }

    #[test]
    fn other_text_is_no_notice() {
        let refusal = read(b"Unknown topic or partition", &Limits::default()).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnknownFormat);
    }
}
