//! VOEvents to and from Comet, the broker that observatories run: as broker, as author, as subscriber; and what we write
//! against the IVOA's schemas, which come with it.

use crate::support::{
    command::{Folder, alidade, say},
    ports::free_port,
    python::{Running, program, wait_for},
};
use alidade_alerts::{
    format::written::{Packet, Seen, WrittenRole},
    notice::CiteKind,
    transport::vtp::message::TransportMessage,
};
use chrono::{DateTime, Utc};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

fn listens(port: u16) {
    wait_for(&format!("port {port}"), || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

/// A packet whose identity is its own, as a file.
fn packet(folder: &Folder, name: &str) -> (PathBuf, String) {
    let ivorn = format!("ivo://org.example/peers#{name}");
    let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
    let packet = Packet {
        ivorn: ivorn.clone(),
        role: WrittenRole::Observation,
        seen: Some(Seen {
            at: now,
            ra_deg: 10.0,
            dec_deg: 20.0,
            err_deg: 0.1,
        }),
        ..Packet::test("ivo://org.example/peers", now)
    };
    let path = folder.path().join(format!("{name}.xml"));
    fs::write(&path, packet.to_xml()).unwrap();
    (path, ivorn)
}

fn comet(folder: &Folder, name: &str, arguments: &[&str]) -> Running {
    let database = folder.path().join(format!("{name}-db"));
    fs::create_dir_all(&database).unwrap();
    let mut command = program("twist");
    command
        .arg("comet")
        .arg(format!("--eventdb={}", database.display()))
        .args(arguments);
    command.current_dir(folder.path());
    Running::start(command, folder.path().join(format!("{name}.log")))
}

fn ours(folder: &Folder, name: &str, arguments: &[&str]) -> Running {
    let mut command = alidade();
    command.arg("alert").args(arguments);
    Running::start(command, folder.path().join(format!("{name}.log")))
}

/// Whether a folder holds a file with that text.
fn holds(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .into_iter()
        .any(|file| fs::read_to_string(file.path()).is_ok_and(|t| t.contains(text)))
}

#[test]
fn comet_takes_our_packets_and_we_hear_them_from_it() {
    let folder = Folder::new("comet-broker");
    let (receive, broadcast) = (free_port(), free_port());
    let (at, from) = (format!("127.0.0.1:{receive}"), format!("127.0.0.1:{broadcast}"));
    let _comet = comet(
        &folder,
        "comet",
        &[
            "--local-ivo=ivo://org.example/comet",
            "--receive",
            &format!("--receive-port={receive}"),
            "--broadcast",
            &format!("--broadcast-port={broadcast}"),
            "--broadcast-test-interval=0",
        ],
    );
    listens(receive);
    listens(broadcast);
    let store = folder.join("kept");
    let arguments = ["listen", "--vtp", &from, "--count", "2", "--json", "--store", &store];
    let mut listening = ours(&folder, "listen", &arguments);
    listening.says("listening");
    let (file, ivorn) = packet(&folder, "first");
    let file = file.display().to_string();
    let sent = say(&["alert", "send", "--vtp", &at, "--json", &file]);
    assert_eq!(sent.code, 0, "{}{}", sent.stdout, sent.stderr);
    assert!(sent.stdout.contains("\"ack\""), "{}", sent.stdout);
    let tested = say(&["alert", "send", "--vtp", &at, "--test", "--json"]);
    assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);
    assert_eq!(listening.ended(), 0, "{}", listening.text());
    let heard = listening.text();
    assert!(heard.contains(&ivorn) && heard.contains("#TestEvent-"), "{heard}");
    assert!(holds(Path::new(&store), &ivorn), "kept before it was acknowledged");
    let again = say(&["alert", "send", "--vtp", &at, "--json", &file]);
    assert_eq!(again.code, 1, "Comet refuses what it has seen: {}", again.stdout);
    assert!(again.stdout.contains("\"nak\""), "{}", again.stdout);
}

#[test]
fn comet_submits_to_our_broker_and_hears_from_it_what_it_missed_as_well() {
    let folder = Folder::new("comet-author");
    let (receive, broadcast) = (free_port(), free_port());
    let (at, to) = (format!("127.0.0.1:{receive}"), format!("127.0.0.1:{broadcast}"));
    let store = folder.join("kept");
    let arguments = [
        "broker",
        "--receive",
        &at,
        "--broadcast",
        &to,
        "--store",
        &store,
        "--json",
        "--allow",
        "127.0.0.0/8",
    ];
    let broker = ours(&folder, "broker", &arguments);
    broker.says("authors on");
    let heard = folder.path().join("heard");
    fs::create_dir_all(&heard).unwrap();
    let subscribe = |name: &str| {
        comet(
            &folder,
            name,
            &[
                "--local-ivo=ivo://org.example/comet",
                &format!("--remote={to}"),
                "--save-event",
                &format!("--save-event-directory={}", heard.display()),
            ],
        )
    };
    let submit = |file: &Path| {
        let mut command = program("comet-sendvo");
        command
            .args(["-h", "127.0.0.1", "-p", &receive.to_string(), "-f"])
            .arg(file);
        command.output().unwrap().status.code()
    };
    let subscriber = subscribe("subscriber");
    // Its answer to who it is is the first that the broker writes down of it.
    wait_for("the subscriber's mark", || {
        holds(Path::new(&store), "ivo://org.example/comet")
    });
    let mark = || fs::read_to_string(Path::new(&store).join("subscribers.json")).unwrap_or_default();
    let before = mark();
    let (first, ivorn) = packet(&folder, "first");
    assert_eq!(submit(&first), Some(0), "{}", broker.text());
    wait_for("the first packet at Comet", || holds(&heard, &ivorn));
    assert_eq!(submit(&first), Some(0), "a copy is acknowledged and goes no further");
    wait_for("the acknowledgement", || mark() != before);
    drop(subscriber);
    let (second, missed) = packet(&folder, "second");
    assert_eq!(submit(&second), Some(0), "{}", broker.text());
    let _returned = subscribe("returned");
    wait_for("the missed packet at Comet", || holds(&heard, &missed));
    assert_eq!(broker.text().matches("\"duplicate\"").count(), 1, "{}", broker.text());
    let broken = folder.path().join("broken.xml");
    fs::write(&broken, "<VOEvent ivorn='ivo://org.example/peers#broken'").unwrap();
    let refused = say(&["alert", "send", "--vtp", &at, "--json", &broken.display().to_string()]);
    assert_eq!(
        (refused.code, refused.stdout.contains("xml_syntax")),
        (1, true),
        "{}",
        refused.stdout
    );
}

#[test]
fn everything_we_write_is_valid_by_the_standards_schemas() {
    let folder = Folder::new("schemas");
    let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
    let alive = TransportMessage::iamalive("ivo://org.example/broker", now);
    let messages = [
        ("iamalive", alive.clone()),
        ("iamalive-answer", alive.reply("ivo://org.example/us", now)),
        (
            "authenticate",
            TransportMessage::authenticate("ivo://org.example/broker", now),
        ),
        (
            "ack",
            TransportMessage::ack("ivo://org.example/x#1&2", "ivo://org.example/us", now),
        ),
        (
            "nak",
            TransportMessage::nak("ivo://org.example/x#1", "ivo://org.example/us", "no <position>", now),
        ),
    ];
    for (name, message) in messages {
        fs::write(folder.path().join(format!("transport-{name}.xml")), message.to_xml()).unwrap();
    }
    let full = Packet {
        ivorn: "ivo://org.example/t1#first-light".into(),
        role: WrittenRole::Observation,
        params: vec![
            ("mag".into(), "17.2".into(), "mag".into()),
            ("filter".into(), "r & i".into(), String::new()),
        ],
        seen: Some(Seen {
            at: now,
            ra_deg: 359.9,
            dec_deg: -89.9,
            err_deg: 0.0002,
        }),
        cites: vec![
            (CiteKind::Followup, "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1".into()),
            (CiteKind::Supersedes, "ivo://org.example/t1#earlier".into()),
            (CiteKind::Retraction, "ivo://org.example/t1#wrong".into()),
        ],
        ..Packet::test("ivo://org.example/t1", now)
    };
    fs::write(folder.path().join("voevent-full.xml"), full.to_xml()).unwrap();
    fs::write(
        folder.path().join("voevent-test.xml"),
        Packet::test("ivo://org.example/t1", now).to_xml(),
    )
    .unwrap();
    // That the schemas can say no.
    let wrong = String::from_utf8(full.to_xml())
        .unwrap()
        .replace("UTC-ICRS-TOPO", "nowhere");
    fs::write(folder.path().join("voevent-wrong.xml"), wrong).unwrap();
    let script = r#"
import importlib.util, pathlib, sys
from lxml import etree
home = pathlib.Path(importlib.util.find_spec("comet").submodule_search_locations[0]) / "schema"
schemas = {"voevent": "VOEvent-v2.0.xsd", "transport": "transport-1.1.xsd"}
schemas = {kind: etree.XMLSchema(etree.parse(str(home / name))) for kind, name in schemas.items()}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.xml")):
    schema = schemas[path.name.split("-")[0]]
    valid = schema.validate(etree.parse(str(path)))
    print(path.name, "valid" if valid else schema.error_log.last_error)
"#;
    let said = program("python")
        .args(["-c", script])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let (wrong, right): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("voevent-wrong"));
    assert_eq!((wrong.len(), right.len()), (1, 7), "{text}");
    assert!(
        right.iter().all(|line| line.ends_with(" valid")) && !wrong[0].ends_with(" valid"),
        "{text}"
    );
}
