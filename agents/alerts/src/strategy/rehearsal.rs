//! A dry run: what other strategies would have made of the alerts of the past.
//!
//! Every stored packet is taken in again at the moment it came, and both sets of strategies decide each time. What
//! counts of an event is its first turn to being followed, or the last word when it never was.

use std::collections::BTreeMap;

use alidade_model::time::UtcTime;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Decision, Strategy, UnitCapabilities, decide};
use crate::event::{EventBook, EventId, MergeRules, Trust};
use crate::limits::Limits;
use crate::notice::Channel;
use crate::read::read_within;

/// What strategies made of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fate {
    pub followed: bool,
    /// Name and version of the strategy that follows it.
    pub strategy: Option<String>,
    /// 1 is first.
    pub priority: Option<u8>,
    /// When the decision fell.
    pub at: UtcTime,
    /// Pointings; 1 for a single field.
    pub pointings: usize,
    /// Exposures of all steps together, seconds of open shutter for one pointing.
    pub exposure_s: f64,
    /// For people: why it is not followed, strategy by strategy.
    pub why: String,
}

/// What changes for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Nothing.
    Same,
    /// It was not followed and would be.
    Gained,
    /// It was followed and would not be.
    Lost,
    /// It would be followed, but otherwise: by another strategy, priority or plan, or at another time.
    Other,
}

/// One event in both worlds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    pub event: String,
    /// What the world calls it.
    pub name: String,
    pub trigger_time: Option<UtcTime>,
    pub turn: Turn,
    pub before: Fate,
    pub after: Fate,
}

fn fate(decision: &Decision, others: &str) -> Fate {
    let proposal = decision.followed.as_ref();
    let steps = proposal.map(|p| p.steps.as_slice()).unwrap_or_default();
    Fate {
        followed: proposal.is_some(),
        strategy: proposal.map(|p| format!("{} v{}", p.strategy, p.strategy_version)),
        priority: proposal.map(|p| p.priority),
        at: UtcTime::new(decision.at),
        pointings: proposal.map_or(0, |p| p.tiles.len().max(1)),
        #[allow(clippy::cast_precision_loss)]
        exposure_s: steps
            .iter()
            .map(|s| s.exposure_s * f64::from(s.count) * s.filters.len() as f64)
            .sum(),
        why: if proposal.is_some() {
            decision.reason.to_string()
        } else {
            others.to_owned()
        },
    }
}

/// Why each strategy does not follow, in one line.
fn refusals(decision: &Decision) -> String {
    if decision.losers.is_empty() {
        return decision.reason.to_string();
    }
    let each: Vec<String> = decision
        .losers
        .iter()
        .map(|loser| format!("{}: {}", loser.strategy, loser.reason))
        .collect();
    each.join("; ")
}

/// One world: the first following decision of every event, else its last.
struct World<'a> {
    strategies: &'a [Strategy],
    fates: BTreeMap<EventId, Fate>,
}

impl World<'_> {
    fn look(&mut self, event: &crate::Event, unit: &UnitCapabilities, at: DateTime<Utc>) {
        if self.fates.get(&event.id).is_some_and(|known| known.followed) {
            return;
        }
        let decision = decide(event, self.strategies, unit, at);
        let why = refusals(&decision);
        self.fates.insert(event.id, fate(&decision, &why));
    }
}

/// Compares two sets of strategies over packets of the past: body and moment of arrival, in the order in which they
/// came. Packets before `since` only make the events known.
#[must_use]
pub fn rehearse<'p>(
    packets: impl IntoIterator<Item = (&'p [u8], UtcTime)>,
    before: &[Strategy],
    after: &[Strategy],
    unit: &UnitCapabilities,
    since: UtcTime,
) -> Vec<Rehearsal> {
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    let limits = Limits::default();
    let world = |strategies| World {
        strategies,
        fates: BTreeMap::new(),
    };
    let (mut then, mut now) = (world(before), world(after));
    for (body, at) in packets {
        let outcome = book.insert(&read_within(body, Channel::Any, at.chrono(), &limits));
        if at < since {
            continue;
        }
        for touched in outcome.touched {
            if let Some(event) = book.event(touched) {
                then.look(&event, unit, at.chrono());
                now.look(&event, unit, at.chrono());
            }
        }
    }
    let fates = then.fates.into_iter().zip(now.fates);
    fates
        .filter(|((id, _), _)| book.resolve(*id) == *id)
        .filter_map(|((id, before), (_, after))| {
            let event = book.event(id)?;
            let turn = match (before.followed, after.followed) {
                (false, true) => Turn::Gained,
                (true, false) => Turn::Lost,
                (false, false) => Turn::Same,
                (true, true) if alike(&before, &after) => Turn::Same,
                (true, true) => Turn::Other,
            };
            Some(Rehearsal {
                event: format!("event-{}", id.0),
                name: event.names.first().cloned().unwrap_or_default(),
                trigger_time: event.t0.map(UtcTime::new),
                turn,
                before,
                after,
            })
        })
        .collect()
}

/// The same observation; a strategy's version alone changes nothing.
fn alike(before: &Fate, after: &Fate) -> bool {
    let name = |fate: &Fate| {
        let strategy = fate.strategy.as_deref().unwrap_or_default();
        strategy.rsplit_once(" v").map_or(strategy, |(name, _)| name).to_owned()
    };
    name(before) == name(after)
        && (before.priority, before.at, before.pointings) == (after.priority, after.at, after.pointings)
        && (before.exposure_s - after.exposure_s).abs() < 1e-6
}
