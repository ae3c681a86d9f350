//! The Modbus controller against a server that nobody here wrote: pymodbus, from the private environment that `make test`
//! makes, over TCP, over RTU frames on TCP, and over RTU on a (pseudo) serial line.

#![cfg(all(feature = "modbus", feature = "serial"))]
#![allow(clippy::unwrap_used, reason = "test helpers")]

#[path = "support/live.rs"]
mod support;

use alidade_drivers::{
    interface::{Device, DeviceError, Enclosure, ObservingConditions, Plc, Quantity},
    modbus::{self, ModbusPlc, frame::Framing, map::Map},
    transport::{SerialConnector, SharedConnector, TcpConnector},
};
use alidade_model::{reading::Reading, states::EnclosureState};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};
use support::Running;
use tokio::sync::watch;

struct Server {
    child: Child,
    place: String,
}

impl Server {
    fn start(kind: &str) -> Self {
        // Cargo's folder for test files lies in the target folder, where `make peers` has put the environment.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python: PathBuf = target.join("peers/bin/python");
        assert!(python.exists(), "{} is missing: make peers", python.display());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/modbus_plc.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(kind)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut place = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut place)
            .unwrap();
        Self {
            child,
            place: place.trim().to_owned(),
        }
    }

    fn way(&self) -> SharedConnector {
        match self.place.parse() {
            Ok(port) => Rc::new(TcpConnector {
                host: "127.0.0.1".into(),
                port,
            }),
            Err(_) => Rc::new(SerialConnector {
                path: self.place.clone(),
                baud: 19200,
            }),
        }
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

fn map() -> Map {
    toml::from_str(
        r#"
        word_order = "low_first"
        [points]
        closed = { table = "discrete", address = 0 }
        open = { table = "discrete", address = 1 }
        closing = { table = "discrete", address = 2 }
        opening = { table = "discrete", address = 3 }
        emergency_stop = { table = "discrete", address = 4, invert = true }
        key_remote = { table = "holding", address = 40, bit = 3 }
        command_open = { table = "coil", address = 10 }
        command_close = { table = "coil", address = 11 }
        command_stop = { table = "coil", address = 12 }
        heartbeat = { table = "holding", address = 50, content = "u16" }
        temperature_c = { table = "input", address = 2, content = "i16", scale = 0.1 }
        wind_m_s = { table = "input", address = 6, content = "f32" }
        "#,
    )
    .unwrap()
}

fn connect(server: &Server, framing: Framing, map: Map) -> Rc<ModbusPlc> {
    let (clock, poll, timeout) = (Running::clock(), Duration::from_millis(50), Duration::from_millis(1500));
    modbus::connect("plc", map, framing, server.way(), clock, poll, timeout)
}

/// Waits until a status is as wanted.
async fn until<T: Clone + std::fmt::Debug>(
    status: &mut watch::Receiver<Reading<T>>,
    wanted: impl Fn(&Reading<T>) -> bool,
) {
    let found = tokio::time::timeout(Duration::from_secs(20), status.wait_for(|r| wanted(r)))
        .await
        .is_ok();
    assert!(found, "it stayed {:?}", status.borrow().clone());
}

fn on_a_thread<F: Future<Output = ()>>(test: F) {
    support::live(|_| test);
}

/// Opens, is read, is left alone, and closes by itself.
fn a_roof_goes_through_its_life(kind: &str, framing: Framing) {
    let server = Server::start(kind);
    on_a_thread(async {
        let plc = connect(&server, framing, map());
        let mut roof = plc.enclosure_status();
        until(&mut roof, |r| r.value.is_ok_and(|s| s.state == EnclosureState::Closed)).await;
        let readings = *plc.readings().borrow();
        assert_eq!(readings[Quantity::TemperatureC].value, Ok(-3.7));
        assert_eq!(readings[Quantity::WindMS].value, Ok(5.25));
        let status = plc.plc_status().borrow().value.clone().unwrap();
        assert!(!status.emergency_stop && format!("{:?}", status.key_switch) == "Remote");
        plc.heartbeat().await.unwrap();
        plc.open().await.unwrap();
        until(&mut roof, |r| r.value.is_ok_and(|s| s.state == EnclosureState::Opening)).await;
        until(&mut roof, |r| r.value.is_ok_and(|s| s.state == EnclosureState::Open)).await;
        // No further heartbeat: the controller's own dead-man closes.
        until(&mut roof, |r| r.value.is_ok_and(|s| s.state == EnclosureState::Closing)).await;
        until(&mut roof, |r| r.value.is_ok_and(|s| s.state == EnclosureState::Closed)).await;
        assert_eq!(plc.garbage_count(), 0);
    });
}

#[test]
fn a_pymodbus_controller_over_tcp_opens_and_closes_by_itself_without_heartbeats() {
    a_roof_goes_through_its_life("tcp", Framing::Tcp);
}

#[test]
fn a_pymodbus_controller_over_rtu_on_tcp_opens_and_closes_by_itself_without_heartbeats() {
    a_roof_goes_through_its_life("rtu", Framing::Rtu);
}

#[test]
fn a_pymodbus_controller_over_a_serial_line_opens_and_closes_by_itself_without_heartbeats() {
    a_roof_goes_through_its_life("serial", Framing::Rtu);
}

#[test]
fn a_stopped_server_whose_answer_comes_late_is_given_up_and_nothing_late_is_believed() {
    let server = Server::start("tcp");
    on_a_thread(async {
        let plc = connect(&server, Framing::Tcp, map());
        let mut roof = plc.enclosure_status();
        until(&mut roof, |r| r.value.is_ok()).await;
        server.signal("-STOP");
        until(&mut roof, |r| r.value.is_err()).await;
        assert!(!plc.link().borrow().is_up());
        assert!(plc.close().await.is_err(), "nobody heard it");
        server.signal("-CONT");
        until(&mut roof, |r| r.value.is_ok_and(|s| s.state == EnclosureState::Closed)).await;
        assert_eq!(plc.garbage_count(), 0, "the late answers went with their connection");
    });
}

#[test]
fn what_the_map_does_not_hold_is_refused_with_its_cause() {
    let server = Server::start("tcp");
    on_a_thread(async {
        let mut without = map();
        without.points.remove("command_stop");
        let plc = connect(&server, Framing::Tcp, without);
        until(&mut plc.enclosure_status(), |r| r.value.is_ok()).await;
        assert!(
            matches!(plc.stop().await, Err(DeviceError::Rejected { message, .. }) if message.contains("command_stop"))
        );
        assert!(matches!(plc.rotate(10.0).await, Err(DeviceError::Unsupported { .. })));
        // A register that the server does not have: the whole map is not believed.
        let mut wrong = map();
        let beyond = toml::from_str("table = \"input\"\naddress = 900\ncontent = \"u16\"").unwrap();
        wrong.points.insert("rain_mm_h".into(), beyond);
        let plc = connect(&server, Framing::Tcp, wrong);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(plc.enclosure_status().borrow().value.is_err());
        assert!(plc.garbage_count() > 0);
    });
}
