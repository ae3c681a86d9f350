//! Every driver against arbitrary bytes: random ones, its own protocol's words in random order, halves and floods. None
//! panics, none believes a word of it, every driver goes on asking, and what was outside its protocol is counted.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "support/live.rs"]
mod support;

use alidade_drivers::{
    alpaca, grammar, indi,
    interface::{
        Camera, Device, Enclosure, FilterWheel, Focuser, LinkState, Mount, ObservingConditions, Rotator, Switch,
    },
    lx200,
    modbus::{
        self,
        frame::{Framing, Table},
        map::{Content, Map, Point, WordOrder},
    },
    nexstar::{self, ParkAt},
    place::Place,
    plc, station,
    transport::{MemoryConnector, SharedConnector, Stream},
};
use proptest::prelude::*;
use std::{cell::Cell, rc::Rc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A device that answers everything with the next of these scraps, and counts how often it was asked.
fn babbler(scraps: Vec<Vec<u8>>, asked: Rc<Cell<u32>>) -> SharedConnector {
    Rc::new(MemoryConnector::new(move || {
        let (ours, mut theirs) = tokio::io::duplex(256 * 1024);
        let (scraps, asked) = (scraps.clone(), asked.clone());
        tokio::task::spawn_local(async move {
            let mut question = [0; 512];
            for scrap in scraps.iter().cycle() {
                match theirs.read(&mut question).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => asked.set(asked.get() + 1),
                }
                if theirs.write_all(scrap).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::new(ours) as Box<dyn Stream>)
    }))
}

fn map() -> Map {
    let bit = |table, address| Point {
        table,
        address,
        content: Content::Bit,
        bit: None,
        scale: 1.0,
        offset: 0.0,
        invert: false,
    };
    let names = ["closed", "open", "emergency_stop", "key_remote"];
    let mut points: std::collections::BTreeMap<String, Point> = names
        .into_iter()
        .zip(0..)
        .map(|(name, address)| (name.to_owned(), bit(Table::Discrete, address)))
        .collect();
    points.insert("command_close".into(), bit(Table::Coil, 1));
    Map {
        unit: 1,
        word_order: WordOrder::HighFirst,
        points,
    }
}

/// Scraps: bytes of any kind, and pieces of every dialect.
fn scrap() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "OK\n",
        "ERR 1 no\n",
        "0;NA;0\n",
        "0;0;0;0\n",
        "x#",
        "\u{4}\u{15}#",
        "34AB0500,12CE0500#",
        "12:34:56#",
        "+45*30:00#",
        "T#",
        "1",
        "0",
        "#",
        "00010000OK\0",
        "00010000OK 1 0\0",
        "99990000ERR 5\0",
        "$WIMWV,1,R,2,M,A*00\r\n",
        "$",
        "*",
        "<defNumberVector",
        "/>",
        "<a>",
        "</setBLOBVector>",
        "\0\0\0\0\0\0\0",
        "\u{1}\u{2}",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue",
        "HTTP/1.1 200 OK\r\nContent-Length: 56\r\n\r\n{\"Value\":true,\"ClientTransactionID\":0,\"ErrorNumber\":0}  ",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"Value",
        "HTTP/1.1 500 Oops\r\nContent-Length: 99999999\r\n\r\n",
    ]);
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..64),
        3 => prop::collection::vec(words, 0..6).prop_map(|words| words.concat().into_bytes()),
        1 => (any::<u8>(), 1_000usize..20_000).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

const NAMES: [&str; 15] = [
    "plc", "lx200", "camera", "wheel", "focuser", "station", "modbus", "rtu", "indi", "nexstar", "monitor", "dome",
    "eye", "rotator", "power",
];

/// Connects one driver of every kind, lets them be babbled at for three minutes, and asks what they believe.
fn babble(scraps: Vec<Vec<u8>>) -> Vec<(&'static str, bool, u64, u32)> {
    support::paused(|clock| async move {
        let poll = Duration::from_secs(1);
        let counters: Vec<Rc<Cell<u32>>> = (0..NAMES.len()).map(|_| Rc::default()).collect();
        let way = |at: usize| babbler(scraps.clone(), counters[at].clone());
        let plc = plc::connect("plc", way(0), clock.clone(), poll);
        let mount = lx200::connect("mount", way(1), clock.clone(), poll);
        let camera = grammar::connect_camera("camera", way(2), clock.clone(), poll);
        let wheel = grammar::connect_filter_wheel("wheel", way(3), clock.clone(), poll, vec!["r".into()]);
        let focuser = grammar::connect_focuser("focuser", way(4), clock.clone(), poll);
        let station = station::connect("station", way(5), clock.clone(), poll);
        let tcp = modbus::connect("modbus", map(), Framing::Tcp, way(6), clock.clone(), poll, poll);
        let rtu = modbus::connect("rtu", map(), Framing::Rtu, way(7), clock.clone(), poll, poll);
        let behind_indi = indi::connect_focuser("indi", "Focuser Simulator", way(8), clock.clone(), poll);
        let place = Place {
            latitude_deg: 44.0,
            longitude_deg: 6.0,
            altitude_m: 650.0,
        };
        let park = ParkAt {
            alt_deg: 40.0,
            az_deg: 0.0,
        };
        let hand_control = nexstar::connect("nexstar", place, park, way(9), clock.clone(), poll);
        let monitor = alpaca::connect_safety_monitor("monitor", 0, way(10), clock.clone(), poll, poll * 3);
        let dome = alpaca::connect_dome("dome", 0, way(11), clock.clone(), poll);
        let eye = indi::connect_camera("eye", "CCD Simulator", way(12), clock.clone(), poll);
        let rotator = grammar::connect_rotator("rotator", way(13), clock.clone(), poll);
        let power = grammar::connect_switch("power", way(14), clock.clone(), poll);
        tokio::time::sleep(Duration::from_secs(180)).await;
        // Commands into the babble end as well, each within its deadline.
        for outcome in [
            plc.close().await,
            mount.park().await,
            wheel.select("r").await,
            tcp.close().await,
            rotator.turn_to(10.0).await,
            power.set("lamp", 1.0).await,
        ] {
            drop(outcome);
        }
        drop(camera.stop().await);
        let believes = [
            plc.enclosure_status().borrow().value.is_ok(),
            mount.status().borrow().value.is_ok(),
            camera.status().borrow().value.is_ok(),
            wheel.status().borrow().value.is_ok(),
            focuser.status().borrow().value.is_ok(),
            station.readings().borrow().values().any(|r| r.value.is_ok()),
            tcp.enclosure_status().borrow().value.is_ok(),
            rtu.enclosure_status().borrow().value.is_ok(),
            behind_indi.status().borrow().value.is_ok(),
            hand_control.status().borrow().value.is_ok(),
            monitor.readings().borrow().values().any(|r| r.value.is_ok()),
            dome.enclosure_status().borrow().value.is_ok(),
            eye.status().borrow().value.is_ok(),
            rotator.status().borrow().value.is_ok(),
            power.lines().borrow().value.is_ok(),
        ];
        let garbage = [
            plc.garbage_count(),
            mount.garbage_count(),
            camera.garbage_count(),
            wheel.garbage_count(),
            focuser.garbage_count(),
            station.garbage_count(),
            tcp.garbage_count(),
            rtu.garbage_count(),
            behind_indi.garbage_count(),
            hand_control.garbage_count(),
            monitor.garbage_count(),
            dome.garbage_count(),
            eye.garbage_count(),
            rotator.garbage_count(),
            power.garbage_count(),
        ];
        (0..NAMES.len())
            .map(|at| (NAMES[at], believes[at], garbage[at], counters[at].get()))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_bytes_make_a_driver_panic_believe_or_give_up(scraps in prop::collection::vec(scrap(), 1..12)) {
        for (name, believes, _, asked) in babble(scraps.clone()) {
            prop_assert!(!believes, "{} believes in {:?}", name, scraps);
            // Backoff ends at a quarter of a minute: three minutes are at least five more questions.
            prop_assert!(asked >= 5, "{} was asked {} times", name, asked);
        }
    }
}

#[test]
fn text_of_another_device_is_counted_as_garbage_by_every_protocol() {
    let told = babble(vec![b"HTTP/1.1 400 Bad Request\r\nServer: x#\0\n".to_vec()]);
    for (name, believes, garbage, _) in told {
        assert!(!believes, "{name}");
        assert!(garbage > 0, "{name} did not count it");
    }
}

/// A focuser that answers its fourth question twice.
fn stammerer() -> SharedConnector {
    Rc::new(MemoryConnector::new(|| {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        tokio::task::spawn_local(async move {
            let mut question = [0; 512];
            for number in 1.. {
                let asked = match theirs.read(&mut question).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => String::from_utf8_lossy(&question[..count]).into_owned(),
                };
                let said = if asked.contains("IDENTITY") {
                    "stammerer;1"
                } else {
                    "1000 0 12.5"
                };
                let answer = format!("{}OK {said}\0", &asked[..8]);
                let times = if number == 4 { 2 } else { 1 };
                if theirs.write_all(answer.repeat(times).as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::new(ours) as Box<dyn Stream>)
    }))
}

#[test]
fn an_answer_too_many_costs_one_question_and_not_the_connection() {
    support::paused(|clock| async move {
        let focuser = grammar::connect_focuser("focuser", stammerer(), clock.clone(), Duration::from_millis(100));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(focuser.garbage_count(), 1);
        let link = focuser.link().borrow().clone();
        assert!(matches!(link, LinkState::Up { epoch: 1, .. }), "{link:?}");
        assert!(focuser.status().borrow().fresh(clock.now(), 2.0).is_ok());
    });
}
