//! A folder of strategy files, read whole or not at all. The one place under [`super`] that touches files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Strategy, StrategyError, Syntax, from_text};

/// What is wrong with a folder of strategies.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or the folder cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is wrong.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: StrategyError,
    },
    /// Two files give the same name.
    #[error("{path}: strategy \"{name}\" is also in {other}", path = .path.display(), other = .other.display())]
    Twice {
        /// The second file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The first file.
        other: PathBuf,
    },
}

/// Reads every `*.toml`, `*.yaml` and `*.yml` of a folder, in order of file name.
///
/// # Errors
/// The first thing wrong: a reload with a fault in it changes nothing.
pub fn load_folder(folder: &Path) -> Result<Vec<Strategy>, FolderError> {
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| FolderError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if let Some(syntax) = Syntax::of(&path) {
            paths.push((path, syntax));
        }
    }
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    let mut strategies = Vec::new();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (path, syntax) in paths {
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let strategy = from_text(&text, syntax).map_err(|source| FolderError::File {
            path: path.clone(),
            source,
        })?;
        if let Some(other) = seen.insert(strategy.name.clone(), path.clone()) {
            return Err(FolderError::Twice {
                path,
                name: strategy.name,
                other,
            });
        }
        strategies.push(strategy);
    }
    Ok(strategies)
}
