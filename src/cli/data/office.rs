//! The station that a command works at: opened, its work done here when nobody else does it, and its answers waited for.

use super::DataArgs;
use crate::{
    cli::CliError,
    daemon::delivery::{OpenError, Opened, PipelinesSpec, StationFile},
    processing::Workshop,
    settings::Settings,
    store::Durability,
};
use alidade_delivery::{
    books::{Fault, Ledger},
    desk::Desk,
};
use serde_json::Value;
use std::{fs::File, time::Duration};

/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Books(_) => CliError::failed(error.to_string()),
            _ => CliError::bad_input(error.to_string()),
        }
    }
}

impl From<Fault> for CliError {
    fn from(fault: Fault) -> Self {
        CliError::failed(fault.to_string())
    }
}

/// An open station, and whether its work is ours to do.
pub struct Office {
    pub opened: Opened,
    pub ledger: Box<dyn Ledger>,
    /// Held when nobody keeps the station running.
    lock: Option<File>,
}

impl Office {
    pub fn open(args: &DataArgs) -> Result<Self, CliError> {
        if let Some(path) = &args.station {
            let file = StationFile::load(path)?;
            return Self::at(Opened::open(file, std::path::Path::new("."), Durability::Durable)?);
        }
        let settings = Settings::load(&args.config).map_err(|e| CliError::bad_input(e.to_string()))?;
        let file = of_settings(&settings)?;
        let mut opened = Opened::open(file, &settings.storage.data_dir, Durability::Durable)?;
        // The daemon's journal takes them when it runs again.
        opened.station.journal = true;
        Self::at(opened)
    }

    pub fn at(opened: Opened) -> Result<Self, CliError> {
        let ledger = opened.ledger()?;
        Ok(Self {
            opened,
            ledger,
            lock: None,
        })
    }

    pub fn desk<T>(&mut self, work: impl FnMut(&mut Desk) -> Result<T, Fault>) -> Result<T, CliError> {
        Ok(self.opened.station.at_desk(self.ledger.as_mut(), work)?)
    }

    /// Does what is due, unless another process keeps the station running: then it is woken. True when we did it.
    pub fn settle(&mut self) -> Result<bool, CliError> {
        if self.lock.is_none() {
            match self.opened.lock() {
                Ok(lock) => self.lock = Some(lock),
                Err(OpenError::Busy(_)) => {
                    self.opened.ring();
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
            self.opened.station.recover(self.ledger.as_mut())?;
        }
        self.opened.station.until_idle(self.ledger.as_mut())?;
        Ok(true)
    }

    /// Sends what `write` writes, with our answer's selector, and waits for the answer.
    pub fn call(&mut self, mut write: impl FnMut(&mut Desk, &str) -> Result<(), Fault>) -> Result<Value, CliError> {
        let here = self.opened.station.sites.here.clone();
        let answers = format!("command-{}.{here}", std::process::id());
        let bell = self.opened.station.bell.clone();
        bell.listen(&self.opened.file.folder)
            .map_err(|e| CliError::failed(format!("{}: {e}", self.opened.file.folder.display())))?;
        self.desk(|desk| write(desk, &answers))?;
        let ours = self.settle()?;
        let patterns = [answers];
        let deadline = tokio::time::Instant::now() + ANSWER_DEADLINE;
        loop {
            let heard = bell.count();
            let answer = self.desk(|desk| {
                let mut waiting = desk.books.waiting(&here, &patterns, desk.now, 1)?;
                if let Some(message) = waiting.first() {
                    desk.consume(message)?;
                }
                Ok(waiting.pop())
            })?;
            if let Some(message) = answer {
                return serde_json::from_str(&message.body).map_err(|e| CliError::failed(e.to_string()));
            }
            if ours || tokio::time::Instant::now() >= deadline {
                let home = &self.opened.station.sites.home;
                return Err(CliError::failed(match here == *home {
                    true => "the station does not answer".to_owned(),
                    false => format!("no answer from {home} yet: the request is kept and goes out with the link"),
                }));
            }
            bell.wait(heard, Duration::from_secs(1));
        }
    }
}

/// The station of a daemon, with the pipelines of its configuration.
pub fn of_settings(settings: &Settings) -> Result<StationFile, CliError> {
    let shop = Workshop::of(settings);
    let ours = PipelinesSpec {
        plugins: shop.plugins,
        folder: Some(shop.root),
    };
    let Some(path) = &settings.storage.station else {
        let mut file = StationFile::of_daemon(&settings.site.name, &settings.database.url, &settings.storage.data_dir);
        file.pipelines = Some(ours);
        return Ok(file);
    };
    let mut file = StationFile::load(path)?;
    if file.database.as_ref() == Some(&settings.database.url)
        && let Some(pipelines) = &mut file.pipelines
    {
        // Runs in one database have one folder: by it is known who owns them.
        pipelines.folder = ours.folder;
    }
    Ok(file)
}
