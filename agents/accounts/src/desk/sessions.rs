//! Browsers that have logged in.

use super::{By, Desk, NOTED_S, Refused, kept};
use crate::{
    password::{self, LONGEST, Verdict},
    record::{Account, AccountState, Change, Register, Session},
    role::{Principal, Via},
    secret::{digest, secret},
};
use alidade_model::time::UtcTime;

/// Half an hour without use ends a session, seconds.
pub const IDLE_S: f64 = 1800.0;
/// Twelve hours end it in any case, seconds.
pub const SESSION_S: f64 = 12.0 * 3600.0;

impl<R: Register> Desk<R> {
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
}
