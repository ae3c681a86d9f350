//! The night report: what was observed, what was not and why, what went wrong.

use alidade_model::{
    book::Book,
    exposure::{ExposureOutcome, ProductKind},
    journal::{Entry, Fact, Severity, Sink},
    states::SequenceState,
    time::UtcTime,
};
use serde::Serialize;
use std::{cell::RefCell, collections::BTreeMap, fmt::Write as _, rc::Rc};

/// What a report is made of; also the machine-readable report.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NightFacts {
    pub entries: u64,
    pub exposures_written: u64,
    pub exposures_aborted: u64,
    pub exposures_failed: u64,
    /// Open-shutter time on the sky of written object frames, seconds, by channel.
    pub exposed_s: BTreeMap<String, f64>,
    pub products: BTreeMap<String, u64>,
    pub sources_found: u64,
    pub frames_reduced: u64,
    pub schedules: u64,
    pub packets: u64,
    pub packets_refused: u64,
    pub boots: u64,
    /// Times at which the enclosure began to be open, and to be closed.
    pub openings: Vec<UtcTime>,
    pub closings: Vec<UtcTime>,
    pub unsafe_spells: Vec<Spell>,
    pub alerts: BTreeMap<String, AlertFacts>,
    pub alarms: Vec<String>,
    pub degradations: BTreeMap<String, u64>,
    pub devices: BTreeMap<String, String>,
    pub states: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Spell {
    pub from: UtcTime,
    pub until: Option<UtcTime>,
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct AlertFacts {
    pub name: String,
    pub decision: String,
    pub followed: bool,
    pub stages: BTreeMap<String, UtcTime>,
    pub frames: u64,
}

/// Gathers the facts of a night from the journal as they are recorded.
#[derive(Clone, Default)]
pub struct Gatherer(Rc<RefCell<Gathering>>);

#[derive(Default)]
struct Gathering {
    facts: NightFacts,
    running: BTreeMap<String, (String, f64, Option<String>)>,
    event_of: BTreeMap<String, String>,
}

impl Sink for Gatherer {
    fn append(&mut self, entry: &Entry) {
        self.0.borrow_mut().take(entry);
    }
}

impl Gatherer {
    pub fn facts(&self, book: &Book) -> NightFacts {
        let mut facts = self.0.borrow().facts.clone();
        for line in book.lines() {
            *facts.states.entry(line.state.to_string()).or_default() += 1;
        }
        facts
    }
}

impl Gathering {
    fn take(&mut self, entry: &Entry) {
        let facts = &mut self.facts;
        facts.entries += 1;
        match &entry.fact {
            Fact::Started { .. } => facts.boots += 1,
            Fact::DeviceIdentified { device, model, version } => {
                facts.devices.insert(device.clone(), format!("{model} {version}"));
            }
            Fact::RequestSubmitted { request } => {
                if let alidade_model::request::Origin::Alert { event, .. } = &request.origin {
                    for sequence in &request.sequences {
                        self.event_of.insert(sequence.id.clone(), event.clone());
                    }
                }
            }
            Fact::ExposureStarted { exposure } => {
                let object = exposure.kind == alidade_model::exposure::FrameKind::Object;
                let seconds = if object { exposure.exposure_s } else { 0.0 };
                self.running.insert(
                    exposure.id.clone(),
                    (exposure.channel.clone(), seconds, exposure.sequence.clone()),
                );
            }
            Fact::ExposureEnded { exposure, outcome } => match outcome {
                ExposureOutcome::Written { .. } => {
                    facts.exposures_written += 1;
                    if let Some((channel, seconds, sequence)) = self.running.remove(exposure) {
                        *facts.exposed_s.entry(channel).or_default() += seconds;
                        if let Some(event) = sequence.and_then(|s| self.event_of.get(&s)) {
                            facts.alerts.entry(event.clone()).or_default().frames += 1;
                        }
                    }
                }
                ExposureOutcome::Aborted { .. } => facts.exposures_aborted += 1,
                ExposureOutcome::Failed { .. } => facts.exposures_failed += 1,
            },
            Fact::ProductMade { product } => {
                let kind = match product.kind {
                    ProductKind::Raw => "raw",
                    ProductKind::MasterBias => "master bias",
                    ProductKind::MasterDark => "master dark",
                    ProductKind::MasterFlat => "master flat",
                    ProductKind::Calibrated => "calibrated",
                    ProductKind::Catalogue => "catalogue",
                    ProductKind::Preview => "preview",
                    ProductKind::Report => "report",
                };
                *facts.products.entry(kind.into()).or_default() += 1;
            }
            Fact::FrameReduced { sources, .. } => {
                facts.frames_reduced += 1;
                facts.sources_found += sources;
            }
            Fact::ScheduleMade { .. } => facts.schedules += 1,
            Fact::PacketReceived { verdict, .. } => {
                facts.packets += 1;
                facts.packets_refused += u64::from(matches!(verdict.as_str(), "reject" | "conflict"));
            }
            Fact::EnclosureMoved { to, .. } => match to {
                alidade_model::states::EnclosureState::Open => facts.openings.push(entry.at),
                alidade_model::states::EnclosureState::Closed => facts.closings.push(entry.at),
                _ => {}
            },
            Fact::SafetyChanged { safe, reasons, .. } => match facts.unsafe_spells.last_mut() {
                Some(spell) if spell.until.is_none() => {
                    spell.until = safe.then_some(entry.at);
                    spell.reasons.retain(|reason| !reason.ends_with("not known yet"));
                    for reason in reasons {
                        let input = reason.split(' ').next();
                        if !spell.reasons.iter().any(|known| known.split(' ').next() == input) {
                            spell.reasons.push(reason.clone());
                        }
                    }
                }
                _ if !safe => facts.unsafe_spells.push(Spell {
                    from: entry.at,
                    until: None,
                    reasons: reasons.clone(),
                }),
                _ => {}
            },
            Fact::EventMoved { event, name, .. } => {
                facts.alerts.entry(event.clone()).or_default().name.clone_from(name)
            }
            Fact::EventDecided {
                event,
                followed,
                reason,
                ..
            } => {
                let alert = facts.alerts.entry(event.clone()).or_default();
                alert.followed |= followed;
                alert.decision.clone_from(reason);
            }
            Fact::AlertTiming { event, stages } => {
                let known = &mut facts.alerts.entry(event.clone()).or_default().stages;
                for (stage, at) in stages {
                    known.entry(stage.clone()).or_insert(*at);
                }
            }
            Fact::Alarm { severity, text } if *severity >= Severity::Warning => {
                facts.alarms.push(format!("{} {text}", entry.at.hh_mm()))
            }
            Fact::Degraded { what, .. } => *facts.degradations.entry(what.clone()).or_default() += 1,
            _ => {}
        }
    }
}

/// The report for people, in Markdown.
pub fn markdown(night: &str, site: &str, facts: &NightFacts, book: &Book) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, night, site, facts, book);
    text
}

fn write(out: &mut String, night: &str, site: &str, facts: &NightFacts, book: &Book) -> std::fmt::Result {
    writeln!(out, "# Night of {night}, {site}\n")?;
    let executed = facts.states.get("executed").copied().unwrap_or(0);
    writeln!(
        out,
        "{executed} sequences executed, {} exposures written, {} aborted, {} failed; {} frames reduced, {} sources.\n",
        facts.exposures_written,
        facts.exposures_aborted,
        facts.exposures_failed,
        facts.frames_reduced,
        facts.sources_found
    )?;
    for (channel, seconds) in &facts.exposed_s {
        writeln!(out, "- channel {channel}: {:.1} h on the sky", seconds / 3600.0)?;
    }
    writeln!(out, "\n## Enclosure\n")?;
    for (word, times) in [("open", &facts.openings), ("closed", &facts.closings)] {
        let times: Vec<String> = times.iter().map(|t| t.hh_mm()).collect();
        writeln!(out, "- {word} at {}", times.join(", "))?;
    }
    for spell in &facts.unsafe_spells {
        let until = spell.until.map_or_else(|| "the end".to_owned(), UtcTime::hh_mm);
        writeln!(
            out,
            "- unsafe from {} until {until}: {}",
            spell.from.hh_mm(),
            spell.reasons.join("; ")
        )?;
    }
    writeln!(
        out,
        "\n## Alerts\n\n{} packets, {} refused.\n",
        facts.packets, facts.packets_refused
    )?;
    for (event, alert) in &facts.alerts {
        writeln!(
            out,
            "- {event} {}: {}; {} frames",
            alert.name, alert.decision, alert.frames
        )?;
        if let Some(received) = alert.stages.get("received") {
            let mut stages: Vec<_> = alert.stages.iter().collect();
            stages.sort_by_key(|(_, at)| **at);
            for (stage, at) in stages {
                writeln!(out, "  - {stage}: {:+.3} s", at.seconds_since(*received))?;
            }
        }
    }
    writeln!(
        out,
        "\n## Sequences\n\n| sequence | target | user | state | why |\n|---|---|---|---|---|"
    )?;
    for line in book.lines() {
        let s = &line.sequence;
        let why = line.why.as_deref().unwrap_or_default();
        let why = if line.state == SequenceState::Executed { "" } else { why };
        writeln!(
            out,
            "| {} | {} | {} | {} | {why} |",
            s.id, s.target.name, s.user, line.state
        )?;
    }
    writeln!(
        out,
        "\n## Quotas\n\n| account | granted h | spent h | free h |\n|---|---|---|---|"
    )?;
    for (user, b) in book.ledger().balances() {
        let hours = |micros: i64| micros as f64 / 3.6e9;
        writeln!(
            out,
            "| {user} | {:.2} | {:.2} | {:.2} |",
            -hours(b.granted_us),
            hours(b.spent_us),
            hours(b.free_us)
        )?;
    }
    if !facts.alarms.is_empty() || !facts.degradations.is_empty() {
        writeln!(out, "\n## What went wrong\n")?;
        for alarm in &facts.alarms {
            writeln!(out, "- alarm: {alarm}")?;
        }
        for (what, count) in &facts.degradations {
            writeln!(out, "- {what}: {count} times")?;
        }
    }
    writeln!(out, "\n## Devices\n")?;
    for (device, version) in &facts.devices {
        writeln!(out, "- {device}: {version}")?;
    }
    Ok(())
}
