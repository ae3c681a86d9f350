//! Our simulated mount driven by a driver that nobody here wrote: Debian's `indi_lx200basic` (package `indi-bin`), over a
//! pseudo-terminal, told what to do by INDI's own command-line tools; and our driver on a mount that speaks Meade's dialect.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "support/bare.rs"]
mod bare;
#[path = "../../drivers/tests/support/indi.rs"]
mod indi;
#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_drivers::{
    interface::{Device, DeviceError, Mount},
    lx200,
    transport::{SerialConnector, SharedConnector},
};
use alidade_model::{clock::Clock, states::MountState};
use alidade_scheduling::ephemeris;
use alidade_simulations::{
    devices::mount::MountConfig,
    faults::{Fault, FaultKind},
    observatory::Observatory,
};
use indi::Server;
use std::{rc::Rc, time::Duration};
use support::{Running, live, paused, seen};
use tokio::{io::AsyncWriteExt, task::LocalSet};

/// Asks a blocking question beside the simulator, until its answer is as wanted.
async fn until(server: &Rc<Server>, what: &str, mut so: impl FnMut(&Server) -> bool) {
    for _ in 0..60 {
        if so(server) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("never: {what}");
}

#[test]
fn indis_own_lx200_driver_connects_slews_and_stops_our_mount() {
    let (told, path) = std::sync::mpsc::channel();
    let (done, end) = tokio::sync::oneshot::channel::<()>();
    // The simulator on a thread of its own: the tools of INDI block this one.
    let simulator = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let clock = Running::clock();
            let observatory = bare::with_mount(clock, bare::quick(20.0));
            // The basic driver knows no parking: somebody wakes the mount beside it, on a line of its own.
            let mut line = observatory.connector("mount").connect().await.unwrap();
            line.write_all(b":hW#").await.unwrap();
            told.send(observatory.serve_pty("mount").unwrap()).unwrap();
            let _ = end.await;
            observatory.truth()
        })
    });
    let path = path.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let server = Rc::new(Server::start(&["indi_lx200basic"]));
        until(&server, "the driver is there", |s| {
            s.get("LX200 Basic.DEVICE_PORT.PORT").is_some()
        })
        .await;
        server.set(&format!("LX200 Basic.DEVICE_PORT.PORT={path}"));
        server.set("LX200 Basic.CONNECTION.CONNECT=On");
        until(&server, "it has read where our mount points", |s| {
            s.get("LX200 Basic.EQUATORIAL_EOD_COORD.RA").is_some()
        })
        .await;
        // A place that is high now: one hour east of the meridian.
        let now = Running::clock().now();
        let lst = ephemeris::lst_deg(&bare::site(), now.chrono());
        let ra_h = (lst / 15.0 + 1.0).rem_euclid(24.0);
        server.set("LX200 Basic.ON_COORD_SET.TRACK=On");
        server.set(&format!("LX200 Basic.EQUATORIAL_EOD_COORD.RA;DEC={ra_h:.4};40.0"));
        let near = |text: Option<String>, wanted: f64, by: f64| {
            text.and_then(|t| t.parse::<f64>().ok())
                .is_some_and(|v| (v - wanted).abs() < by)
        };
        until(&server, "it is where the driver sent it", |s| {
            near(s.get("LX200 Basic.EQUATORIAL_EOD_COORD.RA"), ra_h, 0.01)
                && near(s.get("LX200 Basic.EQUATORIAL_EOD_COORD.DEC"), 40.0, 0.05)
        })
        .await;
        server.set("LX200 Basic.TELESCOPE_ABORT_MOTION.ABORT=On");
        until(&server, "it still answers", |s| {
            s.get("LX200 Basic.EQUATORIAL_EOD_COORD.DEC").is_some()
        })
        .await;
    });
    drop(done);
    let truth = simulator.join().unwrap();
    assert!(truth.mount_alt_deg > 60.0, "the mount itself points there: {truth:?}");
}

/// A quick mount that speaks Meade's dialect.
fn meade(clock: Rc<dyn Clock>) -> Rc<Observatory> {
    let mount = MountConfig {
        meade: true,
        ..bare::quick(40.0)
    };
    bare::with_mount(clock, mount)
}

/// Wakes, slews, stops, parks and refuses, over any line.
async fn drive_meade(way: SharedConnector, observatory: Rc<Observatory>, clock: Rc<dyn Clock>) {
    let mount = lx200::connect("mount", way, clock.clone(), Duration::from_millis(200));
    let mut status = mount.status();
    // It does not tell that it is parked; it stands still.
    seen(&mut status, 10, "read", |s| s.state == MountState::Idle).await;
    assert_eq!(mount.identity().borrow().as_ref().unwrap().model, "LX2001");
    let lst = ephemeris::lst_deg(&bare::site(), clock.now().chrono());
    let (ra_deg, dec_deg) = ((lst + 15.0).rem_euclid(360.0), 40.0);
    let refused = mount.slew(ra_deg, dec_deg).await.unwrap_err();
    assert!(matches!(refused, DeviceError::Rejected { code: 5, .. }), "{refused}");
    // The simulated one begins parked; ordered to park it is there already, and can be woken.
    mount.park().await.unwrap();
    seen(&mut status, 15, "parked", |s| s.state == MountState::Parked).await;
    let refused = mount.slew(ra_deg, dec_deg).await.unwrap_err();
    assert!(matches!(refused, DeviceError::Rejected { code: 0, .. }), "{refused}");
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
    assert!((truth.mount_alt_deg - there.alt_deg).abs() < 0.05, "{truth:?}");
    mount.track(false).await.unwrap();
    seen(&mut status, 5, "idle", |s| s.state == MountState::Idle).await;
    mount.slew(ra_deg - 60.0, 10.0).await.unwrap();
    mount.stop().await.unwrap();
    seen(&mut status, 5, "stopped", |s| s.state == MountState::Idle).await;
    mount.park().await.unwrap();
    seen(&mut status, 5, "parking", |s| s.state == MountState::Parking).await;
    seen(&mut status, 20, "parked", |s| s.state == MountState::Parked).await;
    mount.unpark().await.unwrap();
    seen(&mut status, 5, "tracking", |s| s.state == MountState::Tracking).await;
    observatory.inject(Fault {
        at: clock.now(),
        device: "mount".into(),
        kind: FaultKind::Refuse,
        for_s: 60.0,
    });
    // It has no word for a park that it does not begin: the driver sees that it goes on tracking.
    mount.park().await.unwrap();
    seen(&mut status, 5, "asked to park", |s| s.state == MountState::Parking).await;
    seen(&mut status, 15, "not parked", |s| s.state == MountState::Tracking).await;
    assert_eq!(mount.garbage_count(), 0);
}

#[test]
fn our_driver_speaks_meades_dialect_over_memory() {
    paused(|clock| async move {
        let observatory = meade(clock.clone());
        drive_meade(observatory.connector("mount"), observatory.clone(), clock).await;
    });
}

#[test]
fn our_driver_speaks_meades_dialect_over_a_serial_line() {
    live(|clock| async move {
        let observatory = meade(clock.clone());
        let path = observatory.serve_pty("mount").unwrap();
        drive_meade(Rc::new(SerialConnector { path, baud: 9600 }), observatory, clock).await;
    });
}
