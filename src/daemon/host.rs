//! This machine as a station: the free space of the disk that takes the data, and how long nothing outside was reached.
//!
//! Both are measured beside the agents' thread, and both age like every other reading: a disk that hangs, or a look at it
//! that never ends, is no data. In simulation the machine is in order, for the same seed must give the same night anywhere.

use crate::settings::{Link, Settings};
use alidade_drivers::interface::{Device, Identity, LinkState, ObservingConditions, Pending, Quantity, Readings};
use alidade_model::{clock::Clock, offload::Offload, reading::Reading, time::UtcTime};
use std::{cell::RefCell, path::PathBuf, rc::Rc, time::Duration};
use tokio::{net::TcpStream, sync::watch};

/// Between two looks at the disk.
const DISK_PAUSE: Duration = Duration::from_secs(10);
/// The longest that an attempt to reach the world may take.
const REACH_DEADLINE: Duration = Duration::from_secs(8);
/// Between two words on how long nothing was reached, and how many of them come after an attempt.
const WORD_PAUSE: Duration = Duration::from_secs(4);
const WORDS: u32 = 5;

/// This machine.
pub struct Host {
    readings: watch::Sender<Readings>,
    link: watch::Sender<LinkState>,
    identity: watch::Sender<Option<Identity>>,
}

/// Free space for this process on the file system of `path`, megabytes.
pub fn free_mb(path: &std::path::Path) -> std::io::Result<f64> {
    let told = rustix::fs::statvfs(path)?;
    Ok(told.f_bavail as f64 * told.f_frsize as f64 / 1e6)
}

/// How long nothing was reached: since the last success, or since the start.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: UtcTime,
}

impl Silence {
    fn tried(&mut self, reached: bool, now: UtcTime) -> f64 {
        if reached {
            self.since = now;
        }
        now.seconds_since(self.since).max(0.0)
    }
}

impl Host {
    fn new(clock: &dyn Clock) -> Rc<Self> {
        let up = LinkState::Up {
            since: clock.now(),
            epoch: 1,
        };
        let identity = Identity {
            model: "this machine".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        Rc::new(Self {
            readings: watch::channel(Readings::new()).0,
            link: watch::channel(up).0,
            identity: watch::channel(Some(identity)).0,
        })
    }

    fn tell(&self, quantity: Quantity, value: f64, now: UtcTime) {
        self.readings.send_modify(|readings| {
            readings.insert(quantity, Reading::good(value, now));
        });
    }

    /// Measures for as long as the present `LocalSet` lives.
    pub fn watch(settings: &Settings, clock: Rc<dyn Clock>, offload: Offload) -> Rc<Self> {
        let host = Self::new(&*clock);
        let (me, path, at) = (host.clone(), settings.storage.data_dir.clone(), clock.clone());
        tokio::task::spawn_local(me.look_at(path, at, offload));
        if let Some(Link::Tcp { host: name, port }) = settings.safety.reach.clone() {
            let me = host.clone();
            tokio::task::spawn_local(async move {
                let mut silence = Silence { since: clock.now() };
                loop {
                    let tried = tokio::time::timeout(REACH_DEADLINE, TcpStream::connect((name.as_str(), port))).await;
                    let mut silent_s = silence.tried(matches!(tried, Ok(Ok(_))), clock.now());
                    for _ in 0..WORDS {
                        me.tell(Quantity::LinkSilentS, silent_s, clock.now());
                        tokio::time::sleep(WORD_PAUSE).await;
                        silent_s = silence.tried(false, clock.now());
                    }
                }
            });
        }
        host
    }

    async fn look_at(self: Rc<Self>, path: PathBuf, clock: Rc<dyn Clock>, offload: Offload) {
        let said = RefCell::new(None);
        loop {
            let there = path.clone();
            let looked = offload.run(move || free_mb(&there).map_err(|e| e.to_string())).await;
            match looked.map_err(|lost| lost.to_string()).and_then(|free| free) {
                Ok(free_mb) => {
                    said.take();
                    self.tell(Quantity::DiskFreeMb, free_mb, clock.now());
                }
                // The last reading grows old by itself.
                Err(cause) if said.borrow().as_ref() != Some(&cause) => {
                    tracing::warn!(path = %path.display(), %cause, "free space is not known");
                    said.replace(Some(cause));
                }
                Err(_) => {}
            }
            tokio::time::sleep(DISK_PAUSE).await;
        }
    }

    /// A machine in order.
    pub fn in_order(clock: Rc<dyn Clock>) -> Rc<Self> {
        let host = Self::new(&*clock);
        let me = host.clone();
        tokio::task::spawn_local(async move {
            loop {
                let now = clock.now();
                me.tell(Quantity::DiskFreeMb, 1e6, now);
                me.tell(Quantity::LinkSilentS, 0.0, now);
                tokio::time::sleep(DISK_PAUSE).await;
            }
        });
        host
    }
}

impl Device for Host {
    fn id(&self) -> &str {
        "host"
    }
    fn link(&self) -> watch::Receiver<LinkState> {
        self.link.subscribe()
    }
    fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }
    fn garbage_count(&self) -> u64 {
        0
    }
    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl ObservingConditions for Host {
    fn readings(&self) -> watch::Receiver<Readings> {
        self.readings.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_is_told_where_there_is_a_folder_and_not_where_there_is_none() {
        let free = free_mb(&std::env::temp_dir()).unwrap();
        assert!(free.is_finite() && free >= 0.0);
        assert!(free_mb(std::path::Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn silence_counts_from_the_last_time_that_something_was_reached() {
        let at = |second: f64| UtcTime::from_unix_micros(0).unwrap().plus_seconds(second);
        let mut silence = Silence { since: at(0.0) };
        assert_eq!(silence.tried(false, at(20.0)), 20.0);
        assert_eq!(silence.tried(true, at(40.0)), 0.0);
        assert_eq!(silence.tried(false, at(100.0)), 60.0);
        // A clock that was set back is no negative silence.
        assert_eq!(silence.tried(false, at(0.0)), 0.0);
    }
}
