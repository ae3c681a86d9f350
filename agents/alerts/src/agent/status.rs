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
    /// The event that was touched last.
    pub latest: Option<String>,
    pub packets: u64,
    pub refused: u64,
    /// By which it decides from now on.
    #[serde(skip)]
    pub strategies: Rc<Vec<Strategy>>,
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
