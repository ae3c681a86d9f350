//! Which notices stand: what retractions and replacements do to the others, and where a chain of tracks is.

use std::collections::BTreeSet;

use super::book::{EventBook, Stored};
use super::grouping::{Place, TrackPoint};
use super::key::Key;
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
    pub(super) fn members_of_tracks<'a>(&'a self, tracks: impl Iterator<Item = &'a Key>) -> Vec<Member<'a>> {
        let stored: Vec<&Stored> = tracks.filter_map(|t| self.tracks.get(t)).flatten().collect();
        let mut withdrawn_keys: BTreeSet<Key> = BTreeSet::new();
        let mut superseded: BTreeSet<Key> = BTreeSet::new();
        let mut withdrawn_tracks: BTreeSet<(Key, &str)> = BTreeSet::new();
        for s in &stored {
            for cite in s.cites.iter().filter(|c| c.allowed) {
                match cite.kind {
                    CiteKind::Retraction => drop(withdrawn_keys.insert(cite.of)),
                    CiteKind::Supersedes => drop(superseded.insert(cite.of)),
                    CiteKind::Followup | CiteKind::Other => {}
                }
            }
            if s.notice.is_retraction && s.notice.trigger_id.is_some() {
                withdrawn_tracks.insert((s.track, &s.notice.author));
            }
        }
        stored
            .iter()
            .map(|s| Member {
                notice: &s.notice,
                key: s.key,
                track: s.track,
                place: s.place,
                reason: s.reason,
                received_at: s.received_at,
                withdrawn: withdrawn_keys.contains(&s.key)
                    || withdrawn_tracks.contains(&(s.track, s.notice.author.as_str())),
                // Two packets that replace each other leave both standing rather than none.
                superseded: superseded.contains(&s.key) && !cites_replacer(s, &stored),
            })
            .collect()
    }

    pub(super) fn point(&self, tracks: &BTreeSet<Key>) -> Option<TrackPoint> {
        let members = self.members_of_tracks(tracks.iter());
        let withdrawn = !members.iter().any(Member::stands);
        let counted = || members.iter().filter(|m| withdrawn || m.stands());
        let t0 = counted()
            .filter(|m| m.notice.time_kind == TimeKind::Trigger)
            .filter_map(|m| m.notice.event_time)
            .min()?;
        let place = counted()
            .filter_map(|m| m.place)
            .min_by(|a, b| a.2.total_cmp(&b.2).then(a.0.total_cmp(&b.0)).then(a.1.total_cmp(&b.1)))
            .map(|(ra_deg, dec_deg, r90_deg)| Place::new(ra_deg, dec_deg, r90_deg));
        Some(TrackPoint {
            key: *tracks.first()?,
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
    let replaces = |by: &Stored, of: Key| by.cites.iter().any(|c| c.kind == CiteKind::Supersedes && c.of == of);
    all.iter()
        .any(|other| replaces(stored, other.key) && replaces(other, stored.key))
}
