//! Packages and their runs from the command line, beside the daemon.

use super::{House, archive, until};
use serde_json::{Value, json};
use std::{path::Path, process::Command};

#[test]
fn a_package_is_installed_run_and_looked_at_from_the_command_line() {
    let house = House::new("package-command");
    let folder = &house.observatory.folder;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let site = std::fs::read_to_string(here.join("config/simulated.toml")).unwrap();
    let config = folder.join("site.toml");
    let site = site
        .replace("127.0.0.1:8080", &house.addr.to_string())
        .replace("data_dir = \"var\"", &format!("data_dir = \"{}\"", folder.display()))
        .replace(
            "sqlite://var/alidade.sqlite",
            &format!("sqlite://{}/runs.sqlite", folder.display()),
        );
    std::fs::write(&config, site).unwrap();
    let say = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alidade"));
        let said = command
            .current_dir(here)
            .args(words)
            .arg("--config")
            .arg(&config)
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
        (said.status.code().unwrap(), text)
    };
    let form = r#"{"type": "object", "properties": {"count": {"type": "integer", "maximum": 9}}}"#;
    let manifest = json!({"name": "Teller", "version": "1.0", "command": "grep count /pipeline/inputs/config.json"});
    let file = folder.join("teller.tar.gz");
    std::fs::write(
        &file,
        archive(&[("pipeline.json", &manifest.to_string()), ("form.json", form)]),
    )
    .unwrap();
    let (code, told) = say(&["pipeline", "package", "install", file.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{told}");
    let package: Value = serde_json::from_str(&told).unwrap();
    let package = package["id"].as_str().unwrap();
    assert!(say(&["pipeline", "package", "list"]).1.contains("Teller 1.0"));
    let (code, told) = say(&["pipeline", "package", "run", package, "--set", "count=10"]);
    assert!(code == 1 && told.contains("/count"), "{told}");
    let (code, told) = say(&[
        "package", "run", package, "--set", "count=7", "--name", "seven", "--json",
    ]);
    assert_eq!(code, 0, "{told}");
    let run: Value = serde_json::from_str(&told).unwrap();
    let run = run["id"].as_str().unwrap();
    until("it is done", || say(&["package", "runs"]).1.contains("DONE"));
    assert!(say(&["pipeline", "package", "log", run]).1.contains("\"count\": 7"));
    let (code, told) = say(&["package", "stop", run]);
    assert!(code == 1 && told.contains("DONE"), "{told}");
    // Beside the engine's own.
    let (_, told) = say(&["pipeline", "status"]);
    assert!(told.contains(run) && told.contains("0 outputs"), "{told}");
}
