//! A night at a pace, as `make night` shows it: devices on real sockets and pseudo-terminals, the page in a real browser.

use crate::support::{
    browser,
    command::{self, Folder, say},
    ports, served_night,
};
use std::{fs, path::Path};

#[test]
fn a_night_at_a_pace_is_on_the_terminal_the_page_and_the_command_line() {
    let folder = Folder::new("live-night");
    let scenario = folder.path().join("scenario");
    command::copy_of_night("grb-over-ohp", &scenario);
    // From just before dusk: flats cannot be waited for here.
    let file = scenario.join("scenario.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("2026-03-14T16:40:00Z"));
    fs::write(&file, text.replace("2026-03-14T16:40:00Z", "2026-03-14T18:40:00Z")).unwrap();
    let port = ports::free_port();
    let (address, out) = (format!("127.0.0.1:{port}"), folder.join("out"));
    let scenario = scenario.display().to_string();
    let (mut night, mut lines) = served_night::begin(&[&scenario, "--pace", "60x", "--serve", &address, "--out", &out]);
    assert!(lines.any(|line| line.contains(&address)), "the address is told");
    // Beside the night: who does not read loses lines.
    let terminal = std::thread::spawn(move || lines.collect::<Vec<String>>());
    let url = format!("http://{address}");
    let printed = browser::run("night.mjs", &url, |word| panic!("the script asks for {word:?}"));
    assert!(printed.contains("passed "), "{printed}");
    let status = say(&["status", "--url", &url]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("roof     open"), "{}", status.stdout);
    assert!(night.goes_on(), "an invariant was broken");
    drop(night);
    let told = terminal.join().unwrap().join("\n");
    assert!(told.contains("observing") && told.contains("; next "), "{told}");
    let journal = fs::read_to_string(Path::new(&out).join("journal.ndjson")).unwrap();
    assert!(
        !journal.contains("\"fact\":\"device_garbage\""),
        "a wire carried garbage"
    );
    assert!(
        !journal.contains("\"fact\":\"degraded\",\"what\":\"reduction"),
        "a frame was not reduced"
    );
}
