//! The port to the pipelines, and the recipes that need no engine.
//!
//! A run gets an empty folder and leaves a products folder in it. [`Recipes`] is what the driver knows of pipelines;
//! [`House`] carries out `NoOp`, the workflow's recipes by the mock of the seed, `Frames` (the night's real products),
//! and configured commands; everything else goes to the engine, when there is one.

use crate::{
    products::{self, Role},
    report, weblog,
};
use alidade_model::time::UtcTime;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

/// What is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    pub run: String,
    /// From 1: a run that died with its process is tried again.
    pub attempt: u32,
    pub program: String,
    pub unit: String,
    pub recipe: String,
    pub executive: String,
    /// Instant of the run: part of the names of its products.
    pub stamp: UtcTime,
    /// Data products to start from, as the launch named them.
    pub inputs: Vec<PathBuf>,
    /// Exists, is empty, and is the run's own.
    pub folder: PathBuf,
}

impl RunRequest {
    /// The products folder that the run has to make.
    pub fn products(&self) -> PathBuf {
        self.group().join(products::products_path(&self.unit))
    }

    pub fn group(&self) -> PathBuf {
        self.folder.join(products::group_name(&self.program, self.stamp))
    }
}

/// How a run ends when it has no products.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The data cannot be processed (exit code 2): the unit has a processing problem.
    #[error("{0}")]
    Problem(String),
    /// The run itself went wrong: program missing, no space, report malformed.
    #[error("{0}")]
    Error(String),
}

/// Carries out pipeline runs. Called on a thread of its own; blocks until the run is over.
///
/// On success `request.group()` holds the products, with one report (`pl-report-*.xml`) and, if there is one, a weblog
/// (`weblog-*.zip`) in `request.products()`.
pub trait Recipes: Send + Sync {
    /// Whether there is a recipe of this name.
    fn knows(&self, recipe: &str) -> bool;

    fn start(&self, request: &RunRequest) -> Result<(), Failed>;
}

/// Recipes of the ALMA workflow that a pipeline carries out.
pub const WORKFLOW: [&str; 5] = [
    "PipelineCalibration",
    "PipelineImaging",
    "PipelineSingleDish",
    "PipelineCombination",
    "PipelineCalAndImg",
];

/// What the seed's mock pipeline does, with numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mock {
    /// One run in so many fails; 0 for none.
    pub fails_one_in: u32,
    pub seed: u64,
    /// Shortest and longest run, seconds (the seed's: 3 to 8).
    pub lasts_s: (f64, f64),
}

impl Default for Mock {
    fn default() -> Self {
        Self {
            fails_one_in: 10,
            seed: 1,
            lasts_s: (0.0, 0.0),
        }
    }
}

/// See the module's text.
#[derive(Clone, Default)]
pub struct House {
    pub mock: Mock,
    /// Commands by recipe; they get program, unit and executive as arguments, and the rest in the environment.
    pub commands: BTreeMap<String, Vec<String>>,
    /// Where relative inputs are.
    pub data_dir: PathBuf,
    /// The pipeline engine.
    pub engine: Option<Arc<dyn Recipes>>,
}

impl Recipes for House {
    fn knows(&self, recipe: &str) -> bool {
        matches!(recipe, "NoOp" | "Frames")
            || self.commands.contains_key(recipe)
            || WORKFLOW.contains(&recipe)
            || self.engine.as_ref().is_some_and(|engine| engine.knows(recipe))
    }

    fn start(&self, request: &RunRequest) -> Result<(), Failed> {
        if let Some(command) = self.commands.get(&request.recipe) {
            return external(command, request);
        }
        if let Some(engine) = self.engine.as_ref().filter(|engine| engine.knows(&request.recipe)) {
            return engine.start(request);
        }
        match request.recipe.as_str() {
            "NoOp" => nothing(request),
            "Frames" => frames(request, &self.data_dir),
            recipe if WORKFLOW.contains(&recipe) => mock(request, self.mock),
            other => Err(Failed::Error(format!("there is no recipe {other}"))),
        }
    }
}

fn failed(what: &Path) -> impl Fn(std::io::Error) -> Failed {
    let what = what.display().to_string();
    move |cause| Failed::Error(format!("{what}: {cause}"))
}

/// Writes the report of a run into its products folder, which exists.
pub fn write_report(request: &RunRequest, products: usize, topics: &[(&str, f64)]) -> Result<(), Failed> {
    let stamp = products::timestamp(request.stamp);
    let text = report::write(&report::Facts {
        program: &request.program,
        unit: &request.unit,
        recipe: &request.recipe,
        executive: &request.executive,
        timestamp: &stamp,
        products,
        topics,
    });
    let path = request.products().join(products::report_name(&request.unit, &stamp));
    fs::write(&path, text).map_err(failed(&path))
}

/// A report and nothing else.
fn nothing(request: &RunRequest) -> Result<(), Failed> {
    let folder = request.products();
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    write_report(request, 0, &[])
}

/// Numbers that depend on the run and its attempt only.
fn dice(request: &RunRequest, seed: u64) -> [u8; 32] {
    let text = format!(
        "{seed} {} {} {}",
        request.unit,
        request.stamp.unix_micros(),
        request.attempt
    );
    Sha256::digest(text.as_bytes()).into()
}

fn mock(request: &RunRequest, mock: Mock) -> Result<(), Failed> {
    let dice = dice(request, mock.seed);
    let fraction = f64::from(dice[1]) / 255.0;
    let seconds = mock.lasts_s.0 + fraction * (mock.lasts_s.1 - mock.lasts_s.0);
    if seconds > 0.0 && seconds.is_finite() {
        thread::sleep(Duration::from_secs_f64(seconds));
    }
    let number = u32::from_le_bytes([dice[2], dice[3], dice[4], dice[5]]);
    if mock.fails_one_in > 0 && number.is_multiple_of(mock.fails_one_in) {
        return Err(Failed::Problem("the pipeline failed, as one run in ten does".into()));
    }
    let folder = request.products();
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let stamp = products::timestamp(request.stamp);
    for index in 0..5 {
        let path = folder.join(products::product_name(index, &request.unit, &stamp));
        let mut bytes = format!("product {index} of {}\n", request.unit).into_bytes();
        bytes.extend(dice.iter().cycle().take(4096 + 512 * index));
        fs::write(&path, bytes).map_err(failed(&path))?;
    }
    let scores: Vec<(&str, f64)> = ["Dataset", "Flagging", "Calibration", "Imaging"]
        .into_iter()
        .zip(dice[8..].iter().map(|byte| 0.5 + f64::from(*byte) / 510.0))
        .collect();
    write_report(request, 5, &scores)?;
    write_weblog(request, &scores)
}

/// Seven pages, as the seed's.
fn write_weblog(request: &RunRequest, scores: &[(&str, f64)]) -> Result<(), Failed> {
    let stamp = products::timestamp(request.stamp);
    let title = format!("{} by {}", request.unit, request.recipe);
    let page = |body: String| {
        format!("<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}").into_bytes()
    };
    let links: String = (1..=5)
        .map(|n| format!("<li><a href=\"t{n}.html\">stage {n}</a>"))
        .collect();
    let rows: String = scores.iter().map(|(name, s)| format!("<p>{name}: {s:.3}")).collect();
    let mut files = vec![("index.html".to_owned(), page(format!("<ul>{links}</ul>")))];
    for n in 1..=5 {
        files.push((format!("t{n}.html"), page(format!("<p>stage {n}{rows}"))));
    }
    files.push((
        "log.txt".to_owned(),
        format!("{} run {}\n", stamp, request.run).into_bytes(),
    ));
    let path = request.products().join(products::weblog_name(&request.unit, &stamp));
    weblog::pack(&path, &files).map_err(|e| Failed::Error(e.to_string()))
}

/// The data products of a sequence as they are, with a report and a weblog of their previews.
fn frames(request: &RunRequest, data_dir: &Path) -> Result<(), Failed> {
    if request.inputs.is_empty() {
        return Err(Failed::Problem("the unit has no data products".into()));
    }
    let folder = request.products();
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let mut pages = Vec::new();
    let mut list = String::new();
    for input in &request.inputs {
        let path = data_dir.join(input);
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        products::check_name(&name).map_err(Failed::Problem)?;
        let target = folder.join(&name);
        if target.exists() || products::role(&name) != Role::Product {
            return Err(Failed::Problem(format!("two products are called {name}")));
        }
        fs::copy(&path, &target).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Failed::Problem(format!("{}: is not there", path.display())),
            _ => Failed::Error(format!("{}: {e}", path.display())),
        })?;
        if name.ends_with(".png") {
            list.push_str(&format!("<p><img src=\"{name}\" alt=\"{name}\">"));
            pages.push((name, fs::read(&target).map_err(failed(&target))?));
        } else {
            list.push_str(&format!("<p>{name}"));
        }
    }
    let title = format!(
        "<!doctype html><meta charset=utf-8><title>{0}</title><h1>{0}</h1>",
        request.unit
    );
    pages.insert(0, ("index.html".into(), format!("{title}{list}").into_bytes()));
    write_report(request, request.inputs.len(), &[("Dataset", 1.0)])?;
    let stamp = products::timestamp(request.stamp);
    let path = folder.join(products::weblog_name(&request.unit, &stamp));
    weblog::pack(&path, &pages).map_err(|e| Failed::Error(e.to_string()))
}

/// A program of the site: exit code 0 is success, 2 a problem with the data, anything else an error.
fn external(command: &[String], request: &RunRequest) -> Result<(), Failed> {
    let [program, arguments @ ..] = command else {
        return Err(Failed::Error(format!("the command of {} is empty", request.recipe)));
    };
    let folder = request.products();
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let inputs: Vec<String> = request.inputs.iter().map(|p| p.display().to_string()).collect();
    let output = Command::new(program)
        .args(arguments)
        .args([&request.program, &request.unit, &request.executive])
        .env("ALIDADE_RUN", &request.run)
        .env("ALIDADE_RECIPE", &request.recipe)
        .env("ALIDADE_PRODUCTS", &folder)
        .env("ALIDADE_TIMESTAMP", products::timestamp(request.stamp))
        .env("ALIDADE_INPUTS", inputs.join("\n"))
        .current_dir(&request.folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failed::Error(format!("{program}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it said nothing").trim().to_owned();
    match output.status.code() {
        Some(2) => Err(Failed::Problem(format!("{program}: {last}"))),
        _ => Err(Failed::Error(format!("{program}: {}: {last}", output.status))),
    }
}
