//! The desk of packages in the running daemon: opened on its data folder, driven by a thread of its own.
//!
//! It is not on the agents' thread: packages are other people's programs, and nothing of the night waits for them.

use crate::{
    clock::utc_now,
    gateway::http::Desks,
    store::{Durability, OpenOptions, Store},
};
use alidade_model::time::UtcTime;
use alidade_pipeline::{
    executors::BubblewrapExecutor,
    packages::{Desk, DeskSettings},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Between two looks at the runs.
const LOOK: Duration = Duration::from_millis(100);

/// A driven desk. Dropping it ends the thread; what runs goes on and is taken up by the next daemon.
pub struct DrivenDesk {
    pub desks: Desks,
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for DrivenDesk {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread of the packages panicked");
            }
        }
    }
}

/// Opens the desk below a data folder, or says why there is none here.
pub fn open(data_dir: &Path, database: &str) -> Result<DrivenDesk, String> {
    let sandbox = BubblewrapExecutor::detect().map_err(|e| e.to_string())?;
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Durable,
    };
    let store = Store::open(database, options).map_err(|e| e.to_string())?;
    let root = std::path::absolute(data_dir).map_err(|e| e.to_string())?;
    let desk = Desk::open(DeskSettings::below(&root), Box::new(sandbox), Box::new(store)).map_err(|e| e.to_string())?;
    let (desk, done) = (Arc::new(desk), Arc::new(AtomicBool::new(false)));
    let (driven, end) = (desk.clone(), done.clone());
    let thread = thread::Builder::new()
        .name("packages".into())
        .spawn(move || {
            if let Err(cause) = driven.install_unfinished() {
                tracing::error!(%cause, "packages");
            }
            while !end.load(Ordering::Relaxed) {
                driven.tick(UtcTime::new(utc_now()));
                thread::park_timeout(LOOK);
            }
        })
        .map_err(|e| e.to_string())?;
    Ok(DrivenDesk {
        desks: Desks {
            desk,
            clock: Arc::new(|| UtcTime::new(utc_now())),
        },
        done,
        thread: Some(thread),
    })
}
