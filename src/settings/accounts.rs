//! Who may use the doors.

use alidade_accounts::Role;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who may read without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    #[default]
    Everybody,
    Members,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountsSettings {
    /// What somebody at this machine is who has not logged in; `visitor` means that everybody has to.
    pub at_the_machine: Role,
    pub reading: Reading,
    /// Where people find the dashboard, for links in letters.
    pub address: Option<String>,
    /// Letters: a code for a new password, an account that is open. Without it administrators hand codes over.
    pub mail: Option<MailSettings>,
}

impl Default for AccountsSettings {
    fn default() -> Self {
        Self {
            at_the_machine: Role::Operator,
            reading: Reading::default(),
            address: None,
            mail: None,
        }
    }
}

/// A mail server to submit to.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    pub server: String,
    #[serde(default = "submission")]
    pub port: u16,
    /// STARTTLS is demanded; false only for a server on this machine.
    #[serde(default = "yes")]
    pub tls: bool,
    pub from: String,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
}

/// The port of mail submission (RFC 6409).
pub(super) fn submission() -> u16 {
    587
}

fn yes() -> bool {
    true
}
