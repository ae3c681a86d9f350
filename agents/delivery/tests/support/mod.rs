//! Stations in folders of their own, over books in memory, on a clock that the test moves.

#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use alidade_delivery::{
    books::{Books, Record},
    desk::{Desk, Draft},
    launcher::{Launch, launch},
    link,
    memory::MemoryLedger,
    recipes::{House, Mock},
    review::{ReviewRequest, Verdict},
    sites::{SiteSpec, Sites},
    station::Station,
    transfer::{Rsync, Transfer},
    unit::Unit,
};
use alidade_model::{states::UnitState, time::UtcTime};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

/// A private folder that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("alidade-delivery-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One site with its books.
pub struct Site {
    pub station: Station,
    pub ledger: MemoryLedger,
}

impl Site {
    pub fn desk<T>(&mut self, mut work: impl FnMut(&mut Desk) -> T) -> T {
        self.station.at_desk(&mut self.ledger, |desk| Ok(work(desk))).unwrap()
    }

    pub fn books<T>(&mut self, mut work: impl FnMut(&mut dyn Books) -> T) -> T {
        self.desk(|desk| work(desk.books))
    }

    pub fn settle(&mut self) -> usize {
        self.station.until_idle(&mut self.ledger).unwrap()
    }

    pub fn unit(&mut self, uid: &str) -> Unit {
        self.books(|books| books.unit(uid).unwrap())
            .unwrap_or_else(|| panic!("there is no unit {uid}"))
    }

    pub fn records(&mut self, kind: &str) -> Vec<Record> {
        self.books(|books| books.records(kind, None, None, 100_000).unwrap())
    }

    pub fn log(&mut self) -> String {
        let lines = self.books(|books| books.log(1000).unwrap());
        lines
            .iter()
            .map(|l| format!("{} {} {}\n", l.kind, l.subject, l.text))
            .collect()
    }

    pub fn unread(&mut self) -> usize {
        self.books(|books| books.messages(true, 100_000).unwrap().len())
    }

    pub fn launch(&mut self, uid: &str, recipe: &str, exec: &str) {
        let wish = Launch {
            program: "2015.1.00657.S".into(),
            unit: uid.into(),
            recipe: Some(recipe.into()),
            executive: Some(exec.into()),
            inputs: Vec::new(),
        };
        self.desk(|desk| launch(desk, &wish, "test", None).unwrap());
    }

    pub fn review(&mut self, uid: &str, verdict: Verdict) {
        let request = ReviewRequest {
            unit: uid.into(),
            verdict,
            reviewer: "ada".into(),
            role: "reviewer".into(),
            comment: "looked at".into(),
            by_way_of: String::new(),
        };
        let home = self.station.sites.home.clone();
        let body = serde_json::to_value(&request).unwrap();
        self.send(&format!("review.{home}"), body);
    }

    pub fn send(&mut self, selector: &str, body: serde_json::Value) {
        self.desk(|desk| desk.send(Draft::new(selector, body.clone(), "test")).unwrap());
    }
}

/// The four sites of the ALMA workflow in one process.
pub struct Observatory {
    pub folder: Folder,
    pub clock: Arc<AtomicI64>,
    pub sites: BTreeMap<String, Site>,
}

pub const HOME: &str = "JAO";

impl Observatory {
    pub fn new(names: &[&str], mock: Mock) -> Self {
        Self::with(names, mock, |_| Arc::new(Rsync::default()))
    }

    pub fn with(names: &[&str], mock: Mock, transfer: impl Fn(&str) -> Arc<dyn Transfer>) -> Self {
        let folder = Folder::new();
        // 2018-07-19T07:10:03.781
        let clock = Arc::new(AtomicI64::new(1_531_984_203_781_000));
        let all: BTreeMap<String, SiteSpec> = names
            .iter()
            .map(|name| {
                let location = folder.0.join(name).display().to_string();
                (
                    (*name).to_owned(),
                    SiteSpec {
                        location: Some(location),
                        max_runs: Some(2),
                    },
                )
            })
            .collect();
        let mut sites = BTreeMap::new();
        for name in names {
            let ticks = clock.clone();
            let now = move || UtcTime::from_unix_micros(ticks.fetch_add(1, Ordering::Relaxed)).unwrap();
            let house = House {
                mock,
                ..House::default()
            };
            let table = Sites::new(name, HOME, all.clone()).unwrap();
            let station = Station::new(
                table,
                &folder.0.join(name),
                Arc::new(house),
                transfer(name),
                Arc::new(now),
            )
            .unwrap();
            let ledger = MemoryLedger::new(&format!("e{name}"));
            sites.insert((*name).to_owned(), Site { station, ledger });
        }
        Self { folder, clock, sites }
    }

    pub fn at(&mut self, name: &str) -> &mut Site {
        self.sites.get_mut(name).unwrap()
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// Carries every message between every two sites that are not cut off; how many.
    pub fn carry(&mut self, cut_off: &[&str]) -> usize {
        let names: Vec<String> = self
            .sites
            .keys()
            .filter(|n| !cut_off.contains(&n.as_str()))
            .cloned()
            .collect();
        let mut count = 0;
        for from in &names {
            for to in names.iter().filter(|to| *to != from) {
                let mut sender = self.sites.remove(from).unwrap();
                let receiver = self.sites.get_mut(to).unwrap();
                let carried = link::carry(
                    &sender.station,
                    &mut sender.ledger,
                    &receiver.station,
                    &mut receiver.ledger,
                );
                count += carried.unwrap();
                self.sites.insert(from.clone(), sender);
            }
        }
        count
    }

    /// Until nothing moves any more.
    pub fn settle(&mut self) {
        loop {
            let mut count = self.carry(&[]);
            for site in self.sites.values_mut() {
                count += site.settle();
            }
            if count == 0 {
                return;
            }
        }
    }

    pub fn cache(&self, site: &str) -> PathBuf {
        self.folder.0.join(site).join("cache")
    }
}

/// Every file below a folder with its SHA-256.
pub fn content(folder: &Path) -> BTreeMap<String, String> {
    use alidade_delivery::manifest::{files_below, sha256_file};
    let sum = |path: &String| sha256_file(&folder.join(path), &mut |_| ()).unwrap().0;
    files_below(folder)
        .unwrap()
        .into_iter()
        .map(|path| (path.clone(), sum(&path)))
        .collect()
}

pub fn states(site: &mut Site) -> BTreeMap<String, UnitState> {
    site.books(|books| books.units(None, 100_000).unwrap())
        .into_iter()
        .map(|u| (u.uid, u.state))
        .collect()
}
