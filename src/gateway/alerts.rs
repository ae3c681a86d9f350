//! The alerts as the gateways show them: every event's record, how long each stage takes, and the strategies.

use alidade_alerts::{
    record::{AlertRecord, Histogram, StrategyChange, budget},
    strategy::{Strategy, StrategyError, Syntax, Turn, UnitCapabilities, amend, from_text, rehearse},
};
use alidade_model::time::UtcTime;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Packets received since an instant with the moments of their arrival, oldest first. Called on a blocking thread.
pub type PastPackets = Arc<dyn Fn(UtcTime) -> Result<Vec<(Vec<u8>, UtcTime)>, String> + Send + Sync>;

/// Everything about alerts; published when it has changed. Copies are cheap.
#[derive(Clone, Debug, Default)]
pub struct AlertBoard {
    pub records: BTreeMap<String, Arc<AlertRecord>>,
    pub stages: BTreeMap<String, Histogram>,
    pub strategies: Arc<Vec<Strategy>>,
    /// Oldest first.
    pub changes: Arc<Vec<StrategyChange>>,
    pub unit: Option<UnitCapabilities>,
}

/// An event in a list.
pub fn line(record: &AlertRecord) -> Value {
    let since = |stage: &str| {
        let (at, from) = (record.stages.get(stage)?, record.stages.get("received")?);
        Some(at.seconds_since(*from))
    };
    json!({
        "event": record.event,
        "name": record.name,
        "state": record.state,
        "first_at": record.first_at,
        "followed": record.followed,
        "strategy": record.strategy,
        "decision": record.decision,
        "when": record.outlook.as_ref().map(|o| o.when),
        "packets": record.packets.len(),
        "r90_deg": record.r90_deg,
        "decided_s": since("decided"),
        "slew_commanded_s": since("slew_commanded"),
        "first_light_s": since("first_light"),
        "report": record.published.as_ref().map(|p| p.path.clone()),
    })
}

/// The newest events first, at most `limit`.
pub fn lines<'a>(records: impl Iterator<Item = &'a Arc<AlertRecord>>, limit: usize) -> Vec<Value> {
    let mut all: Vec<&Arc<AlertRecord>> = records.collect();
    all.sort_by(|a, b| b.first_at.cmp(&a.first_at).then_with(|| b.event.cmp(&a.event)));
    all.into_iter().take(limit).map(|record| line(record)).collect()
}

/// An event with all that is known, and its latency budget.
pub fn whole(record: &AlertRecord) -> Value {
    let mut value = json!(record);
    value["budget"] = json!(budget(&record.stages));
    value
}

/// A strategy as text, checked against those that hold.
pub fn proposed(text: &str, current: &[Strategy]) -> Result<(Strategy, Vec<Strategy>, Option<Strategy>), Vec<String>> {
    let new = from_text(text, Syntax::guess(text)).map_err(|e: StrategyError| e.lines())?;
    let (changed, replaced) = amend(current, &new).map_err(|problem| vec![problem])?;
    Ok((new, changed, replaced))
}

/// What a strategy would have changed: a document for the page and the command.
pub fn dry_run(
    text: &str,
    current: &[Strategy],
    unit: &UnitCapabilities,
    packets: &[(Vec<u8>, UtcTime)],
    since: UtcTime,
) -> Result<Value, Vec<String>> {
    let (new, changed, replaced) = proposed(text, current)?;
    let packets = packets.iter().map(|(body, at)| (body.as_slice(), *at));
    let outcomes = rehearse(packets, current, &changed, unit, since);
    let count = |turn| outcomes.iter().filter(|o| o.turn == turn).count();
    let changes: Vec<_> = outcomes.iter().filter(|o| o.turn != Turn::Same).collect();
    Ok(json!({
        "strategy": new.name,
        "version": new.version,
        "replaces": replaced.map(|old| old.version),
        "since": since,
        "events": outcomes.len(),
        "same": count(Turn::Same),
        "gained": count(Turn::Gained),
        "lost": count(Turn::Lost),
        "other": count(Turn::Other),
        "changes": changes,
    }))
}
