//! Packets on disk in the order of their arrival: a broker's memory.
//!
//! One file a day, `packets-YYYYMMDD.vtp`: frames of the VOEvent Transport Protocol one behind the other, so that every
//! tool that reads a recorded stream reads it. Many packets share one `fdatasync`; nothing is acknowledged before it. A
//! file whose last frame is not whole (the power went) is cut behind the last whole one when it is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};

use super::vtp::frame::{FrameDecoder, encode};

/// A folder of day files, open for more.
#[derive(Debug)]
pub struct PacketJournal {
    folder: PathBuf,
    open: Option<DayFile>,
    longest: usize,
}

#[derive(Debug)]
struct DayFile {
    day: NaiveDate,
    file: File,
    /// Where the last packet ends that is whole.
    length: u64,
}

/// Packets as frames behind what is in `bytes`.
///
/// # Errors
/// A packet that is longer than a frame can say; `bytes` is as it was then.
pub fn frames<'a>(packets: impl IntoIterator<Item = &'a [u8]>, bytes: &mut Vec<u8>) -> io::Result<()> {
    let before = bytes.len();
    for packet in packets {
        match encode(packet) {
            Ok(frame) => bytes.extend(frame),
            Err(error) => {
                bytes.truncate(before);
                return Err(io::Error::other(error));
            }
        }
    }
    Ok(())
}

const PREFIX: &str = "packets-";
const SUFFIX: &str = ".vtp";

impl PacketJournal {
    /// Opens a folder, making it if need be. `longest` is the longest packet, bytes.
    ///
    /// # Errors
    /// When the folder cannot be made or its files cannot be mended.
    pub fn open(folder: &Path, longest: usize) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let journal = Self {
            folder: folder.to_path_buf(),
            open: None,
            longest,
        };
        if let Some(last) = journal.files()?.last() {
            let (_, whole) = journal.frames(last)?;
            let file = OpenOptions::new().write(true).open(last)?;
            if file.metadata()?.len() > whole {
                tracing::warn!(file = %last.display(), "the last packet was not written whole; cut off");
                file.set_len(whole)?;
                file.sync_all()?;
            }
        }
        Ok(journal)
    }

    /// The day files, oldest first.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The whole frames of a file, and where the last of them ends.
    fn frames(&self, path: &Path) -> io::Result<(Vec<Vec<u8>>, u64)> {
        let mut decoder = FrameDecoder::new(self.longest);
        let (mut file, mut found, mut whole) = (File::open(path)?, Vec::new(), 0u64);
        let mut chunk = vec![0; 1 << 16];
        loop {
            let count = file.read(&mut chunk)?;
            decoder.push(chunk.get(..count).unwrap_or_default());
            while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
                whole += 4 + frame.len() as u64;
                found.push(frame);
            }
            if count == 0 {
                return Ok((found, whole));
            }
        }
    }

    /// Writes packets behind the others; they are durable when this returns.
    ///
    /// # Errors
    /// When a file cannot be written. None of the packets may then be acknowledged.
    pub fn append<'a>(&mut self, packets: impl IntoIterator<Item = &'a [u8]>, now: DateTime<Utc>) -> io::Result<()> {
        let mut bytes = Vec::new();
        frames(packets, &mut bytes)?;
        self.append_frames(&bytes, now)
    }

    /// The same for packets that are frames already.
    ///
    /// # Errors
    /// When a file cannot be written; nothing of these bytes is in it then.
    pub fn append_frames(&mut self, frames: &[u8], now: DateTime<Utc>) -> io::Result<()> {
        let day = now.date_naive();
        if self.open.as_ref().is_none_or(|open| open.day != day) {
            let path = self.folder.join(format!("{PREFIX}{}{SUFFIX}", day.format("%Y%m%d")));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            // The name must survive as well as the bytes.
            File::open(&self.folder)?.sync_all()?;
            let length = file.metadata()?.len();
            self.open = Some(DayFile { day, file, length });
        }
        let Some(open) = &mut self.open else {
            return Err(io::Error::other("no file is open"));
        };
        let written = open.file.write_all(frames).and_then(|()| open.file.sync_data());
        match written {
            Ok(()) => open.length += frames.len() as u64,
            Err(_) => {
                // Half a frame would make what follows unreadable. If it cannot be cut off now, it is at the next start.
                if let Err(error) = open.file.set_len(open.length) {
                    tracing::error!(%error, "half a packet stays at the end of the journal");
                }
                self.open = None;
            }
        }
        written
    }

    /// The newest packets, oldest first, at most `count`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn newest(&self, count: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut newest: Vec<Vec<u8>> = Vec::new();
        for path in self.files()?.iter().rev() {
            let (mut older, _) = self.frames(path)?;
            older.extend(newest);
            newest = older;
            if newest.len() >= count {
                break;
            }
        }
        let spare = newest.len().saturating_sub(count);
        Ok(newest.split_off(spare))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("alidade-packets-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn packets_come_back_in_order_over_days_and_a_torn_one_is_cut_off() {
        let folder = folder("order");
        let mut journal = PacketJournal::open(&folder, 1000).unwrap();
        journal
            .append([&b"one"[..], b"two"], at("2026-11-20T23:59:59Z"))
            .unwrap();
        journal.append([&b"three"[..]], at("2026-11-21T00:00:00Z")).unwrap();
        assert_eq!(journal.newest(2).unwrap(), [b"two".to_vec(), b"three".to_vec()]);
        drop(journal);
        let torn = folder.join("packets-20261121.vtp");
        let mut file = OpenOptions::new().append(true).open(&torn).unwrap();
        file.write_all(&[0, 0, 0, 9, b'h', b'a']).unwrap();
        let mut journal = PacketJournal::open(&folder, 1000).unwrap();
        journal.append([&b"four"[..]], at("2026-11-21T00:00:01Z")).unwrap();
        let all: Vec<String> = journal
            .newest(99)
            .unwrap()
            .into_iter()
            .map(|p| String::from_utf8(p).unwrap())
            .collect();
        assert_eq!(all, ["one", "two", "three", "four"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
