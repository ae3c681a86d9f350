//! The shelf: installed packages, each in a folder of its own, and what is known of each.
//!
//! ```text
//! packages/ID/package.json     the record; written whole or not at all
//!          ID/archive          as it came
//!          ID/content/         unpacked: manifest, form, icon, documents
//!          ID/root/            the root file system, where there is one
//! packages/.staging/           what is being unpacked; emptied when the shelf is opened
//! ```
//!
//! States: `uploading` and `pause` while the archive comes (see [`crate::upload`]), `installing`, `ready`, `error` with the
//! reason. A death while installing leaves `installing`: opening the shelf installs again from the archive.

use super::{
    Manifest, PackageError, archive,
    archive::Bounds,
    form, image,
    manifest::{PROGRAM_PLACE, RootSource},
};
use crate::executors::{AttemptSpec, Root};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The state of a package, in Pirus's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageState {
    Uploading,
    Pause,
    Installing,
    Ready,
    Error,
}

impl fmt::Display for PackageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uploading => "uploading",
            Self::Pause => "pause",
            Self::Installing => "installing",
            Self::Ready => "ready",
            Self::Error => "error",
        })
    }
}

/// What is known of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    pub id: String,
    pub state: PackageState,
    /// Why it is in error.
    #[serde(default)]
    pub cause: String,
    /// Name of the archive as it came.
    pub file: String,
    /// Bytes of the archive.
    pub size: u64,
    /// How much of it is here.
    pub upload_offset: u64,
    /// Of the archive; two packages of one fingerprint are one.
    #[serde(default)]
    pub sha256: String,
    pub created_at: UtcTime,
    #[serde(default)]
    pub manifest: Option<Manifest>,
    /// Variables that its image sets.
    #[serde(default)]
    pub environment: Vec<String>,
}

impl Package {
    /// What clients see: Pirus's public fields, and what the page needs.
    pub fn public(&self) -> Value {
        let manifest = self.manifest.as_ref();
        let text = |of: fn(&Manifest) -> &String| manifest.map_or("", |m| of(m).as_str());
        json!({
            "id": self.id,
            "name": manifest.map_or(self.file.as_str(), |m| m.name.as_str()),
            "description": text(|m| &m.description),
            "version": text(|m| &m.version),
            "pirus_api": text(|m| &m.pirus_api),
            "license": text(|m| &m.license),
            "developers": manifest.map(|m| m.developers.clone()).unwrap_or_default(),
            "size": self.size,
            "upload_offset": self.upload_offset,
            "status": self.state.to_string().to_uppercase(),
            "cause": self.cause,
            "sha256": self.sha256,
            "created_at": self.created_at,
            "spelling": manifest.map(|m| m.spelling),
            "documents": manifest.map(|m| m.documents.keys().cloned().collect::<Vec<_>>()).unwrap_or_default(),
            "warnings": manifest.map(|m| m.warnings.clone()).unwrap_or_default(),
        })
    }
}

/// The folder of installed packages.
#[derive(Debug, Clone)]
pub struct Shelf {
    root: PathBuf,
    bounds: Bounds,
}

impl Shelf {
    /// Opens the shelf; what was left half unpacked is removed.
    pub fn open(root: &Path, bounds: Bounds) -> Result<Self, PackageError> {
        let staging = root.join(".staging");
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(PackageError::at(&staging))?;
        }
        fs::create_dir_all(&staging).map_err(PackageError::at(&staging))?;
        Ok(Self {
            root: root.into(),
            bounds,
        })
    }

    /// The shelf as another program keeps it; nothing is cleaned.
    pub fn look(root: &Path) -> Self {
        Self {
            root: root.into(),
            bounds: Bounds::default(),
        }
    }

    /// With other bounds.
    pub fn bounded(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    pub fn folder(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// All packages, oldest first.
    pub fn list(&self) -> Result<Vec<Package>, PackageError> {
        let mut all = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(all),
            Err(cause) => return Err(PackageError::at(&self.root)(cause)),
        };
        for entry in entries {
            let entry = entry.map_err(PackageError::at(&self.root))?;
            if let Some(id) = entry.file_name().to_str().filter(|id| is_id(id))
                && let Ok(package) = self.show(id)
            {
                all.push(package);
            }
        }
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(all)
    }

    pub fn show(&self, id: &str) -> Result<Package, PackageError> {
        if !is_id(id) {
            return Err(PackageError::Unknown(id.into()));
        }
        let file = self.folder(id).join("package.json");
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(PackageError::Unknown(id.into())),
            Err(cause) => return Err(PackageError::at(&file)(cause)),
        };
        serde_json::from_slice(&text).map_err(|e| PackageError::Corrupt(format!("{}: {e}", file.display())))
    }

    /// Writes the record down, whole or not at all.
    pub fn keep(&self, package: &Package) -> Result<(), PackageError> {
        let folder = self.folder(&package.id);
        fs::create_dir_all(&folder).map_err(PackageError::at(&folder))?;
        let (draft, file) = (folder.join("package.draft"), folder.join("package.json"));
        let text = serde_json::to_vec_pretty(package).map_err(|e| PackageError::Corrupt(e.to_string()))?;
        let mut out = File::create(&draft).map_err(PackageError::at(&draft))?;
        out.write_all(&text)
            .and_then(|()| out.sync_all())
            .map_err(PackageError::at(&draft))?;
        fs::rename(&draft, &file).map_err(PackageError::at(&file))
    }

    /// Takes an archive (moved in, or copied when it lies on another disk or shall stay) and makes its record.
    pub fn take(
        &self,
        archive: &Path,
        name: &str,
        id: &str,
        now: UtcTime,
        stays: bool,
    ) -> Result<Package, PackageError> {
        if !is_id(id) {
            return Err(PackageError::Unknown(id.into()));
        }
        let (sha256, size) = image::fingerprint(archive).map_err(PackageError::at(archive))?;
        let twin = self
            .list()?
            .into_iter()
            .find(|p| p.sha256 == sha256 && p.state != PackageState::Error && p.id != id);
        if let Some(twin) = twin {
            return Err(PackageError::AlreadyInstalled(twin.id));
        }
        let folder = self.folder(id);
        fs::create_dir_all(&folder).map_err(PackageError::at(&folder))?;
        let kept = folder.join("archive");
        if stays || fs::rename(archive, &kept).is_err() {
            fs::copy(archive, &kept).map_err(PackageError::at(&kept))?;
        }
        let package = Package {
            id: id.into(),
            state: PackageState::Installing,
            cause: String::new(),
            file: name.into(),
            size,
            upload_offset: size,
            sha256,
            created_at: now,
            manifest: None,
            environment: Vec::new(),
        };
        self.keep(&package)?;
        Ok(package)
    }

    /// Installs a package whose archive is on the shelf. What is wrong with it becomes its state, with the reason.
    pub fn install(&self, id: &str) -> Result<Package, PackageError> {
        let mut package = self.show(id)?;
        let staging = self.root.join(".staging").join(id);
        drop(fs::remove_dir_all(&staging));
        let outcome = self.unpacked(&mut package, &staging);
        drop(fs::remove_dir_all(&staging));
        match &outcome {
            Ok(()) => package.state = PackageState::Ready,
            Err(cause) => {
                package.state = PackageState::Error;
                package.cause = cause.to_string();
            }
        }
        self.keep(&package)?;
        outcome.map(|()| package)
    }

    fn unpacked(&self, package: &mut Package, staging: &Path) -> Result<(), PackageError> {
        let folder = self.folder(&package.id);
        let (content, root, scratch) = (staging.join("content"), staging.join("root"), staging.join("scratch"));
        for part in [&content, &root, &scratch] {
            fs::create_dir_all(part).map_err(PackageError::at(part))?;
        }
        archive::unpack(&folder.join("archive"), &content, self.bounds)?;
        let content = only_folder(&content)?;
        let mut manifest = Manifest::of_folder(&content)?;
        let has_root = match &manifest.root {
            RootSource::Host => false,
            RootSource::Folder(name) => {
                let from = content.join(name);
                if !fs::symlink_metadata(&from).is_ok_and(|found| found.is_dir()) {
                    return Err(PackageError::Missing(vec![format!("{}/", name.display())]));
                }
                fs::remove_dir(&root)
                    .and_then(|()| fs::rename(&from, &root))
                    .map_err(PackageError::at(&root))?;
                true
            }
            RootSource::Image(name) => {
                let from = content.join(name);
                if !from.exists() {
                    return Err(PackageError::Missing(vec![name.display().to_string()]));
                }
                let image = image::unpack(&from, &root, &scratch, self.bounds)?;
                package.environment = image.environment;
                if manifest.command.is_empty() {
                    manifest.command = image.command;
                }
                true
            }
        };
        if manifest.command.is_empty() {
            return Err(PackageError::Missing(vec!["command".into()]));
        }
        let form = form_of(&content, &manifest)?;
        let faults = form::check(&form);
        if !faults.is_empty() {
            let file = manifest.form.display().to_string();
            return Err(PackageError::Manifest { file, faults });
        }
        manifest.documents.retain(|_, file| is_plain_file(&content.join(file)));
        package.manifest = Some(manifest);
        package.cause.clear();
        for (from, name, wanted) in [(&content, "content", true), (&root, "root", has_root)] {
            let to = folder.join(name);
            drop(fs::remove_dir_all(&to));
            if wanted {
                fs::rename(from, &to).map_err(PackageError::at(&to))?;
            }
        }
        Ok(())
    }

    /// Packages whose installation a death has cut.
    pub fn unfinished(&self) -> Result<Vec<String>, PackageError> {
        let cut = self.list()?.into_iter().filter(|p| p.state == PackageState::Installing);
        Ok(cut.map(|p| p.id).collect())
    }

    /// Removes a package with its files. The record goes first: what is left by a death is nobody's.
    pub fn remove(&self, id: &str) -> Result<(), PackageError> {
        self.show(id)?;
        let folder = self.folder(id);
        let gone = self.root.join(".staging").join(format!("gone-{id}"));
        drop(fs::remove_dir_all(&gone));
        fs::rename(&folder, &gone).map_err(PackageError::at(&folder))?;
        fs::remove_dir_all(&gone).map_err(PackageError::at(&gone))
    }

    /// The form of an installed package.
    pub fn form(&self, package: &Package) -> Result<Value, PackageError> {
        let manifest = self.ready(package)?;
        form_of(&self.folder(&package.id).join("content"), manifest)
    }

    /// A file of an installed package: its icon, or one of its documents.
    pub fn document(&self, package: &Package, name: &str) -> Result<PathBuf, PackageError> {
        let manifest = self.ready(package)?;
        let file = if name == "icon" {
            Some(&manifest.icon)
        } else {
            manifest.documents.get(name)
        };
        let path = file.map(|file| self.folder(&package.id).join("content").join(file));
        path.filter(|path| is_plain_file(path))
            .ok_or_else(|| PackageError::Missing(vec![name.into()]))
    }

    /// The manifest of a package that is ready.
    pub fn ready<'a>(&self, package: &'a Package) -> Result<&'a Manifest, PackageError> {
        package
            .manifest
            .as_ref()
            .filter(|_| package.state == PackageState::Ready)
            .ok_or_else(|| PackageError::NotReady {
                id: package.id.clone(),
                state: package.state,
                cause: package.cause.clone(),
            })
    }

    /// An attempt at the package's command; inputs and configuration are the caller's to add.
    pub fn attempt(&self, package: &Package, id: &str, folder: &Path) -> Result<AttemptSpec, PackageError> {
        let manifest = self.ready(package)?;
        let own = self.folder(&package.id);
        let words: Vec<&str> = manifest.command.iter().map(String::as_str).collect();
        let mut spec = AttemptSpec::new(id, folder, &words);
        spec.places = manifest.places.clone();
        spec.limits = manifest.limits;
        spec.network = manifest.network;
        spec.program = Some(own.join("content"));
        if own.join("root").is_dir() {
            spec.root = Root::Folder(own.join("root"));
        }
        let pairs = package.environment.iter().filter_map(|pair| pair.split_once('='));
        spec.environment
            .extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        spec.environment.insert("ALIDADE_PACKAGE".into(), PROGRAM_PLACE.into());
        Ok(spec)
    }
}

/// Identifiers of packages, uploads and runs: letters, digits and `-`.
pub fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 64
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !id.starts_with('-')
}

fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Many archives hold one folder with everything in it.
fn only_folder(content: &Path) -> Result<PathBuf, PackageError> {
    let entries: Vec<_> = fs::read_dir(content)
        .map_err(PackageError::at(content))?
        .flatten()
        .collect();
    match entries.as_slice() {
        [one] if one.file_type().is_ok_and(|kind| kind.is_dir()) && one.file_name() != "rootfs" => Ok(one.path()),
        _ => Ok(content.to_owned()),
    }
}

/// The form; a package without one has nothing to configure.
fn form_of(content: &Path, manifest: &Manifest) -> Result<Value, PackageError> {
    let file = content.join(&manifest.form);
    if !is_plain_file(&file) {
        return Ok(json!({}));
    }
    let fault = |cause: String| PackageError::Manifest {
        file: manifest.form.display().to_string(),
        faults: vec![cause],
    };
    if fs::metadata(&file).map_err(PackageError::at(&file))?.len() > 1 << 20 {
        return Err(fault("larger than 1 MiB".into()));
    }
    let text = fs::read(&file).map_err(PackageError::at(&file))?;
    serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))
}
