//! What is kept, and the port to where it is kept.

use crate::{
    role::{Permission, Role},
    secret::hex,
};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fmt::Display};

/// ```text
/// waiting ──validated by an administrator──> active <──> disabled
///    └──refused──> (removed)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Signed up; nobody has validated it yet.
    Waiting,
    Active,
    Disabled,
}

impl AccountState {
    pub const ALL: &'static [Self] = &[Self::Waiting, Self::Active, Self::Disabled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// What one logs in with, and who requests belong to: 2 to 32 of `a-z 0-9 . _ -`, a letter first.
    pub id: String,
    pub name: String,
    /// In small letters; one account each.
    pub email: String,
    pub institute: String,
    pub role: Role,
    pub state: AccountState,
    /// PHC string; none for one who has never set a password.
    #[serde(skip)]
    pub password: Option<String>,
    pub created_at: UtcTime,
}

/// A browser that has logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Of the secret in the cookie.
    #[serde(skip)]
    pub digest: String,
    pub account: String,
    pub created_at: UtcTime,
    pub seen_at: UtcTime,
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
}

/// A machine, or a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    #[serde(skip)]
    pub digest: String,
    /// How it is called; unique for its account.
    pub name: String,
    pub account: String,
    pub scopes: BTreeSet<Permission>,
    pub created_at: UtcTime,
    pub expires_at: UtcTime,
    pub used_at: Option<UtcTime>,
}

/// What a one-time code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    FirstAdministrator,
    NewPassword,
}

impl Purpose {
    pub const ALL: &'static [Self] = &[Self::FirstAdministrator, Self::NewPassword];

    pub fn name(self) -> &'static str {
        match self {
            Self::FirstAdministrator => "first_administrator",
            Self::NewPassword => "new_password",
        }
    }
}

/// A secret that works once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    pub digest: String,
    pub purpose: Purpose,
    /// Whose password it changes; empty for the first administrator.
    pub account: String,
    pub expires_at: UtcTime,
}

/// Something that was done to accounts, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    pub at: UtcTime,
    pub who: String,
    pub address: String,
    /// `login`, `role`, `disable` ...
    pub action: String,
    /// The account that it was done to.
    pub subject: String,
    /// `done`, or why not.
    pub outcome: String,
}

/// A deed in the audit. `digest` is the SHA-256 of the line before's and of this deed, so that no line can be changed or
/// taken out without all later ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    pub seq: i64,
    #[serde(flatten)]
    pub deed: Deed,
    pub digest: String,
}

impl AuditLine {
    /// The line that follows one with the digest `before` (empty for the first).
    pub fn after(before: &str, seq: i64, deed: Deed) -> Self {
        let digest = Self::chained(before, seq, &deed);
        Self { seq, deed, digest }
    }

    fn chained(before: &str, seq: i64, deed: &Deed) -> String {
        let mut hasher = Sha256::new();
        // Lengths before the texts: two deeds never spell the same.
        let at = deed.at.unix_micros().to_string();
        for part in [
            before,
            &seq.to_string(),
            &at,
            &deed.who,
            &deed.address,
            &deed.action,
            &deed.subject,
            &deed.outcome,
        ] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hex(&hasher.finalize())
    }

    /// The number of the first line that is not what was written, if any. `lines` are all, from the first.
    pub fn first_forged<'a>(lines: impl IntoIterator<Item = &'a AuditLine>) -> Option<i64> {
        Chain::default().follow(lines)
    }
}

/// How far an audit is known to be whole: the number and the digest of the last line that was looked at. It begins before
/// the first line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    seq: i64,
    digest: String,
}

impl Chain {
    /// Number of the last line that is whole.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Goes on with the lines that follow, up to the first that is not what was written; its number, if there is one.
    pub fn follow<'a>(&mut self, lines: impl IntoIterator<Item = &'a AuditLine>) -> Option<i64> {
        for line in lines {
            let expected = self.seq + 1;
            if line.seq != expected || line.digest != AuditLine::chained(&self.digest, line.seq, &line.deed) {
                return Some(expected);
            }
            self.digest.clone_from(&line.digest);
            self.seq = expected;
        }
        None
    }
}

/// One change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Fails if the name or the address is taken.
    Create(Account),
    /// An existing account, as it is now.
    Update(Account),
    Remove(String),
    Begin(Session),
    /// A session was used.
    Seen {
        session: String,
        at: UtcTime,
    },
    /// By digest.
    End(String),
    /// All sessions of an account, but perhaps one.
    EndAll {
        account: String,
        but: Option<String>,
    },
    Give(Code),
    /// Uses a code up.
    Take(String),
    Issue(Token),
    Used {
        token: String,
        at: UtcTime,
    },
    /// By account and name.
    Revoke {
        account: String,
        name: String,
    },
    /// All tokens of an account.
    RevokeAll(String),
}

/// Where it is kept. Every call is one transaction.
pub trait Register {
    type Error: Display;

    /// All changes with their deed, or none. `Ok(false)` and no change if one of them found its place taken or its
    /// subject gone: a name, an address, a code.
    fn apply(&mut self, changes: &[Change], deed: Option<Deed>) -> Result<bool, Self::Error>;
    fn account(&mut self, id: &str) -> Result<Option<Account>, Self::Error>;
    /// `email` in small letters.
    fn account_by_email(&mut self, email: &str) -> Result<Option<Account>, Self::Error>;
    /// By name.
    fn accounts(&mut self) -> Result<Vec<Account>, Self::Error>;
    fn session(&mut self, digest: &str) -> Result<Option<Session>, Self::Error>;
    fn sessions(&mut self, account: &str) -> Result<Vec<Session>, Self::Error>;
    fn token(&mut self, digest: &str) -> Result<Option<Token>, Self::Error>;
    /// Of one account, or of all.
    fn tokens(&mut self, account: Option<&str>) -> Result<Vec<Token>, Self::Error>;
    fn code(&mut self, digest: &str) -> Result<Option<Code>, Self::Error>;
    /// Lines above `after`, oldest first.
    fn audit(&mut self, after: i64, limit: usize) -> Result<Vec<AuditLine>, Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_missing_and_an_exchanged_line_of_the_audit_are_found() {
        let mut lines = Vec::new();
        let mut before = String::new();
        for seq in 1..=5 {
            let deed = Deed {
                at: "2026-03-14T22:00:00Z".parse().unwrap(),
                who: "root".into(),
                address: "127.0.0.1".into(),
                action: "role".into(),
                subject: format!("user{seq}"),
                outcome: "done".into(),
            };
            let line = AuditLine::after(&before, seq, deed);
            before.clone_from(&line.digest);
            lines.push(line);
        }
        assert_eq!(AuditLine::first_forged(&lines), None);
        let mut changed = lines.clone();
        changed[2].deed.who = "nobody".into();
        assert_eq!(AuditLine::first_forged(&changed), Some(3));
        let mut missing = lines.clone();
        missing.remove(1);
        assert_eq!(AuditLine::first_forged(&missing), Some(2));
        lines.swap(3, 4);
        assert_eq!(AuditLine::first_forged(&lines), Some(4));
    }
}
