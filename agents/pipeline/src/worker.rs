//! One attempt on a thread of its own: the work itself, then the commit rule for its files.

use crate::{
    commit,
    descriptor::{OutputDataset, extras::TaskCommand},
    executors::{AttemptSpec, AttemptState, Executor, Input, Outcome, Signal, Ticket},
    port::{JobStatus, Level, Role, TargetRow, TargetState},
    target::Target,
    task::{Said, Task, TaskContext, TaskFailure},
};
use alidade_model::time::UtcTime;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The clock of the shell.
pub type Clock = Arc<dyn Fn() -> UtcTime + Send + Sync>;

/// What is to be done.
pub enum Work {
    Native(Arc<dyn Task>),
    Command {
        command: Box<TaskCommand>,
        folder: PathBuf,
        executor: Arc<dyn Executor>,
        /// Of an attempt that was started before.
        ticket: Option<Ticket>,
    },
}

/// An attempt, complete.
pub struct Order {
    pub uuid: String,
    pub context: TaskContext,
    pub work: Work,
    pub outputs: BTreeMap<String, OutputDataset>,
    /// Where its products go: the store's root, and the folder below it.
    pub store: PathBuf,
    pub place: PathBuf,
    pub clock: Clock,
    /// Told as soon as an external attempt is started.
    pub started: Box<dyn Fn(&Ticket) + Send>,
}

/// What became of it.
pub struct Done {
    pub uuid: String,
    pub failure: Option<TaskFailure>,
    pub status: JobStatus,
    pub exceptions: Vec<crate::port::ExceptionRow>,
    pub targets: Vec<TargetRow>,
    pub properties: Map<String, Value>,
}

/// Runs an attempt to its end. With what became of it comes its folder if that is to be removed: what failed stays, for
/// people to look at.
pub fn carry_out(mut order: Order) -> (Done, Option<PathBuf>) {
    for (name, dataset) in &order.outputs {
        let file = dataset.file_name.clone().unwrap_or_else(|| name.clone());
        let path = order.context.folder.join("outputs").join(file);
        let target = Target::new(path, &dataset.identifier, &dataset.release.version);
        order.context.outputs.insert(name.clone(), target);
    }
    let context = &mut order.context;
    let outcome = match &order.work {
        Work::Native(task) => {
            let made = if order.outputs.is_empty() {
                Ok(())
            } else {
                context.outputs_dir().map(drop).map_err(TaskFailure::from)
            };
            made.and_then(|()| native(task.as_ref(), context))
        }
        Work::Command {
            command,
            folder,
            executor,
            ticket,
        } => external(
            &order.uuid,
            command,
            folder,
            executor.as_ref(),
            ticket.clone(),
            context,
            &order.clock,
            &order.started,
        ),
    };
    let (targets, outcome) = match outcome {
        Ok(()) => match keep(
            &order.uuid,
            &mut order.context,
            &order.outputs,
            &order.store,
            &order.place,
        ) {
            Ok(targets) => (targets, Ok(())),
            Err(failure) => (failed_targets(&order), Err(failure)),
        },
        Err(failure) => (failed_targets(&order), Err(failure)),
    };
    let spent = match &outcome {
        Err(failure) => {
            let told = (JobStatus::Error, Level::Critical, failure.0.clone());
            order.context.exceptions.push(told);
            None
        }
        Ok(()) => order.context.folder.exists().then(|| order.context.folder.clone()),
    };
    let done = Done {
        exceptions: order.context.exception_rows(&order.uuid),
        status: if outcome.is_err() {
            JobStatus::Error
        } else {
            order.context.worst
        },
        failure: outcome.err(),
        targets,
        properties: std::mem::take(&mut order.context.properties).into_written(),
        uuid: order.uuid,
    };
    (done, spent)
}

fn native(task: &dyn Task, context: &mut TaskContext) -> Result<(), TaskFailure> {
    match catch_unwind(AssertUnwindSafe(|| task.run(context))) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let said = payload
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "without a word".into());
            Err(TaskFailure(format!("the task panicked: {said}")))
        }
    }
}

fn row(order: &str, context: &TaskContext, role: Role, name: &str, target: &Target) -> TargetRow {
    TargetRow {
        attempt: order.into(),
        run: context.run.clone(),
        role,
        name: name.into(),
        label: String::new(),
        dataset: target.dataset.clone(),
        version: target.version.clone(),
        level: String::new(),
        path: target.path.display().to_string(),
        size: 0,
        sha256: String::new(),
        state: target.state,
        status: target.status,
        message: target.message.clone(),
    }
}

fn failed_targets(order: &Order) -> Vec<TargetRow> {
    let of = |(name, target): (&String, &Target)| row(&order.uuid, &order.context, Role::Out, name, target);
    order.context.outputs.iter().map(of).collect()
}

/// Checks that every output is there and commits the files.
fn keep(
    uuid: &str,
    context: &mut TaskContext,
    declared: &BTreeMap<String, OutputDataset>,
    store: &Path,
    place: &Path,
) -> Result<Vec<TargetRow>, TaskFailure> {
    let dir = context.folder.join("outputs");
    if declared.is_empty() {
        // Nothing declared: whatever is there.
        let mut names: Vec<String> = fs::read_dir(&dir)
            .map(|entries| {
                entries
                    .flatten()
                    .filter(|e| e.path().is_file())
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            if !context.outputs.values().any(|t| t.path == path) {
                context.outputs.insert(name, Target::new(path, "", ""));
            }
        }
    }
    let mut missing = Vec::new();
    for (name, target) in &mut context.outputs {
        if target.is_empty() || target.exists() {
            continue;
        }
        match declared
            .get(name)
            .and_then(|d| d.file_name.is_none().then(|| with_any_suffix(&dir, name)).flatten())
        {
            Some(found) => target.path = found,
            None if declared.get(name).is_some_and(|d| d.optional) => target.empty(),
            None => {
                target.error("it was not made");
                missing.push(format!(
                    "output {name} ({}) was not made",
                    target.path.file_name().unwrap_or_default().display()
                ));
            }
        }
    }
    if !missing.is_empty() {
        return Err(TaskFailure(missing.join("; ")));
    }
    let mut rows = Vec::new();
    for (name, target) in &mut context.outputs.clone() {
        let mut made = row(uuid, context, Role::Out, name, target);
        if let Some(dataset) = declared.get(name) {
            made.level.clone_from(&dataset.level);
        }
        if !target.is_empty() {
            let file = target
                .path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            made.label = format!("{}_{file}", context.run);
            let relative = place.join(&made.label);
            let sum = commit::put(&target.path, &store.join(&relative))
                .map_err(|e| TaskFailure(format!("output {name} cannot be kept: {e}")))?;
            made.path = relative.display().to_string();
            made.size = sum.size;
            made.sha256 = sum.sha256;
            made.state = TargetState::Terminated;
        }
        rows.push(made);
    }
    Ok(rows)
}

/// The one file `name.*`.
fn with_any_suffix(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    let mut fits = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_stem().is_some_and(|s| s == name));
    let first = fits.next()?;
    fits.next().is_none().then_some(first)
}

#[allow(clippy::too_many_arguments, reason = "one call, of one place")]
fn external(
    uuid: &str,
    command: &TaskCommand,
    plugin: &Path,
    executor: &dyn Executor,
    ticket: Option<Ticket>,
    context: &mut TaskContext,
    clock: &Clock,
    started: &dyn Fn(&Ticket),
) -> Result<(), TaskFailure> {
    let failed = |e: crate::executors::ExecutorError| TaskFailure(e.to_string());
    let ticket = match ticket {
        Some(ticket) => ticket,
        None => {
            let spec = specification(uuid, command, plugin, context)?;
            if let Some(parent) = spec.folder.parent() {
                fs::create_dir_all(parent)?;
            }
            executor.prepare(&spec).map_err(failed)?;
            let ticket = executor.start(&spec, clock()).map_err(failed)?;
            started(&ticket);
            ticket
        }
    };
    let mut tails = Tails::new(&ticket.folder);
    let mut stopping = false;
    // Short at first, so that short commands cost little; then long enough to cost nothing.
    let mut nap = Duration::from_millis(1);
    let ending = loop {
        let state = executor.wait(&ticket, clock(), nap).map_err(failed)?;
        tails.follow(context);
        if let AttemptState::Ended(ending) = state {
            break ending;
        }
        if context.is_cancelled() && !stopping {
            stopping = true;
            executor.signal(&ticket, Signal::Stop, clock()).map_err(failed)?;
        }
        nap = (nap * 2).min(Duration::from_millis(60));
    };
    tails.finish(context);
    executor.cleanup(&ticket).map_err(failed)?;
    if ending.is_success() {
        return Ok(());
    }
    let last = tails.last_error.map(|line| format!(": {line}")).unwrap_or_default();
    Err(TaskFailure(match ending.outcome {
        Outcome::Exited { code: 127 } => format!("{}: the command was not found{last}", command.command.join(" ")),
        outcome => format!("{outcome}{last}"),
    }))
}

fn specification(
    uuid: &str,
    command: &TaskCommand,
    plugin: &Path,
    context: &TaskContext,
) -> Result<AttemptSpec, TaskFailure> {
    let folder = context.folder.clone();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let mut argv = Vec::new();
    for word in &command.command {
        if word == "{files}" {
            argv.extend(context.files.iter().map(|f| f.display().to_string()));
            continue;
        }
        argv.push(filled(word, |name| {
            Some(match name {
                "plugin" => plugin.display().to_string(),
                "inputs" => folder.join("inputs").display().to_string(),
                "outputs" => folder.join("outputs").display().to_string(),
                "run" => context.run.clone(),
                "target" => context.subject.clone().unwrap_or_default(),
                "item" => context.item.as_ref().map(text).unwrap_or_default(),
                _ => match name.split_once(':')? {
                    ("input", name) => context.inputs.get(name)?.path.display().to_string(),
                    ("output", name) => context.outputs.get(name)?.path.display().to_string(),
                    ("property", name) => context.properties.get(name).map(text)?,
                    ("argument", name) => context.arguments.get(name).map(text)?,
                    _ => return None,
                },
            })
        })?);
    }
    if let Some(first) = argv.first_mut()
        && let Some(below) = first.strip_prefix("./")
    {
        *first = plugin.join(below).display().to_string();
    }
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let mut spec = AttemptSpec::new(uuid, folder, &argv);
    spec.environment.clone_from(&command.environment);
    spec.environment.insert("ALIDADE_RUN".into(), context.run.clone());
    spec.environment.insert("ALIDADE_TASK".into(), context.node.clone());
    spec.environment
        .insert("ALIDADE_PLUGIN".into(), plugin.display().to_string());
    spec.network = command.network;
    spec.limits = command.limits;
    let mut inputs: Vec<Input> = context
        .inputs
        .iter()
        .filter(|(_, target)| !target.is_empty())
        .map(|(name, target)| Input {
            name: name.clone(),
            source: target.path.clone(),
        })
        .collect();
    for file in &context.files {
        let name = file
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !inputs.iter().any(|i| i.name == name || i.source == *file) {
            inputs.push(Input {
                name,
                source: file.clone(),
            });
        }
    }
    spec.inputs = inputs;
    let outputs: BTreeMap<&String, String> = context
        .outputs
        .iter()
        .map(|(n, t)| (n, t.path.display().to_string()))
        .collect();
    spec.config = json!({
        "run": context.run, "task": context.node, "target": context.subject, "item": context.item,
        "arguments": context.arguments, "properties": context.properties.all(), "outputs": outputs,
        "dry_run": context.dry_run,
    });
    Ok(spec)
}

/// Replaces `{name}` and `{kind:name}`; a name that means nothing is a failure, other braces are themselves.
fn filled(word: &str, meaning: impl Fn(&str) -> Option<String>) -> Result<String, TaskFailure> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.split_once('}') {
            Some((name, after)) if !name.is_empty() && name.chars().all(legal) && !text.ends_with('$') => {
                match meaning(name) {
                    Some(value) => text.push_str(&value),
                    None => return Err(TaskFailure(format!("{{{name}}} in the command means nothing here"))),
                }
                rest = after;
            }
            _ => text.push('{'),
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// Files that grow while a command runs.
struct Tails {
    out: Tail,
    err: Tail,
    progress: Tail,
    last_error: Option<String>,
}

impl Tails {
    fn new(folder: &Path) -> Self {
        Self {
            out: Tail::new(folder.join("logs/out.log")),
            err: Tail::new(folder.join("logs/err.log")),
            progress: Tail::new(folder.join("progress/progress.ndjson")),
            last_error: None,
        }
    }

    fn follow(&mut self, context: &mut TaskContext) {
        for line in self.progress.lines() {
            progress(&line, context);
        }
        for text in self.out.lines() {
            (context.say)(Said::Log { level: "info", text });
        }
        for text in self.err.lines() {
            if !text.trim().is_empty() {
                self.last_error = Some(text.clone());
            }
            (context.say)(Said::Log { level: "error", text });
        }
    }

    /// Also a last line without its end.
    fn finish(&mut self, context: &mut TaskContext) {
        self.follow(context);
        for (tail, level) in [(&mut self.out, "info"), (&mut self.err, "error")] {
            let text = String::from_utf8_lossy(&std::mem::take(&mut tail.rest)).into_owned();
            if !text.is_empty() {
                if level == "error" {
                    self.last_error = Some(text.clone());
                }
                (context.say)(Said::Log { level, text });
            }
        }
    }
}

struct Tail {
    file: PathBuf,
    offset: u64,
    rest: Vec<u8>,
}

/// Longest line that is kept whole, bytes.
const LONGEST: usize = 16 * 1024;

impl Tail {
    fn new(file: PathBuf) -> Self {
        Self {
            file,
            offset: 0,
            rest: Vec::new(),
        }
    }

    /// Whole lines that have come since the last call.
    fn lines(&mut self) -> Vec<String> {
        let Ok(mut open) = fs::File::open(&self.file) else {
            return Vec::new();
        };
        if open.seek(SeekFrom::Start(self.offset)).is_err() {
            return Vec::new();
        }
        // At most a megabyte a turn: a command that floods its log must not hold up everything else.
        let read = open.take(1 << 20).read_to_end(&mut self.rest).unwrap_or(0);
        self.offset += read as u64;
        let mut lines = Vec::new();
        while let Some(end) = self
            .rest
            .iter()
            .position(|b| *b == b'\n')
            .or((self.rest.len() > LONGEST).then_some(LONGEST))
        {
            let line: Vec<u8> = self.rest.drain(..=end.min(self.rest.len() - 1)).collect();
            lines.push(String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned());
        }
        lines
    }
}

/// A line of the progress file: `{"status": TEXT}`, `{"log": TEXT}`, `{"progress": {"value": N, "max": N, "label":
/// TEXT}}`, `{"property": {NAME: VALUE}}`, `{"empty": OUTPUT}`, `{"warning": TEXT}`. What is none of these is a log line.
fn progress(line: &str, context: &mut TaskContext) {
    let Ok(Value::Object(said)) = serde_json::from_str::<Value>(line) else {
        context.log(line);
        return;
    };
    for (kind, value) in said {
        match (kind.as_str(), value) {
            ("status", Value::String(text)) => context.status(text),
            ("log", Value::String(text)) => context.log(text),
            ("warning", Value::String(text)) => context.warning(text),
            ("property", Value::Object(set)) => {
                for (name, value) in set {
                    context.properties.set(&name, value);
                }
            }
            ("empty", Value::String(name)) => context.output(&name).empty(),
            ("progress", Value::Object(p)) => {
                let label = p.get("label").and_then(Value::as_str).unwrap_or("progress");
                let number = |key: &str| p.get(key).and_then(Value::as_f64);
                context.status(match (number("value"), number("max")) {
                    (Some(value), Some(max)) => format!("{label} {value} of {max}"),
                    (Some(value), None) => format!("{label} {value}"),
                    _ => label.to_owned(),
                });
            }
            (kind, value) => context.log(format!("{kind}: {value}")),
        }
    }
}
