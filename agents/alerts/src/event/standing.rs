//! Which notices stand: what retractions and replacements do to the others, and where a chain of tracks is.

use std::collections::BTreeSet;

use super::book::{EventBook, Stored};
use super::grouping::TrackPoint;
use super::summary::Member;
use crate::format::voevent::authority;
use crate::notice::{CiteKind, Flag, Notice, TimeKind};

impl EventBook {
    /// Whether every packet that a retraction names is somebody else's.
    pub(super) fn is_foreign(&self, retraction: &Notice) -> bool {
        let mut cited = retraction
            .citations
            .iter()
            .filter(|c| c.kind == CiteKind::Retraction)
            .peekable();
        cited.peek().is_some() && cited.all(|c| !self.may_retract(&retraction.author, &authority(&c.ivorn)))
    }

    pub(super) fn may_retract(&self, by: &str, of: &str) -> bool {
        by == of || self.trust.retract_for_all.contains(by)
    }

    /// Members of some tracks, with what the retractions and replacements among them do.
    pub(super) fn members_of_tracks<'a>(&'a self, tracks: impl Iterator<Item = &'a String>) -> Vec<Member<'a>> {
        let stored: Vec<&Stored> = tracks
            .filter_map(|t| self.tracks.get(t))
            .flatten()
            .filter_map(|key| self.notices.get(key))
            .collect();
        let mut withdrawn_keys: BTreeSet<String> = BTreeSet::new();
        let mut superseded: BTreeSet<String> = BTreeSet::new();
        let mut withdrawn_tracks: BTreeSet<(&str, &str)> = BTreeSet::new();
        for s in &stored {
            for citation in &s.notice.citations {
                let ivorn = citation.ivorn.to_ascii_lowercase();
                let allowed = self.may_retract(&s.notice.author, &authority(&citation.ivorn));
                match citation.kind {
                    CiteKind::Retraction if allowed => drop(withdrawn_keys.insert(ivorn)),
                    CiteKind::Supersedes if allowed => drop(superseded.insert(ivorn)),
                    _ => {}
                }
            }
            if s.notice.is_retraction && s.notice.trigger_id.is_some() {
                withdrawn_tracks.insert((&s.track, &s.notice.author));
            }
        }
        stored
            .iter()
            .map(|s| Member {
                notice: &s.notice,
                track: &s.track,
                reason: s.reason,
                received_at: s.received_at,
                withdrawn: withdrawn_keys.contains(&s.notice.key)
                    || withdrawn_tracks.contains(&(s.track.as_str(), s.notice.author.as_str())),
                // Two packets that replace each other leave both standing rather than none.
                superseded: superseded.contains(&s.notice.key) && !cites_replacer(s, &stored),
            })
            .collect()
    }

    pub(super) fn point(&self, tracks: &BTreeSet<String>) -> Option<TrackPoint> {
        let members = self.members_of_tracks(tracks.iter());
        let withdrawn = !members.iter().any(Member::stands);
        let counted = || members.iter().filter(|m| withdrawn || m.stands());
        let t0 = counted()
            .filter(|m| m.notice.time_kind == TimeKind::Trigger)
            .filter_map(|m| m.notice.event_time)
            .min()?;
        let place = counted()
            .filter_map(|m| m.notice.usable_position())
            .filter_map(|p| p.r90_deg().map(|r90| (p.ra_deg, p.dec_deg, r90)))
            .min_by(|a, b| a.2.total_cmp(&b.2).then(a.0.total_cmp(&b.0)).then(a.1.total_cmp(&b.1)));
        Some(TrackPoint {
            key: tracks.first()?.clone(),
            t0,
            place,
            sub_threshold: counted().all(|m| m.notice.flags.contains(&Flag::SubThreshold)),
            distant: counted().any(|m| m.notice.stream.starts_with("konus/")),
            withdrawn,
        })
    }
}

/// Whether a packet that replaces `stored` is itself replaced by it: a circle, of which all stand.
fn cites_replacer(stored: &Stored, all: &[&Stored]) -> bool {
    let mine: BTreeSet<String> = stored
        .notice
        .citations
        .iter()
        .filter(|c| c.kind == CiteKind::Supersedes)
        .map(|c| c.ivorn.to_ascii_lowercase())
        .collect();
    all.iter().any(|other| {
        mine.contains(&other.notice.key)
            && other
                .notice
                .citations
                .iter()
                .any(|c| c.kind == CiteKind::Supersedes && c.ivorn.eq_ignore_ascii_case(&stored.notice.key))
    })
}
