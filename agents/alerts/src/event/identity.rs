//! Which packets were seen before: identities are remembered for longer than what they said.

use std::num::NonZeroU64;

use chrono::{DateTime, Duration, Utc};

use super::key::{Key, number};
use crate::format::hex;
use crate::notice::Notice;
use crate::read::Reading;
use crate::reason::{Reason, Verdict};

/// What is known of a packet beside its key. Half a hash finds a packet among all, a quarter tells two contents under
/// one identity apart: two that differ are taken for one in 2^64, and neither would be acted upon.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Beginning of the SHA-256 of the canonical content.
    content: u64,
    /// Beginning of that of the bytes of the first copy; unknown for identities of an earlier run.
    bytes: Option<NonZeroU64>,
    /// Seconds since 1970, rounded down.
    at_s: u32,
}

/// The identities of the packets that were taken in, in drawers by the first bits of their keys: each drawer in order,
/// without the holes of a tree. A year of packets is half a million of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities {
    drawers: Vec<Vec<(Key, Seen)>>,
    count: usize,
}

/// Drawers, a power of two: a year's identities are a hundred in each.
const DRAWERS: usize = 4096;

/// Key and content of a notice in 64 hexadecimal digits: what must be kept of it to know it again.
pub fn identity(notice: &Notice) -> String {
    let mut text = hex(&Key::of(&notice.key).bytes());
    text.push_str(notice.content_sha256.get(..32).unwrap_or_default());
    text
}

/// The number a hash begins with; 0 where there is none.
fn beginning(hash: &str) -> u64 {
    hash.get(..16).and_then(number).unwrap_or(0)
}

fn seconds(at: DateTime<Utc>) -> u32 {
    u32::try_from(at.timestamp().max(0)).unwrap_or(u32::MAX)
}

impl Identities {
    /// What a packet is that was seen before; `None` for a new one, which is seen from now on.
    pub fn meet(&mut self, key: Key, notice: &Notice, reading: &Reading) -> Option<(Verdict, Reason)> {
        let packet = Seen {
            content: beginning(&notice.content_sha256),
            bytes: NonZeroU64::new(beginning(&reading.bytes_sha256)),
            at_s: seconds(reading.received_at),
        };
        let before = self.first(key, packet)?;
        Some(if before.bytes.is_some() && before.bytes == packet.bytes {
            (Verdict::Duplicate, Reason::DuplicateBytes)
        } else if before.content == packet.content {
            (Verdict::Duplicate, Reason::DuplicateIvorn)
        } else {
            (Verdict::Conflict, Reason::IvornConflict)
        })
    }

    /// The packet that had this key first; without one, it is this.
    fn first(&mut self, key: Key, packet: Seen) -> Option<Seen> {
        if self.drawers.is_empty() {
            self.drawers.resize_with(DRAWERS, Vec::new);
        }
        let drawer = &mut self.drawers[drawer_of(key)];
        match drawer.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => Some(drawer[at].1),
            Err(at) => {
                if drawer.len() == drawer.capacity() {
                    drawer.reserve_exact(4 + drawer.len() / 8);
                }
                drawer.insert(at, (key, packet));
                self.count += 1;
                None
            }
        }
    }

    /// Knows a packet of an earlier run by what [`identity`] said of it; text that is none is passed over.
    pub fn recall(&mut self, identity: &str, at: DateTime<Utc>) {
        let content = identity.get(32..).filter(|c| c.len() == 32).and_then(Key::of_hex);
        if let (Some(key), Some(content)) = (Key::of_hex(identity), content) {
            let packet = Seen {
                content: content.first_bits(),
                bytes: None,
                at_s: seconds(at),
            };
            self.first(key, packet);
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn prune(&mut self, now: DateTime<Utc>, keep: Duration) {
        let oldest = seconds(now.checked_sub_signed(keep).unwrap_or(DateTime::UNIX_EPOCH));
        self.count = 0;
        for drawer in &mut self.drawers {
            drawer.retain(|(_, seen)| seen.at_s >= oldest);
            drawer.shrink_to(drawer.len() + drawer.len() / 4);
            self.count += drawer.len();
        }
    }
}

fn drawer_of(key: Key) -> usize {
    usize::try_from(key.first_bits() >> (64 - DRAWERS.trailing_zeros())).unwrap_or(0)
}
