//! Which notices stand: what retractions and replacements do to the others, and where a chain of tracks is.

use std::collections::BTreeSet;

use super::book::EventBook;
use super::grouping::{Place, TrackPoint};
use super::key::Key;
use super::keys::Keys;
use super::stored::Stored;
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
        let of_track = |t: &'a Key| self.tracks.get(t).map(|stored| (*t, stored));
        let of_tracks = tracks.filter_map(of_track);
        let stored: Vec<(Key, &Stored)> = of_tracks.flat_map(|(t, all)| all.iter().map(move |s| (t, s))).collect();
        let mut withdrawn_keys: BTreeSet<Key> = BTreeSet::new();
        let mut superseded: BTreeSet<Key> = BTreeSet::new();
        let mut withdrawn_tracks: BTreeSet<(Key, &str)> = BTreeSet::new();
        for (track, s) in &stored {
            for cite in s.cites.iter().filter(|c| c.allowed) {
                match cite.kind {
                    CiteKind::Retraction => drop(withdrawn_keys.insert(cite.of)),
                    CiteKind::Supersedes => drop(superseded.insert(cite.of)),
                    CiteKind::Followup | CiteKind::Other => {}
                }
            }
            if s.is_retraction && s.trigger_id.is_some() {
                withdrawn_tracks.insert((*track, &s.author));
            }
        }
        stored
            .iter()
            .map(|(track, s)| Member {
                stored: s,
                track: *track,
                withdrawn: withdrawn_keys.contains(&s.key) || withdrawn_tracks.contains(&(*track, &*s.author)),
                // Two packets that replace each other leave both standing rather than none.
                superseded: superseded.contains(&s.key) && !cites_replacer(s, &stored),
            })
            .collect()
    }

    pub(super) fn point(&self, tracks: &Keys) -> Option<TrackPoint> {
        let members = self.members_of_tracks(tracks.iter());
        let withdrawn = !members.iter().any(Member::stands);
        let counted = || members.iter().filter(|m| withdrawn || m.stands());
        let t0 = counted()
            .filter(|m| m.stored.time_kind == TimeKind::Trigger)
            .filter_map(|m| m.stored.event_time)
            .min()?;
        let place = counted()
            .filter_map(|m| m.stored.place())
            .min_by(|a, b| a.2.total_cmp(&b.2).then(a.0.total_cmp(&b.0)).then(a.1.total_cmp(&b.1)))
            .map(|(ra_deg, dec_deg, r90_deg)| Place::new(ra_deg, dec_deg, r90_deg));
        Some(TrackPoint {
            key: *tracks.iter().next()?,
            t0,
            place,
            sub_threshold: counted().all(|m| m.stored.flags.contains(&Flag::SubThreshold)),
            distant: counted().any(|m| m.stored.stream.starts_with("konus/")),
            withdrawn,
        })
    }
}

/// Whether a packet that replaces `stored` is itself replaced by it: a circle, of which all stand.
fn cites_replacer(stored: &Stored, all: &[(Key, &Stored)]) -> bool {
    let replaces = |by: &Stored, of: Key| by.cites.iter().any(|c| c.kind == CiteKind::Supersedes && c.of == of);
    all.iter()
        .any(|(_, other)| replaces(stored, other.key) && replaces(other, stored.key))
}
