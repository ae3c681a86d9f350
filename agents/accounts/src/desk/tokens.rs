//! Tokens: machines, and scripts of a person, with a part of what their owner may do.

use super::{By, Desk, NOTED_S, Refused, kept};
use crate::{
    record::{AccountState, Change, Register, Token},
    role::{Permission, Principal, Via},
    secret::{digest, secret},
};
use alidade_model::time::UtcTime;
use std::collections::BTreeSet;

/// Longest life of a token, days.
pub const TOKEN_DAYS: u32 = 366;
/// Every token begins with it, so that one that has leaked is recognised.
pub const TOKEN_PREFIX: &str = "ali_";

impl<R: Register> Desk<R> {
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
