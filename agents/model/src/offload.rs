//! Where long computations and file writes run.
//!
//! Live they go to other threads, so that the agents' thread always answers. In a deterministic simulation they run
//! inline: virtual time stands still meanwhile, and nothing depends on which of two threads is faster.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
};

pub type Job = Box<dyn FnOnce() + Send>;
pub type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A way to run work; cheap to clone.
#[derive(Clone)]
pub struct Offload(Rc<dyn Fn(Job) -> Running>);

/// The thread that ran the work is gone (it panicked or was shut down).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was lost with its thread")]
pub struct Lost;

impl Offload {
    /// Runs at once, in the caller's turn.
    pub fn inline() -> Self {
        Self(Rc::new(|job| {
            job();
            Box::pin(std::future::ready(()))
        }))
    }

    /// Runs through `spawner`, which returns when the job is over.
    pub fn with(spawner: impl Fn(Job) -> Running + 'static) -> Self {
        Self(Rc::new(spawner))
    }

    /// Runs `work` and returns what it returns.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
        let slot = Arc::new(Mutex::new(None));
        let inner = slot.clone();
        (self.0)(Box::new(move || {
            let value = work();
            if let Ok(mut slot) = inner.lock() {
                *slot = Some(value);
            }
        }))
        .await;
        slot.lock().ok().and_then(|mut slot| slot.take()).ok_or(Lost)
    }
}
