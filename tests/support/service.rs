//! `alidade run` as a service, with a supervisor.

use crate::support::{
    command::{Folder, Said, alidade, say},
    ports,
};
use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// A daemon with simulated hardware, a folder, a port and a supervisor's socket of its own.
pub struct Service {
    pub folder: Folder,
    pub config: String,
    pub url: String,
    supervisor: UnixDatagram,
    child: Option<Child>,
}

impl Service {
    pub fn new(name: &str, mqtt_port: Option<u16>) -> Self {
        let folder = Folder::new(name);
        let port = ports::free_port();
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/simulated.toml")).unwrap();
        let own = |text: String, from: &str, to: &str| {
            assert!(text.contains(from), "config/simulated.toml has no {from}");
            text.replacen(from, to, 1)
        };
        let var = folder.path().display();
        let mut text = own(
            text,
            "sqlite://var/alidade.sqlite",
            &format!("sqlite://{var}/alidade.sqlite"),
        );
        text = own(text, "data_dir = \"var\"", &format!("data_dir = \"{var}\""));
        text = own(text, "path = \"var/alerts\"", &format!("path = \"{var}/alerts\""));
        text = own(text, "127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        if let Some(broker) = mqtt_port {
            text = own(text, "[mqtt]\nenabled = false", "[mqtt]\nenabled = true");
            text = own(text, "port = 1883", &format!("port = {broker}"));
        }
        let config = folder.join("alidade.toml");
        fs::write(&config, text).unwrap();
        let supervisor = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        supervisor.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        Self {
            config,
            url: format!("http://127.0.0.1:{port}"),
            supervisor,
            folder,
            child: None,
        }
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(&mut self) {
        self.begin(|command| command.stderr(Stdio::inherit()).env("ALIDADE_LOG", "error"));
        self.told("READY=1");
    }

    /// Starts it as `changed` wants it.
    pub fn begin(&mut self, changed: impl FnOnce(&mut Command) -> &mut Command) {
        let mut command = alidade();
        command
            .args(["run", "--config", &self.config])
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .stdout(Stdio::null());
        self.child = Some(changed(&mut command).spawn().unwrap());
    }

    /// Reads the supervisor's socket until `wanted` comes.
    pub fn told(&self, wanted: &str) {
        let mut buffer = [0; 2048];
        loop {
            let size = self
                .supervisor
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("{wanted} did not come: {e}"));
            if String::from_utf8_lossy(&buffer[..size])
                .lines()
                .any(|line| line == wanted)
            {
                return;
            }
        }
    }

    pub fn ask(&self, arguments: &[&str]) -> Said {
        let mut whole = arguments.to_vec();
        whole.extend(["--config", &self.config]);
        say(&whole)
    }

    pub fn signal(&mut self, name: &str) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let sent = Command::new("kill")
            .args([name, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
