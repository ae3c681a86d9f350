//! From recorded facts to the database, the journal file, the gateways.
//!
//! The recorder calls its sinks in the agents' own turn, so a sink only keeps the entry; one task commits what has
//! gathered, as soon as the turn is over. Lines leave for the file and the gateways only after their commit: what
//! anybody outside has seen is in the database.

use crate::store::{Store, StoreError};
use alidade_model::{
    journal::{Entry, Sink},
    offload::Offload,
};
use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
};
use tokio::sync::{Notify, broadcast};

/// Entries between the recorder and their commit.
#[derive(Clone, Default)]
pub struct Gathered {
    entries: Rc<RefCell<Vec<Entry>>>,
    wake: Rc<Notify>,
    committed: Rc<Cell<u64>>,
    advanced: Rc<Notify>,
}

impl Sink for Gathered {
    fn append(&mut self, entry: &Entry) {
        self.entries.borrow_mut().push(entry.clone());
        self.wake.notify_one();
    }
}

impl Gathered {
    /// Waits until the entry with this number is committed.
    pub async fn committed(&self, seq: u64) {
        while self.committed.get() < seq {
            self.advanced.notified().await;
        }
    }
}

/// Where committed lines go.
pub struct Outlets {
    pub file: Option<BufWriter<File>>,
    pub lines: broadcast::Sender<Arc<str>>,
}

impl Outlets {
    /// Opens the journal file of an output folder, to be continued if it exists.
    pub fn to_file(path: &Path, lines: broadcast::Sender<Arc<str>>) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            file: Some(BufWriter::new(file)),
            lines,
        })
    }

    fn write(&mut self, entries: &[Entry]) -> std::io::Result<()> {
        let watched = self.lines.receiver_count() > 0;
        for entry in entries {
            let line = serde_json::to_string(entry).map_err(std::io::Error::other)?;
            if let Some(file) = &mut self.file {
                file.write_all(line.as_bytes())?;
                file.write_all(b"\n")?;
            }
            if watched {
                // Nobody listening is no fault.
                drop(self.lines.send(line.into()));
            }
        }
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        Ok(())
    }
}

/// What stops the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("journal file: {0}")]
    File(#[from] std::io::Error),
    #[error("the store's thread is gone")]
    Lost,
}

/// Commits what gathers until a commit fails; then the daemon must stop, because it can no longer keep its word.
pub async fn commit(
    gathered: Gathered,
    store: Arc<Mutex<Store>>,
    offload: Offload,
    mut outlets: Outlets,
) -> JournalFault {
    loop {
        gathered.wake.notified().await;
        // The turn that recorded may record more: one transaction for all of it.
        tokio::task::yield_now().await;
        let batch: Vec<Entry> = std::mem::take(&mut *gathered.entries.borrow_mut());
        let Some(last) = batch.last().map(|entry| entry.seq) else {
            continue;
        };
        let store = store.clone();
        let done = offload
            .run(move || {
                let mut store = store.lock().map_err(|_| JournalFault::Lost)?;
                store.append(&batch)?;
                Ok::<_, JournalFault>(batch)
            })
            .await;
        let batch = match done {
            Ok(Ok(batch)) => batch,
            Ok(Err(fault)) => return fault,
            Err(_) => return JournalFault::Lost,
        };
        if let Err(error) = outlets.write(&batch) {
            return error.into();
        }
        gathered.committed.set(last);
        gathered.advanced.notify_waiters();
    }
}
