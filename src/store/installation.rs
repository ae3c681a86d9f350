//! What people set up: telescopes and instruments, strategies.

use super::{
    ReadError, Store, StoreError,
    connection::{in_transaction, on_either},
    rows::{finite, naive},
    schema::*,
};
use alidade_model::time::UtcTime;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

/// A telescope with its place on Earth: latitude and longitude in degrees (east positive), height in metres.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Telescope {
    pub unit: String,
    pub site: String,
    pub lat_deg: f64,
    pub lon_deg: f64,
    pub alt_m: f64,
    pub channels: Vec<Channel>,
}

/// A camera with the filters of its wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    pub channel: String,
    pub camera: String,
    pub filters: Vec<String>,
}

/// A rule that turns an event into a request, as its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyText {
    pub id: String,
    pub body: String,
    pub enabled: bool,
}

impl Store {
    /// Writes down what the configuration says about a telescope; channels it no longer has are dropped.
    pub fn describe(&mut self, telescope: &Telescope, at: UtcTime) -> Result<(), StoreError> {
        self.read(|c| in_transaction(c, |c| describe(c, telescope, at)))
    }

    /// What [`Store::describe`] has written; a telescope that was never described has no place on Earth and is left out.
    pub fn telescopes(&mut self) -> Result<Vec<Telescope>, StoreError> {
        self.read(|c| {
            type Row = (String, String, Option<f64>, Option<f64>, Option<f64>);
            let rows: Vec<Row> = telescopes::table
                .order(telescopes::unit)
                .select((
                    telescopes::unit,
                    telescopes::site,
                    telescopes::lat_deg,
                    telescopes::lon_deg,
                    telescopes::alt_m,
                ))
                .load(c)?;
            let mut described = Vec::new();
            for (unit, site, lat_deg, lon_deg, alt_m) in rows {
                let (Some(lat_deg), Some(lon_deg), Some(alt_m)) = (lat_deg, lon_deg, alt_m) else {
                    continue;
                };
                let cameras: Vec<(String, String, String)> = instruments::table
                    .filter(instruments::unit.eq(&unit))
                    .order(instruments::channel)
                    .select((instruments::channel, instruments::camera, instruments::filters))
                    .load(c)?;
                let channels = cameras
                    .into_iter()
                    .map(|(channel, camera, filters)| {
                        let filters = serde_json::from_str(&filters)
                            .map_err(|e| ReadError::Garbled("instruments", e.to_string()))?;
                        Ok(Channel {
                            channel,
                            camera,
                            filters,
                        })
                    })
                    .collect::<Result<_, ReadError>>()?;
                described.push(Telescope {
                    unit,
                    site,
                    lat_deg,
                    lon_deg,
                    alt_m,
                    channels,
                });
            }
            Ok(described)
        })
    }

    pub fn put_strategy(&mut self, strategy: &StrategyText, at: UtcTime) -> Result<(), StoreError> {
        let standing = (
            strategies::body.eq(&strategy.body),
            strategies::enabled.eq(strategy.enabled),
            strategies::changed_at.eq(naive(at)),
        );
        self.read(|c| {
            on_either!(c, c => {
                diesel::insert_into(strategies::table)
                    .values((strategies::id.eq(&strategy.id), standing))
                    .on_conflict(strategies::id)
                    .do_update()
                    .set(standing)
                    .execute(c)?
            });
            Ok(())
        })
    }

    pub fn strategies(&mut self) -> Result<Vec<StrategyText>, StoreError> {
        self.read(|c| {
            let rows: Vec<(String, String, bool)> = strategies::table
                .order(strategies::id)
                .select((strategies::id, strategies::body, strategies::enabled))
                .load(c)?;
            Ok(rows
                .into_iter()
                .map(|(id, body, enabled)| StrategyText { id, body, enabled })
                .collect())
        })
    }
}

fn describe(c: &mut super::connection::AnyConnection, telescope: &Telescope, at: UtcTime) -> Result<(), ReadError> {
    let at = naive(at);
    let standing = (
        telescopes::site.eq(&telescope.site),
        telescopes::lat_deg.eq(finite(telescope.lat_deg)),
        telescopes::lon_deg.eq(finite(telescope.lon_deg)),
        telescopes::alt_m.eq(finite(telescope.alt_m)),
        telescopes::described_at.eq(at),
    );
    on_either!(c, c => {
        diesel::insert_into(telescopes::table)
            .values((telescopes::unit.eq(&telescope.unit), standing))
            .on_conflict(telescopes::unit)
            .do_update()
            .set(standing)
            .execute(c)?;
        diesel::delete(instruments::table.filter(instruments::unit.eq(&telescope.unit))).execute(c)?;
        for channel in &telescope.channels {
            let filters = serde_json::to_string(&channel.filters)
                .map_err(|e| ReadError::Garbled("instruments", e.to_string()))?;
            diesel::insert_into(instruments::table)
                .values((
                    instruments::unit.eq(&telescope.unit),
                    instruments::channel.eq(&channel.channel),
                    instruments::camera.eq(&channel.camera),
                    instruments::filters.eq(filters),
                    instruments::described_at.eq(at),
                ))
                .execute(c)?;
        }
    });
    Ok(())
}
