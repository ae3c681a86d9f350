//! The archive in a bucket, on a server that speaks S3 (moto, Apache-2.0), from single documents to a delivered unit.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[path = "../../../drivers/tests/support/ports.rs"]
mod ports;
mod support;

use alidade_delivery::{
    archive::{Archive, ArchiveError, S3Archive, S3Spec},
    manifest,
    recipes::Mock,
    review::Verdict,
};
use alidade_model::states::UnitState;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use support::{Folder, HOME, Observatory};

const BUCKET: &str = "alidade";

/// A server of its own, ended with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Peers of drivers/tests/peers/requirements.txt, as the test command installs them.
    fn start() -> Self {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let program = target.parent().unwrap().join("peers/bin/moto_server");
        assert!(program.exists(), "{}: run `make peers`", program.display());
        let port = ports::free_port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                assert_eq!(server.put("", b"").0, 200);
                return server;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        panic!("the server does not listen");
    }

    /// As another program would do it; this server asks for no signature.
    fn put(&self, name: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "PUT /{BUCKET}/{name} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer.split_whitespace().nth(1).unwrap().parse().unwrap(), answer)
    }

    fn archive(&self, folder: &Path) -> Result<S3Archive, String> {
        let keys = folder.join("keys");
        fs::write(
            &keys,
            "[default]\naws_access_key_id = AKIA\naws_secret_access_key = secret\n",
        )
        .unwrap();
        let spec = S3Spec {
            bucket: BUCKET.into(),
            region: "us-east-1".into(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            prefix: "ohp".into(),
            credentials_file: Some(keys),
        };
        S3Archive::open(&spec, &folder.join("fetched"))
    }
}

#[test]
fn documents_in_a_bucket_are_written_once_read_again_and_fetched_whole() {
    let (server, folder) = (Server::start(), Folder::new());
    let archive = server.archive(&folder.0).unwrap();
    let source = folder.0.join("x");
    // One piece, several pieces, and nothing at all.
    let large: Vec<u8> = (0..20_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for (name, bytes) in [
        ("g/product-0-X1-2018-07-19T07:10:03.781.data", b"abc".to_vec()),
        ("g/large", large),
        ("g/empty", Vec::new()),
    ] {
        fs::write(&source, &bytes).unwrap();
        let sum = manifest::sha256(&bytes);
        assert!(!archive.check(name, &sum).unwrap(), "{name} is not there yet");
        assert!(matches!(archive.path(name), Err(ArchiveError::Io { .. })));
        assert!(archive.put(name, &source, &sum).unwrap(), "{name} is new");
        assert!(!archive.put(name, &source, &sum).unwrap(), "the same again is nothing");
        assert!(archive.check(name, &sum).unwrap());
        assert_eq!(fs::read(archive.path(name).unwrap()).unwrap(), bytes);
    }
    fs::write(&source, b"abd").unwrap();
    let sum = manifest::sha256(b"abd");
    let second = archive.put("g/product-0-X1-2018-07-19T07:10:03.781.data", &source, &sum);
    assert!(matches!(second, Err(ArchiveError::Exists(_))), "{second:?}");
    let wrong = archive.put("g/h", &source, &manifest::sha256(b"x"));
    assert!(matches!(wrong, Err(ArchiveError::Mismatch { .. })), "{wrong:?}");
    assert!(!archive.check("g/h", &sum).unwrap(), "nothing is left of it");
    for bad in ["f", "../f", "g/../f", "/g/f"] {
        assert!(archive.check(bad, &sum).is_err(), "{bad}");
    }
    // Somebody writes over it behind our back.
    assert_eq!(server.put("ohp/g/large", b"rot").0, 200);
    assert!(!archive.check("g/large", &sum).unwrap());
    drop(server);
    let gone = archive.check("g/empty", &sum);
    assert!(
        matches!(gone, Err(ArchiveError::Io { .. })),
        "a server that is gone is no missing document: {gone:?}"
    );
}

#[test]
fn a_unit_is_delivered_to_an_executive_from_a_home_whose_archive_is_a_bucket() {
    let server = Server::start();
    let sure = Mock {
        fails_one_in: 0,
        ..Mock::default()
    };
    let mut observatory = Observatory::new(&["EU", "JAO"], sure);
    let archive = Arc::new(server.archive(&observatory.folder.0).unwrap());
    observatory.at(HOME).station.archive = archive.clone();
    observatory.at(HOME).launch("uid://X1/X1/Xb2", "PipelineImaging", "EU");
    observatory.settle();
    observatory.at(HOME).review("uid://X1/X1/Xb2", Verdict::Pass);
    observatory.settle();
    let log = observatory.at(HOME).log();
    assert_eq!(
        observatory.at(HOME).unit("uid://X1/X1/Xb2").state,
        UnitState::Delivered,
        "{log}"
    );
    let documents = observatory.at(HOME).records("archive");
    assert_eq!(documents.len(), 6);
    for document in documents {
        let sum = document.body["sha256"].as_str().unwrap();
        assert!(archive.check(&document.id, sum).unwrap(), "{}", document.id);
    }
    let folder = observatory.folder.0.clone();
    assert!(fs::read_dir(folder.join("JAO/archive")).unwrap().next().is_none());
    assert_eq!(support::content(&folder.join("EU/archive")).len(), 5);
}

#[test]
fn a_bucket_without_keys_is_refused_with_the_reason() {
    let folder = Folder::new();
    let spec = S3Spec {
        bucket: BUCKET.into(),
        region: "us-east-1".into(),
        endpoint: None,
        prefix: String::new(),
        credentials_file: Some(folder.0.join("none")),
    };
    let refused = S3Archive::open(&spec, &folder.0).unwrap_err();
    assert!(
        refused.contains("bucket alidade") && refused.contains("none"),
        "{refused}"
    );
    fs::write(folder.0.join("none"), "aws_access_key_id = A\n").unwrap();
    let refused = S3Archive::open(&spec, &folder.0).unwrap_err();
    assert!(refused.contains("aws_secret_access_key is missing"), "{refused}");
}
