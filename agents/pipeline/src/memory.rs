//! A store without a database: for dry runs, which read from the real one and write here, and for tests of the engine.

use crate::{migrate::Statements, port::*};
use std::collections::BTreeMap;

/// Everything that was written, and behind it the store that is only read.
#[derive(Default)]
pub struct MemoryStore {
    pub behind: Option<Box<dyn RunReads>>,
    pub runs: BTreeMap<String, RunRecord>,
    pub attempts: Vec<AttemptRow>,
    pub draws: Vec<(String, DrawRow)>,
    pub exceptions: Vec<ExceptionRow>,
    pub targets: Vec<TargetRow>,
    pub log: Vec<(String, LogRow)>,
    pub releases: Vec<ReleaseRow>,
    pub datasets: Vec<DatasetRow>,
    pub revisions: BTreeMap<String, Option<String>>,
}

impl MemoryStore {
    /// Writes stay here; what is not here is read from `behind`.
    pub fn over(behind: Box<dyn RunReads>) -> Self {
        Self {
            behind: Some(behind),
            ..Self::default()
        }
    }

    fn deeper<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn RunReads) -> Result<T, StoreFault>,
        none: T,
    ) -> Result<T, StoreFault> {
        match &mut self.behind {
            Some(behind) => ask(behind.as_mut()),
            None => Ok(none),
        }
    }
}

impl RunReads for MemoryStore {
    fn run(&mut self, id: &str) -> Result<Option<RunRecord>, StoreFault> {
        match self.runs.get(id) {
            Some(run) => Ok(Some(run.clone())),
            None => self.deeper(|b| b.run(id), None),
        }
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreFault> {
        let fits = |run: &&RunRecord| {
            filter.pipeline.as_ref().is_none_or(|p| *p == run.pipeline)
                && (filter.subject.is_none() || filter.subject == run.subject)
                && (!filter.open || run.ended.is_none())
                && filter.seen_by.may_see(run.owner.as_deref())
        };
        let mut all: Vec<RunRecord> = self.runs.values().filter(fits).cloned().collect();
        all.extend(self.deeper(|b| b.runs(filter), Vec::new())?);
        Ok(all)
    }

    fn attempts(&mut self, run: &str) -> Result<Vec<AttemptRow>, StoreFault> {
        if self.runs.contains_key(run) {
            return Ok(self.attempts.iter().filter(|a| a.run == run).cloned().collect());
        }
        self.deeper(|b| b.attempts(run), Vec::new())
    }

    fn draws(&mut self, run: &str) -> Result<Vec<DrawRow>, StoreFault> {
        Ok(self
            .draws
            .iter()
            .filter(|(r, _)| r == run)
            .map(|(_, d)| d.clone())
            .collect())
    }

    fn exceptions(&mut self, run: &str) -> Result<Vec<ExceptionRow>, StoreFault> {
        let mine: Vec<&str> = self
            .attempts
            .iter()
            .filter(|a| a.run == run)
            .map(|a| a.uuid.as_str())
            .collect();
        Ok(self
            .exceptions
            .iter()
            .filter(|e| mine.contains(&e.attempt.as_str()))
            .cloned()
            .collect())
    }

    fn targets(&mut self, run: &str) -> Result<Vec<TargetRow>, StoreFault> {
        Ok(self.targets.iter().filter(|t| t.run == run).cloned().collect())
    }

    fn log(&mut self, run: &str, after: u64, limit: i64) -> Result<Vec<LogRow>, StoreFault> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let mine = self.log.iter().filter(|(r, line)| r == run && line.line > after);
        Ok(mine.take(limit).map(|(_, line)| line.clone()).collect())
    }

    fn last_good(&mut self, plugin: &str, task: &str, key: Option<&str>) -> Result<Option<AttemptRow>, StoreFault> {
        self.deeper(|b| b.last_good(plugin, task, key), None)
    }

    fn products(&mut self, wanted: &str) -> Result<Vec<TargetRow>, StoreFault> {
        self.deeper(|b| b.products(wanted), Vec::new())
    }

    fn releases(&mut self) -> Result<Vec<ReleaseRow>, StoreFault> {
        Ok(self.releases.clone())
    }

    fn datasets(&mut self) -> Result<Vec<DatasetRow>, StoreFault> {
        Ok(self.datasets.clone())
    }

    fn revisions(&mut self) -> Result<Vec<(String, Option<String>)>, StoreFault> {
        let mine: Vec<_> = self.revisions.clone().into_iter().collect();
        if mine.is_empty() {
            self.deeper(|b| b.revisions(), mine)
        } else {
            Ok(mine)
        }
    }
}

impl RunWrites for MemoryStore {
    fn create_run(&mut self, run: &RunRecord) -> Result<(), StoreFault> {
        if self.run(&run.id)?.is_some() {
            return Err(StoreFault::RunExists(run.id.clone()));
        }
        self.runs.insert(run.id.clone(), run.clone());
        Ok(())
    }

    fn commit(&mut self, run: &str, wave: &Wave) -> Result<(), StoreFault> {
        for end in &wave.ends {
            let mut known = self.attempts.iter().rev().chain(&wave.starts);
            let alive = known.any(|a| a.uuid == end.uuid && a.state == JobState::Running);
            if !alive {
                return Err(StoreFault::Fenced(end.uuid.clone()));
            }
        }
        self.attempts.extend(wave.starts.iter().cloned());
        self.draws
            .extend(wave.draws.iter().map(|d| (run.to_owned(), d.clone())));
        for end in &wave.ends {
            for row in self.attempts.iter_mut().rev().filter(|a| a.uuid == end.uuid) {
                row.state = JobState::Terminated;
                row.status = end.status;
                row.reason.clone_from(&end.reason);
                row.ended = Some(end.at);
                row.seq = end.seq;
                row.properties.clone_from(&end.properties);
            }
            self.exceptions.extend(end.exceptions.iter().cloned());
            self.targets.extend(end.targets.iter().cloned());
        }
        for (uuid, ticket) in &wave.tickets {
            for row in self.attempts.iter_mut().filter(|a| a.uuid == *uuid) {
                row.ticket = Some(ticket.clone());
            }
        }
        self.log.extend(wave.log.iter().map(|l| (run.to_owned(), l.clone())));
        let change = &wave.change;
        if let Some(row) = self.runs.get_mut(run) {
            row.state = change.state.unwrap_or(row.state);
            row.status = change.status.clone().unwrap_or_else(|| row.status.clone());
            row.cause = change.cause.clone().unwrap_or_else(|| row.cause.clone());
            row.product_group = change.group.clone().or_else(|| row.product_group.take());
            row.started = change.started.or(row.started);
            row.ended = change.ended.or(row.ended);
            row.properties = change.properties.clone().unwrap_or_else(|| row.properties.clone());
        }
        Ok(())
    }

    fn register(&mut self, release: &ReleaseRow, datasets: &[DatasetRow]) -> Result<bool, StoreFault> {
        let key = |r: &ReleaseRow| (r.identifier.clone(), r.kind.clone(), r.version.clone());
        if let Some(known) = self.releases.iter().find(|r| key(r) == key(release)) {
            if known.digest == release.digest {
                return Ok(false);
            }
            let said = format!(
                "{} {} is registered with another content",
                release.identifier, release.version
            );
            return Err(StoreFault::Refused(said));
        }
        self.releases.push(release.clone());
        self.datasets.extend(datasets.iter().cloned());
        Ok(true)
    }

    fn set_revision(&mut self, plugin: &str, revision: Option<&str>) -> Result<(), StoreFault> {
        self.revisions.insert(plugin.into(), revision.map(Into::into));
        Ok(())
    }

    fn migrate(&mut self, plugin: &str, _: &Statements, after: Option<&str>) -> Result<(), StoreFault> {
        self.set_revision(plugin, after)
    }
}
