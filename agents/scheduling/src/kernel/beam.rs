//! Forward search over labels.
