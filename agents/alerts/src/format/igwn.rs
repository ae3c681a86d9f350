//! Alerts of the LIGO-Virgo-KAGRA network (`igwn.gwalert`): JSON with the sky map inside.
//!
//! Format: IGWN Public Alerts User Guide, "Alert contents". A leading `M` in the superevent's name marks a mock, `T` a
//! test. A retraction has no `event`.

use super::json::{Json, Members};
use super::{Draft, hex};
use crate::instant::{self, Scale};
use crate::notice::{Class, Flag, Notice, Role, SkyMap, TimeKind};
use crate::reason::{Reason, Refusal};

/// Whether the value looks like such an alert.
#[must_use]
pub fn is_alert(value: &Json) -> bool {
    value.object().is_some_and(|m| m.contains_key("superevent_id"))
}

/// Reads an alert.
///
/// # Errors
/// The refusal when a member is missing or of a wrong type.
pub fn read(value: &Json) -> Result<Draft, Refusal> {
    let missing = |name: &str| Refusal::new(Reason::JsonType, format!("{name} is missing"));
    let members = Members(
        value
            .object()
            .ok_or_else(|| Refusal::new(Reason::JsonType, "not an object"))?,
    );
    let id = members.text("superevent_id")?.ok_or_else(|| missing("superevent_id"))?;
    let alert_type = members
        .text("alert_type")?
        .ok_or_else(|| missing("alert_type"))?
        .to_ascii_uppercase();
    let created = members.text("time_created")?;
    if id.is_empty() || id.len() > 40 || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Refusal::new(Reason::JsonType, "superevent_id is no name"));
    }
    let mut draft = Draft::new(Notice::blank("LVK"));
    let notice = &mut draft.notice;
    notice.content_sha256 = hex(&value.digest());
    notice.key = format!("igwn:{id}|{alert_type}|{}", created.unwrap_or_default()).to_ascii_lowercase();
    notice.author = "lvk".to_string();
    notice.notice_type = Some(format!("igwn.gwalert.{alert_type}"));
    notice.stream = format!("lvk/gw/{}", super::slug(&alert_type));
    notice.class = Class::GravitationalWave;
    notice.trigger_id = Some(id.to_string());
    notice.time_kind = TimeKind::Trigger;
    notice.is_test = !id.starts_with(['S', 'G', 's', 'g']);
    notice.role = if notice.is_test { Role::Test } else { Role::Observation };
    match alert_type.as_str() {
        "EARLYWARNING" | "PRELIMINARY" => notice.is_preliminary = true,
        "INITIAL" | "UPDATE" => notice.is_update = true,
        "RETRACTION" => notice.is_retraction = true,
        _ => notice.not_current = Some(Reason::UnknownAlertType),
    }
    if let Some(text) = created {
        notice.issued_at = instant::parse_iso(text, Scale::Utc);
        if notice.issued_at.is_none() {
            draft.refuse(Reason::BadTime, format!("time_created {text}"));
        }
    }
    match members.get("event") {
        Some(Json::Object(event)) => read_event(&Members(event), &mut draft)?,
        None if draft.notice.is_retraction => {}
        _ => return Err(Refusal::new(Reason::JsonType, "event is not an object")),
    }
    Ok(draft)
}

fn read_event(event: &Members<'_>, draft: &mut Draft) -> Result<(), Refusal> {
    if let Some(text) = event.text("time")? {
        draft.notice.event_time = instant::parse_iso(text, Scale::Utc);
        if draft.notice.event_time.is_none() {
            draft.refuse(Reason::BadTime, format!("time {text}"));
        }
    }
    let notice = &mut draft.notice;
    if event.flag("significant")? == Some(false) {
        notice.flags.insert(Flag::LowSignificance);
    }
    if event.text("search")?.is_some_and(|s| s.eq_ignore_ascii_case("mdc")) {
        notice.is_test = true;
    }
    notice.instrument = event
        .texts("instruments")
        .ok()
        .filter(|i| !i.is_empty())
        .map(|i| i.join(","));
    if let Some(far) = event.number("far")? {
        notice.measures.insert("far_hz".to_string(), far);
    }
    notice.classification = event.probabilities("classification")?;
    notice.classification.extend(event.probabilities("properties")?);
    if notice.classification.get("Terrestrial").is_some_and(|p| *p > 0.5) {
        notice.flags.insert(Flag::LowSignificance);
    }
    let share = |name: &str| notice.classification.get(name).copied().unwrap_or(0.0);
    let (star, has_ns) = (share("BNS") + share("NSBH"), share("HasNS"));
    notice.measures.insert("neutron_star_prob".to_string(), star);
    notice.measures.insert("has_ns_prob".to_string(), has_ns);
    if let Some(text) = event.text("skymap")? {
        notice.skymap = Some(super::gcn_json::decode_skymap(text));
    } else if let Some(SkyMap::Url(_)) = notice.skymap {
        notice.skymap = None;
    }
    Ok(())
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
    fn mocks_are_tests_and_retractions_need_no_event() {
        let draft = read_text(r#"{"alert_type":"RETRACTION","superevent_id":"MS1a","event":null}"#).unwrap();
        assert!(draft.notice.is_test && draft.notice.is_retraction);
        let refusal = read_text(r#"{"alert_type":"PRELIMINARY","superevent_id":"S1a","event":null}"#).unwrap_err();
        assert_eq!(refusal.reason, Reason::JsonType);
    }
}
