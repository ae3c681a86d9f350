//! The archive (the seed's NGAS): documents by name, each written once, whole, and known by its SHA-256.
//!
//! A document's name is `<group>/<file>`. Putting the same again changes nothing; another content under a known name is
//! refused. The default is a folder; with the feature `s3` it may be a bucket of an object store.

#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod s3_wire;

#[cfg(feature = "s3")]
pub use s3::S3Archive;

use crate::{manifest, products};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Why a document is refused or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{name}: {cause}")]
    Io { name: String, cause: io::Error },
    #[error("{name}: checksum mismatch: {found}, not {expected}")]
    Mismatch {
        name: String,
        expected: String,
        found: String,
    },
    #[error("{0}: another document has this name")]
    Exists(String),
    #[error("{0}")]
    BadName(String),
}

/// Where documents are kept for good.
pub trait Archive: Send + Sync {
    /// Takes a file whose content must have this checksum. True when it is new.
    fn put(&self, name: &str, from: &Path, sha256: &str) -> Result<bool, ArchiveError>;
    /// Reads the document: whether it is there and has this checksum.
    fn check(&self, name: &str, sha256: &str) -> Result<bool, ArchiveError>;
    /// A local file with its content.
    fn path(&self, name: &str) -> Result<PathBuf, ArchiveError>;
    /// The folder that it is, if it is one: the disk that has to have room.
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct S3Spec {
    pub bucket: String,
    #[serde(default = "first_region")]
    pub region: String,
    /// Such as `https://s3.example.org`; Amazon's when none. Plain HTTP is taken when it says so.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Names of documents begin with it.
    #[serde(default)]
    pub prefix: String,
    /// `aws_access_key_id = ...` and `aws_secret_access_key = ...`, a line each, as Amazon's programs keep them;
    /// the environment's `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` when none.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}

fn first_region() -> String {
    "us-east-1".into()
}

/// The archive in a bucket; what has to be a local file is fetched into a folder.
#[cfg(feature = "s3")]
pub fn s3(spec: &S3Spec, fetched: &Path) -> Result<std::sync::Arc<dyn Archive>, String> {
    S3Archive::open(spec, fetched).map(|archive| std::sync::Arc::new(archive) as std::sync::Arc<dyn Archive>)
}

/// This program has been built without it.
#[cfg(not(feature = "s3"))]
pub fn s3(spec: &S3Spec, _: &Path) -> Result<std::sync::Arc<dyn Archive>, String> {
    Err(format!(
        "bucket {}: this program is built without object stores (feature s3)",
        spec.bucket
    ))
}

/// An archive in a folder.
#[derive(Debug, Clone)]
pub struct FolderArchive {
    pub folder: PathBuf,
}

fn io_error(name: &str) -> impl Fn(io::Error) -> ArchiveError {
    let name = name.to_owned();
    move |cause| ArchiveError::Io {
        name: name.clone(),
        cause,
    }
}

/// `<group>/<file>`, both plain names.
pub fn check_name(name: &str) -> Result<(&str, &str), ArchiveError> {
    let parts = name.split_once('/');
    let (group, file) = parts.ok_or_else(|| ArchiveError::BadName(format!("{name:?} is not GROUP/FILE")))?;
    for part in [group, file] {
        products::check_name(part).map_err(ArchiveError::BadName)?;
    }
    Ok((group, file))
}

impl Archive for FolderArchive {
    fn put(&self, name: &str, from: &Path, sha256: &str) -> Result<bool, ArchiveError> {
        let (group, file) = check_name(name)?;
        let target = self.folder.join(name);
        let failed = io_error(name);
        if target.exists() {
            return match self.check(name, sha256)? {
                true => Ok(false),
                false => Err(ArchiveError::Exists(name.into())),
            };
        }
        fs::create_dir_all(self.folder.join(group)).map_err(&failed)?;
        let staged = self.folder.join(format!(".{}-{file}", &sha256[..sha256.len().min(16)]));
        fs::copy(from, &staged).map_err(&failed)?;
        let (found, _) = manifest::sha256_file(&staged, &mut |_| ()).map_err(&failed)?;
        if found != sha256 {
            let _ = fs::remove_file(&staged);
            return Err(ArchiveError::Mismatch {
                name: name.into(),
                expected: sha256.into(),
                found,
            });
        }
        File::open(&staged).and_then(|f| f.sync_data()).map_err(&failed)?;
        fs::rename(&staged, &target).map_err(&failed)?;
        Ok(true)
    }

    fn check(&self, name: &str, sha256: &str) -> Result<bool, ArchiveError> {
        check_name(name)?;
        match manifest::sha256_file(&self.folder.join(name), &mut |_| ()) {
            Ok((found, _)) => Ok(found == sha256),
            // A document that has not arrived is waited for; the seed's tracker died of it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(ArchiveError::Io {
                name: name.into(),
                cause,
            }),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        check_name(name)?;
        Ok(self.folder.join(name))
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_once_and_checked_whenever_it_is_asked_for() {
        let folder = std::env::temp_dir().join(format!("alidade-archive-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (source, archive) = (
            folder.join("x"),
            FolderArchive {
                folder: folder.join("a"),
            },
        );
        fs::write(&source, b"abc").unwrap();
        let sum = manifest::sha256(b"abc");
        assert!(
            !archive.check("g/f", &sum).unwrap(),
            "a missing document is not an error"
        );
        assert!(archive.put("g/f", &source, &sum).unwrap());
        assert!(!archive.put("g/f", &source, &sum).unwrap(), "the same again is nothing");
        assert!(archive.check("g/f", &sum).unwrap());
        assert!(matches!(
            archive.put("g/h", &source, &manifest::sha256(b"x")),
            Err(ArchiveError::Mismatch { .. })
        ));
        assert!(!folder.join("a/g/h").exists());
        fs::write(folder.join("a/g/f"), b"abd").unwrap();
        assert!(!archive.check("g/f", &sum).unwrap());
        assert!(matches!(
            archive.put("g/f", &source, &sum),
            Err(ArchiveError::Exists(_))
        ));
        for bad in ["f", "../f", "g/../f", "/g/f"] {
            assert!(archive.path(bad).is_err(), "{bad}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
