//! Packages over HTTP: uploads by the protocol and by its reference clients, installation, runs, logs.

mod clients;
mod command_line;
mod owners;

use crate::support::{browser, observatory::Observatory};
use alidade::{
    daemon::packages::{self, DrivenDesk},
    gateway::http::{HttpHandle, serve},
    store::{Durability, OpenOptions, Store},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// A gateway with a driven desk on a database of its own.
struct House {
    addr: SocketAddr,
    _gateway: HttpHandle,
    desk: DrivenDesk,
    observatory: Observatory,
}

impl House {
    fn new(name: &str) -> Self {
        Self::of(Observatory::new(name))
    }

    fn of(observatory: Observatory) -> Self {
        let database = format!("sqlite:{}", observatory.folder.join("runs.sqlite").display());
        drop(
            Store::open(
                &database,
                OpenOptions {
                    migrate: true,
                    durability: Durability::Relaxed,
                },
            )
            .unwrap(),
        );
        let desk = packages::open(&observatory.folder, &database, &["bubblewrap".into()]).unwrap();
        let mut ports = observatory.ports();
        ports.packages = Some(desk.desks.clone());
        let gateway = serve(SocketAddr::from(([127, 0, 0, 1], 0)), ports).unwrap();
        Self {
            addr: gateway.addr,
            _gateway: gateway,
            desk,
            observatory,
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(self.addr, method, path, headers, body)
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.ask("GET", path, &[], b"").body).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// A request of the protocol.
    fn tus(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("Tus-Resumable", "1.0.0")];
        all.extend_from_slice(headers);
        self.ask(method, path, &all, body)
    }

    /// Sends a whole file in one request; its identifier.
    fn send(&self, name: &str, content: &[u8]) -> String {
        let (length, meta) = (
            content.len().to_string(),
            format!("filename {}", base64(name.as_bytes())),
        );
        let made = self.tus(
            "POST",
            "/api/v1/uploads",
            &[
                ("Upload-Length", &length),
                ("Upload-Metadata", &meta),
                ("Content-Type", "application/offset+octet-stream"),
            ],
            content,
        );
        assert_eq!(
            (made.status, made.head["upload-offset"].as_str()),
            (201, length.as_str()),
            "{made:?}"
        );
        made.head["location"].rsplit('/').next().unwrap().to_owned()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    headers
        .iter()
        .for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let end = text.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let head = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
        .collect();
    Answer {
        status,
        head,
        body: text[end + 4..].to_vec(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |word, &b| word << 8 | usize::from(b));
        for place in 0..4 {
            let digit = if place <= three.len() {
                DIGITS[word >> (18 - 6 * place) & 63]
            } else {
                b'='
            };
            out.push(char::from(digit));
        }
    }
    out
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

const OCTETS: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

#[test]
fn uploads_obey_the_protocol() {
    let house = House::new("tus");
    let options = house.ask("OPTIONS", "/api/v1/uploads", &[], b"");
    assert_eq!((options.status, options.head["tus-version"].as_str()), (204, "1.0.0"));
    assert!(options.head["tus-checksum-algorithm"].contains("sha1") && options.head.contains_key("tus-max-size"));
    for extension in ["creation", "checksum", "expiration", "termination", "concatenation"] {
        assert!(
            options.head["tus-extension"].split(',').any(|e| e == extension),
            "{extension}"
        );
    }
    let length = [("Upload-Length", "10")];
    let wrong = house.ask("POST", "/api/v1/uploads", &[("Tus-Resumable", "0.2.2"), length[0]], b"");
    assert_eq!((wrong.status, wrong.head["tus-version"].as_str()), (412, "1.0.0"));
    assert_eq!(house.tus("POST", "/api/v1/uploads", &[], b"").status, 400);
    assert_eq!(
        house
            .tus("POST", "/api/v1/uploads", &[("Upload-Defer-Length", "2")], b"")
            .status,
        400
    );
    assert_eq!(
        house
            .tus("POST", "/api/v1/uploads", &[("Upload-Length", "99999999999999")], b"")
            .status,
        413
    );
    let meta = format!("filename {},purpose {}", base64(b"x.bin"), base64(b"input"));
    let made = house.tus(
        "POST",
        "/api/v1/uploads/",
        &[length[0], ("Upload-Metadata", &meta)],
        b"",
    );
    assert!(made.status == 201 && made.head["upload-expires"].ends_with("GMT"));
    let at = made.head["location"].as_str();
    let patch = |offset: &str, more: &[(&str, &str)], body: &[u8]| {
        let mut headers = vec![("Upload-Offset", offset)];
        headers.extend_from_slice(more);
        house.tus("PATCH", at, &headers, body).status
    };
    let offset = || house.tus("HEAD", at, &[], b"").head["upload-offset"].clone();
    assert_eq!(patch("0", &[("Content-Type", "text/plain")], b"01234"), 415);
    assert_eq!(patch("3", &[OCTETS], b"01234"), 409);
    assert_eq!(patch("0", &[OCTETS, ("Upload-Checksum", "crc32 AAAA")], b"01234"), 400);
    assert_eq!(
        patch(
            "0",
            &[OCTETS, ("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")],
            b"01234"
        ),
        460
    );
    assert_eq!(offset(), "0");
    let right = format!("sha256 {}", base64(&Sha256::digest(b"01234")));
    assert_eq!(patch("0", &[OCTETS, ("Upload-Checksum", &right)], b"01234"), 204);
    let head = house.tus("HEAD", at, &[], b"");
    assert_eq!(
        (
            head.status,
            head.head["upload-length"].as_str(),
            head.head["upload-metadata"].as_str()
        ),
        (200, "10", meta.as_str())
    );
    assert_eq!(head.head["cache-control"], "no-store");
    // The line is cut in the middle of a body: what came counts. A line that ends before its request has begun to be
    // read leaves nothing, which is no fault: as a client would, ask how far it came and go on from there.
    let counts = (0..20).any(|_| {
        let mut cut = TcpStream::connect(house.addr).unwrap();
        let text = format!(
            "PATCH {at} HTTP/1.1\r\nHost: {}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 5\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n\r\n567",
            house.addr
        );
        cut.write_all(text.as_bytes()).unwrap();
        drop(cut);
        (0..100).any(|_| {
            thread::park_timeout(Duration::from_millis(10));
            offset() == "8"
        })
    });
    assert!(counts, "what came of a cut body counts");
    assert_eq!(patch("8", &[OCTETS], b"8901234"), 413);
    let over = house.tus(
        "POST",
        at,
        &[("X-HTTP-Method-Override", "PATCH"), ("Upload-Offset", "8"), OCTETS],
        b"89",
    );
    assert_eq!((over.status, over.head["upload-offset"].as_str()), (204, "10"));
    assert_eq!(offset(), "10", "also when the file has gone to its place");
    let file = house.get("/api/v1/package-files")["files"][0].clone();
    assert_eq!(
        (file["name"].as_str(), file["size"].as_u64()),
        (Some("x.bin"), Some(10))
    );
    let made = house.tus("POST", "/api/v1/uploads", &length, b"");
    let gone = made.head["location"].as_str();
    assert_eq!(house.tus("DELETE", gone, &[], b"").status, 204);
    assert_eq!(house.tus("HEAD", gone, &[], b"").status, 404);
    let foreign = house.tus(
        "POST",
        "/api/v1/uploads",
        &[length[0], ("Origin", "http://evil.example")],
        b"",
    );
    assert_eq!(foreign.status, 403);
}

/// A tar archive.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("alidade-archive-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    files
        .iter()
        .for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    let made = Command::new("tar")
        .arg("-C")
        .arg(&folder)
        .args(["-czf", "-", "."])
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    made.stdout
}

const FORM: &str = r#"{"type": "object", "required": ["threshold"], "properties": {
    "threshold": {"type": "integer", "title": "Threshold", "description": "in sigma", "minimum": 1, "maximum": 20, "default": 5},
    "image": {"type": "string", "enum": "__PIRUS_INPUT_FILES__", "title": "Image"},
    "mode": {"type": "string", "enum": ["fast", "deep"], "default": "fast"},
    "keep": {"type": "boolean", "default": true}}}"#;

/// A package that tells of itself and waits for a file `go` in its outputs.
fn waiting() -> Vec<u8> {
    let command = "echo begun; echo '{\"progress\":{\"value\":1,\"min\":0,\"max\":4,\"label\":\"measure\"}}' >> $ALIDADE_PROGRESS; \
                   while [ ! -e go ]; do sleep 0.02; done; rm go; echo went on; cp /pipeline/inputs/config.json result.json";
    let manifest = json!({"name": "Waiting", "version": "1.0", "description": "Waits", "command": command});
    archive(&[("pipeline.json", &manifest.to_string()), ("form.json", FORM)])
}

#[test]
fn a_package_is_uploaded_installed_configured_run_and_followed() {
    let house = House::new("packages");
    let id = house.send("waiting.tar.gz", &waiting());
    until("it is installed", || {
        house.get(&format!("/api/v1/packages/{id}"))["status"] == "READY"
    });
    let listed = house.get("/api/v1/packages");
    assert_eq!(
        (listed["packages"][0]["name"].as_str(), listed["executor"].as_str()),
        (Some("Waiting"), Some("bubblewrap"))
    );
    let input = house.send("image.fits", b"SIMPLE");
    let form = house.get(&format!("/api/v1/packages/{id}/form?inputs={input}"));
    assert_eq!(form["properties"]["image"]["enum"], json!(["image.fits"]));
    let runs = format!("/api/v1/packages/{id}/runs");
    let refused = house.post(
        &runs,
        &json!({"config": {"threshold": 21, "image": "other"}, "inputs": [input]}),
    );
    let words = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(
        refused.status == 422 && words.contains("/threshold: 21 is above the maximum 20") && words.contains("/image"),
        "{words}"
    );
    let begun = house.post(
        &runs,
        &json!({"name": "first", "config": {"image": "image.fits"}, "inputs": [input]}),
    );
    assert_eq!(begun.status, 202, "{begun:?}");
    let at = begun.head["location"].clone();
    until("it tells its progress", || {
        house.get(&at)["progress"]["label"] == "measure"
    });
    let run = house.get(&at);
    for field in [
        "pipe_id", "name", "config", "start", "end", "status", "inputs", "outputs", "progress",
    ] {
        assert!(run.get(field).is_some(), "{field}");
    }
    assert_eq!(
        (run["status"].as_str(), run["config"]["threshold"].as_i64()),
        (Some("RUNNING"), Some(5))
    );
    assert_eq!(house.post(&format!("{at}/pause"), &json!({})).status, 200);
    assert_eq!(house.get(&at)["status"], "PAUSE");
    assert_eq!(house.post(&format!("{at}/pause"), &json!({})).status, 409);
    assert_eq!(house.post(&format!("{at}/play"), &json!({})).status, 200);
    let name = at.rsplit('/').next().unwrap();
    std::fs::write(
        house.observatory.folder.join(format!("runs/{name}/attempt/outputs/go")),
        "",
    )
    .unwrap();
    // Followed to its end: the stream ends with the run.
    let followed = String::from_utf8(house.ask("GET", &format!("{at}/follow"), &[], b"").body).unwrap();
    assert!(
        followed.contains("begun") && followed.contains("went on") && followed.contains("\"status\":\"DONE\""),
        "{followed}"
    );
    let log = house.get(&format!("{at}/log?from=6"));
    assert_eq!(
        (log["text"].as_str(), log["over"].as_bool()),
        (Some("went on\n"), Some(true))
    );
    let result = house.get(&format!("{at}/outputs/result.json"));
    assert_eq!(
        result["job"],
        json!({"image": "image.fits", "threshold": 5, "mode": "fast", "keep": true})
    );
    assert_eq!(
        house
            .ask("GET", &format!("{at}/outputs/..%2Fattempt%2Fconfig.json"), &[], b"")
            .status,
        404
    );
    // A hostile archive says why it is in error.
    let bad = house.send("bad.tar.gz", &archive(&[("readme", "")]));
    until("it is refused", || {
        house.get(&format!("/api/v1/packages/{bad}"))["status"] == "ERROR"
    });
    assert!(
        house.get(&format!("/api/v1/packages/{bad}"))["cause"]
            .as_str()
            .unwrap()
            .contains("no manifest")
    );
    assert_eq!(
        house.ask("DELETE", &format!("/api/v1/packages/{bad}"), &[], b"").status,
        204
    );
    let database = format!("sqlite:{}", house.observatory.folder.join("runs.sqlite").display());
    let mut store = Store::open(
        &database,
        OpenOptions {
            migrate: false,
            durability: Durability::Relaxed,
        },
    )
    .unwrap();
    let kept = alidade_pipeline::packages::RunBook::all(&mut store).unwrap();
    assert_eq!((kept.len(), kept[0].outputs.len()), (1, 1));
    assert!(house.desk.desks.desk.version() > 0);
}

#[test]
fn the_page_of_the_packages_uploads_configures_runs_and_follows() {
    let house = House::new("browser-packages");
    let file = house.observatory.folder.join("waiting.tar.gz");
    std::fs::write(&file, waiting()).unwrap();
    std::fs::write(house.observatory.folder.join("image.fits"), vec![b' '; 9_000_000]).unwrap();
    let folder = house.observatory.folder.display().to_string();
    let printed = browser::run("packages.mjs", &format!("http://{}", house.addr), |word| match word {
        "folder" => std::fs::write(browser::artefacts().join("packages-folder"), &folder).unwrap(),
        "go" => {
            let run = house.get("/api/v1/package-runs")["runs"][0]["id"]
                .as_str()
                .unwrap()
                .to_owned();
            std::fs::write(
                house.observatory.folder.join(format!("runs/{run}/attempt/outputs/go")),
                "",
            )
            .unwrap();
        }
        other => panic!("the script asks for {other:?}"),
    });
    assert!(printed.contains("passed "), "{printed}");
}
