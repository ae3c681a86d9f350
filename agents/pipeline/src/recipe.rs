//! Pipelines as recipes of the delivery: a unit that is launched with the name of a pipeline is processed by it.
//!
//! One delivery run is one run of the engine, found again by the delivery run's identifier in its properties: a station
//! that died goes on with the run it had begun, or takes what it has made, and never processes the same twice. Every
//! product of the run is copied into the unit's products folder and summed there. The report and the weblog are those
//! that the pipeline made (`pl-report-*.xml`, `weblog-*.zip`), otherwise they are written from the run's own records.
//!
//! What the tasks find in the shared context under `ous`: `run`, `program`, `unit`, `recipe`, `executive`, `timestamp`.

mod pages;

use crate::{
    descriptor::load::Collection,
    plan::RunRequest as EngineRequest,
    port::{AttemptRow, Role, RunFilter, RunRecord, RunWrites, StoreFault, TargetRow},
    runner::{self, RunFault, Surroundings},
};
use alidade_delivery::{
    manifest,
    products::{self, Role as FileRole},
    recipes::{Failed, Recipes, RunRequest, write_report},
    unit, weblog,
};
use alidade_model::states::RunState;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// The key of the shared context that says for whom the run is.
pub const CONTEXT: &str = "ous";
/// How often a run that another thread or process carries out is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Lines of the log that a weblog keeps.
const LINES: i64 = 100_000;

/// Where runs of pipelines are carried out.
pub trait Works: Send + Sync {
    fn collection(&self) -> Collection;
    fn surroundings(&self) -> Surroundings;
    fn store(&self) -> Result<Box<dyn RunWrites>, String>;

    /// Runs it to its end, or goes on with it.
    fn carry(&self, store: &mut dyn RunWrites, id: &str) -> Result<RunRecord, RunFault> {
        runner::execute(&self.surroundings(), store, id, &Arc::default())
    }
}

/// See the module's text.
pub struct PipelineRecipes {
    pub works: Arc<dyn Works>,
    /// Where relative inputs are.
    pub data_dir: PathBuf,
}

impl Recipes for PipelineRecipes {
    fn knows(&self, recipe: &str) -> bool {
        self.works.collection().runnable(recipe).is_some()
    }

    fn start(&self, request: &RunRequest) -> Result<(), Failed> {
        let mut store = self.works.store().map_err(Failed::Error)?;
        let run = match earlier(store.as_mut(), request).map_err(error)? {
            Some(run) => run,
            None => self.begin(store.as_mut(), request)?,
        };
        let run = self.to_its_end(store.as_mut(), run)?;
        match run.state {
            RunState::Done => self.hand_over(store.as_mut(), &run, request),
            state => Err(Failed::Problem(format!("run {} {state}: {}", run.id, run.cause))),
        }
    }
}

fn error(cause: impl std::fmt::Display) -> Failed {
    Failed::Error(cause.to_string())
}

fn io(place: &Path) -> impl Fn(std::io::Error) -> Failed {
    let place = place.display().to_string();
    move |cause| Failed::Error(format!("{place}: {cause}"))
}

/// The engine's run of this delivery run, if it has one.
fn earlier(store: &mut dyn RunWrites, request: &RunRequest) -> Result<Option<RunRecord>, StoreFault> {
    let filter = RunFilter {
        subject: Some(unit::encoded(&request.unit)),
        limit: 10_000,
        ..RunFilter::default()
    };
    let ours = json!(request.run);
    let of_ours = |run: &RunRecord| run.properties.get(CONTEXT).is_some_and(|ous| ous["run"] == ours);
    Ok(store.runs(&filter)?.into_iter().find(of_ours))
}

impl PipelineRecipes {
    fn begin(&self, store: &mut dyn RunWrites, request: &RunRequest) -> Result<RunRecord, Failed> {
        let ous = json!({
            "run": request.run, "program": request.program, "unit": request.unit, "recipe": request.recipe,
            "executive": request.executive, "timestamp": products::timestamp(request.stamp),
        });
        let wanted = EngineRequest {
            pipeline: request.recipe.clone(),
            target: Some(unit::encoded(&request.unit)),
            inputs: request
                .inputs
                .iter()
                .map(|path| self.data_dir.join(path).display().to_string())
                .collect(),
            properties: [(CONTEXT.to_owned(), ous)].into_iter().collect(),
            ..EngineRequest::default()
        };
        let around = self.works.surroundings();
        let planned = wanted.plan(&self.works.collection(), &around.natives);
        let planned = planned.map_err(|wrong| Failed::Error(wrong.join("; ")))?;
        runner::create(&around, store, &planned).map_err(error)
    }

    /// Whoever carries it out: this thread, or one that has taken it up before.
    fn to_its_end(&self, store: &mut dyn RunWrites, mut run: RunRecord) -> Result<RunRecord, Failed> {
        while run.ended.is_none() {
            match self.works.carry(store, &run.id) {
                Ok(ended) => return Ok(ended),
                Err(RunFault::Ended(_)) => {}
                Err(RunFault::Owned(_)) => thread::park_timeout(LOOK),
                Err(fault) => return Err(error(fault)),
            }
            let known = store.run(&run.id).map_err(error)?;
            run = known.ok_or_else(|| error(RunFault::Unknown(run.id.clone())))?;
        }
        Ok(run)
    }

    fn hand_over(&self, store: &mut dyn RunWrites, run: &RunRecord, request: &RunRequest) -> Result<(), Failed> {
        let attempts = store.attempts(&run.id).map_err(error)?;
        let made: Vec<TargetRow> = store
            .targets(&run.id)
            .map_err(error)?
            .into_iter()
            .filter(|target| target.role == Role::Out && !target.sha256.is_empty())
            .collect();
        let folder = request.products();
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let store_of_products = self.works.surroundings().products();
        let files = names(&made, &attempts)?;
        for (target, name) in made.iter().zip(&files) {
            copy(
                &store_of_products.join(&target.path),
                &folder.join(name),
                &target.sha256,
            )?;
        }
        let count = |role| files.iter().filter(|name| products::role(name) == role).count();
        let stamp = products::timestamp(request.stamp);
        if count(FileRole::Report) == 0 {
            let scores = scores(&attempts);
            let topics: Vec<(&str, f64)> = scores.iter().map(|(name, score)| (name.as_str(), *score)).collect();
            write_report(request, files.len(), &topics)?;
        }
        if count(FileRole::Weblog) == 0 {
            let log = store.log(&run.id, 0, LINES).map_err(error)?;
            let exceptions = store.exceptions(&run.id).map_err(error)?;
            let story = pages::Story {
                run,
                attempts: &attempts,
                exceptions: &exceptions,
                log: &log,
                files: &files,
            };
            let path = folder.join(products::weblog_name(&request.unit, &stamp));
            weblog::pack(&path, &story.pages(&request.unit)).map_err(error)?;
        }
        Ok(())
    }
}

/// The names of products in the unit's folder: their own; those that several have begin with the task and, of a loop,
/// the number of its item.
fn names(made: &[TargetRow], attempts: &[AttemptRow]) -> Result<Vec<String>, Failed> {
    let own = |target: &TargetRow| {
        let file = Path::new(&target.path).file_name().and_then(|name| name.to_str());
        let file = file.unwrap_or(&target.name);
        // The engine writes the run before the file's own name.
        let bare = file
            .strip_prefix(target.run.as_str())
            .and_then(|rest| rest.strip_prefix('_'));
        bare.filter(|name| !name.is_empty()).unwrap_or(file).to_owned()
    };
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    made.iter()
        .for_each(|target| *count.entry(own(target)).or_default() += 1);
    let mut names: Vec<String> = Vec::with_capacity(made.len());
    for target in made {
        let mut name = own(target);
        if count.get(&name).is_some_and(|several| *several > 1) {
            let attempt = attempts.iter().find(|attempt| attempt.uuid == target.attempt);
            let item = attempt
                .and_then(|a| a.iteration)
                .map(|n| format!("-{n}"))
                .unwrap_or_default();
            name = format!("{}{item}-{name}", attempt.map_or("task", |a| a.node.as_str()));
        }
        products::check_name(&name).map_err(Failed::Error)?;
        if names.contains(&name) {
            return Err(Failed::Error(format!("two products are called {name}")));
        }
        names.push(name);
    }
    Ok(names)
}

fn copy(from: &Path, to: &Path, sha256: &str) -> Result<(), Failed> {
    fs::copy(from, to).map_err(io(from))?;
    let (found, _) = manifest::sha256_file(to, &mut |_| ()).map_err(io(to))?;
    if found == sha256 {
        return Ok(());
    }
    let _ = fs::remove_file(to);
    Err(Failed::Error(format!(
        "{}: checksum mismatch: {found}, not {sha256}",
        from.display()
    )))
}

/// A score by task for the report: the mean over its attempts of 1 (ok), 0.5 (a warning) and 0 (an error). A name that
/// XML would not take is spelled with underscores.
fn scores(attempts: &[AttemptRow]) -> Vec<(String, f64)> {
    use crate::port::JobStatus;
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for attempt in attempts {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let mut name: String = attempt.node.chars().map(|c| if legal(c) { c } else { '_' }).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert(0, '_');
        }
        let score = match attempt.status {
            JobStatus::Ok => 1.0,
            JobStatus::Warning => 0.5,
            JobStatus::Error => 0.0,
        };
        let (sum, count) = sums.entry(name).or_default();
        (*sum, *count) = (*sum + score, *count + 1.0);
    }
    sums.into_iter()
        .map(|(name, (sum, count))| (name, sum / count))
        .collect()
}
