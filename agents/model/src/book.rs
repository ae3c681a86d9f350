//! The observing book: every request, the state of every sequence and the quota ledger.
//!
//! It is the only writer of sequence states and quota postings. Each method checks the table of legal transitions,
//! applies the change and records the fact; the store turns the same facts into rows, so that a restart reads back
//! exactly this book.

use crate::{
    journal::{Fact, Recorder},
    ledger::{Ledger, Posting, Refused, Side},
    request::{Origin, Request, Sequence, SequenceId},
    states::{IllegalTransition, LifeCycle, SequenceState},
    time::UtcTime,
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Why the book refused a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    #[error("sequence {0} is unknown")]
    UnknownSequence(SequenceId),
    #[error("request {0} exists already")]
    DuplicateRequest(String),
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    #[error(transparent)]
    Quota(#[from] Refused),
}

/// A sequence with what has happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub sequence: Sequence,
    pub state: SequenceState,
    pub from_alert: Option<String>,
    /// Why it is not observed, when that is known.
    pub why: Option<String>,
    /// Exposures on disk per channel; a resumed sequence starts after them.
    pub done: BTreeMap<String, u32>,
    pub submitted_at: UtcTime,
}

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    lines: BTreeMap<SequenceId, Line>,
    requests: BTreeMap<String, Request>,
    ledger: Ledger,
}

/// The book as the agents share it: one thread, short borrows, no await while borrowed.
pub type SharedBook = Rc<RefCell<Book>>;

impl Book {
    /// Rebuilds a book from what a store has kept.
    pub fn restored(
        requests: Vec<Request>,
        states: BTreeMap<SequenceId, (SequenceState, BTreeMap<String, u32>)>,
        ledger: Ledger,
    ) -> Self {
        let mut book = Self {
            ledger,
            ..Self::default()
        };
        for request in requests {
            book.admit(&request);
            book.requests.insert(request.id.clone(), request);
        }
        for (id, (state, done)) in states {
            if let Some(line) = book.lines.get_mut(&id) {
                line.state = state;
                line.done = done;
            }
        }
        book
    }

    fn admit(&mut self, request: &Request) {
        let from_alert = match &request.origin {
            Origin::Routine => None,
            Origin::Alert { event, .. } => Some(event.clone()),
        };
        for sequence in &request.sequences {
            let line = Line {
                sequence: sequence.clone(),
                state: SequenceState::Submitted,
                from_alert: from_alert.clone(),
                why: None,
                done: BTreeMap::new(),
                submitted_at: request.submitted_at,
            };
            self.lines.insert(sequence.id.clone(), line);
        }
    }

    pub fn line(&self, id: &str) -> Option<&Line> {
        self.lines.get(id)
    }

    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    pub fn request(&self, id: &str) -> Option<&Request> {
        self.requests.get(id)
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Opens or enlarges an account.
    pub fn grant(&mut self, user: &str, institute: &str, quota_s: f64, recorder: &Recorder) -> Result<(), BookError> {
        recorder.record(Fact::UserGranted {
            user: user.into(),
            institute: institute.into(),
            quota_s,
        });
        self.post(
            user,
            Side::Granted,
            Side::Free,
            micros(quota_s),
            None,
            "quota granted",
            recorder,
        )
    }

    /// Admits a checked request; its sequences become observable.
    pub fn submit(&mut self, request: Request, recorder: &Recorder) -> Result<(), BookError> {
        if self.requests.contains_key(&request.id) {
            return Err(BookError::DuplicateRequest(request.id));
        }
        recorder.record(Fact::RequestSubmitted {
            request: request.clone(),
        });
        self.admit(&request);
        let ids: Vec<_> = request.sequences.iter().map(|s| s.id.clone()).collect();
        self.requests.insert(request.id.clone(), request);
        for id in ids {
            self.move_to(&id, SequenceState::Observable, "request accepted", recorder)?;
        }
        Ok(())
    }

    /// Moves a sequence along its life-cycle; a no-op when it is already there.
    pub fn move_to(&mut self, id: &str, to: SequenceState, cause: &str, recorder: &Recorder) -> Result<(), BookError> {
        let line = self
            .lines
            .get_mut(id)
            .ok_or_else(|| BookError::UnknownSequence(id.into()))?;
        if line.state == to {
            return Ok(());
        }
        let from = line.state;
        line.state = from.step(to)?;
        line.why = Some(cause.to_owned());
        recorder.record(Fact::SequenceMoved {
            sequence: id.into(),
            from,
            to,
            cause: cause.into(),
        });
        Ok(())
    }

    /// Keeps the reason why a sequence waits, without moving it.
    pub fn explain(&mut self, id: &str, why: &str) {
        if let Some(line) = self.lines.get_mut(id) {
            line.why = Some(why.to_owned());
        }
    }

    /// Counts one more exposure on disk for a channel of a sequence.
    pub fn exposure_done(&mut self, id: &str, channel: &str, recorder: &Recorder) -> Result<(), BookError> {
        let line = self
            .lines
            .get_mut(id)
            .ok_or_else(|| BookError::UnknownSequence(id.into()))?;
        *line.done.entry(channel.to_owned()).or_default() += 1;
        recorder.record(Fact::SequenceProgress {
            sequence: id.into(),
            done: line.done.clone(),
        });
        Ok(())
    }

    /// Forgets the frames of an interrupted sequence whose quota is given back: it will be observed anew.
    pub fn start_over(&mut self, id: &str, recorder: &Recorder) {
        if let Some(line) = self.lines.get_mut(id)
            && !line.done.is_empty()
        {
            line.done.clear();
            recorder.record(Fact::SequenceProgress {
                sequence: id.into(),
                done: BTreeMap::new(),
            });
        }
    }

    /// Reserves observing time for a planned sequence. Alerts are exempt from quota.
    pub fn reserve(&mut self, id: &str, seconds: f64, recorder: &Recorder) -> Result<(), BookError> {
        let Some((user, false)) = self.account_of(id)? else {
            return Ok(());
        };
        if self.ledger.of_sequence(id).0 > 0 {
            return Ok(());
        }
        self.post(
            &user,
            Side::Free,
            Side::Reserved,
            micros(seconds),
            Some(id),
            "planned",
            recorder,
        )
    }

    /// Turns what is reserved for a sequence into spent time.
    pub fn spend(&mut self, id: &str, recorder: &Recorder) -> Result<(), BookError> {
        let (reserved, _) = self.ledger.of_sequence(id);
        let Some((user, false)) = self.account_of(id)? else {
            return Ok(());
        };
        if reserved == 0 {
            return Ok(());
        }
        self.post(
            &user,
            Side::Reserved,
            Side::Spent,
            reserved,
            Some(id),
            "observed",
            recorder,
        )
    }

    /// Gives back everything reserved and spent for a sequence.
    pub fn refund(&mut self, id: &str, cause: &str, recorder: &Recorder) -> Result<(), BookError> {
        let (reserved, spent) = self.ledger.of_sequence(id);
        let Some((user, _)) = self.account_of(id)? else {
            return Ok(());
        };
        if reserved > 0 {
            self.post(&user, Side::Reserved, Side::Free, reserved, Some(id), cause, recorder)?;
        }
        if spent > 0 {
            self.post(&user, Side::Spent, Side::Free, spent, Some(id), cause, recorder)?;
        }
        Ok(())
    }

    /// The account of a sequence, and whether it is exempt because it follows an alert.
    fn account_of(&self, id: &str) -> Result<Option<(String, bool)>, BookError> {
        let line = self
            .lines
            .get(id)
            .ok_or_else(|| BookError::UnknownSequence(id.into()))?;
        Ok(Some((line.sequence.user.clone(), line.from_alert.is_some())))
    }

    #[allow(clippy::too_many_arguments, reason = "one posting is these seven things")]
    fn post(
        &mut self,
        account: &str,
        from: Side,
        to: Side,
        amount_us: i64,
        sequence: Option<&str>,
        cause: &str,
        recorder: &Recorder,
    ) -> Result<(), BookError> {
        let posting = Posting {
            account: account.into(),
            from,
            to,
            amount_us,
            sequence: sequence.map(str::to_owned),
            cause: cause.into(),
            at: recorder.now(),
        };
        self.ledger.post(&posting)?;
        recorder.record(Fact::QuotaPosted { posting });
        Ok(())
    }
}

fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        journal::{Entry, Sink},
        request::{Album, Constraints, Plan, Target},
    };

    struct Noon;
    impl Clock for Noon {
        fn now(&self) -> UtcTime {
            "2026-03-14T12:00:00Z".parse().unwrap()
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Rc<RefCell<Vec<Entry>>>);
    impl Sink for Kept {
        fn append(&mut self, entry: &Entry) {
            self.0.borrow_mut().push(entry.clone());
        }
    }

    fn request() -> Request {
        Request {
            id: "r1".into(),
            title: "M 51".into(),
            user: "ada".into(),
            origin: Origin::Routine,
            submitted_at: Noon.now(),
            sequences: vec![Sequence {
                id: "r1-1".into(),
                request: "r1".into(),
                user: "ada".into(),
                target: Target {
                    name: "M 51".into(),
                    ra_deg: 202.47,
                    dec_deg: 47.2,
                },
                priority: 5.0,
                window: None,
                t_prefered: None,
                constraints: Constraints::default(),
                albums: vec![Album {
                    channel: "vis".into(),
                    plans: vec![Plan {
                        filter: "r".into(),
                        exposure_s: 60.0,
                        count: 5,
                        binning: 1,
                        dither_arcsec: 0.0,
                    }],
                }],
            }],
        }
    }

    #[test]
    fn a_displaced_sequence_gets_its_quota_back() {
        let kept = Kept::default();
        let recorder = Recorder::new(Rc::new(Noon), 0, vec![Box::new(kept.clone())]);
        let mut book = Book::default();
        book.grant("ada", "IRAP", 3600.0, &recorder).unwrap();
        book.submit(request(), &recorder).unwrap();
        book.reserve("r1-1", 310.0, &recorder).unwrap();
        book.move_to("r1-1", SequenceState::Planned, "planned", &recorder)
            .unwrap();
        book.move_to("r1-1", SequenceState::Executing, "its time", &recorder)
            .unwrap();
        book.spend("r1-1", &recorder).unwrap();
        assert_eq!(book.ledger().balance("ada").unwrap().spent_us, 310_000_000);
        book.refund("r1-1", "displaced by an alert", &recorder).unwrap();
        book.move_to("r1-1", SequenceState::Observable, "displaced by an alert", &recorder)
            .unwrap();
        let balance = book.ledger().balance("ada").unwrap();
        assert_eq!(
            (balance.free_us, balance.spent_us, balance.sum()),
            (3_600_000_000, 0, 0)
        );
        assert!(book.ledger().is_balanced());
        assert_eq!(
            kept.0.borrow().iter().map(|e| e.seq).collect::<Vec<_>>(),
            (1..=kept.0.borrow().len() as u64).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_request_is_taken_once() {
        let recorder = Recorder::new(Rc::new(Noon), 0, vec![]);
        let mut book = Book::default();
        book.submit(request(), &recorder).unwrap();
        assert_eq!(
            book.submit(request(), &recorder),
            Err(BookError::DuplicateRequest("r1".into()))
        );
    }
}
