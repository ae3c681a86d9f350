//! Uploads on disk: `ID.json` what is known, `ID.part` the bytes, `ID.piece` where an unjudged piece begins.

use super::{Checksum, Sum, UploadError};
use crate::packages::{image::fingerprint, shelf::is_id};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What an upload is in the extension "concatenation".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadKind {
    Whole,
    /// A part of a later whole.
    Partial,
    /// Made of these parts.
    Final(Vec<String>),
}

/// What is known of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub id: String,
    /// The account that began it.
    #[serde(default)]
    pub owner: Option<String>,
    /// None while the client has not said (`Upload-Defer-Length`).
    pub length: Option<u64>,
    /// The header as it came, and what it says.
    pub metadata_header: String,
    pub metadata: BTreeMap<String, String>,
    pub kind: UploadKind,
    pub created_at: UtcTime,
    pub expires_at: UtcTime,
}

impl Upload {
    /// The last component of the name that the client gave.
    pub fn file_name(&self) -> String {
        let name = self
            .metadata
            .get("filename")
            .or_else(|| self.metadata.get("name"))
            .map_or("", String::as_str);
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let clean: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
        if clean.is_empty() || clean.starts_with('.') {
            self.id.clone()
        } else {
            clean
        }
    }
}

/// Guards one upload: who came last may write.
#[derive(Debug, Default)]
struct Slot {
    generation: Mutex<u64>,
}

/// The folder of uploads.
#[derive(Debug)]
pub struct Uploads {
    root: PathBuf,
    /// Bytes, at most, of one upload.
    pub max_size: u64,
    /// An upload lives this long after its last piece, seconds.
    pub lifetime_s: f64,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// One request that appends.
#[derive(Debug)]
pub struct Session {
    id: String,
    slot: Arc<Slot>,
    generation: u64,
    file: File,
    offset: u64,
    length: Option<u64>,
    check: Option<(Checksum, u64)>,
    sum: Option<SumBox>,
    piece: PathBuf,
}

struct SumBox(Sum);

impl std::fmt::Debug for SumBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sum")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it leaves a number or a map, both whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploads {
    pub fn open(root: &Path, max_size: u64, lifetime_s: f64) -> Result<Self, UploadError> {
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.into(),
            max_size,
            lifetime_s,
            slots: Mutex::default(),
        })
    }

    fn file(&self, id: &str, kind: &str) -> PathBuf {
        self.root.join(format!("{id}.{kind}"))
    }

    /// Where the bytes are.
    pub fn path(&self, id: &str) -> PathBuf {
        self.file(id, "part")
    }

    fn slot(&self, id: &str) -> Arc<Slot> {
        locked(&self.slots).entry(id.to_owned()).or_default().clone()
    }

    fn keep(&self, upload: &Upload) -> Result<(), UploadError> {
        let (draft, file) = (self.file(&upload.id, "draft"), self.file(&upload.id, "json"));
        let mut out = File::create(&draft)?;
        out.write_all(&serde_json::to_vec(upload).map_err(io::Error::other)?)?;
        out.sync_data()?;
        fs::rename(draft, file)?;
        Ok(())
    }

    /// Makes a new upload that belongs to nobody.
    pub fn create(
        &self,
        id: &str,
        length: Option<u64>,
        metadata_header: &str,
        kind: UploadKind,
        now: UtcTime,
    ) -> Result<Upload, UploadError> {
        self.create_for(None, id, length, metadata_header, kind, now)
    }

    /// Makes a new upload that belongs to an account. What it is made of must belong to the same.
    pub fn create_for(
        &self,
        owner: Option<String>,
        id: &str,
        length: Option<u64>,
        metadata_header: &str,
        kind: UploadKind,
        now: UtcTime,
    ) -> Result<Upload, UploadError> {
        if !is_id(id) {
            return Err(UploadError::Bad(format!("identifier {id:?}")));
        }
        if let Some(length) = length.filter(|&length| length > self.max_size) {
            return Err(UploadError::TooLarge(length, self.max_size));
        }
        let mut upload = Upload {
            id: id.into(),
            owner,
            length,
            metadata_header: metadata_header.into(),
            metadata: super::metadata(metadata_header)?,
            kind,
            created_at: now,
            expires_at: now.plus_seconds(self.lifetime_s),
        };
        if let UploadKind::Final(parts) = &upload.kind {
            upload.length = Some(self.joined(&upload, parts, now)?);
        } else {
            File::create_new(self.path(id))?.sync_data()?;
        }
        self.keep(&upload)?;
        Ok(upload)
    }

    /// Joins complete parts into one file.
    fn joined(&self, whole: &Upload, parts: &[String], now: UtcTime) -> Result<u64, UploadError> {
        let mut total = 0;
        for part in parts {
            let (upload, offset) = self.look(part, now)?;
            if upload.owner != whole.owner {
                return Err(UploadError::Unknown);
            }
            if upload.kind != UploadKind::Partial || upload.length != Some(offset) {
                return Err(UploadError::Incomplete);
            }
            total += offset;
        }
        if total > self.max_size {
            return Err(UploadError::TooLarge(total, self.max_size));
        }
        let mut out = File::create_new(self.path(&whole.id))?;
        for part in parts {
            io::copy(&mut File::open(self.path(part))?, &mut out)?;
        }
        out.sync_data()?;
        Ok(total)
    }

    fn known(&self, id: &str) -> Result<Upload, UploadError> {
        if !is_id(id) {
            return Err(UploadError::Unknown);
        }
        match fs::read(self.file(id, "json")) {
            Ok(text) => Ok(serde_json::from_slice(&text).map_err(io::Error::other)?),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(UploadError::Unknown),
            Err(cause) => Err(cause.into()),
        }
    }

    /// The account that an upload belongs to. Changes nothing, and ends no session.
    pub fn owner(&self, id: &str) -> Result<Option<String>, UploadError> {
        Ok(self.known(id)?.owner)
    }

    fn look(&self, id: &str, now: UtcTime) -> Result<(Upload, u64), UploadError> {
        let upload = self.known(id)?;
        if now > upload.expires_at {
            return Err(UploadError::Expired);
        }
        self.cut_back(id)?;
        let offset = fs::metadata(self.path(id))?.len();
        Ok((upload, offset))
    }

    /// Drops the bytes of a piece that nobody has judged.
    fn cut_back(&self, id: &str) -> Result<(), UploadError> {
        let note = self.file(id, "piece");
        let Ok(text) = fs::read_to_string(&note) else {
            return Ok(());
        };
        // A note that is not whole was being written: not one byte of its piece was.
        if let Some(from) = text.strip_suffix('\n').and_then(|text| text.parse::<u64>().ok()) {
            let file = OpenOptions::new().write(true).open(self.path(id))?;
            if file.metadata()?.len() > from {
                file.set_len(from)?;
                file.sync_data()?;
            }
        }
        fs::remove_file(note)?;
        Ok(())
    }

    /// The upload and its offset; a session that is under way ends here.
    pub fn head(&self, id: &str, now: UtcTime) -> Result<(Upload, u64), UploadError> {
        if !is_id(id) {
            return Err(UploadError::Unknown);
        }
        let slot = self.slot(id);
        let mut generation = locked(&slot.generation);
        *generation += 1;
        self.look(id, now)
    }

    /// Begins to append at `offset`. `length` says the length of an upload that had none.
    pub fn begin(
        &self,
        id: &str,
        offset: u64,
        length: Option<u64>,
        check: Option<Checksum>,
        now: UtcTime,
    ) -> Result<Session, UploadError> {
        if !is_id(id) {
            return Err(UploadError::Unknown);
        }
        let slot = self.slot(id);
        let mut generation = locked(&slot.generation);
        *generation += 1;
        let (mut upload, have) = self.look(id, now)?;
        if matches!(upload.kind, UploadKind::Final(_)) {
            return Err(UploadError::Final);
        }
        if have != offset {
            return Err(UploadError::WrongOffset { have, sent: offset });
        }
        match (upload.length, length) {
            (Some(known), Some(said)) if known != said => {
                return Err(UploadError::Bad(format!("Upload-Length is {known} already")));
            }
            (None, Some(said)) if said > self.max_size => return Err(UploadError::TooLarge(said, self.max_size)),
            (None, Some(said)) if said < have => return Err(UploadError::TooLong),
            (None, Some(said)) => upload.length = Some(said),
            _ => {}
        }
        upload.expires_at = now.plus_seconds(self.lifetime_s);
        self.keep(&upload)?;
        let piece = self.file(id, "piece");
        if check.is_some() {
            fs::write(&piece, format!("{have}\n"))?;
        }
        let session = Session {
            id: id.into(),
            generation: *generation,
            slot: slot.clone(),
            file: OpenOptions::new().append(true).open(self.path(id))?,
            offset: have,
            length: Some(upload.length.unwrap_or(self.max_size)),
            sum: check.as_ref().map(|check| SumBox(check.sum())),
            check: check.map(|check| (check, have)),
            piece,
        };
        drop(generation);
        Ok(session)
    }

    /// Forgets an upload and its bytes.
    pub fn terminate(&self, id: &str, now: UtcTime) -> Result<(), UploadError> {
        self.head(id, now)?;
        self.remove(id);
        Ok(())
    }

    /// Removes everything of an upload; its bytes may have been moved away before.
    pub fn remove(&self, id: &str) {
        // The record first: without it the rest is nobody's.
        for kind in ["json", "part", "piece", "draft"] {
            drop(fs::remove_file(self.file(id, kind)));
        }
        locked(&self.slots).remove(id);
    }

    /// All uploads that have not expired, with their offsets; the others are removed.
    pub fn sweep(&self, now: UtcTime) -> Result<Vec<(Upload, u64)>, UploadError> {
        let mut alive = Vec::new();
        for entry in fs::read_dir(&self.root)?.flatten() {
            let name = entry.file_name();
            let Some((id, kind)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            if kind != "json" {
                continue;
            }
            let text = fs::read(entry.path())?;
            let Ok(upload) = serde_json::from_slice::<Upload>(&text) else {
                continue;
            };
            if now > upload.expires_at {
                self.remove(id);
                continue;
            }
            let offset = fs::metadata(self.path(id)).map(|found| found.len()).unwrap_or(0);
            alive.push((upload, offset));
        }
        alive.sort_by(|a, b| (a.0.created_at, &a.0.id).cmp(&(b.0.created_at, &b.0.id)));
        Ok(alive)
    }

    /// Whether a complete file is what its metadata say (`sha256`, hexadecimal); if not it is removed.
    pub fn judge_whole(&self, upload: &Upload) -> Result<(), UploadError> {
        let Some(said) = upload.metadata.get("sha256") else {
            return Ok(());
        };
        let (found, _) = fingerprint(&self.path(&upload.id))?;
        if found.eq_ignore_ascii_case(said.trim()) {
            return Ok(());
        }
        self.remove(&upload.id);
        Err(UploadError::WrongFile)
    }
}

impl Session {
    /// Appends some bytes. More than the upload's length is refused, and nothing of them is kept.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let slot = self.slot.clone();
        let generation = locked(&slot.generation);
        if *generation != self.generation {
            return Err(UploadError::Superseded);
        }
        let end = self.offset + bytes.len() as u64;
        if self.length.is_some_and(|length| end > length) {
            return Err(UploadError::TooLong);
        }
        // What a full disk took of it counts: the file's length is the offset.
        self.file.write_all(bytes)?;
        if let Some(sum) = &mut self.sum {
            sum.0.add(bytes);
        }
        self.offset = end;
        Ok(())
    }

    /// Ends the session: `whole` says whether the request came to its end. Returns the offset.
    pub fn finish(mut self, whole: bool) -> Result<u64, UploadError> {
        let slot = self.slot.clone();
        let generation = locked(&slot.generation);
        if *generation != self.generation {
            return Err(UploadError::Superseded);
        }
        if let (Some((check, from)), Some(sum)) = (self.check.take(), self.sum.take()) {
            let right = whole && sum.0.done() == check.digest;
            if !right {
                self.file.set_len(from)?;
            }
            self.file.sync_data()?;
            fs::remove_file(&self.piece)?;
            if !right {
                return Err(UploadError::Checksum);
            }
        } else {
            self.file.sync_data()?;
        }
        tracing::debug!(upload = self.id, offset = self.offset, whole, "piece");
        Ok(self.offset)
    }
}
