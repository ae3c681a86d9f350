//! The commit rule for files: hashed, on the disk, then renamed to their place in one step.
//!
//! What an attempt writes stays in its own folder until then, so nobody ever sees a part of a product. The record of
//! the product follows in the transaction that ends the attempt; a death in between leaves a file that nothing refers
//! to, and the next attempt puts its own in its place.

use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Size in bytes and SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    pub size: u64,
    pub sha256: String,
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a file to its end.
pub fn sum(file: &Path) -> io::Result<Sum> {
    let mut open = File::open(file)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        match open.read(&mut buffer)? {
            0 => break,
            n => {
                digest.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
    Ok(Sum {
        size,
        sha256: hex(&digest.finalize()),
    })
}

/// Hashes `from`, puts it on the disk and renames it to `to`, of which the folders are made. Both lie on one file
/// system.
pub fn put(from: &Path, to: &Path) -> io::Result<Sum> {
    let meta = fs::symlink_metadata(from)?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    let found = sum(from)?;
    File::open(from)?.sync_all()?;
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    fs::rename(from, to)?;
    File::open(folder)?.sync_all()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_a_product() {
        let folder = std::env::temp_dir().join(format!("alidade-commit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a"), b"abc").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.join("l")).unwrap();
        assert!(put(&folder.join("l"), &folder.join("x/l")).is_err());
        let made = put(&folder.join("a"), &folder.join("x/y/a")).unwrap();
        assert_eq!(
            made.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(!folder.join("a").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
