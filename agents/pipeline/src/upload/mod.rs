//! Resumable upload by tus 1.0.0 (tus.io, "Resumable Upload Protocol"), the part below HTTP.
//!
//! Terms: an *upload* is a file that comes in pieces; its *offset* is how many of its bytes are here, which is the length of
//! its file on disk, so it survives the death of the daemon without being written anywhere else. A *session* is one
//! request that appends. Extensions: creation (also with a first piece), checksum (`sha1`, `sha256`), expiration,
//! termination, concatenation.
//!
//! Durability: each session ends with `fdatasync`, so an acknowledged offset survives loss of power; a session that is cut
//! keeps what came, which survives the death of the daemon. A piece with a checksum counts only when it is whole and
//! right: its beginning is noted before its first byte, and whoever finds the note cuts the file back to there.
//! Memory: a session holds one buffer of the caller's, whatever the size of the upload.
//!
//! Whoever asks for the offset or begins a session ends the session before it: a connection that died without a word
//! neither blocks its successor nor writes behind its back.

mod store;

pub use store::{Session, Upload, UploadKind, Uploads};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io};

/// The version of the protocol, in `Tus-Resumable` and `Tus-Version`.
pub const VERSION: &str = "1.0.0";
/// `Tus-Extension`.
pub const EXTENSIONS: &str = "creation,creation-with-upload,checksum,expiration,termination,concatenation";
/// `Tus-Checksum-Algorithm`.
pub const ALGORITHMS: &str = "sha1,sha256";
/// Longest `Upload-Metadata`, bytes.
const METADATA_LIMIT: usize = 8192;

/// Why an upload request fails; [`UploadError::status`] is its HTTP status.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("there is no such upload")]
    Unknown,
    #[error("the upload has expired")]
    Expired,
    #[error("the upload is at offset {have}, not at {sent}")]
    WrongOffset { have: u64, sent: u64 },
    #[error("{0} bytes are more than are taken ({1})")]
    TooLarge(u64, u64),
    #[error("more bytes than Upload-Length says")]
    TooLong,
    #[error("{0}")]
    Bad(String),
    #[error("the checksum does not match: the piece is discarded")]
    Checksum,
    #[error("the file's sha256 is not the one of its metadata: the upload is discarded")]
    WrongFile,
    #[error("a newer request has taken the upload over")]
    Superseded,
    #[error("a final upload takes no bytes")]
    Final,
    #[error("a part is not complete")]
    Incomplete,
    #[error("the disk refuses: {0}")]
    Io(#[from] io::Error),
}

impl UploadError {
    /// The HTTP status; 460 is the protocol's own for a checksum that does not match.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Expired => 410,
            Self::WrongOffset { .. } | Self::Superseded => 409,
            Self::TooLarge(..) | Self::TooLong => 413,
            Self::Bad(_) | Self::Incomplete => 400,
            Self::Final => 403,
            Self::Checksum | Self::WrongFile => 460,
            Self::Io(cause) if cause.kind() == io::ErrorKind::StorageFull => 507,
            Self::Io(_) => 500,
        }
    }
}

/// `Upload-Metadata`: pairs of a key and a Base64 value, separated by commas.
pub fn metadata(header: &str) -> Result<BTreeMap<String, String>, UploadError> {
    if header.len() > METADATA_LIMIT {
        return Err(UploadError::Bad(format!(
            "Upload-Metadata is longer than {METADATA_LIMIT} bytes"
        )));
    }
    let mut pairs = BTreeMap::new();
    for pair in header.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let bad = || UploadError::Bad(format!("Upload-Metadata: the value of {key} is not Base64"));
        let value = STANDARD.decode(value.trim()).map_err(|_| bad())?;
        let value = String::from_utf8_lossy(&value).into_owned();
        if key.is_empty() || pairs.insert(key.to_owned(), value).is_some() {
            return Err(UploadError::Bad(format!("Upload-Metadata: key {key:?}")));
        }
    }
    Ok(pairs)
}

/// What a piece should sum up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
}

impl Checksum {
    /// `Upload-Checksum`: the algorithm and the digest in Base64.
    pub fn parse(header: &str) -> Result<Self, UploadError> {
        let (name, value) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        let algorithm = match name {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            other => {
                return Err(UploadError::Bad(format!(
                    "Upload-Checksum: {other:?} is not one of {ALGORITHMS}"
                )));
            }
        };
        let bad = |_| UploadError::Bad("Upload-Checksum: the digest is not Base64".into());
        let digest = STANDARD.decode(value.trim()).map_err(bad)?;
        Ok(Self { algorithm, digest })
    }

    fn sum(&self) -> Sum {
        match self.algorithm {
            Algorithm::Sha1 => Sum::Sha1(Sha1::new()),
            Algorithm::Sha256 => Sum::Sha256(Sha256::new()),
        }
    }
}

/// A digest under way.
enum Sum {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(sum) => sum.update(bytes),
            Self::Sha256(sum) => sum.update(bytes),
        }
    }
    fn done(self) -> Vec<u8> {
        match self {
            Self::Sha1(sum) => sum.finalize().to_vec(),
            Self::Sha256(sum) => sum.finalize().to_vec(),
        }
    }
}

/// `Upload-Concat`: a part, or the whole of parts named by their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concat {
    Partial,
    Final(Vec<String>),
}

impl Concat {
    pub fn parse(header: &str) -> Result<Self, UploadError> {
        let header = header.trim();
        if header == "partial" {
            return Ok(Self::Partial);
        }
        let parts = header
            .strip_prefix("final;")
            .ok_or_else(|| UploadError::Bad("Upload-Concat".into()))?;
        let last = |part: &str| {
            part.trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let ids: Vec<String> = parts.split_whitespace().map(last).collect();
        if ids.is_empty() {
            return Err(UploadError::Bad("Upload-Concat: there are no parts".into()));
        }
        Ok(Self::Final(ids))
    }
}
