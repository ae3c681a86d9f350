//! Mounts (`ITelescope`).

use super::{
    COMMAND_DEADLINE, POLL_DEADLINE, able, already,
    session::{Session, as_number, as_truth, code, needed},
};
use crate::{
    handle::{MountHandle, MountOrder},
    interface::{Identity, MountStatus},
    link::{Dialogue, Link, pace, unread},
    place::{Place, precessed},
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

/// What the mount says it can.
#[derive(Default)]
struct Abilities {
    slew: bool,
    park: bool,
    unpark: bool,
    track: bool,
    /// Its coordinates are of J2000.0 (`EquatorialSystem` 2) instead of date.
    j2000: bool,
}

/// How it is spoken to.
pub struct Talk {
    session: Session,
    place: Place,
    clock: Rc<dyn Clock>,
    poll: Duration,
    can: Abilities,
    /// A park of ours is under way: the interface only knows "slewing".
    parking: bool,
    status: watch::Sender<Reading<MountStatus>>,
}

impl Dialogue for Talk {
    type Command = MountOrder;
    type Reply = ();

    fn deadline(&self, _: &MountOrder) -> Duration {
        COMMAND_DEADLINE
    }

    async fn greet(&mut self, wire: &mut Wire) -> Result<Identity, Trouble> {
        let session = &mut self.session;
        let identity = session.attach(wire).await?;
        self.can = Abilities {
            slew: session.can(wire, "canslewasync").await?,
            park: session.can(wire, "canpark").await?,
            unpark: session.can(wire, "canunpark").await?,
            track: session.can(wire, "cansettracking").await?,
            j2000: session.optional(wire, "equatorialsystem").await? == Some(2.0),
        };
        Ok(identity)
    }

    async fn poll(&mut self, wire: &mut Wire, clock: &dyn Clock) -> Result<Duration, Trouble> {
        let members = [
            "atpark",
            "slewing",
            "tracking",
            "rightascension",
            "declination",
            "altitude",
            "azimuth",
        ];
        let told = self.session.state(wire, &members).await?;
        let number = |member: &str| as_number(member, needed(&told, member)?);
        let truth = |member: &str| as_truth(member, needed(&told, member)?);
        let (ra_h, dec_deg) = (number("rightascension")?, number("declination")?);
        if !(0.0..=24.0).contains(&ra_h) || !(-90.0..=90.0).contains(&dec_deg) {
            return Err(Trouble::Garbage(format!("position {ra_h} h {dec_deg} deg")));
        }
        let now = clock.now();
        let (ra_deg, dec_deg) = if self.can.j2000 {
            precessed(ra_h * 15.0, dec_deg, now, true)
        } else {
            ((ra_h * 15.0).rem_euclid(360.0), dec_deg)
        };
        let state = match (truth("atpark")?, truth("slewing")?, truth("tracking")?) {
            (true, _, _) => MountState::Parked,
            (false, true, _) if self.parking => MountState::Parking,
            (false, true, _) => MountState::Slewing,
            (false, false, true) => MountState::Tracking,
            (false, false, false) => MountState::Idle,
        };
        self.parking &= state == MountState::Parking;
        // Where the axes are is better than where they ought to be.
        let (alt_deg, az_deg) = if told.contains_key("altitude") && told.contains_key("azimuth") {
            (number("altitude")?, number("azimuth")?.rem_euclid(360.0))
        } else {
            self.place.horizontal(ra_deg, dec_deg, now)
        };
        let status = MountStatus {
            state,
            ra_deg,
            dec_deg,
            alt_deg,
            az_deg,
        };
        self.status.send_replace(Reading::good(status, now));
        let moving = matches!(state, MountState::Slewing | MountState::Parking);
        Ok(pace(self.poll, moving))
    }

    async fn obey(&mut self, wire: &mut Wire, command: &MountOrder) -> Result<(), Trouble> {
        let (session, can) = (&mut self.session, &self.can);
        match command {
            MountOrder::Slew { ra_deg, dec_deg } => {
                able(can.slew, "slew")?;
                let parked = session.truth(wire, "atpark").await?;
                if parked {
                    return Err(Trouble::Refused {
                        code: code::INVALID_WHILE_PARKED,
                        message: "parked".into(),
                    });
                }
                if can.track && !session.truth(wire, "tracking").await? {
                    session.put(wire, "tracking", &[("Tracking", "True".into())]).await?;
                }
                let (ra_deg, dec_deg) = if can.j2000 {
                    precessed(*ra_deg, *dec_deg, self.clock.now(), false)
                } else {
                    (ra_deg.rem_euclid(360.0), *dec_deg)
                };
                let target = [
                    ("RightAscension", format!("{:.8}", ra_deg / 15.0)),
                    ("Declination", format!("{dec_deg:.8}")),
                ];
                session.put(wire, "slewtocoordinatesasync", &target).await
            }
            MountOrder::Park => {
                able(can.park, "park")?;
                self.parking = true;
                session.put(wire, "park", &[]).await
            }
            MountOrder::Unpark => {
                able(can.unpark, "unpark")?;
                session.put(wire, "unpark", &[]).await
            }
            MountOrder::Track(on) => {
                able(can.track, "switch its tracking")?;
                let on = if *on { "True" } else { "False" };
                session.put(wire, "tracking", &[("Tracking", on.into())]).await
            }
            // A parked mount does not move: stopping it is done.
            MountOrder::Stop => already(session.put(wire, "abortslew", &[]).await, code::INVALID_WHILE_PARKED),
        }
    }

    fn unknown(&mut self, reason: NoData, at: UtcTime) {
        self.status.send_replace(Reading::none(reason, at));
    }
}

/// A connected mount.
pub type AlpacaMount = MountHandle<Talk>;

/// Connects to telescope `number` of the server; `place` tells the altitude where the mount does not.
pub fn connect_mount(
    id: &str,
    number: u32,
    place: Place,
    connector: SharedConnector,
    clock: Rc<dyn Clock>,
    poll: Duration,
) -> Rc<AlpacaMount> {
    let (status_out, status) = unread(&*clock);
    let talk = Talk {
        session: Session::new("telescope", number, connector.clone()),
        place,
        clock: clock.clone(),
        poll,
        can: Abilities::default(),
        parking: false,
        status: status_out,
    };
    MountHandle::new(Link::open(id, connector, clock, POLL_DEADLINE, talk), status)
}
