//! Everything that can be asked for.
//!
//! A *session* ends after half an hour without use, and after twelve hours in any case. A login makes a new secret, a
//! changed password ends every other session. Who has no account learns nothing from the answers: a login of nobody takes
//! as long as one with a wrong password and is refused in the same words, and an address is answered the same whether it
//! is known or not.

use crate::{
    password::{self, HashFault, LONGEST, Verdict, Weak},
    record::{Account, AccountState, Change, Code, Deed, Purpose, Register, Session, Token},
    role::{Permission, Principal, Role, Via},
    secret::{NoEntropy, digest, secret, typed_secret},
    throttle::Throttle,
};
use alidade_model::time::UtcTime;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Half an hour without use ends a session, seconds.
pub const IDLE_S: f64 = 1800.0;
/// Twelve hours end it in any case, seconds.
pub const SESSION_S: f64 = 12.0 * 3600.0;
/// A code by mail works for an hour, seconds.
pub const CODE_S: f64 = 3600.0;
/// The first administrator has a day, then a restart gives a new code, seconds.
pub const FIRST_CODE_S: f64 = 24.0 * 3600.0;
/// Longest life of a token, days.
pub const TOKEN_DAYS: u32 = 366;
/// Sessions and tokens are noted as used at most once a minute, seconds.
const NOTED_S: f64 = 60.0;
/// Every token begins with it, so that one that has leaked is recognised.
pub const TOKEN_PREFIX: &str = "ali_";

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

    /// A code for the first administrator, as long as there is none: for the log. Every start makes a new one.
    pub fn first_code(&mut self, now: UtcTime) -> Result<Option<String>, Refused> {
        if self.administrators()? > 0 {
            return Ok(None);
        }
        let code = typed_secret()?;
        let kept_code = Code {
            digest: digest(&code),
            purpose: Purpose::FirstAdministrator,
            account: String::new(),
            expires_at: now.plus_seconds(FIRST_CODE_S),
        };
        self.register.apply(&[Change::Give(kept_code)], None).map_err(kept)?;
        Ok(Some(code))
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

    /// Makes the first administrator.
    pub fn first_administrator(
        &mut self,
        code: &str,
        profile: &Profile,
        password: &str,
        by: By<'_>,
    ) -> Result<Account, Refused> {
        let code = self.code_for(code, Purpose::FirstAdministrator, by)?;
        if self.administrators()? > 0 {
            return Err(Refused::NotTheFirst);
        }
        let profile = checked(profile)?;
        let account = Account {
            password: Some(good(password, &profile)?),
            id: profile.account,
            name: profile.name,
            email: profile.email,
            institute: profile.institute,
            role: Role::Administrator,
            state: AccountState::Active,
            created_at: by.now,
        };
        let changes = [Change::Take(code.digest), Change::Create(account.clone())];
        let deed = By { who: &account.id, ..by }.deed("first_administrator", &account.id, "done");
        if self.apply(&changes, deed)? {
            Ok(account)
        } else {
            Err(Refused::Taken(account.id))
        }
    }

    /// Signs up; the account waits to be validated. An address that is known already is answered like a new one, and its
    /// owner gets a letter.
    pub fn sign_up(&mut self, profile: &Profile, password: &str, by: By<'_>) -> Result<Option<Letter>, Refused> {
        let from = format!("sign-up from {}", by.address);
        self.tried(&[&from], by.now)?;
        let profile = checked(profile)?;
        let hashed = good(password, &profile)?;
        if self.register.account(&profile.account).map_err(kept)?.is_some() {
            return Err(Refused::Taken(profile.account));
        }
        // Counted whether it succeeds or not: nobody signs up six times in a quarter of an hour.
        self.throttle.failed(&from, by.now);
        if self.register.account_by_email(&profile.email).map_err(kept)?.is_some() {
            return Ok(Some(Letter {
                to: profile.email,
                subject: "You have an account already".into(),
                body: "Somebody, perhaps you, asked for an account with this address, which has one. If you have \
                       forgotten your password, ask for a new one on the login page. Otherwise you need do nothing.\n"
                    .into(),
            }));
        }
        let account = Account {
            id: profile.account,
            name: profile.name,
            email: profile.email,
            institute: profile.institute,
            role: Role::Observer,
            state: AccountState::Waiting,
            password: Some(hashed),
            created_at: by.now,
        };
        let deed = By { who: &account.id, ..by }.deed("sign_up", &account.id, "done");
        if self.apply(&[Change::Create(account.clone())], deed)? {
            Ok(None)
        } else {
            Err(Refused::Taken(account.id))
        }
    }

    /// An account made by an administrator: active, without a password until its owner uses the code that is returned.
    pub fn add(&mut self, profile: &Profile, role: Role, by: By<'_>) -> Result<(Account, String), Refused> {
        let profile = checked(profile)?;
        let account = Account {
            id: profile.account,
            name: profile.name,
            email: profile.email,
            institute: profile.institute,
            role,
            state: AccountState::Active,
            password: None,
            created_at: by.now,
        };
        let (code, given) = password_code(&account.id, by.now)?;
        let changes = [Change::Create(account.clone()), Change::Give(given)];
        if self.apply(&changes, by.deed("add", &account.id, format!("done: {role}")))? {
            Ok((account, code))
        } else {
            Err(Refused::Taken(account.id))
        }
    }

    /// Opens a session; the secret is for the cookie. `login` is the account or its address.
    pub fn log_in(
        &mut self,
        login: &str,
        password: &str,
        agent: &str,
        by: By<'_>,
    ) -> Result<(String, Account), Refused> {
        let login = login.trim().to_lowercase();
        let login = if login.chars().count() > LONGEST {
            String::new()
        } else {
            login
        };
        let (name, from) = (
            format!("login as {login} from {}", by.address),
            format!("login from {}", by.address),
        );
        self.tried(&[&name, &from], by.now)?;
        let found = match login.contains('@') {
            true => self.register.account_by_email(&login),
            false => self.register.account(&login),
        }
        .map_err(kept)?;
        let kept_hash = found.as_ref().and_then(|account| account.password.as_deref());
        let verdict = password::verify(password, kept_hash)?;
        let Some(mut account) = found.filter(|_| verdict != Verdict::Wrong) else {
            self.throttle.failed(&name, by.now);
            self.throttle.failed(&from, by.now);
            let deed = By { who: "?", ..by }.deed("login", &login, Refused::WrongLogin.to_string());
            self.apply(&[], deed)?;
            return Err(Refused::WrongLogin);
        };
        self.throttle.succeeded(&name);
        self.throttle.succeeded(&from);
        let by = By {
            who: &account.id.clone(),
            ..by
        };
        if let Err(refused) = account.open() {
            self.apply(&[], by.deed("login", &account.id, refused.to_string()))?;
            return Err(refused);
        }
        let cookie = secret("")?;
        let session = Session {
            digest: digest(&cookie),
            account: account.id.clone(),
            created_at: by.now,
            seen_at: by.now,
            address: by.address.into(),
            agent: agent.chars().filter(|c| !c.is_control()).take(200).collect(),
        };
        let mut changes = vec![Change::Begin(session)];
        if verdict == Verdict::RightButOld {
            account.password = Some(password::hash(password)?);
            changes.push(Change::Update(account.clone()));
        }
        self.apply(&changes, by.deed("login", &account.id, "done"))?;
        Ok((cookie, account))
    }

    /// Who a cookie belongs to.
    pub fn by_session(&mut self, cookie: &str, address: &str, now: UtcTime) -> Result<(Principal, Account), Refused> {
        let digest = digest(cookie);
        let session = self
            .register
            .session(&digest)
            .map_err(kept)?
            .ok_or(Refused::SessionEnded)?;
        let (idle, age) = (
            now.seconds_since(session.seen_at),
            now.seconds_since(session.created_at),
        );
        let account = self.register.account(&session.account).map_err(kept)?;
        let Some(account) = account.filter(|a| idle < IDLE_S && age < SESSION_S && a.state == AccountState::Active)
        else {
            self.register.apply(&[Change::End(digest)], None).map_err(kept)?;
            return Err(Refused::SessionEnded);
        };
        if idle > NOTED_S {
            let seen = Change::Seen {
                session: digest,
                at: now,
            };
            self.register.apply(&[seen], None).map_err(kept)?;
        }
        let principal = Principal {
            account: Some(account.id.clone()),
            role: account.role,
            scopes: None,
            via: Via::Session,
            address: address.into(),
        };
        Ok((principal, account))
    }

    /// Who a token belongs to.
    pub fn by_token(&mut self, offered: &str, address: &str, now: UtcTime) -> Result<Principal, Refused> {
        let token = self.register.token(&digest(offered)).map_err(kept)?;
        let token = token.filter(|t| now < t.expires_at).ok_or(Refused::UnknownToken)?;
        let account = self.register.account(&token.account).map_err(kept)?;
        let account = account
            .filter(|a| a.state == AccountState::Active)
            .ok_or(Refused::UnknownToken)?;
        if token.used_at.is_none_or(|at| now.seconds_since(at) > NOTED_S) {
            let used = Change::Used {
                token: token.digest,
                at: now,
            };
            self.register.apply(&[used], None).map_err(kept)?;
        }
        Ok(Principal {
            account: Some(account.id),
            role: account.role,
            scopes: Some(token.scopes),
            via: Via::Token,
            address: address.into(),
        })
    }

    pub fn log_out(&mut self, cookie: &str, by: By<'_>) -> Result<(), Refused> {
        self.apply(&[Change::End(digest(cookie))], by.deed("logout", by.who, "done"))?;
        Ok(())
    }

    /// Ends every session of an account, but perhaps the one with this cookie.
    pub fn log_out_everywhere(&mut self, account: &str, but: Option<&str>, by: By<'_>) -> Result<(), Refused> {
        let change = Change::EndAll {
            account: account.into(),
            but: but.map(digest),
        };
        self.apply(&[change], by.deed("logout_everywhere", account, "done"))?;
        Ok(())
    }

    /// Asks for a new password. The letter is for the owner of the address, if there is one; the asker is told the same in
    /// any case.
    pub fn ask_new_password(
        &mut self,
        email: &str,
        link: impl Fn(&str) -> String,
        by: By<'_>,
    ) -> Result<Option<Letter>, Refused> {
        let email = email.trim().to_lowercase();
        let (from, to) = (format!("recovery from {}", by.address), format!("recovery of {email}"));
        self.tried(&[&from, &to], by.now)?;
        self.throttle.failed(&from, by.now);
        self.throttle.failed(&to, by.now);
        let account = self.register.account_by_email(&email).map_err(kept)?;
        let Some(account) = account.filter(|a| a.state != AccountState::Disabled) else {
            self.apply(
                &[],
                By { who: "?", ..by }.deed("ask_new_password", &email, "no such account"),
            )?;
            return Ok(None);
        };
        let (code, given) = password_code(&account.id, by.now)?;
        self.apply(
            &[Change::Give(given)],
            By { who: "?", ..by }.deed("ask_new_password", &account.id, "done"),
        )?;
        Ok(Some(Letter {
            to: account.email,
            subject: "A new password".into(),
            body: format!(
                "Somebody, perhaps you, asked for a new password of the account {}.\n\nCode: {code}\n{}\n\nIt works once, \
                 for an hour. If it was not you, you need do nothing.\n",
                account.id,
                link(&code)
            ),
        }))
    }

    /// A code by which somebody sets a new password, for an administrator to hand over.
    pub fn new_password_code(&mut self, id: &str, by: By<'_>) -> Result<String, Refused> {
        let account = self.find(id)?;
        let (code, given) = password_code(&account.id, by.now)?;
        self.apply(&[Change::Give(given)], by.deed("password_code", &account.id, "done"))?;
        Ok(code)
    }

    /// Sets a password by a code; ends all sessions of the account.
    pub fn set_password(&mut self, code: &str, password: &str, by: By<'_>) -> Result<Account, Refused> {
        let code = self.code_for(code, Purpose::NewPassword, by)?;
        let mut account = self.find(&code.account)?;
        account.password = Some(good(password, &account.profile())?);
        let changes = [
            Change::Take(code.digest),
            Change::Update(account.clone()),
            Change::EndAll {
                account: account.id.clone(),
                but: None,
            },
        ];
        if self.apply(
            &changes,
            By { who: &account.id, ..by }.deed("new_password", &account.id, "done"),
        )? {
            Ok(account)
        } else {
            Err(Refused::UnknownCode)
        }
    }

    /// Changes one's own password; ends all other sessions.
    pub fn change_password(
        &mut self,
        id: &str,
        old: &str,
        new: &str,
        cookie: Option<&str>,
        by: By<'_>,
    ) -> Result<(), Refused> {
        let mut account = self.find(id)?;
        let key = format!("password of {id} from {}", by.address);
        self.tried(&[&key], by.now)?;
        if password::verify(old, account.password.as_deref())? == Verdict::Wrong {
            self.throttle.failed(&key, by.now);
            return Err(Refused::WrongLogin);
        }
        account.password = Some(good(new, &account.profile())?);
        let all = Change::EndAll {
            account: account.id.clone(),
            but: cookie.map(digest),
        };
        self.apply(&[Change::Update(account), all], by.deed("change_password", id, "done"))?;
        Ok(())
    }

    /// Changes name and institute of an account.
    pub fn change_profile(&mut self, id: &str, name: &str, institute: &str, by: By<'_>) -> Result<Account, Refused> {
        let account = self.with_profile(id, name, institute)?;
        self.apply(&[Change::Update(account.clone())], by.deed("profile", id, "done"))?;
        Ok(account)
    }

    /// The account as [`Desk::change_profile`] would leave it; nothing is changed.
    pub fn with_profile(&mut self, id: &str, name: &str, institute: &str) -> Result<Account, Refused> {
        let mut account = self.find(id)?;
        let wanted = Profile {
            name: name.into(),
            institute: institute.into(),
            ..account.profile()
        };
        let profile = checked(&wanted)?;
        (account.name, account.institute) = (profile.name, profile.institute);
        Ok(account)
    }

    /// Lets an account that waits in.
    pub fn validate(&mut self, id: &str, role: Role, by: By<'_>) -> Result<(Account, Letter), Refused> {
        let mut account = self.find(id)?;
        if account.state != AccountState::Waiting {
            return Err(Refused::Bad {
                field: "account",
                cause: format!("{id} does not wait to be validated"),
            });
        }
        account.role = role;
        account.state = AccountState::Active;
        self.apply(
            &[Change::Update(account.clone())],
            by.deed("validate", id, format!("done: {role}")),
        )?;
        let letter = Letter {
            to: account.email.clone(),
            subject: "Your account is open".into(),
            body: format!("The account {id} has been validated, with the role {role}. You can log in now.\n"),
        };
        Ok((account, letter))
    }

    /// Removes an account that waits.
    pub fn refuse(&mut self, id: &str, by: By<'_>) -> Result<(), Refused> {
        let account = self.find(id)?;
        if account.state != AccountState::Waiting {
            return Err(Refused::Bad {
                field: "account",
                cause: format!("{id} has been validated; it can be disabled, not refused"),
            });
        }
        self.apply(&[Change::Remove(id.into())], by.deed("refuse", id, "done"))?;
        Ok(())
    }

    pub fn set_role(&mut self, id: &str, role: Role, by: By<'_>) -> Result<Account, Refused> {
        let mut account = self.find(id)?;
        self.one_administrator_stays(&account, role == Role::Administrator)?;
        account.role = role;
        self.apply(
            &[Change::Update(account.clone())],
            by.deed("role", id, format!("done: {role}")),
        )?;
        Ok(account)
    }

    /// Disabling ends all sessions and tokens at once.
    pub fn set_disabled(&mut self, id: &str, disabled: bool, by: By<'_>) -> Result<Account, Refused> {
        let mut account = self.find(id)?;
        if account.state == AccountState::Waiting {
            return Err(Refused::Waiting);
        }
        self.one_administrator_stays(&account, !disabled)?;
        account.state = if disabled {
            AccountState::Disabled
        } else {
            AccountState::Active
        };
        let mut changes = vec![Change::Update(account.clone())];
        if disabled {
            changes.push(Change::EndAll {
                account: id.into(),
                but: None,
            });
            changes.push(Change::RevokeAll(id.into()));
        }
        let action = if disabled { "disable" } else { "enable" };
        self.apply(&changes, by.deed(action, id, "done"))?;
        Ok(account)
    }

    fn one_administrator_stays(&mut self, account: &Account, stays: bool) -> Result<(), Refused> {
        let is = account.role == Role::Administrator && account.state == AccountState::Active;
        if is && !stays && self.administrators()? <= 1 {
            return Err(Refused::LastAdministrator);
        }
        Ok(())
    }

    /// A token for a machine; the secret is shown this once.
    pub fn issue_token(
        &mut self,
        id: &str,
        name: &str,
        scopes: BTreeSet<Permission>,
        days: u32,
        by: By<'_>,
    ) -> Result<(String, Token), Refused> {
        let bad = |field, cause: String| Refused::Bad { field, cause };
        let account = self.find(id)?;
        account.open()?;
        let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !(1..=40).contains(&name.len()) || !letters {
            return Err(bad(
                "name",
                "1 to 40 letters, digits, dots, underscores or hyphens".into(),
            ));
        }
        if !(1..=TOKEN_DAYS).contains(&days) {
            return Err(bad("days", format!("1 to {TOKEN_DAYS}")));
        }
        if scopes.is_empty() {
            return Err(bad("scopes", "at least one".into()));
        }
        if let Some(beyond) = scopes.iter().find(|scope| !account.role.may(**scope)) {
            return Err(Refused::BeyondOwner(*beyond));
        }
        let offered = secret(TOKEN_PREFIX)?;
        let token = Token {
            digest: digest(&offered),
            name: name.into(),
            account: id.into(),
            scopes,
            created_at: by.now,
            expires_at: by.now.plus_seconds(f64::from(days) * 86_400.0),
            used_at: None,
        };
        if self.apply(
            &[Change::Issue(token.clone())],
            by.deed("token", id, format!("done: {name}")),
        )? {
            Ok((offered, token))
        } else {
            Err(bad("name", format!("{id} has a token {name} already")))
        }
    }

    pub fn revoke_token(&mut self, id: &str, name: &str, by: By<'_>) -> Result<(), Refused> {
        let change = Change::Revoke {
            account: id.into(),
            name: name.into(),
        };
        if self.apply(&[change], by.deed("revoke", id, format!("done: {name}")))? {
            Ok(())
        } else {
            Err(Refused::UnknownToken)
        }
    }
}

fn password_code(account: &str, now: UtcTime) -> Result<(String, Code), Refused> {
    let code = typed_secret()?;
    let given = Code {
        digest: digest(&code),
        purpose: Purpose::NewPassword,
        account: account.into(),
        expires_at: now.plus_seconds(CODE_S),
    };
    Ok((code, given))
}

#[cfg(test)]
mod tests;
