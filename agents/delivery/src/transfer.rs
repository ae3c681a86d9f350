//! The way of bytes between sites: the rsync program, on local paths or over ssh.
//!
//! Whatever the way, what arrives is verified and put in place in one step (see [`crate::replica`]), so that a cut, a
//! bad cable or a duplicate costs time, never a wrong file.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

/// Why nothing, or not everything, arrived. What did arrive stays for the next attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("{0}: no space left")]
    NoSpace(String),
    #[error("{0}: is not there")]
    Missing(String),
    #[error("{0}")]
    Cut(String),
}

/// Copies a file or the content of a folder.
pub trait Transfer: Send + Sync {
    /// From a location such as `host:folder/` (a folder's content) or `folder/file` into the folder `to`. Files that are
    /// there already are kept if size and time agree. `landed` is told the relative path of each file that is complete.
    fn pull(&self, from: &str, to: &Path, landed: &mut dyn FnMut(&str)) -> Result<(), TransferError>;
}

/// The rsync program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rsync {
    pub program: String,
    /// What reaches other machines, such as `ssh -p 2222`; rsync's own choice when none.
    pub remote_shell: Option<String>,
    /// Bound of the rate, kilobytes a second.
    pub limit_kb_s: Option<u64>,
    /// Seconds without a byte after which a transfer is given up.
    pub timeout_s: u32,
}

impl Default for Rsync {
    fn default() -> Self {
        Self {
            program: "rsync".into(),
            remote_shell: None,
            limit_kb_s: None,
            timeout_s: 60,
        }
    }
}

impl Transfer for Rsync {
    fn pull(&self, from: &str, to: &Path, landed: &mut dyn FnMut(&str)) -> Result<(), TransferError> {
        let mut command = Command::new(&self.program);
        // With %b the name is told after the transfer. Links are not followed and not made.
        command.args(["-rt", "--partial-dir=.partial", "--out-format=%b %n"]);
        command.arg(format!("--timeout={}", self.timeout_s));
        if !is_remote(from) {
            // On one machine rsync sends whole files anyway; its own checksum would only repeat the manifest's. Over a
            // network it is what lets a file be taken up where it was cut.
            command.arg("--checksum-choice=none");
        }
        if let Some(shell) = &self.remote_shell {
            command.args(["-e", shell]);
        }
        if let Some(limit) = self.limit_kb_s {
            command.arg(format!("--bwlimit={limit}"));
        }
        command.arg("--").arg(from).arg(to);
        let cut = |e: std::io::Error| TransferError::Cut(format!("{}: {e}", self.program));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cut)?;
        let errors = child.stderr.take();
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read is not told; the exit code is.
            let _ = errors.map(|errors| errors.take(64 << 10).read_to_string(&mut text));
            text
        });
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, name)) = line.split_once(' ')
                    && !name.ends_with('/')
                {
                    landed(name);
                }
            }
        }
        let status = child.wait().map_err(cut)?;
        let said = said.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let first = said.lines().next().unwrap_or("it said nothing").trim().to_owned();
        Err(if said.contains("No space left") || said.contains("Disk quota") {
            TransferError::NoSpace(to.display().to_string())
        } else if status.code() == Some(23) && said.contains("No such file or directory") {
            TransferError::Missing(from.to_owned())
        } else {
            TransferError::Cut(format!("rsync: {status}: {first}"))
        })
    }
}

/// As rsync understands a location: what has a colon before its first slash is on another machine.
fn is_remote(location: &str) -> bool {
    location.split('/').next().is_some_and(|first| first.contains(':'))
}

/// Where something of a station is: `location/part`, for rsync.
pub fn at(location: &str, part: &str) -> String {
    format!("{}/{part}", location.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::is_remote;

    #[test]
    fn a_colon_after_a_slash_makes_no_machine() {
        for remote in [
            "ohp:cache/g/",
            "ohp:/srv/cache",
            "alidade@ohp:g",
            "rsync://ohp/g",
            "ohp::module/g",
        ] {
            assert!(is_remote(remote), "{remote}");
        }
        for here in ["/srv/cache/g:1/", "./ohp:1", "cache/g", ""] {
            assert!(!is_remote(here), "{here}");
        }
    }
}
