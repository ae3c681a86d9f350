//! The interface against its own description, judged by schemathesis: whatever fits the description is answered as it
//! says, and whatever does not is refused.

use crate::support::{
    http::send,
    observatory::{Observatory, busy},
};
use serde_json::json;
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[test]
fn schemathesis_finds_nothing() {
    let mut observatory = Observatory::new("schema");
    let code = observatory.with_people(false);
    let gateway = observatory.serve_anywhere();
    let kind = [("content-type", "application/json")];
    let phrase = "seven sisters over Chiran";
    let root = json!({ "code": code, "account": "root", "name": "Root", "email": "root@irap.example", "institute": "IRAP", "password": phrase });
    let made = send(
        gateway.addr,
        "POST",
        "/api/v1/first-administrator",
        &kind,
        root.to_string().as_bytes(),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let login = json!({ "login": "root", "password": phrase });
    let opened = send(
        gateway.addr,
        "POST",
        "/api/v1/session",
        &kind,
        login.to_string().as_bytes(),
    );
    let cookie = opened
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let program = target.join("peers/bin/schemathesis");
    assert!(program.exists(), "{}: run `make peers`", program.display());
    let (publishing, done) = (observatory.snapshot.clone(), Arc::new(AtomicBool::new(false)));
    let over = done.clone();
    let clockwork = thread::spawn(move || {
        let mut step = 0;
        while !over.load(Ordering::Relaxed) {
            step += 1;
            publishing.send_replace(Arc::new(busy(step)));
            // The pace of the daemon that this thread plays; nothing is judged by it.
            thread::park_timeout(Duration::from_millis(500));
        }
    });
    let told = Command::new(program)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(["run", &format!("http://{}/api/v1/openapi.json", gateway.addr)])
        .args(["-H", &format!("Cookie: {cookie}")])
        // Identifiers are made up, so what fits the description is often not there: whether it is taken is not judged.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        // Streams do not end; these end the session that is used, or are slowed down on purpose.
        .args([
            "--exclude-path-regex",
            "events$|stream$|follow$|session|/password|/accounts$|first-administrator|recovery",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "-n", "10", "--seed", "1"])
        .args([
            "--request-timeout",
            "10",
            "--continue-on-failure",
            "--warnings",
            "off",
            "--no-color",
        ])
        .output()
        .unwrap();
    done.store(true, Ordering::Relaxed);
    clockwork.join().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&told.stderr)
    );
}
