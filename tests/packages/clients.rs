//! The reference clients of Python and JavaScript over a line that is cut again and again.

use super::House;
use sha2::{Digest, Sha256};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Cuts of each client's line: 12, or as many as `ALIDADE_CUTS` asks for.
fn cuts() -> usize {
    let asked = std::env::var("ALIDADE_CUTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(12)
}

/// A line that is cut after a while, again and again, `cuts` times. Its address.
fn cutting_line(to: SocketAddr, cuts: usize, mut seed: u64) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, done) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = done.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).unwrap();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let allowed = if count.load(Ordering::Relaxed) < cuts {
                (seed >> 33) % 400_000 + 600
            } else {
                u64::MAX
            };
            let (back, forth, count) = (
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
                (client, server),
                count.clone(),
            );
            thread::spawn(move || relay(back.0, back.1, u64::MAX));
            thread::spawn(move || {
                if relay(forth.0, forth.1, allowed) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (addr, done)
}

/// Carries bytes until one side ends or `allowed` have gone; true if it was cut.
fn relay(mut from: TcpStream, mut to: TcpStream, allowed: u64) -> bool {
    let (mut gone, mut buffer) = (0_u64, vec![0_u8; 16 * 1024]);
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            drop(to.shutdown(std::net::Shutdown::Write));
            return false;
        }
        gone += count as u64;
        if gone > allowed || to.write_all(&buffer[..count]).is_err() {
            drop(from.shutdown(std::net::Shutdown::Both));
            drop(to.shutdown(std::net::Shutdown::Both));
            return true;
        }
    }
}

/// tuspy in an environment of its own.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tus-peer");
    let python = folder.join("bin/python");
    let installed = |python: &Path| {
        Command::new(python)
            .args(["-c", "import tusclient"])
            .output()
            .is_ok_and(|said| said.status.success())
    };
    if !installed(&python) {
        let made = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(made.success(), "python3 -m venv");
        let got = Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "tuspy==1.1.0",
            ])
            .status();
        assert!(got.unwrap().success() && installed(&python), "pip install tuspy");
    }
    python
}

#[test]
fn the_reference_clients_resume_over_a_line_that_is_cut() {
    let house = House::new("tus-clients");
    let wanted = cuts();
    let content: Vec<u8> = (0..u32::try_from(wanted).unwrap() * 250_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let file = house.observatory.folder.join("big.bin");
    std::fs::write(&file, &content).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, seed) in [("python", 1), ("python-checked", 2), ("javascript", 3)] {
        let (line, cuts) = cutting_line(house.addr, wanted, seed);
        let endpoint = format!("http://{line}/api/v1/uploads");
        let mut client = match name {
            "javascript" => {
                let mut client = Command::new("node");
                client
                    .arg(here.join("tests/browser/tus.mjs"))
                    .arg(&endpoint)
                    .arg(&file)
                    .arg("700000");
                client
            }
            _ => {
                let mut client = Command::new(python());
                client
                    .arg(here.join("tests/upload/tus_python.py"))
                    .arg(&endpoint)
                    .arg(&file)
                    .arg("250000");
                client.arg(if name == "python" { "plain" } else { "checked" });
                client
            }
        };
        let said = client.output().unwrap();
        let out = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.status.success(),
            "{name}: {out}{}",
            String::from_utf8_lossy(&said.stderr)
        );
        let id = out.split_whitespace().next().unwrap();
        assert!(
            cuts.load(Ordering::Relaxed) * 6 >= wanted * 5,
            "{name} was cut {} times",
            cuts.load(Ordering::Relaxed)
        );
        let folder = house.observatory.folder.join("files").join(id);
        let came = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        assert_eq!(
            Sha256::digest(std::fs::read(came).unwrap()),
            Sha256::digest(&content),
            "{name}"
        );
        println!("counted: {name} was cut {} times", cuts.load(Ordering::Relaxed));
    }
}
