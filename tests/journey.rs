//! The whole house as its people use it, in one evening: a simulated night with accounts, packages and the life of the data,
//! and a real browser before it.

use crate::support::{
    browser,
    command::{self, Folder, say},
    ports, served_night,
};
use serde_json::Value;
use std::{fs, path::Path};

/// The shipped night with the burst, begun a little before dark, with the burst in the evening and hours to spare at its end.
fn evening(folder: &Folder) -> String {
    let scenario = folder.path().join("scenario");
    command::copy_of_night("grb-over-ohp", &scenario);
    let own = |name: &str, pairs: &[(&str, &str)]| {
        let file = scenario.join(name);
        let mut text = fs::read_to_string(&file).unwrap();
        for (from, to) in pairs {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        fs::write(&file, text).unwrap();
    };
    own(
        "scenario.toml",
        &[
            ("2026-03-14T16:40:00Z", "2026-03-14T18:30:00Z"),
            ("2026-03-15T06:30:00Z", "2026-03-15T16:00:00Z"),
            ("2026-03-14T23:31:05Z", "2026-03-14T21:11:05Z"),
        ],
    );
    own("events.toml", &[("2026-03-14T23:3", "2026-03-14T21:1")]);
    let file = scenario.join("observatory.toml");
    let strip =
        "\n[devices.power]\nkind = \"switch\"\nprotocol = \"grammar\"\nlink = \"simulated\"\nblocking = false\n";
    fs::write(&file, fs::read_to_string(&file).unwrap() + strip).unwrap();
    scenario.display().to_string()
}

#[test]
fn an_evening_from_the_first_start_to_reviewed_data() {
    let folder = Folder::new("journey");
    let scenario = evening(&folder);
    let upload = folder.join("image.fits");
    fs::write(&upload, vec![b' '; 9_000_000]).unwrap();
    let address = format!("127.0.0.1:{}", ports::free_port());
    let out = folder.join("out");
    let (mut night, mut lines) = served_night::begin(&[
        &scenario,
        "--pace",
        "600x",
        "--serve",
        &address,
        "--accounts",
        "--out",
        &out,
    ]);
    let code = lines
        .find_map(|line| Some(line.split_once("with the code ")?.1.trim().to_owned()))
        .expect("the code of the first administrator is told");
    assert!(
        lines.any(|line| line.contains(&format!("dashboard on http://{address}"))),
        "the address is told"
    );
    let url = format!("http://{address}");
    let printed = browser::run_with(
        "journey.mjs",
        &url,
        &[("FIRST_CODE", &code), ("UPLOAD", &upload)],
        |word| panic!("the script asks for {word:?}"),
    );
    assert!(printed.contains("passed "), "{printed}");
    let status = say(&["status", "--server", &url, "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_else(|e| panic!("{e}: {}", status.stderr));
    assert_eq!(
        (&status["safety"]["state"], &status["enclosure"]["state"]),
        (&"latched".into(), &"closed".into())
    );
    assert!(night.goes_on(), "an invariant was broken");
    drop(night);
    let journal = fs::read_to_string(Path::new(&out).join("journal.ndjson")).unwrap();
    assert!(
        !journal.contains("\"fact\":\"invariant_broken\""),
        "an invariant was broken"
    );
    assert!(
        journal.contains("root") && journal.contains("the vane is iced"),
        "who did what is in the journal"
    );
}
