//! The guard as a process of its own: the daemon killed with -9 while open, a guard without a daemon, a daemon without a
//! guard, and the controller's own dead-man beside them.

use crate::support::{
    command::{Folder, alidade, said},
    deaf,
    hardware::{self, Hardware, Process, config_with, eventually},
};
use alidade::store::{Durability, OpenOptions, Store};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Speaks the controller's dialect to the guard, as the daemon does.
struct Line(BufReader<UnixStream>);

impl Line {
    fn to(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, question: &str) -> String {
        self.0.get_mut().write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// What the switches of the roof say: `0` between or fault, else closed or open.
    fn roof(&mut self) -> &'static str {
        let bits = self.ask("StatusB");
        match bits.get(80..82) {
            Some("10") => "closed",
            Some("01") => "open",
            Some("11") => "between",
            other => panic!("{other:?} in {bits:?}"),
        }
    }
}

/// A guard on simulated hardware, with its socket.
struct Guarded {
    folder: Folder,
    hardware: Hardware,
    guard: Process,
}

impl Guarded {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let hardware = Hardware::start(&folder, "[plc]\ntravel_s = 2.0\ndead_man_s = 3600.0\n");
        let socket = folder.path().join("guard");
        config_with(
            &folder,
            "alidade.toml",
            &hardware,
            &format!(
                "[guard]\nenabled = true\nsocket = \"{}\"\nsilence_s = 3.0\nproof_s = 1.0\n",
                socket.display()
            ),
            |text| text.replace("heartbeat_s = 5.0", "heartbeat_s = 1.0"),
        );
        let guard = Self::guard(&folder);
        Self {
            folder,
            hardware,
            guard,
        }
    }

    fn guard(folder: &Folder) -> Process {
        Self::guard_with(folder, |command| command.stderr(Stdio::null()))
    }

    fn guard_with(folder: &Folder, changed: impl FnOnce(&mut Command) -> &mut Command) -> Process {
        let mut command = alidade();
        command.args(["guard", "--config", &folder.join("alidade.toml")]);
        let process = Process::start_as_it_is(changed(&mut command));
        let socket = folder.path().join("guard");
        // A guard that has not read its controller yet hangs up on who asks for its state.
        eventually("the guard listens and has read the controller", || {
            UnixStream::connect(&socket).is_ok() && !Line::to(&socket).ask("StatusB").is_empty()
        });
        process
    }

    fn line(&self) -> Line {
        Line::to(&self.folder.path().join("guard"))
    }

    /// Beats until the guard lets it open, opens, and waits until it is open.
    fn open(&self, line: &mut Line) {
        eventually("the guard permits", || {
            line.ask("Heartbeat{1}");
            line.ask("Permission") == "YES"
        });
        assert_eq!(line.ask("Dome{OPEN}"), "OK");
        eventually("the roof is open", || {
            line.ask("Heartbeat{1}");
            line.roof() == "open"
        });
    }
}

#[test]
fn the_guard_denies_what_is_not_proven_and_closes_when_it_hears_nothing_more() {
    let guarded = Guarded::new("guard-silence");
    let mut line = guarded.line();
    assert!(line.ask("Version").starts_with("Alidade guard;"));
    assert!(
        line.ask("Dome{OPEN}")
            .starts_with("ERR 20 guard: the daemon has not been heard")
    );
    assert_eq!(line.roof(), "closed");
    guarded.open(&mut line);
    // No more heartbeats, and the connection stays: silence is what counts.
    let mut watcher = guarded.line();
    eventually("the guard closes by itself", || watcher.roof() == "closed");
    assert!(
        line.ask("Dome{OPEN}").starts_with("ERR 20"),
        "a silent daemon has no permission"
    );
}

#[test]
fn a_guard_that_was_killed_starts_deaf_and_closes_what_it_finds_open() {
    let mut guarded = Guarded::new("guard-killed");
    let mut line = guarded.line();
    guarded.open(&mut line);
    guarded.guard.kill();
    guarded.guard = Guarded::guard(&guarded.folder);
    let mut line = guarded.line();
    eventually("the new guard closes", || line.roof() == "closed");
    let second = said(
        alidade()
            .args(["guard", "--config", &guarded.folder.join("alidade.toml")])
            .output()
            .unwrap(),
    );
    assert_eq!(second.code, 2, "{}", second.stderr);
    assert!(second.stderr.contains("another guard listens"), "{}", second.stderr);
}

/// It says that it closes; that must not be what keeps it from closing.
#[test]
fn a_guard_that_nobody_listens_to_closes_all_the_same() {
    let mut guarded = Guarded::new("guard-unheard");
    let notify = guarded.folder.path().join("notify");
    let _supervisor = deaf::supervisor(&notify);
    let (full, _reader) = deaf::full();
    for (what, stderr) in [("its reader has gone", deaf::gone()), ("its reader has stopped", full)] {
        guarded.guard.kill();
        guarded.guard = Guarded::guard_with(&guarded.folder, |command| {
            command.stderr(stderr).env("NOTIFY_SOCKET", &notify)
        });
        let mut line = guarded.line();
        // Twice: each time it says that the daemon is heard, and that it is silent.
        for time in ["first", "second"] {
            guarded.open(&mut line);
            eventually(&format!("{what}: it closes the {time} time"), || {
                line.roof() == "closed"
            });
        }
    }
}

#[test]
fn garbage_on_the_socket_ends_that_connection_and_nothing_else() {
    let guarded = Guarded::new("guard-garbage");
    let mut line = guarded.line();
    line.ask("Version");
    let mut rogue = UnixStream::connect(guarded.folder.path().join("guard")).unwrap();
    rogue.write_all(&[0xff; 4000]).unwrap();
    rogue.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = String::new();
    // The guard hangs up on it.
    assert_eq!(BufReader::new(rogue).read_line(&mut rest).unwrap_or(0), 0);
    for question in ["Dome{SIDEWAYS}", "", "StatusZ", "DomeAzimuth{north}", "{}"] {
        let answer = line.ask(question);
        assert!(answer.starts_with("ERR 1"), "{question:?}: {answer}");
    }
    assert_eq!(line.roof(), "closed");
}

/// The daemon behind the guard opens (it is made to think that it is night), is killed with -9, and at that moment it begins to rain.
#[test]
fn with_a_guard_a_daemon_killed_while_open_leaves_a_closed_roof() {
    let guarded = Guarded::new("guard-daemon");
    let daemon = hardware::night_daemon(&guarded.folder, "alidade.toml");
    let mut line = guarded.line();
    eventually("the daemon has opened through the guard", || line.roof() == "open");
    guarded.hardware.rain();
    daemon.kill_hard();
    eventually("it rains", || guarded.hardware.rains());
    eventually("the guard closes", || line.roof() == "closed");
    drop(daemon);
    assert!(guarded.hardware.alive() && guarded.hardware.rains());
}

/// Without a guard the controller's own dead-man does the same.
#[test]
fn without_a_guard_the_controllers_dead_man_closes_after_the_daemon_was_killed() {
    let folder = Folder::new("dead-man");
    let hardware = Hardware::start(&folder, "[plc]\ntravel_s = 2.0\ndead_man_s = 4.0\n");
    config_with(&folder, "alidade.toml", &hardware, "", |text| {
        text.replace("heartbeat_s = 5.0", "heartbeat_s = 1.0")
    });
    let daemon = hardware::night_daemon(&folder, "alidade.toml");
    eventually("the daemon has opened", || hardware.roof() == "open");
    hardware.rain();
    daemon.kill_hard();
    eventually("it rains", || hardware.rains());
    eventually("the controller closes by itself", || hardware.roof() == "closed");
}

/// Asked to end while it takes calibration frames behind a closed roof, while it observes, and while it has the roof opened.
#[test]
fn a_daemon_that_is_stopped_leaves_a_closed_roof_a_parked_telescope_and_no_open_exposure() {
    let folder = Folder::new("stopped");
    let hardware = Hardware::start(&folder, "[plc]\ntravel_s = 4.0\ndead_man_s = 3600.0\n");
    config_with(&folder, "alidade.toml", &hardware, "", |text| text);
    let open_exposures = || {
        let options = OpenOptions {
            migrate: false,
            durability: Durability::Relaxed,
        };
        let database = format!("sqlite://{}", folder.join("alidade.sqlite"));
        let before = Store::open(&database, options).ok()?.restore().ok()?;
        Some(before.open_exposures.len())
    };
    let is_at_rest = |stopped: &str| {
        assert_eq!(hardware.roof(), "closed", "stopped {stopped}");
        assert_eq!(open_exposures(), Some(0), "stopped {stopped}");
        let line = format!("tcp://{}", hardware.tcp("mount"));
        let mount = said(
            alidade()
                .args([
                    "device", "--direct", "--link", &line, "--json", "get", "mount", "STATUS",
                ])
                .args(["--config", &folder.join("alidade.toml")])
                .output()
                .unwrap(),
        );
        assert!(mount.stdout.contains("parked"), "{}{}", mount.stdout, mount.stderr);
    };
    let daemon = Process::start(alidade().args(["run", "--config", &folder.join("alidade.toml")]));
    eventually("a calibration frame is taken", || {
        open_exposures().is_some_and(|count| count > 0)
    });
    assert!(daemon.terminate());
    is_at_rest("while it took calibration frames");
    for until in ["open", "between"] {
        let daemon = hardware::night_daemon(&folder, "alidade.toml");
        eventually(&format!("the roof is {until}"), || hardware.roof() == until);
        assert!(daemon.terminate());
        is_at_rest(&format!("while the roof was {until}"));
    }
}

#[test]
fn a_configuration_without_a_guard_has_nothing_to_guard() {
    let refused = said(
        alidade()
            .args(["guard", "--config", "config/simulated.toml"])
            .output()
            .unwrap(),
    );
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("guard.enabled is false"), "{}", refused.stderr);
    let folder = Folder::new("guard-simulated");
    let text = fs::read_to_string("config/simulated.toml").unwrap() + "\n[guard]\nenabled = true\n";
    fs::write(folder.join("alidade.toml"), text).unwrap();
    let refused = said(
        alidade()
            .args(["guard", "--config", &folder.join("alidade.toml")])
            .output()
            .unwrap(),
    );
    assert!(
        refused.code == 2 && refused.stderr.contains("no line to guard"),
        "{}",
        refused.stderr
    );
}
