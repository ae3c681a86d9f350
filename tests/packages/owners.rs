//! Uploads, input files, runs of packages and of pipelines belong to accounts, seen over HTTP by several of them.

use super::{Answer, House, OCTETS, base64, until, waiting};
use crate::support::observatory::Observatory;
use serde_json::{Value, json};

const PHRASE: &str = "seven sisters over Chiran";

struct Members {
    house: House,
    root: String,
}

impl Members {
    fn new(name: &str) -> Self {
        let mut observatory = Observatory::new(name);
        observatory.with_pipelines();
        let code = observatory.with_people(false);
        let house = House::of(observatory);
        let mut first = profile("root");
        first["code"] = json!(code);
        assert_eq!(house.post("/api/v1/first-administrator", &first).status, 201);
        let root = log_in(&house, "root");
        Self { house, root }
    }

    /// The cookie of a new member.
    fn member(&self, id: &str, role: &str) -> String {
        assert_eq!(self.house.post("/api/v1/accounts", &profile(id)).status, 202);
        let role = json!({ "role": role });
        let let_in = self.json(&self.root, "POST", &format!("/api/v1/accounts/{id}/validate"), &role);
        assert_eq!(let_in.status, 200, "{let_in:?}");
        log_in(&self.house, id)
    }

    fn json(&self, cookie: &str, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json"), ("Cookie", cookie)];
        self.house.ask(method, path, &headers, body.to_string().as_bytes())
    }

    fn get(&self, cookie: &str, path: &str) -> Answer {
        self.house.ask("GET", path, &[("Cookie", cookie)], b"")
    }

    fn listed(&self, cookie: &str, path: &str, what: &str) -> usize {
        let all: Value = serde_json::from_slice(&self.get(cookie, path).body).unwrap();
        all[what].as_array().unwrap().len()
    }

    fn tus(&self, cookie: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("Cookie", cookie)];
        all.extend_from_slice(headers);
        self.house.tus(method, path, &all, body)
    }

    /// Begins an upload; its address.
    fn begin(&self, cookie: &str, name: &str, length: usize) -> String {
        let (length, meta) = (length.to_string(), format!("filename {}", base64(name.as_bytes())));
        let headers = [("Upload-Length", length.as_str()), ("Upload-Metadata", meta.as_str())];
        let made = self.tus(cookie, "POST", "/api/v1/uploads", &headers, b"");
        assert_eq!(made.status, 201, "{made:?}");
        made.head["location"].clone()
    }
}

fn profile(id: &str) -> Value {
    json!({ "account": id, "name": format!("{id} Example"), "email": format!("{id}@irap.example"), "institute": "IRAP", "password": PHRASE })
}

fn log_in(house: &House, login: &str) -> String {
    let answer = house.post("/api/v1/session", &json!({ "login": login, "password": PHRASE }));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.head["set-cookie"].split(';').next().unwrap().to_owned()
}

#[test]
fn what_an_account_uploads_and_runs_is_there_for_nobody_else_without_the_permission() {
    let members = Members::new("owners");
    let (ada, bob) = (members.member("ada", "observer"), members.member("bob", "observer"));
    let (eve, ops) = (members.member("eve", "expert"), members.member("ops", "operator"));
    // A package is everybody's, and only an expert brings it.
    let content = waiting();
    let at = members.begin(&eve, "waiting.tar.gz", content.len());
    let offset = ("Upload-Offset", "0");
    assert_eq!(members.tus(&eve, "PATCH", &at, &[offset, OCTETS], &content).status, 204);
    assert_eq!(
        members.tus(&eve, "HEAD", &at, &[], b"").status,
        200,
        "it is on the shelf now"
    );
    let package = at.rsplit('/').next().unwrap().to_owned();
    until("it is installed", || {
        let shown = members.get(&bob, &format!("/api/v1/packages/{package}"));
        String::from_utf8_lossy(&shown.body).contains("READY")
    });
    // An upload that is coming is its owner's.
    let at = members.begin(&ada, "image.fits", 6);
    for (who, sees) in [(&bob, 404), (&eve, 404), (&ops, 200), (&ada, 200)] {
        assert_eq!(members.tus(who, "HEAD", &at, &[], b"").status, sees);
    }
    assert_eq!(
        members.tus(&bob, "PATCH", &at, &[offset, OCTETS], b"SIMPLE").status,
        404
    );
    assert_eq!(members.tus(&bob, "DELETE", &at, &[], b"").status, 404);
    let sneaked = [("X-HTTP-Method-Override", "DELETE")];
    assert_eq!(members.tus(&bob, "POST", &at, &sneaked, b"").status, 404);
    assert_eq!(
        members.tus(&ada, "PATCH", &at, &[offset, OCTETS], b"SIMPLE").status,
        204
    );
    assert_eq!(
        members.tus(&bob, "HEAD", &at, &[], b"").status,
        404,
        "also when it has come"
    );
    assert_eq!(members.tus(&ada, "HEAD", &at, &[], b"").head["upload-offset"], "6");
    let file = at.rsplit('/').next().unwrap().to_owned();
    for (who, count) in [(&ada, 1), (&bob, 0), (&eve, 1), (&ops, 1)] {
        assert_eq!(members.listed(who, "/api/v1/package-files", "files"), count);
    }
    let form = |who: &str| {
        let form = members.get(who, &format!("/api/v1/packages/{package}/form?inputs={file}"));
        String::from_utf8_lossy(&form.body).contains("image.fits")
    };
    assert!(form(&ada) && !form(&bob) && !form(""), "its name is not told");
    // A run of it.
    let runs = format!("/api/v1/packages/{package}/runs");
    let wish = json!({ "config": { "image": "image.fits" }, "inputs": [file] });
    assert_eq!(
        members.json(&bob, "POST", &runs, &wish).status,
        404,
        "bob has no such file"
    );
    let begun = members.json(&ada, "POST", &runs, &wish);
    assert_eq!(begun.status, 202, "{begun:?}");
    let run = begun.head["location"].clone();
    for (who, count) in [(&ada, 1), (&bob, 0), (&eve, 1), (&ops, 1), (&String::new(), 0)] {
        assert_eq!(members.listed(who, "/api/v1/package-runs", "runs"), count);
        assert_eq!(members.get(who, &run).status, if count == 1 { 200 } else { 404 });
    }
    for path in ["/log", "/follow", "/outputs/result.json"] {
        assert_eq!(members.get(&bob, &format!("{run}{path}")).status, 404, "{path}");
    }
    assert_eq!(members.get(&eve, &format!("{run}/log")).status, 200);
    for who in [&bob, &eve] {
        assert_eq!(
            members.json(who, "POST", &format!("{run}/stop"), &json!({})).status,
            404
        );
        assert_eq!(members.json(who, "DELETE", &run, &json!({})).status, 404);
    }
    let others = format!("/api/v1/package-files/{file}");
    assert_eq!(members.json(&eve, "DELETE", &others, &json!({})).status, 404);
    assert_eq!(
        members.json(&ops, "POST", &format!("{run}/stop"), &json!({})).status,
        200
    );
    until("it is over", || {
        String::from_utf8_lossy(&members.get(&ada, &run).body).contains("CANCELED")
    });
    assert_eq!(members.json(&ada, "DELETE", &run, &json!({})).status, 204);
    assert_eq!(members.json(&ada, "DELETE", &others, &json!({})).status, 204);
}

#[test]
fn a_run_of_a_pipeline_is_seen_and_ended_by_whom_it_belongs_to_and_those_who_look_after_all() {
    let members = Members::new("run-owners");
    let (ada, bob) = (members.member("ada", "observer"), members.member("bob", "observer"));
    let (eve, ops) = (members.member("eve", "expert"), members.member("ops", "operator"));
    let nobody = String::new();
    let wish = json!({ "pipeline": "measures", "target": "M31" });
    assert!(matches!(
        members.json(&nobody, "POST", "/api/v1/runs", &wish).status,
        401 | 403
    ));
    let begun = members.json(&ada, "POST", "/api/v1/runs", &wish);
    assert_eq!(begun.status, 202, "{begun:?}");
    let run = begun.head["location"].clone();
    for (who, sees) in [
        (&ada, true),
        (&bob, false),
        (&eve, true),
        (&ops, true),
        (&nobody, false),
    ] {
        assert_eq!(members.listed(who, "/api/v1/runs", "runs"), usize::from(sees));
        for path in ["", "/log", "/log/stream"] {
            let answer = members.get(who, &format!("{run}{path}"));
            assert_eq!(answer.status, if sees { 200 } else { 404 }, "{path}");
        }
    }
    let shown: Value = serde_json::from_slice(&members.get(&eve, &run).body).unwrap();
    assert_eq!(shown["run"]["owner"], "ada");
    // By now it has ended: whoever may end it is told so, the others that there is none.
    for (who, status) in [(&bob, 404), (&eve, 404), (&ops, 409), (&ada, 409)] {
        let ended = members.json(who, "POST", &format!("{run}/cancel"), &json!({}));
        assert_eq!(ended.status, status, "{ended:?}");
    }
}
