//! Weblogs: zip archives of pages, packed here and unpacked only below their folder.
//!
//! An archive from another site is not trusted: names that lead out (`../x`, `/x`, `C:\x`), links, and archives that
//! would grow without bound are refused before the first file is written; nothing half-unpacked is ever visible.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Component, Path},
};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

/// Largest weblog when unpacked, bytes.
const SIZE_LIMIT: u64 = 4 << 30;
/// Most entries.
const ENTRY_LIMIT: usize = 100_000;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0}: {1}")]
    Io(String, io::Error),
    #[error("{0}: is not a zip archive: {1}")]
    NotAZip(String, String),
    #[error("{archive}: entry {name:?} leads out of the folder")]
    Escape { archive: String, name: String },
    #[error("{archive}: entry {name:?} is a link")]
    Link { archive: String, name: String },
    #[error("{0}: is too large when unpacked")]
    TooLarge(String),
}

/// A text as it stands between the tags of a page.
pub fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// Packs named texts into a zip file.
pub fn pack(path: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Refused> {
    let name = path.display().to_string();
    let io = |e| Refused::Io(name.clone(), e);
    let zipped = |e: zip::result::ZipError| Refused::NotAZip(name.clone(), e.to_string());
    let mut zip = ZipWriter::new(File::create(path).map_err(io)?);
    for (entry, bytes) in files {
        zip.start_file(entry.as_str(), SimpleFileOptions::default())
            .map_err(zipped)?;
        zip.write_all(bytes).map_err(io)?;
    }
    zip.finish().map_err(zipped)?;
    Ok(())
}

fn is_plain(name: &str) -> bool {
    let drive = name.as_bytes().get(1) == Some(&b':');
    !name.is_empty()
        && !drive
        && !name.contains(['\\', '\0'])
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Judges every entry, unpacks beside the target, and puts the folder in its place in one step.
pub fn unpack(archive: &Path, target: &Path) -> Result<usize, Refused> {
    let name = archive.display().to_string();
    let io = |e| Refused::Io(name.clone(), e);
    let mut zip = open(archive)?;
    judge(&mut zip, &name)?;
    let staging = target.with_extension("unpacking");
    if staging.exists() {
        fs::remove_dir_all(&staging).map_err(io)?;
    }
    let done = write_all(&mut zip, &staging, &name).and_then(|count| {
        if target.exists() {
            fs::remove_dir_all(target).map_err(io)?;
        }
        fs::rename(&staging, target).map_err(io)?;
        Ok(count)
    });
    if done.is_err() {
        // The error is what is to be told; a folder that cannot be removed is replaced next time.
        let _ = fs::remove_dir_all(&staging);
    }
    done
}

fn open(archive: &Path) -> Result<ZipArchive<File>, Refused> {
    let name = archive.display().to_string();
    let file = File::open(archive).map_err(|e| Refused::Io(name.clone(), e))?;
    ZipArchive::new(file).map_err(|e| Refused::NotAZip(name, e.to_string()))
}

/// The name of an entry, if it can be read.
fn named<R: Read>(entry: &zip::read::ZipFile<'_, R>, archive: &str) -> Result<String, Refused> {
    let name = entry
        .name()
        .map_err(|e| Refused::NotAZip(archive.into(), e.to_string()))?;
    Ok(name.into_owned())
}

fn judge<R: Read + Seek>(zip: &mut ZipArchive<R>, name: &str) -> Result<(), Refused> {
    let mut total = 0_u64;
    if zip.len() > ENTRY_LIMIT {
        return Err(Refused::TooLarge(name.into()));
    }
    for index in 0..zip.len() {
        let entry = zip
            .by_index_raw(index)
            .map_err(|e| Refused::NotAZip(name.into(), e.to_string()))?;
        let inside = named(&entry, name)?;
        if !is_plain(&inside) {
            return Err(Refused::Escape {
                archive: name.into(),
                name: inside,
            });
        }
        // S_IFLNK of stat(2).
        if entry.unix_mode().is_some_and(|mode| mode & 0o170_000 == 0o120_000) {
            return Err(Refused::Link {
                archive: name.into(),
                name: inside,
            });
        }
        total = total.saturating_add(entry.size());
    }
    if total > SIZE_LIMIT {
        return Err(Refused::TooLarge(name.into()));
    }
    Ok(())
}

fn write_all<R: Read + Seek>(zip: &mut ZipArchive<R>, staging: &Path, name: &str) -> Result<usize, Refused> {
    let io = |e| Refused::Io(name.to_owned(), e);
    fs::create_dir_all(staging).map_err(io)?;
    let mut budget = SIZE_LIMIT;
    for index in 0..zip.len() {
        let mut entry = zip
            .by_index(index)
            .map_err(|e| Refused::NotAZip(name.into(), e.to_string()))?;
        let path = staging.join(named(&entry, name)?);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(io)?;
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let mut file = File::create(&path).map_err(io)?;
        // The size in the directory is only a claim.
        let written = io::copy(&mut (&mut entry).take(budget + 1), &mut file).map_err(io)?;
        budget = budget
            .checked_sub(written)
            .ok_or_else(|| Refused::TooLarge(name.into()))?;
    }
    Ok(zip.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("alidade-weblog-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let folder = folder("whole");
        let files = vec![
            ("index.html".to_owned(), b"<p>".to_vec()),
            ("a/b.txt".to_owned(), vec![7; 5000]),
        ];
        pack(&folder.join("w.zip"), &files).unwrap();
        assert_eq!(unpack(&folder.join("w.zip"), &folder.join("w")).unwrap(), 2);
        assert_eq!(fs::read(folder.join("w/a/b.txt")).unwrap(), vec![7; 5000]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_zip_with_names_that_lead_out_is_refused_and_leaves_nothing() {
        let folder = folder("escape");
        for bad in [
            "../out.txt",
            "a/../../out.txt",
            "/out.txt",
            "C:\\out.txt",
            "..\\out.txt",
        ] {
            let files = vec![("fine.txt".to_owned(), vec![1]), (bad.to_owned(), vec![2])];
            pack(&folder.join("w.zip"), &files).unwrap();
            let refused = unpack(&folder.join("w.zip"), &folder.join("w")).unwrap_err();
            assert!(refused.to_string().contains("leads out"), "{bad}: {refused}");
            let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left, ["w.zip"], "{bad}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_link_and_a_file_that_is_no_zip_are_refused() {
        let folder = folder("link");
        let mut zip = ZipWriter::new(File::create(folder.join("l.zip")).unwrap());
        zip.add_symlink("l", "/etc/passwd", SimpleFileOptions::default())
            .unwrap();
        zip.finish().unwrap();
        assert!(matches!(
            unpack(&folder.join("l.zip"), &folder.join("l")),
            Err(Refused::Link { .. })
        ));
        fs::write(folder.join("n.zip"), b"not a zip").unwrap();
        assert!(matches!(
            unpack(&folder.join("n.zip"), &folder.join("n")),
            Err(Refused::NotAZip(..))
        ));
        fs::remove_dir_all(folder).unwrap();
    }
}
