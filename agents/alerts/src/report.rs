//! What `alidade alert read` prints: one line a file, files of one call taken as one stream.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{EventBook, EventId, MergeRules, Trust};
use crate::instant::format_millis;
use crate::limits::Limits;
use crate::notice::{Channel, Notice};
use crate::read::{Reading, read_within};
use crate::reason::{Reason, Refusal, Verdict};
use crate::transport::vtp::frame::{FrameDecoder, FrameError};
use crate::transport::vtp::message::{Payload, TransportRole, classify};

/// A citation, as printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CitationLine {
    /// The relation, as written.
    pub cite: String,
    /// The cited identifier.
    pub ivorn: String,
}

/// The verdict on one file with the fields that were read; `null` where absent. Those of a rejected packet are as far
/// as they could be read, for the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The file, as named in the call.
    pub file: String,
    /// What may happen because of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Mission.
    pub mission: Option<String>,
    /// The mission's name of the kind of notice.
    pub notice_type: Option<String>,
    /// VOEvent identifier.
    pub ivorn: Option<String>,
    /// VOEvent role.
    pub role: Option<String>,
    /// The mission's name of the event.
    pub trigger_id: Option<String>,
    /// Right ascension, ICRS degrees.
    pub ra_deg: Option<f64>,
    /// Declination, degrees.
    pub dec_deg: Option<f64>,
    /// Error radius as stated, degrees.
    pub err_deg: Option<f64>,
    /// Event time, UTC with milliseconds.
    pub event_time_utc: Option<String>,
    /// Citations in order.
    pub citations: Vec<CitationLine>,
    /// A test, mock or injection.
    pub is_test: bool,
    /// Withdraws earlier packets.
    pub is_retraction: bool,
    /// Continues an event reported before.
    pub is_update: bool,
    /// Number of the event it belongs to, within this call.
    pub event: Option<EventId>,
    /// For people.
    pub detail: Option<String>,
}

impl Line {
    fn bare(file: &str, verdict: Verdict, reason: Reason, detail: &str) -> Self {
        Self {
            file: file.to_string(),
            verdict,
            reason,
            mission: None,
            notice_type: None,
            ivorn: None,
            role: None,
            trigger_id: None,
            ra_deg: None,
            dec_deg: None,
            err_deg: None,
            event_time_utc: None,
            citations: Vec::new(),
            is_test: false,
            is_retraction: false,
            is_update: false,
            event: None,
            detail: Some(detail.to_string()).filter(|d| !d.is_empty()),
        }
    }

    fn with(mut self, notice: &Notice) -> Self {
        self.mission = Some(notice.mission.clone()).filter(|m| !m.is_empty());
        self.notice_type = notice.notice_type.clone();
        self.ivorn = notice.ivorn.clone();
        self.role = notice.role_text.clone();
        self.trigger_id = notice.trigger_id.clone();
        self.ra_deg = notice.position.map(|p| p.ra_deg);
        self.dec_deg = notice.position.map(|p| p.dec_deg);
        self.err_deg = notice.position.and_then(|p| p.err_deg);
        self.event_time_utc = notice.event_time.map(format_millis);
        self.citations = notice
            .citations
            .iter()
            .map(|c| CitationLine {
                cite: c.cite.clone(),
                ivorn: c.ivorn.clone(),
            })
            .collect();
        self.is_test = notice.is_test;
        self.is_retraction = notice.is_retraction;
        self.is_update = notice.is_update;
        self
    }
}

/// A stream of files read one after another.
#[derive(Debug)]
pub struct Reader {
    book: EventBook,
    limits: Limits,
    now: DateTime<Utc>,
}

impl Reader {
    /// A stream whose packets all arrive at `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            book: EventBook::new(MergeRules::default(), Trust::default()),
            limits: Limits::default(),
            now,
        }
    }

    /// Packets from here on arrive at `now`.
    pub fn set_now(&mut self, now: DateTime<Utc>) {
        self.now = now;
    }

    /// Forgets what is long over: in a stream that never ends.
    pub fn forget_the_old(&mut self) {
        self.book.prune(self.now, Duration::days(7), Duration::days(60));
    }

    /// The events so far.
    #[must_use]
    pub fn book(&self) -> &EventBook {
        &self.book
    }

    /// Reads one file; its name decides what it may be (`.xml`, `.json`, `.txt`, `.bin` for VTP frames, else by look).
    pub fn read(&mut self, file: &str, bytes: &[u8]) -> Line {
        let extension = file.rsplit_once('.').map_or("", |(_, e)| e).to_ascii_lowercase();
        match extension.as_str() {
            "xml" | "voevent" => self.packet(file, bytes, Channel::Voevent),
            "json" => self.packet(file, bytes, Channel::Json),
            "txt" => self.packet(file, bytes, Channel::Text),
            "bin" | "vtp" => self.frames(file, bytes),
            _ => self.packet(file, bytes, Channel::Any),
        }
    }

    fn packet(&mut self, file: &str, bytes: &[u8], channel: Channel) -> Line {
        let reading = read_within(bytes, channel, self.now, &self.limits);
        self.enter(file, &reading)
    }

    fn enter(&mut self, file: &str, reading: &Reading) -> Line {
        let outcome = self.book.insert(reading);
        let mut line = Line::bare(file, outcome.verdict, outcome.reason, &reading.detail);
        line.event = outcome.event;
        match &reading.notice {
            Some(notice) => line.with(notice),
            None => line,
        }
    }

    /// A recorded VTP stream: the first packet in it speaks for the file, else the first thing wrong, else the first
    /// transport message.
    fn frames(&mut self, file: &str, bytes: &[u8]) -> Line {
        let mut decoder = FrameDecoder::new(self.limits.max_packet_bytes);
        decoder.push(bytes);
        let (mut packet, mut refused, mut message) = (None, None, None);
        let broken = |error: &FrameError| {
            let reason = match error {
                FrameError::TooLarge { .. } => Reason::FrameTooLarge,
                FrameError::EofInFrame { .. } => Reason::EofInFrame,
            };
            Line::bare(file, Verdict::Reject, reason, &error.to_string())
        };
        for _ in 0..self.limits.max_elements {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    refused.get_or_insert(broken(&error));
                    break;
                }
            };
            match classify(&frame, &self.limits) {
                Ok(Payload::Packet) => {
                    let line = self.packet(file, &frame, Channel::Voevent);
                    let slot = if line.verdict == Verdict::Reject {
                        &mut refused
                    } else {
                        &mut packet
                    };
                    slot.get_or_insert(line);
                }
                Ok(Payload::Transport(transport)) => {
                    let reason = match transport.role {
                        TransportRole::Iamalive => Reason::IamaliveReplyExpected,
                        TransportRole::Other(_) => Reason::UnknownTransportRole,
                        _ => Reason::TransportMessage,
                    };
                    message.get_or_insert(Line::bare(file, Verdict::Ignore, reason, ""));
                }
                Err(Refusal { reason, detail }) => {
                    refused.get_or_insert(Line::bare(file, Verdict::Reject, reason, &detail));
                }
            }
        }
        if let Err(error @ FrameError::EofInFrame { .. }) = decoder.finish() {
            refused.get_or_insert(broken(&error));
        }
        let empty = || broken(&FrameError::EofInFrame { missing: 4 });
        packet.or(refused).or(message).unwrap_or_else(empty)
    }
}
