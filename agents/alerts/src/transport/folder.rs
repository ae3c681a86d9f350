//! A folder of event files: whoever can write a file can send an alert.
//!
//! Writers create a file under a temporary name (`.x`, `x.tmp`, `x.part`) and rename it when it is whole: a rename
//! within a file system is atomic. One that is written in place is taken when it ends as a packet does, or when it has
//! not changed between two looks. Files that were dealt with move to `processed/` or `refused/`, with the reason beside
//! the refused ones. Only plain files are read; links are refused, so that nothing outside can be read through the folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::vtp::{Answer, Clock, Delivery, LinkState};

/// A folder and its two subfolders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    folder: PathBuf,
    processed: PathBuf,
    refused: PathBuf,
}

/// How a file was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Taken.
    Processed,
    /// Refused, and why.
    Refused(String),
}

impl Spool {
    /// Opens a folder, making it and its subfolders if need be.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let (processed, refused) = (folder.join("processed"), folder.join("refused"));
        fs::create_dir_all(&processed)?;
        fs::create_dir_all(&refused)?;
        Ok(Self {
            folder,
            processed,
            refused,
        })
    }

    /// Files that wait, in order of name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn waiting(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let unfinished = name.starts_with('.') || [".tmp", ".part", "~"].iter().any(|s| name.ends_with(s));
            // The entry's own type: a link is not followed.
            if !unfinished && !entry.file_type()?.is_dir() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    /// The bytes of a waiting file, at most `limit` and one more, so that too long is seen as too long.
    ///
    /// # Errors
    /// When it is no plain file or cannot be read.
    pub fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Moves a file where it belongs; an older file of the same name stays, the new one gets a number.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn settle(&self, path: &Path, settlement: &Settlement) -> io::Result<PathBuf> {
        let folder = match settlement {
            Settlement::Processed => &self.processed,
            Settlement::Refused(_) => &self.refused,
        };
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut target = folder.join(&name);
        let mut number = 1;
        while target.symlink_metadata().is_ok() {
            number += 1;
            target = folder.join(format!("{name}.{number}"));
        }
        fs::rename(path, &target)?;
        if let Settlement::Refused(why) = settlement {
            let mut note = target.clone().into_os_string();
            note.push(".reason");
            fs::write(note, format!("{why}\n"))?;
        }
        Ok(target)
    }
}

/// Whether bytes end as a whole packet does: the root element closed, or all brackets.
fn ends_whole(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_end();
    if bytes.ends_with(b">") {
        let tail = bytes.get(bytes.len().saturating_sub(64)..).unwrap_or_default();
        let last = tail.rsplit(|b| *b == b'<').next().unwrap_or_default();
        return last.starts_with(b"/") && last.ends_with(b"VOEvent>");
    }
    bytes.ends_with(b"}") && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// Watches a folder for ever: every file goes to `sink`, and moves when it was answered. Ends when nobody takes packets.
///
/// A file whose packet gets no answer stays and is offered again. `state` says whether the folder can be read: a share
/// that is gone looks like one in which nothing appears.
pub async fn watch(
    spool: Spool,
    every: Duration,
    limit: usize,
    clock: Clock,
    sink: mpsc::Sender<Delivery>,
    state: tokio::sync::watch::Sender<LinkState>,
) {
    // Sizes of the files that did not look whole at the last look.
    let mut unfinished: BTreeMap<PathBuf, usize> = BTreeMap::new();
    loop {
        match blocking(&spool, Spool::waiting).await {
            Ok(paths) => {
                state.send_if_modified(|state| std::mem::replace(state, LinkState::Up) != LinkState::Up);
                unfinished.retain(|path, _| paths.contains(path));
                for path in paths {
                    match offer(&spool, path.clone(), limit, &clock, &sink, &mut unfinished).await {
                        Ok(true) => {}
                        Ok(false) => return,
                        Err(error) => tracing::error!(path = %path.display(), %error, "event file"),
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "event folder cannot be read");
                state.send_replace(LinkState::Down {
                    reason: format!("the folder cannot be read: {error}"),
                    retry_in: every,
                });
            }
        }
        tokio::time::sleep(every).await;
    }
}

async fn blocking<T: Send + 'static>(
    spool: &Spool,
    work: impl FnOnce(&Spool) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let spool = spool.clone();
    tokio::task::spawn_blocking(move || work(&spool))
        .await
        .map_err(io::Error::other)?
}

/// Offers one file; `false` when nobody takes packets.
async fn offer(
    spool: &Spool,
    path: PathBuf,
    limit: usize,
    clock: &Clock,
    sink: &mpsc::Sender<Delivery>,
    unfinished: &mut BTreeMap<PathBuf, usize>,
) -> io::Result<bool> {
    let from = path.clone();
    let bytes = match blocking(spool, move |s| s.read(&from, limit)).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let why = Settlement::Refused(error.to_string());
            blocking(spool, move |s| s.settle(&path, &why)).await?;
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    if !ends_whole(&bytes) && unfinished.insert(path.clone(), bytes.len()) != Some(bytes.len()) {
        return Ok(true);
    }
    let (answer, answered) = tokio::sync::oneshot::channel();
    let peer = path.display().to_string();
    if sink
        .send(Delivery {
            bytes,
            received_at: clock(),
            peer,
            answer,
        })
        .await
        .is_err()
    {
        return Ok(false);
    }
    let settlement = match answered.await {
        Ok(Answer::Taken) => Settlement::Processed,
        Ok(Answer::Refused(why)) => Settlement::Refused(why),
        Err(_) => return Ok(true),
    };
    blocking(spool, move |s| s.settle(&path, &settlement)).await?;
    Ok(true)
}
