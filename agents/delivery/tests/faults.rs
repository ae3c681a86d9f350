//! Transfers that are cut, truncated, flipped, repeated; disks that are full; and input that nobody should take.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use alidade_delivery::{
    manifest::{self, Manifest},
    products::Folders,
    recipes::Mock,
    replica::{self, Cached, PullError},
    review::Verdict,
    scrub::{self, Scrubbed},
    transfer::{Rsync, Transfer, TransferError},
};
use alidade_model::states::UnitState;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{HOME, Observatory, content, states};

const SURE: Mock = Mock {
    fails_one_in: 0,
    seed: 1,
    lasts_s: (0.0, 0.0),
};

/// A way that copies like rsync and then does harm, by turns.
struct Faulty {
    dice: AtomicU64,
    faults: Arc<AtomicU64>,
    /// How many of each ten transfers go wrong.
    of_ten: u64,
}

impl Faulty {
    fn random(&self) -> u64 {
        // Marsaglia's xorshift64.
        let mut seed = self.dice.load(Ordering::Relaxed);
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.dice.store(seed, Ordering::Relaxed);
        seed >> 20
    }

    /// A plain copy: what is there with the same size and time stays, as with rsync.
    fn copy(from: &Path, to: &Path, landed: &mut dyn FnMut(&str), most: usize) -> Result<(), TransferError> {
        let missing = |_| TransferError::Missing(from.display().to_string());
        if from.is_file() {
            fs::copy(from, to.join(from.file_name().unwrap())).map_err(missing)?;
            return Ok(());
        }
        let files = manifest::files_below(from).map_err(|_| TransferError::Missing(from.display().to_string()))?;
        for path in files.iter().take(most) {
            let target = to.join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            let look = |p: &Path| fs::metadata(p).ok().map(|m| (m.len(), m.modified().unwrap()));
            if look(&target).is_none() || look(&target) != look(&from.join(path)) {
                fs::copy(from.join(path), &target).unwrap();
                let time = fs::metadata(from.join(path)).unwrap().modified().unwrap();
                fs::File::options()
                    .append(true)
                    .open(&target)
                    .unwrap()
                    .set_modified(time)
                    .unwrap();
            }
            landed(path);
        }
        Ok(())
    }

    fn harm(&self, to: &Path, how: u64) {
        let files = manifest::files_below(to).unwrap();
        if files.is_empty() {
            return;
        }
        let path = to.join(&files[self.random() as usize % files.len()]);
        let mut bytes = fs::read(&path).unwrap();
        match how {
            0 => bytes.truncate(bytes.len() / 2),
            1 => {
                let place = self.random() as usize % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (self.random() % 8);
                }
            }
            _ => bytes.clear(),
        }
        rewrite(&path, &bytes);
    }
}

/// Writes a file anew that keeps the time it had.
fn rewrite(path: &Path, bytes: &[u8]) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

impl Transfer for Faulty {
    fn pull(&self, from: &str, to: &Path, landed: &mut dyn FnMut(&str)) -> Result<(), TransferError> {
        let from = Path::new(from.trim_end_matches('/'));
        let dice = self.random();
        if dice % 10 >= self.of_ten {
            return Self::copy(from, to, landed, usize::MAX);
        }
        self.faults.fetch_add(1, Ordering::Relaxed);
        match self.random() % 6 {
            0 => {
                Self::copy(from, to, landed, 3)?;
                Err(TransferError::Cut("killed".into()))
            }
            1 => {
                Self::copy(from, to, landed, 5)?;
                Err(TransferError::NoSpace(to.display().to_string()))
            }
            how @ 2..=4 => {
                Self::copy(from, to, landed, usize::MAX)?;
                self.harm(to, how - 2);
                Ok(())
            }
            _ => {
                fs::write(to.join("stranger"), b"x").unwrap();
                Self::copy(from, to, landed, usize::MAX)
            }
        }
    }
}

/// Injected faults; the measurement takes a thousand.
fn wanted_faults() -> u64 {
    std::env::var("ALIDADE_FAULTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60)
}

#[test]
fn under_many_transfer_faults_no_byte_is_lost_and_nobody_sees_an_unverified_group() {
    let faults = Arc::new(AtomicU64::new(0));
    let count = faults.clone();
    let mut observatory = Observatory::with(&["EA", "EU", "JAO"], SURE, move |name| {
        Arc::new(Faulty {
            dice: AtomicU64::new(0x9E37_79B9 + name.len() as u64 * 7919 + u64::from(name.as_bytes()[0])),
            faults: count.clone(),
            of_ten: 4,
        })
    });
    let (mut units, mut known) = (0, BTreeSet::new());
    while faults.load(Ordering::Relaxed) < wanted_faults() {
        for exec in ["EA", "EU"] {
            let uid = format!("uid://X1/X1/X{units}");
            observatory.at(HOME).launch(&uid, "PipelineImaging", exec);
            units += 1;
        }
        for round in 0..60 {
            observatory.carry(&[]);
            // The same again, and in another order: what has been taken is not taken twice.
            observatory.carry(&[]);
            for name in if round % 2 == 0 {
                ["EA", "EU", "JAO"]
            } else {
                ["JAO", "EU", "EA"]
            } {
                observatory.at(name).settle();
            }
            if round % 4 == 0 {
                whole(&observatory, &mut known);
            }
            let waiting: Vec<String> = states(observatory.at(HOME))
                .into_iter()
                .filter(|(_, state)| *state == UnitState::ReadyForReview)
                .map(|(uid, _)| uid)
                .collect();
            for uid in waiting {
                observatory.at(HOME).review(&uid, Verdict::Pass);
            }
            observatory.advance(301);
            if states(observatory.at(HOME))
                .values()
                .all(|s| *s == UnitState::Delivered)
            {
                break;
            }
        }
        whole(&observatory, &mut known);
        // What is settled at both ends is not needed any more.
        for name in ["EA", "EU", "JAO"] {
            observatory
                .at(name)
                .desk(|desk| desk.books.forget_messages(desk.now).unwrap());
        }
    }
    observatory.advance(301);
    observatory.settle();
    whole(&observatory, &mut BTreeSet::new());
    let log = observatory.at(HOME).log();
    assert!(
        states(observatory.at(HOME))
            .values()
            .all(|s| *s == UnitState::Delivered),
        "{log}"
    );
    assert_eq!(observatory.at(HOME).records("archive").len(), units * 6);
    let at_home = content(&observatory.cache(HOME));
    for site in ["EA", "EU"] {
        for (path, sum) in content(&observatory.cache(site)) {
            assert_eq!(at_home.get(&path), Some(&sum), "{site}: {path}");
        }
    }
    assert!(
        log.contains("mismatch") || log.contains("bytes, not"),
        "corruption was found: {log}"
    );
}

/// Every group that can be seen and is not among those looked at already is whole.
fn whole(observatory: &Observatory, known: &mut BTreeSet<PathBuf>) {
    for site in ["EA", "EU", "JAO"] {
        for entry in fs::read_dir(observatory.cache(site)).unwrap() {
            let path = entry.unwrap().path();
            if !known.insert(path.clone()) {
                continue;
            }
            if path.join(manifest::NAME).exists() {
                let digest = manifest::sha256(&fs::read(path.join(manifest::NAME)).unwrap());
                manifest::verify(&path, &digest, &|_| false, &mut |_| ()).unwrap();
            } else {
                assert!(path.ends_with("weblogs"), "{} is half a group", path.display());
            }
        }
    }
}

fn processed() -> (Observatory, String) {
    let mut observatory = Observatory::new(&["EU", "JAO"], SURE);
    observatory.at(HOME).launch("uid://X1/X1/Xb2", "PipelineImaging", "EU");
    observatory.settle();
    let replica = observatory
        .at(HOME)
        .records("replica")
        .into_iter()
        .find(|r| r.id.starts_with("JAO/2015"));
    (observatory, replica.unwrap().body["name"].as_str().unwrap().to_owned())
}

#[test]
fn rot_in_a_replica_is_found_by_the_scrubber_and_repaired_from_a_good_copy() {
    let (mut observatory, name) = processed();
    let group = observatory.cache(HOME).join(&name);
    let before = content(&group);
    let victim = before.keys().find(|path| path.contains("product-3")).unwrap();
    let path = group.join(victim);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    rewrite(&path, &bytes);
    observatory.advance(8 * 86_400);
    let site = observatory.at(HOME);
    let (mut bad, mut read) = (Vec::new(), 0);
    loop {
        let scrubbed = scrub::one(&site.station, &mut site.ledger, &mut |bytes| read += bytes).unwrap();
        match scrubbed {
            Scrubbed::Nothing => break,
            Scrubbed::Good(_) => {}
            Scrubbed::Bad(name, cause) => {
                assert!(cause.contains("checksum mismatch"), "{cause}");
                bad.push(name);
            }
        }
    }
    assert_eq!(bad, [name.as_str()]);
    assert!(read > 20_000, "the pace is told what is read");
    observatory.settle();
    assert_eq!(content(&group), before, "repaired from EU");
    let replicas = observatory.at(HOME).records("replica");
    assert!(replicas.iter().all(|r| r.state == "available"), "{replicas:?}");
}

#[test]
fn nothing_is_evicted_before_it_is_delivered_and_enough_copies_are_verified() {
    let (mut observatory, name) = processed();
    let evict = |observatory: &mut Observatory, site: &str, wanted: usize| {
        observatory
            .at(site)
            .desk(|desk| alidade_delivery::evict::ask(desk, &name, wanted, "test", None).unwrap());
        observatory.settle();
        observatory.cache(site).join(&name).exists()
    };
    assert!(evict(&mut observatory, "EU", 1), "its unit is not delivered");
    observatory.at(HOME).review("uid://X1/X1/Xb2", Verdict::Pass);
    observatory.settle();
    assert!(evict(&mut observatory, "EU", 2), "there is only one other copy");
    assert!(evict(&mut observatory, "EU", 0), "one copy must always stay");
    assert!(!evict(&mut observatory, "EU", 1));
    assert!(evict(&mut observatory, HOME, 1), "it is the last copy now");
    let log = observatory.at(HOME).log();
    assert!(
        log.contains("not delivered yet") && log.contains("2 are wanted"),
        "{log}"
    );
}

#[test]
fn an_interrupted_transfer_goes_on_and_a_missing_source_is_told() {
    let folder = support::Folder::new();
    let (from, to) = (folder.0.join("from"), folder.0.join("to"));
    fs::create_dir_all(&from).unwrap();
    fs::create_dir_all(&to).unwrap();
    for index in 0..4 {
        fs::write(from.join(format!("f{index}")), vec![index; 100_000]).unwrap();
    }
    let rsync = Rsync::default();
    let source = format!("{}/", from.display());
    let mut landed = Vec::new();
    rsync
        .pull(&source, &to, &mut |name| landed.push(name.to_owned()))
        .unwrap();
    assert_eq!(landed.len(), 4, "{landed:?}");
    fs::remove_file(to.join("f2")).unwrap();
    landed.clear();
    rsync
        .pull(&source, &to, &mut |name| landed.push(name.to_owned()))
        .unwrap();
    assert_eq!(landed, ["f2"], "only what is missing comes again");
    let missing = rsync.pull(&folder.0.join("nowhere").display().to_string(), &to, &mut |_| ());
    assert!(matches!(missing, Err(TransferError::Missing(_))), "{missing:?}");
    let none = Rsync {
        program: "no-such-rsync".into(),
        ..Rsync::default()
    };
    assert!(matches!(
        none.pull(&source, &to, &mut |_| ()),
        Err(TransferError::Cut(_))
    ));
}

#[test]
fn a_file_that_changes_after_it_has_landed_is_not_taken_for_the_one_that_was_read() {
    /// Copies and says so; so many milliseconds later a bit falls over, and neither size nor time tell.
    struct Flipping(u64);
    impl Transfer for Flipping {
        fn pull(&self, from: &str, to: &Path, landed: &mut dyn FnMut(&str)) -> Result<(), TransferError> {
            Faulty::copy(Path::new(from.trim_end_matches('/')), to, landed, usize::MAX)?;
            std::thread::park_timeout(Duration::from_millis(self.0));
            let mut bytes = fs::read(to.join("f1")).unwrap();
            bytes[5] ^= 4;
            rewrite(&to.join("f1"), &bytes);
            Ok(())
        }
    }
    let folder = support::Folder::new();
    let group = folder.0.join("from/cache/g");
    fs::create_dir_all(&group).unwrap();
    for index in 0..3 {
        fs::write(group.join(format!("f{index}")), vec![index; 1000]).unwrap();
    }
    let digest = Manifest::of(&group, "g", "u", "r").unwrap().write(&group).unwrap();
    let cached = Cached {
        file_type: "productsdir".into(),
        cached_at: "OHP".into(),
        name: "g".into(),
        digest,
        bytes: 0,
        unit: "u".into(),
    };
    let folders = Folders::at(&folder.0.join("to"));
    folders.make().unwrap();
    let from = folder.0.join("from").display().to_string();
    for wait_ms in [0, 3, 15, 25, 40, 100] {
        let pulled = replica::pull(&Flipping(wait_ms), &from, &cached, &folders);
        assert!(
            matches!(&pulled, Err(PullError::Unsound(unsound)) if unsound.is_corruption()),
            "after {wait_ms} ms: {pulled:?}"
        );
        assert!(!folders.cache().join("g").exists());
    }
    replica::pull(&Rsync::default(), &from, &cached, &folders).unwrap();
    assert_eq!(fs::read(folders.cache().join("g/f1")).unwrap(), vec![1; 1000]);
}

#[test]
fn a_remote_shell_carries_the_files_as_ssh_would() {
    use std::os::unix::fs::PermissionsExt;
    let folder = support::Folder::new();
    let (from, to, shell) = (folder.0.join("from"), folder.0.join("to"), folder.0.join("shell"));
    fs::create_dir_all(&from).unwrap();
    fs::create_dir_all(&to).unwrap();
    fs::write(from.join("a"), b"abc").unwrap();
    // Drops the host, runs the command here: what ssh does on a machine of its own.
    fs::write(
        &shell,
        "#!/bin/sh\n[ \"$1\" = -l ] && shift 2\nshift\nexec sh -c \"$*\"\n",
    )
    .unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let rsync = Rsync {
        remote_shell: Some(shell.display().to_string()),
        ..Rsync::default()
    };
    rsync
        .pull(&format!("astro@far:{}/", from.display()), &to, &mut |_| ())
        .unwrap();
    assert_eq!(fs::read(to.join("a")).unwrap(), b"abc");
}

#[test]
fn a_full_disk_is_told_and_the_transfer_is_tried_again() {
    struct Full(AtomicU64);
    impl Transfer for Full {
        fn pull(&self, from: &str, to: &Path, landed: &mut dyn FnMut(&str)) -> Result<(), TransferError> {
            if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
                return Err(TransferError::NoSpace(to.display().to_string()));
            }
            Rsync::default().pull(from, to, landed)
        }
    }
    let mut observatory = Observatory::with(&["EU", "JAO"], SURE, |_| Arc::new(Full(AtomicU64::new(0))));
    observatory.at(HOME).launch("uid://X1/X1/Xb2", "PipelineImaging", "EU");
    observatory.settle();
    assert!(observatory.at(HOME).log().contains("no space left"));
    assert!(
        content(&observatory.cache(HOME))
            .keys()
            .all(|path| !path.starts_with("2015"))
    );
    for _ in 0..4 {
        observatory.advance(301);
        observatory.settle();
    }
    assert!(
        content(&observatory.cache(HOME))
            .keys()
            .any(|path| path.starts_with("2015"))
    );
}

#[test]
fn bad_messages_are_refused_journaled_and_do_nothing() {
    let (mut observatory, name) = processed();
    let home = observatory.at(HOME);
    let report = |text: &[u8]| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        json!({ "ousUID": "uid://X1/X1/Xb2", "source": "EU", "report": STANDARD.encode(text),
            "timestamp": "2018-07-19T08:50:10.228", "productsDir": "2015.1.00657.S_x" })
    };
    let digest = "0".repeat(64);
    let cached =
        |kind: &str, at: &str, name: &str| json!({ "fileType": kind, "cachedAt": at, "name": name, "digest": digest });
    let cases = [
        (
            "xtss",
            json!({ "operation": "set-state", "ousUID": "uid://none", "value": "Processing" }),
            "is unknown",
        ),
        (
            "xtss",
            json!({ "operation": "set-state", "ousUID": "uid://X1/X1/Xb2", "value": "Delivered" }),
            "cannot go from",
        ),
        (
            "xtss",
            json!({ "operation": "set-exec", "ousUID": "uid://X1/X1/Xb2", "value": "MARS" }),
            "not one of",
        ),
        (
            "xtss",
            json!({ "operation": "frobnicate", "ousUID": "uid://X1/X1/Xb2" }),
            "Unsupported operation",
        ),
        ("xtss", json!("hello"), "not a request"),
        ("pipeline.report.JAO", report(b"this is no XML"), "not XML"),
        ("pipeline.report.JAO", json!({ "ousUID": "u" }), "not a report"),
        ("cached.JAO", cached("video", "EU", "x"), "fileType video is unknown"),
        ("cached.JAO", cached("weblog", "MARS", "x"), "site MARS is unknown"),
        ("cached.JAO", cached("weblog", "EU", "../x"), "not the name of a file"),
        (
            "ingest.JAO",
            json!({ "ousUID": "uid://none", "productsDir": "x" }),
            "is unknown",
        ),
        (
            "pipeline.process.JAO",
            json!({ "progID": "p", "ousUID": "u", "recipe": "ManualCalibration" }),
            "not for a pipeline",
        ),
        (
            "pipeline.process.JAO",
            json!({ "progID": "p", "ousUID": "u", "recipe": "Magic" }),
            "there is no recipe",
        ),
        (
            "pipeline.process.JAO",
            json!({ "progID": "../p", "ousUID": "u", "recipe": "NoOp" }),
            "not the name",
        ),
        (
            "review.JAO",
            json!({ "ousUID": "uid://X1/X1/Xb2", "verdict": "pass", "reviewer": "eve", "role": "guest" }),
            "may not review",
        ),
        (
            "review.JAO",
            json!({ "ousUID": "uid://X1/X1/Xb2", "verdict": "fail", "reviewer": "ada", "role": "reviewer" }),
            "needs a comment",
        ),
        (
            "evict.JAO",
            json!({ "site": "EU", "name": name, "wanted": 1 }),
            "not delivered yet",
        ),
    ];
    let before = (home.records("report"), home.unit("uid://X1/X1/Xb2"));
    for (selector, body, why) in cases {
        home.send(selector, body.clone());
        home.settle();
        let log = home.books(|b| b.log(2).unwrap());
        assert!(
            log.iter().any(|l| l.text.contains(why)),
            "{selector} {body}: {why} is not in {log:?}"
        );
        assert_eq!(
            (home.records("report"), home.unit("uid://X1/X1/Xb2")),
            before,
            "{selector} {body}"
        );
    }
    assert_eq!(home.unread(), 0);
}

#[test]
fn a_weblog_with_names_that_lead_out_is_given_up_and_nothing_of_it_is_visible() {
    let (mut observatory, _) = processed();
    let weblog = observatory.cache("EU").join("weblogs/weblog-evil.zip");
    alidade_delivery::weblog::pack(&weblog, &[("../../evil.txt".into(), b"x".to_vec())]).unwrap();
    let digest = manifest::sha256(&fs::read(&weblog).unwrap());
    let body = json!({ "fileType": "weblog", "cachedAt": "EU", "name": "weblog-evil.zip", "digest": digest });
    observatory.at(HOME).send("cached.JAO", body);
    observatory.settle();
    let log = observatory.at(HOME).log();
    assert!(log.contains("leads out of the folder"), "{log}");
    assert!(
        content(&observatory.folder.0.join("JAO"))
            .keys()
            .all(|path| !path.contains("evil.txt"))
    );
    assert!(!observatory.cache(HOME).join("weblogs/weblog-evil.zip").exists());
}
