//! What is kept, as the HTTP gateway reads it: a connection of its own, so that no reader waits for the daemon and the
//! daemon for no reader.

use crate::store::{Durability, OpenOptions, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};

/// The reader's connection.
pub struct Records(Arc<Mutex<Store>>);

impl Records {
    /// `url` is the database's, whose schema is of this build already.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let options = OpenOptions {
            migrate: false,
            durability: Durability::Durable,
        };
        Ok(Self::sharing(Arc::new(Mutex::new(Store::open(url, options)?))))
    }

    /// The writer's own connection: a database in memory, as simulated nights have, takes no second one.
    pub fn sharing(store: Arc<Mutex<Store>>) -> Self {
        Self(store)
    }

    /// Asks; blocks.
    pub fn ask<T>(&self, question: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        question(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
