//! Mounts that speak LX200, with the status commands of the Losmandy Gemini.
//!
//! Requests are `:CC...#`; answers end with `#`, or are a single character where noted. Right ascension is
//! `HH:MM:SS.ss`, angles `sDD*MM:SS.s`; azimuth counts from north through east.
//!
//! | request | answer |
//! |---|---|
//! | `:GVP#`, `:GVN#` | product, firmware |
//! | `:GR#`, `:GD#`, `:GA#`, `:GZ#` | right ascension, declination (of date), altitude, azimuth |
//! | `:Gv#` | one character: `N` at rest, `T` tracking, `S` slewing, `C` centring |
//! | `:h?#` | one character: `0` not parked, `1` parked, `2` parking |
//! | `:Sr...#`, `:Sd...#` | `1` accepted, `0` refused |
//! | `:MS#` | `0` slewing, or a digit and a sentence |
//! | `:hP#`, `:hW#`, `:hN#`, `:Q#` | none: park, wake and track, stop tracking, stop moving |

use crate::{
    handle::{MountHandle, MountOrder},
    interface::{Identity, MountStatus},
    link::{Dialogue, Link},
    transport::SharedConnector,
    wire::{Trouble, Wire},
};
use alidade_model::{
    clock::Clock,
    reading::{NoData, Reading},
    states::MountState,
    time::UtcTime,
};
use std::{rc::Rc, time::Duration};
use tokio::sync::watch;

/// How it is spoken to.
pub struct Talk {
    poll: Duration,
    status: watch::Sender<Reading<MountStatus>>,
}

/// `HH:MM:SS.ss` from degrees.
pub fn right_ascension(ra_deg: f64) -> String {
    let centis = (ra_deg.rem_euclid(360.0) / 15.0 * 360_000.0).round() as u64 % (24 * 360_000);
    format!(
        "{:02}:{:02}:{:02}.{:02}",
        centis / 360_000,
        centis / 6000 % 60,
        centis / 100 % 60,
        centis % 100
    )
}

/// `sDD*MM:SS.s` from degrees.
pub fn angle(degrees: f64) -> String {
    let sign = if degrees < 0.0 { '-' } else { '+' };
    let tenths = (degrees.abs() * 36_000.0).round() as u64;
    format!(
        "{sign}{:02}*{:02}:{:02}.{}",
        tenths / 36_000,
        tenths / 600 % 60,
        tenths / 10 % 60,
        tenths % 10
    )
}

/// Reads `HH:MM:SS.ss`, `HH:MM.m` or `sDD*MM:SS.s` (any of the separators in use) as a decimal number of its first unit.
pub fn sexagesimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut value = 0.0;
    let mut unit = 1.0;
    let mut parts = 0;
    for part in digits
        .split([':', '*', '\'', '"', ' ', '\u{df}'])
        .filter(|p| !p.is_empty())
    {
        let number: f64 = part.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
        if parts > 0 && number >= 60.0 {
            return None;
        }
        value += number * unit;
        unit /= 60.0;
        parts += 1;
    }
    (1..=3).contains(&parts).then_some(sign * value)
}

impl Talk {
    async fn ask(wire: &mut Wire, request: &str) -> Result<String, Trouble> {
        wire.send(request.as_bytes()).await?;
        wire.line(b'#').await
    }

    async fn character(wire: &mut Wire, request: &str) -> Result<u8, Trouble> {
        wire.send(request.as_bytes()).await?;
        Ok(wire.exactly(1).await?[0])
    }

    async fn accepted(wire: &mut Wire, request: &str) -> Result<(), Trouble> {
        match Self::character(wire, request).await? {
            b'1' => Ok(()),
            b'0' => Err(Trouble::Refused {
                code: 0,
                message: format!("{request} refused"),
            }),
            other => Err(Trouble::Garbage(format!("{request} answered byte {other}"))),
        }
    }
}

impl Dialogue for Talk {
    type Command = MountOrder;
    type Reply = ();

    fn deadline(&self, _: &MountOrder) -> Duration {
        Duration::from_secs(4)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        Ok(Identity {
            model: Self::ask(wire, ":GVP#").await?,
            version: Self::ask(wire, ":GVN#").await?,
        })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        // One write, six answers in their order: a sixth of the round trips.
        wire.send(b":Gv#:h?#:GR#:GD#:GA#:GZ#").await?;
        let flags = wire.exactly(2).await?;
        let mut values = [0.0; 4];
        for (value, (what, low, high)) in values.iter_mut().zip([
            ("GR", 0.0, 24.0),
            ("GD", -90.0, 90.0),
            ("GA", -90.0, 90.0),
            ("GZ", 0.0, 360.0),
        ]) {
            let answer = wire.line(b'#').await?;
            *value = sexagesimal(&answer)
                .filter(|v| (low..=high).contains(v))
                .ok_or_else(|| Trouble::Garbage(format!("{what} answered {answer:?}")))?;
        }
        let state = match (flags[0], flags[1]) {
            (_, b'1') => MountState::Parked,
            (_, b'2') => MountState::Parking,
            (b'S' | b'C', b'0') => MountState::Slewing,
            (b'T' | b'G', b'0') => MountState::Tracking,
            (b'N', b'0') => MountState::Idle,
            other => return Err(Trouble::Garbage(format!("state bytes {other:?}"))),
        };
        let [ra_h, dec_deg, alt_deg, az_deg] = values;
        let status = MountStatus {
            state,
            ra_deg: (ra_h * 15.0).rem_euclid(360.0),
            dec_deg,
            alt_deg,
            az_deg,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        let moving = matches!(state, MountState::Slewing | MountState::Parking);
        Ok(if moving {
            self.poll.min(Duration::from_millis(250))
        } else {
            self.poll
        })
    }

    async fn obey(&mut self, wire: &mut Wire, command: &MountOrder) -> Result<(), Trouble> {
        match command {
            MountOrder::Slew { ra_deg, dec_deg } => {
                Self::accepted(wire, &format!(":Sr{}#", right_ascension(*ra_deg))).await?;
                Self::accepted(wire, &format!(":Sd{}#", angle(*dec_deg))).await?;
                match Self::character(wire, ":MS#").await? {
                    b'0' => Ok(()),
                    digit @ b'1'..=b'9' => {
                        let message = wire.line(b'#').await?;
                        Err(Trouble::Refused {
                            code: i32::from(digit - b'0'),
                            message,
                        })
                    }
                    other => Err(Trouble::Garbage(format!(":MS# answered byte {other}"))),
                }
            }
            MountOrder::Park => wire.send(b":hP#").await,
            MountOrder::Unpark | MountOrder::Track(true) => wire.send(b":hW#").await,
            MountOrder::Track(false) => wire.send(b":hN#").await,
            MountOrder::Stop => wire.send(b":Q#").await,
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// The connected mount.
pub type Lx200Mount = MountHandle<Talk>;

/// Connects; `poll` is the pause between two readings at rest.
pub fn connect(id: &str, connector: SharedConnector, clock: Rc<dyn Clock>, poll: Duration) -> Rc<Lx200Mount> {
    let (status_out, status) = watch::channel(Reading::none(NoData::NeverRead, clock.now()));
    let link = Link::open(
        id,
        connector,
        clock,
        Duration::from_secs(4),
        Talk {
            poll,
            status: status_out,
        },
    );
    MountHandle::new(link, status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn coordinates_are_written_as_the_mount_reads_them() {
        assert_eq!(right_ascension(202.4696), "13:29:52.70");
        assert_eq!(right_ascension(359.999_999_9), "00:00:00.00");
        assert_eq!(angle(-5.389_44), "-05*23:22.0");
        assert_eq!(sexagesimal("+47*11:42.0").map(|v| (v * 1e4).round()), Some(471_950.0));
        assert_eq!(sexagesimal("12:75:00"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ra in 0.0f64..360.0, dec in -90.0f64..90.0) {
            let hours = sexagesimal(&right_ascension(ra)).unwrap();
            let turn = (hours * 15.0 - ra).abs();
            prop_assert!(turn.min(360.0 - turn) < 1e-4);
            prop_assert!((sexagesimal(&angle(dec)).unwrap() - dec).abs() < 3e-5);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = sexagesimal(&text);
        }
    }
}
