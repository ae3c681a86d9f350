//! Manifests: what a products folder consists of, byte for byte.
//!
//! A *group* is a folder with `manifest.json` at its top: name, unit, run, and every file with size and SHA-256. The
//! SHA-256 of the manifest itself is the group's *digest*. `manifest-sha256.txt` beside it lists the same for
//! `sha256sum -c`. A group is whole when the digest is the promised one and every file is as the manifest says.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

pub const NAME: &str = "manifest.json";
pub const SUMS: &str = "manifest-sha256.txt";

/// One file, its path relative to the group with `/` between folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileSum {
    pub path: String,
    pub size: u64,
    pub sha256: String,
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub group: String,
    pub unit: String,
    pub run: String,
    pub files: Vec<FileSum>,
}

/// Why a group is not whole, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    #[error("{path}: {cause}")]
    Io { path: String, cause: io::Error },
    #[error("{path}: is not a manifest: {cause}")]
    NotAManifest { path: String, cause: String },
    #[error("{path}: checksum mismatch: {found}, not {expected}")]
    Mismatch {
        path: String,
        expected: String,
        found: String,
    },
    #[error("{path}: {found} bytes, not {expected}")]
    Size { path: String, expected: u64, found: u64 },
    #[error("{path}: is not in the manifest")]
    Stranger { path: String },
    #[error("{path}: leads out of its folder")]
    Escape { path: String },
}

impl Unsound {
    pub fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            cause,
        }
    }

    /// Whether the bytes are wrong, not the way to them.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            _ => true,
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 and size of a file; `pace` is called after each piece with its size, to bound the rate.
pub fn sha256_file(path: &Path, pace: &mut dyn FnMut(u64)) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok((hex(&hash.finalize()), size));
        }
        hash.update(&piece[..count]);
        size += count as u64;
        pace(count as u64);
    }
}

/// The path of a member, refused when it is not plainly below the folder.
pub fn member(folder: &Path, relative: &str) -> Result<PathBuf, Unsound> {
    let path = Path::new(relative);
    let plain = !relative.is_empty()
        && !relative.contains(['\\', '\0'])
        && path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain {
        Ok(folder.join(path))
    } else {
        Err(Unsound::Escape { path: relative.into() })
    }
}

/// Every regular file below a folder, relative, in order. Links are refused: they may lead anywhere.
pub fn files_below(folder: &Path) -> Result<Vec<String>, Unsound> {
    fn walk(top: &Path, folder: &Path, found: &mut Vec<String>) -> Result<(), Unsound> {
        for entry in fs::read_dir(folder).map_err(|e| Unsound::io(folder, e))? {
            let entry = entry.map_err(|e| Unsound::io(folder, e))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|e| Unsound::io(&path, e))?;
            if kind.is_dir() {
                walk(top, &path, found)?;
            } else {
                let relative = path.strip_prefix(top).ok().and_then(Path::to_str);
                let relative = relative.ok_or_else(|| Unsound::Escape {
                    path: path.display().to_string(),
                })?;
                if !kind.is_file() {
                    return Err(Unsound::Escape { path: relative.into() });
                }
                found.push(relative.to_owned());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found)?;
    found.sort();
    Ok(found)
}

impl Manifest {
    /// Reads and sums every file of a folder.
    pub fn of(folder: &Path, group: &str, unit: &str, run: &str) -> Result<Self, Unsound> {
        let mut files = Vec::new();
        for relative in files_below(folder)? {
            if relative == NAME || relative == SUMS {
                continue;
            }
            let path = folder.join(&relative);
            let (sum, size) = sha256_file(&path, &mut |_| ()).map_err(|e| Unsound::io(&path, e))?;
            files.push(FileSum {
                path: relative,
                size,
                sha256: sum,
            });
        }
        Ok(Self {
            group: group.into(),
            unit: unit.into(),
            run: run.into(),
            files,
        })
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The second manifest, as `sha256sum -c` reads it.
    fn sums(&self) -> String {
        let line = |file: &FileSum| format!("{}  {}\n", file.sha256, file.path);
        self.files.iter().map(line).collect()
    }

    /// Writes both manifests into the folder and returns the digest.
    pub fn write(&self, folder: &Path) -> Result<String, Unsound> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Unsound::NotAManifest {
            path: NAME.into(),
            cause: e.to_string(),
        })?;
        let sums = self.sums();
        for (name, text) in [(NAME, &text), (SUMS, &sums)] {
            let path = folder.join(name);
            File::create(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|e| Unsound::io(&path, e))?;
        }
        Ok(sha256(text.as_bytes()))
    }

    /// Reads the manifest of a folder; with a digest only that one.
    pub fn read(folder: &Path, digest: Option<&str>) -> Result<Self, Unsound> {
        let path = folder.join(NAME);
        let bytes = fs::read(&path).map_err(|e| Unsound::io(&path, e))?;
        if let Some(expected) = digest {
            let found = sha256(&bytes);
            if found != expected {
                return Err(Unsound::Mismatch {
                    path: NAME.into(),
                    expected: expected.into(),
                    found,
                });
            }
        }
        serde_json::from_slice(&bytes).map_err(|e| Unsound::NotAManifest {
            path: path.display().to_string(),
            cause: e.to_string(),
        })
    }

    /// Whether one file is as it should be.
    pub fn check(folder: &Path, file: &FileSum, pace: &mut dyn FnMut(u64)) -> Result<(), Unsound> {
        let path = member(folder, &file.path)?;
        let meta = fs::symlink_metadata(&path).map_err(|e| Unsound::io(&path, e))?;
        if !meta.is_file() {
            return Err(Unsound::Escape {
                path: file.path.clone(),
            });
        }
        if meta.len() != file.size {
            return Err(Unsound::Size {
                path: file.path.clone(),
                expected: file.size,
                found: meta.len(),
            });
        }
        let (found, _) = sha256_file(&path, pace).map_err(|e| Unsound::io(&path, e))?;
        if found != file.sha256 {
            return Err(Unsound::Mismatch {
                path: file.path.clone(),
                expected: file.sha256.clone(),
                found,
            });
        }
        Ok(())
    }
}

/// Reads a whole group again: the digest, every file, and that there is nothing else. `done` are files that have been
/// checked already.
pub fn verify(
    folder: &Path,
    digest: &str,
    done: &dyn Fn(&FileSum) -> bool,
    pace: &mut dyn FnMut(u64),
) -> Result<Manifest, Unsound> {
    let manifest = Manifest::read(folder, Some(digest))?;
    for file in &manifest.files {
        if !done(file) {
            Manifest::check(folder, file, pace)?;
        }
    }
    let sums = folder.join(SUMS);
    let (expected, found) = (manifest.sums(), fs::read(&sums).map_err(|e| Unsound::io(&sums, e))?);
    if found != expected.as_bytes() {
        return Err(Unsound::Mismatch {
            path: SUMS.into(),
            expected: sha256(expected.as_bytes()),
            found: sha256(&found),
        });
    }
    for path in files_below(folder)? {
        let known = path == NAME || path == SUMS || manifest.files.binary_search_by(|f| f.path.cmp(&path)).is_ok();
        if !known {
            return Err(Unsound::Stranger { path });
        }
    }
    Ok(manifest)
}
