//! A real Mosquitto on a private port, and a real client of it.

use super::ports::free_port;
use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// A broker that ends with the test.
pub struct Broker {
    pub port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

fn program(name: &str) -> Command {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places
        .iter()
        .map(|place| PathBuf::from(place).join(name))
        .find(|path| path.exists());
    Command::new(
        found.unwrap_or_else(|| panic!("{name} is not installed: apt-get install mosquitto mosquitto-clients")),
    )
}

impl Broker {
    /// Prepares a broker that is not running yet and lets everybody do everything.
    pub fn idle(name: &str) -> Self {
        Self::prepared(name, |_| "allow_anonymous true\n".into())
    }

    /// A running broker with accounts (name, password) and an access list.
    pub fn guarded(name: &str, accounts: &[(&str, &str)], access_list: &str) -> Self {
        let mut broker = Self::prepared(name, |folder| {
            let passwords = folder.join("passwords");
            std::fs::write(&passwords, "").unwrap();
            for (account, password) in accounts {
                let status = program("mosquitto_passwd")
                    .arg("-b")
                    .arg(&passwords)
                    .args([account, password])
                    .status();
                assert!(status.unwrap().success());
            }
            std::fs::write(folder.join("acl"), access_list).unwrap();
            format!(
                "allow_anonymous false\npassword_file {}\nacl_file {}\n",
                passwords.display(),
                folder.join("acl").display()
            )
        });
        broker.start();
        broker
    }

    fn prepared(name: &str, access: impl Fn(&Path) -> String) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("alidade-mosquitto-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let access = access(&folder);
        // As root the broker would change to an account that cannot read this folder.
        let text = format!("listener {port} 127.0.0.1\nuser root\n{access}persistence false\nlog_dest none\n");
        std::fs::write(folder.join("mosquitto.conf"), text).unwrap();
        Self {
            port,
            folder,
            child: None,
        }
    }

    pub fn running(name: &str) -> Self {
        let mut broker = Self::idle(name);
        broker.start();
        broker
    }

    pub fn start(&mut self) {
        let child = program("mosquitto")
            .arg("-c")
            .arg(self.folder.join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let up = (0..500).any(|_| {
            // Waiting for another process: there is nothing to be told by.
            thread::park_timeout(Duration::from_millis(10));
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        assert!(up, "mosquitto does not listen on {}", self.port);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Subscribes with `mosquitto_sub`, an implementation that is not ours.
    pub fn subscribe(&self, topic: &str) -> Subscriber {
        self.subscribe_as(&[], topic)
    }

    /// Publishes with `mosquitto_pub`.
    pub fn publish_as(&self, account: &str, password: &str, topic: &str, payload: &str) {
        let status = program("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-r"])
            .args(["-u", account, "-P", password, "-t", topic, "-m", payload])
            .status();
        assert!(status.unwrap().success());
    }

    pub fn subscribe_as(&self, login: &[&str], topic: &str) -> Subscriber {
        let mut child = program("mosquitto_sub")
            .args(login)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-t", topic])
            .args(["-F", "%r %q %t %p"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (forward, messages) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut parts = line.splitn(4, ' ');
                let (Some(retained), Some(qos), Some(topic)) = (parts.next(), parts.next(), parts.next()) else {
                    continue;
                };
                let message = Message {
                    retained: retained == "1",
                    qos: qos.to_owned(),
                    topic: topic.to_owned(),
                    payload: parts.next().unwrap_or("").to_owned(),
                };
                if forward.send(message).is_err() {
                    return;
                }
            }
        });
        Subscriber { child, messages }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug, Clone)]
pub struct Message {
    pub retained: bool,
    pub qos: String,
    pub topic: String,
    pub payload: String,
}

impl Message {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|cause| panic!("{cause}: {self:?}"))
    }
}

pub struct Subscriber {
    child: Child,
    messages: mpsc::Receiver<Message>,
}

impl Subscriber {
    /// The next message that `wanted` accepts; fails after half a minute.
    pub fn until(&self, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let message = self
                .messages
                .recv_timeout(Duration::from_secs(30))
                .expect("the wanted message arrives");
            if wanted(&message) {
                return message;
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
