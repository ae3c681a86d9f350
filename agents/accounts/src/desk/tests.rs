use super::*;
use crate::record::{AuditLine, Session, Token};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

/// As the database keeps it, in memory.
#[derive(Default, Clone)]
struct Shelf {
    accounts: BTreeMap<String, Account>,
    sessions: BTreeMap<String, Session>,
    tokens: BTreeMap<String, Token>,
    codes: BTreeMap<String, Code>,
    audit: Vec<AuditLine>,
}

impl Shelf {
    fn one(&mut self, change: &Change) -> bool {
        match change.clone() {
            Change::Create(account) => {
                if self
                    .accounts
                    .values()
                    .any(|a| a.id == account.id || a.email == account.email)
                {
                    return false;
                }
                self.accounts.insert(account.id.clone(), account);
            }
            Change::Update(account) => return self.accounts.insert(account.id.clone(), account).is_some(),
            Change::Remove(id) => return self.accounts.remove(&id).is_some(),
            Change::Begin(session) => drop(self.sessions.insert(session.digest.clone(), session)),
            Change::Seen { session, at } => {
                if let Some(found) = self.sessions.get_mut(&session) {
                    found.seen_at = at;
                }
            }
            Change::End(digest) => drop(self.sessions.remove(&digest)),
            Change::EndAll { account, but } => self
                .sessions
                .retain(|digest, s| s.account != account || Some(digest) == but.as_ref()),
            Change::Give(code) => drop(self.codes.insert(code.digest.clone(), code)),
            Change::Take(digest) => return self.codes.remove(&digest).is_some(),
            Change::Issue(token) => {
                if self
                    .tokens
                    .values()
                    .any(|t| t.account == token.account && t.name == token.name)
                {
                    return false;
                }
                self.tokens.insert(token.digest.clone(), token);
            }
            Change::Used { token, at } => {
                if let Some(found) = self.tokens.get_mut(&token) {
                    found.used_at = Some(at);
                }
            }
            Change::Revoke { account, name } => {
                let before = self.tokens.len();
                self.tokens.retain(|_, t| t.account != account || t.name != name);
                return self.tokens.len() < before;
            }
            Change::RevokeAll(account) => self.tokens.retain(|_, t| t.account != account),
        }
        true
    }
}

impl Register for Shelf {
    type Error = Infallible;

    fn apply(&mut self, changes: &[Change], deed: Option<Deed>) -> Result<bool, Infallible> {
        let mut next = self.clone();
        if !changes.iter().all(|change| next.one(change)) {
            return Ok(false);
        }
        if let Some(deed) = deed {
            let before = next.audit.last().map_or_else(String::new, |line| line.digest.clone());
            next.audit
                .push(AuditLine::after(&before, next.audit.len() as i64 + 1, deed));
        }
        *self = next;
        Ok(true)
    }

    fn account(&mut self, id: &str) -> Result<Option<Account>, Infallible> {
        Ok(self.accounts.get(id).cloned())
    }

    fn account_by_email(&mut self, email: &str) -> Result<Option<Account>, Infallible> {
        Ok(self.accounts.values().find(|a| a.email == email).cloned())
    }

    fn accounts(&mut self) -> Result<Vec<Account>, Infallible> {
        Ok(self.accounts.values().cloned().collect())
    }

    fn session(&mut self, digest: &str) -> Result<Option<Session>, Infallible> {
        Ok(self.sessions.get(digest).cloned())
    }

    fn sessions(&mut self, account: &str) -> Result<Vec<Session>, Infallible> {
        Ok(self
            .sessions
            .values()
            .filter(|s| s.account == account)
            .cloned()
            .collect())
    }

    fn token(&mut self, digest: &str) -> Result<Option<Token>, Infallible> {
        Ok(self.tokens.get(digest).cloned())
    }

    fn tokens(&mut self, account: Option<&str>) -> Result<Vec<Token>, Infallible> {
        Ok(self
            .tokens
            .values()
            .filter(|t| account.is_none_or(|id| t.account == id))
            .cloned()
            .collect())
    }

    fn code(&mut self, digest: &str) -> Result<Option<Code>, Infallible> {
        Ok(self.codes.get(digest).cloned())
    }

    fn audit(&mut self, after: i64, limit: usize) -> Result<Vec<AuditLine>, Infallible> {
        Ok(self
            .audit
            .iter()
            .filter(|line| line.seq > after)
            .take(limit)
            .cloned()
            .collect())
    }
}

const PASSWORD: &str = "seven sisters over Chiran";

fn by(seconds: f64) -> By<'static> {
    let start: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
    By {
        who: "root",
        address: "192.0.2.7",
        now: start.plus_seconds(seconds),
    }
}

fn profile(id: &str) -> Profile {
    Profile {
        account: id.into(),
        name: format!("{id} of the sky"),
        email: format!("{id}@irap.example"),
        institute: "IRAP".into(),
    }
}

/// With an administrator `root`, and an observer `ada` who is active.
fn desk() -> Desk<Shelf> {
    let mut desk = Desk::new(Shelf::default());
    let code = desk.first_code(by(0.0).now).unwrap().unwrap();
    desk.first_administrator(&code, &profile("root"), PASSWORD, by(1.0))
        .unwrap();
    assert_eq!(desk.sign_up(&profile("ada"), PASSWORD, by(2.0)), Ok(None));
    desk.validate("ada", Role::Observer, by(3.0)).unwrap();
    desk
}

#[test]
fn the_first_administrator_comes_in_by_the_code_of_the_log_once() {
    let mut desk = Desk::new(Shelf::default());
    let code = desk.first_code(by(0.0).now).unwrap().unwrap();
    let wrong = desk.first_administrator("ABCDE-FGHJK-LMNPQ-RSTUV", &profile("root"), PASSWORD, by(1.0));
    assert_eq!(wrong, Err(Refused::UnknownCode));
    let late = desk.first_administrator(&code, &profile("root"), PASSWORD, by(FIRST_CODE_S + 1.0));
    assert_eq!(late, Err(Refused::UnknownCode));
    let weak = desk.first_administrator(&code, &profile("root"), "short", by(1.0));
    assert_eq!(weak, Err(Refused::Weak(Weak::Short(5))));
    let root = desk
        .first_administrator(&code, &profile("root"), PASSWORD, by(1.0))
        .unwrap();
    assert_eq!((root.role, root.state), (Role::Administrator, AccountState::Active));
    assert_eq!(desk.first_code(by(2.0).now).unwrap(), None, "no second code");
    let again = desk.first_administrator(&code, &profile("tycho"), PASSWORD, by(3.0));
    assert_eq!(again, Err(Refused::UnknownCode), "the code works once");
}

#[test]
fn who_signs_up_waits_for_an_administrator() {
    let mut desk = desk();
    assert_eq!(desk.sign_up(&profile("tycho"), PASSWORD, by(4.0)), Ok(None));
    assert_eq!(
        desk.log_in("tycho", PASSWORD, "", by(5.0)).unwrap_err(),
        Refused::Waiting
    );
    let (_, letter) = desk.validate("tycho", Role::Expert, by(6.0)).unwrap();
    assert_eq!(letter.to, "tycho@irap.example");
    let (_, account) = desk.log_in("Tycho@IRAP.example", PASSWORD, "", by(7.0)).unwrap();
    assert_eq!(account.role, Role::Expert);
    assert!(matches!(desk.refuse("tycho", by(8.0)), Err(Refused::Bad { .. })));
}

#[test]
fn a_name_that_is_taken_is_said_and_an_address_that_is_known_is_not() {
    let mut desk = desk();
    assert_eq!(
        desk.sign_up(&profile("ada"), PASSWORD, by(4.0)),
        Err(Refused::Taken("ada".into()))
    );
    let mut other = profile("somebody");
    other.email = "ADA@irap.example".into();
    let letter = desk.sign_up(&other, PASSWORD, by(5.0)).unwrap().unwrap();
    assert_eq!(letter.to, "ada@irap.example");
    assert!(desk.register().account("somebody").unwrap().is_none());
}

#[test]
fn bad_names_and_addresses_are_refused_with_their_field() {
    let mut desk = desk();
    for (field, change) in [
        (
            "account",
            Profile {
                account: "Ä".into(),
                ..profile("x1")
            },
        ),
        (
            "account",
            Profile {
                account: "1ada".into(),
                ..profile("x1")
            },
        ),
        (
            "account",
            Profile {
                account: "../etc".into(),
                ..profile("x1")
            },
        ),
        (
            "email",
            Profile {
                email: "ada".into(),
                ..profile("x1")
            },
        ),
        (
            "email",
            Profile {
                email: "a@b@c.example".into(),
                ..profile("x1")
            },
        ),
        (
            "email",
            Profile {
                email: "a@c.example\r\nBcc: all@c.example".into(),
                ..profile("x1")
            },
        ),
        (
            "name",
            Profile {
                name: "a\nb".into(),
                ..profile("x1")
            },
        ),
        (
            "institute",
            Profile {
                institute: " ".into(),
                ..profile("x1")
            },
        ),
    ] {
        match desk.sign_up(&change, PASSWORD, by(4.0)) {
            Err(Refused::Bad { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{change:?}: {other:?}"),
        }
    }
}

#[test]
fn a_session_ends_by_idleness_by_age_by_logout_and_by_disabling() {
    let mut desk = desk();
    let address = by(0.0).address;
    let (cookie, _) = desk.log_in("ada", PASSWORD, "Browser", by(10.0)).unwrap();
    let (principal, _) = desk.by_session(&cookie, address, by(11.0).now).unwrap();
    assert_eq!((principal.name().as_str(), principal.role), ("ada", Role::Observer));
    assert_eq!(
        desk.by_session("another", address, by(11.0).now).unwrap_err(),
        Refused::SessionEnded
    );
    // Used every twenty minutes it lives, but not longer than twelve hours.
    let mut now = 10.0;
    while now + 1200.0 < SESSION_S {
        now += 1200.0;
        assert!(desk.by_session(&cookie, address, by(now).now).is_ok(), "after {now} s");
    }
    assert!(desk.by_session(&cookie, address, by(SESSION_S + 11.0).now).is_err());

    let (idle, _) = desk.log_in("ada", PASSWORD, "", by(0.0)).unwrap();
    assert!(desk.by_session(&idle, address, by(IDLE_S + 1.0).now).is_err());
    let (left, _) = desk.log_in("ada", PASSWORD, "", by(0.0)).unwrap();
    desk.log_out(&left, by(1.0)).unwrap();
    assert!(desk.by_session(&left, address, by(2.0).now).is_err());
    let (one, _) = desk.log_in("ada", PASSWORD, "", by(0.0)).unwrap();
    desk.set_disabled("ada", true, by(1.0)).unwrap();
    assert!(desk.by_session(&one, address, by(2.0).now).is_err());
    assert_eq!(
        desk.log_in("ada", PASSWORD, "", by(3.0)).unwrap_err(),
        Refused::Disabled
    );
}

#[test]
fn every_login_has_a_new_secret_and_only_its_digest_is_kept() {
    let mut desk = desk();
    let (one, _) = desk.log_in("ada", PASSWORD, "", by(10.0)).unwrap();
    let (two, _) = desk.log_in("ada", PASSWORD, "", by(11.0)).unwrap();
    assert_ne!(one, two);
    let sessions = desk.register().sessions("ada").unwrap();
    assert!(sessions.iter().all(|s| s.digest != one && s.digest != two));
    assert_eq!(sessions.len(), 2);
    desk.change_password("ada", PASSWORD, "a quite different phrase", Some(&two), by(12.0))
        .unwrap();
    assert!(
        desk.by_session(&one, "x", by(13.0).now).is_err(),
        "other sessions end with the old password"
    );
    assert!(desk.by_session(&two, "x", by(13.0).now).is_ok());
}

#[test]
fn guessing_is_slowed_by_name_and_by_address_and_never_locks_the_owner_out() {
    let mut desk = desk();
    for second in 0..5 {
        assert_eq!(
            desk.log_in("ada", "wrong wrong wrong", "", by(f64::from(second)))
                .unwrap_err(),
            Refused::WrongLogin
        );
    }
    assert!(matches!(
        desk.log_in("ada", PASSWORD, "", by(6.0)),
        Err(Refused::Throttled(_))
    ));
    assert!(
        matches!(desk.log_in("root", PASSWORD, "", by(6.0)), Err(Refused::Throttled(_))),
        "the address waits"
    );
    let elsewhere = By {
        address: "198.51.100.1",
        ..by(6.0)
    };
    assert!(
        desk.log_in("ada", PASSWORD, "", elsewhere).is_ok(),
        "the owner comes from elsewhere"
    );
    assert!(desk.log_in("ada", PASSWORD, "", by(1000.0)).is_ok());
    assert_eq!(
        desk.log_in("nobody", "wrong wrong wrong", "", elsewhere).unwrap_err(),
        Refused::WrongLogin,
        "the same words for nobody"
    );
}

#[test]
fn a_forgotten_password_is_set_anew_by_a_code_that_works_once() {
    let mut desk = desk();
    let link = |code: &str| format!("https://obs.example/account?code={code}");
    assert_eq!(desk.ask_new_password("nobody@irap.example", link, by(4.0)), Ok(None));
    let letter = desk
        .ask_new_password("ADA@irap.example ", link, by(5.0))
        .unwrap()
        .unwrap();
    assert_eq!(letter.to, "ada@irap.example");
    let code = letter
        .body
        .split("Code: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let (cookie, _) = desk.log_in("ada", PASSWORD, "", by(6.0)).unwrap();
    let new = "the moon over the Verdon";
    assert_eq!(
        desk.set_password(&code, new, by(CODE_S + 10.0)).unwrap_err(),
        Refused::UnknownCode,
        "late"
    );
    assert_eq!(
        desk.set_password(&code, "short", by(7.0)).unwrap_err(),
        Refused::Weak(Weak::Short(5))
    );
    desk.set_password(&code, new, by(8.0)).unwrap();
    assert!(desk.by_session(&cookie, "x", by(9.0).now).is_err());
    assert_eq!(
        desk.set_password(&code, new, by(10.0)).unwrap_err(),
        Refused::UnknownCode,
        "used"
    );
    assert!(desk.log_in("ada", new, "", by(11.0)).is_ok());
    assert!(desk.log_in("ada", PASSWORD, "", by(12.0)).is_err());
}

#[test]
fn there_is_always_an_administrator() {
    let mut desk = desk();
    assert_eq!(
        desk.set_role("root", Role::Observer, by(4.0)).unwrap_err(),
        Refused::LastAdministrator
    );
    assert_eq!(
        desk.set_disabled("root", true, by(4.0)).unwrap_err(),
        Refused::LastAdministrator
    );
    desk.set_role("ada", Role::Administrator, by(5.0)).unwrap();
    desk.set_role("root", Role::Observer, by(6.0)).unwrap();
    assert_eq!(
        desk.set_disabled("ada", true, by(7.0)).unwrap_err(),
        Refused::LastAdministrator
    );
}

#[test]
fn a_token_lives_until_it_expires_or_is_revoked_or_its_owner_is_disabled() {
    let mut desk = desk();
    let scopes: BTreeSet<Permission> = [Permission::Submit].into();
    let beyond = desk
        .issue_token("ada", "robot", [Permission::Operate].into(), 30, by(4.0))
        .unwrap_err();
    assert_eq!(beyond, Refused::BeyondOwner(Permission::Operate));
    let (secret, _) = desk.issue_token("ada", "robot", scopes.clone(), 30, by(4.0)).unwrap();
    assert!(secret.starts_with(TOKEN_PREFIX));
    assert!(matches!(
        desk.issue_token("ada", "robot", scopes.clone(), 30, by(4.0)),
        Err(Refused::Bad { field: "name", .. })
    ));
    let principal = desk.by_token(&secret, "x", by(5.0).now).unwrap();
    assert_eq!(principal.may(Permission::Submit), Ok(()));
    assert!(principal.may(Permission::Read).is_err());
    assert!(desk.by_token(&secret, "x", by(31.0 * 86_400.0).now).is_err());
    desk.revoke_token("ada", "robot", by(6.0)).unwrap();
    assert_eq!(desk.revoke_token("ada", "robot", by(6.0)), Err(Refused::UnknownToken));
    assert!(desk.by_token(&secret, "x", by(7.0).now).is_err());
    let (secret, _) = desk.issue_token("ada", "robot", scopes, 30, by(8.0)).unwrap();
    desk.set_disabled("ada", true, by(9.0)).unwrap();
    desk.set_disabled("ada", false, by(10.0)).unwrap();
    assert!(desk.by_token(&secret, "x", by(11.0).now).is_err(), "disabling revokes");
}

#[test]
fn every_change_and_every_failed_login_stands_in_the_audit() {
    let mut desk = desk();
    drop(desk.log_in("ada", "wrong wrong wrong", "", by(4.0)));
    drop(desk.log_in("ada", PASSWORD, "", by(5.0)));
    desk.set_role("ada", Role::Expert, by(6.0)).unwrap();
    let lines = desk.register().audit(0, 100).unwrap();
    let told: Vec<String> = lines
        .iter()
        .map(|l| format!("{} {} {} {}", l.deed.who, l.deed.action, l.deed.subject, l.deed.outcome))
        .collect();
    assert_eq!(
        told,
        [
            "root first_administrator root done",
            "ada sign_up ada done",
            "root validate ada done: observer",
            "? login ada the account or the password is wrong",
            "ada login ada done",
            "root role ada done: expert",
        ]
    );
    assert_eq!(AuditLine::first_forged(&lines), None);
}
