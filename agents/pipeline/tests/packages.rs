//! Packages: hostile archives are refused whole, honest ones are installed and run.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::time::UtcTime;
use alidade_pipeline::{
    executors::{AttemptState, BubblewrapExecutor, Executor, Input},
    packages::{PackageError, PackageState, Shelf, archive::Bounds},
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

fn epoch() -> UtcTime {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An entry of an archive under construction.
enum Entry<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Device(&'a str),
}

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let (name, kind, target, content): (&str, u8, &str, &[u8]) = match entry {
            Entry::File(name, content) => (name, b'0', "", content),
            Entry::Link(name, target) => (name, b'2', target, b""),
            Entry::Hard(name, target) => (name, b'1', target, b""),
            Entry::Device(name) => (name, b'3', "", b""),
        };
        // By hand: the writer of a library refuses what is to be tested.
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000755\0");
        head[108..116].copy_from_slice(b"0000000\0");
        head[116..124].copy_from_slice(b"0000000\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        head[136..148].copy_from_slice(b"00000000000\0");
        head[148..156].copy_from_slice(b"        ");
        head[156] = kind;
        head[157..157 + target.len()].copy_from_slice(target.as_bytes());
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(content);
        out.resize(out.len().div_ceil(512) * 512, 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

const MANIFEST: &[u8] = br#"{"name": "Counter", "version": "1.0", "command": "sh /pipeline/package/run.sh"}"#;
const RUN: &[u8] = br#"wc -l < "$ALIDADE_INPUTS/data" > lines; grep -o '"threshold": [0-9]*' "$ALIDADE_CONFIG"; echo '{"progress":{"value":3,"min":0,"max":3}}' >> "$ALIDADE_PROGRESS""#;
const FORM: &[u8] = br#"{"type":"object","properties":{"threshold":{"type":"integer","minimum":1,"default":4}}}"#;

fn install(shelf: &Shelf, folder: &Path, id: &str, content: &[u8]) -> Result<PackageState, PackageError> {
    let file = folder.join(format!("{id}.bin"));
    fs::write(&file, content).unwrap();
    shelf.take(&file, "package.tar", id, epoch(), true)?;
    shelf.install(id).map(|package| package.state)
}

/// Everything that lies below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()));
        }
        found.push(entry.path());
    }
    found.sort();
    found
}

#[test]
fn nothing_escapes_from_a_package() {
    let folder = scratch("hostile");
    let shelf = Shelf::open(
        &folder.join("shelf"),
        Bounds {
            bytes: 1 << 20,
            entries: 50,
        },
    )
    .unwrap();
    let manifest = Entry::File("pipeline.json", MANIFEST);
    let many: Vec<String> = (0..60).map(|n| format!("f{n}")).collect();
    let zeros = vec![0_u8; 2 << 20];
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("dotdot", tar(&[Entry::File("../evil", b"x")])),
        ("inner", tar(&[Entry::File("a/../../evil", b"x")])),
        ("absolute", tar(&[Entry::File("/tmp/alidade-evil", b"x")])),
        ("link", tar(&[Entry::Link("a", "/etc"), Entry::File("a/evil", b"x")])),
        ("linkout", tar(&[Entry::Link("rootfs/a", "../../evil")])),
        (
            "through",
            tar(&[Entry::Link("rootfs/a", "/tmp"), Entry::File("rootfs/a/evil", b"x")]),
        ),
        ("hard", tar(&[Entry::Hard("a", "/etc/passwd")])),
        ("hardout", tar(&[Entry::Hard("a", "../../../../etc/passwd")])),
        (
            "hardlink",
            tar(&[
                Entry::Link("rootfs/p", "/etc/passwd"),
                Entry::Hard("rootfs/q", "rootfs/p"),
            ]),
        ),
        ("device", tar(&[Entry::Device("sda")])),
        ("twice", tar(&[Entry::File("a", b"1"), Entry::File("a", b"2")])),
        ("bomb", gz(&tar(&[Entry::File("zeros", &zeros)]))),
        (
            "many",
            tar(&many.iter().map(|name| Entry::File(name, b"")).collect::<Vec<_>>()),
        ),
        ("cut", tar(&[Entry::File("pipeline.json", MANIFEST)])[..600].to_vec()),
        ("noise", vec![7; 5000]),
        ("empty", Vec::new()),
        ("unnamed", tar(&[Entry::File("readme", b"")])),
        (
            "badform",
            tar(&[manifest, Entry::File("form.json", br#"{"type": "float"}"#)]),
        ),
        (
            "rootless",
            tar(&[Entry::File("metadata.yaml", b"pirus:\n  name: x\n  job: y\n")]),
        ),
    ];
    for (id, content) in &hostile {
        let refused = install(&shelf, &folder, id, content);
        assert!(refused.is_err(), "{id}");
        let package = shelf.show(id).unwrap();
        assert_eq!(package.state, PackageState::Error, "{id}");
        assert!(!package.cause.is_empty(), "{id}");
        // Of the package there is its archive and its record, and nothing else.
        let left = tree(&folder.join("shelf").join(id));
        assert_eq!(left.len(), 2, "{id}: {left:?}");
    }
    assert!(!folder.join("evil").exists() && !Path::new("/tmp/alidade-evil").exists());
    assert_eq!(fs::read_dir(folder.join("shelf/.staging")).unwrap().count(), 0);
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_zip_that_climbs_out_is_refused() {
    let folder = scratch("zip");
    let shelf = Shelf::open(&folder.join("shelf"), Bounds::default()).unwrap();
    for (id, name) in [("up", "../evil"), ("root", "/evil"), ("backslash", "..\\evil")] {
        assert!(
            matches!(
                install(&shelf, &folder, id, &zip(&[(name, b"x")])),
                Err(PackageError::Escapes { .. })
            ),
            "{id}"
        );
    }
    let manifest: &[u8] =
        br#"{"name": "V", "version": "2", "type": "job", "contacts": [{"name": "A", "email": "a@b.c"}]}"#;
    let whole = zip(&[
        ("V/manifest.json", manifest),
        ("V/run.sh", b"echo hello\n"),
        ("V/Dockerfile", b"FROM x\n"),
        ("V/doc/help.html", b"<p>"),
    ]);
    assert_eq!(
        install(&shelf, &folder, "regovar", &whole).unwrap(),
        PackageState::Ready
    );
    let package = shelf.show("regovar").unwrap();
    let manifest = package.manifest.as_ref().unwrap();
    assert_eq!(
        (
            manifest.developers[0].as_str(),
            manifest.documents.len(),
            manifest.warnings.len()
        ),
        ("A a@b.c", 1, 1)
    );
}

/// Runs an installed package in the sandbox; its outputs and its log.
fn run(shelf: &Shelf, folder: &Path, id: &str) -> (PathBuf, String) {
    let package = shelf.show(id).unwrap();
    let attempt = format!("{id}-{}", std::process::id());
    let mut spec = shelf.attempt(&package, &attempt, &folder.join(&attempt)).unwrap();
    let data = folder.join("data");
    fs::write(&data, "1\n2\n3\n").unwrap();
    spec.inputs = vec![Input {
        name: "data".into(),
        source: data,
    }];
    spec.config = serde_json::json!({"threshold": 4});
    let sandbox = BubblewrapExecutor::detect().unwrap();
    sandbox.prepare(&spec).unwrap();
    let ticket = sandbox.start(&spec, epoch()).unwrap();
    let state = sandbox.wait(&ticket, epoch(), Duration::from_secs(20)).unwrap();
    sandbox.cleanup(&ticket).unwrap();
    let log = |name: &str| fs::read_to_string(spec.logs_dir().join(name)).unwrap();
    let ok = matches!(&state, AttemptState::Ended(ending) if ending.is_success());
    assert!(ok, "{id}: {state:?} {}", log("err.log"));
    (spec.outputs_dir(), log("out.log"))
}

#[test]
fn an_honest_package_is_installed_listed_run_and_removed() {
    let folder = scratch("honest");
    let shelf = Shelf::open(&folder.join("shelf"), Bounds::default()).unwrap();
    let entries = [
        Entry::File("counter/pipeline.json", MANIFEST),
        Entry::File("counter/run.sh", RUN),
        Entry::File("counter/form.json", FORM),
        Entry::File("counter/icon.png", b"\x89PNG"),
    ];
    assert_eq!(
        install(&shelf, &folder, "p1", &gz(&tar(&entries))).unwrap(),
        PackageState::Ready
    );
    let twin = install(&shelf, &folder, "p2", &gz(&tar(&entries)));
    assert!(matches!(twin, Err(PackageError::AlreadyInstalled(id)) if id == "p1"));
    let package = shelf.show("p1").unwrap();
    let public = package.public();
    assert_eq!(
        (public["name"].as_str(), public["status"].as_str()),
        (Some("Counter"), Some("READY"))
    );
    assert_eq!(shelf.form(&package).unwrap()["properties"]["threshold"]["default"], 4);
    assert!(shelf.document(&package, "icon").is_ok() && shelf.document(&package, "help").is_err());
    let (outputs, log) = run(&shelf, &folder, "p1");
    assert_eq!(fs::read_to_string(outputs.join("lines")).unwrap(), "3\n");
    assert_eq!(log, "\"threshold\": 4\n");
    shelf.remove("p1").unwrap();
    assert!(matches!(shelf.show("p1"), Err(PackageError::Unknown(_))));
    assert!(shelf.list().unwrap().is_empty() && !shelf.folder("p1").exists());
    assert!(matches!(shelf.show("../x"), Err(PackageError::Unknown(_))));
}

#[test]
fn a_package_of_pirus_runs_in_its_own_root() {
    let folder = scratch("pirus");
    let shelf = Shelf::open(&folder.join("shelf"), Bounds::default()).unwrap();
    let busybox = fs::read("/bin/busybox").unwrap();
    let entries = [
        Entry::File(
            "metadata.yaml",
            b"pirus:\n  name: Own\n  job: /job/run.sh\n  version: 1\n",
        ),
        Entry::File("rootfs/bin/busybox", &busybox),
        Entry::Link("rootfs/bin/sh", "/bin/busybox"),
        Entry::Link("rootfs/bin/cat", "busybox"),
        Entry::File(
            "rootfs/job/run.sh",
            b"#!/bin/sh\ncat /pipeline/inputs/data /job/run.sh > /pipeline/outputs/all\n",
        ),
        Entry::Device("rootfs/dev/null"),
        Entry::File("form.json", b"{}"),
    ];
    assert_eq!(
        install(&shelf, &folder, "own", &tar(&entries)).unwrap(),
        PackageState::Ready
    );
    let (outputs, _) = run(&shelf, &folder, "own");
    assert!(
        fs::read_to_string(outputs.join("all"))
            .unwrap()
            .starts_with("1\n2\n3\n#!/bin/sh")
    );
}

fn blob(entries: &mut Vec<(String, Vec<u8>)>, content: Vec<u8>) -> serde_json::Value {
    let digest: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    let described = serde_json::json!({"digest": format!("sha256:{digest}"), "size": content.len()});
    entries.push((format!("image/blobs/sha256/{digest}"), content));
    described
}

/// A package with an image of two layers, of which the second hides parts of the first.
fn image(tamper: bool) -> Vec<u8> {
    let mut files = Vec::new();
    let busybox = fs::read("/bin/busybox").unwrap();
    let first = tar(&[
        Entry::File("bin/busybox", &busybox),
        Entry::Link("bin/sh", "/bin/busybox"),
        Entry::File("gone", b"1"),
        Entry::File("changed", b"old\n"),
        Entry::File("opaque/old", b"1"),
    ]);
    let second = tar(&[
        Entry::File(".wh.gone", b""),
        Entry::File("changed", b"new\n"),
        Entry::File("opaque/new", b"1"),
        Entry::File("opaque/.wh..wh..opq", b""),
    ]);
    let layers = vec![blob(&mut files, gz(&first)), blob(&mut files, second)];
    let config = br#"{"config": {"Env": ["FROM_IMAGE=yes"]}}"#.to_vec();
    let config = blob(&mut files, config);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    let manifest = blob(&mut files, manifest.into_bytes());
    files.push((
        "image/index.json".into(),
        serde_json::json!({"manifests": [manifest]}).to_string().into_bytes(),
    ));
    files.push((
        "image/oci-layout".into(),
        br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec(),
    ));
    let command = "/bin/busybox ls / > all; /bin/busybox ls /opaque >> all; /bin/busybox cat /changed >> all; echo $FROM_IMAGE >> all";
    let own = serde_json::json!({"name": "I", "version": "1", "command": command, "image": "image"}).to_string();
    files.push(("pipeline.json".into(), own.into_bytes()));
    if tamper {
        files[1].1[600] ^= 1;
    }
    tar(&files
        .iter()
        .map(|(name, content)| Entry::File(name, content))
        .collect::<Vec<_>>())
}

#[test]
fn an_oci_image_is_unpacked_with_its_whiteouts_and_its_digests_are_checked() {
    let folder = scratch("oci");
    let shelf = Shelf::open(&folder.join("shelf"), Bounds::default()).unwrap();
    assert_eq!(
        install(&shelf, &folder, "image", &image(false)).unwrap(),
        PackageState::Ready
    );
    let (outputs, _) = run(&shelf, &folder, "image");
    let all = fs::read_to_string(outputs.join("all")).unwrap();
    let words: Vec<&str> = all.split_whitespace().collect();
    assert!(
        !words.contains(&"gone") && !words.contains(&"old") && words.contains(&"new"),
        "{all}"
    );
    assert!(all.ends_with("new\nnew\nyes\n"), "{all}");
    let refused = install(&shelf, &folder, "tampered", &image(true));
    assert!(
        matches!(&refused, Err(PackageError::Corrupt(cause)) if cause.contains("digest")),
        "{refused:?}"
    );
}

#[test]
fn an_installation_that_was_cut_is_done_again() {
    let folder = scratch("again");
    let shelf = Shelf::open(&folder.join("shelf"), Bounds::default()).unwrap();
    let file = folder.join("x.tar");
    fs::write(&file, tar(&[Entry::File("pipeline.json", MANIFEST)])).unwrap();
    shelf.take(&file, "x.tar", "x", epoch(), false).unwrap();
    fs::create_dir_all(folder.join("shelf/.staging/x/content")).unwrap();
    drop(shelf);
    let shelf = Shelf::open(&folder.join("shelf"), Bounds::default()).unwrap();
    assert_eq!(shelf.unfinished().unwrap(), ["x"]);
    assert_eq!(shelf.install("x").unwrap().state, PackageState::Ready);
}
