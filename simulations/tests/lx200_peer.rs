//! Our simulated mount driven by a driver that nobody here wrote: Debian's `indi_lx200basic` (package `indi-bin`), over a
//! pseudo-terminal, told what to do by INDI's own command-line tools.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "../../drivers/tests/support/indi.rs"]
mod indi;
#[path = "support/mount.rs"]
mod mount;
#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_scheduling::ephemeris;
use indi::Server;
use std::{rc::Rc, time::Duration};
use support::Running;
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
            let observatory = mount::observatory(clock, 20.0);
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
        let lst = ephemeris::lst_deg(&mount::site(), now.chrono());
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
