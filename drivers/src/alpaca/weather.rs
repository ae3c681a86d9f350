//! Weather (`IObservingConditions`) and safety monitors (`ISafetyMonitor`): both are stations to us.

use super::{POLL_DEADLINE, session::Session};
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

/// The sensors of the interface that say something about safety, and the name by which their age is asked.
const SENSORS: [(&str, &str, Quantity); 8] = [
    ("temperature", "Temperature", Quantity::TemperatureC),
    ("humidity", "Humidity", Quantity::HumidityPct),
    ("dewpoint", "DewPoint", Quantity::DewPointC),
    ("pressure", "Pressure", Quantity::PressureHpa),
    ("windspeed", "WindSpeed", Quantity::WindMS),
    ("windgust", "WindGust", Quantity::GustMS),
    ("rainrate", "RainRate", Quantity::RainMmH),
    ("skybrightness", "SkyBrightness", Quantity::LightLux),
];

/// How it is spoken to.
pub struct WeatherTalk {
    session: Session,
    poll: Duration,
    readings: watch::Sender<Readings>,
}

impl WeatherTalk {
    /// One sensor with the time at which it measured; `None` where there is none.
    async fn sensor(
        &mut self,
        wire: &mut Wire,
        member: &str,
        name: &str,
        now: UtcTime,
    ) -> Result<Option<Reading<f64>>, Trouble> {
        let value = match self.session.number(wire, member).await {
            Ok(value) => Ok(value),
            Err(Trouble::Unsupported(_)) => return Ok(None),
            // A sensor that fails, or has not measured yet, leaves the others alone.
            Err(Trouble::Garbage(_)) => Err(NoData::SensorFault),
            Err(other) => return Err(other),
        };
        let age_s = match self
            .session
            .get_of(wire, "timesincelastupdate", &[("SensorName", name)])
            .await
        {
            Ok(age) => age.as_f64().unwrap_or(-1.0),
            Err(Trouble::Unsupported(_)) => 0.0,
            Err(Trouble::Garbage(_)) => -1.0,
            Err(other) => return Err(other),
        };
        // Negative: it has never measured.
        let (value, measured_at) = if age_s >= 0.0 {
            (value, now.plus_seconds(-age_s))
        } else {
            (Err(NoData::SensorFault), now)
        };
        Ok(Some(Reading { value, measured_at }))
    }
}

impl Dialogue for WeatherTalk {
    type Command = Rest;
    type Reply = ();

    fn deadline(&self, _: &Rest) -> Duration {
        Duration::from_secs(1)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        self.session.attach(wire).await
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let (mut readings, now) = (Readings::new(), clock.now());
        for (member, name, quantity) in SENSORS {
            if let Some(mut reading) = self.sensor(wire, member, name, now).await? {
                let (low, high) = quantity.plausible();
                if reading.value.is_ok_and(|value| !(low..=high).contains(&value)) {
                    reading.value = Err(NoData::OutOfRange);
                }
                readings.insert(quantity, reading);
            }
        }
        // The interface tells the sky's temperature; what counts is how far it is below the air's.
        if let (Some(sky), Some(air)) = (
            self.sensor(wire, "skytemperature", "SkyTemperature", now).await?,
            readings.get(Quantity::TemperatureC).copied(),
        ) {
            let value = sky.value.and_then(|sky| Ok(sky - air.value?));
            let measured_at = sky.measured_at.min(air.measured_at);
            readings.insert(Quantity::SkyTemperatureK, Reading { value, measured_at });
        }
        self.readings.send_replace(readings);
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
pub type AlpacaWeather = StationHandle<WeatherTalk>;

/// Connects to the observing conditions `number` of the server.
pub fn connect_weather(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaWeather> {
    let (readings_out, readings) = watch::channel(Readings::new());
    let talk = WeatherTalk {
        session: Session::new("observingconditions", number, connector.clone()),
        poll,
        readings: readings_out,
    };
    let link = Link::open(id, connector, clock, POLL_DEADLINE, talk);
    StationHandle::new(link, readings)
}

/// How it is spoken to.
pub struct MonitorTalk {
    session: Session,
    poll: Duration,
    clock: Rc<dyn Clock>,
    readings: watch::Sender<Readings>,
}

impl Dialogue for MonitorTalk {
    type Command = Rest;
    type Reply = ();

    fn deadline(&self, _: &Rest) -> Duration {
        Duration::from_secs(1)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        self.session.attach(wire).await
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        // `IsSafe` is false without a word when the monitor itself is not connected: both are asked.
        let connected = self.session.truth(wire, "connected").await;
        let safe = match connected {
            Ok(true) => self.session.truth(wire, "issafe").await,
            Ok(false) => Err(Trouble::Absent("it is not connected to its server".into())),
            Err(trouble) => Err(trouble),
        };
        match safe {
            Ok(safe) => {
                let reading = Reading::good(f64::from(u8::from(!safe)), clock.now());
                self.readings
                    .send_replace(Readings::from([(Quantity::MonitorUnsafe, reading)]));
                Ok(self.poll)
            }
            Err(trouble) => {
                // One bad answer is enough: what it said before counts no more.
                forget(&self.readings, NoData::SensorFault, self.clock.now());
                Err(trouble)
            }
        }
    }

    async fn obey(&mut self, _: &mut Wire, _: &Rest) -> Result<(), Trouble> {
        Ok(())
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        forget(&self.readings, reason, at);
    }
}

/// A connected safety monitor: a station that measures [`Quantity::MonitorUnsafe`].
pub type AlpacaSafetyMonitor = StationHandle<MonitorTalk>;

/// Connects to safety monitor `number` of the server; `deadline` bounds one reading.
pub fn connect_safety_monitor(
    id: &str,
    number: u32,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
    deadline: Duration,
) -> Rc<AlpacaSafetyMonitor> {
    let (readings_out, readings) = watch::channel(Readings::new());
    let talk = MonitorTalk {
        session: Session::new("safetymonitor", number, connector.clone()),
        poll,
        clock: clock.clone(),
        readings: readings_out,
    };
    let link = Link::open(id, connector, clock, deadline, talk);
    StationHandle::new(link, readings)
}
