//! A simulated night with its page, as a process of its own.

use crate::support::command::alidade;
use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Stdio},
};

/// Ends the night with the test, whatever the test ends with.
pub struct Night(Child);

impl Night {
    /// Whether it goes on; a broken invariant ends it.
    pub fn goes_on(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Night {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Begins `alidade simulate` with these arguments; with the lines that it says on its terminal.
pub fn begin(arguments: &[&str]) -> (Night, impl Iterator<Item = String> + Send + use<>) {
    let mut child = alidade()
        .arg("simulate")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said: BufReader<ChildStderr> = BufReader::new(child.stderr.take().unwrap());
    (Night(child), said.lines().map_while(Result::ok))
}
