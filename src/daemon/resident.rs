//! The first alert after a quiet day must not wait for the disk.
//!
//! A kernel that wants memory drops the pages of a program that nobody has used for a while; the next packet then waits
//! until each is read again: 40 to 70 ms on a quick disk that does nothing else, 404 ms were seen on a busy one, where the
//! same packet takes 2 ms otherwise. So the daemon takes a packet of its own through reading, merging and deciding when it
//! starts, and asks the kernel to keep every page of the program and its libraries that was used once (`mlock2(2)` with
//! `MLOCK_ONFAULT`). Nothing grows by it: pages that were never used are not read.
//!
//! Only what is mapped from files is locked: locked memory could not be given back by the allocator.

use crate::settings::Settings;
use alidade_alerts::strategy::{Strategy, rehearse};
use alidade_model::time::UtcTime;
use rustix::mm::{MlockFlags, mlock_with};
use std::{fs, io};

const PACKET: &[u8] = include_bytes!("../../simulations/nights/grb-over-ohp/events/svom-sb26022501-eclairs-wakeup.xml");

/// Takes a packet the way to its decision, with no consequence.
pub fn rehearse_alert(settings: &Settings, strategies: &[Strategy], now: UtcTime) {
    let unit = super::panorama::unit(settings);
    std::hint::black_box(rehearse([(PACKET, now)], strategies, strategies, &unit, now));
}

/// A range of addresses of this process that is read from a file and not written.
struct Mapping {
    start: usize,
    end: usize,
}

/// From a line of proc_pid_maps(5): `start-end perms offset dev inode path`.
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (range, permissions) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    if !path.starts_with('/') || !permissions.starts_with("r-") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    (start < end).then_some(Mapping { start, end })
}

/// Keeps the pages of the program in memory once they are there; the bytes that may become so, or why they may not.
pub fn keep_program() -> io::Result<usize> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for part in maps.lines().filter_map(mapping) {
        keep(&part)?;
        bytes += part.end - part.start;
    }
    Ok(bytes)
}

#[allow(unsafe_code, reason = "the safe call for all of the memory would also lock the heap")]
fn keep(part: &Mapping) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(part.start);
    // SAFETY: the kernel has just named these addresses as mapped and readable, nothing here unmaps a library, and a lock
    // neither reads nor changes what is there. A mapping that were gone would be refused with ENOMEM.
    unsafe { mlock_with(start, part.end - part.start, MlockFlags::ONFAULT) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

    use super::*;

    #[test]
    fn only_what_is_read_from_files_is_kept() {
        let code = mapping("55d0c0a00000-55d0c0a21000 r-xp 00002000 fe:00 1234   /usr/bin/alidade").unwrap();
        assert_eq!(code.end - code.start, 0x21000);
        for other in [
            "55d0c1000000-55d0c1021000 rw-p 00000000 fe:00 1234   /usr/bin/alidade",
            "55d0c1000000-55d0c1021000 ---p 00000000 fe:00 1234   /usr/lib/libc.so.6",
            "7f0000000000-7f0000021000 rw-p 00000000 00:00 0",
            "7ffd00000000-7ffd00021000 r-xp 00000000 00:00 0      [vdso]",
            "7f0000000000 r-xp",
            "",
        ] {
            assert!(mapping(other).is_none(), "{other}");
        }
    }

    #[test]
    fn this_very_program_is_found_and_kept_or_the_limit_is_told() {
        let locked = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status
                .lines()
                .find(|line| line.starts_with("VmLck:"))
                .unwrap()
                .to_owned();
            line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        let before = locked();
        match keep_program() {
            Ok(bytes) => assert!(bytes > 1_000_000 && locked() >= before + bytes / 1024 - 64, "{bytes}"),
            Err(cause) => assert!(
                matches!(
                    cause.kind(),
                    io::ErrorKind::OutOfMemory | io::ErrorKind::PermissionDenied
                ),
                "{cause}"
            ),
        }
    }

    #[test]
    fn the_packet_of_the_rehearsal_is_one_that_is_followed() {
        let settings = Settings::load("config/simulated.toml".as_ref()).unwrap();
        let strategies = alidade_alerts::strategy::load_folder("config/strategies".as_ref()).unwrap();
        let at: UtcTime = "2026-02-25T23:00:00Z".parse().unwrap();
        let unit = super::super::panorama::unit(&settings);
        let fates = rehearse([(PACKET, at)], &strategies, &strategies, &unit, at);
        assert!(fates.len() == 1 && fates[0].after.followed, "{fates:?}");
    }
}
