//! GCN's unified JSON notices (schema core v4 to v7) as missions really send them.
//!
//! Traps that are handled: `id` is text or an array; Einstein Probe sends neither mission nor alert type; SVOM and Fermi
//! leave the zone out (UTC); an error may be a number or `[semi-major, semi-minor, position angle]`; a negative error
//! means none; retractions carry no position; MAXI may send corners instead of a radius.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::{Json, Members};
use super::{Draft, hex, slug};
use crate::instant::{self, Scale};
use crate::notice::{Class, Flag, Notice, Position, Role, SkyMap, TimeKind};
use crate::reason::{Reason, Refusal};

/// Reads a unified notice.
///
/// # Errors
/// The refusal when the value is no notice or a member has a wrong type.
pub fn read(value: &Json) -> Result<Draft, Refusal> {
    let members = value
        .object()
        .ok_or_else(|| Refusal::new(Reason::JsonType, "not an object"))?;
    let members = Members(members);
    let schema = SchemaName::of(members.text("$schema")?.unwrap_or_default());
    let known = [
        "mission",
        "instrument",
        "trigger_time",
        "alert_datetime",
        "id",
        "ra",
        "alert_type",
    ];
    if schema.path.is_empty() && !known.iter().any(|name| members.get(name).is_some()) {
        return Err(Refusal::new(Reason::JsonType, "no member of a notice"));
    }
    let mut draft = Draft::new(Notice::blank(String::new()));
    draft.notice.content_sha256 = hex(&value.digest());
    read_identity(&members, &schema, &mut draft.notice)?;
    read_alert(&members, &mut draft.notice)?;
    read_times(&members, &mut draft)?;
    read_position(&members, &mut draft)?;
    read_statistics(&members, &mut draft.notice)?;
    read_marks(&members, &mut draft.notice)?;
    draft.notice.key = key(&draft.notice, &members)?;
    Ok(draft)
}

/// The part of a schema's address that names it: `svom/trigger` of `.../gcn/notices/svom/trigger.schema.json`.
struct SchemaName {
    path: String,
}

impl SchemaName {
    fn of(address: &str) -> Self {
        let path = address.split_once("gcn/notices/").map_or("", |(_, path)| path);
        Self {
            path: path.strip_suffix(".schema.json").unwrap_or(path).to_string(),
        }
    }

    fn mission(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The name as a topic would be: folders by `/`, the last part after a dot.
    fn notice_type(&self) -> Option<String> {
        match self.path.rsplit_once('/') {
            Some((folder, name)) => Some(format!("{folder}.{name}")),
            None if self.path.is_empty() => None,
            None => Some(self.path.clone()),
        }
    }
}

fn read_identity(members: &Members<'_>, schema: &SchemaName, notice: &mut Notice) -> Result<(), Refusal> {
    notice.instrument = members.text("instrument")?.map(str::to_string);
    notice.mission = match (members.text("mission")?, schema.mission()) {
        (Some(mission), _) => mission.to_string(),
        (None, "einstein_probe") => "EinsteinProbe".to_string(),
        (None, "svom") => "SVOM".to_string(),
        (None, folder) => folder.to_string(),
    };
    notice.author = slug(&notice.mission);
    notice.notice_type = schema.notice_type();
    let mut ids = members.texts("id")?.into_iter();
    notice.trigger_id = ids.next();
    notice.names = ids.chain(members.texts("event_name")?).collect();
    let pipeline = members.text("pipeline")?.unwrap_or_default();
    (notice.stream, notice.class) = stream_and_class(notice, schema, pipeline);
    let messenger = members.text("messenger")?.unwrap_or_default();
    if notice.class == Class::Unknown {
        notice.class = class_of_messenger(messenger);
    }
    Ok(())
}

/// What kind of messenger a notice names; light alone says nothing of the kind of event.
fn class_of_messenger(messenger: &str) -> Class {
    match messenger.to_ascii_lowercase().as_str() {
        "neutrino" => Class::Neutrino,
        "gw" | "gravitational waves" | "gravitational wave" => Class::GravitationalWave,
        _ => Class::Unknown,
    }
}

/// Marks that the members of a notice give, by mission.
fn read_marks(members: &Members<'_>, notice: &mut Notice) -> Result<(), Refusal> {
    let mut parts = notice.stream.split('/');
    let (mission, instrument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let last = parts.next().unwrap_or_default();
    let likely = |value: &f64| *value > 0.5;
    let known_name = members
        .texts("known_source")
        .is_ok_and(|names| names.iter().any(|n| !n.is_empty()))
        && members.number("association_probability")?.is_none_or(|p| likely(&p));
    let catalogue = match (mission, instrument) {
        ("maxi", _) => last == "known",
        // A burst alert of a source with a name, to which the satellite does not turn.
        ("svom", "eclairs") => {
            last == "trigger" && members.text("slew_status")? == Some("not_requested") && !notice.names.is_empty()
        }
        // The classes of BAT's positions are the names of known sources and "unknown".
        ("swift", "bat") if last == "grb_pos" => {
            let known = |(name, p): (&String, &f64)| likely(p) && !name.eq_ignore_ascii_case("unknown");
            notice.classification.iter().any(known)
        }
        ("fermi", "lat") => last.contains("flare"),
        _ => false,
    };
    let marks = [
        (Flag::CatalogueSource, catalogue || known_name),
        (
            Flag::StarTrackerLostLock,
            members.flag("star_tracker_locked")? == Some(false),
        ),
        (
            Flag::LowSignificance,
            members.flag("possible_cosmic_ray")? == Some(true),
        ),
        (
            Flag::NotASource,
            mission == "heasarc" || (mission == "swift" && is_product(last)),
        ),
    ];
    let set: Vec<Flag> = marks.into_iter().filter_map(|(flag, on)| on.then_some(flag)).collect();
    notice.flags.extend(set);
    Ok(())
}

/// Kinds of Swift notices that show something of an event known already.
fn is_product(kind: &str) -> bool {
    const PRODUCTS: &[&str] = &[
        "image",
        "lightcurve",
        "light_curve",
        "spectrum",
        "scaled_map",
        "source_list",
        "sper",
        "thresholded_pixels",
        "pointing",
        "trigger",
    ];
    PRODUCTS.contains(&kind)
}

/// House stream and class of a unified notice.
fn stream_and_class(notice: &Notice, schema: &SchemaName, pipeline: &str) -> (String, Class) {
    let mission = slug(&notice.mission);
    let instrument = notice.instrument.as_deref().map(slug).unwrap_or_default();
    let last = slug(schema.path.rsplit('/').next().unwrap_or_default());
    match mission.as_str() {
        "einsteinprobe" => ("einstein_probe/wxt/alert".to_string(), Class::Grb),
        "icecube" if schema.path.contains("lvk") => ("icecube/lvk_search/track".to_string(), Class::Neutrino),
        "icecube" if pipeline.to_ascii_lowercase().contains("gold") => {
            ("icecube/track/gold".to_string(), Class::Neutrino)
        }
        "icecube" if pipeline.to_ascii_lowercase().contains("bronze") => {
            ("icecube/track/bronze".to_string(), Class::Neutrino)
        }
        "icecube" | "km3net" => (format!("{mission}/event/{last}"), Class::Neutrino),
        "super_kamiokande" | "superk" | "sk" => ("superk/sn/alert".to_string(), Class::Neutrino),
        "chime" | "dsa110" | "dsa_110" => (format!("{mission}/frb/{last}"), Class::RadioBurst),
        "boom" | "ztf" | "rubin" => (format!("{mission}/optical/{last}"), Class::Optical),
        "maxi" => (format!("maxi/gsc/{}", last.trim_start_matches("gsc_")), Class::Grb),
        "swift" if schema.path.to_ascii_lowercase().contains("guano") => ("swift/bat/guano".to_string(), Class::Grb),
        // The positions of the classic notices and of these are the same thing.
        "swift" if last == "position" && instrument == "bat" => ("swift/bat/grb_pos".to_string(), Class::Grb),
        "swift" if last == "position" => (format!("swift/{instrument}/pos"), Class::Grb),
        "fermi" if schema.path.contains("flare") => ("fermi/lat/flare".to_string(), Class::Unknown),
        _ => {
            let instrument = if instrument.is_empty() { "any" } else { &instrument };
            let bursts = BURST_MISSIONS.contains(&mission.as_str());
            let class = if bursts { Class::Grb } else { Class::Unknown };
            (format!("{mission}/{instrument}/{last}"), class)
        }
    }
}

/// Missions whose notices are about gamma-ray bursts unless they say otherwise.
const BURST_MISSIONS: &[&str] = &[
    "astrosat",
    "blackcat",
    "burstcube",
    "calet",
    "cosi",
    "fermi",
    "gecam",
    "glowbug",
    "integral",
    "konus",
    "starburst",
    "svom",
    "swift",
];

fn read_alert(members: &Members<'_>, notice: &mut Notice) -> Result<(), Refusal> {
    match members.text("alert_tense")?.map(str::to_ascii_lowercase).as_deref() {
        None | Some("current") => {}
        Some("test" | "injection" | "injected" | "mock") => notice.is_test = true,
        Some("archival" | "planned" | "commanded") => notice.not_current = Some(Reason::NotCurrent),
        Some(_) => notice.not_current = Some(Reason::UnknownTense),
    }
    match members.text("alert_type")?.map(str::to_ascii_lowercase).as_deref() {
        None | Some("initial") => {}
        Some("update" | "subsequent") => notice.is_update = true,
        Some("retraction") => notice.is_retraction = true,
        // As the first versions of the schema had it.
        Some("test" | "injected" | "injection") => notice.is_test = true,
        Some(_) => notice.not_current = notice.not_current.or(Some(Reason::UnknownAlertType)),
    }
    // GECAM: real triggers count below 1e8.
    let number = notice.trigger_id.as_deref().and_then(|id| id.parse::<u64>().ok());
    notice.is_test |= notice.stream.starts_with("gecam/") && number.is_some_and(|n| n >= 100_000_000);
    notice.role = if notice.is_test { Role::Test } else { Role::Observation };
    // The number orders notices of one event; anything beyond 2^53 is no count.
    #[allow(clippy::cast_possible_truncation)]
    {
        notice.sequence = members
            .number("record_number")?
            .filter(|n| n.abs() < 9e15)
            .map(|n| n as i64);
    }
    Ok(())
}

fn read_times(members: &Members<'_>, draft: &mut Draft) -> Result<(), Refusal> {
    for (name, event) in [("trigger_time", true), ("alert_datetime", false)] {
        let Some(text) = members.text(name)? else { continue };
        let time = instant::parse_iso(text, Scale::Utc);
        if time.is_none() {
            draft.refuse(Reason::BadTime, format!("{name} {text}"));
        }
        if event {
            draft.notice.event_time = time;
            draft.notice.time_kind = TimeKind::Trigger;
        } else {
            draft.notice.issued_at = time;
        }
    }
    // Telescopes that turn to a burst date their images only.
    let turned = draft
        .notice
        .stream
        .split('/')
        .nth(1)
        .is_some_and(|i| FOLLOW_UP_INSTRUMENTS.contains(&i));
    if draft.notice.event_time.is_none()
        && turned
        && let Some(text) = members.text("observation_start")?
    {
        draft.notice.event_time = instant::parse_iso(text, Scale::Utc);
        draft.notice.time_kind = TimeKind::FollowUp;
        if draft.notice.event_time.is_none() {
            draft.refuse(Reason::BadTime, format!("observation_start {text}"));
        }
    }
    Ok(())
}

/// Instruments that look at a burst after it was found.
const FOLLOW_UP_INSTRUMENTS: &[&str] = &["xrt", "uvot", "mxt", "vt", "fxt"];

fn read_error(members: &Members<'_>) -> Result<Option<f64>, Refusal> {
    let bad = || Refusal::new(Reason::JsonType, "ra_dec_error is neither a number nor three numbers");
    match members.get("ra_dec_error") {
        None => Ok(None),
        Some(Json::Number(err)) => Ok(Some(*err)),
        Some(Json::Array(items)) => match items.as_slice() {
            // The longer half axis: the circle round the ellipse.
            [Json::Number(a), Json::Number(b), Json::Number(_)] => Ok(Some(a.max(*b))),
            _ => Err(bad()),
        },
        Some(_) => Err(bad()),
    }
}

fn read_position(members: &Members<'_>, draft: &mut Draft) -> Result<(), Refusal> {
    let (ra, dec) = (members.number("ra")?, members.number("dec")?);
    let err = read_error(members)?;
    let containment = members.number("containment_probability")?;
    let systematic = members.flag("systematic_included")?;
    draft.notice.skymap = read_skymap(members)?;
    if let Some(c) = containment
        && !(0.0..=1.0).contains(&c)
    {
        draft.refuse(Reason::OutOfRange, format!("containment probability {c}"));
    }
    let (Some(ra), Some(dec)) = (ra, dec) else {
        return Ok(());
    };
    if !(0.0..=360.0).contains(&ra) || !(-90.0..=90.0).contains(&dec) {
        draft.refuse(Reason::OutOfRange, format!("position {ra}, {dec} deg"));
        return Ok(());
    }
    // The author's way of saying that there is none.
    if ra.abs() < 1e-9 && dec.abs() < 1e-9 && err.is_none_or(|e| e <= 0.0) {
        return Ok(());
    }
    if err.is_some_and(|e| e >= 180.0) {
        draft.notice.all_sky = true;
        return Ok(());
    }
    draft.notice.position = Some(Position {
        ra_deg: if ra >= 360.0 { 0.0 } else { ra },
        dec_deg: dec,
        err_deg: err.filter(|e| *e > 0.0),
        // The schema's default.
        containment: Some(containment.unwrap_or(0.9)),
        statistical_only: draft.notice.stream.starts_with("fermi/gbm/") && systematic == Some(false),
    });
    if draft.notice.stream.starts_with("svom/grm/") && err.is_none_or(|e| e <= 0.0) {
        draft.notice.flags.insert(Flag::PositionUnreliable);
    }
    Ok(())
}

fn read_skymap(members: &Members<'_>) -> Result<Option<SkyMap>, Refusal> {
    if let Some(text) = members.text("healpix_file")? {
        return Ok(Some(decode_skymap(text)));
    }
    Ok(members.text("healpix_url")?.map(|url| SkyMap::Url(url.to_string())))
}

/// Base64 text to the bytes of a FITS file, unread as yet.
pub(super) fn decode_skymap(text: &str) -> SkyMap {
    match STANDARD.decode(text.trim()) {
        Ok(bytes) => SkyMap::Fits(bytes),
        Err(e) => SkyMap::Unreadable(e.to_string()),
    }
}

fn read_statistics(members: &Members<'_>, notice: &mut Notice) -> Result<(), Refusal> {
    let mut take = |member: &str, name: &str| -> Result<(), Refusal> {
        if let Some(value) = members.number(member)? {
            notice.measures.insert(name.to_string(), value);
        }
        Ok(())
    };
    let mission = notice.stream.split('/').next().unwrap_or_default().to_string();
    match mission.as_str() {
        "svom" => take("image_snr", "svom_snr")?,
        "swift" => take("image_snr", "swift_image_snr")?,
        "einstein_probe" => take("image_snr", "ep_snr")?,
        _ => take("image_snr", "image_snr")?,
    }
    take("rate_snr", "rate_snr")?;
    take("net_count_rate", "net_count_rate")?;
    take("far", "far_hz")?;
    // IceCube calls it signalness elsewhere; strategies know one name.
    take("signalness", "signalness")?;
    take("p_astro", "signalness")?;
    take("dm", "dispersion_measure")?;
    if matches!(mission.as_str(), "chime" | "dsa110") {
        take("snr", "frb_snr")?;
    }
    if let Some(Json::Number(importance)) = members.get("importance") {
        notice.importance = Some(*importance);
    }
    notice.classification = members.probabilities("classification")?;
    let grb = notice.classification.get("GRB").copied();
    if notice.stream.starts_with("fermi/gbm/") && !notice.classification.is_empty() {
        notice.measures.insert("gbm_grb_prob".to_string(), grb.unwrap_or(0.0));
    }
    // Whoever tells bursts from the rest says how likely it is one.
    let tells = grb.is_some() || notice.stream.starts_with("fermi/gbm/") || notice.stream.starts_with("gecam/");
    if notice.class == Class::Grb && tells && !notice.classification.is_empty() && grb.unwrap_or(0.0) < 0.5 {
        notice.flags.insert(Flag::UnlikelyGrb);
    }
    Ok(())
}

/// Identity of a notice: what it is about, which of them, and when it was made.
///
/// Only a record number tells two notices of one moment apart; where the mission sends none, the content is part of the
/// identity, so that a second, different notice is taken for what it says instead of for a forgery of the first.
fn key(notice: &Notice, members: &Members<'_>) -> Result<String, Refusal> {
    let kind = notice.notice_type.as_deref().unwrap_or(&notice.stream);
    let mut parts = vec![kind.to_string(), notice.trigger_id.clone().unwrap_or_default()];
    for name in [
        "instrument",
        "alert_type",
        "alert_tense",
        "alert_datetime",
        "trigger_time",
    ] {
        parts.push(members.text(name)?.unwrap_or_default().to_string());
    }
    parts.push(
        notice
            .sequence
            .map_or_else(|| notice.content_sha256.clone(), |n| n.to_string()),
    );
    Ok(format!("json:{}", parts.join("|")).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::json;
    use crate::limits::Limits;

    fn read_text(text: &str) -> Result<Draft, Refusal> {
        read(&json::parse(text.as_bytes(), &Limits::default())?)
    }

    #[test]
    fn the_schema_names_mission_and_type_when_the_notice_does_not() {
        let draft = read_text(
            r#"{"$schema":"https://gcn.nasa.gov/schema/v4.1.0/gcn/notices/einstein_probe/wxt/alert.schema.json",
               "instrument":"WXT","trigger_time":"2026-04-09T11:45:11.949Z","id":["01709259773"],
               "ra":184.664,"dec":-6.146,"ra_dec_error":0.05}"#,
        )
        .unwrap();
        assert_eq!(draft.notice.mission, "EinsteinProbe");
        assert_eq!(draft.notice.notice_type.as_deref(), Some("einstein_probe/wxt.alert"));
        assert_eq!(draft.notice.stream, "einstein_probe/wxt/alert");
        assert_eq!(draft.notice.trigger_id.as_deref(), Some("01709259773"));
        assert_eq!(draft.notice.position.unwrap().containment, Some(0.9));
    }

    fn notice(schema: &str, rest: &str) -> Notice {
        let text =
            format!(r#"{{"$schema":"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json",{rest}}}"#);
        let draft = read_text(&text).unwrap();
        assert_eq!(draft.refusal, None, "{text}");
        draft.notice
    }

    #[test]
    fn swift_positions_and_products_are_told_apart() {
        let place = r#""mission":"SWIFT","ra":124.6,"dec":33.9,"ra_dec_error":0.05"#;
        let bat = notice(
            "swift/bat/position",
            &format!(r#"{place},"instrument":"BAT","id":"1253910","trigger_time":"2024-09-12T01:46:47.890Z""#),
        );
        assert_eq!((bat.stream.as_str(), bat.flags.len()), ("swift/bat/grb_pos", 0));
        let xrt = notice(
            "swift/xrt/position",
            &format!(r#"{place},"instrument":"XRT","id":1253910,"observation_start":"2024-09-12T01:48:25.200Z""#),
        );
        assert_eq!(
            (xrt.stream.as_str(), xrt.time_kind),
            ("swift/xrt/pos", TimeKind::FollowUp)
        );
        assert_eq!(xrt.trigger_key(), bat.trigger_key());
        assert!(xrt.event_time.is_some());
        let known = format!(r#"{place},"instrument":"BAT","classification":{{"EXO_0748-676":1.0,"unknown":0.0}}"#);
        assert!(
            notice("swift/bat/position", &known)
                .flags
                .contains(&Flag::CatalogueSource)
        );
        let lost = format!(r#"{place},"instrument":"BAT","star_tracker_locked":false"#);
        assert!(
            notice("swift/bat/position", &lost)
                .flags
                .contains(&Flag::StarTrackerLostLock)
        );
        for product in ["uvot/image", "xrt/spectrum", "bat/lightcurve", "bat/scaled_map"] {
            let instrument = product.split('/').next().unwrap().to_ascii_uppercase();
            let text = format!(r#"{place},"instrument":"{instrument}""#);
            let flags = notice(&format!("swift/{product}"), &text).flags;
            assert!(flags.contains(&Flag::NotASource), "{product}");
        }
    }

    #[test]
    fn what_kind_of_event_it_is_follows_from_mission_messenger_and_class() {
        let class = |schema: &str, rest: &str| notice(schema, rest).class;
        assert_eq!(class("burstcube/alert", r#""mission":"BurstCube""#), Class::Grb);
        assert_eq!(class("heasarc/archive_alert", r#""mission":"HEASARC""#), Class::Unknown);
        assert_eq!(
            class("newcomer/alert", r#""mission":"X","messenger":"Neutrino""#),
            Class::Neutrino
        );
        assert_eq!(
            class("chime/frb", r#""id":"427325191","alert_type":"retraction""#),
            Class::RadioBurst
        );
        let flare = notice(
            "gecam/alert",
            r#""mission":"GECAM","id":[401],"classification":{"SFL":0.9,"GRB":0.1}"#,
        );
        assert!(flare.flags.contains(&Flag::UnlikelyGrb));
        assert_eq!(flare.trigger_id.as_deref(), Some("401"));
        assert!(notice("gecam/alert", r#""mission":"GECAM","id":[100000123]"#).is_test);
        assert!(notice("x/alert", r#""mission":"X","alert_tense":"mock""#).is_test);
    }

    #[test]
    fn wrong_types_are_refused_and_odd_ones_understood() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"mission":"X","ra":"12","dec":1}"#,
            r#"{"mission":"X","id":{}}"#,
            r#"{"mission":"X","ra":1,"dec":1,"ra_dec_error":[1,2]}"#,
            r#"{"mission":3}"#,
        ] {
            assert_eq!(read_text(text).unwrap_err().reason, Reason::JsonType, "{text}");
        }
        let draft = read_text(r#"{"mission":"X","id":"a","ra":1,"dec":1,"ra_dec_error":[2,1,30]}"#).unwrap();
        assert_eq!(draft.notice.position.unwrap().err_deg, Some(2.0));
        let draft = read_text(r#"{"mission":"X","id":"a","ra":1,"dec":1,"ra_dec_error":-1}"#).unwrap();
        assert_eq!(draft.notice.position.unwrap().err_deg, None);
        let draft = read_text(r#"{"mission":"X","id":"a","ra":0,"dec":0,"ra_dec_error":0}"#).unwrap();
        assert_eq!(draft.notice.position, None);
        let draft = read_text(r#"{"mission":"X","id":"a","ra":361,"dec":1}"#).unwrap();
        assert_eq!(draft.refusal.unwrap().reason, Reason::OutOfRange);
    }
}
