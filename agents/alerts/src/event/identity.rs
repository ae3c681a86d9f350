//! Which packets were seen before: identities are remembered for longer than what they said.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

use super::key::Key;
use crate::format::hex;
use crate::notice::Notice;
use crate::read::Reading;
use crate::reason::{Reason, Verdict};

/// Half a SHA-256: enough for identities, and half the memory.
type Half = [u8; 16];

#[derive(Clone, Copy, Debug)]
struct Seen {
    content: Half,
    /// Those of the first copy; unknown for identities of an earlier run.
    bytes: Option<Half>,
    at: DateTime<Utc>,
}

/// The identities of the packets that were taken in.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities(BTreeMap<Half, Seen>);

/// The first half of a hexadecimal hash, packed.
fn packed(hex: &str) -> Half {
    let mut out = [0; 16];
    for (to, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| {
            char::from(b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
                .unwrap_or(0)
        };
        *to = digit(pair[0]) << 4 | digit(pair[1]);
    }
    out
}

/// Key and content of a notice in 64 hexadecimal digits: what must be kept of it to know it again.
pub fn identity(notice: &Notice) -> String {
    let mut text = hex(&Key::of(&notice.key).bytes());
    text.push_str(notice.content_sha256.get(..32).unwrap_or_default());
    text
}

impl Identities {
    /// What a packet is that was seen before; `None` for a new one, which is seen from now on.
    pub fn meet(&mut self, key: Key, notice: &Notice, reading: &Reading) -> Option<(Verdict, Reason)> {
        let key = key.bytes();
        let (content, bytes) = (packed(&notice.content_sha256), packed(&reading.bytes_sha256));
        let Some(before) = self.0.get(&key) else {
            let at = reading.received_at;
            self.0.insert(
                key,
                Seen {
                    content,
                    bytes: Some(bytes),
                    at,
                },
            );
            return None;
        };
        Some(if before.bytes == Some(bytes) {
            (Verdict::Duplicate, Reason::DuplicateBytes)
        } else if before.content == content {
            (Verdict::Duplicate, Reason::DuplicateIvorn)
        } else {
            (Verdict::Conflict, Reason::IvornConflict)
        })
    }

    /// Knows a packet of an earlier run by what [`identity`] said of it; text that is none is passed over.
    pub fn recall(&mut self, identity: &str, at: DateTime<Utc>) {
        if let (64, Some(key), Some(content)) = (identity.len(), identity.get(..32), identity.get(32..)) {
            let (key, content) = (packed(key), packed(content));
            self.0.entry(key).or_insert(Seen {
                content,
                bytes: None,
                at,
            });
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn prune(&mut self, now: DateTime<Utc>, keep: Duration) {
        self.0.retain(|_, seen| now - seen.at <= keep);
    }
}
