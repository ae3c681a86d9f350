//! What an event is observed by: requests made, replaced and withdrawn. Each event has at most one live request and its
//! later visits.

use super::{Alerts, ask, ask::Naming, event_name};
use crate::{
    EventId,
    outlook::Prospect,
    strategy::{Decision, DecisionReason, Preempt, Proposal, Revision, revise},
};
use alidade_majordome::messages::{BookChanged, Retract, Takeover, TargetOfOpportunity};
use alidade_model::{
    alert::{Coverage, Outlook, When},
    journal::Fact,
    request::Sequence,
    states::SequenceState,
    time::UtcTime,
};

/// An event that is being followed.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub proposal: Proposal,
    /// The event under which the majordome and the book know it.
    pub label: String,
    pub sequences: Vec<String>,
    pub outlook: Outlook,
    pub coverage: Coverage,
}

/// What becomes of an event.
pub(super) struct Answer {
    pub followed: bool,
    pub reason: String,
    pub outlook: Option<Outlook>,
    pub coverage: Option<Coverage>,
}

impl Answer {
    fn no(reason: impl Into<String>) -> Self {
        Self {
            followed: false,
            reason: reason.into(),
            outlook: None,
            coverage: None,
        }
    }

    /// It goes on as it is.
    fn on(followed: &Followed, reason: String) -> Self {
        Self {
            followed: true,
            reason,
            outlook: Some(followed.outlook.clone()),
            coverage: Some(followed.coverage.clone()),
        }
    }
}

impl Alerts {
    /// The request that follows an event.
    pub(super) fn request_of(&self, id: EventId) -> Option<String> {
        let first = self.followed.get(&id)?.sequences.first()?;
        Some(self.ports.book.borrow().line(first)?.sequence.request.clone())
    }

    /// Events that turned out to be one have one observation: the older one's, or the younger one's if only that was
    /// followed.
    pub(super) fn take_over(&mut self, id: EventId) {
        let absorbed: Vec<EventId> = self
            .followed
            .keys()
            .copied()
            .filter(|known| *known != id && self.events.resolve(*known) == id)
            .collect();
        for other in absorbed {
            let Some(followed) = self.followed.remove(&other) else {
                continue;
            };
            let made = self.requests_made.remove(&other).unwrap_or_default();
            let count = self.requests_made.entry(id).or_default();
            *count = (*count).max(made);
            match self.followed.entry(id) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(followed)),
                std::collections::btree_map::Entry::Occupied(_) => {
                    self.withdraw(&followed, &format!("the same as {}", event_name(id)));
                }
            }
        }
    }

    /// Ends everything that is asked for: what runs, and what waits.
    fn withdraw(&self, followed: &Followed, cause: &str) {
        self.ports.retract.do_send(Retract {
            event: followed.label.clone(),
            cause: cause.to_owned(),
        });
        self.cancel(followed, cause);
    }

    /// First time: when the site can look, then the requests, and the telescope if the strategy says so.
    pub(super) fn follow(&mut self, id: EventId, proposal: Proposal, now: UtcTime) -> Answer {
        if proposal.is_test && !self.settings.follow_tests {
            return Answer::no("a test; tests are not followed here");
        }
        let sky = Prospect::new(&self.settings.site, &self.settings.horizon, &self.skies, now);
        let (outlook, coverage) = ask::prospect(&self.settings, &proposal, &sky);
        let answer = |followed, reason| Answer {
            followed,
            reason,
            outlook: Some(outlook.clone()),
            coverage: Some(coverage.clone()),
        };
        let strategy = proposal.strategy.clone();
        if outlook.when == When::Never {
            let reason = format!("wanted by strategy {strategy}, but {}", outlook.sentence);
            return answer(false, reason);
        }
        let number = self.requests_made.entry(id).or_default();
        *number += 1;
        let label = event_name(id);
        let naming = Naming {
            event: &label,
            stem: format!("alert-{}-{number}", id.0),
        };
        let requests = match ask::requests(&self.settings, &proposal, (&outlook, &coverage), &naming, now) {
            Ok(requests) => requests,
            Err(reason) => return answer(false, reason),
        };
        let sequences: Vec<Sequence> = requests.iter().flat_map(|r| r.sequences.clone()).collect();
        for request in requests {
            if let Err(error) = self.ports.book.borrow_mut().submit(request, &self.ports.recorder) {
                return answer(false, error.to_string());
            }
        }
        let preempt = proposal.preempt;
        let followed = Followed {
            proposal,
            label: label.clone(),
            sequences: sequences.iter().map(|s| s.id.clone()).collect(),
            outlook: outlook.clone(),
            coverage: coverage.clone(),
        };
        self.followed.insert(id, followed);
        let first = sequences
            .first()
            .filter(|s| s.window.is_some_and(|(start, _)| start <= now));
        if let (Some(first), true) = (first, outlook.when == When::Now && preempt != Preempt::Queue) {
            self.ports.majordome.do_send(TargetOfOpportunity {
                sequence: first.id.clone(),
                event: label,
                priority: first.priority,
                takeover: match preempt {
                    Preempt::InterruptExposure => Takeover::Now,
                    Preempt::Queue | Preempt::AfterExposure => Takeover::AfterExposure,
                },
            });
        }
        // What does not run at once waits in the schedule, which must know of it.
        self.ports.changed.do_send(BookChanged {
            cause: format!("alert {}", event_name(id)),
        });
        answer(true, format!("followed by strategy {strategy}, {}", outlook.sentence))
    }

    /// More is known about an event that is followed already.
    pub(super) fn update(&mut self, id: EventId, followed: &Followed, decision: &Decision, now: UtcTime) -> Answer {
        let strategy = &followed.proposal.strategy;
        match revise(&followed.proposal, decision, self.unit.fov_deg) {
            Revision::Keep => Answer::on(followed, format!("followed by strategy {strategy}, as before")),
            Revision::Cancel { reason } => {
                let cause = reason.to_string();
                self.withdraw(followed, &cause);
                self.followed.remove(&id);
                self.ports.changed.do_send(BookChanged {
                    cause: format!("alert {} is withdrawn", followed.label),
                });
                Answer::no(cause)
            }
            Revision::Replace { proposal, repoint } => {
                let over = {
                    let book = self.ports.book.borrow();
                    followed
                        .sequences
                        .iter()
                        .all(|s| book.line(s).is_none_or(|l| l.state == SequenceState::Executed))
                };
                if !repoint && !over {
                    if let Some(known) = self.followed.get_mut(&id) {
                        known.proposal = *proposal;
                    }
                    let reason = format!("position improved within the field; strategy {strategy} goes on");
                    return Answer::on(followed, reason);
                }
                let cause = if repoint {
                    "a better position, out of the field"
                } else {
                    "more is known, and the first observation is over"
                };
                self.withdraw(followed, cause);
                self.followed.remove(&id);
                self.follow(id, *proposal, now)
            }
        }
    }

    /// Ends what is not yet observed for an event. What runs is released by the majordome, which was told before.
    fn cancel(&self, followed: &Followed, cause: &str) {
        let recorder = &self.ports.recorder;
        let mut book = self.ports.book.borrow_mut();
        for id in &followed.sequences {
            let state = book.line(id).map(|line| line.state);
            if matches!(
                state,
                Some(
                    SequenceState::Observable
                        | SequenceState::Planned
                        | SequenceState::Incomplete
                        | SequenceState::Executing
                )
            ) {
                let ended = book
                    .refund(id, cause, recorder)
                    .and_then(|()| book.move_to(id, SequenceState::Cancelled, cause, recorder));
                if let Err(error) = ended {
                    recorder.record(Fact::Degraded {
                        what: format!("sequence {id}"),
                        cause: error.to_string(),
                    });
                }
            }
        }
    }
}

/// Nobody follows it; out of the telescope's reach is an answer of the site.
pub(super) fn unwanted(decision: &Decision) -> Answer {
    let out_of_reach = decision.losers.iter().any(|l| l.reason == DecisionReason::OutOfReach);
    let reason = match decision.reason {
        DecisionReason::NoneMatches if out_of_reach => "out of the telescope's reach".to_owned(),
        DecisionReason::NoneMatches => "no strategy wants it".to_owned(),
        ref other => other.to_string(),
    };
    Answer {
        outlook: out_of_reach.then(|| Outlook {
            when: When::Never,
            reason: DecisionReason::OutOfReach.code(),
            sentence: "never: the telescope does not reach its declination".into(),
            from: None,
            until: None,
        }),
        ..Answer::no(reason)
    }
}
