//! Packets, events and decisions.

use super::Place;
use crate::store::{
    connection::{AnyConnection, on_either},
    rows::{finite, naive, whole},
    schema::*,
};
use alidade_model::journal::Fact;
use diesel::prelude::*;

pub(super) fn project(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    match fact {
        Fact::PacketReceived {
            packet,
            channel,
            size_bytes,
            verdict,
            reason,
            body,
            identity,
            event,
        } => on_either!(c, c => {
            diesel::insert_into(alerts::table)
                .values((
                    alerts::seq.eq(place.row()),
                    alerts::received_at.eq(place.at),
                    alerts::packet.eq(packet),
                    alerts::channel.eq(channel),
                    alerts::size_bytes.eq(whole(*size_bytes)),
                    alerts::verdict.eq(verdict),
                    alerts::reason.eq(reason),
                    alerts::body.eq(body.as_bytes()),
                    alerts::identity.eq(identity),
                    alerts::event.eq(event),
                ))
                .on_conflict_do_nothing()
                .execute(c)?;
        }),
        Fact::EventMoved { .. } => event_moved(c, place, fact)?,
        Fact::EventDecided {
            event,
            followed,
            strategy,
            reason,
            request,
            ..
        } => on_either!(c, c => {
            diesel::update(alert_events::table.find(event))
                .set((
                    alert_events::followed.eq(*followed),
                    alert_events::strategy.eq(strategy),
                    alert_events::decision.eq(reason),
                    alert_events::request_id.eq(request),
                    alert_events::decided_at.eq(place.at),
                ))
                .execute(c)?;
        }),
        Fact::AlertTiming { event, stages } => {
            for (stage, at) in stages {
                on_either!(c, c => {
                    diesel::insert_into(alert_timings::table)
                        .values((
                            alert_timings::event_id.eq(event),
                            alert_timings::stage.eq(stage),
                            alert_timings::at.eq(naive(*at)),
                        ))
                        .on_conflict_do_nothing()
                        .execute(c)?;
                });
            }
        }
        _ => {}
    }
    Ok(())
}

fn event_moved(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    let Fact::EventMoved {
        event,
        to,
        name,
        ra_deg,
        dec_deg,
        r90_deg,
        cause,
        ..
    } = fact
    else {
        return Ok(());
    };
    let standing = (
        alert_events::state.eq(to.as_str()),
        alert_events::name.eq(name),
        alert_events::ra_deg.eq(ra_deg.and_then(finite)),
        alert_events::dec_deg.eq(dec_deg.and_then(finite)),
        alert_events::r90_deg.eq(r90_deg.and_then(finite)),
        alert_events::cause.eq(cause),
        alert_events::moved_at.eq(place.at),
    );
    on_either!(c, c => {
        if diesel::update(alert_events::table.find(event)).set(standing).execute(c)? == 0 {
            diesel::insert_into(alert_events::table)
                .values((
                    alert_events::id.eq(event),
                    alert_events::seq.eq(place.row()),
                    alert_events::first_at.eq(place.at),
                    standing,
                ))
                .execute(c)?;
        }
    });
    Ok(())
}

/// Counts a packet among those of an event.
pub(super) fn link(c: &mut AnyConnection, place: Place, event: &str, packet: &str) -> QueryResult<()> {
    use alert_event_packets as links;
    on_either!(c, c => {
        diesel::insert_into(links::table)
            .values((links::event_id.eq(event), links::packet.eq(packet), links::seq.eq(place.row())))
            .on_conflict_do_nothing()
            .execute(c)?;
    });
    Ok(())
}
