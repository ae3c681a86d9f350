//! What ARCHITECTURE.md says of dependencies, held against the manifests and the sources.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What each crate may depend on of ours, development dependencies aside.
const MAY: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("fits", &[]),
    ("accounts", &["model"]),
    ("drivers", &["model"]),
    ("delivery", &["model", "fits"]),
    ("pipeline", &["model", "delivery"]),
    ("analysis", &["model", "fits", "observation", "pipeline", "scheduling"]),
    ("observation", &["model", "fits", "drivers", "scheduling"]),
    ("scheduling", &["model"]),
    ("majordome", &["model", "drivers", "observation", "scheduling"]),
    ("safety", &["model", "drivers", "majordome"]),
    ("routine", &["model", "majordome", "scheduling"]),
    ("alerts", &["model", "majordome", "scheduling"]),
    ("monitoring", &["model", "drivers", "majordome", "safety", "scheduling"]),
    ("simulations", &["model", "fits", "drivers", "scheduling"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Our crates and what each depends on of ours.
fn crates() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let short = |name: &str| name.strip_prefix("alidade-").unwrap_or(name).to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let ours = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|d| d["kind"].is_null() && d["path"].is_string())
                .map(|d| short(d["name"].as_str().unwrap()))
                .collect();
            (short(package["name"].as_str().unwrap()), ours)
        })
        .collect()
}

#[test]
fn crates_depend_only_downwards() {
    let crates = crates();
    for (name, dependencies) in &crates {
        if name == "alidade" {
            continue;
        }
        let (_, allowed) = MAY
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("{name} has no place in ARCHITECTURE.md"));
        for dependency in dependencies {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} may not depend on {dependency}"
            );
        }
    }
    assert_eq!(crates.len(), MAY.len() + 1, "a crate of the table is gone");
}

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|x| x == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_library_is_named_only_where_it_belongs() {
    let places: &[(&str, &[&str])] = &[
        ("diesel::", &["src/store/"]),
        ("actix_web::", &["src/gateway/"]),
        ("rumqttc::", &["src/gateway/mqtt/"]),
        ("tokio_serial::", &["drivers/", "simulations/src/observatory"]),
        ("quick_xml::", &["agents/alerts/", "agents/delivery/", "drivers/"]),
    ];
    let mut files = Vec::new();
    for folder in ["src", "agents", "drivers", "simulations"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "the sources were not found");
    for file in files {
        let relative = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        for (library, allowed) in places {
            if text.contains(library) {
                assert!(
                    allowed.iter().any(|a| relative.starts_with(a)),
                    "{relative} names {library}"
                );
            }
        }
    }
}

#[test]
fn every_crate_and_folder_is_on_the_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for name in crates().keys().filter(|name| *name != "alidade") {
        assert!(
            map.contains(&format!("alidade-{name}")),
            "ARCHITECTURE.md does not know alidade-{name}"
        );
    }
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().display().to_string();
            assert!(
                map.contains(&format!("`src/{name}`")),
                "ARCHITECTURE.md does not know src/{name}"
            );
        }
    }
}
