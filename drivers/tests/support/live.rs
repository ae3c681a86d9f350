//! Live tests of drivers: a clock that counts on, one thread, and waiting for what is measured.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use alidade_model::{clock::Clock, reading::Reading, time::UtcTime};
use std::{rc::Rc, time::Duration};
use tokio::{sync::watch, task::LocalSet, time::Instant};

/// Counts on from a fixed instant as tokio's time does.
pub struct Running(Instant);

impl Running {
    /// From now on.
    pub fn clock() -> Rc<dyn Clock> {
        Rc::new(Self(Instant::now()))
    }
}

impl Clock for Running {
    fn now(&self) -> UtcTime {
        let start: UtcTime = "2026-02-25T20:00:00Z".parse().unwrap();
        start.plus_seconds(self.0.elapsed().as_secs_f64())
    }
}

fn run<F: Future>(time_stands: bool, test: impl FnOnce(Rc<dyn Clock>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(time_stands)
        .build()
        .unwrap();
    runtime.block_on(LocalSet::new().run_until(async { test(Running::clock()).await }))
}

/// Runs a test with its clock on this thread.
pub fn live<F: Future<Output = ()>>(test: impl FnOnce(Rc<dyn Clock>) -> F) {
    run(false, test);
}

/// The same on a clock that goes on only while everybody waits.
pub fn paused<F: Future>(test: impl FnOnce(Rc<dyn Clock>) -> F) -> F::Output {
    run(true, test)
}

/// Waits until the measured state is as wanted.
pub async fn seen<T: Clone + std::fmt::Debug>(
    status: &mut watch::Receiver<Reading<T>>,
    seconds: u64,
    what: &str,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let last = status.clone();
    let wait = status.wait_for(|reading| reading.value.as_ref().is_ok_and(&wanted));
    match tokio::time::timeout(Duration::from_secs(seconds), wait).await {
        Ok(reading) => reading.unwrap().value.clone().unwrap(),
        Err(_) => panic!("{what}: not within {seconds} s, last {:?}", last.borrow().value),
    }
}

/// Waits until nothing is known any more.
pub async fn lost<T>(status: &mut watch::Receiver<Reading<T>>, seconds: u64) -> bool {
    let wait = status.wait_for(|reading| reading.value.is_err());
    tokio::time::timeout(Duration::from_secs(seconds), wait).await.is_ok()
}
