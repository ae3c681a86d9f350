//! Who may use the doors: the accounts, as the HTTP gateway asks them.
//!
//! Two desks on two connections: at the *counter* passwords are hashed, one after the other, which costs tens of
//! milliseconds each by design; at the *door* cookies and tokens are looked at, which everybody waits for.

use crate::{
    clock::utc_now,
    store::{Durability, OpenOptions, Store, StoreError},
};
use alidade_accounts::{Desk, Refused, desk::Letter, record::Chain};
use alidade_model::time::UtcTime;
use std::sync::{Arc, Mutex, PoisonError};

/// Sends a letter; blocks.
pub type Post = Arc<dyn Fn(&Letter) -> Result<(), String> + Send + Sync>;

/// See the module's text.
pub struct People {
    counter: Mutex<Desk<Store>>,
    door: Mutex<Desk<Store>>,
    /// How far the audit was found whole.
    chain: Mutex<Chain>,
    /// Without it there are no letters: an administrator hands codes over.
    post: Option<Post>,
    /// Where people find the dashboard, for links in letters.
    pub address: Option<String>,
    /// Whether one must be logged in to read.
    pub members_only: bool,
}

impl People {
    /// `url` is the database's, whose schema is of this build already.
    pub fn open(
        url: &str,
        post: Option<Post>,
        address: Option<String>,
        members_only: bool,
    ) -> Result<Self, StoreError> {
        let options = OpenOptions {
            migrate: false,
            durability: Durability::Durable,
        };
        Ok(Self {
            counter: Mutex::new(Desk::new(Store::open(url, options)?)),
            door: Mutex::new(Desk::new(Store::open(url, options)?)),
            chain: Mutex::default(),
            post,
            address,
            members_only,
        })
    }

    /// Where passwords are hashed. Blocks.
    pub fn at_the_counter<T>(
        &self,
        work: impl FnOnce(&mut Desk<Store>, UtcTime) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut desk = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut desk, UtcTime::new(utc_now()))
    }

    /// Where nothing is hashed. Blocks for one look into the database.
    pub fn at_the_door<T>(
        &self,
        work: impl FnOnce(&mut Desk<Store>, UtcTime) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut desk = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut desk, UtcTime::new(utc_now()))
    }

    /// How far the audit was found whole before.
    pub fn chain(&self) -> Chain {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps how far the audit is whole, for the next look.
    pub fn keep(&self, chain: Chain) {
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }

    /// Sends a letter, if letters are sent here. A fault is for the log: who asked must not learn whether there is an account.
    pub fn send(&self, letter: &Letter) {
        let Some(post) = &self.post else {
            tracing::warn!(
                subject = letter.subject,
                "no mail is set up ([accounts.mail]); the letter is not sent"
            );
            return;
        };
        if let Err(cause) = post(letter) {
            tracing::error!(cause, subject = letter.subject, "letter not sent");
        }
    }

    pub fn sends_letters(&self) -> bool {
        self.post.is_some()
    }
}
