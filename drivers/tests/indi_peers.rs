//! The INDI drivers against Debian's `indiserver` and its simulators (package `indi-bin`), each test on a server of its
//! own.

#![cfg(feature = "indi")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

use alidade_drivers::{
    indi::{self, Place},
    interface::{Camera, CameraState, Device, Enclosure, ExposeOrder, FilterWheel, Focuser, Mount},
    transport::{SharedConnector, TcpConnector},
};
use alidade_model::{
    clock::Clock,
    reading::Reading,
    states::{EnclosureState, MountState},
    time::UtcTime,
};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};
use tokio::{sync::watch, task::LocalSet, time::Instant};

/// Counts on from a fixed instant as tokio's time does.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> UtcTime {
        let start: UtcTime = "2026-02-25T20:00:00Z".parse().unwrap();
        start.plus_seconds(self.0.elapsed().as_secs_f64())
    }
}

struct Server {
    child: Child,
    port: u16,
    home: PathBuf,
}

impl Server {
    /// Starts the simulators of these drivers on a free port, with a home of their own for what they remember.
    fn start(drivers: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = std::env::temp_dir().join(format!("alidade-indi-{}-{port}", std::process::id()));
        std::fs::create_dir_all(home.join(".indi")).unwrap();
        let fifo = home.join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut child = Command::new("indiserver")
            .args([
                "-v",
                "-p",
                &port.to_string(),
                "-u",
                &home.join("socket").to_string_lossy(),
                "-r",
                "20",
                "-f",
            ])
            .arg(&fifo)
            .args(drivers)
            .env("HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("indiserver is not installed: apt-get install indi-bin");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("listening to port"));
        assert!(listening, "indiserver did not start");
        // Its log has to be read, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, home }
    }

    fn way(&self) -> SharedConnector {
        Rc::new(TcpConnector {
            host: "127.0.0.1".into(),
            port: self.port,
        })
    }

    /// Kills the processes of one driver that this server started.
    fn kill_driver(&self, driver: &str) {
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            // pid (name) state parent ...; the name is cut to 15 characters.
            let Some((head, tail)) = stat.rsplit_once(") ") else {
                continue;
            };
            let parent: u32 = tail.split(' ').nth(1).unwrap().parse().unwrap();
            let arguments = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if parent == self.child.id() && arguments.starts_with(driver) {
                let pid = head.split(' ').next().unwrap();
                assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
                killed += 1;
            }
        }
        assert_eq!(killed, 1, "{driver} runs once");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// Waits until the measured state is as wanted.
async fn seen<T: Clone + std::fmt::Debug>(
    status: &mut watch::Receiver<Reading<T>>,
    seconds: u64,
    what: &str,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let last = status.clone();
    let wait = status.wait_for(|reading| reading.value.as_ref().is_ok_and(&wanted));
    match tokio::time::timeout(Duration::from_secs(seconds), wait).await {
        Ok(reading) => reading.unwrap().value.clone().unwrap(),
        Err(_) => panic!("{what}: not within {seconds} s, last {:?}", last.borrow().value),
    }
}

fn live<F: Future<Output = ()>>(test: impl FnOnce(Rc<dyn Clock>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(LocalSet::new().run_until(async { test(Rc::new(Running(Instant::now()))).await }));
}

const POLL: Duration = Duration::from_millis(300);

#[test]
fn a_camera_delivers_a_real_image_and_outlives_its_driver() {
    let server = Server::start(&["indi_simulator_ccd"]);
    live(|clock| async move {
        let camera = indi::connect_camera("camera", "CCD Simulator", server.way(), clock, POLL);
        let mut status = camera.status();
        seen(&mut status, 15, "idle", |s| s.state == CameraState::Idle).await;
        let (width, height) = camera.sensor().unwrap();
        assert_eq!((width, height), (1280, 1024));

        let order = ExposeOrder {
            operation: 7,
            exposure_s: 0.5,
            light: true,
            binning: 1,
        };
        camera.expose(order).await.unwrap();
        let refused = camera.expose(ExposeOrder { operation: 8, ..order }).await;
        assert!(refused.is_err(), "a second exposure must not restart the first");
        seen(&mut status, 15, "ready", |s| {
            s.state == CameraState::Ready && s.operation == Some(7)
        })
        .await;
        assert!(camera.fetch(6).await.is_err());
        let frame = camera.fetch(7).await.unwrap();
        assert_eq!((frame.operation, frame.width, frame.height), (7, width, height));
        assert_eq!(frame.pixels.len(), width * height);
        assert!(
            frame.pixels.iter().any(|level| *level != frame.pixels[0]),
            "an image has noise"
        );

        camera
            .expose(ExposeOrder {
                operation: 9,
                exposure_s: 30.0,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 5, "exposing", |s| {
            s.state == CameraState::Exposing && s.operation == Some(9)
        })
        .await;
        camera.stop().await.unwrap();
        seen(&mut status, 5, "stopped", |s| s.state == CameraState::Idle).await;

        camera
            .expose(ExposeOrder {
                operation: 10,
                exposure_s: 30.0,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 5, "exposing again", |s| s.state == CameraState::Exposing).await;
        server.kill_driver("indi_simulator_ccd");
        let lost = tokio::time::timeout(
            Duration::from_millis(1000),
            status.wait_for(|reading| reading.value.is_err()),
        )
        .await
        .is_ok();
        assert!(lost, "the loss is seen within a second");
        // The exposure of the earlier life is nobody's; the camera is usable again.
        let back = seen(&mut status, 20, "back", |s| s.state == CameraState::Idle).await;
        assert_eq!(back.operation, None);
        camera
            .expose(ExposeOrder {
                operation: 11,
                binning: 2,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 15, "ready after the crash", |s| {
            s.state == CameraState::Ready && s.operation == Some(11)
        })
        .await;
        assert_eq!(camera.fetch(11).await.unwrap().width, width / 2);
    });
}

#[test]
fn a_mount_slews_parks_and_refuses_to_move_while_parked() {
    let server = Server::start(&["indi_simulator_telescope"]);
    live(|clock| async move {
        let place = Place {
            latitude_deg: 43.93,
            longitude_deg: 5.71,
            altitude_m: 650.0,
        };
        let mount = indi::connect_mount("mount", "Telescope Simulator", place, server.way(), clock, POLL);
        let mut status = mount.status();
        let first = seen(&mut status, 15, "read", |_| true).await;
        if first.state == MountState::Parked {
            assert!(mount.slew(120.0, 60.0).await.is_err());
            mount.unpark().await.unwrap();
        }
        seen(&mut status, 10, "unparked", |s| {
            matches!(s.state, MountState::Idle | MountState::Tracking)
        })
        .await;
        // Circumpolar, near the meridian or not: always above the horizon from here.
        mount.slew(120.0, 75.0).await.unwrap();
        seen(&mut status, 5, "slewing", |s| s.state == MountState::Slewing).await;
        let there = seen(&mut status, 60, "tracking there", |s| {
            s.state == MountState::Tracking && (s.dec_deg - 75.0).abs() < 0.05
        })
        .await;
        assert!((there.ra_deg - 120.0).abs() < 0.1, "{there:?}");
        assert!(there.alt_deg > 28.0, "{there:?}");
        mount.slew(200.0, 50.0).await.unwrap();
        seen(&mut status, 5, "slewing again", |s| s.state == MountState::Slewing).await;
        mount.stop().await.unwrap();
        let stopped = seen(&mut status, 10, "stopped", |s| {
            matches!(s.state, MountState::Idle | MountState::Tracking)
        })
        .await;
        assert!((stopped.dec_deg - 50.0).abs() > 0.5, "stopped on the way: {stopped:?}");
        mount.park().await.unwrap();
        seen(&mut status, 90, "parked", |s| s.state == MountState::Parked).await;
        assert!(mount.slew(120.0, 60.0).await.is_err());
    });
}

#[test]
fn a_wheel_a_focuser_and_a_dome_move_to_where_they_are_sent() {
    let server = Server::start(&["indi_simulator_wheel", "indi_simulator_focus", "indi_simulator_dome"]);
    live(|clock| async move {
        let filters: Vec<String> = ["g", "r", "i", "z", "H", "clear", "dark", "oiii"]
            .map(String::from)
            .to_vec();
        let wheel = indi::connect_filter_wheel("wheel", "Filter Simulator", server.way(), clock.clone(), POLL, filters);
        let focuser = indi::connect_focuser("focuser", "Focuser Simulator", server.way(), clock.clone(), POLL);
        let dome = indi::connect_dome("dome", "Dome Simulator", server.way(), clock, POLL);
        let (mut at, mut focus, mut roof) = (wheel.status(), focuser.status(), dome.enclosure_status());

        seen(&mut at, 15, "wheel read", |s| !s.moving).await;
        wheel.select("z").await.unwrap();
        seen(&mut at, 10, "filter z", |s| s.filter.as_deref() == Some("z")).await;
        assert!(wheel.select("u").await.is_err());

        let from = seen(&mut focus, 15, "focuser read", |_| true).await.position_steps;
        focuser.move_to(from + 2500).await.unwrap();
        seen(&mut focus, 20, "focused", |s| {
            !s.moving && s.position_steps == from + 2500
        })
        .await;

        seen(&mut roof, 15, "dome read", |_| true).await;
        dome.open().await.unwrap();
        seen(&mut roof, 5, "opening", |s| s.state == EnclosureState::Opening).await;
        seen(&mut roof, 15, "open", |s| s.state == EnclosureState::Open).await;
        dome.rotate(40.0).await.unwrap();
        seen(&mut roof, 5, "rotating", |s| s.rotating).await;
        dome.close().await.unwrap();
        seen(&mut roof, 5, "closing", |s| s.state == EnclosureState::Closing).await;
        // Stopped half-way is neither open nor closed.
        dome.stop().await.unwrap_err();
        seen(&mut roof, 5, "stopped", |s| s.state == EnclosureState::Unknown).await;
        dome.close().await.unwrap();
        seen(&mut roof, 15, "closed", |s| s.state == EnclosureState::Closed).await;

        server.kill_driver("indi_simulator_dome");
        let lost = tokio::time::timeout(Duration::from_secs(2), roof.wait_for(|reading| reading.value.is_err()))
            .await
            .is_ok();
        assert!(lost, "a lost dome is not a closed dome");
        seen(&mut roof, 20, "dome back", |_| true).await;
    });
}
