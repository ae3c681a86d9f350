//! The dashboard in a real browser: what it shows, that it can be used by keyboard, phone and in the dark, and that it
//! tells stale from live.

use crate::support::{
    browser,
    observatory::{Observatory, busy},
};
use alidade::gateway::command::GatewayCommand;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[test]
fn the_page_now_is_true_usable_and_recovers() {
    let observatory = Arc::new(Observatory::new("browser"));
    let mut gateway = Some(observatory.serve_anywhere());
    let addr = gateway.as_ref().map(|gateway| gateway.addr).unwrap();
    let (publishing, done) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let clockwork = {
        let (observatory, publishing, done) = (observatory.clone(), publishing.clone(), done.clone());
        thread::spawn(move || {
            let mut step = 0;
            while !done.load(Ordering::Relaxed) {
                if publishing.load(Ordering::Relaxed) {
                    step += 1;
                    observatory.publish(busy(step));
                }
                // The pace of the daemon that this thread plays; nothing is judged by it.
                thread::park_timeout(Duration::from_millis(200));
            }
        })
    };
    let printed = browser::run("now.mjs", &format!("http://{addr}"), |word| {
        match word.split_once(' ') {
            None if word == "hang" => publishing.store(false, Ordering::Relaxed),
            None if word == "go" => publishing.store(true, Ordering::Relaxed),
            None if word == "stop" => drop(gateway.take()),
            None if word == "start" => gateway = Some(observatory.serve(addr).unwrap()),
            Some(("record", seq)) => observatory.record(seq.parse().unwrap(), &format!("mark{seq}")),
            _ => panic!("the script asks for {word:?}"),
        }
    });
    done.store(true, Ordering::Relaxed);
    clockwork.join().unwrap();
    assert!(printed.contains("passed "), "{printed}");
    // By the dashboard's keyboard, its buttons, and the status page.
    assert_eq!(
        observatory.commands(),
        [
            GatewayCommand::CloseNow,
            GatewayCommand::AcknowledgeAlarm(41),
            GatewayCommand::LiftOverride("gust_m_s".into()),
            GatewayCommand::CloseNow
        ]
    );
}

#[test]
fn the_page_of_the_alerts_shows_where_the_time_went_and_changes_strategies_only_after_a_dry_run() {
    let observatory = Observatory::new("browser-alerts");
    let gateway = observatory.serve_anywhere();
    let printed = browser::run("alerts.mjs", &format!("http://{}", gateway.addr), |word| {
        panic!("the script asks for {word:?}")
    });
    assert!(printed.contains("passed "), "{printed}");
    let commands = observatory.commands();
    assert!(
        matches!(&commands[..], [GatewayCommand::ChangeStrategy(text)] if text.contains("svom_snr = 60.0")),
        "{commands:?}"
    );
}

#[test]
fn people_come_in_by_the_first_code_by_signing_up_and_leave_when_they_are_disabled() {
    let mut observatory = Observatory::new("browser-people");
    let first_code = observatory.with_people(false);
    let gateway = observatory.serve_anywhere();
    let printed = browser::run_with(
        "account.mjs",
        &format!("http://{}", gateway.addr),
        &[("FIRST_CODE", &first_code)],
        |word| panic!("the script asks for {word:?}"),
    );
    assert!(printed.contains("passed "), "{printed}");
    assert!(matches!(&observatory.commands()[..], [GatewayCommand::GrantQuota { user, .. }] if user == "ada"));
}
