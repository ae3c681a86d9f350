//! Accounts as their owners see them, over real sockets: first start, sign-up, login, roles, tokens, recovery.

use crate::support::{
    http::{Answer, send},
    observatory::{self, Observatory},
    shots::Shot,
};
use alidade::{
    gateway::{
        command::{CommandReply, GatewayCommand},
        http::{HttpHandle, RouteNeeds, table},
    },
    store::{Durability, OpenOptions, Store},
};
use alidade_accounts::{Permission, Role};
use alidade_model::journal::{Entry, Fact};
use serde_json::{Value, json};
use std::net::SocketAddr;

const PHRASE: &str = "seven sisters over Chiran";

/// A gateway with accounts on a database of its own, where nobody is anybody without saying who they are.
struct House {
    observatory: Observatory,
    http: HttpHandle,
    first_code: String,
}

impl House {
    fn new(name: &str, members_only: bool) -> Self {
        let mut observatory = Observatory::new(name);
        let first_code = observatory.with_people(members_only);
        let http = observatory.serve_anywhere();
        Self {
            observatory,
            http,
            first_code,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.http.addr
    }

    /// As a browser with a session would.
    fn ask(&self, who: &Who, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut headers = Vec::new();
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let cookie;
        let bearer;
        match who {
            Who::Nobody => {}
            Who::Session(secret) => {
                cookie = format!("alidade_session={secret}");
                headers.push(("cookie", &cookie));
            }
            Who::Token(secret) => {
                bearer = format!("Bearer {secret}");
                headers.push(("authorization", &bearer));
            }
        }
        send(self.addr(), method, path, &headers, text.as_bytes())
    }

    fn profile(id: &str) -> Value {
        json!({ "account": id, "name": format!("{id} Example"), "email": format!("{id}@irap.example"), "institute": "IRAP", "password": PHRASE })
    }

    fn first(&self) -> Who {
        let mut root = Self::profile("root");
        root["code"] = json!(self.first_code);
        let made = self.ask(&Who::Nobody, "POST", "/api/v1/first-administrator", Some(&root));
        assert_eq!(made.status, 201, "{}", made.text());
        self.log_in("root")
    }

    fn log_in(&self, login: &str) -> Who {
        let answer = self.ask(
            &Who::Nobody,
            "POST",
            "/api/v1/session",
            Some(&json!({ "login": login, "password": PHRASE })),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        Who::Session(secret_of(&answer).unwrap())
    }

    /// Signed up, let in with a role, logged in.
    fn member(&self, root: &Who, id: &str, role: &str) -> Who {
        assert_eq!(
            self.ask(&Who::Nobody, "POST", "/api/v1/accounts", Some(&Self::profile(id)))
                .status,
            202
        );
        let validated = self.ask(
            root,
            "POST",
            &format!("/api/v1/accounts/{id}/validate"),
            Some(&json!({ "role": role })),
        );
        assert_eq!(validated.status, 200, "{}", validated.text());
        self.log_in(id)
    }
}

enum Who {
    Nobody,
    Session(String),
    Token(String),
}

fn secret_of(answer: &Answer) -> Option<String> {
    let cookie = answer.header("set-cookie")?;
    let secret = cookie.strip_prefix("alidade_session=")?.split(';').next()?;
    Some(secret.to_owned()).filter(|secret| !secret.is_empty())
}

#[test]
fn the_first_administrator_comes_in_by_the_code_and_nobody_after_them() {
    let house = House::new("people-first", false);
    let who = house.ask(&Who::Nobody, "GET", "/api/v1/session", None).json();
    assert_eq!(
        (&who["first"], &who["accounts"], &who["role"]),
        (&json!(true), &json!(true), &json!("visitor"))
    );
    let mut wrong = House::profile("root");
    wrong["code"] = json!("AAAAA-BBBBB-CCCCC-DDDDD");
    assert_eq!(
        house
            .ask(&Who::Nobody, "POST", "/api/v1/first-administrator", Some(&wrong))
            .status,
        400
    );
    let root = house.first();
    let who = house.ask(&root, "GET", "/api/v1/session", None).json();
    assert_eq!(
        (&who["account"], &who["role"], &who["first"]),
        (&json!("root"), &json!("administrator"), &json!(false))
    );
    let mut again = House::profile("tycho");
    again["code"] = json!(house.first_code);
    assert_eq!(
        house
            .ask(&Who::Nobody, "POST", "/api/v1/first-administrator", Some(&again))
            .status,
        400
    );
}

#[test]
fn a_session_begins_with_a_cookie_out_of_reach_and_ends_with_logout() {
    let house = House::new("people-session", false);
    house.first();
    let login = json!({ "login": "ROOT@irap.example", "password": PHRASE });
    let answer = house.ask(&Who::Nobody, "POST", "/api/v1/session", Some(&login));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let (one, two) = (secret_of(&answer).unwrap(), house.log_in("root"));
    let Who::Session(two) = two else { unreachable!() };
    assert_ne!(one, two);
    // Another login in the same browser takes the place of the session before it.
    let again = send(
        house.addr(),
        "POST",
        "/api/v1/session",
        &[
            ("content-type", "application/json"),
            ("cookie", &format!("alidade_session={one}")),
        ],
        login.to_string().as_bytes(),
    );
    let three = secret_of(&again).unwrap();
    let account = |secret: &str| {
        house
            .ask(&Who::Session(secret.into()), "GET", "/api/v1/session", None)
            .json()["account"]
            .clone()
    };
    assert_eq!(account(&one), Value::Null);
    assert_eq!((account(&two), account(&three)), (json!("root"), json!("root")));
    let out = house.ask(&Who::Session(three.clone()), "DELETE", "/api/v1/session", None);
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(account(&three), Value::Null);
    assert_eq!(house.ask(&Who::Session(three), "GET", "/api/v1/me", None).status, 401);
}

#[test]
fn login_tells_nothing_about_who_exists_and_slows_guessing_down() {
    let house = House::new("people-guess", false);
    house.first();
    let attempt = |login: &str| {
        house.ask(
            &Who::Nobody,
            "POST",
            "/api/v1/session",
            Some(&json!({ "login": login, "password": "wrong wrong wrong" })),
        )
    };
    let (known, unknown) = (attempt("root"), attempt("nobody"));
    assert_eq!((known.status, unknown.status), (401, 401));
    assert_eq!(known.text(), unknown.text());
    for _ in 0..4 {
        attempt("root");
    }
    let last = attempt("root");
    assert_eq!(last.status, 429);
    assert!(last.header("retry-after").unwrap().parse::<f64>().unwrap() > 800.0);
    assert_eq!(last.header("content-type"), Some("application/problem+json"));
}

#[test]
fn a_forgotten_password_is_set_by_the_letter_and_the_answer_is_the_same_without_account() {
    let house = House::new("people-recover", false);
    let root = house.first();
    let ask = |email: &str| {
        house.ask(
            &Who::Nobody,
            "POST",
            "/api/v1/recovery",
            Some(&json!({ "email": email })),
        )
    };
    let (known, unknown) = (ask("root@irap.example"), ask("nobody@irap.example"));
    assert_eq!((known.status, known.text()), (unknown.status, unknown.text()));
    let letter = loop {
        if let Some(letter) = house.observatory.letters.lock().unwrap().first() {
            break letter.clone();
        }
        std::thread::yield_now();
    };
    assert!(
        letter.contains("To: root@irap.example") && letter.contains("https://obs.example/account#code="),
        "{letter}"
    );
    let code = letter
        .split("Code: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let new = "the moon over the Verdon";
    let set = |password: &str| {
        house.ask(
            &Who::Nobody,
            "POST",
            "/api/v1/password",
            Some(&json!({ "code": code, "password": password })),
        )
    };
    assert_eq!(set("short").status, 400);
    assert_eq!(set(new).status, 200);
    assert_eq!(set(new).status, 400, "a code works once");
    assert_eq!(
        house.ask(&root, "GET", "/api/v1/me", None).status,
        401,
        "every session has ended"
    );
    assert_eq!(house.observatory.letters.lock().unwrap().len(), 1);
}

/// What a request of each role is answered, on every route of the table: allowed exactly where the table says so.
#[test]
fn every_route_is_open_to_exactly_the_roles_of_the_table() {
    let house = House::new("people-matrix", false);
    let root = house.first();
    let mut members = vec![(Role::Visitor, Who::Nobody)];
    for role in [Role::Observer, Role::Expert, Role::Operator] {
        members.push((role, house.member(&root, &format!("the-{role}"), role.name())));
    }
    members.push((Role::Administrator, house.log_in("root")));
    let mut looked_at = 0;
    for route in table() {
        // Streams do not end, and these two end the session that is used.
        if route.path == "/api/v1/events"
            || (route.method == "DELETE" && route.path == "/api/v1/session")
            || route.path == "/api/v1/me/sessions"
        {
            continue;
        }
        let path = route
            .path
            .replace("{path:.*}", "previews/e2.png")
            .replace("/alarms/{id}", "/alarms/1")
            .replace("{id}", "nothing")
            .replace("{name}", "nothing")
            .replace("{event}", "nothing")
            .replace("{account}", "nothing");
        for (role, who) in &members {
            let allowed = match route.needs {
                RouteNeeds::Nothing => true,
                RouteNeeds::One(permission) => role.may(permission),
                RouteNeeds::AnyOf(any) => any.iter().any(|permission| role.may(*permission)),
            };
            let body = (route.method != "GET").then(|| json!({}));
            let answer = house.ask(who, route.method, &path, body.as_ref());
            let barred =
                answer.status == 401 || (answer.status == 403 && answer.text().contains("this needs the role"));
            let say = format!("{} {path} as {role}: {} {}", route.method, answer.status, answer.text());
            if allowed {
                // A login without a password is refused for what it lacks, not for who asks.
                assert!(!barred, "{say}");
                assert!(answer.status < 500, "{say}");
            } else {
                assert_eq!(answer.status, if *role == Role::Visitor { 401 } else { 403 }, "{say}");
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 200, "{looked_at}");
}

#[test]
fn observers_touch_only_what_is_their_own() {
    let house = House::new("people-own", false);
    let root = house.first();
    let ada = house.member(&root, "ada", "observer");
    let operator = house.member(&root, "olga", "operator");
    let cancel = |who: &Who| house.ask(who, "POST", "/api/v1/sequences/s1/cancel", Some(&json!({})));
    assert_eq!(cancel(&ada).status, 202);
    assert_eq!(
        house.observatory.authors().last().unwrap().only_own.as_deref(),
        Some("ada")
    );
    assert_eq!(cancel(&operator).status, 202);
    assert_eq!(house.observatory.authors().last().unwrap().only_own, None);
    *house.observatory.answer.lock().unwrap() =
        CommandReply::NotYours("ada may do this only to what is their own".into());
    assert_eq!(cancel(&ada).status, 403);
    assert_eq!(house.ask(&ada, "GET", "/api/v1/requests?user=tycho", None).status, 403);
    assert_eq!(
        house.ask(&ada, "GET", "/api/v1/requests", None).json()["requests"],
        json!([])
    );
    assert_eq!(
        house.ask(&operator, "GET", "/api/v1/requests?user=tycho", None).status,
        200
    );
    assert_eq!(house.ask(&ada, "GET", "/api/v1/quotas/tycho", None).status, 403);
    // Previews are for everybody, frames are not.
    assert_eq!(
        house
            .ask(&Who::Nobody, "GET", "/api/v1/products/previews/e2.png", None)
            .status,
        200
    );
    assert_eq!(
        house
            .ask(&Who::Nobody, "GET", "/api/v1/products/frames/e2.fits", None)
            .status,
        401
    );
    assert_eq!(
        house.ask(&ada, "GET", "/api/v1/products/frames/e2.fits", None).status,
        404,
        "nobody's product is not told apart from somebody else's"
    );
    assert_eq!(
        house
            .ask(&operator, "GET", "/api/v1/products/frames/e2.fits", None)
            .status,
        200
    );
}

#[test]
fn observers_see_the_targets_and_frames_of_their_own_sequences_alone() {
    let house = House::new("people-targets", false);
    let root = house.first();
    let (ada, eve) = (
        house.member(&root, "ada", "observer"),
        house.member(&root, "eve", "observer"),
    );
    let expert = house.member(&root, "hypatia", "expert");
    let evening = observatory::at("2026-03-14T20:00:00Z");
    let sequence = |user: &str, target: &str| -> Value {
        json!({ "id": format!("r-{user}-1"), "request": format!("r-{user}"), "user": user, "priority": 5.0, "albums": [],
            "target": { "name": target, "ra_deg": 195.0, "dec_deg": 28.0 } })
    };
    let mut facts = Vec::new();
    for (user, target) in [("ada", "NGC 4889"), ("eve", "M 51")] {
        let request = json!({ "id": format!("r-{user}"), "title": "A request", "user": user, "origin": { "kind": "routine" },
            "submitted_at": evening, "sequences": [sequence(user, target)] });
        let request = serde_json::from_value(request).unwrap();
        facts.push(Fact::RequestSubmitted { request });
        let exposure = format!("x-{user}");
        let shot = Shot {
            exposure: &exposure,
            sequence: &format!("r-{user}-1"),
            filter: "r",
            started_at: evening,
            solved: Some((21.0, 19.0)),
        };
        facts.extend(shot.facts());
    }
    let number = |(seq, fact)| Entry { seq, at: evening, fact };
    let entries: Vec<Entry> = (1..).zip(facts).map(number).collect();
    let url = format!("sqlite://{}", house.observatory.folder.join("people.sqlite").display());
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Relaxed,
    };
    Store::open(&url, options).unwrap().append(&entries).unwrap();
    let names = |who: &Who| -> Vec<String> {
        let told = house.ask(who, "GET", "/api/v1/observed", None).json();
        let all = told["targets"].as_array().unwrap().clone();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ada), ["NGC 4889"]);
    assert_eq!(names(&eve), ["M 51"]);
    assert_eq!(names(&expert), ["M 51", "NGC 4889"]);
    // Somebody else's is not told apart from none.
    for path in ["", "/frames", "/light-curve"] {
        let strange = house.ask(&ada, "GET", &format!("/api/v1/observed/M%2051{path}"), None);
        let none = house.ask(&ada, "GET", &format!("/api/v1/observed/M%2052{path}"), None);
        assert_eq!((strange.status, none.status), (404, 404), "{path}");
    }
    assert_eq!(
        house.ask(&eve, "GET", "/api/v1/observed/M%2051/frames", None).json()["frames"][0]["exposure"],
        "x-eve"
    );
    assert_eq!(
        house.ask(&expert, "GET", "/api/v1/observed/m51", None).json()["frames"],
        1
    );
}

#[test]
fn a_token_does_what_its_scopes_say_and_nothing_with_the_account_itself() {
    let house = House::new("people-token", false);
    let root = house.first();
    let operator = house.member(&root, "olga", "operator");
    let wanted = json!({ "name": "robot", "scopes": ["read", "operate"], "days": 30 });
    let made = house.ask(&operator, "POST", "/api/v1/me/tokens", Some(&wanted));
    assert_eq!(made.status, 201, "{}", made.text());
    let token = Who::Token(made.json()["secret"].as_str().unwrap().to_owned());
    let command = |name: &str| house.ask(&token, "POST", "/api/v1/commands", Some(&json!({ "command": name })));
    assert_eq!(command("pause").status, 202);
    assert_eq!(house.observatory.authors().last().unwrap().name, "olga (token)");
    let lifted = house.ask(
        &token,
        "POST",
        "/api/v1/commands",
        Some(&json!({ "command": "lift_override", "input": "rain" })),
    );
    assert_eq!(lifted.status, 403, "{}", lifted.text());
    let beyond = json!({ "name": "king", "scopes": ["manage_accounts"], "days": 30 });
    assert_eq!(
        house.ask(&operator, "POST", "/api/v1/me/tokens", Some(&beyond)).status,
        403
    );
    assert_eq!(
        house.ask(&token, "POST", "/api/v1/me/tokens", Some(&wanted)).status,
        403,
        "a token makes no tokens"
    );
    assert_eq!(
        house.ask(&operator, "DELETE", "/api/v1/me/tokens/robot", None).status,
        204
    );
    assert_eq!(command("pause").status, 401);
    assert_eq!(
        house.ask(&operator, "DELETE", "/api/v1/me/tokens/robot", None).status,
        404
    );
}

#[test]
fn an_administrator_lets_in_grants_disables_and_reads_the_audit() {
    let house = House::new("people-admin", false);
    let root = house.first();
    house.ask(&Who::Nobody, "POST", "/api/v1/accounts", Some(&House::profile("ada")));
    let waiting = house.ask(
        &Who::Nobody,
        "POST",
        "/api/v1/session",
        Some(&json!({ "login": "ada", "password": PHRASE })),
    );
    assert_eq!(waiting.status, 403);
    let all = house.ask(&root, "GET", "/api/v1/accounts", None).json();
    assert_eq!(
        (&all["accounts"][0]["id"], &all["accounts"][0]["state"]),
        (&json!("ada"), &json!("waiting"))
    );
    assert!(!all.to_string().contains("argon2"), "hashes are nobody's business");
    let validation = json!({ "role": "observer", "quota_h": 12.5 });
    assert_eq!(
        house
            .ask(&root, "POST", "/api/v1/accounts/ada/validate", Some(&validation))
            .status,
        200
    );
    let granted = GatewayCommand::GrantQuota {
        user: "ada".into(),
        institute: "IRAP".into(),
        hours: 12.5,
    };
    assert_eq!(house.observatory.commands().last(), Some(&granted));
    let ada = house.log_in("ada");
    assert_eq!(
        house
            .ask(&root, "POST", "/api/v1/accounts/ada/disable", Some(&json!({})))
            .status,
        200
    );
    assert_eq!(house.ask(&ada, "GET", "/api/v1/me", None).status, 401);
    assert_eq!(
        house
            .ask(&root, "POST", "/api/v1/accounts/root/disable", Some(&json!({})))
            .status,
        409
    );
    assert_eq!(
        house
            .ask(
                &root,
                "POST",
                "/api/v1/accounts/nobody/role",
                Some(&json!({ "role": "expert" }))
            )
            .status,
        404
    );
    assert_eq!(
        house
            .ask(
                &root,
                "POST",
                "/api/v1/accounts/ada/role",
                Some(&json!({ "role": "king" }))
            )
            .status,
        400
    );
    let audit = house.ask(&root, "GET", "/api/v1/audit?limit=3", None).json();
    assert_eq!(
        (
            audit["lines"].as_array().unwrap().len(),
            &audit["first_forged"],
            &audit["next_after"]
        ),
        (3, &Value::Null, &json!(3))
    );
    let all = house.ask(&root, "GET", "/api/v1/audit", None).text();
    for action in ["first_administrator", "sign_up", "validate", "login", "disable"] {
        assert!(all.contains(action), "{action} is not in {all}");
    }
    assert!(!all.contains(PHRASE));
}

#[test]
fn where_reading_is_for_members_visitors_see_the_login_and_nothing_else() {
    let house = House::new("people-members", true);
    let root = house.first();
    assert_eq!(house.ask(&Who::Nobody, "GET", "/account", None).status, 200);
    assert_eq!(house.ask(&Who::Nobody, "GET", "/api/v1/health", None).status, 200);
    for path in [
        "/api/v1/status",
        "/api/v1/journal",
        "/status",
        "/metrics",
        "/api/v1/alerts",
    ] {
        assert_eq!(house.ask(&Who::Nobody, "GET", path, None).status, 401, "{path}");
        assert_eq!(house.ask(&root, "GET", path, None).status, 200, "{path}");
    }
}

#[test]
fn a_profile_is_changed_only_as_it_was_seen() {
    let house = House::new("people-profile", false);
    let Who::Session(secret) = house.first() else {
        unreachable!()
    };
    let cookie = format!("alidade_session={secret}");
    let ask = |method: &str, more: &[(&str, &str)], name: &str| {
        let mut headers = vec![("cookie", cookie.as_str()), ("content-type", "application/json")];
        headers.extend_from_slice(more);
        let body = match method {
            "GET" => String::new(),
            _ => json!({ "name": name, "institute": "CDS" }).to_string(),
        };
        send(house.addr(), method, "/api/v1/me/profile", &headers, body.as_bytes())
    };
    let seen = ask("GET", &[], "");
    let tag = seen.header("etag").unwrap().to_owned();
    assert_eq!(seen.json()["name"], "root Example");
    assert_eq!(ask("GET", &[("if-none-match", &tag)], "").status, 304);
    assert_eq!(ask("PATCH", &[], "Vera").status, 428);
    let changed = ask("PATCH", &[("if-match", &tag)], "Vera");
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Vera")));
    // Another window shows what was before.
    let late = ask("PATCH", &[("if-match", &tag)], "Nobody");
    assert_eq!(
        (late.status, late.header("content-type")),
        (412, Some("application/problem+json"))
    );
    assert_eq!(ask("GET", &[], "").json(), changed.json());
}

#[test]
fn a_line_of_the_audit_that_was_changed_behind_is_found_when_the_whole_chain_is_looked_at() {
    let house = House::new("people-chain", false);
    let root = house.first();
    house.member(&root, "ada", "observer");
    let audit = |query: &str| {
        house
            .ask(&root, "GET", &format!("/api/v1/audit?limit=1{query}"), None)
            .json()
    };
    let before = audit("");
    assert_eq!(before["first_forged"], Value::Null);
    assert!(before["whole_up_to"].as_i64().unwrap() > 3, "{before}");
    let database = house.observatory.folder.join("people.sqlite");
    let forged = std::process::Command::new("python3")
        .args(["-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=20); c.execute(\"UPDATE audit SET who = 'eve' WHERE seq = 2\"); c.commit()"])
        .arg(database)
        .status()
        .unwrap();
    assert!(forged.success());
    // What was found whole is not computed on every look, and is when somebody asks for it.
    assert_eq!(audit("")["first_forged"], Value::Null);
    assert_eq!(audit("&whole=true")["first_forged"], 2);
    assert_eq!(audit("")["first_forged"], 2, "and is not forgotten");
}

#[test]
fn another_sites_page_cannot_use_a_session() {
    let house = House::new("people-csrf", false);
    let Who::Session(secret) = house.first() else {
        unreachable!()
    };
    let cookie = format!("alidade_session={secret}");
    let body = br#"{"command":"release"}"#;
    for foreign in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let headers = [("content-type", "application/json"), ("cookie", &cookie), foreign];
        assert_eq!(
            send(house.addr(), "POST", "/api/v1/commands", &headers, body).status,
            403,
            "{foreign:?}"
        );
    }
    let form = [("content-type", "text/plain"), ("cookie", cookie.as_str())];
    assert_eq!(send(house.addr(), "POST", "/api/v1/commands", &form, body).status, 415);
    assert!(house.observatory.commands().is_empty());
}

#[test]
fn the_description_of_the_interface_is_served() {
    let house = House::new("people-openapi", false);
    let document = house.ask(&Who::Nobody, "GET", "/api/v1/openapi.json", None).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(
        document["paths"]["/api/v1/requests"]["post"]["description"]
            .as_str()
            .unwrap()
            .contains(Permission::Submit.name())
    );
}
