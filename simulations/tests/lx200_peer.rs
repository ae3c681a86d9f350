//! Our simulated mount driven by a driver that nobody here wrote: Debian's `indi_lx200basic` (package `indi-bin`), over a
//! pseudo-terminal, told what to do by INDI's own command-line tools.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_scheduling::{Site, ephemeris};
use alidade_simulations::{
    devices::mount::MountConfig,
    observatory::{Observatory, ObservatoryConfig},
    world::{Pixels, Renderer, Shot},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};
use support::Running;
use tokio::{io::AsyncWriteExt, task::LocalSet};

struct Dark;

impl Renderer for Dark {
    fn render(&mut self, _: &Shot) -> Pixels {
        Pixels {
            width: 0,
            height: 0,
            adu: Vec::new(),
        }
    }
}

struct Server {
    child: Child,
    port: String,
    home: std::path::PathBuf,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        let home = std::env::temp_dir().join(format!("alidade-lx200-{}-{port}", std::process::id()));
        std::fs::create_dir_all(home.join(".indi")).unwrap();
        let mut child = Command::new("indiserver")
            .args([
                "-v",
                "-p",
                &port,
                "-u",
                &home.join("socket").to_string_lossy(),
                "indi_lx200basic",
            ])
            .env("HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("indiserver is not installed: apt-get install indi-bin");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| line.contains("listening to port"))
        );
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, home }
    }

    fn set(&self, property: &str) {
        let told = Command::new("indi_setprop")
            .args(["-p", &self.port, &format!("LX200 Basic.{property}")])
            .status();
        assert!(
            told.expect("indi_setprop is not installed: apt-get install indi-bin")
                .success(),
            "{property}"
        );
    }

    fn get(&self, property: &str) -> Option<String> {
        let said = Command::new("indi_getprop")
            .args(["-1", "-t", "2", "-p", &self.port, &format!("LX200 Basic.{property}")])
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.home));
    }
}

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
            let config = ObservatoryConfig {
                site: Site::new(43.93, 5.71, 650.0),
                plc: Default::default(),
                mount: MountConfig {
                    slew_deg_s: 20.0,
                    settle_s: 0.5,
                    ..MountConfig::default()
                },
                channels: BTreeMap::new(),
                slit_half_width_deg: 8.0,
                best_focus: (20_000.0, -40.0),
            };
            let weather = alidade_simulations::weather::Table::calm(clock.now());
            let observatory = Observatory::new(config, clock, Box::new(weather), Box::new(Dark), 1);
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
        let server = Rc::new(Server::start());
        until(&server, "the driver is there", |s| s.get("DEVICE_PORT.PORT").is_some()).await;
        server.set(&format!("DEVICE_PORT.PORT={path}"));
        server.set("CONNECTION.CONNECT=On");
        until(&server, "it has read where our mount points", |s| {
            s.get("EQUATORIAL_EOD_COORD.RA").is_some()
        })
        .await;
        // A place that is high now: one hour east of the meridian.
        let now = Running::clock().now();
        let lst = ephemeris::lst_deg(&Site::new(43.93, 5.71, 650.0), now.chrono());
        let ra_h = (lst / 15.0 + 1.0).rem_euclid(24.0);
        server.set("ON_COORD_SET.TRACK=On");
        server.set(&format!("EQUATORIAL_EOD_COORD.RA;DEC={ra_h:.4};40.0"));
        let near = |text: Option<String>, wanted: f64, by: f64| {
            text.and_then(|t| t.parse::<f64>().ok())
                .is_some_and(|v| (v - wanted).abs() < by)
        };
        until(&server, "it is where the driver sent it", |s| {
            near(s.get("EQUATORIAL_EOD_COORD.RA"), ra_h, 0.01) && near(s.get("EQUATORIAL_EOD_COORD.DEC"), 40.0, 0.05)
        })
        .await;
        server.set("TELESCOPE_ABORT_MOTION.ABORT=On");
        until(&server, "it still answers", |s| {
            s.get("EQUATORIAL_EOD_COORD.DEC").is_some()
        })
        .await;
    });
    drop(done);
    let truth = simulator.join().unwrap();
    assert!(truth.mount_alt_deg > 60.0, "the mount itself points there: {truth:?}");
}
