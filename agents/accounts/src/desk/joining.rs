//! How somebody comes to have an account: the first administrator, signing up, being let in or refused.

use super::{By, Desk, Letter, Profile, Refused, checked, good, kept, passwords::password_code};
use crate::{
    record::{Account, AccountState, Change, Code, Purpose, Register},
    role::Role,
    secret::{digest, typed_secret},
};
use alidade_model::time::UtcTime;

/// The first administrator has a day, then a restart gives a new code, seconds.
pub const FIRST_CODE_S: f64 = 24.0 * 3600.0;

impl<R: Register> Desk<R> {
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
}
