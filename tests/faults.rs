//! The fault matrix: what has gone wrong at observatories, each with its safe outcome, on the whole daemon.
//!
//! Every case runs on the paused clock; the worst also over live sockets and pseudo-terminals. A case is worth something
//! only if the same hour without its fault does not meet what it expects, and that is asserted as well.

use crate::support::{
    command::{Folder, say},
    journal::Journal,
    matrix::{Case, matrix},
};
use std::{fs, path::Path, sync::Mutex, thread};

/// Simulates one case; `Err` with what is wrong.
fn simulate(case: &Case, folder: &Path, pace: &str) -> Result<Journal, String> {
    let (night, out) = (folder.join("night"), folder.join("out"));
    case.write(&night);
    let said = say(&[
        "simulate",
        &night.display().to_string(),
        "--out",
        &out.display().to_string(),
        "--frames",
        "none",
        "--pace",
        pace,
    ]);
    if said.code != 0 {
        return Err(format!("{}: code {}: {}", case.name, said.code, said.stderr));
    }
    Ok(Journal::read(&out.join("journal.ndjson")))
}

/// Runs cases side by side, `jobs` at a time, and returns every complaint.
fn all(cases: Vec<Case>, jobs: usize, pace: &str, name: &str) -> Vec<String> {
    let folder = Folder::new(name);
    let (waiting, complaints) = (Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(case) = waiting.lock().unwrap().pop() else {
                        return;
                    };
                    let place = folder.path().join(&case.name);
                    fs::create_dir_all(&place).unwrap();
                    let misses = match simulate(&case, &place, pace) {
                        Ok(journal) => case.misses(&journal),
                        Err(fault) => vec![fault],
                    };
                    let told = misses
                        .into_iter()
                        .map(|miss| format!("{} ({}): {miss}", case.name, case.story));
                    complaints.lock().unwrap().extend(told);
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

#[test]
fn every_fault_ends_in_its_safe_outcome() {
    let complaints = all(matrix().cases, 2, "max", "faults");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn without_its_fault_no_case_is_as_it_expects() {
    let cases = matrix().cases;
    let folder = Folder::new("no-faults");
    let calm = Case {
        faults: Vec::new(),
        rain: None,
        site: Default::default(),
        ..cases[0].clone()
    };
    let journal = simulate(&calm, folder.path(), "max").unwrap();
    assert!(
        journal.of("exposure_ended").count() > 10,
        "the hour is filled with exposures"
    );
    let idle: Vec<&str> = cases
        .iter()
        .filter(|case| case.misses(&journal).is_empty())
        .map(|case| case.name.as_str())
        .collect();
    assert!(idle.is_empty(), "these cases cannot fail: {idle:?}");
}

#[test]
fn the_ten_worst_end_as_safely_over_live_sockets() {
    let worst: Vec<Case> = matrix().cases.into_iter().filter(|case| case.live).collect();
    assert_eq!(worst.len(), 10);
    // They wait for their clock most of the time; quicker, and a busy machine would be taken for a late reaction.
    let complaints = all(worst, 5, "80x", "live-faults");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
