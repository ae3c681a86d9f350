//! GCN's classic text notices: `NAME: value` lines, as sent by e-mail and over `gcn.classic.text.*`.
//!
//! Only lines whose meaning is fixed are read: title, type, trigger number, position (J2000), error, date (TJD) and time
//! (seconds of day). Names differ in their first word (`GRB_RA`, `SRC_RA`, `EVENT_RA`, ...). What a kind of notice means
//! is looked up under its number, like that of the same notice as a VOEvent (`classic_types`).

use sha2::{Digest, Sha256};

use super::classic_types::kind_of;
use super::gcn_types::{ErrorMeaning, NoticeKind};
use super::where_when::decimal;
use super::{Draft, hex, names_a_test, slug};
use crate::instant;
use crate::limits::Limits;
use crate::notice::{Class, Flag, Notice, Position, Role, SkyMap, TimeKind};
use crate::reason::{Reason, Refusal};

/// First words of the names of a source's lines. `POINT_RA` is not among them: that is where the satellite looks.
const PREFIXES: &[&str] = &["GRB", "SRC", "EVENT", "BURST", "TRANS", "TRIGGER", "CNTRPART", "OBJECT"];
/// First words of the names of dates and times, the event's own before those of images.
const TIME_PREFIXES: &[&str] = &[
    "GRB",
    "DISCOVERY",
    "SRC",
    "EVENT",
    "BURST",
    "TRANS",
    "TRIGGER",
    "CNTRPART",
    "OBJECT",
    "OBS",
    "IMG_START",
];

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

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(leading)
    }

    /// All comments, lower case, in one text.
    fn comments(&self) -> String {
        let comments = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("COMMENTS"));
        comments
            .map(|(_, v)| v.to_ascii_lowercase())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The number at the start of a text: `74.741d {...}` gives 74.741.
fn leading(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E')))
        .unwrap_or(text.len());
    let number = text.get(..end)?;
    decimal(number.trim_end_matches(['e', 'E', '+', '-']))
}

/// Error radius in degrees: `3.00 [arcmin radius, ...]`, `5.2 [deg, radius, ...]`, `7 [arcsec ...]`.
fn error_deg(text: &str) -> Option<f64> {
    let unit = text.split_once('[').map_or("", |(_, unit)| unit.trim_start());
    let factor = [("arcmin", 1.0 / 60.0), ("arcsec", 1.0 / 3600.0), ("deg", 1.0)];
    let (_, factor) = factor.into_iter().find(|(name, _)| unit.starts_with(name))?;
    leading(text).map(|v| v * factor)
}

/// The containment an error line states: `[arcmin radius, stat+sys, 90% containment]`.
fn containment(text: &str) -> Option<f64> {
    let (before, _) = text.split_once('%')?;
    let at = before
        .rfind(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map_or(0, |at| at + 1);
    decimal(before.get(at..)?)
        .map(|p| p / 100.0)
        .filter(|p| (0.01..1.0).contains(p))
}

/// Mission, stream, class and marks of a title and a type.
fn identify(title: &str, notice_type: &str, kind: Option<&NoticeKind>, notice: &mut Notice) {
    let mission = title.split_once('/').map_or(title, |(_, rest)| rest);
    let words = mission.split_ascii_whitespace();
    let mission = words
        .take_while(|w| !["NOTICE", "TEST"].contains(w))
        .collect::<Vec<_>>()
        .join(" ");
    notice.stream = match kind {
        Some(kind) => kind.stream.to_string(),
        None => format!("{}/text/{}", slug(&mission), slug(&notice_type.to_ascii_lowercase())),
    };
    notice.mission = match mission.as_str() {
        "SWIFT" => "Swift".to_string(),
        "FERMI" => "Fermi".to_string(),
        "LVC" => "LVK".to_string(),
        _ => mission,
    };
    notice.class = kind.map_or(Class::Unknown, |k| k.class);
    notice.time_kind = kind.map_or(TimeKind::Unknown, |k| k.time);
    notice.flags.extend(kind.and_then(|k| k.flag));
    notice.is_preliminary = kind.is_some_and(|k| matches!(k.code, 97 | 150 | 163));
}

/// The mission's name of the event.
fn trigger_id(lines: &Lines<'_>) -> Option<String> {
    let first = |text: &str| {
        let word = text.split([',', ' ', ';']).next().unwrap_or_default();
        Some(word.to_string()).filter(|id| !id.is_empty())
    };
    let names = ["TRIGGER_NUM", "TRIGGER_NUMBER", "EVENT_ID_NUM", "TRANS_NUM"];
    if let Some(id) = names.iter().find_map(|name| lines.get(name)).and_then(first) {
        return Some(id);
    }
    // IceCube names an event by its run and its number in the run.
    let run = lines.get("RUN_NUM").and_then(first).unwrap_or_default();
    let event = ["EVENT_NUM", "EVENT_NUMBER"].iter().find_map(|name| lines.get(name));
    event.and_then(first).map(|event| format!("{run}{event}"))
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
    let kind = kind_of(notice_type);
    identify(title, notice_type, kind, &mut draft.notice);
    read_position(&lines, kind, &mut draft);
    read_time(&lines, &mut draft);
    let notice = &mut draft.notice;
    notice.notice_type = Some(notice_type.to_string());
    notice.content_sha256 = hex(&Sha256::digest(
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
    ));
    notice.trigger_id = trigger_id(&lines);
    notice.author = "gcn".to_string();
    notice.sequence = ["REVISION", "RECORD_NUM", "SEQUENCE_NUM"]
        .iter()
        .find_map(|name| lines.get(name)?.split_ascii_whitespace().next()?.parse().ok());
    let made = lines.get("NOTICE_DATE").unwrap_or_default();
    let id = notice.trigger_id.clone().unwrap_or_default();
    notice.key = format!("text:{notice_type}|{id}|{made}").to_ascii_lowercase();
    read_marks(&lines, notice);
    notice.is_test = names_a_test(title)
        || names_a_test(notice_type)
        || names_a_test(&title.to_ascii_lowercase())
        || id == "99999"
        || kind.is_some_and(|k| k.name.ends_with("_TEST"))
        || lines.comments().contains("this is a test")
        || lines.comments().contains("test notice");
    notice.role = if notice.is_test { Role::Test } else { Role::Observation };
    Ok(draft)
}

/// Marks and measures that lines and comments give.
fn read_marks(lines: &Lines<'_>, notice: &mut Notice) {
    let comments = lines.comments();
    let kind_retracts = notice.stream.starts_with("lvk/gw/retraction");
    notice.is_retraction = kind_retracts || comments.contains("retraction") || comments.contains("retracted");
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| comments.contains(phrase));
    let class = lines.get("SRC_CLASS").or_else(|| lines.get("SOURCE_CLASS"));
    let marks = [
        (
            Flag::NotAGrb,
            says(&["definitely not a grb", "this is not a grb", "it is not a grb"]),
        ),
        (Flag::StarTrackerLostLock, says(&["lost lock", "lost_lock"])),
        (
            Flag::CatalogueSource,
            says(&["matches a source in the", "is in the on-board catalog"]),
        ),
        (
            Flag::LowSignificance,
            says(&["very low significance", "very low image significance"]),
        ),
        (
            Flag::UnlikelyGrb,
            class.is_some_and(|c| !c.to_ascii_uppercase().contains("GRB")),
        ),
    ];
    notice
        .flags
        .extend(marks.into_iter().filter_map(|(flag, on)| on.then_some(flag)));
    let mut measure = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            notice.measures.insert(name.to_string(), value);
        }
    };
    let mission = notice.stream.split('/').next().unwrap_or_default();
    match mission {
        "swift" => {
            measure("swift_image_snr", lines.number("IMAGE_SIGNIF"));
            measure("swift_rate_snr", lines.number("RATE_SIGNIF"));
        }
        "fermi" => {
            measure(
                "gbm_snr",
                lines.number("DATA_SIGNIF").or_else(|| lines.number("TRIGGER_SIGNIF")),
            );
            measure("gbm_grb_prob", gbm_grb_probability(lines));
        }
        "icecube" | "amon" => {
            measure("signalness", lines.number("SIGNALNESS"));
            measure("far_per_year", lines.number("FAR"));
        }
        "lvk" => measure("far_hz", lines.number("FAR")),
        _ => {}
    }
    if notice.measures.get("gbm_grb_prob").is_some_and(|p| *p < 0.5) {
        notice.flags.insert(Flag::UnlikelyGrb);
    }
    let url = ["SKYMAP_FITS_URL", "LOC_URL", "SKYMAP_BASIC_URL"]
        .iter()
        .find_map(|name| lines.get(name));
    notice.skymap = url
        .filter(|url| url.starts_with("http"))
        .map(|url| SkyMap::Url(url.to_string()));
}

/// Fermi's flight classifier: `MOST_LIKELY: 97% GRB` and the second best guess.
fn gbm_grb_probability(lines: &Lines<'_>) -> Option<f64> {
    let guess = |name: &str| {
        let text = lines.get(name)?;
        let (percent, what) = text.split_once('%')?;
        Some((decimal(percent)? / 100.0, what.trim().eq_ignore_ascii_case("grb")))
    };
    let (best, best_is_grb) = guess("MOST_LIKELY")?;
    if best_is_grb {
        return Some(best.clamp(0.0, 1.0));
    }
    match guess("2nd_MOST_LIKELY") {
        Some((second, true)) => Some(second.clamp(0.0, 1.0)),
        _ => Some(0.0),
    }
}

fn read_position(lines: &Lines<'_>, kind: Option<&NoticeKind>, draft: &mut Draft) {
    let (Some(ra), Some(dec)) = (lines.of("RA"), lines.of("DEC")) else {
        return;
    };
    let unknown = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.starts_with("undefined") || text.starts_with("unknown") || text.starts_with("n/a")
    };
    if unknown(ra) || unknown(dec) || kind.is_some_and(|k| k.flag == Some(Flag::PositionUnreliable)) {
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
    let line = lines.of("ERROR").or_else(|| lines.of("ERROR90"));
    let err_deg = line.and_then(error_deg).filter(|e| *e > 0.0);
    let stated = line.and_then(containment);
    let with_systematics = line.is_some_and(|l| l.contains("systematic") || l.contains("sys"));
    let statistical = kind.is_some_and(|k| k.error == ErrorMeaning::Statistical68);
    if err_deg.is_some_and(|e| e >= 180.0) {
        draft.notice.all_sky = true;
    } else if !(ra_deg.abs() < 1e-9 && dec_deg.abs() < 1e-9 && err_deg.is_none()) {
        draft.notice.position = Some(Position {
            ra_deg: if ra_deg >= 360.0 { 0.0 } else { ra_deg },
            dec_deg,
            err_deg,
            containment: stated.or(Some(if statistical { 0.68 } else { 0.9 })),
            statistical_only: statistical && !with_systematics,
        });
    }
}

fn read_time(lines: &Lines<'_>, draft: &mut Draft) {
    let both = TIME_PREFIXES.iter().find_map(|prefix| {
        let date = lines.get(&format!("{prefix}_DATE"))?;
        Some((date, lines.get(&format!("{prefix}_TIME"))?))
    });
    let Some((date, time)) = both else { return };
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

    fn notice(text: &str) -> Notice {
        let draft = read(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(draft.refusal, None, "{text}");
        draft.notice
    }

    #[test]
    fn an_x_ray_position_is_dated_by_its_image_and_joins_its_burst() {
        let text = SWIFT
            .replace("Swift-BAT GRB", "Swift-XRT")
            .replace(
                "3.00 [arcmin radius, statistical only]",
                "4.9 [arcsec radius, statistical plus systematic, 90% containment]",
            )
            .replace("GRB_DATE", "IMG_START_DATE")
            .replace("GRB_TIME", "IMG_START_TIME");
        let xrt = notice(&text);
        assert_eq!(
            (xrt.stream.as_str(), xrt.time_kind),
            ("swift/xrt/pos", TimeKind::FollowUp)
        );
        assert_eq!(xrt.trigger_key(), notice(SWIFT).trigger_key());
        assert_eq!(xrt.position.unwrap().containment, Some(0.9));
    }

    #[test]
    fn an_icecube_track_is_named_by_run_and_event() {
        let gold = notice(
            "TITLE:            GCN/AMON NOTICE\nNOTICE_DATE:      Tue 30 Jul 19 20:51:15 UT\n\
             NOTICE_TYPE:      ICECUBE Astrotrack Gold\nSTREAM:           24\nRUN_NUM:          132910\n\
             EVENT_NUM:        57145925\nSRC_RA:           225.79d {+15h 03m 09s} (J2000),\n\
             SRC_DEC:           10.47d {+10d 28' 12\"} (J2000),\n\
             SRC_ERROR:        71.10 [arcmin radius, stat+sys, 90% containment]\n\
             SRC_ERROR50:      30.80 [arcmin radius, stat+sys, 50% containment]\n\
             DISCOVERY_DATE:   18694 TJD;   211 DOY;   19/07/30 (yy/mm/dd)\n\
             DISCOVERY_TIME:   75041 SOD {20:50:41.31} UT\nREVISION:         1\n\
             FAR:              0.6774 [yr^-1]\nSIGNALNESS:       6.7e-01 [dn]\n",
        );
        assert_eq!(gold.trigger_id.as_deref(), Some("13291057145925"));
        assert_eq!(
            (gold.stream.as_str(), gold.class),
            ("icecube/track/gold", Class::Neutrino)
        );
        assert!((gold.measures["signalness"] - 0.67).abs() < 1e-9);
        assert!((gold.position.unwrap().err_deg.unwrap() - 1.185).abs() < 1e-9);
        assert_eq!(gold.sequence, Some(1));
    }

    #[test]
    fn what_fermi_takes_for_something_else_and_where_swift_points_are_marked() {
        let fermi = |likely: &str| {
            notice(&format!(
                "TITLE:           GCN/FERMI NOTICE\nNOTICE_DATE:     Wed 13 Aug 25 04:12:33 UT\n\
                 NOTICE_TYPE:     Fermi-GBM Flight Position\nTRIGGER_NUM:     776751152\n\
                 GRB_RA:          214.517d {{+14h 18m 04s}} (J2000),\nGRB_DEC:         -11.300d {{-11d 18' 00\"}} (J2000),\n\
                 GRB_ERROR:       1.75 [deg radius, statistical only]\nGRB_DATE:        20900 TJD;   225 DOY;   25/08/13\n\
                 GRB_TIME:        14712.00 SOD {{04:05:12.00}} UT\nMOST_LIKELY:     {likely}\n"
            ))
        };
        assert!(fermi("97% GRB").flags.is_empty() && fermi("97% GRB").position.unwrap().statistical_only);
        assert!(fermi("88% Solar Flare").flags.contains(&Flag::UnlikelyGrb));
        let pointing = notice(
            "TITLE:           GCN/SWIFT NOTICE\nNOTICE_TYPE:     SWIFT Pointing Direction\n\
             POINT_RA:        10.0d (J2000)\nPOINT_DEC:       20.0d (J2000)\n",
        );
        assert!(pointing.position.is_none() && pointing.flags.contains(&Flag::NotASource));
    }

    #[test]
    fn tests_and_comments_are_heard() {
        assert!(notice(&SWIFT.replace("GCN/SWIFT NOTICE", "GCN/SWIFT TEST NOTICE")).is_test);
        assert!(notice(&format!("{SWIFT}COMMENTS: This is a test Notice.\n")).is_test);
        let said = |comment: &str| notice(&format!("{SWIFT}COMMENTS: {comment}\n")).flags;
        assert!(said("This matches a source in the on-board catalog.").contains(&Flag::CatalogueSource));
        assert!(said("This does not match any source in the on-board catalog.").is_empty());
        assert!(said("The StarTracker had lost lock.").contains(&Flag::StarTrackerLostLock));
        assert!(said("This is definitely not a GRB.").contains(&Flag::NotAGrb));
    }

    #[test]
    fn other_text_is_no_notice() {
        let refusal = read(b"Unknown topic or partition", &Limits::default()).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnknownFormat);
    }
}
