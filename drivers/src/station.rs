//! A weather station that answers with NMEA-0183 sentences.
//!
//! `$PALDQ*cs` asks; the answer is three sentences: `$WIMWV,dir,R,speed,M,A` (wind), `$WIMDA` with pressure (bar) in field
//! 3, air temperature in 5, humidity in 9 and dew point in 11, and the proprietary `$PALDR,rain mm/h,sky minus air K`.
//! A sentence ends with CR LF; its checksum is the exclusive or of the bytes between `$` and `*` (NMEA 0183, 3.01, 5.3).

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

/// A sentence with its checksum and line end.
pub fn sentence(body: &str) -> String {
    format!("${body}*{:02X}\r\n", body.bytes().fold(0, |sum, byte| sum ^ byte))
}

/// The fields of a sentence whose checksum is right.
pub fn fields(line: &str) -> Option<Vec<&str>> {
    let (body, sum) = line.strip_prefix('$')?.split_once('*')?;
    let expected = u8::from_str_radix(sum.get(..2)?, 16).ok()?;
    (body.bytes().fold(0, |sum, byte| sum ^ byte) == expected).then(|| body.split(',').collect())
}

/// How it is spoken to.
pub struct Talk {
    poll: Duration,
    readings: watch::Sender<Readings>,
}

impl Dialogue for Talk {
    type Command = Rest;
    type Reply = ();

    fn deadline(&self, _: &Rest) -> Duration {
        Duration::from_secs(1)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        wire.send(sentence("PALDV").as_bytes()).await?;
        let line = wire.line(b'\n').await?;
        match fields(&line).as_deref() {
            Some(["PALDV", model, version]) => Ok(Identity {
                model: (*model).into(),
                version: (*version).into(),
            }),
            _ => Err(Trouble::Garbage(format!("greeting {line:?}"))),
        }
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        wire.send(sentence("PALDQ").as_bytes()).await?;
        let mut readings = Readings::new();
        let now = clock.now();
        for _ in 0..3 {
            let line = wire.line(b'\n').await?;
            let fields = fields(&line).ok_or_else(|| Trouble::Garbage(format!("sentence {line:?}")))?;
            take(&fields, now, &mut readings);
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

/// Puts the quantities of one sentence into `readings`; unknown sentences hold nothing for us.
fn take(fields: &[&str], now: UtcTime, readings: &mut Readings) {
    let mut put = |quantity, at: usize, factor: f64, low: f64, high: f64| {
        let value = match fields.get(at).map(|text| text.parse::<f64>()) {
            Some(Ok(value)) if (low..=high).contains(&(value * factor)) => Ok(value * factor),
            Some(Ok(_)) => Err(NoData::OutOfRange),
            _ => Err(NoData::SensorFault),
        };
        readings.insert(
            quantity,
            Reading {
                value,
                measured_at: now,
            },
        );
    };
    match fields.first() {
        Some(&"WIMWV") => put(Quantity::WindMS, 3, 1.0, 0.0, 100.0),
        Some(&"WIMDA") => {
            put(Quantity::PressureHpa, 3, 1000.0, 400.0, 1100.0);
            put(Quantity::TemperatureC, 5, 1.0, -60.0, 60.0);
            put(Quantity::HumidityPct, 9, 1.0, 0.0, 110.0);
            put(Quantity::DewPointC, 11, 1.0, -80.0, 60.0);
        }
        Some(&"PALDR") => {
            put(Quantity::RainMmH, 1, 1.0, 0.0, 500.0);
            put(Quantity::SkyTemperatureK, 2, 1.0, -100.0, 60.0);
        }
        _ => {}
    }
}

/// The connected station.
pub type Station = StationHandle<Talk>;

/// Connects; `poll` is the pause between two readings.
pub fn connect(id: &str, connector: SharedConnector, clock: Rc<dyn Clock>, poll: Duration) -> Rc<Station> {
    let (readings_out, readings) = watch::channel(Readings::new());
    let link = Link::open(
        id,
        connector,
        clock,
        Duration::from_secs(4),
        Talk {
            poll,
            readings: readings_out,
        },
    );
    StationHandle::new(link, readings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wrong_checksum_is_not_read() {
        let good = sentence("PALDR,0.0,-22.5");
        assert_eq!(fields(good.trim_end()), Some(vec!["PALDR", "0.0", "-22.5"]));
        assert_eq!(fields(&good.trim_end().replace("0.0", "9.0")), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,120}") {
            if let Some(fields) = fields(&line) {
                take(&fields, UtcTime::from_unix_micros(0).unwrap(), &mut Readings::new());
            }
        }
    }
}
