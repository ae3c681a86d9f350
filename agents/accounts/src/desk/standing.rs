//! What an account is and may do: its profile, its role, whether it is open.

use super::{By, Desk, Profile, Refused, checked};
use crate::{
    record::{Account, AccountState, Change, Register},
    role::Role,
};

impl<R: Register> Desk<R> {
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
}
