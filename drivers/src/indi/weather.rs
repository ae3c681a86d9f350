//! Weather stations.
//!
//! A driver reads its station every so often (`WEATHER_UPDATE`) and then tells all values, in the units of the INDI
//! standard properties: wind in km/h, rain in mm/h, temperatures in degrees Celsius. Asked in between it repeats what it
//! knows; a value counts from when it was last told unasked, so that a station that has died behind its driver grows old.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    session::{Kind, Session},
};
use crate::{
    handle::{Rest, StationHandle, forget},
    interface::{Identity, Quantity, Readings},
    link::{Dialogue, Link},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    time::UtcTime,
};
use std::{rc::Rc, time::Duration};
use tokio::sync::watch;

const PARAMETERS: &str = "WEATHER_PARAMETERS";
const UPDATE: &str = "WEATHER_UPDATE";

/// How often the driver is told to read its station, seconds.
const PERIOD_S: &str = "5";

/// Elements, what they are, and the factor to our unit.
const ELEMENTS: [(&str, Quantity, f64); 7] = [
    ("WEATHER_TEMPERATURE", Quantity::TemperatureC, 1.0),
    ("WEATHER_HUMIDITY", Quantity::HumidityPct, 1.0),
    ("WEATHER_DEWPOINT", Quantity::DewPointC, 1.0),
    ("WEATHER_PRESSURE", Quantity::PressureHpa, 1.0),
    ("WEATHER_WIND_SPEED", Quantity::WindMS, 1.0 / 3.6),
    ("WEATHER_WIND_GUST", Quantity::GustMS, 1.0 / 3.6),
    ("WEATHER_RAIN_HOUR", Quantity::RainMmH, 1.0),
];

/// How it is spoken to.
pub struct Talk {
    session: Session,
    poll: Duration,
    readings: watch::Sender<Readings>,
}

impl Dialogue for Talk {
    type Command = Rest;
    type Reply = ();

    fn deadline(&self, _: &Rest) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let (model, version) = self.session.attach(wire, &[PARAMETERS]).await?;
        if self.session.get(UPDATE).is_some() {
            self.session
                .send(wire, Kind::Number, UPDATE, &[("PERIOD", PERIOD_S)])
                .await?;
        }
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        self.session.refresh(wire, &[PARAMETERS]).await?;
        let told = self.session.need(PARAMETERS)?;
        let Some(set_at) = told.set_at else {
            // Nothing was measured since we listen.
            return Ok(self.poll.min(Duration::from_secs(1)));
        };
        let measured_at = clock.now().plus_seconds(-set_at.elapsed().as_secs_f64());
        let readings = ELEMENTS.iter().filter_map(|(element, quantity, factor)| {
            told.elements.get(*element)?;
            let (low, high) = quantity.plausible();
            let value = match told.number(element).map(|value| value * factor) {
                Some(value) if (low..=high).contains(&value) => Ok(value),
                Some(_) => Err(NoData::OutOfRange),
                None => Err(NoData::SensorFault),
            };
            Some((*quantity, Reading { value, measured_at }))
        });
        self.readings.send_replace(readings.collect());
        Ok(self.poll)
    }

    async fn obey(&mut self, _: &mut Wire, _: &Rest) -> Result<(), Trouble> {
        Ok(())
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        forget(&self.readings, reason, at);
    }
}

/// A connected weather station.
pub type IndiWeather = StationHandle<Talk>;

/// Connects to the INDI device `device`; `poll` is the pause between two questions.
pub fn connect_weather(
    id: &str,
    device: &str,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiWeather> {
    let (readings_out, readings) = watch::channel(Readings::new());
    let talk = Talk {
        session: Session::new(device),
        poll,
        readings: readings_out,
    };
    StationHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), readings)
}
