//! Packages: programs of others, with their form, their icon and the root file system they run in.
//!
//! Terms: a *package* is an archive (tar, tar.gz or zip) with a *manifest* that says what it is called and what command it
//! runs; a *form* (a JSON Schema) from which a run is configured; perhaps an icon and documents; and a *root*: an unpacked
//! root file system, an OCI image layout, or none, when the machine's own programs will do. The *shelf* is the folder of
//! installed packages. A *run* executes a package's command on inputs. The states of both are those of Pirus.
//!
//! | module | holds |
//! |---|---|
//! | [`archive`] | unpacking that nothing escapes from |
//! | [`manifest`] | the manifest in its three spellings: ours, Pirus's, Regovar's |
//! | [`form`] | the form: what it may say, whether a configuration obeys it |
//! | [`image`] | OCI image layouts: digests checked, layers applied with their whiteouts |
//! | [`shelf`] | install, list, show, remove |
//! | [`runs`] | a run, its states, its progress |
//! | [`asker`] | whose things are whose |
//! | [`desk`] | all of it driven together, and taken up after a death |

pub mod archive;
pub mod asker;
pub mod desk;
pub mod form;
pub mod image;
pub mod manifest;
pub mod runs;
pub mod shelf;

pub use asker::Asker;
pub use desk::{Desk, DeskError, DeskSettings, NewRun};
pub use manifest::Manifest;
pub use runs::{PackageRun, RunBook};
pub use shelf::{Package, PackageState, Shelf};

use std::{io, path::PathBuf};

/// Why a package is refused or cannot be handled.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("unable to extract the package: corrupted file or wrong format ({0})")]
    Corrupt(String),
    #[error("the package is refused: entry {entry:?}: {cause}")]
    Escapes { entry: String, cause: &'static str },
    #[error("the package is refused: {0}")]
    TooLarge(String),
    #[error("the package has no manifest (pipeline.json, metadata.yaml or manifest.json)")]
    NoManifest,
    #[error("{file}: {}", faults.join("; "))]
    Manifest { file: String, faults: Vec<String> },
    #[error("missing: {}", .0.join(", "))]
    Missing(Vec<String>),
    #[error("already installed as {0}")]
    AlreadyInstalled(String),
    #[error("there is no package {0}")]
    Unknown(String),
    #[error("package {id} is {state}: {cause}")]
    NotReady {
        id: String,
        state: PackageState,
        cause: String,
    },
    #[error("{file}: {cause}")]
    Io { file: PathBuf, cause: io::Error },
}

impl PackageError {
    /// For `map_err`.
    pub(crate) fn at(file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |cause| Self::Io { file, cause }
    }
}
