//! Peers from PyPI, in an environment of their own below the build's folder.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

/// What is installed, by name; versions are named where the peer's behaviour is what a test is about.
const PACKAGES: &[&str] = &["Comet==3.1.0", "gcn-kafka", "lxml"];

/// The folder of the environment; it is made when it is first asked for.
pub fn environment() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alert-peers");
        let (whole, wanted) = (folder.join("complete"), PACKAGES.join("\n"));
        if fs::read_to_string(&whole).is_ok_and(|installed| installed == wanted) {
            return folder;
        }
        drop(fs::remove_dir_all(&folder));
        done(
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
            "python3 -m venv",
        );
        let pip = folder.join("bin/pip");
        let quiet = ["install", "--quiet", "--disable-pip-version-check"];
        done(Command::new(pip).args(quiet).args(PACKAGES), "pip install");
        fs::write(whole, wanted).expect("the environment is marked as complete");
        folder
    })
}

fn done(command: &mut Command, what: &str) {
    let said = command
        .output()
        .unwrap_or_else(|e| panic!("{what}: {e}; install python3 and python3-venv"));
    assert!(
        said.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
}

/// A program of the environment.
pub fn program(name: &str) -> Command {
    let folder = environment().join("bin");
    let mut command = Command::new(folder.join(name));
    // Scripts name their interpreter by a path; tools of ours must not get into it.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

/// A process that ends with the test; what it says is in a file.
pub struct Running {
    child: Child,
    pub said: PathBuf,
}

impl Running {
    pub fn start(mut command: Command, said: PathBuf) -> Self {
        let file = File::create(&said).expect("a file for what it says");
        let errors = file.try_clone().expect("the same file again");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, said }
    }

    pub fn text(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits until it has said something.
    pub fn says(&self, what: &str) {
        wait_for(&format!("{what} in {}", self.said.display()), || {
            self.text().contains(what)
        });
    }

    /// Waits until it ends of itself; its exit code.
    pub fn ended(&mut self) -> i32 {
        let mut code = None;
        wait_for(&format!("the end of {}", self.said.display()), || {
            code = self.child.try_wait().expect("a child of ours");
            code.is_some()
        });
        code.and_then(|c| c.code()).unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for another process, which can tell nobody: looks every 20 ms, half a minute at most.
pub fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if is_there() {
            return;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    panic!("in vain: {what}");
}
