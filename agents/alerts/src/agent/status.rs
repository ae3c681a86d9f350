//! What others see of the events: the journal's facts, and the published status.

use super::{Alerts, event_name, follow::Answer};
use crate::{
    event::{Event, EventState},
    strategy::{Decision, Strategy},
};
use alidade_model::{alert::Outlook, journal::Fact, states::EventState as Moved, time::UtcTime};
use serde::Serialize;
use std::{collections::BTreeMap, rc::Rc};

/// One event as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventSummary {
    pub event: String,
    pub name: String,
    pub state: Moved,
    pub ra_deg: Option<f64>,
    pub dec_deg: Option<f64>,
    pub r90_deg: Option<f64>,
    pub followed: bool,
    pub strategy: Option<String>,
    pub decision: String,
    /// When the site can look, where that was asked.
    pub outlook: Option<Outlook>,
    pub received_at: UtcTime,
    /// The instants of its way, while it is the latest.
    pub stages: BTreeMap<String, UtcTime>,
    /// Accepted packets that belong to it.
    pub packets: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AlertsStatus {
    pub events: BTreeMap<String, EventSummary>,
    /// Numbers of events that have turned out to be others, and whose they are now.
    #[serde(skip)]
    pub became: BTreeMap<String, String>,
    /// The event that was touched last.
    pub latest: Option<String>,
    pub packets: u64,
    pub refused: u64,
    /// By which it decides from now on.
    #[serde(skip)]
    pub strategies: Rc<Vec<Strategy>>,
}

impl AlertsStatus {
    /// The event of a number, also of one that it was first known by.
    pub fn event(&self, number: &str) -> Option<&EventSummary> {
        let mut number = number;
        // A number that was given up is never given again, so the way has an end.
        while let Some(now) = self.became.get(number) {
            number = now;
        }
        self.events.get(number)
    }
}

impl Alerts {
    /// Changes what others see. Nothing is copied unless somebody is just looking.
    pub(super) fn tell(&self, change: impl FnOnce(&mut AlertsStatus)) {
        self.ports.status.send_modify(|status| change(Rc::make_mut(status)));
    }

    pub(super) fn record_event(&self, event: &Event, before: Option<Moved>) {
        let to = moved(event.state);
        if before == Some(to) && to == Moved::New {
            return;
        }
        let best = event.best.as_ref();
        self.ports.recorder.record(Fact::EventMoved {
            event: event_name(event.id),
            from: before,
            to,
            name: event.names.first().cloned().unwrap_or_default(),
            ra_deg: best.map(|b| b.position.ra_deg),
            dec_deg: best.map(|b| b.position.dec_deg),
            r90_deg: best.and_then(|b| b.position.r90_deg()),
            cause: format!("{} notices", event.notice_keys.len()),
        });
    }

    pub(super) fn summarise(
        &mut self,
        event: &Event,
        decision: &Decision,
        answer: Option<Answer>,
        received_at: UtcTime,
        stages: &BTreeMap<String, UtcTime>,
    ) {
        let name = event_name(event.id);
        let best = event.best.as_ref();
        let packets = self.packets.get(&event.id).cloned().unwrap_or_default();
        let known = self
            .ports
            .status
            .borrow()
            .events
            .get(&name)
            .map(|k| (k.stages.clone(), k.received_at));
        let (mut all_stages, received_at) = known.unwrap_or_else(|| (BTreeMap::new(), received_at));
        for (stage, at) in stages {
            all_stages.entry(stage.clone()).or_insert(*at);
        }
        let summary = EventSummary {
            event: name.clone(),
            name: event.names.first().cloned().unwrap_or_else(|| name.clone()),
            state: moved(event.state),
            ra_deg: best.map(|b| b.position.ra_deg),
            dec_deg: best.map(|b| b.position.dec_deg),
            r90_deg: best.and_then(|b| b.position.r90_deg()),
            followed: answer
                .as_ref()
                .map_or(self.followed.contains_key(&event.id), |a| a.followed),
            strategy: decision.followed.as_ref().map(|p| p.strategy.clone()),
            decision: answer
                .as_ref()
                .map_or_else(|| decision.reason.to_string(), |a| a.reason.clone()),
            outlook: answer.and_then(|a| a.outlook),
            received_at,
            stages: all_stages,
            packets,
        };
        self.tell(|status| drop(status.events.insert(name, summary)));
    }
}

fn moved(state: EventState) -> Moved {
    match state {
        EventState::New => Moved::New,
        EventState::Updated => Moved::Updated,
        EventState::Merged => Moved::Merged,
        EventState::Retracted => Moved::Retracted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_under_the_numbers_that_it_gave_up() {
        let at: UtcTime = "2026-02-25T22:00:00Z".parse().unwrap();
        let standing = EventSummary {
            event: "AL3".into(),
            name: "GRB 260225A".into(),
            state: Moved::Merged,
            ra_deg: Some(10.0),
            dec_deg: Some(20.0),
            r90_deg: Some(0.001),
            followed: true,
            strategy: None,
            decision: String::new(),
            outlook: None,
            received_at: at,
            stages: BTreeMap::new(),
            packets: Vec::new(),
        };
        let mut status = AlertsStatus::default();
        status.events.insert("AL3".into(), standing.clone());
        status.became.insert("AL9".into(), "AL7".into());
        status.became.insert("AL7".into(), "AL3".into());
        for number in ["AL3", "AL7", "AL9"] {
            assert_eq!(status.event(number), Some(&standing), "{number}");
        }
        assert_eq!(status.event("AL8"), None);
    }
}
