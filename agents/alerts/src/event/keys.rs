//! A few keys in order. Most chains are one track and most events one chain: one key needs no memory beside its own.

use std::collections::BTreeSet;

use super::key::Key;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    One(Key),
    Many(Box<[Key]>),
}

impl Keys {
    pub fn as_slice(&self) -> &[Key] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Key> {
        self.as_slice().iter()
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: Key) {
        let left: BTreeSet<Key> = self.iter().copied().filter(|k| *k != key).collect();
        *self = Self::from(&left);
    }
}

impl From<&BTreeSet<Key>> for Keys {
    fn from(keys: &BTreeSet<Key>) -> Self {
        match (keys.first(), keys.len()) {
            (Some(only), 1) => Self::One(*only),
            _ => Self::Many(keys.iter().copied().collect()),
        }
    }
}
