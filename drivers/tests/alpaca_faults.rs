//! What an Alpaca server can do wrong, played in memory on the paused clock: a safety monitor must never be believed.

#![cfg(feature = "alpaca")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

#[path = "support/live.rs"]
mod support;

use alidade_drivers::{
    alpaca,
    interface::{Device, DeviceError, Mount, ObservingConditions, Quantity},
    place::Place,
    transport::{MemoryConnector, SharedConnector, Stream},
};
use alidade_model::{reading::NoData, states::MountState};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use support::paused;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// What the server does with a question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Well,
    Hangs,
    Resets,
    Fails500,
    BadJson,
    WrongTransaction,
    NoTransaction,
    Truncates,
    NotConnected,
    NoValue,
    Floods,
}

type Answers = Rc<dyn Fn(&str) -> String>;

/// One connection of a server that answers `answers(member)` in the present manner.
async fn serve(mut stream: DuplexStream, manner: Rc<Cell<Manner>>, answers: Answers, asked: Rc<RefCell<Vec<String>>>) {
    let (read, mut write) = tokio::io::split(&mut stream);
    let mut lines = BufReader::new(read);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if lines.read_line(&mut first).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(bytes) = line.strip_prefix("Content-Length: ") {
                length = bytes.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut form = vec![0; length];
        lines.read_exact(&mut form).await.unwrap();
        let whole = format!("{first}&{}", String::from_utf8(form).unwrap());
        let member = first
            .split(['?', ' '])
            .nth(1)
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned();
        asked
            .borrow_mut()
            .push(format!("{} {member}", first.split(' ').next().unwrap()));
        let id: u32 = whole
            .rsplit("ClientTransactionID=")
            .next()
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let body = |id: u32| {
            format!(
                r#"{{"ClientTransactionID":{id},"ServerTransactionID":1,"ErrorNumber":0,"ErrorMessage":"","Value":{}}}"#,
                answers(&member)
            )
        };
        let plain =
            |status: &str, body: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = match manner.get() {
            Manner::Well => plain("200 OK", &body(id)),
            Manner::Hangs => std::future::pending().await,
            Manner::Resets => return,
            Manner::Fails500 => plain("500 Internal Server Error", "oops"),
            Manner::BadJson => plain("200 OK", "{\"Value\":true"),
            Manner::WrongTransaction => plain("200 OK", &body(id + 1)),
            Manner::NoTransaction => plain("200 OK", r#"{"ErrorNumber":0,"Value":true}"#),
            Manner::Truncates => plain("200 OK", &body(id)).trim_end_matches("true}").to_owned(),
            Manner::NotConnected => plain(
                "200 OK",
                &format!(r#"{{"ClientTransactionID":{id},"ErrorNumber":1031,"ErrorMessage":"gone"}}"#),
            ),
            Manner::NoValue => plain("200 OK", &format!(r#"{{"ClientTransactionID":{id},"ErrorNumber":0}}"#)),
            Manner::Floods => format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(5000)),
        };
        if write.write_all(answer.as_bytes()).await.is_err() || manner.get() == Manner::Truncates {
            return;
        }
    }
}

struct Play {
    manner: Rc<Cell<Manner>>,
    asked: Rc<RefCell<Vec<String>>>,
    way: SharedConnector,
}

fn play(answers: impl Fn(&str) -> String + 'static) -> Play {
    let (manner, asked) = (Rc::new(Cell::new(Manner::Well)), Rc::new(RefCell::new(Vec::new())));
    let answers: Answers = Rc::new(answers);
    let way = {
        let (manner, asked) = (manner.clone(), asked.clone());
        MemoryConnector::new(move || {
            let (near, far) = tokio::io::duplex(1 << 16);
            tokio::task::spawn_local(serve(far, manner.clone(), answers.clone(), asked.clone()));
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    };
    Play {
        manner,
        asked,
        way: Rc::new(way),
    }
}

#[test]
fn a_safety_monitor_that_answers_wrongly_is_no_data_within_one_poll_and_its_deadline() {
    for wrong in [
        Manner::Hangs,
        Manner::Resets,
        Manner::Fails500,
        Manner::BadJson,
        Manner::WrongTransaction,
        Manner::NoTransaction,
        Manner::Truncates,
        Manner::NotConnected,
        Manner::NoValue,
        Manner::Floods,
    ] {
        paused(|clock| async move {
            let server = play(|member| match member {
                "name" | "driverversion" => "\"m\"".into(),
                "devicestate" => "[]".into(),
                _ => "true".into(),
            });
            let (poll, deadline) = (Duration::from_secs(1), Duration::from_secs(3));
            let monitor = alpaca::connect_safety_monitor("monitor", 0, server.way.clone(), clock, poll, deadline);
            let value = |monitor: &alpaca::AlpacaSafetyMonitor| {
                monitor
                    .readings()
                    .borrow()
                    .get(Quantity::MonitorUnsafe)
                    .map(|reading| reading.value)
            };
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert_eq!(value(&monitor), Some(Ok(0.0)), "{wrong:?}: safe at first");
            server.manner.set(wrong);
            tokio::time::sleep(poll + deadline + Duration::from_millis(10)).await;
            assert!(
                matches!(value(&monitor), Some(Err(_))),
                "{wrong:?}: {:?}",
                value(&monitor)
            );
            // It stays so, however long it lasts.
            tokio::time::sleep(Duration::from_secs(300)).await;
            assert!(
                matches!(value(&monitor), Some(Err(_))),
                "{wrong:?}: {:?}",
                value(&monitor)
            );
            server.manner.set(Manner::Well);
            tokio::time::sleep(Duration::from_secs(40)).await;
            assert_eq!(value(&monitor), Some(Ok(0.0)), "{wrong:?}: heals by itself");
        });
    }
}

#[test]
fn a_monitor_that_nobody_has_heard_has_no_reading_at_all() {
    paused(|clock| async move {
        let server = play(|_| "true".into());
        server.manner.set(Manner::Hangs);
        let second = Duration::from_secs(1);
        let monitor = alpaca::connect_safety_monitor("monitor", 0, server.way.clone(), clock, second, second);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(monitor.readings().borrow().is_empty());
        assert!(!monitor.link().borrow().is_up());
    });
}

/// A mount that can slew and track, but not park.
fn mount(member: &str) -> String {
    match member {
        "name" | "driverversion" => "\"m\"",
        "canslewasync" | "cansettracking" | "connected" | "tracking" => "true",
        "devicestate" => {
            r#"[{"Name":"RightAscension","Value":5.5},{"Name":"Declination","Value":-10.0},{"Name":"Slewing","Value":false}]"#
        }
        "equatorialsystem" => "1",
        "altitude" => "30.0",
        "azimuth" => "-90.0",
        _ => "false",
    }
    .into()
}

const PLACE: Place = Place {
    latitude_deg: 44.0,
    longitude_deg: 5.7,
    altitude_m: 650.0,
};

#[test]
fn what_a_mount_cannot_do_is_refused_before_anything_is_sent() {
    paused(|clock| async move {
        let server = play(mount);
        let second = Duration::from_secs(1);
        let mount = alpaca::connect_mount("mount", 0, PLACE, server.way.clone(), clock, second);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let status = mount.status().borrow().value.unwrap();
        assert_eq!(
            (status.state, status.ra_deg, status.az_deg),
            (MountState::Tracking, 82.5, 270.0)
        );
        assert!(matches!(mount.park().await, Err(DeviceError::Unsupported { capability, .. }) if capability == "park"));
        assert!(
            server
                .asked
                .borrow()
                .iter()
                .all(|question| !question.starts_with("PUT"))
        );
        mount.slew(90.0, 20.0).await.unwrap();
        let sent: Vec<String> = server
            .asked
            .borrow()
            .iter()
            .filter(|q| q.starts_with("PUT"))
            .cloned()
            .collect();
        assert_eq!(sent, ["PUT slewtocoordinatesasync"]);
    });
}

#[test]
fn a_command_without_an_answer_is_of_unknown_outcome_and_the_state_is_read_back() {
    paused(|clock| async move {
        let server = play(mount);
        let mount = alpaca::connect_mount("mount", 0, PLACE, server.way.clone(), clock, Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.manner.set(Manner::Hangs);
        let slewed = mount.slew(90.0, 20.0).await;
        assert!(matches!(slewed, Err(DeviceError::OutcomeUnknown { .. })), "{slewed:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(mount.status().borrow().value, Err(NoData::LinkDown));
        server.manner.set(Manner::Well);
        let asked = server.asked.borrow().len();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(mount.status().borrow().value.is_ok(), "read back without being asked");
        assert!(server.asked.borrow().len() > asked);
        // A connection that has rested is not used for a command: the server may have closed it.
        server.manner.set(Manner::NotConnected);
        let tracked = mount.track(false).await;
        assert!(matches!(tracked, Err(DeviceError::Disconnected { .. })), "{tracked:?}");
    });
}
