//! OCI image layouts, and plain archives of a root file system.
//!
//! Read after the OCI image specification 1.1: `oci-layout`, `index.json` -> manifest -> layers in order. Each blob's
//! SHA-256 and size are checked before it is used. In a layer an entry `.wh.NAME` removes NAME of the layers below, and
//! `.wh..wh..opq` everything of its folder.

use super::{
    PackageError,
    archive::{Bounds, Kind, Unpacker},
};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// What an image says of how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `Entrypoint` followed by `Cmd`.
    pub command: Vec<String>,
    /// `Env`, as `KEY=value`.
    pub environment: Vec<String>,
}

fn corrupt(cause: impl Into<String>) -> PackageError {
    PackageError::Corrupt(cause.into())
}

/// Unpacks an image into an empty folder. `image` is a layout's folder, an archive of a layout, or of a root file system;
/// `scratch` is an empty folder for what is in between.
pub fn unpack(image: &Path, root: &Path, scratch: &Path, bounds: Bounds) -> Result<ImageConfig, PackageError> {
    if image.is_dir() {
        return layout(image, root, bounds);
    }
    let mut file = File::open(image).map_err(PackageError::at(image))?;
    let kind = Kind::of(&mut file).map_err(PackageError::at(image))?;
    let mut unpacker = Unpacker::layers(scratch, bounds);
    match kind {
        Some(Kind::Tar) => unpacker.tar(BufReader::new(file))?,
        Some(Kind::TarGz) => unpacker.tar(GzDecoder::new(BufReader::new(file)))?,
        _ => return Err(corrupt("the image is neither tar nor tar.gz")),
    }
    if scratch.join("oci-layout").exists() {
        return layout(scratch, root, bounds);
    }
    // A root file system as it is.
    for entry in fs::read_dir(scratch).map_err(PackageError::at(scratch))? {
        let entry = entry.map_err(PackageError::at(scratch))?;
        let to = root.join(entry.file_name());
        fs::rename(entry.path(), &to).map_err(PackageError::at(&to))?;
    }
    Ok(ImageConfig::default())
}

/// A layout's folder.
fn layout(folder: &Path, root: &Path, bounds: Bounds) -> Result<ImageConfig, PackageError> {
    let marker = json_file(&folder.join("oci-layout"))?;
    if marker.get("imageLayoutVersion").and_then(Value::as_str) != Some("1.0.0") {
        return Err(corrupt("oci-layout is not of version 1.0.0"));
    }
    let mut document = json_file(&folder.join("index.json"))?;
    // An index may hold indices, one a platform.
    for _ in 0..4 {
        let Some(manifests) = document.get("manifests").and_then(Value::as_array) else {
            break;
        };
        let here = |m: &&Value| {
            let platform = m
                .get("platform")
                .and_then(|p| p.get("architecture"))
                .and_then(Value::as_str);
            platform.is_none_or(|found| found == architecture())
        };
        let chosen = manifests.iter().find(here);
        let chosen = chosen.ok_or_else(|| corrupt(format!("the image has no manifest for {}", architecture())))?;
        document = parsed(&read_blob(folder, chosen)?)?;
    }
    let layers = document
        .get("layers")
        .and_then(Value::as_array)
        .ok_or_else(|| corrupt("the image has no layers"))?;
    let config = document
        .get("config")
        .map(|config| read_blob(folder, config))
        .transpose()?;
    let config = config.map(|text| parsed(&text)).transpose()?.unwrap_or_default();
    let mut unpacker = Unpacker::layers(root, bounds);
    for layer in layers {
        let blob = checked_blob(folder, layer)?;
        let mut file = File::open(&blob).map_err(PackageError::at(&blob))?;
        match Kind::of(&mut file).map_err(PackageError::at(&blob))? {
            Some(Kind::TarGz) => apply(&mut unpacker, GzDecoder::new(BufReader::new(file)))?,
            Some(Kind::Tar) => apply(&mut unpacker, BufReader::new(file))?,
            _ => {
                let kind = layer.get("mediaType").and_then(Value::as_str).unwrap_or("?");
                return Err(corrupt(format!(
                    "a layer of kind {kind} cannot be read (tar and tar.gz can)"
                )));
            }
        }
    }
    let texts = |key: &str| -> Vec<String> {
        let list = config.get("config").and_then(|c| c.get(key)).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(String::from)
            .collect()
    };
    let mut command = texts("Entrypoint");
    command.extend(texts("Cmd"));
    Ok(ImageConfig {
        command,
        environment: texts("Env"),
    })
}

/// This machine as the specification names it (Go's GOARCH).
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn json_file(file: &Path) -> Result<Value, PackageError> {
    let mut text = Vec::new();
    let opened = File::open(file).map_err(PackageError::at(file))?;
    opened
        .take(4 << 20)
        .read_to_end(&mut text)
        .map_err(PackageError::at(file))?;
    parsed(&text)
}

fn parsed(text: &[u8]) -> Result<Value, PackageError> {
    serde_json::from_slice(text).map_err(|e| corrupt(e.to_string()))
}

fn read_blob(folder: &Path, descriptor: &Value) -> Result<Vec<u8>, PackageError> {
    let blob = checked_blob(folder, descriptor)?;
    let mut text = Vec::new();
    let opened = File::open(&blob).map_err(PackageError::at(&blob))?;
    opened
        .take(4 << 20)
        .read_to_end(&mut text)
        .map_err(PackageError::at(&blob))?;
    Ok(text)
}

/// The file of a descriptor, whose size and digest are what the descriptor says.
fn checked_blob(folder: &Path, descriptor: &Value) -> Result<PathBuf, PackageError> {
    let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default();
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let hex = hex.ok_or_else(|| corrupt(format!("digest {digest:?} is not a sha256")))?;
    let blob = folder.join("blobs/sha256").join(hex);
    let mut file = File::open(&blob).map_err(PackageError::at(&blob))?;
    let mut hasher = Hasher(Sha256::new());
    let size = io::copy(&mut file, &mut hasher).map_err(PackageError::at(&blob))?;
    if descriptor
        .get("size")
        .and_then(Value::as_u64)
        .is_some_and(|said| said != size)
    {
        return Err(corrupt(format!(
            "blob {hex} has {size} bytes, which is not what its descriptor says"
        )));
    }
    if hex_of(&hasher.0.finalize()) != hex.to_ascii_lowercase() {
        return Err(corrupt(format!("blob {hex} does not have this digest")));
    }
    Ok(blob)
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A digest as lower-case hexadecimal digits.
pub fn hex_of(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 and the size of a file.
pub fn fingerprint(file: &Path) -> io::Result<(String, u64)> {
    let mut hasher = Hasher(Sha256::new());
    let size = io::copy(&mut File::open(file)?, &mut hasher)?;
    Ok((hex_of(&hasher.0.finalize()), size))
}

/// Applies one layer over those before it.
fn apply(unpacker: &mut Unpacker, content: impl Read) -> Result<(), PackageError> {
    let mut archive = tar::Archive::new(content);
    let broken = |cause: io::Error| corrupt(cause.to_string());
    // An opaque mark hides what lower layers put into its folder, not what this one does, wherever in the layer it stands.
    let mut made: std::collections::BTreeSet<PathBuf> = std::collections::BTreeSet::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let Some(name) = unpacker.name(&entry.path_bytes())? else {
            continue;
        };
        let file = name
            .file_name()
            .and_then(|file| file.to_str())
            .unwrap_or_default()
            .to_owned();
        let parent = name.parent().unwrap_or(Path::new("")).to_owned();
        if file == ".wh..wh..opq" {
            let folder = unpacker.place(&parent.join("x"))?;
            let folder = folder.parent().unwrap_or(unpacker.root()).to_owned();
            hide_all(&folder, &parent, &made)?;
        } else if let Some(hidden) = file.strip_prefix(".wh.") {
            if hidden.is_empty() || hidden == "." || hidden == ".." {
                return Err(corrupt("a whiteout of nothing"));
            }
            remove(&unpacker.place(&parent.join(hidden))?)?;
        } else {
            unpacker.tar_entry(&mut entry)?;
            made.extend(
                name.ancestors()
                    .filter(|part| !part.as_os_str().is_empty())
                    .map(Path::to_owned),
            );
        }
    }
    Ok(())
}

fn hide_all(folder: &Path, name: &Path, made: &std::collections::BTreeSet<PathBuf>) -> Result<(), PackageError> {
    for entry in fs::read_dir(folder).map_err(PackageError::at(folder))? {
        let entry = entry.map_err(PackageError::at(folder))?;
        let inner = name.join(entry.file_name());
        if !made.contains(&inner) {
            remove(&entry.path())?;
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            hide_all(&entry.path(), &inner, made)?;
        }
    }
    Ok(())
}

fn remove(place: &Path) -> Result<(), PackageError> {
    let gone = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        Err(_) => Ok(()),
    };
    gone.map_err(PackageError::at(place))
}
