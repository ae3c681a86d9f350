//! Simulated hardware as a process of its own, and daemons on it.

use crate::support::command::{Folder, alidade};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Asks until it is so, for at most a minute and a half; each asking takes its time by itself.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    // Half a minute of a busy machine is not a failure; a loop without an end is.
    for _ in 0..1500 {
        if so() {
            return;
        }
        breathe();
    }
    panic!("not within a minute and a half: {what}");
}

/// Gives the other processes sixty milliseconds: a read that nobody answers.
fn breathe() {
    let (silent, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    silent.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    let mut nothing = [0];
    drop(std::io::Read::read_exact(&mut &silent, &mut nothing));
}

/// A child that ends with the test.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self::start_as_it_is(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// With its standard streams as the command has them.
    pub fn start_as_it_is(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// `kill -9`, and gone.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to end; whether it says that all is well.
    pub fn terminate(mut self) -> bool {
        let sent = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(sent.unwrap().success());
        self.0.wait().unwrap().success()
    }

    pub fn kill_hard(&self) {
        let sent = Command::new("kill").args(["-9", &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `alidade simulate-devices`.
pub struct Hardware {
    child: Child,
    pub places: Value,
}

impl Hardware {
    pub fn start(folder: &Folder, hardware: &str) -> Self {
        Self::with(folder, hardware, &[])
    }

    pub fn with(folder: &Folder, hardware: &str, more: &[&str]) -> Self {
        let (file, site) = (folder.join("hardware.toml"), folder.join("site.toml"));
        fs::write(&file, hardware).unwrap();
        fs::write(&site, at_midnight(fs::read_to_string("config/simulated.toml").unwrap())).unwrap();
        let mut child = alidade()
            .args(["simulate-devices", "--json", "--config", &site, "--hardware", &file])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let places = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        Self { child, places }
    }

    pub fn tcp(&self, device: &str) -> String {
        self.places[device]["tcp"].as_str().unwrap().to_owned()
    }

    pub fn pty(&self, device: &str) -> String {
        self.places[device]["pty"].as_str().unwrap().to_owned()
    }

    pub fn alive(&self) -> bool {
        TcpStream::connect(self.tcp("plc")).is_ok()
    }

    /// Says one line to the controller.
    pub fn plc(&self, question: &str) -> String {
        let mut stream = TcpStream::connect(self.tcp("plc")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Lets it rain.
    pub fn rain(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    }

    /// The controller's own rain alarm, which is what its sensors say now.
    pub fn rains(&self) -> bool {
        self.plc("StatusB").get(32..33) == Some("1")
    }

    pub fn roof(&self) -> &'static str {
        match self.plc("StatusB").get(80..82) {
            Some("10") => "closed",
            Some("01") => "open",
            Some("11") => "between",
            _ => "fault",
        }
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `config/simulated.toml` with every device on the hardware's sockets, short delays, and folders of its own.
pub fn config_with(folder: &Folder, name: &str, hardware: &Hardware, more: &str, change: impl Fn(String) -> String) {
    let text = fs::read_to_string("config/simulated.toml").unwrap();
    let var = folder.path().display().to_string();
    let mut text = change(at_midnight(text))
        .replace("sqlite://var/alidade.sqlite", &format!("sqlite://{var}/alidade.sqlite"))
        .replace("data_dir = \"var\"", &format!("data_dir = \"{var}\""))
        .replace("path = \"var/alerts\"", &format!("path = \"{var}/alerts\""))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", super::ports::free_port()));
    for (device, there) in [
        ("plc", "plc"),
        ("mount", "mount"),
        ("camera_vis", "camera_vis"),
        ("camera_nir", "camera_nir"),
        ("wheel_vis", "wheel_vis"),
        ("wheel_nir", "wheel_nir"),
        ("focuser", "focuser"),
        ("mast", "station"),
    ] {
        let head = format!("[devices.{device}]");
        let (before, after) = text.split_once(&head).unwrap();
        // What a test has put elsewhere stays there.
        let (own, rest) = after.split_once("\n[").unwrap();
        let own = own.replacen("\"simulated\"", &format!("\"tcp://{}\"", hardware.tcp(there)), 1);
        text = format!("{before}{head}{own}\n[{rest}");
    }
    fs::write(folder.join(name), text + "\n" + more).unwrap();
}

/// A daemon where it is night now; it takes no calibration frames, and forgives after a second.
pub fn night_daemon(folder: &Folder, name: &str) -> Process {
    let file = folder.join(name);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("good_delay_s", _)) => "good_delay_s = 1.0".to_owned(),
            Some((count @ ("bias_count" | "dark_count" | "flat_count"), _)) => format!("{count} = 0"),
            _ => line.to_owned(),
        })
        .collect();
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    Process::start(alidade().args(["run", "--config", &file]))
}

/// The same site where it is an hour after midnight now: a controller that sees the Sun lets nothing be opened.
fn at_midnight(text: String) -> String {
    let now = alidade::clock::utc_now();
    let seconds = now.timestamp().rem_euclid(86_400) as f64;
    let longitude = (15.0 - seconds / 240.0 + 180.0).rem_euclid(360.0) - 180.0;
    let (lat, lon) = ("latitude_deg = 43.9317", "longitude_deg = 5.7133");
    assert!(text.contains(lat) && text.contains(lon));
    text.replacen(lat, "latitude_deg = 5.0", 1)
        .replacen(lon, &format!("longitude_deg = {longitude:.1}"), 1)
}
