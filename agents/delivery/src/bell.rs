//! Bells: whoever waits for messages is woken when there are some.
//!
//! In one process a [`Bell`] is a counter under a condition. Between processes of one machine (a command and the daemon)
//! it is a datagram: each waiting process has a socket in the station's `bells` folder, and ringing sends one byte to
//! every socket there. A socket whose process is gone is removed by whoever rings.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

#[derive(Debug, Default)]
struct Inner {
    rung: Mutex<u64>,
    heard: Condvar,
    folder: Mutex<Option<(PathBuf, PathBuf)>>,
}

/// See the module's text; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Inner>);

impl Bell {
    pub fn new() -> Self {
        Self::default()
    }

    /// How often it was rung: to be read before looking whether there is anything to do.
    pub fn count(&self) -> u64 {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody in this process.
    pub fn ring(&self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.heard.notify_all();
    }

    /// Wakes this process and every other one at the station.
    pub fn ring_all(&self) {
        self.ring();
        let folder = self.0.folder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((folder, own)) = folder {
            ring_folder(&folder, Some(&own));
        }
    }

    /// Waits until it is rung once more than `since`, at most for a while.
    pub fn wait(&self, since: u64, most: Duration) {
        let rung = self.0.rung.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.heard.wait_timeout_while(rung, most, |count| *count == since));
    }

    /// Listens to other processes at a station, in a thread that lives as long as the process.
    pub fn listen(&self, station: &Path) -> io::Result<()> {
        let folder = station.join("bells");
        fs::create_dir_all(&folder)?;
        let own = folder.join(format!("{}.sock", std::process::id()));
        let _ = fs::remove_file(&own);
        let socket = UnixDatagram::bind(&own)?;
        *self.0.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some((folder, own));
        let bell = self.clone();
        thread::Builder::new().name("bell".into()).spawn(move || {
            let mut byte = [0; 8];
            while socket.recv(&mut byte).is_ok() {
                bell.ring();
            }
        })?;
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Ok(Some((_, own))) = self.folder.get_mut().map(|folder| folder.take()) {
            let _ = fs::remove_file(own);
        }
    }
}

/// Rings at a station without listening there.
pub fn ring_folder(folder: &Path, own: Option<&Path>) {
    let Ok(socket) = UnixDatagram::unbound() else { return };
    // A full queue has somebody awake already.
    let _ = socket.set_nonblocking(true);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if Some(path.as_path()) == own {
            continue;
        }
        if let Err(error) = socket.send_to(&[1], &path)
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            let _ = fs::remove_file(&path);
        }
    }
}
