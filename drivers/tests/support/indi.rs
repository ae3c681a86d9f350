//! Debian's `indiserver` with its simulators (package `indi-bin`), as a process of one test.

#![allow(dead_code, reason = "every test file uses its own part of this")]

#[path = "ports.rs"]
pub mod ports;

use alidade_drivers::transport::{SharedConnector, TcpConnector};
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
};

/// An `indiserver` with the drivers of one test.
pub struct Server {
    child: Child,
    pub port: u16,
    home: PathBuf,
}

impl Server {
    /// Starts the simulators of these drivers on a free port, with a home of their own for what they remember.
    pub fn start(drivers: &[&str]) -> Self {
        let port = ports::free_port();
        let home = std::env::temp_dir().join(format!("alidade-indi-{}-{port}", std::process::id()));
        std::fs::create_dir_all(home.join(".indi")).unwrap();
        let fifo = home.join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut child = Command::new("indiserver")
            .args([
                "-v",
                "-p",
                &port.to_string(),
                "-u",
                &home.join("socket").to_string_lossy(),
                "-r",
                "20",
                "-f",
            ])
            .arg(&fifo)
            .args(drivers)
            .env("HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("indiserver is not installed: apt-get install indi-bin");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("listening to port"));
        assert!(listening, "indiserver did not start");
        // Its log has to be read, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, home }
    }

    pub fn way(&self) -> SharedConnector {
        Rc::new(TcpConnector {
            host: "127.0.0.1".into(),
            port: self.port,
        })
    }

    /// Sets a property as another client would: `DEVICE.PROPERTY.ELEMENT=VALUE`.
    pub fn set(&self, property: &str) {
        let told = Command::new("indi_setprop")
            .args(["-p", &self.port.to_string(), property])
            .status();
        let told = told.expect("indi_setprop is not installed: apt-get install indi-bin");
        assert!(told.success(), "{property}");
    }

    /// Asks for a property as another client would: `DEVICE.PROPERTY.ELEMENT`; `None` while there is none.
    pub fn get(&self, property: &str) -> Option<String> {
        let said = Command::new("indi_getprop")
            .args(["-1", "-t", "2", "-p", &self.port.to_string(), property])
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Kills the processes of one driver that this server started.
    pub fn kill_driver(&self, driver: &str) {
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            // pid (name) state parent ...; the name is cut to 15 characters.
            let Some((head, tail)) = stat.rsplit_once(") ") else {
                continue;
            };
            let parent: u32 = tail.split(' ').nth(1).unwrap().parse().unwrap();
            let arguments = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if parent == self.child.id() && arguments.starts_with(driver) {
                let pid = head.split(' ').next().unwrap();
                assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
                killed += 1;
            }
        }
        assert_eq!(killed, 1, "{driver} runs once");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}
