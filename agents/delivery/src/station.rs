//! A station: every component of the workflow at one site, over one database and one folder.
//!
//! [`Station::turn`] handles waiting messages, many in one transaction; [`Station::work`] carries out one job (a pipeline
//! run, a transfer, an ingestion, a delivery) outside any transaction. Threads call them when the bell rings; tests and
//! commands call them until nothing is left to do. A job is a record, so whatever dies is begun again.

use crate::{
    archive::{Archive, FolderArchive},
    bell::Bell,
    books::{Fault, Ledger, Message, MessageState, Record, Settlement, within},
    desk::Desk,
    driver, evict, ingest, launcher,
    products::Folders,
    pulls::{self, Taken},
    recipes::Recipes,
    replica, review, scrub,
    sites::Sites,
    space::Space,
    transfer::Transfer,
    xtss,
};
use alidade_model::time::UtcTime;
use std::{path::Path, sync::Arc, time::Duration};

pub type Now = Arc<dyn Fn() -> UtcTime + Send + Sync>;

/// Messages handled in one transaction.
const BATCH: i64 = 64;

/// What a station is made of; cheap to clone.
#[derive(Clone)]
pub struct Station {
    pub sites: Arc<Sites>,
    pub folders: Folders,
    pub recipes: Arc<dyn Recipes>,
    pub transfer: Arc<dyn Transfer>,
    pub archive: Arc<dyn Archive>,
    pub now: Now,
    pub bell: Bell,
    /// Runs at a time.
    pub max_runs: usize,
    /// Name of the data collection, in metadata.
    pub collection: String,
    pub scrub: scrub::Pace,
    pub space: Space,
    /// Moves of units are messages on `journal.<site>` too, for an observatory that keeps a journal of its own.
    pub journal: bool,
}

/// The kinds of jobs, in the order in which a free thread looks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Run,
    Pull,
    Ingest,
    Deliver,
    Evict,
}

impl Job {
    pub const ALL: [Job; 5] = [Job::Run, Job::Pull, Job::Ingest, Job::Deliver, Job::Evict];
}

impl Station {
    /// A station in a folder, with an archive in it.
    pub fn new(
        sites: Sites,
        folder: &Path,
        recipes: Arc<dyn Recipes>,
        transfer: Arc<dyn Transfer>,
        now: Now,
    ) -> std::io::Result<Self> {
        let folders = Folders::at(folder);
        folders.make()?;
        let max_runs = sites.all.get(&sites.here).and_then(|s| s.max_runs).unwrap_or(1);
        Ok(Self {
            archive: Arc::new(FolderArchive {
                folder: folders.archive(),
            }),
            collection: sites.home.to_lowercase(),
            sites: Arc::new(sites),
            folders,
            recipes,
            transfer,
            now,
            bell: Bell::new(),
            max_runs,
            scrub: scrub::Pace::default(),
            space: Space::default(),
            journal: false,
        })
    }

    /// Runs work at a desk in one transaction and rings when it has sent something.
    pub fn at_desk<T>(
        &self,
        ledger: &mut dyn Ledger,
        mut work: impl FnMut(&mut Desk) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let now = (self.now)();
        let (value, sent) = within(ledger, |books| {
            let mut desk = Desk::new(books, &self.sites, now);
            desk.journal = self.journal;
            let value = work(&mut desk)?;
            Ok((value, desk.sent))
        })?;
        if sent > 0 {
            self.bell.ring();
        }
        Ok(value)
    }

    /// Selectors that this station's components listen on.
    pub fn selectors(&self) -> Vec<String> {
        let here = &self.sites.here;
        let mut all: Vec<String> = [
            "status",
            "pipeline.process",
            "driver",
            "launcher",
            "cached",
            "deliver",
            "evicted",
            "scrub",
        ]
        .iter()
        .map(|name| format!("{name}.{here}"))
        .collect();
        if self.sites.is_home() {
            all.push("xtss".into());
            let home = ["replica", "pipeline.report", "review", "aqua", "ingest", "evict"];
            all.extend(home.iter().map(|name| format!("{name}.{here}")));
        }
        all
    }

    /// After a start: jobs that died with the process before are ready again.
    pub fn recover(&self, ledger: &mut dyn Ledger) -> Result<usize, Fault> {
        self.at_desk(ledger, |desk| {
            let mut count = driver::recover(desk)?;
            for kind in [replica::JOB, ingest::INGEST, ingest::FETCH, evict::JOB] {
                for record in desk.books.records(kind, None, Some("running"), 100_000)? {
                    desk.keep(kind, &record.id, &record.unit, "ready", record.body)?;
                    count += 1;
                }
            }
            Ok(count)
        })
    }

    /// Handles the messages that wait, oldest first; how many.
    pub fn turn(&self, ledger: &mut dyn Ledger) -> Result<usize, Fault> {
        let selectors = self.selectors();
        match self.handle(ledger, &selectors, BATCH) {
            Ok(count) => Ok(count),
            // One of them cannot be written down; the others must not wait for it.
            Err(_) => self.handle(ledger, &selectors, 1).or_else(|fault| {
                let set_aside = self.set_aside(ledger, &selectors, &fault);
                set_aside.map_err(|_| fault)
            }),
        }
    }

    fn handle(&self, ledger: &mut dyn Ledger, selectors: &[String], limit: i64) -> Result<usize, Fault> {
        self.at_desk(ledger, |desk| {
            let messages = desk.books.waiting(&self.sites.here, selectors, desk.now, limit)?;
            for message in &messages {
                self.one(desk, message)?;
            }
            Ok(messages.len())
        })
    }

    fn set_aside(&self, ledger: &mut dyn Ledger, selectors: &[String], fault: &Fault) -> Result<usize, Fault> {
        self.at_desk(ledger, |desk| {
            let waiting = desk.books.waiting(&self.sites.here, selectors, desk.now, 1)?;
            for message in &waiting {
                desk.reject(message, "station", &fault.0.replace('\0', " "))?;
            }
            Ok(waiting.len())
        })
    }

    fn one(&self, desk: &mut Desk, message: &Message) -> Result<(), Fault> {
        if message.expires.is_some_and(|end| end <= desk.now) {
            let end = Settlement {
                state: MessageState::Expired,
                reason: None,
            };
            return desk.books.settle(&message.id, None, &end).map(drop);
        }
        let name = message.selector.rsplit_once('.').map_or("xtss", |(name, _)| name);
        let body = message.body.as_str();
        let sites = self.sites.clone();
        let is_known = |site: &str| sites.is_known(site);
        let verdict = match name {
            "xtss" => {
                let answer = xtss::serve(desk, body, &message.author)?;
                let refusal = match answer["status"].as_u64() {
                    Some(400..) if message.reply_to.is_none() => Some(answer["error"].to_string()),
                    _ => None,
                };
                desk.answer(message, answer, "xtss")?;
                refusal.map_or(Ok(()), Err)
            }
            "status" => xtss::mirror(desk, body)?,
            "pipeline.process" => driver::asked(desk, message, self.recipes.as_ref())?,
            "driver" => driver::answered(desk, message)?,
            "launcher" => launcher::answered(desk, message)?,
            "cached" => replica::announced(desk, body, &is_known)?,
            "replica" => replica::told(desk, body)?,
            "pipeline.report" => review::reported(desk, message)?,
            "review" => review::asked(desk, message)?,
            "aqua" => review::answered(desk, message)?,
            "ingest" => ingest::asked(desk, message)?,
            "deliver" => ingest::coming(desk, message)?,
            "evict" => evict::asked(desk, message)?,
            "evicted" => evict::granted(desk, message)?,
            "scrub" => scrub::asked(desk, message, &self.scrub.paused)?,
            other => Err(format!("nobody listens on {other}")),
        };
        match verdict {
            Ok(()) => desk.consume(message).map(drop),
            Err(why) => {
                desk.reject(message, name, &why)?;
                if name != "xtss" {
                    desk.answer(message, serde_json::json!({ "status": 409, "error": why }), name)?;
                }
                Ok(())
            }
        }
    }

    /// Carries out one job of a kind, if there is one that is due.
    pub fn work(&self, ledger: &mut dyn Ledger, kind: Job) -> Result<bool, Fault> {
        match kind {
            Job::Run => self.run(ledger),
            Job::Pull => pulls::pull_one(self, ledger),
            Job::Ingest => self.ingest(ledger),
            Job::Deliver => self.deliver(ledger),
            Job::Evict => evict::carry_out(self, ledger),
        }
    }

    fn run(&self, ledger: &mut dyn Ledger) -> Result<bool, Fault> {
        // Nobody knows how much a run will make: the reserve has to be free.
        if let Some(why) = self.space.lacks(&self.folders.work(), 0) {
            self.at_desk(ledger, |desk| driver::hold(desk, &why))?;
            return Ok(false);
        }
        let Some(record) = self.at_desk(ledger, |desk| driver::take(desk, self.max_runs))? else {
            return Ok(false);
        };
        let done = driver::carry_out(&record, &self.sites.here, self.recipes.as_ref(), &self.folders);
        self.at_desk(ledger, |desk| driver::finish(desk, &record, &done))?;
        Ok(true)
    }

    fn ingest(&self, ledger: &mut dyn Ledger) -> Result<bool, Fault> {
        if !self.sites.is_home() {
            return Ok(false);
        }
        let lacks = |bytes| self.archive.folder().and_then(|folder| self.space.lacks(folder, bytes));
        let Some(job) = self.at_desk(ledger, |desk| ingest::take(desk, &lacks))? else {
            return Ok(false);
        };
        let done = ingest::analyse(&job, &self.folders).and_then(|items| {
            let say = self.at_desk(ledger, |desk| ingest::analysed(desk, &job));
            say.map_err(|fault| ingest::Stopped::Other(fault.to_string()))?;
            let archive = self.archive.as_ref();
            let described = ingest::archive(&job, &items, &self.folders, archive, &self.collection, (self.now)())?;
            Ok((items, described))
        });
        self.at_desk(ledger, |desk| match &done {
            Ok((items, described)) => ingest::ingested(desk, &job, items, described),
            Err(stopped) => pulls::again(desk, ingest::INGEST, &job, "product-ingestor", &stopped.to_string()),
        })?;
        Ok(true)
    }

    fn deliver(&self, ledger: &mut dyn Ledger) -> Result<bool, Fault> {
        let lacks = |job: &Record| self.space.lacks(&self.folders.staging(), ingest::needed(job));
        let taken = self.at_desk(ledger, |desk| {
            pulls::take_if_it_fits(desk, ingest::FETCH, "data-tracker", &lacks)
        })?;
        let job = match taken {
            Taken::Nothing => return Ok(false),
            Taken::NoRoom => return Ok(true),
            Taken::Job(job) => job,
        };
        let home = self
            .sites
            .all
            .get(&self.sites.home)
            .and_then(|site| site.location.as_deref());
        let home = home.filter(|_| !self.sites.is_home());
        let done = ingest::fetch(&job, home, self.transfer.as_ref(), self.archive.as_ref(), &self.folders);
        self.at_desk(ledger, |desk| match &done {
            Ok(items) => ingest::delivered(desk, &job, items),
            Err(stopped) => pulls::again(desk, ingest::FETCH, &job, "data-tracker", &stopped.to_string()),
        })?;
        Ok(true)
    }

    /// Handles and works until nothing is left that is due; how much was done.
    pub fn until_idle(&self, ledger: &mut dyn Ledger) -> Result<usize, Fault> {
        let mut total = 0;
        loop {
            let mut count = self.turn(ledger)?;
            for kind in Job::ALL {
                while self.work(ledger, kind)? {
                    count += 1;
                }
            }
            if count == 0 {
                return Ok(total);
            }
            total += count;
        }
    }

    /// Waits for the bell, or for a job whose time comes.
    pub fn pause(&self, since: u64) {
        self.bell.wait(since, Duration::from_secs(2));
    }
}
