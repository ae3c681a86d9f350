//! The journal told on the log: what whoever reads `journalctl -u alidade` finds of the night.
//!
//! A fact is told when it happens, before it is committed: the last lines before a crash are worth more than that each of
//! them is in the database. What comes with every frame or command, and what is long, is told at `debug` only.

use alidade_model::{
    exposure::ExposureOutcome,
    journal::{Entry, Fact, Severity, Sink},
};
use serde_json::Value;
use tracing::Level;

/// Tells every entry as `FACT FIELD=VALUE ... seq=N`, at the place `alidade::night`.
pub struct Narrator;

const PLACE: &str = "alidade::night";

impl Sink for Narrator {
    fn append(&mut self, entry: &Entry) {
        let (seq, fact) = (entry.seq, &entry.fact);
        match level(fact) {
            Level::ERROR => tracing::error!(target: PLACE, seq, "{}", Told(fact)),
            Level::WARN => tracing::warn!(target: PLACE, seq, "{}", Told(fact)),
            Level::INFO => tracing::info!(target: PLACE, seq, "{}", Told(fact)),
            _ => tracing::debug!(target: PLACE, seq, "{}", Told(fact)),
        }
    }
}

/// How much it matters to whoever reads along.
fn level(fact: &Fact) -> Level {
    match fact {
        Fact::InvariantBroken { .. } => Level::ERROR,
        Fact::Alarm { severity, .. } => match severity {
            Severity::Critical | Severity::Serious => Level::ERROR,
            Severity::Warning => Level::WARN,
            Severity::Info => Level::INFO,
        },
        Fact::Halted { moving, .. } if !moving.is_empty() => Level::ERROR,
        // A line that babbles all night is told ever more seldom.
        Fact::DeviceGarbage { total, .. } if total.is_power_of_two() => Level::WARN,
        Fact::DeviceLink { up: false, .. }
        | Fact::SafetyChanged { safe: false, .. }
        | Fact::Degraded { .. }
        | Fact::ExposureEnded {
            outcome: ExposureOutcome::Failed { .. },
            ..
        } => Level::WARN,
        Fact::AlertReported { .. }
        | Fact::AlertTiming { .. }
        | Fact::DeviceCommand { .. }
        | Fact::DeviceGarbage { .. }
        | Fact::DeviceRead { .. }
        | Fact::ExposureEnded { .. }
        | Fact::ExposureStarted { .. }
        | Fact::FrameReduced { .. }
        | Fact::FrameSolved { .. }
        | Fact::MountMoved { .. }
        | Fact::PacketReceived { .. }
        | Fact::ProductMade { .. }
        | Fact::QuotaPosted { .. }
        | Fact::RequestSubmitted { .. }
        | Fact::ScheduleMade { .. }
        | Fact::SequenceProgress { .. }
        | Fact::StrategyChanged { .. }
        | Fact::Weather { .. } => Level::DEBUG,
        _ => Level::INFO,
    }
}

/// Only made when somebody listens.
struct Told<'a>(&'a Fact);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(Value::Object(fields)) = serde_json::to_value(self.0) else {
            return f.write_str("a fact that cannot be told");
        };
        f.write_str(fields.get("fact").and_then(Value::as_str).unwrap_or("?"))?;
        for (name, value) in &fields {
            match value {
                Value::Null => {}
                Value::String(_) if name == "fact" => {}
                Value::String(word) if is_plain(word) => write!(f, " {name}={word}")?,
                other => write!(f, " {name}={other}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || "\"=".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::states::NightState;

    #[test]
    fn a_fact_is_a_line_with_its_fields_by_name() {
        let fact = Fact::NightMoved {
            from: NightState::Ready,
            to: NightState::Paused,
            cause: "unsafe: wind \"gusts\"".into(),
        };
        let told = Told(&fact).to_string();
        assert_eq!(
            told,
            r#"night_moved cause="unsafe: wind \"gusts\"" from=ready to=paused"#
        );
    }

    #[test]
    fn babble_is_told_ever_more_seldom() {
        let told = (1..=1000).filter(|total| {
            let (device, what) = ("mount".into(), "\u{0}".into());
            level(&Fact::DeviceGarbage {
                device,
                what,
                total: *total,
            }) == Level::WARN
        });
        assert_eq!(told.count(), 10);
    }
}
