//! Unpacking that nothing escapes from.
//!
//! Every name is taken apart: no `..`, no absolute name, no component that is a link already on the disk. Links are allowed
//! only where the caller says so (in a root file system, which is looked at from inside only), and even there not to
//! above its root. Devices are left out below `dev/` and refused elsewhere. The number of entries and of bytes is counted
//! while they are written, so an archive that unpacks to more is stopped on the way.

use super::PackageError;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

/// How much an archive may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and links together.
    pub entries: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 20 << 30,
            entries: 1_000_000,
        }
    }
}

/// What kind of archive a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tar,
    TarGz,
    Zip,
}

impl Kind {
    /// Looks at the first bytes.
    pub fn of(file: &mut File) -> io::Result<Option<Self>> {
        let mut head = Vec::with_capacity(512);
        file.seek(SeekFrom::Start(0))?;
        Read::by_ref(file).take(512).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(if head.starts_with(&[0x1f, 0x8b]) {
            Some(Self::TarGz)
        } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(Self::Zip)
        } else if head.get(257..262) == Some(b"ustar") {
            Some(Self::Tar)
        } else {
            None
        })
    }
}

/// Writes entries below one folder.
pub struct Unpacker {
    root: PathBuf,
    bounds: Bounds,
    bytes: u64,
    entries: u64,
    /// Links are allowed everywhere; else only in `rootfs`, at the top or in the one folder there.
    links: bool,
    /// An entry may take the place of an earlier one, as the layers of an image do.
    replace: bool,
}

impl Unpacker {
    /// For a package: links in its root file system only.
    pub fn package(root: &Path, bounds: Bounds) -> Self {
        Self {
            root: root.into(),
            bounds,
            bytes: 0,
            entries: 0,
            links: false,
            replace: false,
        }
    }

    /// For the layers of a root file system, applied one over the other.
    pub fn layers(root: &Path, bounds: Bounds) -> Self {
        Self {
            links: true,
            replace: true,
            ..Self::package(root, bounds)
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The relative path of an entry; none for the root itself.
    pub fn name(&self, raw: &[u8]) -> Result<Option<PathBuf>, PackageError> {
        let refuse = |cause| PackageError::Escapes {
            entry: String::from_utf8_lossy(raw).into_owned(),
            cause,
        };
        let text = std::str::from_utf8(raw).map_err(|_| refuse("its name is not UTF-8"))?;
        if text.contains('\0') || text.len() > 4096 {
            return Err(refuse("its name is too long or holds a NUL"));
        }
        let mut clean = PathBuf::new();
        for part in Path::new(text).components() {
            match part {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir => return Err(refuse("its name holds ..")),
                Component::RootDir | Component::Prefix(_) => return Err(refuse("its name is absolute")),
            }
        }
        Ok((!clean.as_os_str().is_empty()).then_some(clean))
    }

    /// Where the entry goes; the folders above it are made and are none of them a link.
    pub fn place(&self, name: &Path) -> Result<PathBuf, PackageError> {
        let mut at = self.root.clone();
        let mut parts = name.components().peekable();
        while let Some(part) = parts.next() {
            at.push(part);
            if parts.peek().is_none() {
                break;
            }
            match fs::symlink_metadata(&at) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(PackageError::Escapes {
                        entry: name.display().to_string(),
                        cause: "a folder of its name is a file or a link",
                    });
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&at).map_err(PackageError::at(&at))?;
                }
                Err(cause) => return Err(PackageError::at(&at)(cause)),
            }
        }
        Ok(at)
    }

    fn count(&mut self) -> Result<(), PackageError> {
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(PackageError::TooLarge(format!(
                "more than {} entries",
                self.bounds.entries
            )));
        }
        Ok(())
    }

    /// Makes way for an entry.
    fn clear(&self, name: &Path, place: &Path, folder: bool) -> Result<(), PackageError> {
        let Ok(found) = fs::symlink_metadata(place) else {
            return Ok(());
        };
        if found.is_dir() && folder {
            return Ok(());
        }
        if !self.replace {
            return Err(PackageError::Escapes {
                entry: name.display().to_string(),
                cause: "there are two of its name",
            });
        }
        let gone = if found.is_dir() {
            fs::remove_dir_all(place)
        } else {
            fs::remove_file(place)
        };
        gone.map_err(PackageError::at(place))
    }

    pub fn folder(&mut self, name: &Path, mode: u32) -> Result<(), PackageError> {
        self.count()?;
        let place = self.place(name)?;
        self.clear(name, &place, true)?;
        if !place.is_dir() {
            fs::create_dir(&place).map_err(PackageError::at(&place))?;
        }
        // We must be able to go on writing into it, and to remove it.
        fs::set_permissions(&place, fs::Permissions::from_mode((mode & 0o777) | 0o700))
            .map_err(PackageError::at(&place))
    }

    pub fn file(&mut self, name: &Path, mode: u32, content: &mut dyn Read) -> Result<(), PackageError> {
        self.count()?;
        let place = self.place(name)?;
        self.clear(name, &place, false)?;
        let mut out = File::create_new(&place).map_err(PackageError::at(&place))?;
        let left = self.bounds.bytes - self.bytes;
        let mut chunk = vec![0_u8; 256 * 1024];
        let mut written = 0_u64;
        loop {
            let count = match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(PackageError::Corrupt(cause.to_string())),
            };
            written += count as u64;
            if written > left {
                return Err(PackageError::TooLarge(format!(
                    "more than {} bytes unpacked",
                    self.bounds.bytes
                )));
            }
            out.write_all(&chunk[..count]).map_err(PackageError::at(&place))?;
        }
        self.bytes += written;
        // No set-user-id: what runs in the sandbox gains nothing.
        out.set_permissions(fs::Permissions::from_mode((mode & 0o777) | 0o400))
            .map_err(PackageError::at(&place))
    }

    pub fn symlink(&mut self, name: &Path, target: &[u8]) -> Result<(), PackageError> {
        self.count()?;
        let refuse = |cause| PackageError::Escapes {
            entry: name.display().to_string(),
            cause,
        };
        let depth_of_root = if self.links {
            Some(0)
        } else {
            name.components()
                .take(2)
                .position(|part| part.as_os_str() == "rootfs")
                .map(|index| index + 1)
        };
        let above = depth_of_root.ok_or_else(|| refuse("links are allowed in the root file system only"))?;
        let target = std::str::from_utf8(target).map_err(|_| refuse("its target is not UTF-8"))?;
        if target.is_empty() || target.contains('\0') {
            return Err(refuse("it leads nowhere"));
        }
        let mut depth = name.components().count().saturating_sub(above + 1);
        for part in Path::new(target).components() {
            match part {
                // Absolute in a root file system means its own root: it is followed inside the sandbox only.
                Component::RootDir => depth = 0,
                Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(|| refuse("it leads outside"))?,
                Component::Normal(_) => depth += 1,
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let place = self.place(name)?;
        self.clear(name, &place, false)?;
        symlink(target, &place).map_err(PackageError::at(&place))
    }

    /// A second name of a file that has been unpacked before.
    pub fn hard_link(&mut self, name: &Path, target: &[u8]) -> Result<(), PackageError> {
        self.count()?;
        let refuse = |cause| PackageError::Escapes {
            entry: name.display().to_string(),
            cause,
        };
        let target = self.name(target)?.ok_or_else(|| refuse("it leads nowhere"))?;
        let source = self.place(&target)?;
        if !fs::symlink_metadata(&source).is_ok_and(|found| found.is_file()) {
            return Err(refuse("it is a link to what is not a file of the archive"));
        }
        let place = self.place(name)?;
        if place == source {
            return Ok(());
        }
        self.clear(name, &place, false)?;
        fs::hard_link(&source, &place).map_err(PackageError::at(&place))
    }

    /// One entry of a tar archive.
    pub fn tar_entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), PackageError> {
        let Some(name) = self.name(&entry.path_bytes())? else {
            return Ok(());
        };
        let mode = entry.header().mode().unwrap_or(0o644);
        let target = || {
            entry
                .link_name_bytes()
                .map(|target| target.into_owned())
                .unwrap_or_default()
        };
        let kind = entry.header().entry_type();
        match kind {
            tar::EntryType::Directory => self.folder(&name, mode),
            tar::EntryType::Symlink => self.symlink(&name, &target()),
            tar::EntryType::Link => self.hard_link(&name, &target()),
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                self.file(&name, mode, entry)
            }
            tar::EntryType::XGlobalHeader => Ok(()),
            // The sandbox has a /dev of its own.
            _ if name.components().any(|part| part.as_os_str() == "dev") => self.count(),
            _ => Err(PackageError::Escapes {
                entry: name.display().to_string(),
                cause: "it is a device, a pipe or of unknown kind",
            }),
        }
    }

    /// A whole tar archive.
    pub fn tar(&mut self, content: impl Read) -> Result<(), PackageError> {
        let mut archive = tar::Archive::new(content);
        let corrupt = |cause: io::Error| PackageError::Corrupt(cause.to_string());
        for entry in archive.entries().map_err(corrupt)? {
            self.tar_entry(&mut entry.map_err(corrupt)?)?;
        }
        Ok(())
    }

    /// A whole zip archive.
    fn zip(&mut self, content: File) -> Result<(), PackageError> {
        let corrupt = |cause: zip::result::ZipError| PackageError::Corrupt(cause.to_string());
        let mut archive = zip::ZipArchive::new(BufReader::new(content)).map_err(corrupt)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(corrupt)?;
            let raw = entry.name_raw().to_vec();
            // A backslash is a separator to those who unpack on other systems: such a name has no honest use.
            if raw.contains(&b'\\') {
                return Err(PackageError::Escapes {
                    entry: String::from_utf8_lossy(&raw).into_owned(),
                    cause: "its name holds a backslash",
                });
            }
            let Some(name) = self.name(&raw)? else { continue };
            let mode = entry.unix_mode().unwrap_or(0o644);
            if entry.is_dir() {
                self.folder(&name, 0o755)?;
            } else if mode & 0o170_000 == 0o120_000 {
                let mut target = Vec::new();
                (&mut entry)
                    .take(4096)
                    .read_to_end(&mut target)
                    .map_err(|e| PackageError::Corrupt(e.to_string()))?;
                self.symlink(&name, &target)?;
            } else {
                self.file(&name, mode, &mut entry)?;
            }
        }
        Ok(())
    }
}

/// Unpacks a package's archive, of any kind, below an empty folder.
pub fn unpack(archive: &Path, folder: &Path, bounds: Bounds) -> Result<(), PackageError> {
    let mut file = File::open(archive).map_err(PackageError::at(archive))?;
    let kind = Kind::of(&mut file).map_err(PackageError::at(archive))?;
    let mut unpacker = Unpacker::package(folder, bounds);
    match kind {
        Some(Kind::Tar) => unpacker.tar(BufReader::new(file)),
        Some(Kind::TarGz) => unpacker.tar(GzDecoder::new(BufReader::new(file))),
        Some(Kind::Zip) => unpacker.zip(file),
        None => Err(PackageError::Corrupt("neither tar nor tar.gz nor zip".into())),
    }
}
