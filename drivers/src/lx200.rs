//! Mounts that speak LX200, in the dialects of the Losmandy Gemini and of Meade's Autostar and LX200 GPS.
//!
//! Requests are `:CC...#`; answers end with `#`, or are a single character where noted. Right ascension is
//! `HH:MM:SS.ss`, angles `sDD*MM:SS.s`, the degree sign also as byte 0xDF; azimuth counts from north through east.
//!
//! | request | answer | spoken by |
//! |---|---|---|
//! | `:GVP#`, `:GVN#` | product, firmware | both |
//! | `:GR#`, `:GD#`, `:GA#`, `:GZ#` | right ascension, declination (of date), altitude, azimuth | both |
//! | `:Sr...#`, `:Sd...#` | `1` accepted, `0` refused | both |
//! | `:MS#` | `0` slewing, or a digit and a sentence | both |
//! | `:hP#`, `:Q#` | none: park, stop moving | both |
//! | `:Gv#` | one character: `N` at rest, `T` tracking, `S` slewing, `C` centring | Gemini |
//! | `:h?#` | one character: `0` not parked, `1` parked, `2` parking | Gemini |
//! | `:hW#`, `:hN#` | none: wake and track, stop tracking | Gemini |
//! | `:D#` | a bar for every part of the way that is left, none at its end | Meade |
//! | `:GW#` | mounting (`A` `P` `G`), tracking (`T` `N`), alignment | Meade |
//! | `:AA#`, `:AP#`, `:AL#` | none: track as an azimuthal or polar mounting, stop tracking | Meade |
//! | `:I#` | none: wake from park | Meade |
//!
//! The product says which dialect is spoken (Gemini command set, levels 3 to 6; Meade Telescope Serial Command Protocol,
//! revision 2010.10). A Meade mount does not tell whether it is parked: parked is what was parked on this line and has not
//! moved since; after a break of the line it is at rest until it is parked again.

use crate::{
    handle::{MountHandle, MountOrder},
    interface::{Identity, MountStatus},
    link::{Dialogue, Link, pace, unread},
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
use tokio::{sync::watch, time::Instant};

/// Which commands a mount knows beside the common ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Gemini,
    Meade,
}

impl Dialect {
    /// By the product's name: `LX2001`, `ETX Autostar`, `RCX400` ... are Meade's.
    fn of(product: &str) -> Self {
        let meade = [
            "Autostar", "AutoStar", "ETX", "LX2", "LX4", "LX6", "LX8", "LX9", "LS-", "LT-", "RCX",
        ];
        if meade.iter().any(|name| product.contains(name)) {
            Self::Meade
        } else {
            Self::Gemini
        }
    }
}

/// A park that was ordered of a mount that does not tell of it.
#[derive(Debug, Clone, Copy)]
struct Parking {
    since: Instant,
    /// It has been seen on its way.
    moved: bool,
}

impl Parking {
    /// A mount that has not begun to move by then is where it parks.
    const BEGINS: Duration = Duration::from_secs(10);

    fn is_over(&self) -> bool {
        self.moved || self.since.elapsed() > Self::BEGINS
    }
}

/// How it is spoken to.
pub struct Talk {
    poll: Duration,
    dialect: Dialect,
    /// Meade only: on its way to its park position, or there.
    parking: Option<Parking>,
    /// Meade only: what makes it track as it is mounted.
    tracks_by: &'static [u8],
    status: watch::Sender<Reading<MountStatus>>,
}

/// `HH:MM:SS.ss` from degrees.
pub fn right_ascension(ra_deg: f64) -> String {
    let centis = (ra_deg.rem_euclid(360.0) / 15.0 * 360_000.0).round() as u64 % (24 * 360_000);
    let mut text = String::with_capacity(12);
    two_digits(&mut text, centis / 360_000);
    text.push(':');
    two_digits(&mut text, centis / 6000 % 60);
    text.push(':');
    two_digits(&mut text, centis / 100 % 60);
    text.push('.');
    two_digits(&mut text, centis % 100);
    text
}

/// `sDD*MM:SS.s` from degrees.
pub fn angle(degrees: f64) -> String {
    let sign = if degrees < 0.0 { '-' } else { '+' };
    let tenths = (degrees.abs() * 36_000.0).round() as u64;
    let mut text = String::with_capacity(12);
    text.push(sign);
    two_digits(&mut text, tenths / 36_000);
    text.push('*');
    two_digits(&mut text, tenths / 600 % 60);
    text.push(':');
    two_digits(&mut text, tenths / 10 % 60);
    text.push('.');
    text.push(digit(tenths));
    text
}

/// At least two digits. Every position of the night is written so, thrice a second, and the formatting machinery is slow.
fn two_digits(out: &mut String, number: u64) {
    if number >= 100 {
        out.push_str(&(number / 100).to_string());
    }
    out.push(digit(number / 10));
    out.push(digit(number));
}

/// The last digit.
fn digit(number: u64) -> char {
    char::from(b'0' + (number % 10) as u8)
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

/// What is asked of a position, with the bounds of its answer in the unit of its first part.
const COORDINATES: [(&str, f64, f64); 4] = [
    ("GR", 0.0, 24.0),
    ("GD", -90.0, 90.0),
    ("GA", -90.0, 90.0),
    ("GZ", 0.0, 360.0),
];

impl Talk {
    async fn ask(wire: &mut Wire, request: &str) -> Result<String, Trouble> {
        wire.send(request.as_bytes()).await?;
        Self::answer(wire).await
    }

    /// An answer as text; the degree sign of Meade's display is byte 0xDF.
    async fn answer(wire: &mut Wire) -> Result<String, Trouble> {
        let bytes = wire.until(b'#').await?;
        let text = bytes.iter().map(|byte| match byte {
            0xdf => Some('*'),
            b' '..=b'~' => Some(char::from(*byte)),
            _ => None,
        });
        let text: Option<String> = text.collect();
        text.ok_or_else(|| Trouble::Garbage(format!("{} bytes that are not text", bytes.len())))
    }

    /// One of the four coordinates.
    fn coordinate(answer: &str, (what, low, high): (&str, f64, f64)) -> Result<f64, Trouble> {
        sexagesimal(answer)
            .filter(|value| (low..=high).contains(value))
            .ok_or_else(|| Trouble::Garbage(format!("{what} answered {answer:?}")))
    }

    async fn poll_gemini(&mut self, wire: &mut Wire) -> Result<(MountState, [f64; 4]), Trouble> {
        // One write, six answers in their order: a sixth of the round trips.
        wire.send(b":Gv#:h?#:GR#:GD#:GA#:GZ#").await?;
        let flags = wire.exactly(2).await?;
        let mut values = [0.0; 4];
        for (value, wanted) in values.iter_mut().zip(COORDINATES) {
            *value = Self::coordinate(&Self::answer(wire).await?, wanted)?;
        }
        let state = match (flags[0], flags[1]) {
            (_, b'1') => MountState::Parked,
            (_, b'2') => MountState::Parking,
            (b'S' | b'C', b'0') => MountState::Slewing,
            (b'T' | b'G', b'0') => MountState::Tracking,
            (b'N', b'0') => MountState::Idle,
            other => return Err(Trouble::Garbage(format!("state bytes {other:?}"))),
        };
        Ok((state, values))
    }

    /// Its hand box takes one question after the other.
    async fn poll_meade(&mut self, wire: &mut Wire) -> Result<(MountState, [f64; 4]), Trouble> {
        let mut values = [0.0; 4];
        for (value, wanted) in values.iter_mut().zip(COORDINATES) {
            *value = Self::coordinate(&Self::ask(wire, &format!(":{}#", wanted.0)).await?, wanted)?;
        }
        // The bars are whatever its character set has for them: bytes of any value.
        wire.send(b":D#").await?;
        let way_left = wire.until(b'#').await?;
        let moves = way_left.iter().any(|byte| *byte != b' ');
        let told = Self::ask(wire, ":GW#").await?;
        let tracks = match told.as_bytes() {
            [mounting @ (b'A' | b'P' | b'G'), tracking @ (b'T' | b'N'), ..] => {
                self.tracks_by = if *mounting == b'A' { b":AA#" } else { b":AP#" };
                *tracking == b'T'
            }
            _ => return Err(Trouble::Garbage(format!("GW answered {told:?}"))),
        };
        let state = match &mut self.parking {
            Some(parking) if moves => {
                parking.moved = true;
                MountState::Parking
            }
            // A parked mount stands: one that still follows the sky did not do what it was told.
            Some(parking) if parking.is_over() && tracks => {
                self.parking = None;
                MountState::Tracking
            }
            Some(parking) if parking.is_over() => MountState::Parked,
            Some(_) => MountState::Parking,
            None if moves => MountState::Slewing,
            None if tracks => MountState::Tracking,
            None => MountState::Idle,
        };
        Ok((state, values))
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
        let model = Self::ask(wire, ":GVP#").await?;
        let version = Self::ask(wire, ":GVN#").await?;
        // What an earlier life parked may have been moved by hand since.
        (self.dialect, self.parking) = (Dialect::of(&model), None);
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let (state, values) = match self.dialect {
            Dialect::Gemini => self.poll_gemini(wire).await?,
            Dialect::Meade => self.poll_meade(wire).await?,
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
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &MountOrder) -> Result<(), Trouble> {
        match command {
            // It would leave its park position, which nobody has asked for.
            MountOrder::Slew { .. } if self.parking.is_some() => Err(Trouble::Refused {
                code: 0,
                message: "parked".into(),
            }),
            MountOrder::Slew { ra_deg, dec_deg } => {
                Self::accepted(wire, &format!(":Sr{}#", right_ascension(*ra_deg))).await?;
                Self::accepted(wire, &format!(":Sd{}#", angle(*dec_deg))).await?;
                match Self::character(wire, ":MS#").await? {
                    b'0' => Ok(()),
                    digit @ b'1'..=b'9' => {
                        let message = Self::answer(wire).await?;
                        Err(Trouble::Refused {
                            code: i32::from(digit - b'0'),
                            message,
                        })
                    }
                    other => Err(Trouble::Garbage(format!(":MS# answered byte {other}"))),
                }
            }
            MountOrder::Park => {
                self.parking = (self.dialect == Dialect::Meade).then(|| Parking {
                    since: Instant::now(),
                    moved: false,
                });
                wire.send(b":hP#").await
            }
            MountOrder::Unpark | MountOrder::Track(_) if self.dialect == Dialect::Meade => {
                let on = !matches!(command, MountOrder::Track(false));
                if on && self.parking.take().is_some() {
                    wire.send(b":I#").await?;
                }
                wire.send(if on { self.tracks_by } else { b":AL#" }).await
            }
            MountOrder::Unpark | MountOrder::Track(true) => wire.send(b":hW#").await,
            MountOrder::Track(false) => wire.send(b":hN#").await,
            MountOrder::Stop => {
                // Stopped on its way it is not parked.
                let parked = self.status.borrow().value.is_ok_and(|s| s.state == MountState::Parked);
                self.parking = self.parking.filter(|_| parked);
                wire.send(b":Q#").await
            }
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
    let (status_out, status) = unread(&*clock);
    let link = Link::open(
        id,
        connector,
        clock,
        Duration::from_secs(4),
        Talk {
            poll,
            dialect: Dialect::Gemini,
            parking: None,
            tracks_by: b":AP#",
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
        assert_eq!(angle(107.5), "+107*30:00.0");
        assert_eq!(sexagesimal("+47*11:42.0").map(|v| (v * 1e4).round()), Some(471_950.0));
        assert_eq!(sexagesimal("12:75:00"), None);
    }

    #[test]
    fn the_product_tells_the_dialect() {
        for product in ["LX2001", "ETX Autostar", "Autostar", "RCX400", "LX200 Classic"] {
            assert_eq!(Dialect::of(product), Dialect::Meade, "{product}");
        }
        for product in ["Losmandy Gemini", "Alidade simulated mount", ""] {
            assert_eq!(Dialect::of(product), Dialect::Gemini, "{product}");
        }
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
