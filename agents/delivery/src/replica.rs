//! Replicas: copies of groups and weblogs at a site, and their states.
//!
//! ```text
//! queued -> copying -> available <-> suspicious -> bad -> copying (repair)
//!             |  '-> queued (cut)                   '---> lost (no good copy anywhere)
//!             '----> lost                 available -> evicted
//! ```
//!
//! A pull lands in `staging/<digest>`, is verified there file by file while it arrives and is renamed into the cache:
//! nobody sees a group that is not whole. What a loss of power takes afterwards, the scrubber finds and repairs. A second
//! reading decides before a suspicious copy is called bad; a bad one is replaced from a good one; none is evicted while it
//! is needed.

use crate::{
    books::{Fault, Record},
    desk::{Desk, Draft},
    manifest::{self, FileSum, Manifest, Unsound},
    products::{self, Folders},
    transfer::{Transfer, TransferError},
    weblog,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs,
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub const KIND: &str = "replica";
pub const JOB: &str = "job.pull";

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaState {
    Queued,
    Copying,
    Available,
    Suspicious,
    Bad,
    Lost,
    Evicted,
}

impl ReplicaState {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Copying,
        Self::Available,
        Self::Suspicious,
        Self::Bad,
        Self::Lost,
        Self::Evicted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Copying => "copying",
            Self::Available => "available",
            Self::Suspicious => "suspicious",
            Self::Bad => "bad",
            Self::Lost => "lost",
            Self::Evicted => "evicted",
        }
    }

    /// The table.
    pub fn allows(self, next: Self) -> bool {
        use ReplicaState::*;
        matches!(
            (self, next),
            (Queued, Copying)
                | (Copying, Available | Queued | Lost)
                | (Available, Suspicious | Evicted | Available)
                | (Suspicious, Available | Bad)
                | (Bad, Copying | Lost)
                | (Lost | Evicted, Queued)
        )
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The message on `cached.<site>`: somebody has something; pull it to yourself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cached {
    #[serde(rename = "fileType")]
    pub file_type: String,
    #[serde(rename = "cachedAt")]
    pub cached_at: String,
    pub name: String,
    /// SHA-256 of the manifest, or of the weblog.
    pub digest: String,
    #[serde(default)]
    pub bytes: u64,
    #[serde(rename = "ousUID", default)]
    pub unit: String,
}

impl Cached {
    /// Reads and judges the message.
    pub fn read(body: &str, is_known: &dyn Fn(&str) -> bool) -> Result<Self, String> {
        let cached: Self = serde_json::from_str(body).map_err(|e| format!("not an announcement: {e}"))?;
        products::check_name(&cached.name)?;
        if !matches!(cached.file_type.as_str(), "productsdir" | "weblog") {
            return Err(format!("fileType {} is unknown", cached.file_type));
        }
        if !is_known(&cached.cached_at) {
            return Err(format!("site {} is unknown", cached.cached_at));
        }
        if cached.digest.len() != 64 || !cached.digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("digest {:?} is not a SHA-256", cached.digest));
        }
        Ok(cached)
    }

    fn is_group(&self) -> bool {
        self.file_type == "productsdir"
    }
}

/// Sets the state of our copy, tells the home, and says no to what the table does not have.
pub fn note(desk: &mut Desk, cached: &Value, to: ReplicaState, cause: &str) -> Result<(), Fault> {
    let name = cached["name"].as_str().unwrap_or_default().to_owned();
    let here = desk.sites.here.clone();
    let id = format!("{here}/{name}");
    let unit = cached["ousUID"].as_str().unwrap_or_default().to_owned();
    let mut body = cached.clone();
    if let Some(known) = desk.books.record(KIND, &id)? {
        let from = ReplicaState::ALL.into_iter().find(|s| s.as_str() == known.state);
        if from.is_some_and(|from| from != to && !from.allows(to)) {
            return desk.log(
                "refused",
                &id,
                "replicated-cache",
                &format!("replica cannot go from {} to {to}: {cause}", known.state),
            );
        }
        body["verified"] = known.body["verified"].clone();
    }
    if to == ReplicaState::Available {
        body["verified"] = json!(desk.now);
    }
    body["cause"] = json!(cause);
    desk.keep(KIND, &id, &unit, to.as_str(), body.clone())?;
    if !desk.sites.is_home() {
        body["site"] = json!(here);
        body["state"] = json!(to);
        let home = desk.sites.home.clone();
        desk.send(Draft::new(&format!("replica.{home}"), body, "replicated-cache"))?;
    }
    Ok(())
}

/// The home keeps what the other sites have.
pub fn told(desk: &mut Desk, body: &str) -> Result<Result<(), String>, Fault> {
    let body: Value = match serde_json::from_str(body) {
        Ok(body) => body,
        Err(error) => return Ok(Err(format!("not a replica's standing: {error}"))),
    };
    let (Some(site), Some(name), Some(state)) = (body["site"].as_str(), body["name"].as_str(), body["state"].as_str())
    else {
        return Ok(Err("a replica's standing has site, name and state".into()));
    };
    let unit = body["ousUID"].as_str().unwrap_or_default();
    desk.keep(KIND, &format!("{site}/{name}"), unit, state, body.clone())?;
    Ok(Ok(()))
}

/// A job for what is announced; nothing to do when we have it.
pub fn announced(desk: &mut Desk, body: &str, is_known: &dyn Fn(&str) -> bool) -> Result<Result<(), String>, Fault> {
    let cached = match Cached::read(body, is_known) {
        Ok(cached) => cached,
        Err(why) => return Ok(Err(why)),
    };
    let id = format!("{}/{}", desk.sites.here, cached.name);
    if let Some(known) = desk.books.record(KIND, &id)?
        && known.body["digest"] == json!(cached.digest)
        && matches!(known.state.as_str(), "available" | "queued" | "copying")
    {
        return Ok(Ok(()));
    }
    let mut body = serde_json::to_value(&cached).map_err(|e| Fault(e.to_string()))?;
    desk.keep(KIND, &id, &cached.unit, "queued", body.clone())?;
    body["attempts"] = json!(0);
    desk.keep(JOB, &cached.name, &cached.unit, "ready", body)?;
    Ok(Ok(()))
}

/// Why a pull did not end with a whole copy.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Unsound(#[from] Unsound),
    #[error(transparent)]
    Weblog(#[from] weblog::Refused),
}

impl PullError {
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Unsound(unsound) => unsound.is_corruption(),
            Self::Transfer(_) => false,
            Self::Weblog(_) => true,
        }
    }

    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Transfer(TransferError::Missing(_)))
    }

    /// Whether another attempt cannot help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Weblog(refused) if !matches!(refused, weblog::Refused::Io(..)))
    }
}

/// Pulls a group or a weblog from a site's station and puts the verified copy in its place.
pub fn pull(transfer: &dyn Transfer, location: &str, cached: &Cached, folders: &Folders) -> Result<(), PullError> {
    if cached.is_group() {
        let from = crate::transfer::at(location, &format!("cache/{}/", cached.name));
        let staging = arrive(transfer, &from, &cached.digest, folders)?;
        Ok(commit(&staging, &folders.cache().join(&cached.name), folders)?)
    } else {
        let from = crate::transfer::at(location, &format!("cache/weblogs/{}", cached.name));
        let staging = folders.staging().join(&cached.digest);
        make(&staging)?;
        transfer.pull(&from, &staging, &mut |_| ())?;
        keep_weblog(&staging.join(&cached.name), cached, folders)?;
        let _ = fs::remove_dir_all(&staging);
        Ok(())
    }
}

/// Verifies a weblog that lies in a folder, puts it among the weblogs and unpacks it.
pub fn keep_weblog(path: &Path, cached: &Cached, folders: &Folders) -> Result<(), PullError> {
    let (found, _) = manifest::sha256_file(path, &mut |_| ()).map_err(|e| Unsound::io(path, e))?;
    if found != cached.digest {
        let _ = fs::remove_file(path);
        return Err(PullError::Unsound(Unsound::Mismatch {
            path: cached.name.clone(),
            expected: cached.digest.clone(),
            found,
        }));
    }
    let target = folders.weblogs().join(&cached.name);
    weblog::unpack(path, &target.with_extension(""))?;
    if path != target {
        sync(path)?;
        fs::rename(path, &target).map_err(|e| Unsound::io(&target, e))?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result<(), Unsound> {
    fs::create_dir_all(folder).map_err(|e| Unsound::io(folder, e))
}

/// What a file is known by: number, size, times of the last change of its content and of itself. The last one nobody can
/// set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// Transfers a group into staging; files are read again while the next ones come.
fn arrive(transfer: &dyn Transfer, from: &str, digest: &str, folders: &Folders) -> Result<PathBuf, PullError> {
    let staging = folders.staging().join(digest);
    make(&staging)?;
    let (landed, arrivals) = mpsc::channel::<String>();
    let place = staging.clone();
    let reader = {
        let place = place.clone();
        thread::spawn(move || read_arrivals(&place, &arrivals))
    };
    let outcome = transfer.pull(from, &staging, &mut |path| drop(landed.send(path.to_owned())));
    drop(landed);
    let seen = reader.join().unwrap_or_default();
    outcome?;
    let partial = staging.join(".partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| Unsound::io(&partial, e))?;
    }
    let done = |file: &FileSum| {
        seen.get(&file.path).is_some_and(|heard| {
            heard.sha256 == file.sha256
                && heard.before.size == file.size
                && Look::at(&place.join(&file.path)) == Some(heard.before)
        })
    };
    match manifest::verify(&staging, digest, &done, &mut |_| ()) {
        Ok(_) => Ok(staging),
        Err(unsound) => {
            // What is wrong must come again: rsync would keep it, size and time being right.
            if unsound.is_corruption() {
                drop_wrong(&staging, digest);
            }
            Err(unsound.into())
        }
    }
}

/// What was read of a file: its digest, and by what it is known to be the same file still.
struct Heard {
    sha256: String,
    before: Look,
}

/// A file that is said to be there, and since when it looks as it does.
struct Arrival {
    path: String,
    look: Option<Look>,
    since: Instant,
    looks: u32,
}

/// The kernel's times go on in steps of up to ten milliseconds. A file is read when it has looked the same for longer, so
/// that whatever changes it from then on changes its look as well.
const SETTLED: Duration = Duration::from_millis(20);

/// A file that has not settled after so many looks is read in the end.
const MOST_LOOKS: u32 = 50;

/// Reads each file soon after it is there. The manifest may come last; what it says is looked at in the end.
fn read_arrivals(place: &Path, arrivals: &mpsc::Receiver<String>) -> BTreeMap<String, Heard> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the file system's time is not the observatory's"
    )]
    let now = Instant::now;
    let (mut heard, mut waiting, mut more) = (BTreeMap::new(), VecDeque::<Arrival>::new(), true);
    let arrived = |path: String, looks: u32| {
        // A name may be told just before the file gets it.
        let look = Look::at(&manifest::member(place, &path).ok()?);
        let since = now();
        (looks < MOST_LOOKS).then_some(Arrival {
            path,
            look,
            since,
            looks,
        })
    };
    while more || !waiting.is_empty() {
        let left = waiting.front().map(|next| SETTLED.saturating_sub(next.since.elapsed()));
        match left {
            Some(left) if !left.is_zero() && !more => thread::sleep(left),
            Some(left) if !left.is_zero() => match arrivals.recv_timeout(left) {
                Ok(path) => waiting.extend(arrived(path, 0)),
                Err(error) => more = error == mpsc::RecvTimeoutError::Timeout,
            },
            None => match arrivals.recv() {
                Ok(path) => waiting.extend(arrived(path, 0)),
                Err(mpsc::RecvError) => more = false,
            },
            Some(_) => {
                let Some(Arrival { path, look, looks, .. }) = waiting.pop_front() else {
                    continue;
                };
                let file = place.join(&path);
                match Look::at(&file) {
                    Some(before) if look == Some(before) => {
                        if let Ok((sha256, _)) = manifest::sha256_file(&file, &mut |_| ()) {
                            heard.insert(path, Heard { sha256, before });
                        }
                    }
                    _ => waiting.extend(arrived(path, looks + 1)),
                }
            }
        }
    }
    heard
}

/// Removes from staging every file that is not as the manifest says, and the manifest itself if it is not the one.
fn drop_wrong(staging: &Path, digest: &str) {
    let Ok(manifest) = Manifest::read(staging, Some(digest)) else {
        let _ = fs::remove_file(staging.join(manifest::NAME));
        return;
    };
    let good: BTreeMap<&str, &FileSum> = manifest.files.iter().map(|f| (f.path.as_str(), f)).collect();
    for path in manifest::files_below(staging).unwrap_or_default() {
        let keep = path == manifest::NAME
            || good
                .get(path.as_str())
                .is_some_and(|file| Manifest::check(staging, file, &mut |_| ()).is_ok());
        if !keep {
            let _ = fs::remove_file(staging.join(&path));
        }
    }
}

fn sync(path: &Path) -> Result<(), Unsound> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Unsound::io(path, e))
}

/// Renames a whole group to its place; one that is there is replaced.
pub fn commit(from: &Path, to: &Path, folders: &Folders) -> Result<(), Unsound> {
    if to.exists() {
        let name = to.file_name().and_then(|n| n.to_str()).unwrap_or("old");
        let old = folders.staging().join(format!("{name}.old"));
        if old.exists() {
            fs::remove_dir_all(&old).map_err(|e| Unsound::io(&old, e))?;
        }
        fs::rename(to, &old).map_err(|e| Unsound::io(to, e))?;
        fs::rename(from, to).map_err(|e| Unsound::io(to, e))?;
        return fs::remove_dir_all(&old).map_err(|e| Unsound::io(&old, e));
    }
    fs::rename(from, to).map_err(|e| Unsound::io(to, e))
}

/// Reads a replica again; `pace` bounds the rate.
pub fn reread(record: &Record, folders: &Folders, pace: &mut dyn FnMut(u64)) -> Result<(), Unsound> {
    let text = |key: &str| record.body[key].as_str().unwrap_or_default();
    let (name, digest) = (text("name"), text("digest"));
    if text("fileType") == "weblog" {
        let path = folders.weblogs().join(name);
        let (found, _) = manifest::sha256_file(&path, pace).map_err(|e| Unsound::io(&path, e))?;
        return if found == digest {
            Ok(())
        } else {
            Err(Unsound::Mismatch {
                path: name.into(),
                expected: digest.into(),
                found,
            })
        };
    }
    manifest::verify(&folders.cache().join(name), digest, &|_| false, pace).map(drop)
}

/// Whether the home may let a site evict its copy: at least `wanted` other available ones must stay.
pub fn may_evict(desk: &mut Desk, site: &str, name: &str, wanted: usize) -> Result<Result<(), String>, Fault> {
    let mine = format!("{site}/{name}");
    let others = desk
        .books
        .records(KIND, None, Some("available"), 100_000)?
        .iter()
        .filter(|r| r.id != mine && r.body["name"] == json!(name))
        .count();
    if wanted == 0 {
        return Ok(Err("at least one copy must stay".into()));
    }
    if others < wanted {
        return Ok(Err(format!(
            "{name}: {others} verified copies elsewhere, {wanted} are wanted"
        )));
    }
    Ok(Ok(()))
}
