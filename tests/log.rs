//! What the program says on standard error, and that nothing depends on who listens.

use crate::support::{
    command::{Said, alidade, said},
    deaf,
    hardware::eventually,
    service::Service,
};
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
};

fn answers(service: &Service) -> bool {
    service.ask(&["status", "--json"]).code == 0
}

/// Runs a daemon until it has identified a device; what it has logged. `journal`: its log is systemd's journal, as it must
/// believe.
fn logged(name: &str, journal: bool) -> String {
    let mut service = Service::new(name, None);
    let file = service.folder.path().join("log");
    let to = File::create(&file).unwrap();
    let stream = to.metadata().map(|m| format!("{}:{}", m.dev(), m.ino())).unwrap();
    service.begin(|command| {
        command.stderr(to.try_clone().unwrap()).env_remove("ALIDADE_LOG");
        match journal {
            true => command.env("JOURNAL_STREAM", &stream),
            false => command.env_remove("JOURNAL_STREAM"),
        }
    });
    let told = || fs::read_to_string(&file).unwrap().contains("device_identified");
    eventually("a device is identified", told);
    let ended = service.signal("-TERM");
    assert!(ended.success(), "{ended}");
    fs::read_to_string(&file).unwrap()
}

#[test]
fn a_daemon_whose_log_and_supervisor_hang_works_and_ends_all_the_same() {
    let mut service = Service::new("log-full", None);
    deaf::fill(&service.folder.path().join("notify"));
    let (stderr, _reader) = deaf::full();
    service.begin(|command| command.stderr(stderr));
    eventually("the daemon answers", || answers(&service));
    // Its supervisor would have been told three times by now, and once a second its log.
    let told = || service.ask(&["status", "--json"]).stdout;
    let first = told();
    eventually("it goes on", || told() != first);
    let ended = service.signal("-TERM");
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_daemon_whose_log_has_lost_its_reader_works_and_ends_all_the_same() {
    let mut service = Service::new("log-gone", None);
    service.begin(|command| command.stderr(deaf::gone()));
    eventually("the daemon answers", || answers(&service));
    let ended = service.signal("-TERM");
    assert!(ended.success(), "{ended}");
}

#[test]
fn the_log_tells_the_night_a_line_a_fact_with_instant_and_level() {
    let text = logged("log-told", false);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        let [instant, level] = words[..] else { panic!("{line}") };
        if instant == "there" {
            // The code of the first administrator is said as it is.
            continue;
        }
        assert!(instant.parse::<alidade_model::time::UtcTime>().is_ok(), "{line}");
        assert!(["INFO", "WARN", "ERROR"].contains(&level), "{line}");
    }
    for wanted in [
        "INFO alidade::night: started boot=1 site=ohp",
        "INFO alidade::daemon::live: dashboard on http://127.0.0.1:",
        "alidade::night: device_link cause=",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
    assert!(
        !text.contains("product_made") && !text.contains("device_command"),
        "{text}"
    );
}

#[test]
fn to_systemds_journal_lines_come_with_its_priorities_and_without_an_instant() {
    let text = logged("log-journal", true);
    assert!(text.contains("<6>alidade::night: started boot=1"), "{text}");
    let plain = |line: &&str| !line.starts_with('<') && !line.starts_with("there is no administrator");
    assert_eq!(text.lines().find(plain), None);
}

#[test]
fn a_choice_that_is_none_is_refused_before_anything_is_touched() {
    let service = Service::new("log-choice", None);
    let refused = said(
        alidade()
            .args(["run", "--config", &service.config])
            .env("ALIDADE_LOG", "verbose")
            .output()
            .unwrap(),
    );
    assert_eq!(
        (refused.code, refused.stderr.lines().count()),
        (2, 1),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("ALIDADE_LOG=\"verbose\""), "{}", refused.stderr);
    assert!(!service.folder.path().join("alidade.sqlite").exists());
}

#[test]
fn who_reads_no_further_than_the_first_line_is_not_told_of_a_broken_pipe() {
    let run = |arguments: &[&str], stderr_too: bool| -> Said {
        let mut command = alidade();
        command.args(arguments).stdout(deaf::gone());
        if stderr_too {
            command.stderr(deaf::gone());
        }
        said(command.output().unwrap())
    };
    let night = "simulations/nights/calm-winter-night";
    for arguments in [
        &["check", "--config", "config/simulated.toml"][..],
        &["ephemeris", "--config", "config/simulated.toml", "--date", "2026-03-14"],
        &["simulate", night, "--nights", "1", "--frames", "none", "--json"],
    ] {
        let told = run(arguments, false);
        assert_eq!((told.code, told.stderr.as_str()), (141, ""), "{arguments:?}");
        assert_eq!(run(arguments, true).code, 141, "{arguments:?}");
    }
    let invalid = run(&["check", "--config", "no/such/file.toml"], true);
    assert_eq!(invalid.code, 2);
}
