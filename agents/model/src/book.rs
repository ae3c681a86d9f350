//! The observing book: every request, the state of every sequence and the quota ledger.
//!
//! It is the only writer of sequence states and quota postings. Each method checks the table of legal transitions,
//! applies the change and records the fact; the store turns the same facts into rows, so that a restart reads back
//! exactly this book.

use crate::{
    journal::{Fact, Recorder},
    ledger::{Ledger, Posting, Refused, Side, institute_account},
    request::{Origin, Request, RequestFault, Sequence, SequenceId, UserId},
    states::{IllegalTransition, LifeCycle, SequenceState},
    time::UtcTime,
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Why the book refused a change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BookError {
    #[error("sequence {0} is unknown")]
    UnknownSequence(SequenceId),
    #[error("request {0} exists already")]
    DuplicateRequest(String),
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    #[error(transparent)]
    Quota(#[from] Refused),
    #[error(transparent)]
    Fault(#[from] RequestFault),
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
    /// When it came into its state.
    pub moved_at: UtcTime,
}

/// What a store keeps of a sequence beside its request.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub state: SequenceState,
    pub moved_at: UtcTime,
    pub done: BTreeMap<String, u32>,
}

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    lines: BTreeMap<SequenceId, Line>,
    requests: BTreeMap<String, Request>,
    /// The institute of each user.
    institutes: BTreeMap<UserId, String>,
    ledger: Ledger,
}

/// The book as the agents share it: one thread, short borrows, no await while borrowed.
pub type SharedBook = Rc<RefCell<Book>>;

impl Book {
    /// Rebuilds a book from what a store has kept.
    pub fn restored(
        requests: Vec<Request>,
        states: BTreeMap<SequenceId, Standing>,
        institutes: BTreeMap<UserId, String>,
        ledger: Ledger,
    ) -> Self {
        let mut book = Self {
            institutes,
            ledger,
            ..Self::default()
        };
        for request in requests {
            book.admit(&request);
            book.requests.insert(request.id.clone(), request);
        }
        for (id, standing) in states {
            if let Some(line) = book.lines.get_mut(&id) {
                line.state = standing.state;
                line.done = standing.done;
                line.moved_at = standing.moved_at;
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
                moved_at: request.submitted_at,
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
        self.institutes.insert(user.into(), institute.into());
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

    /// True for a user who has ever been granted observing time.
    pub fn knows(&self, user: &str) -> bool {
        self.institutes.contains_key(user)
    }

    /// Gives an institute a quota that its members share; without one only their own count.
    pub fn grant_institute(&mut self, institute: &str, quota_s: f64, recorder: &Recorder) -> Result<(), BookError> {
        let account = institute_account(institute);
        self.post(
            &account,
            Side::Granted,
            Side::Free,
            micros(quota_s),
            None,
            "quota granted",
            recorder,
        )
    }

    /// The shared account that pays for a user beside the own one, if the institute has a quota.
    pub fn shared_account(&self, user: &str) -> Option<UserId> {
        let account = institute_account(self.institutes.get(user)?);
        self.ledger.balance(&account).map(|_| account)
    }

    /// Admits a checked request; its sequences become observable.
    pub fn submit(&mut self, request: Request, recorder: &Recorder) -> Result<(), BookError> {
        if self.requests.contains_key(&request.id) {
            return Err(BookError::DuplicateRequest(request.id));
        }
        self.fits(&request)?;
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

    /// A request may name no sequence of another as its own, and wait for none that nobody knows.
    fn fits(&self, request: &Request) -> Result<(), RequestFault> {
        for sequence in &request.sequences {
            if self.lines.contains_key(&sequence.id) {
                return Err(RequestFault::DuplicateId {
                    id: sequence.id.clone(),
                });
            }
            let Some(after) = &sequence.timing.after else { continue };
            let other = &after.sequence;
            if !self.lines.contains_key(other) && !request.sequences.iter().any(|s| s.id == *other) {
                return Err(RequestFault::UnknownPredecessor {
                    sequence: sequence.id.clone(),
                    other: other.clone(),
                });
            }
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
        let fact = Fact::SequenceMoved {
            sequence: id.into(),
            from,
            to,
            cause: cause.into(),
        };
        line.moved_at = recorder.record_timed(fact).1;
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

    /// Reserves observing time for a planned sequence, on every account that pays for it or on none. Alerts are exempt
    /// from quota.
    pub fn reserve(&mut self, id: &str, seconds: f64, recorder: &Recorder) -> Result<(), BookError> {
        let mut paid: Vec<UserId> = Vec::new();
        for account in self.payers_of(id)? {
            if self.ledger.of_sequence(id, &account).0 > 0 {
                continue;
            }
            let amount = micros(seconds);
            let posted = self.post(
                &account,
                Side::Free,
                Side::Reserved,
                amount,
                Some(id),
                "planned",
                recorder,
            );
            if let Err(refused) = posted {
                for account in paid {
                    let cause = "another account cannot pay its part";
                    self.post(&account, Side::Reserved, Side::Free, amount, Some(id), cause, recorder)?;
                }
                return Err(refused);
            }
            paid.push(account);
        }
        Ok(())
    }

    /// Turns what is reserved for a sequence into spent time.
    pub fn spend(&mut self, id: &str, recorder: &Recorder) -> Result<(), BookError> {
        for account in self.payers_of(id)? {
            let (reserved, _) = self.ledger.of_sequence(id, &account);
            if reserved > 0 {
                self.post(
                    &account,
                    Side::Reserved,
                    Side::Spent,
                    reserved,
                    Some(id),
                    "observed",
                    recorder,
                )?;
            }
        }
        Ok(())
    }

    /// Gives back everything reserved and spent for a sequence.
    pub fn refund(&mut self, id: &str, cause: &str, recorder: &Recorder) -> Result<(), BookError> {
        for account in self.payers_of(id)? {
            let (reserved, spent) = self.ledger.of_sequence(id, &account);
            for (side, amount) in [(Side::Reserved, reserved), (Side::Spent, spent)] {
                if amount > 0 {
                    self.post(&account, side, Side::Free, amount, Some(id), cause, recorder)?;
                }
            }
        }
        Ok(())
    }

    /// The accounts that pay for a sequence: its user's, and that of the institute if it has a quota; none when it
    /// follows an alert.
    pub fn payers(&self, line: &Line) -> Vec<UserId> {
        if line.from_alert.is_some() {
            return Vec::new();
        }
        let user = line.sequence.user.clone();
        let shared = self.shared_account(&user);
        [Some(user), shared].into_iter().flatten().collect()
    }

    fn payers_of(&self, id: &str) -> Result<Vec<UserId>, BookError> {
        let line = self
            .lines
            .get(id)
            .ok_or_else(|| BookError::UnknownSequence(id.into()))?;
        Ok(self.payers(line))
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
        request::{After, Album, Constraints, Plan, Target, Timing},
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
                timing: Timing::default(),
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
    fn an_institute_pays_with_its_member_or_nobody_pays() {
        let recorder = Recorder::new(Rc::new(Noon), 0, vec![]);
        let mut book = Book::default();
        book.grant("ada", "IRAP", 3600.0, &recorder).unwrap();
        book.grant_institute("IRAP", 400.0, &recorder).unwrap();
        let mut two = request();
        let mut second = two.sequences[0].clone();
        second.id = "r1-2".into();
        two.sequences.push(second);
        book.submit(two, &recorder).unwrap();
        book.reserve("r1-1", 310.0, &recorder).unwrap();
        let refused = book.reserve("r1-2", 310.0, &recorder).unwrap_err();
        assert!(
            refused.to_string().contains("institute:irap has 90 s free"),
            "{refused}"
        );
        let free = |account: &str| book.ledger().balance(account).unwrap().free_us / 1_000_000;
        assert_eq!((free("ada"), free("institute:irap")), (3290, 90));
        book.spend("r1-1", &recorder).unwrap();
        book.refund("r1-1", "trailed", &recorder).unwrap();
        let free = |account: &str| book.ledger().balance(account).unwrap().free_us / 1_000_000;
        assert_eq!((free("ada"), free("institute:irap")), (3600, 400));
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
        let mut other = request();
        other.id = "r2".into();
        let taken = book.submit(other.clone(), &recorder).unwrap_err();
        assert_eq!(taken.to_string(), "identifier r1-1 is used twice");
        other.sequences[0].id = "r2-1".into();
        other.sequences[0].timing.after = Some(After {
            sequence: "r9-1".into(),
            min_gap_s: 0.0,
            max_gap_s: None,
            required: true,
        });
        let alone = book.submit(other, &recorder).unwrap_err();
        assert!(alone.to_string().contains("waits for r9-1"), "{alone}");
        assert!(book.request("r2").is_none());
    }
}
