//! Mounts behind a Celestron NexStar hand control (Celestron, *NexStar Communication Protocol*, version 1.2).
//!
//! A request is a letter and its arguments without an end; an answer has a length of its own and ends with `#`. Bytes of an
//! answer may be `#` themselves, so answers are read by their length. A direction is two fractions of a turn as eight
//! hexadecimal digits each, of which the upper 24 bits count.
//!
//! | request | answer before `#` |
//! |---|---|
//! | `K` byte | the byte |
//! | `V`, `m` | major and minor version; model |
//! | `J` | 1 when aligned |
//! | `e`, `z` | right ascension and declination (of date); azimuth and altitude |
//! | `t`, `T` byte | tracking: 0 off, 1 alt-azimuth, 2 equatorial north, 3 equatorial south |
//! | `L` | `1` while a goto is under way, else `0` |
//! | `r` pair, `b` pair | none: goto right ascension and declination; goto azimuth and altitude |
//! | `M` | none: ends a goto |
//!
//! The hand control knows no parking: parked is standing without tracking at the direction that this driver sends it to.
//! It does not say either why it does not begin a goto (below its limits, for example): that is seen in where it stands.

use crate::{
    handle::{MountHandle, MountOrder},
    interface::{Identity, MountStatus},
    link::{Dialogue, Link, pace, unread},
    place::Place,
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

/// Where a mount is parked: altitude and azimuth (north 0, east 90), degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParkAt {
    pub alt_deg: f64,
    pub az_deg: f64,
}

/// So near to where it is parked it is parked, degrees: the gears have play.
const PARKED_WITHIN_DEG: f64 = 0.25;

/// Models on equatorial mounts: CGE, Advanced GT, CGE 2, CGEM, Advanced VX, CGX, CGX-L (public lists of model numbers).
const EQUATORIAL: [u8; 7] = [5, 6, 13, 14, 20, 23, 24];

/// A fraction of a turn of 24 bits, as the upper bits of 32.
fn fraction(degrees: f64) -> u32 {
    const TURN: f64 = 16_777_216.0;
    (((degrees.rem_euclid(360.0) / 360.0 * TURN).round() as u32) & 0x00ff_ffff) << 8
}

/// Two directions as they are sent.
pub fn pair(first_deg: f64, second_deg: f64) -> String {
    format!("{:08X},{:08X}", fraction(first_deg), fraction(second_deg))
}

/// Reads two directions, degrees from 0 to 360.
pub fn read_pair(bytes: &[u8]) -> Option<(f64, f64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (first, second) = text.split_once(',')?;
    let degrees = |digits: &str| {
        let plain = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| plain)?;
        Some(f64::from(number) / 4_294_967_296.0 * 360.0)
    };
    Some((degrees(first)?, degrees(second)?))
}

/// An angle from -90 to 90 degrees from its turn; others are no declination and no altitude.
pub fn elevation(turn_deg: f64) -> Option<f64> {
    match turn_deg {
        up if (0.0..=90.001).contains(&up) => Some(up.min(90.0)),
        down if (269.999..=360.0).contains(&down) => Some((down - 360.0).max(-90.0)),
        _ => None,
    }
}

/// How it is spoken to.
pub struct Talk {
    poll: Duration,
    place: Place,
    park: ParkAt,
    /// How it tracks when it tracks.
    mode: u8,
    /// The last goto was to the parking direction.
    parking: bool,
    parked: bool,
    status: watch::Sender<Reading<MountStatus>>,
}

impl Talk {
    /// Asks, and returns what comes before the `#`.
    async fn ask(wire: &mut Wire, request: &[u8], count: usize) -> Result<Vec<u8>, Trouble> {
        wire.send(request).await?;
        let mut answer = wire.exactly(count + 1).await?;
        if answer.pop() != Some(b'#') {
            return Err(Trouble::Garbage(format!(
                "answer to {:?} of another length",
                char::from(request[0])
            )));
        }
        Ok(answer)
    }

    async fn direction(wire: &mut Wire, request: &[u8]) -> Result<(f64, f64), Trouble> {
        let answer = Self::ask(wire, request, 17).await?;
        let turns = read_pair(&answer).and_then(|(first, second)| Some((first, elevation(second)?)));
        turns.ok_or_else(|| Trouble::Garbage(format!("direction {:?}", String::from_utf8_lossy(&answer))))
    }

    async fn track(&self, wire: &mut Wire, mode: u8) -> Result<(), Trouble> {
        Self::ask(wire, &[b'T', mode], 0).await.map(drop)
    }

    fn is_at_park(&self, alt_deg: f64, az_deg: f64) -> bool {
        let turn = (az_deg - self.park.az_deg + 180.0).rem_euclid(360.0) - 180.0;
        let turn = turn * self.park.alt_deg.to_radians().cos();
        (alt_deg - self.park.alt_deg).hypot(turn) < PARKED_WITHIN_DEG
    }
}

impl Dialogue for Talk {
    type Command = MountOrder;
    type Reply = ();

    fn deadline(&self, _: &MountOrder) -> Duration {
        // The hand control promises an answer within 3.5 s; an order is two requests at most.
        Duration::from_secs(7)
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        if Self::ask(wire, b"Kx", 1).await? != b"x" {
            return Err(Trouble::Garbage("it does not repeat what it is told".into()));
        }
        let version = Self::ask(wire, b"V", 2).await?;
        let model = Self::ask(wire, b"m", 1).await?[0];
        if Self::ask(wire, b"J", 1).await?[0] != 1 {
            return Err(Trouble::Absent("it is not aligned".into()));
        }
        self.mode = match (EQUATORIAL.contains(&model), self.place.latitude_deg < 0.0) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 3,
        };
        Ok(Identity {
            model: format!("NexStar {model}"),
            version: format!("{}.{}", version[0], version[1]),
        })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let (ra_deg, dec_deg) = Self::direction(wire, b"e").await?;
        let (az_deg, alt_deg) = Self::direction(wire, b"z").await?;
        let mode = Self::ask(wire, b"t", 1).await?[0];
        let goes = match Self::ask(wire, b"L", 1).await?[0] {
            b'0' => false,
            b'1' => true,
            other => return Err(Trouble::Garbage(format!("goto state {other}"))),
        };
        if mode > 3 {
            return Err(Trouble::Garbage(format!("tracking mode {mode}")));
        }
        if mode != 0 {
            self.mode = mode;
        }
        let state = match (goes, mode) {
            (true, _) if self.parking => MountState::Parking,
            (true, _) => MountState::Slewing,
            (false, 0) if self.is_at_park(alt_deg, az_deg) => MountState::Parked,
            (false, 0) => MountState::Idle,
            (false, _) => MountState::Tracking,
        };
        self.parking &= goes;
        self.parked = state == MountState::Parked;
        let status = MountStatus {
            state,
            ra_deg,
            dec_deg,
            alt_deg,
            az_deg,
        };
        self.status.send_replace(Reading::good(status, clock.now()));
        Ok(pace(self.poll, goes))
    }

    async fn obey(&mut self, wire: &mut Wire, order: &MountOrder) -> Result<(), Trouble> {
        match order {
            MountOrder::Slew { .. } if self.parked => Err(Trouble::Refused {
                code: 0,
                message: "parked".into(),
            }),
            MountOrder::Slew { ra_deg, dec_deg } => {
                self.parking = false;
                self.track(wire, self.mode).await?;
                let request = format!("r{}", pair(*ra_deg, *dec_deg));
                Self::ask(wire, request.as_bytes(), 0).await.map(drop)
            }
            MountOrder::Park => {
                self.track(wire, 0).await?;
                let request = format!("b{}", pair(self.park.az_deg, self.park.alt_deg));
                Self::ask(wire, request.as_bytes(), 0).await?;
                self.parking = true;
                Ok(())
            }
            MountOrder::Unpark | MountOrder::Track(true) => {
                self.parked = false;
                self.track(wire, self.mode).await
            }
            MountOrder::Track(false) => self.track(wire, 0).await,
            MountOrder::Stop => Self::ask(wire, b"M", 0).await.map(drop),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// The connected mount.
pub type NexStarMount = MountHandle<Talk>;

/// Connects; `poll` is the pause between two readings at rest.
pub fn connect(
    id: &str,
    place: Place,
    park: ParkAt,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<NexStarMount> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        poll,
        place,
        park,
        mode: 1,
        parking: false,
        parked: false,
        status: status_out,
    };
    MountHandle::new(Link::open(id, connector, clock, Duration::from_secs(6), talk), status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The examples of the protocol's document: 34AB0500 is about 0.2057 of a turn, 12CE0500 about 0.0735.
    #[test]
    fn directions_are_those_of_the_document() {
        let (first, second) = read_pair(b"34AB0500,12CE0500").unwrap();
        assert!((first / 360.0 - 0.205_734).abs() < 1e-6 && (second / 360.0 - 0.073_456).abs() < 1e-6);
        assert_eq!(pair(first, second), "34AB0500,12CE0500");
        assert_eq!(pair(359.999_999_9, -90.0), "00000000,C0000000");
        assert_eq!(elevation(270.0), Some(-90.0));
        assert_eq!(elevation(180.0), None);
    }

    #[test]
    fn what_is_no_pair_is_none() {
        for text in [
            "",
            "34AB0500",
            "34AB0500;12CE0500",
            "34AB050,012CE0500",
            "+4AB0500,12CE0500",
            "34AB0500,12CE05000",
        ] {
            assert_eq!(read_pair(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_reads_back_to_a_tenth_of_an_arcsecond(az in 0.0f64..360.0, alt in -90.0f64..90.0) {
            let (a, b) = read_pair(pair(az, alt).as_bytes()).unwrap();
            let turn = (a - az + 180.0).rem_euclid(360.0) - 180.0;
            prop_assert!(turn.abs() < 3e-5);
            prop_assert!((elevation(b).unwrap() - alt).abs() < 3e-5);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..20), text in "[0-9A-Fa-f,]{0,20}") {
            let _ = read_pair(&bytes);
            let _ = read_pair(text.as_bytes());
        }
    }
}
