//! Room on the disk: nothing is begun that would not fit; what waits for room says so.

use std::{fmt, io, path::Path, sync::Arc};

/// Bytes that are left alone on every disk, for the night's own frames and the books.
pub const RESERVE: u64 = 512 << 20;
/// Seconds after which what waits for room is looked at again.
pub const LOOK_AGAIN_S: f64 = 60.0;

/// Tells the free bytes of the disk under a folder.
pub type Free = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// How much must stay free, and how it is found out.
#[derive(Clone)]
pub struct Space {
    pub reserve: u64,
    pub free: Free,
}

impl Default for Space {
    fn default() -> Self {
        Self {
            reserve: RESERVE,
            free: Arc::new(free_bytes),
        }
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("reserve", &self.reserve).finish()
    }
}

/// What an ordinary account may still write, bytes (statvfs(3): `f_bavail` blocks of `f_frsize` bytes).
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let told = rustix::fs::statvfs(folder)?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Why so many bytes more would not fit; none when they do.
pub fn shortage(free: u64, needed: u64, reserve: u64) -> Option<String> {
    let wanted = needed.saturating_add(reserve);
    (free < wanted).then(|| {
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        format!(
            "waits for room: {} MB free, {} MB needed, {} MB kept free",
            free / 1_000_000,
            mb(needed),
            mb(reserve)
        )
    })
}

impl Space {
    /// The same for a folder. When nobody can tell how much is free, that is the reason.
    pub fn lacks(&self, folder: &Path, needed: u64) -> Option<String> {
        match (self.free)(folder) {
            Ok(free) => shortage(free, needed, self.reserve),
            Err(cause) => Some(format!("waits for room: {}: {cause}", folder.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_exactly_is_begun_and_one_byte_more_waits() {
        assert_eq!(shortage(150, 100, 50), None);
        let why = shortage(149_999_999, 100_000_000, 50_000_000).unwrap();
        assert_eq!(why, "waits for room: 149 MB free, 100 MB needed, 50 MB kept free");
        assert!(
            shortage(10, u64::MAX, 1).is_some(),
            "a wish beyond all numbers does not wrap"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_reason_to_wait() {
        let space = Space::default();
        assert_eq!(
            Space {
                reserve: 0,
                ..space.clone()
            }
            .lacks(&std::env::temp_dir(), 1),
            None
        );
        assert!(
            space
                .lacks(Path::new("/nowhere/at/all"), 1)
                .unwrap()
                .contains("/nowhere")
        );
    }
}
