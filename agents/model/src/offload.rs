//! Where long computations and file writes run.
//!
//! Live they go to other threads, so that the agents' thread always answers. In a deterministic simulation they run
//! inline: virtual time stands still meanwhile, and nothing depends on which of two threads is faster.
//!
//! There are two ways: what somebody waits for (a write to disk) is *prompt*; what takes long (a plan, a reduction) runs
//! *behind*, and gives way to everything else where there are fewer cores than work.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
};

pub type Job = Box<dyn FnOnce() + Send>;
pub type Running = Pin<Box<dyn Future<Output = ()>>>;

type Spawner = Rc<dyn Fn(Job) -> Running>;

/// A way to run work; cheap to clone.
#[derive(Clone)]
pub struct Offload {
    prompt: Spawner,
    behind: Spawner,
}

/// The thread that ran the work is gone (it panicked or was shut down).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was lost with its thread")]
pub struct Lost;

impl Offload {
    /// Runs at once, in the caller's turn.
    pub fn inline() -> Self {
        Self::with(|job| {
            job();
            Box::pin(std::future::ready(()))
        })
    }

    /// Runs through `spawner`, which returns when the job is over.
    pub fn with(spawner: impl Fn(Job) -> Running + 'static) -> Self {
        let prompt: Spawner = Rc::new(spawner);
        let behind = prompt.clone();
        Self { prompt, behind }
    }

    /// What runs behind goes through a spawner of its own.
    #[must_use]
    pub fn and_behind(self, spawner: impl Fn(Job) -> Running + 'static) -> Self {
        let behind = Rc::new(spawner);
        Self { behind, ..self }
    }

    /// Runs `work` and returns what it returns.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
        through(&self.prompt, work).await
    }

    /// As [`Offload::run`], for work that gives way to everything else.
    pub async fn run_behind<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
        through(&self.behind, work).await
    }
}

async fn through<T: Send + 'static>(spawner: &Spawner, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
    let slot = Arc::new(Mutex::new(None));
    let inner = slot.clone();
    spawner(Box::new(move || {
        let value = work();
        if let Ok(mut slot) = inner.lock() {
            *slot = Some(value);
        }
    }))
    .await;
    slot.lock().ok().and_then(|mut slot| slot.take()).ok_or(Lost)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends by panicking")]
mod tests {
    use super::*;
    use std::{
        cell::RefCell,
        task::{Context, Poll, Waker},
    };

    fn now<T>(work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn long_work_takes_its_own_way_and_a_lost_thread_is_told() {
        let ways = Rc::new(RefCell::new(Vec::new()));
        let way = |name: &'static str| {
            let ways = ways.clone();
            move |job: Job| -> Running {
                ways.borrow_mut().push(name);
                job();
                Box::pin(std::future::ready(()))
            }
        };
        let offload = Offload::with(way("prompt")).and_behind(way("behind"));
        assert_eq!(now(offload.run(|| 1)), Ok(1));
        assert_eq!(now(offload.run_behind(|| 2)), Ok(2));
        assert_eq!(*ways.borrow(), ["prompt", "behind"]);
        let lost = Offload::with(|_| Box::pin(std::future::ready(())));
        assert_eq!(now(lost.run_behind(|| 3)), Err(Lost));
    }
}
