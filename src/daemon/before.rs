//! What the database says of the time before this start: alert packets, safety, calibration frames.

use crate::{
    settings::Settings,
    store::{Store, StoreError},
};
use alidade_alerts::agent as alerts;
use alidade_model::{
    exposure::ProductKind,
    journal::{Fact, SHUTDOWN},
    time::{Night, UtcTime},
};
use alidade_safety::{agent::Before, overrides::Override};
use std::collections::BTreeMap;

/// What earlier runs received, in the order of arrival: packets of events that are remembered, of older ones only what
/// they are known by, and where the numbers of events stand. Copies were not stored again.
pub fn packets(store: &mut Store, settings: &Settings, now: UtcTime) -> Result<alerts::Before, StoreError> {
    const DAY_S: f64 = 86_400.0;
    let events = now.plus_seconds(-DAY_S * f64::from(settings.alerts.remember_events_days));
    let identities = now.plus_seconds(-DAY_S * f64::from(settings.alerts.remember_packets_days));
    let mut packets = store.packets_since(events, "act")?;
    packets.extend(store.packets_since(events, "ignore")?);
    packets.sort_by_key(|packet| packet.seq);
    let mut changed = store.events_of_packets(packets.first().map_or(u64::MAX, |packet| packet.seq))?;
    let number = |name: &str| name.strip_prefix("event-").and_then(|n| n.parse().ok());
    // Events are begun in the order of their numbers; one packet begins a few at most.
    let last_event = store.newest_events(64)?.iter().filter_map(|name| number(name)).max();
    Ok(alerts::Before {
        identities: store.packet_identities(identities, events)?,
        last_event: last_event.unwrap_or(0),
        followed: store
            .followed_events(events)?
            .into_iter()
            .filter_map(|(name, request)| Some((number(&name)?, request)))
            .collect(),
        packets: packets
            .into_iter()
            .map(|packet| alerts::StoredPacket {
                event: packet.event.as_deref().and_then(number),
                touched: (changed.remove(&packet.packet).iter().flatten())
                    .filter_map(|name| number(name))
                    .collect(),
                body: packet.body,
                received_at: packet.received_at,
            })
            .collect(),
    })
}

/// How long the last record of a safe site vouches for it, seconds.
const VOUCHED_S: f64 = 180.0;

/// What the journal says of safety: whether the site was safe until just now, and a latch that nobody released.
pub fn safety(store: &mut Store, now: UtcTime) -> Result<Before, StoreError> {
    let overrides = overrides(store, now)?;
    let (last, verdict) = (store.last_entry(None)?, store.last_entry(Some("safety_changed"))?);
    let entry = verdict.as_ref().and_then(|line| line.entry().ok());
    let nothing = Before {
        overrides: overrides.clone(),
        ..Before::default()
    };
    let (Some(last), Some(entry)) = (last, entry) else {
        return Ok(nothing);
    };
    let Fact::SafetyChanged { safe, latched, reasons } = entry.fact else {
        return Ok(nothing);
    };
    let stopped = format!("({SHUTDOWN})");
    let cause = reasons
        .iter()
        .filter_map(|reason| reason.strip_prefix("latched: "))
        .find(|cause| !cause.ends_with(&stopped));
    Ok(Before {
        // What lies in the future was written before the clock was set back.
        vouched: safe && (0.0..=VOUCHED_S).contains(&now.seconds_since(last.at)),
        latched: cause.filter(|_| latched).map(str::to_owned),
        overrides,
    })
}

/// Overrides that were placed and not ended. None lasts longer than a day; those without an end are looked for as far back,
/// and are not kept anyway.
fn overrides(store: &mut Store, now: UtcTime) -> Result<Vec<Override>, StoreError> {
    const LONGEST_S: f64 = 86_400.0;
    let mut holding = BTreeMap::new();
    for entry in store.entries_of(&["override_placed", "override_ended"], now.plus_seconds(-LONGEST_S))? {
        match entry.fact {
            Fact::OverridePlaced {
                input,
                who,
                reason,
                until,
            } => {
                let placed = Override {
                    input: input.clone(),
                    who,
                    reason,
                    until,
                };
                holding.insert(input, placed);
            }
            Fact::OverrideEnded { input, .. } => drop(holding.remove(&input)),
            _ => {}
        }
    }
    Ok(holding.into_values().collect())
}

/// True when bias and dark frames of this night are on disk for every channel.
pub fn calibrated(store: &mut Store, settings: &Settings, night: Night) -> Result<bool, StoreError> {
    let prefix = format!("{night}/");
    let products = store.products_of_night(night)?;
    let masters = products
        .iter()
        .filter(|p| p.path.starts_with(&prefix))
        .filter(|p| p.kind == ProductKind::Raw && p.sequence.is_none());
    let wanted = settings.calibration.bias_count + settings.calibration.dark_count;
    Ok(masters.count() >= (wanted as usize) * settings.channels.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends by panicking")]
mod tests {
    use super::*;
    use crate::store::{Durability, OpenOptions};
    use alidade_model::journal::Entry;

    #[test]
    fn only_the_last_minutes_vouch_for_the_site_and_what_the_future_says_does_not() {
        let options = OpenOptions {
            migrate: true,
            durability: Durability::Relaxed,
        };
        let mut store = Store::open("sqlite::memory:", options).unwrap();
        let at: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        let fact = Fact::SafetyChanged {
            safe: true,
            latched: false,
            reasons: Vec::new(),
        };
        store.append(&[Entry { seq: 1, at, fact }]).unwrap();
        let vouched =
            [0.0, 100.0, 181.0, -1.0, -3600.0].map(|s| safety(&mut store, at.plus_seconds(s)).unwrap().vouched);
        assert_eq!(vouched, [true, true, false, false, false]);
    }
}
