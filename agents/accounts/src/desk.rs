//! Everything that can be asked for.
//!
//! A *session* ends after half an hour without use, and after twelve hours in any case. A login makes a new secret, a
//! changed password ends every other session. Who has no account learns nothing from the answers: a login of nobody takes
//! as long as one with a wrong password and is refused in the same words, and an address is answered the same whether it
//! is known or not.
//!
//! | module | holds |
//! |---|---|
//! | `joining` | the first administrator, signing up, being let in or refused |
//! | `sessions` | logging in and out |
//! | `passwords` | a password changed, or forgotten and made anew |
//! | `standing` | profile, role, open or disabled |
//! | `tokens` | tokens issued, used and revoked |

mod joining;
mod passwords;
mod sessions;
mod standing;
mod tokens;

pub use joining::FIRST_CODE_S;
pub use passwords::CODE_S;
pub use sessions::{IDLE_S, SESSION_S};
pub use tokens::{TOKEN_DAYS, TOKEN_PREFIX};

use crate::{
    password::{self, HashFault, Weak},
    record::{Account, AccountState, Change, Code, Deed, Purpose, Register},
    role::{Permission, Role},
    secret::{NoEntropy, digest},
    throttle::Throttle,
};
use alidade_model::time::UtcTime;
use serde::Deserialize;

/// Sessions and tokens are noted as used at most once a minute, seconds.
const NOTED_S: f64 = 60.0;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("the account or the password is wrong")]
    WrongLogin,
    #[error("too many tries; the next one is possible in {0:.0} s")]
    Throttled(f64),
    #[error("the account waits for an administrator to validate it")]
    Waiting,
    #[error("the account is disabled")]
    Disabled,
    #[error("the session has ended; log in again")]
    SessionEnded,
    #[error("the token is unknown, revoked or expired")]
    UnknownToken,
    #[error("the code is unknown, used or expired")]
    UnknownCode,
    #[error("there is an administrator already")]
    NotTheFirst,
    #[error("there is no account {0}")]
    NoAccount(String),
    #[error("the account name {0} is taken")]
    Taken(String),
    #[error("{field}: {cause}")]
    Bad { field: &'static str, cause: String },
    #[error(transparent)]
    Weak(#[from] Weak),
    #[error("there would be no administrator left")]
    LastAdministrator,
    #[error("the token would be allowed {0}, which its account is not")]
    BeyondOwner(Permission),
    #[error("{0}")]
    Fault(String),
}

impl From<HashFault> for Refused {
    fn from(fault: HashFault) -> Self {
        Self::Fault(fault.to_string())
    }
}

impl From<NoEntropy> for Refused {
    fn from(fault: NoEntropy) -> Self {
        Self::Fault(fault.to_string())
    }
}

/// What somebody says about themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub account: String,
    pub name: String,
    pub email: String,
    pub institute: String,
}

/// Who does it, from where, when.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    pub who: &'a str,
    pub address: &'a str,
    pub now: UtcTime,
}

impl By<'_> {
    fn deed(&self, action: &str, subject: &str, outcome: impl Into<String>) -> Deed {
        Deed {
            at: self.now,
            who: self.who.into(),
            address: self.address.into(),
            action: action.into(),
            subject: subject.into(),
            outcome: outcome.into(),
        }
    }
}

/// A message to be sent to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub body: String,
}

/// The accounts of an observatory.
pub struct Desk<R> {
    register: R,
    throttle: Throttle,
}

fn kept<E: std::fmt::Display>(error: E) -> Refused {
    Refused::Fault(error.to_string())
}

fn checked(profile: &Profile) -> Result<Profile, Refused> {
    let bad = |field, cause: &str| Refused::Bad {
        field,
        cause: cause.into(),
    };
    let id = profile.account.trim().to_lowercase();
    let letters = id
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c));
    if !(2..=32).contains(&id.len()) || !letters || !id.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(bad("account", "2 to 32 of a-z 0-9 . _ -, a letter first"));
    }
    let line = |field, text: &str| {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
            Err(bad(field, "1 to 100 characters on one line"))
        } else {
            Ok(text.to_owned())
        }
    };
    let email = line("email", &profile.email)?.to_lowercase();
    let plausible = email.split_once('@').is_some_and(|(user, host)| {
        let plain = |text: &str| !text.contains(['@', ' ', '<', '>', ',', ';', '"', '(', ')', '\\']);
        !user.is_empty()
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && plain(user)
            && plain(host)
    });
    if !plausible {
        return Err(bad("email", "not an address of the form name@host.domain"));
    }
    Ok(Profile {
        account: id,
        name: line("name", &profile.name)?,
        email,
        institute: line("institute", &profile.institute)?,
    })
}

fn good(password: &str, profile: &Profile) -> Result<String, Refused> {
    password::accept(password, &[&profile.account, &profile.name, &profile.email])?;
    Ok(password::hash(password)?)
}

impl Account {
    fn profile(&self) -> Profile {
        Profile {
            account: self.id.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
            institute: self.institute.clone(),
        }
    }

    fn open(&self) -> Result<(), Refused> {
        match self.state {
            AccountState::Active => Ok(()),
            AccountState::Waiting => Err(Refused::Waiting),
            AccountState::Disabled => Err(Refused::Disabled),
        }
    }
}

impl<R: Register> Desk<R> {
    pub fn new(register: R) -> Self {
        Self {
            register,
            throttle: Throttle::default(),
        }
    }

    pub fn register(&mut self) -> &mut R {
        &mut self.register
    }

    fn find(&mut self, id: &str) -> Result<Account, Refused> {
        let found = self.register.account(id).map_err(kept)?;
        found.ok_or_else(|| Refused::NoAccount(id.to_owned()))
    }

    fn apply(&mut self, changes: &[Change], deed: Deed) -> Result<bool, Refused> {
        self.register.apply(changes, Some(deed)).map_err(kept)
    }

    /// Active administrators.
    fn administrators(&mut self) -> Result<usize, Refused> {
        let all = self.register.accounts().map_err(kept)?;
        let counts = |a: &&Account| a.role == Role::Administrator && a.state == AccountState::Active;
        Ok(all.iter().filter(counts).count())
    }

    fn tried(&mut self, keys: &[&str], now: UtcTime) -> Result<(), Refused> {
        let wait = keys
            .iter()
            .filter_map(|key| self.throttle.wait_s(key, now))
            .fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))));
        wait.map_or(Ok(()), |wait_s| Err(Refused::Throttled(wait_s.ceil().max(1.0))))
    }

    fn code_for(&mut self, code: &str, purpose: Purpose, by: By<'_>) -> Result<Code, Refused> {
        let from = format!("code from {}", by.address);
        self.tried(&[&from], by.now)?;
        let found = self.register.code(&digest(code.trim())).map_err(kept)?;
        match found {
            Some(code) if code.purpose == purpose && by.now < code.expires_at => Ok(code),
            _ => {
                self.throttle.failed(&from, by.now);
                Err(Refused::UnknownCode)
            }
        }
    }
}

#[cfg(test)]
mod tests;
