//! From bytes to a verdict: one pure function over one packet.
//!
//! [`read`] judges a packet by itself. Whether it was seen before, and what it means for events known already, is
//! [`crate::event::EventBook`]'s to say.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sha2::{Digest, Sha256};

use crate::format::{Draft, classic, gcn_json, hex, igwn, json, voevent};
use crate::limits::Limits;
use crate::notice::{Channel, Flag, Notice, Role, SkyMap};
use crate::reason::{Reason, Refusal, Verdict};
use crate::skymap::MultiOrderMap;

/// A packet, read and judged by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What may happen because of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// For people; empty when the reason says all.
    pub detail: String,
    /// The fields, as far as they could be read. Those of a rejected packet are for the record only.
    pub notice: Option<Arc<Notice>>,
    /// SHA-256 of the bytes, hexadecimal.
    pub bytes_sha256: String,
    /// When the packet reached us.
    pub received_at: DateTime<Utc>,
}

/// Reads a packet that came over `channel` at `received_at`, with the default limits.
#[must_use]
pub fn read(bytes: &[u8], channel: Channel, received_at: DateTime<Utc>) -> Reading {
    read_within(bytes, channel, received_at, &Limits::default())
}

/// Reads a packet within the given limits.
#[must_use]
pub fn read_within(bytes: &[u8], channel: Channel, received_at: DateTime<Utc>, limits: &Limits) -> Reading {
    let bytes_sha256 = hex(&Sha256::digest(bytes));
    let rejected = |refusal: Refusal, notice: Option<Notice>| Reading {
        verdict: Verdict::Reject,
        reason: refusal.reason,
        detail: refusal.detail,
        notice: notice.map(Arc::new),
        bytes_sha256: bytes_sha256.clone(),
        received_at,
    };
    let mut draft = match draft(bytes, channel, limits) {
        Ok(draft) => draft,
        Err(refusal) => return rejected(refusal, None),
    };
    if let Some(time) = draft.notice.event_time
        && draft.notice.role != Role::Prediction
        && time - received_at > Duration::seconds(limits.future_tolerance_s)
    {
        draft.refuse(Reason::FutureTime, format!("event time {time}"));
    }
    check_skymap(&mut draft.notice);
    if let Some(refusal) = draft.refusal {
        return rejected(refusal, Some(draft.notice));
    }
    let reason = against_acting(&draft.notice, received_at, limits).unwrap_or(Reason::Ok);
    let detail = match &draft.notice.skymap {
        Some(SkyMap::Unreadable(why)) if reason == Reason::BadSkymap => why.clone(),
        _ => String::new(),
    };
    Reading {
        verdict: if reason == Reason::Ok {
            Verdict::Act
        } else {
            Verdict::Ignore
        },
        reason,
        detail,
        notice: Some(Arc::new(draft.notice)),
        bytes_sha256,
        received_at,
    }
}

fn draft(bytes: &[u8], channel: Channel, limits: &Limits) -> Result<Draft, Refusal> {
    match channel {
        Channel::Voevent => voevent::read(bytes, limits),
        Channel::Json => {
            let value = json::parse(bytes, limits)?;
            if igwn::is_alert(&value) {
                igwn::read(&value)
            } else {
                gcn_json::read(&value)
            }
        }
        Channel::Text => classic::read(bytes, limits),
        Channel::Any => draft(bytes, sniff(bytes), limits),
    }
}

/// The channel a packet looks like.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Channel {
    let start = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match start.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'<') => Channel::Voevent,
        Some(b'{' | b'[') => Channel::Json,
        _ if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") => Channel::Voevent,
        _ => Channel::Text,
    }
}

/// A map that cannot be read must not be carried on as if it could.
fn check_skymap(notice: &mut Notice) {
    if let Some(SkyMap::Fits(bytes)) = &notice.skymap
        && let Err(error) = MultiOrderMap::from_fits(bytes)
    {
        notice.skymap = Some(SkyMap::Unreadable(error.to_string()));
    }
}

/// What stands against acting on a sound notice, the weightiest first; `None` when nothing does.
#[must_use]
pub fn against_acting(notice: &Notice, now: DateTime<Utc>, limits: &Limits) -> Option<Reason> {
    let flagged = |flag: Flag| notice.flags.contains(&flag);
    if flagged(Flag::LineControl) {
        return Some(Reason::Utility);
    }
    if notice.is_test {
        return Some(Reason::Test);
    }
    match notice.role {
        Role::Observation => {}
        Role::Prediction => return Some(Reason::Prediction),
        Role::Utility => return Some(Reason::Utility),
        Role::Test => return Some(Reason::Test),
        Role::Unknown => return Some(Reason::UnknownRole),
    }
    if notice.is_retraction {
        return Some(Reason::Retraction);
    }
    if let Some(reason) = notice.not_current {
        return Some(reason);
    }
    let marks = [
        (Flag::NotASource, Reason::NotASource),
        (Flag::StarTrackerLostLock, Reason::LostLock),
        (Flag::NotAGrb, Reason::NotAGrb),
        (Flag::UnlikelyGrb, Reason::NotAGrb),
        (Flag::CatalogueSource, Reason::CatalogueSource),
        (Flag::SubThreshold, Reason::SubThreshold),
        (Flag::LowSignificance, Reason::NotSignificant),
    ];
    if let Some((_, reason)) = marks.into_iter().find(|(flag, _)| flagged(*flag)) {
        return Some(reason);
    }
    against_time(notice, now, limits).or_else(|| against_place(notice, limits))
}

fn against_time(notice: &Notice, now: DateTime<Utc>, limits: &Limits) -> Option<Reason> {
    let Some(time) = notice.event_time else {
        // Nothing to point at weighs more than nothing to date it by.
        return Some(if notice.position.is_none() && !notice.has_skymap() {
            Reason::NoPosition
        } else {
            Reason::NoEventTime
        });
    };
    (now - time > Duration::hours(limits.stale_after_h)).then_some(Reason::Stale)
}

fn against_place(notice: &Notice, limits: &Limits) -> Option<Reason> {
    if matches!(notice.skymap, Some(SkyMap::Unreadable(_))) {
        return Some(Reason::BadSkymap);
    }
    if notice.all_sky {
        return Some(Reason::NotLocalised);
    }
    match notice.usable_position() {
        Some(position) if position.err_deg.is_some_and(|e| e > limits.max_error_deg) => Some(Reason::ErrorTooLarge),
        Some(_) => None,
        None if notice.has_skymap() => None,
        None => Some(Reason::NoPosition),
    }
}
