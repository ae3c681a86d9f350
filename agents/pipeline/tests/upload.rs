//! Uploads below HTTP: offsets, checksums, expiry, concatenation, deaths.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_model::time::UtcTime;
use alidade_pipeline::upload::{Checksum, Concat, UploadError, UploadKind, Uploads, metadata};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf};

fn epoch() -> UtcTime {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn uploads(name: &str) -> (PathBuf, Uploads) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("upload-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    let it = Uploads::open(&folder, 1 << 20, 3600.0).unwrap();
    (folder, it)
}

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum::parse(&format!("sha256 {}", STANDARD.encode(Sha256::digest(bytes)))).unwrap()
}

#[test]
fn a_wrong_offset_changes_nothing() {
    let (_folder, it) = uploads("offset");
    it.create("a", Some(10), "", UploadKind::Whole, epoch()).unwrap();
    let mut session = it.begin("a", 0, None, None, epoch()).unwrap();
    session.write(b"01234").unwrap();
    assert_eq!(session.finish(true).unwrap(), 5);
    let wrong = it.begin("a", 4, None, None, epoch()).unwrap_err();
    assert!(matches!(wrong, UploadError::WrongOffset { have: 5, sent: 4 }) && wrong.status() == 409);
    let mut session = it.begin("a", 5, None, None, epoch()).unwrap();
    assert_eq!(
        session.write(b"567890").unwrap_err().status(),
        413,
        "more than the length"
    );
    session.write(b"56789").unwrap();
    assert_eq!(session.finish(true).unwrap(), 10);
    assert_eq!(fs::read(it.path("a")).unwrap(), b"0123456789");
    assert_eq!(
        it.create("b", Some(1 << 21), "", UploadKind::Whole, epoch())
            .unwrap_err()
            .status(),
        413
    );
    assert_eq!(it.head("../a", epoch()).unwrap_err().status(), 404);
}

#[test]
fn a_piece_with_a_wrong_checksum_or_a_cut_in_it_is_discarded() {
    let (folder, it) = uploads("checksum");
    it.create("a", Some(10), "", UploadKind::Whole, epoch()).unwrap();
    let mut session = it.begin("a", 0, None, Some(sha256(b"01234")), epoch()).unwrap();
    session.write(b"01234").unwrap();
    assert_eq!(session.finish(true).unwrap(), 5);
    let mut session = it.begin("a", 5, None, Some(sha256(b"56789")), epoch()).unwrap();
    session.write(b"5678x").unwrap();
    assert_eq!(session.finish(true).unwrap_err().status(), 460);
    assert_eq!(it.head("a", epoch()).unwrap().1, 5);
    // The daemon dies in mid-piece: its successor does not count what nobody judged.
    let mut session = it.begin("a", 5, None, Some(sha256(b"56789")), epoch()).unwrap();
    session.write(b"567").unwrap();
    drop(session);
    let successor = Uploads::open(&folder, 1 << 20, 3600.0).unwrap();
    assert_eq!(successor.head("a", epoch()).unwrap().1, 5);
    assert_eq!(Checksum::parse("crc32 AAAA").unwrap_err().status(), 400);
}

#[test]
fn who_asks_for_the_offset_ends_the_session_before() {
    let (_folder, it) = uploads("takeover");
    it.create("a", Some(10), "", UploadKind::Whole, epoch()).unwrap();
    let mut dead = it.begin("a", 0, None, None, epoch()).unwrap();
    dead.write(b"012").unwrap();
    assert_eq!(it.head("a", epoch()).unwrap().1, 3);
    assert!(matches!(dead.write(b"3456"), Err(UploadError::Superseded)));
    assert_eq!(it.head("a", epoch()).unwrap().1, 3);
}

#[test]
fn an_upload_expires_and_can_be_terminated() {
    let (folder, it) = uploads("expiry");
    let meta = format!("filename {},empty", STANDARD.encode("../../etc/passwd"));
    let upload = it.create("a", Some(10), &meta, UploadKind::Whole, epoch()).unwrap();
    assert_eq!(
        (upload.file_name().as_str(), upload.metadata["empty"].as_str()),
        ("passwd", "")
    );
    let late = epoch().plus_seconds(4000.0);
    assert_eq!(it.head("a", late).unwrap_err().status(), 410);
    assert!(it.sweep(late).unwrap().is_empty());
    assert_eq!(it.head("a", late).unwrap_err().status(), 404);
    it.create("b", None, "", UploadKind::Whole, epoch()).unwrap();
    it.terminate("b", epoch()).unwrap();
    assert_eq!(it.head("b", epoch()).unwrap_err().status(), 404);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    assert!(metadata("key not-base64!").is_err() && metadata("k aGk=,k aGk=").is_err());
}

#[test]
fn parts_are_joined_when_all_are_complete() {
    let (_folder, it) = uploads("parts");
    for (id, text) in [("p", b"abc"), ("q", b"def")] {
        it.create(id, Some(3), "", UploadKind::Partial, epoch()).unwrap();
        let mut session = it.begin(id, 0, None, None, epoch()).unwrap();
        if id == "q" {
            let early = it.create(
                "early",
                None,
                "",
                UploadKind::Final(vec!["p".into(), "q".into()]),
                epoch(),
            );
            assert!(matches!(early, Err(UploadError::Incomplete)));
            session = it.begin(id, 0, None, None, epoch()).unwrap();
        }
        session.write(text).unwrap();
        session.finish(true).unwrap();
    }
    let Concat::Final(parts) = Concat::parse("final;/api/v1/uploads/q http://h/api/v1/uploads/p").unwrap() else {
        panic!();
    };
    it.create("whole", None, "", UploadKind::Final(parts), epoch()).unwrap();
    assert_eq!(fs::read(it.path("whole")).unwrap(), b"defabc");
    assert_eq!(it.begin("whole", 6, None, None, epoch()).unwrap_err().status(), 403);
}

#[test]
fn a_whole_file_is_held_against_its_own_checksum() {
    let (_folder, it) = uploads("whole");
    let meta = format!("sha256 {}", STANDARD.encode("00".repeat(32)));
    let upload = it.create("a", Some(0), &meta, UploadKind::Whole, epoch()).unwrap();
    assert_eq!(it.judge_whole(&upload).unwrap_err().status(), 460);
    assert_eq!(it.head("a", epoch()).unwrap_err().status(), 404);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Cut anywhere, with and without checksums, the daemon replaced each time: the file is the file.
    #[test]
    fn any_sequence_of_cuts_ends_in_the_same_file(cuts in prop::collection::vec((1_usize..400, any::<bool>(), any::<bool>()), 1..40), seed in any::<u8>()) {
        let content: Vec<u8> = (0..2000_u32).map(|n| (n.wrapping_mul(31) as u8) ^ seed).collect();
        let (folder, it) = uploads("cuts");
        it.create("a", Some(2000), "", UploadKind::Whole, epoch()).unwrap();
        let mut cuts = cuts.into_iter().cycle();
        let mut turns = 0;
        loop {
            let it = Uploads::open(&folder, 1 << 20, 3600.0).unwrap();
            let (_, offset) = it.head("a", epoch()).unwrap();
            let from = usize::try_from(offset).unwrap();
            if from == content.len() {
                break;
            }
            turns += 1;
            let (count, checked, dies) = if turns > 200 { (400, false, false) } else { cuts.next().unwrap() };
            let piece = &content[from..content.len().min(from + count)];
            let mut session = it.begin("a", offset, None, checked.then(|| sha256(piece)), epoch()).unwrap();
            session.write(&piece[..piece.len() / 2]).unwrap();
            if dies {
                continue;
            }
            session.write(&piece[piece.len() / 2..]).unwrap();
            session.finish(true).unwrap();
        }
        prop_assert_eq!(fs::read(it.path("a")).unwrap(), content);
    }
}
