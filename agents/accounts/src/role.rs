//! Roles, permissions, principals.
//!
//! Each role may do what the one before it may, and more:
//!
//! | role | may also |
//! |---|---|
//! | visitor | read what everybody may read |
//! | observer | submit requests, cancel and follow their own, read their own data, run pipelines on them |
//! | expert | read everybody's data, change strategies, review data, install packages |
//! | operator | command the observatory: close, abort, pause, release, acknowledge, overrides, devices, alert packets |
//! | administrator | accounts, roles, tokens of machines, quotas; read the audit |
//!
//! A *scope* narrows: a token carries a set of permissions, and may what both it and its owner's role allow.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

macro_rules! named {
    ($(#[$outer:meta])* $kind:ident, $what:literal { $($(#[$inner:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $kind { $($(#[$inner])* $variant),+ }

        impl $kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|one| one.name() == text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|one| one.name()).collect();
                    format!("{text} is not a {}; known are {}", $what, known.join(", "))
                })
            }
        }
    };
}

named!(
    /// What somebody is to the observatory; ordered by what they may do.
    Role, "role" {
        Visitor = "visitor",
        Observer = "observer",
        Expert = "expert",
        Operator = "operator",
        Administrator = "administrator",
    }
);

named!(
    /// One kind of thing that can be done.
    Permission, "permission" {
        /// State, schedule, alerts, journal: what the dashboard shows.
        Read = "read",
        /// One's own account, sessions and tokens.
        OwnAccount = "own_account",
        /// One's own frames and products.
        ReadOwnData = "read_own_data",
        /// Requests of one's own: submit, cancel, ask again.
        Submit = "submit",
        RunPipelines = "run_pipelines",
        ReadAllData = "read_all_data",
        ChangeStrategies = "change_strategies",
        Review = "review",
        InstallPackages = "install_packages",
        /// Requests in anybody's name.
        SubmitForAll = "submit_for_all",
        /// Close, abort, pause, resume, latch, release, acknowledge.
        Operate = "operate",
        Override = "override",
        Devices = "devices",
        /// Alert packets by hand.
        SendPackets = "send_packets",
        ManageAccounts = "manage_accounts",
        ReadAudit = "read_audit",
    }
);

impl Permission {
    /// The least role that has it.
    pub fn least_role(self) -> Role {
        use Permission as P;
        match self {
            P::Read => Role::Visitor,
            P::OwnAccount | P::ReadOwnData | P::Submit | P::RunPipelines => Role::Observer,
            P::ReadAllData | P::ChangeStrategies | P::Review | P::InstallPackages => Role::Expert,
            P::SubmitForAll | P::Operate | P::Override | P::Devices | P::SendPackets => Role::Operator,
            P::ManageAccounts | P::ReadAudit => Role::Administrator,
        }
    }
}

impl Role {
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }
}

/// How a principal has shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Not at all.
    Nothing,
    /// By being at the machine itself.
    Machine,
    Session,
    Token,
}

/// Whoever a request comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// The account; none for visitors, for somebody at the machine, and for the token of the configuration.
    pub account: Option<String>,
    pub role: Role,
    /// Narrows the role; none narrows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Permission>>,
    pub via: Via,
    /// Where the request comes from.
    pub address: String,
}

/// Why a principal may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// They have not said who they are.
    Unknown,
    /// Their role does not reach that far.
    Role,
    /// Their token does not.
    Scope,
}

impl Principal {
    pub fn visitor(address: impl Into<String>) -> Self {
        Self {
            account: None,
            role: Role::Visitor,
            scopes: None,
            via: Via::Nothing,
            address: address.into(),
        }
    }

    pub fn may(&self, permission: Permission) -> Result<(), Barred> {
        if !self.role.may(permission) {
            return Err(if self.via == Via::Nothing {
                Barred::Unknown
            } else {
                Barred::Role
            });
        }
        match &self.scopes {
            Some(scopes) if !scopes.contains(&permission) => Err(Barred::Scope),
            _ => Ok(()),
        }
    }

    /// Name for the journal and the audit.
    pub fn name(&self) -> String {
        match (&self.account, self.via) {
            (Some(account), Via::Token) => format!("{account} (token)"),
            (Some(account), _) => account.clone(),
            (None, Via::Token) => format!("token from {}", self.address),
            (None, _) => self.address.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_one_before_may_and_more() {
        for pair in Role::ALL.windows(2) {
            let of = |role: Role| -> Vec<_> { Permission::ALL.iter().filter(|p| role.may(**p)).collect() };
            let (less, more) = (of(pair[0]), of(pair[1]));
            assert!(less.iter().all(|p| more.contains(p)));
            assert!(more.len() > less.len(), "{} may no more than {}", pair[1], pair[0]);
        }
        assert!(Permission::ALL.iter().all(|p| Role::Administrator.may(*p)));
    }

    #[test]
    fn a_token_may_only_what_both_it_and_its_owner_may() {
        let mut principal = Principal {
            account: Some("ada".into()),
            role: Role::Observer,
            scopes: Some([Permission::Submit, Permission::Operate].into()),
            via: Via::Token,
            address: "10.0.0.7".into(),
        };
        assert_eq!(principal.may(Permission::Submit), Ok(()));
        assert_eq!(principal.may(Permission::Operate), Err(Barred::Role));
        assert_eq!(principal.may(Permission::Read), Err(Barred::Scope));
        assert_eq!(principal.name(), "ada (token)");
        principal.scopes = None;
        assert_eq!(principal.may(Permission::Read), Ok(()));
    }

    #[test]
    fn names_are_read_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(*role));
        }
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(*permission));
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.name());
        }
        assert!("king".parse::<Role>().unwrap_err().contains("administrator"));
    }
}
