//! `alidade device`: the PYROS language through a running daemon, and straight on the lines of served simulators and of
//! servers that nobody here wrote (Debian's `indi-bin`, alpaca-simulators).

use crate::support::{
    command::{self, Folder, Said, say},
    hardware::{Hardware, Process, config_with, eventually},
    http,
    indi::Server,
    ports,
};
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

struct Place {
    config: String,
    hardware: Hardware,
    _folder: Folder,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let hardware = Hardware::start(&folder, "[mount]\nslew_deg_s = 60.0\nsettle_s = 0.2\n");
        config_with(&folder, "alidade.toml", &hardware, "", |text| text);
        Self {
            config: folder.join("alidade.toml"),
            hardware,
            _folder: folder,
        }
    }

    fn device(&self, words: &[&str]) -> Said {
        let mut all = vec!["device"];
        all.extend(words);
        all.extend(["--config", &self.config]);
        say(&all)
    }

    fn json(&self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.push("--json");
        let said = self.device(&all);
        assert_eq!(said.code, 0, "{words:?}: {}", said.stderr);
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.stdout))
    }
}

#[test]
fn on_its_own_line_a_mount_goes_where_it_is_told_with_azimuth_zero_at_south() {
    let place = Place::new("device-direct");
    let identity = place.json(&["--direct", "get", "mount", "IDENTITY"]);
    assert_eq!(identity["value"]["model"], "Alidade simulated mount");
    // North through east the park position is azimuth 0, which is 180 from the south.
    let parked = place.json(&["--direct", "get", "mount", "COORD_ALTAZ"]);
    assert!(
        (parked["az_south_deg"].as_f64().unwrap() - 180.0).abs() < 0.1,
        "{parked}"
    );
    let gone = place.device(&["--direct", "do", "mount", "UNPARK"]);
    assert_eq!(gone.code, 0, "{}", gone.stderr);
    let serial = format!("serial://{}?baud=9600", place.hardware.pty("mount"));
    // South west at fifty degrees, on the serial line.
    let set = place.device(&[
        "--link",
        &serial,
        "set",
        "mount",
        "COORD_ALTAZ",
        "45",
        "50",
        ",",
        "do",
        "START",
    ]);
    assert_eq!(set.code, 0, "{}", set.stderr);
    eventually("the mount is there", || {
        let now = place.json(&["--direct", "get", "mount", "COORD_ALTAZ"]);
        let (alt, az) = (now["alt_deg"].as_f64().unwrap(), now["az_south_deg"].as_f64().unwrap());
        (alt - 50.0).abs() < 0.5 && (az - 45.0).abs() < 0.5
    });
    let wheel = place.device(&["--direct", "set", "wheel_vis", "FILTER", "i", ",", "do", "START"]);
    assert_eq!(wheel.code, 0, "{}", wheel.stderr);
    eventually("the filter is in the beam", || {
        place.json(&["--direct", "get", "wheel_vis", "STATUS"])["value"]["filter"] == "i"
    });
    let refused = place.device(&["--direct", "do", "wheel_vis", "START"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("nothing was SET"),
        "{}",
        refused.stderr
    );
    let unknown = place.device(&["--direct", "get", "telescope", "STATUS"]);
    assert!(
        unknown.code == 2 && unknown.stderr.contains("known: camera_nir"),
        "{}",
        unknown.stderr
    );
    let open = place.device(&["--direct", "do", "plc", "OPEN"]);
    assert!(
        open.code == 1 && open.stderr.contains("there is no OPEN"),
        "{}",
        open.stderr
    );
    assert_eq!(place.hardware.roof(), "closed");
}

#[test]
fn a_running_daemon_lists_its_devices_and_speaks_to_them() {
    let place = Place::new("device-daemon");
    let nobody = place.device(&["list"]);
    assert!(
        nobody.code == 1 && nobody.stderr.contains("no daemon at"),
        "{}",
        nobody.stderr
    );
    let _daemon = Process::start(command::alidade().args(["run", "--config", &place.config]));
    eventually("the daemon answers, and all devices are up", || {
        let listed = place.device(&["list"]);
        listed.code == 0 && listed.stdout.lines().count() == 9 && !listed.stdout.contains("down:")
    });
    let focuser = place.json(&["set", "focuser", "POSITION", "21000"]);
    assert_eq!(focuser["device"], "focuser");
    // What was set is remembered until it is done, also from one call to the next.
    assert_eq!(place.json(&["do", "focuser", "START"])["accepted"], "START");
    eventually("the focuser is there", || {
        place.json(&["get", "focuser", "STATUS"])["value"]["position_steps"] == 21_000
    });
    let again = place.device(&["do", "focuser", "START"]);
    assert!(
        again.code == 1 && again.stderr.contains("nothing was SET"),
        "{}",
        again.stderr
    );
    let roof = place.json(&["get", "plc", "STATUS"]);
    assert_eq!(roof["enclosure"]["value"]["state"], "closed");
    let wrong = place.device(&["set", "mount", "COORD_RADEC", "25:00:00", "10"]);
    assert!(
        wrong.code == 1 && wrong.stderr.contains("right ascension"),
        "{}",
        wrong.stderr
    );
}

/// An Alpaca server from the Python package index, as `make peers` installs it; with its port.
fn alpaca_simulators() -> (Process, u16) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let (program, port) = (target.join("peers/bin/alpaca-simulators"), ports::free_port());
    assert!(program.exists(), "{} is missing: make peers", program.display());
    let server = Process::start(Command::new(program).args(["--host", "127.0.0.1", "--port", &port.to_string()]));
    (server, port)
}

#[test]
fn a_rotator_turns_and_a_switch_switches_as_they_are_told() {
    let (_alpaca, port) = alpaca_simulators();
    let server = Server::start(&["indi_simulator_rotator", "indi_simulator_lightpanel"]);
    let mut place = Place::new("device-more");
    let text = fs::read_to_string(&place.config).unwrap()
        + &format!(
            r#"
[devices.rotator]
kind = "rotator"
protocol = "indi"
link = "tcp://127.0.0.1:{}"
indi_device = "Rotator Simulator"

[devices.lamp]
kind = "switch"
protocol = "indi"
link = "tcp://127.0.0.1:{}"
indi_device = "Light Panel Simulator"
indi_lines = {{ flat = "FLAT_LIGHT_CONTROL.FLAT_LIGHT_ON" }}

[devices.power]
kind = "switch"
protocol = "alpaca"
link = "tcp://127.0.0.1:{port}"
"#,
            server.port, server.port
        );
    place.config = place.config.replace("alidade.toml", "more.toml");
    fs::write(&place.config, text).unwrap();
    let set = [
        "--direct",
        "set",
        "rotator",
        "ROTATOR_ANGLE",
        "-350",
        ",",
        "do",
        "ROTATOR_GOTO",
    ];
    assert_eq!(place.json(&set)["accepted"], "ROTATOR_GOTO");
    eventually("the field has turned", || {
        let now = place.json(&["--direct", "get", "rotator", "STATUS"]);
        now["value"]["moving"] == false && (now["value"]["position_deg"].as_f64().unwrap() - 10.0).abs() < 0.1
    });
    let alpaca = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the Alpaca server listens", || TcpStream::connect(alpaca).is_ok());
    let name = http::get(alpaca, "/api/v1/switch/0/name");
    assert_eq!(name.status, 200, "{}", name.text());
    let set = [
        "--direct",
        "set",
        "power",
        "LINE",
        "Power Switch 1",
        "ON",
        ",",
        "do",
        "START",
    ];
    assert_eq!(place.json(&set)["accepted"], "START");
    let lines = place.json(&["--direct", "get", "power", "STATUS"]);
    assert_eq!(lines["value"]["Power Switch 1"]["value"], 1.0, "{lines}");
    let beyond = place.device(&["--direct", "set", "power", "LINE", "Dimmer 1", "7", ",", "do", "START"]);
    assert!(
        beyond.code == 1 && beyond.stderr.contains("outside 0 to 1"),
        "{}",
        beyond.stderr
    );
    let set = ["--direct", "set", "lamp", "LINE", "flat", "ON", ",", "do", "START"];
    assert_eq!(place.json(&set)["accepted"], "START");
    let lamp = place.json(&["--direct", "get", "lamp", "STATUS"]);
    assert_eq!(
        lamp["value"],
        serde_json::json!({ "flat": { "value": 1.0, "writable": true, "least": 0.0, "most": 1.0, "step": 1.0 } })
    );
    assert_eq!(
        server
            .get("Light Panel Simulator.FLAT_LIGHT_CONTROL.FLAT_LIGHT_ON")
            .as_deref(),
        Some("On")
    );
    // What to write into the configuration is asked of the server.
    let found = place.json(&["discover", "--indi", &format!("127.0.0.1:{}", server.port)]);
    let offered = found[0]["server"]["devices"].as_array().unwrap();
    let offered: Vec<_> = offered
        .iter()
        .map(|d| (d["name"].as_str().unwrap(), d["kinds"][0].as_str()))
        .collect();
    assert_eq!(
        offered,
        [
            ("Light Panel Simulator", Some("switch")),
            ("Rotator Simulator", Some("rotator"))
        ]
    );
    for (host, said) in [
        ("127.0.0.1:1", "refused"),
        ("127.0.0.1:x", "not HOST"),
        ("", "not HOST"),
    ] {
        let nobody = place.device(&["discover", "--indi", host]);
        assert!(
            nobody.code != 0 && nobody.stderr.contains(said),
            "{host}: {}",
            nobody.stderr
        );
    }
    let nonsense = place.device(&["--direct", "set", "rotator", "LINE", "x", "1"]);
    assert!(
        nonsense.code == 1 && nonsense.stderr.contains("a rotator has no LINE"),
        "{}",
        nonsense.stderr
    );
    for word in ["ROTATOR_ANGLE", "LINE"] {
        let needs = place.device(&["--direct", "set", "rotator", word]);
        assert!(needs.code == 1 && needs.stderr.contains("needs"), "{}", needs.stderr);
    }
}

/// The same by the grammar, on our own simulators: on TCP and on the serial line, and a camera that hangs gets its current
/// switched off and on again.
#[test]
fn a_camera_that_hangs_comes_back_when_its_socket_was_off() {
    let folder = Folder::new("device-power");
    let script = folder.join("faults.toml");
    let now = alidade::clock::utc_now().format("%Y-%m-%dT%H:%M:%SZ");
    let hang = format!("[[faults]]\nat = \"{now}\"\ndevice = \"camera_vis\"\nkind = \"hang\"\nfor_s = 100000.0\n");
    fs::write(&script, hang).unwrap();
    let hardware = Hardware::with(&folder, "", &["--faults", &script]);
    let more = format!(
        r#"
[devices.rotator]
kind = "rotator"
protocol = "grammar"
link = "tcp://{}"

[devices.power]
kind = "switch"
protocol = "grammar"
link = "serial://{}?baud=9600"
"#,
        hardware.tcp("rotator"),
        hardware.pty("power")
    );
    config_with(&folder, "alidade.toml", &hardware, &more, |text| text);
    let place = Place {
        config: folder.join("alidade.toml"),
        hardware,
        _folder: folder,
    };
    let set = ["--direct", "set", "rotator", "ROTATOR_ANGLE", "200", ",", "do", "START"];
    assert_eq!(place.json(&set)["accepted"], "START");
    eventually("the field has turned", || {
        let now = place.json(&["--direct", "get", "rotator", "STATUS"]);
        now["value"]["moving"] == false && now["value"]["position_deg"] == 200.0
    });
    let dead = place.device(&["--direct", "get", "camera_vis", "STATUS"]);
    assert_ne!(dead.code, 0, "{}", dead.stdout);
    for value in ["OFF", "ON"] {
        let socket = [
            "--direct",
            "set",
            "power",
            "LINE",
            "camera_vis",
            value,
            ",",
            "do",
            "START",
        ];
        assert_eq!(place.json(&socket)["accepted"], "START");
    }
    let back = place.json(&["--direct", "get", "camera_vis", "STATUS"]);
    assert_eq!(back["value"]["state"], "idle", "{back}");
    let volts = place.device(&[
        "--direct",
        "set",
        "power",
        "LINE",
        "supply volts",
        "12",
        ",",
        "do",
        "START",
    ]);
    assert!(
        volts.code == 1 && volts.stderr.contains("only read"),
        "{}",
        volts.stderr
    );
}
