//! The built binary as a user calls it, in folders of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What a call printed and how it ended.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn alidade() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alidade"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

pub fn say(arguments: &[&str]) -> Said {
    said(alidade().args(arguments).output().expect("the binary starts"))
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A folder of one test, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("the test folder can be made");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A copy of a shipped night that a test may change.
pub fn copy_of_night(name: &str, to: &Path) {
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("simulations/nights")
            .join(name),
        to,
    );
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a readable folder") {
        let entry = entry.expect("an entry").path();
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("a copy");
        }
    }
}
