//! Our simulated devices as Alpaca devices, driven by a client library that nobody here wrote: alpyca (the ASCOM initiative,
//! MIT) from the private environment that `make peers` makes; and what it does not ask, asked here.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "../../drivers/tests/support/live.rs"]
mod support;

use alidade_drivers::alpaca::discovery;
use alidade_model::clock::Clock;
use alidade_scheduling::Site;
use alidade_simulations::{
    alpaca,
    devices::{camera::CameraConfig, mount::MountConfig, plc::PlcConfig},
    faults::{Fault, FaultKind},
    observatory::{ChannelConfig, Observatory, ObservatoryConfig},
    world::{Pixels, Renderer, Shot},
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    rc::Rc,
    time::Duration,
};
use support::Running;
use tokio::task::LocalSet;

/// Every pixel tells where it is: 100 times its row from the bottom, and its column.
struct Places;

impl Renderer for Places {
    fn render(&mut self, shot: &Shot) -> Pixels {
        let (width, height) = (96 / shot.binning as usize, 64 / shot.binning as usize);
        let adu = (0..height)
            .flat_map(|row| (0..width).map(move |column| (100 * row + column) as u16))
            .collect();
        Pixels { width, height, adu }
    }
}

fn observatory(clock: Rc<dyn Clock>) -> Rc<Observatory> {
    let config = ObservatoryConfig {
        site: Site::new(43.93, 5.71, 650.0),
        plc: PlcConfig {
            travel_s: 2.0,
            dome_deg_s: 40.0,
            ..PlcConfig::default()
        },
        mount: MountConfig {
            slew_deg_s: 40.0,
            settle_s: 0.5,
            ..MountConfig::default()
        },
        channels: BTreeMap::from([(
            "vis".to_owned(),
            ChannelConfig {
                camera: CameraConfig {
                    width: 96,
                    height: 64,
                    readout_s: 0.2,
                    cooling_c_min: 5.0,
                    setpoint_c: -20.0,
                },
                filters: ["g", "r", "i"].map(String::from).to_vec(),
            },
        )]),
        slit_half_width_deg: 8.0,
        best_focus: (20_000.0, -40.0),
    };
    let weather = alidade_simulations::weather::Table::calm(clock.now());
    Observatory::new(config, clock, Box::new(weather), Box::new(Places), 1)
}

/// Runs `test` beside the served devices, which get these faults; it is told where the server and its discovery are.
fn beside(faults: &[FaultKind], test: impl FnOnce(SocketAddr, SocketAddr)) {
    let (told, places) = std::sync::mpsc::channel();
    let (done, end) = tokio::sync::oneshot::channel::<()>();
    let faults = faults.to_vec();
    // On a thread of its own: the client blocks this one.
    let simulator = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let clock = Running::clock();
            let observatory = observatory(clock.clone());
            for kind in faults {
                observatory.inject(Fault {
                    at: clock.now(),
                    device: "plc".into(),
                    kind,
                    for_s: 1e6,
                });
            }
            let server = alpaca::serve(&observatory, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
                .await
                .unwrap();
            let discovery = alpaca::announce(server, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
                .await
                .unwrap();
            told.send((server, discovery)).unwrap();
            let _ = end.await;
        });
    });
    let (server, discovery) = places.recv().unwrap();
    test(server, discovery);
    drop(done);
    simulator.join().unwrap();
}

#[test]
fn a_client_library_of_others_finds_and_drives_every_device() {
    beside(&[], |server, discovery| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python = target.join("peers/bin/python");
        assert!(python.exists(), "{} is missing: make peers", python.display());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../drivers/tests/peers/alpyca_client.py");
        let said = Command::new(python)
            .arg(script)
            .args([server.to_string(), discovery.port().to_string()])
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr),
        );
        assert!(said.status.success() && out.contains("passed"), "{out}{err}");
    });
}

/// Status and body of one request.
fn ask(server: SocketAddr, request: &str, form: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = form.len();
    let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{form}");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// What the conformance checker of the ASCOM initiative asks of a protocol, by its published logs.
#[test]
fn requests_outside_the_protocol_are_refused_as_the_conformance_checker_wants_it() {
    beside(&[], |server, _| {
        let status = |request: &str, form: &str| ask(server, request, form).0;
        for path in [
            "/apx/v1/dome/0/connected",
            "/api/1/dome/0/connected",
            "/api/V1/dome/0/connected",
            "/api/v2/dome/0/connected",
            "/api/v1/DOME/0/connected",
            "/api/v1/dome/A/connected",
            "/api/v1/dome/-1/connected",
            "/management/v1/nonsense",
        ] {
            assert_eq!(status(&format!("GET {path}"), ""), 404, "{path}");
        }
        assert_eq!(status("GET /api/v1/dome/99999/connected", ""), 400);
        assert_eq!(status("POST /api/v1/dome/0/connected", ""), 405);
        assert_eq!(status("DELETE /api/v1/dome/0/connected", ""), 405);
        for id in ["", "%20", "-1", "abc", "1.5"] {
            let query = format!("GET /api/v1/dome/0/connected?ClientID=1&ClientTransactionID={id}");
            assert_eq!(status(&query, ""), 400, "{query}");
        }
        let (code, body) = ask(
            server,
            "GET /api/v1/dome/0/connected?clientid=1&CLIENTTRANSACTIONID=77",
            "",
        );
        assert!(code == 200 && body.contains(r#""ClientTransactionID":77"#), "{body}");
        let put = |form: &str| ask(server, "PUT /api/v1/dome/0/connected", form);
        assert_eq!(put("connected=True").0, 400);
        assert_eq!(put("Connected=perhaps").0, 400);
        let (code, body) = put("Connected=True&clienttransactionid=9&Extra=1");
        assert!(code == 200 && body.contains(r#""ClientTransactionID":0"#), "{body}");
        assert_eq!(status("GET /api/v1/dome/0/nonsense", ""), 404);
    });
}

#[test]
fn a_device_that_does_not_answer_is_a_driver_error_and_never_safe() {
    beside(&[FaultKind::Mute], |server, _| {
        for kind in ["dome", "safetymonitor"] {
            let connect = ask(server, &format!("PUT /api/v1/{kind}/0/connected"), "Connected=True");
            assert_eq!(connect.0, 200);
        }
        let (_, roof) = ask(server, "GET /api/v1/dome/0/shutterstatus", "");
        assert!(
            roof.contains(r#""ErrorNumber":1280"#) && !roof.contains("Value"),
            "{roof}"
        );
        let (_, safe) = ask(server, "GET /api/v1/safetymonitor/0/issafe", "");
        assert!(safe.contains(r#""Value":false"#), "{safe}");
    });
    beside(&[FaultKind::DropLink], |server, _| {
        ask(server, "PUT /api/v1/dome/0/connected", "Connected=True");
        let (_, roof) = ask(server, "GET /api/v1/dome/0/shutterstatus", "");
        assert!(roof.contains(r#""ErrorNumber":1031"#), "{roof}");
    });
}

#[test]
fn our_own_discovery_finds_it_and_what_it_serves() {
    beside(&[], |server, announced| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let found = discovery::discover(Ipv4Addr::LOCALHOST, announced.port(), Duration::from_millis(500)).await;
            assert_eq!(found.unwrap(), [server]);
            let offered = discovery::server(server).await.unwrap();
            assert_eq!(offered.name, "Alidade simulated devices");
            assert_eq!(offered.devices.len(), 9);
        });
    });
}
