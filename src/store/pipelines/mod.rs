//! Runs, their attempts, targets, exceptions and log lines: the store side of `alidade_pipeline::port`.
//!
//! A wave is one transaction. The end of an attempt that is not running any more takes the whole wave back.

mod tables;

use super::{
    ReadError, Store, StoreError,
    connection::{Address, AnyConnection, ROWS_PER_STATEMENT, in_transaction, on_either},
    error::database_error,
    rows::{naive, utc, whole},
};
use alidade_model::states::RunState;
use alidade_pipeline::{migrate::Statements, port::*};
use diesel::{connection::SimpleConnection, prelude::*};
use tables::*;

/// Inserts all rows: prepared one by one in SQLite, in batches in PostgreSQL.
macro_rules! insert_all {
    ($connection:expr, $table:path, $rows:expr) => {{
        let rows: Vec<_> = $rows;
        match $connection {
            AnyConnection::Sqlite(c) => {
                for row in rows.iter() {
                    diesel::insert_into($table).values(row).execute(c)?;
                }
            }
            AnyConnection::Postgres(c) => {
                for some in rows.chunks(ROWS_PER_STATEMENT) {
                    diesel::insert_into($table).values(some).execute(c)?;
                }
            }
        }
    }};
}

/// Why a write inside its transaction fails.
enum WriteError {
    Database(diesel::result::Error),
    Fault(StoreFault),
}

impl From<diesel::result::Error> for WriteError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

fn failed(error: &StoreError) -> StoreFault {
    StoreFault::Failed(error.to_string())
}

impl Store {
    /// Opens an existing database of this build's schema so that nothing of it changes, not even its log's file. Every
    /// write fails.
    pub fn open_reading(url: &str) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        if address.is_missing() {
            return Err(StoreError::Missing { place: address.place() });
        }
        let mut connection = match &address {
            Address::File(path) => {
                let path = std::path::absolute(path).map_err(|e| address.cannot(&e.to_string()))?;
                let escaped: String = path
                    .display()
                    .to_string()
                    .chars()
                    .map(|c| {
                        if "?#%".contains(c) {
                            format!("%{:02x}", u32::from(c))
                        } else {
                            c.to_string()
                        }
                    })
                    .collect();
                // Without a log beside it nobody writes now, and SQLite need not make one.
                let log = path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().display()));
                let still = if log.metadata().is_ok_and(|m| m.len() > 0) {
                    ""
                } else {
                    "&immutable=1"
                };
                let url = format!("file:{escaped}?mode=ro{still}");
                let open = SqliteConnection::establish(&url).map_err(|e| address.cannot(&e.to_string()))?;
                AnyConnection::Sqlite(open)
            }
            _ => {
                let mut open = address.connect()?;
                open.batch_execute("SET default_transaction_read_only TO on")
                    .map_err(|e| address.cannot(&e.to_string()))?;
                open
            }
        };
        let versions = super::migrations::status(&mut connection, &address)?;
        super::migrations::refuse_newer(&versions, &address)?;
        let missing: Vec<&str> = versions
            .iter()
            .filter(|v| !v.applied)
            .map(|v| v.name.as_str())
            .collect();
        if !missing.is_empty() {
            return Err(StoreError::Behind {
                place: address.place(),
                versions: missing.join(", "),
            });
        }
        Ok(Self {
            address,
            durability: super::Durability::Relaxed,
            connection,
            context: super::project::Context::default(),
        })
    }

    fn ask<T>(&mut self, query: impl Fn(&mut AnyConnection) -> Result<T, ReadError>) -> Result<T, StoreFault> {
        self.read(query).map_err(|e| failed(&e))
    }

    fn write<T>(&mut self, work: impl Fn(&mut AnyConnection) -> Result<T, WriteError>) -> Result<T, StoreFault> {
        let place = self.address.place();
        match in_transaction(&mut self.connection, &work) {
            Ok(value) => Ok(value),
            Err(WriteError::Fault(fault)) => Err(fault),
            Err(WriteError::Database(error)) => match database_error(&place, &error) {
                // Whether the transaction was done is not known: its rows' keys say so when it is repeated.
                StoreError::Lost { .. } => {
                    self.reconnect().map_err(|e| failed(&e))?;
                    in_transaction(&mut self.connection, &work).map_err(|e| match e {
                        WriteError::Fault(fault) => fault,
                        WriteError::Database(e) => failed(&database_error(&place, &e)),
                    })
                }
                error => Err(failed(&error)),
            },
        }
    }
}

impl RunReads for Store {
    fn run(&mut self, id: &str) -> Result<Option<RunRecord>, StoreFault> {
        self.ask(|c| {
            let row: Option<RunRow> =
                on_either!(c, c => runs::table.find(id).select(RunRow::as_select()).first(c).optional()?);
            row.map(RunRow::read).transpose()
        })
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<RunRow> = on_either!(c, c => {
                let mut query = runs::table.select(RunRow::as_select()).into_boxed();
                if let Some(pipeline) = &filter.pipeline {
                    query = query.filter(runs::pipeline.eq(pipeline));
                }
                if let Some(subject) = &filter.subject {
                    query = query.filter(runs::subject.eq(subject));
                }
                if filter.seen_by.only_own {
                    let account = filter.seen_by.account.as_deref();
                    // Equal to null is nothing: who has no account has no runs either.
                    query = query.filter(runs::owner.is_null().or(runs::owner.eq(account)));
                }
                if filter.open {
                    query = query.filter(runs::ended_at.is_null());
                }
                query.order((runs::created_at.desc(), runs::id.desc())).limit(filter.limit.max(1)).load(c)?
            });
            let mut all: Vec<RunRecord> = rows.into_iter().map(RunRow::read).collect::<Result<_, _>>()?;
            if !filter.open && filter.subject.is_none() {
                all.extend(nightly(c, filter)?);
                if filter.packages {
                    all.extend(super::packages::as_runs(c, filter)?);
                }
                all.sort_by_key(|run| std::cmp::Reverse(run.created));
                all.truncate(usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX));
            }
            Ok(all)
        })
    }

    fn attempts(&mut self, run: &str) -> Result<Vec<AttemptRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<Attempt> = on_either!(c, c => run_attempts::table
                .filter(run_attempts::run_id.eq(run))
                .order(run_attempts::id)
                .select(Attempt::as_select())
                .load(c)?);
            rows.into_iter().map(Attempt::read).collect()
        })
    }

    fn draws(&mut self, run: &str) -> Result<Vec<DrawRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<Draw> = on_either!(c, c => run_draws::table
                .filter(run_draws::run_id.eq(run))
                .order(run_draws::seq)
                .select(Draw::as_select())
                .load(c)?);
            rows.into_iter().map(Draw::read).collect()
        })
    }

    fn exceptions(&mut self, run: &str) -> Result<Vec<ExceptionRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<Exception> = on_either!(c, c => run_exceptions::table
                .filter(run_exceptions::attempt.eq_any(
                    run_attempts::table.filter(run_attempts::run_id.eq(run)).select(run_attempts::uuid),
                ))
                .order(run_exceptions::id)
                .select(Exception::as_select())
                .load(c)?);
            rows.into_iter().map(Exception::read).collect()
        })
    }

    fn targets(&mut self, run: &str) -> Result<Vec<TargetRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<TargetOf> = on_either!(c, c => run_targets::table
                .filter(run_targets::run_id.eq(run))
                .order(run_targets::id)
                .select(TargetOf::as_select())
                .load(c)?);
            rows.into_iter().map(TargetOf::read).collect()
        })
    }

    fn log(&mut self, run: &str, after: u64, limit: i64) -> Result<Vec<LogRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<Line> = on_either!(c, c => run_log::table
                .filter(run_log::run_id.eq(run).and(run_log::line.gt(whole(after))))
                .order(run_log::line)
                .limit(limit)
                .select(Line::as_select())
                .load(c)?);
            Ok(rows.into_iter().map(Line::read).collect())
        })
    }

    fn last_good(&mut self, plugin: &str, task: &str, key: Option<&str>) -> Result<Option<AttemptRow>, StoreFault> {
        self.ask(|c| {
            let row: Option<Attempt> = on_either!(c, c => {
                let mut query = run_attempts::table.select(Attempt::as_select()).into_boxed();
                if let Some(key) = key {
                    query = query.filter(run_attempts::task_key.eq(key));
                }
                query
                    .filter(run_attempts::plugin.eq(plugin).and(run_attempts::task.eq(task)))
                    .filter(run_attempts::state.eq("Terminated").and(run_attempts::status.ne("ERROR")))
                    .order(run_attempts::id.desc())
                    .first(c)
                    .optional()?
            });
            row.map(Attempt::read).transpose()
        })
    }

    fn products(&mut self, wanted: &str) -> Result<Vec<TargetRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<TargetOf> = on_either!(c, c => run_targets::table
                .filter(run_targets::role.eq("out").and(run_targets::sha256.ne("")))
                .filter(
                    run_targets::label.eq(wanted)
                        .or(run_targets::path.eq(wanted))
                        .or(run_targets::sha256.eq(wanted)),
                )
                .order(run_targets::id.desc())
                .select(TargetOf::as_select())
                .load(c)?);
            rows.into_iter().map(TargetOf::read).collect()
        })
    }

    fn releases(&mut self) -> Result<Vec<ReleaseRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<Software> = on_either!(c, c => software_releases::table
                .order((software_releases::kind.desc(), software_releases::identifier, software_releases::registered_at))
                .select(Software::as_select())
                .load(c)?);
            rows.into_iter().map(Software::read).collect()
        })
    }

    fn datasets(&mut self) -> Result<Vec<DatasetRow>, StoreFault> {
        self.ask(|c| {
            let rows: Vec<Dataset> = on_either!(c, c => dataset_definitions::table
                .order((dataset_definitions::identifier, dataset_definitions::version))
                .select(Dataset::as_select())
                .load(c)?);
            Ok(rows.into_iter().map(Dataset::read).collect())
        })
    }

    fn revisions(&mut self) -> Result<Vec<(String, Option<String>)>, StoreFault> {
        self.ask(|c| {
            Ok(on_either!(c, c => plugin_revisions::table
                .order(plugin_revisions::plugin)
                .select((plugin_revisions::plugin, plugin_revisions::revision))
                .load(c)?))
        })
    }
}

impl RunWrites for Store {
    fn create_run(&mut self, run: &RunRecord) -> Result<(), StoreFault> {
        self.write(|c| {
            let row = RunRow::new(run);
            let made = on_either!(c, c => diesel::insert_into(runs::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(c)?);
            if made == 0 {
                return Err(WriteError::Fault(StoreFault::RunExists(run.id.clone())));
            }
            Ok(())
        })
    }

    fn commit(&mut self, run: &str, wave: &Wave) -> Result<(), StoreFault> {
        self.write(|c| commit_wave(c, run, wave))
    }

    fn register(&mut self, release: &ReleaseRow, datasets: &[DatasetRow]) -> Result<bool, StoreFault> {
        self.write(|c| {
            let row = Software::new(release);
            let made = on_either!(c, c => diesel::insert_into(software_releases::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(c)?);
            if made == 0 {
                let key = (&release.identifier, &release.kind, &release.version);
                let kept: String = on_either!(c, c => software_releases::table
                    .find(key)
                    .select(software_releases::digest)
                    .first(c)?);
                if kept == release.digest {
                    return Ok(false);
                }
                return Err(WriteError::Fault(StoreFault::Refused(format!(
                    "{} {} is registered already with another content: a release that changes needs a new version",
                    release.identifier, release.version
                ))));
            }
            let rows: Vec<Dataset> = datasets.iter().map(Dataset::new).collect();
            super::connection::insert_new!(c, dataset_definitions::table, rows);
            Ok(true)
        })
    }

    fn set_revision(&mut self, plugin: &str, revision: Option<&str>) -> Result<(), StoreFault> {
        self.write(|c| Ok(stand_at(c, plugin, revision)?))
    }

    fn migrate(&mut self, plugin: &str, statements: &Statements, after: Option<&str>) -> Result<(), StoreFault> {
        self.write(|c| {
            let all = match c {
                AnyConnection::Sqlite(_) => statements.sqlite(),
                AnyConnection::Postgres(_) => statements.postgres(),
            };
            for statement in all {
                c.batch_execute(statement)?;
            }
            Ok(stand_at(c, plugin, after)?)
        })
    }
}

/// Runs of the nightly frames, as the journal tells of them: they have no plan and no attempts of their own.
fn nightly(c: &mut AnyConnection, filter: &RunFilter) -> Result<Vec<RunRecord>, ReadError> {
    use super::schema::pipeline_runs as night;
    type Row = (
        String,
        String,
        String,
        String,
        chrono::NaiveDateTime,
        chrono::NaiveDateTime,
    );
    let rows: Vec<Row> = on_either!(c, c => {
        let mut query = night::table
            .select((night::id, night::pipeline, night::state, night::cause, night::created_at, night::moved_at))
            .into_boxed();
        if let Some(pipeline) = &filter.pipeline {
            query = query.filter(night::pipeline.eq(pipeline));
        }
        query.order(night::created_at.desc()).limit(filter.limit.max(1)).load(c)?
    });
    let read = |(id, pipeline, state, cause, created, moved): Row| {
        let state: RunState = state
            .parse()
            .map_err(|_| ReadError::Garbled("pipeline_runs", format!("{state:?} is no state")))?;
        let over = matches!(state, RunState::Done | RunState::Failed | RunState::Canceled);
        Ok(RunRecord {
            id,
            short_name: pipeline.clone(),
            pipeline,
            plugin: "ALIDADE".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            subject: None,
            owner: None,
            product_group: None,
            state,
            status: state.to_string(),
            cause,
            plan: alidade_pipeline::plan::Frozen::default(),
            properties: serde_json::Map::new(),
            created: utc(created),
            started: Some(utc(created)),
            ended: over.then(|| utc(moved)),
        })
    };
    rows.into_iter().map(read).collect()
}

fn stand_at(c: &mut AnyConnection, plugin: &str, revision: Option<&str>) -> QueryResult<()> {
    on_either!(c, c => diesel::insert_into(plugin_revisions::table)
        .values((plugin_revisions::plugin.eq(plugin), plugin_revisions::revision.eq(revision)))
        .on_conflict(plugin_revisions::plugin)
        .do_update()
        .set(plugin_revisions::revision.eq(revision))
        .execute(c)
        .map(drop))
}

fn commit_wave(c: &mut AnyConnection, run: &str, wave: &Wave) -> Result<(), WriteError> {
    insert_all!(
        c,
        run_draws::table,
        wave.draws.iter().map(|d| Draw::new(run, d)).collect()
    );
    insert_all!(c, run_attempts::table, wave.starts.iter().map(Attempt::new).collect());
    for (uuid, ticket) in &wave.tickets {
        let ticket = ticket.to_string();
        on_either!(c, c => diesel::update(run_attempts::table.filter(run_attempts::uuid.eq(uuid)))
            .set(run_attempts::ticket.eq(ticket))
            .execute(c)?);
    }
    for end in &wave.ends {
        let ended = on_either!(c, c => diesel::update(
                run_attempts::table.filter(run_attempts::uuid.eq(&end.uuid).and(run_attempts::state.eq("Running"))),
            )
            .set((
                run_attempts::state.eq("Terminated"),
                run_attempts::status.eq(end.status.as_str()),
                run_attempts::reason.eq(clean(&end.reason)),
                run_attempts::ended_at.eq(naive(end.at)),
                run_attempts::seq.eq(end.seq.map(whole)),
                run_attempts::properties.eq(tables::properties_text(&end.properties)),
            ))
            .execute(c)?);
        if ended != 1 {
            return Err(WriteError::Fault(StoreFault::Fenced(end.uuid.clone())));
        }
    }
    let exceptions = wave.ends.iter().flat_map(|e| e.exceptions.iter().map(Exception::new));
    insert_all!(c, run_exceptions::table, exceptions.collect());
    let targets = wave.ends.iter().flat_map(|e| e.targets.iter().map(TargetOf::new));
    insert_all!(c, run_targets::table, targets.collect());
    insert_all!(c, run_log::table, wave.log.iter().map(|l| Line::new(run, l)).collect());
    if wave.change != RunChange::default() {
        let changes = Changes::new(&wave.change);
        on_either!(c, c => diesel::update(runs::table.find(run)).set(&changes).execute(c)?);
    }
    Ok(())
}
