//! Runs of packages: kept as they are, with their outputs, in one transaction a change.

use super::{
    ReadError, Store,
    connection::{AnyConnection, in_transaction, on_either},
    rows::{naive, whole},
    schema::{package_outputs, package_runs},
};
use alidade_pipeline::{
    packages::{PackageRun, RunBook, runs::word},
    port::{RunFilter, RunRecord},
};
use diesel::prelude::*;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Runs of packages, newest first, in the form of the engine's runs.
pub(super) fn as_runs(c: &mut AnyConnection, filter: &RunFilter) -> Result<Vec<RunRecord>, ReadError> {
    let records: Vec<String> = on_either!(c, c => {
        let mut query = package_runs::table.select(package_runs::record).into_boxed();
        if let Some(package) = &filter.pipeline {
            query = query.filter(package_runs::package.eq(package));
        }
        query
            .order((package_runs::created_at.desc(), package_runs::id.desc()))
            .limit(filter.limit.max(1))
            .load(c)?
    });
    let read = |record: &String| {
        let run: PackageRun =
            serde_json::from_str(record).map_err(|cause| ReadError::Garbled("package_runs", cause.to_string()))?;
        Ok(RunRecord {
            pipeline: run.package,
            plugin: "package".into(),
            version: String::new(),
            short_name: run.name,
            subject: None,
            owner: run.owner,
            product_group: None,
            state: run.state,
            status: word(run.state).into(),
            cause: run.cause,
            plan: alidade_pipeline::plan::Frozen::default(),
            properties: run.config.as_object().cloned().unwrap_or_default(),
            created: run.created_at,
            started: run.start,
            ended: run.end,
            id: run.id,
        })
    };
    let visible = |run: &Result<RunRecord, ReadError>| {
        run.as_ref()
            .map_or(true, |run| filter.seen_by.may_see(run.owner.as_deref()))
    };
    records.iter().map(read).filter(visible).collect()
}

impl RunBook for Store {
    fn keep(&mut self, run: &PackageRun) -> Result<(), String> {
        let record = serde_json::to_string(run).map_err(words)?;
        let state = run.state.to_string();
        let kept = self.read(|c| {
            in_transaction(c, |c| -> Result<(), ReadError> {
                let known = on_either!(c, c => diesel::update(package_runs::table.find(&run.id))
                    .set((package_runs::state.eq(&state), package_runs::record.eq(&record)))
                    .execute(c)?);
                if known == 0 {
                    on_either!(c, c => diesel::insert_into(package_runs::table)
                        .values((
                            package_runs::id.eq(&run.id),
                            package_runs::package.eq(&run.package),
                            package_runs::state.eq(&state),
                            package_runs::created_at.eq(naive(run.created_at)),
                            package_runs::record.eq(&record),
                        ))
                        .execute(c)?);
                }
                on_either!(c, c => diesel::delete(package_outputs::table.filter(package_outputs::run.eq(&run.id))).execute(c)?);
                for output in &run.outputs {
                    on_either!(c, c => diesel::insert_into(package_outputs::table)
                        .values((
                            package_outputs::run.eq(&run.id),
                            package_outputs::name.eq(&output.name),
                            package_outputs::size.eq(whole(output.size)),
                            package_outputs::sha256.eq(&output.sha256),
                        ))
                        .execute(c)?);
                }
                Ok(())
            })
        });
        kept.map_err(words)
    }

    fn all(&mut self) -> Result<Vec<PackageRun>, String> {
        let records = self.read(|c| {
            let records: Vec<String> = package_runs::table
                .order((package_runs::created_at, package_runs::id))
                .select(package_runs::record)
                .load(c)?;
            Ok(records)
        });
        let records = records.map_err(words)?;
        records
            .iter()
            .map(|record| serde_json::from_str(record).map_err(words))
            .collect()
    }

    fn forget(&mut self, id: &str) -> Result<(), String> {
        let gone = self.read(|c| {
            in_transaction(c, |c| -> Result<(), ReadError> {
                on_either!(c, c => diesel::delete(package_outputs::table.filter(package_outputs::run.eq(id))).execute(c)?);
                on_either!(c, c => diesel::delete(package_runs::table.find(id)).execute(c)?);
                Ok(())
            })
        });
        gone.map_err(words)
    }
}
