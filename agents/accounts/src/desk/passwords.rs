//! Passwords that are changed, or forgotten and made anew by a code.

use super::{By, Desk, Letter, Refused, good, kept};
use crate::{
    password::{self, Verdict},
    record::{Account, AccountState, Change, Code, Purpose, Register},
    secret::{digest, typed_secret},
};
use alidade_model::time::UtcTime;

/// A code by mail works for an hour, seconds.
pub const CODE_S: f64 = 3600.0;

impl<R: Register> Desk<R> {
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
}

/// A code that sets a password, as it is told and as it is kept.
pub(super) fn password_code(account: &str, now: UtcTime) -> Result<(String, Code), Refused> {
    let code = typed_secret()?;
    let given = Code {
        digest: digest(&code),
        purpose: Purpose::NewPassword,
        account: account.into(),
        expires_at: now.plus_seconds(CODE_S),
    };
    Ok((code, given))
}
