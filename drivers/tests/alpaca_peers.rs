//! The Alpaca drivers against a server that nobody here wrote: alpaca-simulators (the ASTRA authors, MIT) from the private
//! environment that `make peers` makes.

#![cfg(feature = "alpaca")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

#[path = "support/ports.rs"]
mod ports;
#[path = "support/live.rs"]
mod support;

use alidade_drivers::{
    alpaca,
    interface::{
        Camera, CameraState, Device, DeviceError, Enclosure, ExposeOrder, FilterWheel, Focuser, Mount,
        ObservingConditions, Quantity, Readings, Rotator, Switch,
    },
    place::Place,
    transport::{SharedConnector, TcpConnector},
};
use alidade_model::states::{EnclosureState, MountState};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};
use support::{live, lost, seen};

const POLL: Duration = Duration::from_millis(200);

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let program = target.join("peers/bin/alpaca-simulators");
        assert!(program.exists(), "{} is missing: make peers", program.display());
        let port = ports::free_port();
        let mut child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serves = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("Uvicorn running"));
        assert!(serves, "alpaca-simulators did not start");
        // Its log has to be read, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    fn way(&self) -> SharedConnector {
        Rc::new(TcpConnector {
            host: "127.0.0.1".into(),
            port: self.port,
        })
    }

    /// Sets something as another client would.
    fn put(&self, path: &str, form: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!(
            "PUT /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_mount_slews_tracks_parks_and_refuses_to_move_while_parked() {
    let server = Server::start();
    live(|clock| async move {
        let place = Place {
            latitude_deg: 48.0,
            longitude_deg: 8.0,
            altitude_m: 1000.0,
        };
        let mount = alpaca::connect_mount("mount", 0, place, server.way(), clock, POLL);
        let mut status = mount.status();
        seen(&mut status, 15, "parked at first", |s| s.state == MountState::Parked).await;
        let refused = mount.slew(120.0, 75.0).await.unwrap_err();
        assert!(
            matches!(refused, DeviceError::Rejected { code: 0x408, .. }),
            "{refused}"
        );
        mount.stop().await.unwrap();
        mount.unpark().await.unwrap();
        seen(&mut status, 10, "unparked", |s| s.state != MountState::Parked).await;
        mount.slew(120.0, 75.0).await.unwrap();
        seen(&mut status, 5, "slewing", |s| s.state == MountState::Slewing).await;
        let there = seen(&mut status, 30, "tracking there", |s| s.state == MountState::Tracking).await;
        assert!(
            (there.ra_deg - 120.0).abs() < 0.1 && (there.dec_deg - 75.0).abs() < 0.05,
            "{there:?}"
        );
        mount.track(false).await.unwrap();
        seen(&mut status, 5, "idle", |s| s.state == MountState::Idle).await;
        mount.park().await.unwrap();
        seen(&mut status, 60, "parked", |s| s.state == MountState::Parked).await;
    });
}

#[test]
fn a_camera_delivers_a_frame_and_never_the_ghost_of_an_aborted_one() {
    let server = Server::start();
    live(|clock| async move {
        let camera = alpaca::connect_camera("camera", 0, server.way(), clock, POLL);
        let mut status = camera.status();
        seen(&mut status, 15, "idle", |s| s.state == CameraState::Idle).await;
        assert_eq!(camera.sensor(), Some((1024, 1024)));
        // Dark: this server asks the network for the stars of a light frame.
        let order = ExposeOrder {
            operation: 7,
            exposure_s: 0.5,
            light: false,
            binning: 1,
        };
        camera.cool(-15.0).await.unwrap();
        camera.expose(order).await.unwrap();
        let second = camera.expose(ExposeOrder { operation: 8, ..order }).await;
        assert!(matches!(second, Err(DeviceError::Rejected { .. })), "{second:?}");
        seen(&mut status, 20, "ready", |s| {
            s.state == CameraState::Ready && s.operation == Some(7)
        })
        .await;
        assert!(camera.fetch(6).await.is_err());
        let frame = camera.fetch(7).await.unwrap();
        assert_eq!((frame.operation, frame.width, frame.height), (7, 1024, 1024));
        assert_eq!(frame.pixels.len(), 1024 * 1024);
        assert!(
            frame.pixels.iter().any(|level| *level != frame.pixels[0]),
            "an image has noise"
        );
        assert!(camera.fetch(7).await.is_err(), "a frame is fetched once");

        // The server announces the aborted exposure's image when its time is over, in the middle of the next one.
        camera
            .expose(ExposeOrder {
                operation: 9,
                exposure_s: 2.0,
                ..order
            })
            .await
            .unwrap();
        seen(&mut status, 5, "exposing", |s| s.operation == Some(9)).await;
        camera.stop().await.unwrap();
        seen(&mut status, 5, "stopped", |s| {
            s.state == CameraState::Idle && s.operation.is_none()
        })
        .await;
        let binned = ExposeOrder {
            operation: 10,
            exposure_s: 4.0,
            binning: 2,
            ..order
        };
        camera.expose(binned).await.unwrap();
        let begun = tokio::time::Instant::now();
        seen(&mut status, 30, "ready again", |s| {
            s.state == CameraState::Ready && s.operation == Some(10)
        })
        .await;
        assert!(
            begun.elapsed() > Duration::from_millis(3900),
            "a ghost was taken for the frame"
        );
        assert_eq!(camera.fetch(10).await.unwrap().width, 512);
        assert_eq!(camera.garbage_count(), 0);
    });
}

#[test]
fn a_wheel_a_focuser_a_rotator_switches_and_a_dome_move_to_where_they_are_sent() {
    let server = Server::start();
    live(|clock| async move {
        let filters: Vec<String> = ["r", "g", "b", "clear"].map(String::from).to_vec();
        let wheel = alpaca::connect_filter_wheel("wheel", 0, server.way(), clock.clone(), POLL, filters);
        let focuser = alpaca::connect_focuser("focuser", 0, server.way(), clock.clone(), POLL);
        let dome = alpaca::connect_dome("dome", 0, server.way(), clock.clone(), POLL);
        let rotator = alpaca::connect_rotator("rotator", 0, server.way(), clock.clone(), POLL);
        let power = alpaca::connect_switch("power", 0, server.way(), clock, POLL);
        let (mut at, mut focus, mut roof) = (wheel.status(), focuser.status(), dome.enclosure_status());

        seen(&mut at, 15, "wheel read", |s| !s.moving).await;
        wheel.select("b").await.unwrap();
        seen(&mut at, 10, "filter b", |s| s.filter.as_deref() == Some("b")).await;
        assert!(wheel.select("u").await.is_err());

        let from = seen(&mut focus, 15, "focuser read", |_| true).await.position_steps;
        focuser.move_to(from + 2500).await.unwrap();
        seen(&mut focus, 30, "focused", |s| {
            !s.moving && s.position_steps == from + 2500
        })
        .await;
        assert!(matches!(
            focuser.move_to(-1).await,
            Err(DeviceError::Rejected { code: 0x401, .. })
        ));

        let mut field = rotator.status();
        seen(&mut field, 15, "rotator read", |s| !s.moving).await;
        rotator.turn_to(-90.0).await.unwrap();
        let turned = seen(&mut field, 10, "turned", |s| (s.position_deg - 270.0).abs() < 0.01).await;
        assert_eq!(turned.mechanical_deg, Some(270.0));
        rotator.stop().await.unwrap();

        let mut lines = power.lines();
        let read = seen(&mut lines, 15, "switches read", |lines| lines.len() == 2).await;
        assert_eq!((read["Dimmer 1"].value, read["Dimmer 1"].step), (0.5, 0.1));
        power.set("Power Switch 1", 1.0).await.unwrap();
        power.set("Dimmer 1", 0.25).await.unwrap();
        seen(&mut lines, 10, "switched", |lines| {
            lines["Power Switch 1"].value == 1.0 && lines["Dimmer 1"].value == 0.25
        })
        .await;
        let beyond = power.set("Dimmer 1", 1.5).await;
        assert!(matches!(beyond, Err(DeviceError::OutOfRange { .. })), "{beyond:?}");
        let nothing = power.set("Heater", 1.0).await;
        assert!(matches!(nothing, Err(DeviceError::Unsupported { .. })), "{nothing:?}");
        power.stop().await.unwrap();
        assert_eq!(
            power.lines().borrow().value.as_ref().unwrap()["Power Switch 1"].value,
            1.0
        );

        seen(&mut roof, 15, "dome read", |s| s.state == EnclosureState::Closed).await;
        dome.open().await.unwrap();
        seen(&mut roof, 30, "open", |s| s.state == EnclosureState::Open).await;
        dome.rotate(40.0).await.unwrap();
        seen(&mut roof, 5, "rotating", |s| s.rotating).await;
        seen(&mut roof, 20, "turned", |s| {
            !s.rotating && s.azimuth_deg.is_some_and(|a| (a - 40.0).abs() < 0.5)
        })
        .await;
        dome.close().await.unwrap();
        seen(&mut roof, 30, "closed", |s| s.state == EnclosureState::Closed).await;

        server.signal("-STOP");
        assert!(
            lost(&mut roof, 20).await,
            "a server that hangs says nothing about the roof"
        );
        let unheard = dome.close().await;
        assert!(unheard.is_err(), "nobody heard it");
        server.signal("-CONT");
        seen(&mut roof, 30, "read back", |s| s.state == EnclosureState::Closed).await;
        assert_eq!(dome.garbage_count(), 0, "late answers went with their connection");
    });
}

#[test]
fn weather_and_a_safety_monitor_are_stations_and_a_killed_server_is_no_data() {
    let mut server = Server::start();
    live(|clock| async move {
        let weather = alpaca::connect_weather("mast", 0, server.way(), clock.clone(), POLL);
        let deadline = Duration::from_secs(3);
        let monitor = alpaca::connect_safety_monitor("monitor", 0, server.way(), clock.clone(), POLL, deadline);
        let (mut readings, mut verdict) = (weather.readings(), monitor.readings());
        let measured = tokio::time::timeout(Duration::from_secs(15), readings.wait_for(|r| r.len() >= 8));
        let measured = *measured.await.expect("weather is read").unwrap();
        assert_eq!(measured[Quantity::TemperatureC].value, Ok(15.0));
        let age_s = clock.now().seconds_since(measured[Quantity::TemperatureC].measured_at);
        assert!(age_s > 0.9, "the server says that it measured a second ago: {age_s}");
        assert!(measured[Quantity::SkyTemperatureK].value.is_ok());

        let mut says = async |wanted: Option<f64>| {
            let is_so = |r: &Readings| {
                r.get(Quantity::MonitorUnsafe)
                    .is_some_and(|reading| reading.value.ok() == wanted)
            };
            tokio::time::timeout(Duration::from_secs(15), verdict.wait_for(is_so))
                .await
                .is_ok()
        };
        assert!(says(Some(0.0)).await, "safe at first");
        let told = server.put(
            "safetymonitor/0/issafe",
            "IsSafe=False&ClientID=1&ClientTransactionID=1",
        );
        assert!(told.contains("200 OK"), "{told}");
        assert!(says(Some(1.0)).await, "unsafe");
        server.put("safetymonitor/0/issafe", "IsSafe=True&ClientID=1&ClientTransactionID=1");
        assert!(says(Some(0.0)).await, "safe again");
        server.child.kill().unwrap();
        assert!(says(None).await, "no data is not safe");
    });
}
