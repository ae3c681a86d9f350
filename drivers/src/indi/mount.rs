//! Mounts.

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE,
    message::State,
    session::{Kind, Session},
};
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

const COORDINATES: &str = "EQUATORIAL_EOD_COORD";
const PARK: &str = "TELESCOPE_PARK";
const TRACK: &str = "TELESCOPE_TRACK_STATE";
const AFTER_SLEW: &str = "ON_COORD_SET";

/// How it is spoken to.
pub struct Talk {
    session: Session,
    place: Place,
    clock: Rc<dyn Clock>,
    poll: Duration,
    status: watch::Sender<Reading<MountStatus>>,
}

impl Talk {
    /// Gives the mount our site and time, where it takes them: a snooped GPS would overwrite them.
    async fn locate(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        if self
            .session
            .get("ACTIVE_DEVICES")
            .is_some_and(|p| p.elements.contains_key("ACTIVE_GPS"))
        {
            self.session
                .send(wire, Kind::Text, "ACTIVE_DEVICES", &[("ACTIVE_GPS", "")])
                .await?;
        }
        let (lat, elevation) = (self.place.latitude_deg.to_string(), self.place.altitude_m.to_string());
        let long = self.place.longitude_deg.rem_euclid(360.0).to_string();
        if self.session.get("GEOGRAPHIC_COORD").is_some() {
            let site = [
                ("LAT", lat.as_str()),
                ("LONG", long.as_str()),
                ("ELEV", elevation.as_str()),
            ];
            self.session.send(wire, Kind::Number, "GEOGRAPHIC_COORD", &site).await?;
        }
        if self.session.get("TIME_UTC").is_some() {
            let now = self.clock.now().to_string();
            let seconds = now.get(..19).unwrap_or(&now);
            self.session
                .send(wire, Kind::Text, "TIME_UTC", &[("UTC", seconds), ("OFFSET", "0")])
                .await?;
        }
        Ok(())
    }

    fn state(&self) -> Result<MountState, Trouble> {
        let (park, coordinates) = (self.session.need(PARK)?, self.session.need(COORDINATES)?);
        Ok(match (park.state, coordinates.state) {
            (State::Busy, _) if park.on("PARK") => MountState::Parking,
            (State::Busy, _) => MountState::Unparking,
            (_, _) if park.on("PARK") => MountState::Parked,
            (_, State::Busy) => MountState::Slewing,
            _ if self.session.need(TRACK)?.on("TRACK_ON") => MountState::Tracking,
            _ => MountState::Idle,
        })
    }
}

impl Dialogue for Talk {
    type Command = MountOrder;
    type Reply = ();

    fn deadline(&self, _: &MountOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let (model, version) = self
            .session
            .attach(wire, &[COORDINATES, PARK, TRACK, AFTER_SLEW])
            .await?;
        self.locate(wire).await?;
        Ok(Identity { model, version })
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        // A tracking mount is silent about its position: it has to be asked.
        self.session.refresh(wire, &[COORDINATES, PARK, TRACK]).await?;
        let (ra_h, dec_deg) = (
            self.session.value(COORDINATES, "RA")?,
            self.session.value(COORDINATES, "DEC")?,
        );
        if !(0.0..=24.0).contains(&ra_h) || !(-90.0..=90.0).contains(&dec_deg) {
            return Err(Trouble::Garbage(format!("position {ra_h} h {dec_deg} deg")));
        }
        let (state, ra_deg, now) = (self.state()?, (ra_h * 15.0).rem_euclid(360.0), clock.now());
        let (alt_deg, az_deg) = self.place.horizontal(ra_deg, dec_deg, now);
        self.status.send_replace(Reading::good(
            MountStatus {
                state,
                ra_deg,
                dec_deg,
                alt_deg,
                az_deg,
            },
            now,
        ));
        let moving = matches!(state, MountState::Slewing | MountState::Parking | MountState::Unparking);
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &MountOrder) -> Result<(), Trouble> {
        let session = &mut self.session;
        match command {
            MountOrder::Slew { ra_deg, dec_deg } => {
                if session.need(PARK)?.on("PARK") {
                    return Err(Trouble::Refused {
                        code: 0,
                        message: "parked".into(),
                    });
                }
                if !session.need(AFTER_SLEW)?.on("TRACK") {
                    let track = |p: &super::session::Property| p.on("TRACK");
                    session
                        .command(wire, Kind::Switch, AFTER_SLEW, &[("TRACK", "On")], track)
                        .await?;
                }
                let (ra_h, dec) = (ra_deg.rem_euclid(360.0) / 15.0, *dec_deg);
                // Positions stream in by themselves: only motion, or being there, answers this command.
                let there = |p: &super::session::Property| {
                    let near = |element: &str, wanted: f64, within: f64| {
                        p.number(element).is_some_and(|v| (v - wanted).abs() < within)
                    };
                    p.state == State::Busy || (near("RA", ra_h, 0.001) && near("DEC", dec, 0.015))
                };
                let values = [("RA", &*format!("{ra_h:.8}")), ("DEC", &*format!("{dec:.8}"))];
                session.command(wire, Kind::Number, COORDINATES, &values, there).await
            }
            MountOrder::Park => {
                session
                    .command(wire, Kind::Switch, PARK, &[("PARK", "On")], |p| p.on("PARK"))
                    .await
            }
            MountOrder::Unpark => {
                session
                    .command(wire, Kind::Switch, PARK, &[("UNPARK", "On")], |p| p.on("UNPARK"))
                    .await
            }
            MountOrder::Track(on) => {
                let element = if *on { "TRACK_ON" } else { "TRACK_OFF" };
                session
                    .command(wire, Kind::Switch, TRACK, &[(element, "On")], |p| p.on(element))
                    .await
            }
            MountOrder::Stop => {
                session
                    .command(wire, Kind::Switch, "TELESCOPE_ABORT_MOTION", &[("ABORT", "On")], |_| {
                        true
                    })
                    .await
            }
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected mount.
pub type IndiMount = MountHandle<Talk>;

/// Connects to the INDI device `device`, which is told where it stands.
pub fn connect_mount(
    id: &str,
    device: &str,
    place: Place,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<IndiMount> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        session: Session::new(device),
        place,
        clock: clock.clone(),
        poll,
        status: status_out,
    };
    MountHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
