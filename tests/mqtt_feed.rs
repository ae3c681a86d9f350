//! The MQTT feed against a real Mosquitto, read by `mosquitto_sub`.

use crate::support::{
    mosquitto::Broker,
    observatory::{self, Observatory, busy},
    ports,
};
use alidade::gateway::mqtt::{MqttHandle, MqttLink, MqttPorts, MqttStatus, start};
use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

const BASE: &str = "alidade/ohp/t1";

fn link(port: u16, keep_alive_s: u64) -> MqttLink {
    MqttLink {
        host: "127.0.0.1".into(),
        port,
        username: None,
        password: None,
        keep_alive: Duration::from_secs(keep_alive_s),
    }
}

fn feed(observatory: &Observatory, port: u16) -> MqttHandle {
    let ports = MqttPorts {
        snapshot: observatory.ports().snapshot,
        journal: observatory.journal.clone(),
    };
    start(link(port, 5), ports).unwrap()
}

/// Waits until the feed reports what is wanted.
fn wait_for(handle: &MqttHandle, wanted: impl Fn(&MqttStatus) -> bool) {
    let mut status = handle.status.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wait = tokio::time::timeout(Duration::from_secs(60), status.wait_for(|status| wanted(status)));
        wait.await.expect("in time").expect("the feed lives");
    });
}

#[test]
fn every_status_is_retained_for_whoever_comes_later() {
    let (broker, observatory) = (Broker::running("retained"), Observatory::new("mqtt-retained"));
    let handle = feed(&observatory, broker.port);
    wait_for(&handle, |status| status.connected && status.acknowledged >= 10);
    let late = broker.subscribe(&format!("{BASE}/#"));
    let mut missing: std::collections::BTreeSet<_> = [
        "availability",
        "state/night",
        "state/safety",
        "state/enclosure",
        "state/mount",
        "state/weather",
        "state/schedule",
        "state/alert",
        "state/alert_stages",
        "state/camera/vis",
        "state/camera/nir",
    ]
    .map(|name| format!("{BASE}/{name}"))
    .into();
    while !missing.is_empty() {
        let message = late.until(|_| true);
        assert!(message.retained, "{message:?}");
        if message.topic.ends_with("availability") {
            assert_eq!(message.payload, "online");
        } else {
            let state = message.json();
            assert_eq!(
                (&state["schema"], &state["boot_id"]),
                (&1.into(), &"boot-1".into()),
                "{}",
                message.topic
            );
            assert!(state["valid_until"].as_str() > state["ts"].as_str());
        }
        missing.remove(&message.topic);
    }
}

#[test]
fn a_change_is_published_and_a_fact_is_an_event() {
    let (broker, observatory) = (Broker::running("events"), Observatory::new("mqtt-events"));
    let watching = broker.subscribe(&format!("{BASE}/#"));
    let handle = feed(&observatory, broker.port);
    watching.until(|message| message.topic.ends_with("state/safety"));
    let mut changed = busy(30);
    changed.safety.state = alidade::gateway::snapshot::SafetyState::Unsafe;
    changed.safety.reasons = vec!["rain".into()];
    observatory.publish(changed);
    let unsafe_now =
        watching.until(|message| message.topic.ends_with("state/safety") && message.json()["state"] == "unsafe");
    assert_eq!(unsafe_now.json()["reasons"][0], "rain");
    observatory.record(41, "night_moved");
    let event = watching.until(|message| message.topic == format!("{BASE}/event/night_moved"));
    assert_eq!((event.retained, event.qos.as_str()), (false, "1"));
    assert_eq!(
        (&event.json()["seq"], &event.json()["fact"]),
        (&41.into(), &"night_moved".into())
    );
    drop(handle);
}

#[test]
fn a_goodbye_and_a_crash_both_read_offline() {
    let (broker, observatory) = (Broker::running("offline"), Observatory::new("mqtt-offline"));
    let watching = broker.subscribe(&format!("{BASE}/availability"));
    let handle = feed(&observatory, broker.port);
    watching.until(|message| message.payload == "online");
    handle.stop();
    watching.until(|message| message.payload == "offline");
    let late = broker.subscribe(&format!("{BASE}/availability"));
    assert!(late.until(|_| true).retained);

    // The crash: the broker is told nothing, and reads the last will out.
    let handle = feed(&observatory, broker.port);
    watching.until(|message| message.payload == "online");
    let takeover = start(
        link(broker.port, 5),
        MqttPorts {
            snapshot: observatory.ports().snapshot,
            journal: observatory.journal.clone(),
        },
    )
    .unwrap();
    watching.until(|message| message.payload == "offline");
    drop((handle, takeover));
}

#[test]
fn events_survive_a_broker_that_dies_and_comes_back() {
    let (mut broker, observatory) = (Broker::running("dies"), Observatory::new("mqtt-dies"));
    let handle = feed(&observatory, broker.port);
    wait_for(&handle, |status| status.connected && status.acknowledged >= 10);
    broker.kill();
    wait_for(&handle, |status| !status.connected);
    (1..=200).for_each(|seq| observatory.record(seq, "stopped"));
    broker.start();
    let watching = broker.subscribe(&format!("{BASE}/event/#"));
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        seen.push(watching.until(|_| true).json()["seq"].as_u64().unwrap());
    }
    // The subscriber may have come after the feed: from its first message on nothing is missing.
    let first = seen[0];
    assert_eq!(seen, (first..=200).collect::<Vec<_>>());
    assert_eq!(handle.status.borrow().dropped, 0);
}

#[test]
fn a_broker_that_never_was_does_no_harm() {
    let observatory = Observatory::new("mqtt-none");
    let handle = feed(&observatory, ports::free_port());
    (1..=12_000).for_each(|seq| {
        observatory.record(seq, "stopped");
        if seq % 1000 == 0 {
            std::thread::yield_now();
        }
    });
    wait_for(&handle, |status| status.last_error.is_some());
    assert!(!handle.status.borrow().connected);
    handle.stop();
}

/// A broker that greets, takes everything and acknowledges nothing: without the watchdog the feed would wait for ever.
#[test]
fn a_broker_that_acknowledges_nothing_is_left_and_tried_again() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (greeted, greetings) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let greeted = greeted.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut taken = [0; 4096];
                if stream.read(&mut taken).unwrap_or(0) > 0 {
                    // CONNACK, accepted, no session; then PINGRESP to whatever comes, so that only the acknowledgements
                    // are missing.
                    let _ = stream.write_all(&[0x20, 2, 0, 0]);
                    let _ = greeted.send(());
                }
                while stream.read(&mut taken).unwrap_or(0) > 0 {
                    if taken[0] == 0xc0 {
                        let _ = stream.write_all(&[0xd0, 0]);
                    }
                }
            });
        }
    });
    let observatory = Observatory::new("mqtt-livelock");
    let ports = MqttPorts {
        snapshot: observatory.ports().snapshot,
        journal: observatory.journal.clone(),
    };
    let handle = start(link(port, 2), ports).unwrap();
    for _ in 0..2 {
        greetings
            .recv_timeout(Duration::from_secs(60))
            .expect("the feed comes again");
    }
    wait_for(&handle, |status| status.connections >= 2);
    drop(handle);
}

/// The example of an access list in `packaging/`: the daemon writes, a reader reads and writes nothing.
#[test]
fn the_packaged_access_list_lets_the_feed_write_and_readers_only_read() {
    let list = std::fs::read_to_string(observatory::repository().join("packaging/mosquitto/alidade.acl")).unwrap();
    let broker = Broker::guarded("guarded", &[("alidade", "one"), ("reader", "two")], &list);
    let observatory = Observatory::new("mqtt-guarded");
    let ports = MqttPorts {
        snapshot: observatory.ports().snapshot,
        journal: observatory.journal.clone(),
    };
    let login = MqttLink {
        username: Some("alidade".into()),
        password: Some("one".into()),
        ..link(broker.port, 5)
    };
    let handle = start(login, ports).unwrap();
    wait_for(&handle, |status| status.connected && status.acknowledged >= 10);
    let reader = broker.subscribe_as(&["-u", "reader", "-P", "two"], &format!("{BASE}/#"));
    assert_eq!(
        reader.until(|message| message.topic.ends_with("/state/safety")).json()["state"],
        "safe"
    );
    // A reader's forgery and the daemon's next word: only the second arrives.
    broker.publish_as("reader", "two", &format!("{BASE}/event/forged"), "{}");
    observatory.record(9, "stopped");
    let next = reader.until(|message| message.topic.contains("/event/"));
    assert_eq!(next.topic, format!("{BASE}/event/stopped"));

    let wrong = MqttLink {
        username: Some("alidade".into()),
        password: Some("guess".into()),
        ..link(broker.port, 5)
    };
    let ports = MqttPorts {
        snapshot: observatory.ports().snapshot,
        journal: observatory.journal.clone(),
    };
    let refused = start(wrong, ports).unwrap();
    wait_for(&refused, |status| status.last_error.is_some());
    assert!(!refused.status.borrow().connected);
}
