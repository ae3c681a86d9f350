//! `alidade user` as an administrator at the machine types it.

use diesel::{Connection, connection::SimpleConnection};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Output},
};

struct Desk(PathBuf);

impl Desk {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("alidade-user-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let desk = Self(folder);
        assert!(desk.run(&["db", "migrate"]).status.success());
        desk
    }

    fn run(&self, words: &[&str]) -> Output {
        let (command, rest) = words.split_first().unwrap();
        Command::new(env!("CARGO_BIN_EXE_alidade"))
            .arg(command)
            .args(["--config", "config/alidade.toml"])
            .args(rest)
            .env(
                "ALIDADE__DATABASE__URL",
                format!("sqlite://{}", self.0.join("a.sqlite").display()),
            )
            .env_remove("ALIDADE_TOKEN")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Exit code and the line on standard error.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(words);
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_account_is_made_changed_and_closed_and_the_audit_notices_a_forged_line() {
    let desk = Desk::new();
    assert_eq!(desk.json(&["user", "list"])["accounts"], serde_json::json!([]));
    let add = [
        "user",
        "add",
        "root",
        "--name",
        "Ada Root",
        "--email",
        "Root@irap.example",
        "--institute",
        "IRAP",
        "--role",
        "administrator",
    ];
    let made = desk.json(&add);
    assert_eq!(
        (&made["account"]["email"], &made["account"]["role"]),
        (&"root@irap.example".into(), &"administrator".into())
    );
    assert_eq!(made["code"].as_str().unwrap().len(), 23);
    assert_eq!(desk.fails(&add).0, 1);
    let bad = desk.fails(&[
        "user",
        "add",
        "tycho",
        "--name",
        "T",
        "--email",
        "nowhere",
        "--institute",
        "Hven",
    ]);
    assert!(bad.0 == 2 && bad.1.contains("email: not an address"), "{bad:?}");
    assert_eq!(desk.fails(&["user", "role", "root", "king"]).0, 2);
    let last = desk.fails(&["user", "disable", "root"]);
    assert!(last.0 == 1 && last.1.contains("no administrator left"), "{last:?}");

    desk.json(&[
        "user",
        "add",
        "tycho",
        "--name",
        "Tycho",
        "--email",
        "t@hven.example",
        "--institute",
        "Hven",
    ]);
    let token = desk.json(&[
        "user", "token", "issue", "tycho", "robot", "--scope", "submit", "--scope", "read",
    ]);
    assert!(token["secret"].as_str().unwrap().starts_with("ali_"));
    let beyond = desk.fails(&["user", "token", "issue", "tycho", "king", "--scope", "operate"]);
    assert!(
        beyond.0 == 1 && beyond.1.contains("which its account is not"),
        "{beyond:?}"
    );
    assert_eq!(desk.json(&["user", "show", "tycho"])["tokens"][0]["name"], "robot");
    desk.json(&["user", "role", "tycho", "expert"]);
    desk.json(&["user", "disable", "tycho"]);
    assert_eq!(desk.json(&["user", "show", "tycho"])["tokens"], serde_json::json!([]));
    let unreachable = desk.fails(&["user", "grant", "tycho", "--hours", "3", "--url", "http://127.0.0.1:9"]);
    assert!(
        unreachable.0 == 1 && unreachable.1.contains("no daemon at"),
        "{unreachable:?}"
    );

    let audit = desk.json(&["user", "audit"]);
    let actions: Vec<&str> = audit["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["add", "add", "token", "role", "disable"]);
    let path = desk.0.join("a.sqlite");
    let mut hand = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    hand.batch_execute("UPDATE audit SET subject = 'root' WHERE seq = 4")
        .unwrap();
    let forged = desk.run(&["user", "audit"]);
    assert_eq!(forged.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&forged.stdout).contains("line 4 is not what was written"));
}
