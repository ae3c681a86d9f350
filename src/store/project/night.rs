//! Boots, devices, nights, weather and the log.

use super::Place;
use crate::store::{
    connection::{AnyConnection, insert_new, on_either},
    rows::{WeatherRow, finite, naive, position, word},
    schema::*,
};
use alidade_model::{journal::Fact, reading::NoData, time::UtcTime};
use diesel::prelude::*;

pub(super) fn project(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    match fact {
        Fact::Started { .. } => started(c, place, fact),
        Fact::DeviceIdentified { .. } | Fact::DeviceLink { .. } | Fact::DeviceGarbage { .. } => device(c, place, fact),
        Fact::NightBegan { .. } | Fact::NightMoved { .. } | Fact::NightReported { .. } => night(c, place, fact),
        Fact::Weather { readings } => {
            let rows: Vec<_> = readings
                .iter()
                .map(|(quantity, reading)| {
                    let reading = reading.and_then(|value| finite(value).ok_or(NoData::OutOfRange));
                    WeatherRow {
                        at: place.at,
                        quantity: quantity.clone(),
                        value: reading.ok(),
                        reason: reading.err().map(|reason| word(&reason)),
                    }
                })
                .collect();
            insert_new!(c, weather_samples::table, &rows);
            Ok(())
        }
        Fact::Alarm { severity, text } => log(c, place, &word(severity), "alarm", text),
        Fact::Degraded { what, cause } => log(c, place, "warning", "degraded", &format!("{what}: {cause}")),
        Fact::InvariantBroken { id, text } => log(c, place, "critical", "invariant", &format!("{id}: {text}")),
        Fact::OperatorCommand { who, command, outcome } => {
            log(c, place, "info", "operator", &format!("{who}: {command}: {outcome}"))
        }
        _ => Ok(()),
    }
}

fn started(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    let Fact::Started {
        version,
        site,
        unit,
        boot,
    } = fact
    else {
        return Ok(());
    };
    let boot = position(usize::try_from(*boot).unwrap_or(usize::MAX));
    on_either!(c, c => {
        diesel::insert_into(boots::table)
            .values((
                boots::seq.eq(place.row()),
                boots::at.eq(place.at),
                boots::boot.eq(boot),
                boots::version.eq(version),
                boots::site.eq(site),
                boots::unit.eq(unit),
            ))
            .execute(c)?;
        diesel::insert_into(telescopes::table)
            .values((telescopes::unit.eq(unit), telescopes::site.eq(site), telescopes::described_at.eq(place.at)))
            .on_conflict_do_nothing()
            .execute(c)?;
    });
    Ok(())
}

fn device(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    let (Fact::DeviceIdentified { device, .. } | Fact::DeviceLink { device, .. } | Fact::DeviceGarbage { device, .. }) =
        fact
    else {
        return Ok(());
    };
    on_either!(c, c => {
        diesel::insert_into(devices::table)
            .values((
                devices::id.eq(device),
                devices::model.eq(""),
                devices::version.eq(""),
                devices::link_up.eq(true),
                devices::link_cause.eq(""),
                devices::garbage_total.eq(0_i64),
                devices::changed_at.eq(place.at),
            ))
            .on_conflict_do_nothing()
            .execute(c)?;
        let row = diesel::update(devices::table.find(device));
        match fact {
            Fact::DeviceIdentified { model, version, .. } => row
                .set((devices::model.eq(model), devices::version.eq(version), devices::changed_at.eq(place.at)))
                .execute(c)?,
            Fact::DeviceLink { up, cause, .. } => row
                .set((devices::link_up.eq(*up), devices::link_cause.eq(cause), devices::changed_at.eq(place.at)))
                .execute(c)?,
            Fact::DeviceGarbage { total, .. } => {
                row.set(devices::garbage_total.eq(crate::store::rows::whole(*total))).execute(c)?
            }
            _ => 0,
        };
    });
    Ok(())
}

fn night(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    match fact {
        Fact::NightBegan {
            night,
            sunset,
            dusk,
            dawn,
            sunrise,
        } => on_either!(c, c => {
            // A restart in the middle of a night announces the same night again: its beginning stays.
            let some = |time: &Option<UtcTime>| time.map(naive);
            diesel::insert_into(nights::table)
                .values((
                    nights::night.eq(night.to_string()),
                    nights::seq.eq(place.row()),
                    nights::began_at.eq(place.at),
                    nights::sunset.eq(some(sunset)),
                    nights::dusk.eq(some(dusk)),
                    nights::dawn.eq(some(dawn)),
                    nights::sunrise.eq(some(sunrise)),
                ))
                .on_conflict_do_nothing()
                .execute(c)?;
        }),
        Fact::NightMoved { to, cause, .. } => on_either!(c, c => {
            let latest: Option<String> =
                nights::table.order(nights::seq.desc()).select(nights::night).first(c).optional()?;
            if let Some(night) = latest {
                diesel::update(nights::table.find(night))
                    .set((nights::state.eq(to.as_str()), nights::cause.eq(cause)))
                    .execute(c)?;
            }
        }),
        Fact::NightReported { night, path } => on_either!(c, c => {
            diesel::update(nights::table.find(night.to_string())).set(nights::report_path.eq(path)).execute(c)?;
        }),
        _ => {}
    }
    Ok(())
}

fn log(c: &mut AnyConnection, place: Place, severity: &str, source: &str, message: &str) -> QueryResult<()> {
    on_either!(c, c => {
        diesel::insert_into(logs::table)
            .values((
                logs::seq.eq(place.row()),
                logs::at.eq(place.at),
                logs::severity.eq(severity),
                logs::source.eq(source),
                logs::message.eq(message),
            ))
            .execute(c)?;
    });
    Ok(())
}
