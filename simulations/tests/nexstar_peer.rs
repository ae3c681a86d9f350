//! The NexStar driver on our simulated hand control, over memory and a pseudo-terminal; and our hand control driven by a
//! driver that nobody here wrote: Debian's `indi_celestron_gps` (package `indi-bin`).

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "support/bare.rs"]
mod bare;
#[path = "../../drivers/tests/support/indi.rs"]
mod indi;
#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_drivers::{
    interface::{Device, DeviceError, Mount},
    nexstar::{self, ParkAt},
    place::Place,
    transport::{SerialConnector, SharedConnector},
};
use alidade_model::{clock::Clock, states::MountState};
use alidade_scheduling::ephemeris;
use alidade_simulations::{
    faults::{Fault, FaultKind},
    observatory::{HardwareTruth, Observatory},
};
use indi::Server;
use std::{rc::Rc, time::Duration};
use support::{Running, live, lost, paused, seen};
use tokio::task::LocalSet;

fn observatory(clock: Rc<dyn Clock>) -> Rc<Observatory> {
    bare::with_mount(clock, bare::quick(40.0))
}

/// Right ascension that stands one hour east of the meridian, degrees.
fn high(clock: &dyn Clock) -> f64 {
    (ephemeris::lst_deg(&bare::site(), clock.now().chrono()) + 15.0).rem_euclid(360.0)
}

/// A night's worth of orders over one line.
async fn drive(way: SharedConnector, observatory: Rc<Observatory>, clock: Rc<dyn Clock>) {
    let place = Place {
        latitude_deg: 43.93,
        longitude_deg: 5.71,
        altitude_m: 650.0,
    };
    let park = ParkAt {
        alt_deg: 40.0,
        az_deg: 0.0,
    };
    let mount = nexstar::connect("mount", place, park, way, clock.clone(), Duration::from_millis(200));
    let mut status = mount.status();
    let (ra_deg, dec_deg) = (high(&*clock), 40.0);
    let at = seen(&mut status, 10, "parked at first", |s| s.state == MountState::Parked).await;
    assert!((at.alt_deg - 40.0).abs() < 0.01, "{at:?}");
    assert_eq!(mount.identity().borrow().as_ref().unwrap().version, "4.21");
    let refused = mount.slew(ra_deg, dec_deg).await.unwrap_err();
    assert!(matches!(refused, DeviceError::Rejected { .. }), "{refused}");
    mount.unpark().await.unwrap();
    seen(&mut status, 5, "unparked", |s| s.state == MountState::Tracking).await;
    mount.slew(ra_deg, dec_deg).await.unwrap();
    seen(&mut status, 5, "slewing", |s| s.state == MountState::Slewing).await;
    let there = seen(&mut status, 20, "there", |s| s.state == MountState::Tracking).await;
    assert!(
        (there.ra_deg - ra_deg).abs() < 0.01 && (there.dec_deg - dec_deg).abs() < 0.001,
        "{there:?}"
    );
    let truth = observatory.truth();
    assert!(
        (truth.mount_alt_deg - there.alt_deg).abs() < 0.05 && truth.mount_alt_deg > 60.0,
        "{truth:?}"
    );
    // What is below the limit is not begun, and nothing is said: it is seen.
    mount.slew((ra_deg + 180.0) % 360.0, -60.0).await.unwrap();
    let still = seen(&mut status, 5, "still there", |_| true).await;
    assert!((still.dec_deg - dec_deg).abs() < 0.001);
    mount.track(false).await.unwrap();
    seen(&mut status, 5, "idle", |s| s.state == MountState::Idle).await;
    mount.slew(ra_deg - 60.0, 10.0).await.unwrap();
    mount.stop().await.unwrap();
    seen(&mut status, 5, "stopped", |s| s.state == MountState::Idle).await;
    mount.park().await.unwrap();
    seen(&mut status, 5, "parking", |s| s.state == MountState::Parking).await;
    seen(&mut status, 20, "parked", |s| s.state == MountState::Parked).await;
    assert_eq!(mount.garbage_count(), 0);
    // A hand control that is mute says nothing of where it points, and is read again when it speaks.
    observatory.inject(Fault {
        at: clock.now(),
        device: "nexstar".into(),
        kind: FaultKind::Mute,
        for_s: 8.0,
    });
    assert!(lost(&mut status, 20).await);
    seen(&mut status, 30, "read again", |s| s.state == MountState::Parked).await;
}

#[test]
fn our_driver_slews_tracks_stops_and_parks_over_memory() {
    paused(|clock| async move {
        let observatory = observatory(clock.clone());
        drive(observatory.connector("nexstar"), observatory.clone(), clock).await;
    });
}

#[test]
fn our_driver_does_the_same_over_a_serial_line() {
    live(|clock| async move {
        let observatory = observatory(clock.clone());
        let path = observatory.serve_pty("nexstar").unwrap();
        drive(Rc::new(SerialConnector { path, baud: 9600 }), observatory, clock).await;
    });
}

/// Asks a question, with pauses, until its answer is as wanted.
fn until(server: &Server, what: &str, mut so: impl FnMut(&Server) -> bool) {
    // A message that never comes, waited for.
    let (_silent, pause) = std::sync::mpsc::channel::<()>();
    for _ in 0..100 {
        if so(server) {
            return;
        }
        let _nothing = pause.recv_timeout(Duration::from_millis(300));
    }
    panic!("never: {what}");
}

/// Serves the hand control on a thread of its own while `test` runs, which is told its terminal; what the mount was then.
fn beside(test: impl FnOnce(&str)) -> HardwareTruth {
    let (told, path) = std::sync::mpsc::channel();
    let (done, end) = tokio::sync::oneshot::channel::<()>();
    let simulator = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let observatory = observatory(Running::clock());
            told.send(observatory.serve_pty("nexstar").unwrap()).unwrap();
            let _ = end.await;
            observatory.truth()
        })
    });
    test(&path.recv().unwrap());
    drop(done);
    simulator.join().unwrap()
}

#[test]
fn indis_own_celestron_driver_connects_slews_and_stops_our_mount() {
    let truth = beside(|path| {
        let server = Server::start(&["indi_celestron_gps"]);
        let of = |property: &str| format!("Celestron GPS.{property}");
        until(&server, "the driver is there", |s| {
            s.get(&of("DEVICE_PORT.PORT")).is_some()
        });
        server.set(&of(&format!("DEVICE_PORT.PORT={path}")));
        server.set(&of("CONNECTION.CONNECT=On"));
        until(&server, "it has read where our mount points", |s| {
            s.get(&of("EQUATORIAL_EOD_COORD.RA")).is_some()
        });
        let ra_h = high(&*Running::clock()) / 15.0;
        server.set(&of("TELESCOPE_PARK.UNPARK=On"));
        server.set(&of("ON_COORD_SET.TRACK=On"));
        server.set(&of(&format!("EQUATORIAL_EOD_COORD.RA;DEC={ra_h:.4};40.0")));
        let near = |text: Option<String>, wanted: f64, by: f64| {
            text.and_then(|t| t.parse::<f64>().ok())
                .is_some_and(|v| (v - wanted).abs() < by)
        };
        until(&server, "it is where the driver sent it", |s| {
            near(s.get(&of("EQUATORIAL_EOD_COORD.RA")), ra_h, 0.01)
                && near(s.get(&of("EQUATORIAL_EOD_COORD.DEC")), 40.0, 0.05)
        });
        server.set(&of("TELESCOPE_ABORT_MOTION.ABORT=On"));
        until(&server, "it still answers", |s| {
            s.get(&of("EQUATORIAL_EOD_COORD.DEC")).is_some()
        });
    });
    assert!(truth.mount_alt_deg > 60.0, "the mount itself points there: {truth:?}");
}
