//! The desk of packages in the running daemon: opened on its data folder, driven by a thread of its own.
//!
//! It is not on the agents' thread: packages are other people's programs, and nothing of the night waits for them.

use crate::{
    clock::utc_now,
    gateway::http::Desks,
    processing,
    store::{Durability, OpenOptions, Store},
};
use alidade_model::time::UtcTime;
use alidade_pipeline::packages::{Desk, DeskSettings};
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

/// Opens the desk below a data folder, or says why there is none here: the first of the executors must be found, without
/// another one the desk is opened all the same.
pub fn open(data_dir: &Path, database: &str, executors: &[String]) -> Result<DrivenDesk, String> {
    let mut names = executors.iter();
    let first = names.next().ok_or("storage.package_executors is empty")?;
    let first = processing::executor(first)?;
    let options = OpenOptions {
        migrate: false,
        durability: Durability::Durable,
    };
    let store = Store::open(database, options).map_err(|e| e.to_string())?;
    let root = std::path::absolute(data_dir).map_err(|e| e.to_string())?;
    let mut desk = Desk::open(DeskSettings::below(&root), first, Box::new(store)).map_err(|e| e.to_string())?;
    for name in names {
        match processing::executor(name) {
            Ok(executor) => desk = desk.with_executor(executor),
            Err(cause) => tracing::warn!(%cause, "packages"),
        }
    }
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
