//! Accounts: who uses the observatory, and what they may do.
//!
//! Terms: an *account* is a person with a role. A *session* is a browser that has logged in; a *token* is a machine, or a
//! script of a person, with a part of what its owner may do. A *code* is a secret that works once: for the first
//! administrator, and for a new password. A *principal* is whoever a request comes from, after that has been found out.
//!
//! Secrets are kept as digests only: passwords by Argon2id, everything else, being random, by SHA-256. Every change of an
//! account is one transaction with its line in the *audit*, whose lines are chained by their digests.
//!
//! | module | holds |
//! |---|---|
//! | [`role`] | pure: roles, permissions, principals |
//! | [`password`] | pure: what is accepted as a password; hashing |
//! | [`secret`] | random secrets and their digests |
//! | [`throttle`] | pure: how often somebody may try |
//! | [`record`] | accounts, sessions, tokens, codes and audit lines as they are kept; the port to where |
//! | [`desk`] | everything that can be asked for: sign up, log in, recover, validate ... |
//!
//! Nothing here reads a clock, and nothing but [`secret`] and [`password`]'s salts is random. All calls block: a password
//! costs tens of milliseconds by design.

pub mod desk;
pub mod password;
pub mod record;
pub mod role;
pub mod secret;
pub mod throttle;

pub use desk::{Desk, Refused};
pub use record::{Account, AccountState, Change, Register};
pub use role::{Permission, Principal, Role};
