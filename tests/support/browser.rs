//! Runs a script of `tests/browser` in node, with the test as the daemon's hand.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where screenshots go; they outlive the test.
pub fn artefacts() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_TMPDIR").map(PathBuf::from);
    let folder = target
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
        .join("browser");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs `script` with the gateway's address. `act` carries out the script's `do` lines. Returns all that it printed, or
/// fails with it.
pub fn run(script: &str, address: &str, act: impl FnMut(&str)) -> String {
    run_with(script, address, &[], act)
}

/// As [`run`], with words in the script's environment.
pub fn run_with(script: &str, address: &str, words: &[(&str, &str)], mut act: impl FnMut(&str)) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(
        folder.join("node_modules/playwright-core").exists(),
        "run `npm ci` in tests/browser first (make test does)"
    );
    let mut child = Command::new("node")
        .arg(folder.join(script))
        .arg(address)
        .arg(artefacts())
        .envs(words.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut answers = child.stdin.take().unwrap();
    let mut printed = String::new();
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        match line.strip_prefix("do ") {
            Some(word) => {
                act(word);
                writeln!(answers, "done").unwrap();
            }
            None => {
                printed.push_str(&line);
                printed.push('\n');
            }
        }
    }
    let status = child.wait().unwrap();
    println!("{printed}");
    assert!(status.success(), "{script} failed:\n{printed}");
    printed
}
