//! `alidade schedule INSTANCE.json`: plan one night offline.

use alidade_scheduling::instance::{Instance, MOST_BYTES, parse_instance, schedule_document};
use alidade_scheduling::report::CommandError;
use alidade_scheduling::{Plan, PlanOptions, plan, verify};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Plan one night offline from an obs-schedule-instance/1 file.
#[derive(Debug, Clone, clap::Args)]
pub struct ScheduleArgs {
    /// The instance (obs-schedule-instance/1)
    pub instance: PathBuf,
    /// Write the schedule to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Stop after this many milliseconds with the best plan found
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub deadline_ms: Option<u64>,
    /// Units of planning work; equal iterations, seed and instance give equal plans (default 600 without a deadline)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub iterations: Option<u64>,
    /// Seed of the search
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Include the excluded intervals of every unplanned request
    #[arg(long)]
    pub explain: bool,
    /// Machine output
    #[arg(long)]
    pub json: bool,
}

/// Work without a deadline, when none is asked for.
const DEFAULT_ITERATIONS: u64 = 600;

pub fn run(args: &ScheduleArgs, stdout: &mut dyn Write) -> Result<(), CommandError> {
    // The deadline is real time by meaning: it bounds how long a person or a script waits for this command.
    #[allow(clippy::disallowed_methods)]
    let began = Instant::now();
    let instance = read(&args.instance)?;
    let until = args.deadline_ms.map(|ms| began + Duration::from_millis(ms));
    #[allow(clippy::disallowed_methods)]
    let mut stop = || until.is_some_and(|t| Instant::now() >= t);
    let unlimited = if until.is_some() { u64::MAX } else { DEFAULT_ITERATIONS };
    let options = PlanOptions {
        iterations: args.iterations.unwrap_or(unlimited),
        seed: args.seed,
        stop: Some(&mut stop),
        explain: args.explain,
        ..PlanOptions::default()
    };
    let made = plan(&instance.problem, options).map_err(|e| CommandError::BadInput(e.to_string()))?;
    if let Err((id, at, cause)) = verify(&instance.problem, &made) {
        let what = format!(
            "block {id} fails the full ephemeris check at {at}: {}",
            cause.describe()
        );
        return Err(CommandError::Failed(what));
    }
    let document = schedule_document(&instance, &made);
    if let Some(out) = &args.out {
        write_whole(out, document.to_string().as_bytes())?;
    }
    let text = if args.json {
        document.to_string()
    } else {
        table(&instance, &made)
    };
    writeln!(stdout, "{text}").map_err(|e| CommandError::Failed(format!("standard output: {e}")))
}

fn read(path: &Path) -> Result<Instance, CommandError> {
    let name = path.display().to_string();
    let fail = |e: std::io::Error| CommandError::BadInput(format!("{name}: {e}"));
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MOST_BYTES {
        return Err(CommandError::BadInput(format!(
            "{name}: {size} bytes, at most {MOST_BYTES} are read"
        )));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        CommandError::BadInput(format!("{name}: byte {at}: not UTF-8 text"))
    })?;
    parse_instance(&name, &text).map_err(|e| CommandError::BadInput(e.to_string()))
}

/// The file appears whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let fail = |e: std::io::Error| CommandError::BadInput(format!("{}: {e}", path.display()));
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|e| {
        // Nothing of ours may stay behind; a part that was never made cannot be removed, which is fine.
        let _ = std::fs::remove_file(&part);
        fail(e)
    })
}

fn table(instance: &Instance, plan: &Plan) -> String {
    let mut lines = vec![format!("{} night of {}", instance.name, instance.date)];
    for p in &plan.planned {
        let (a, b) = (p.start.format("%H:%M:%S"), p.end.format("%H:%M:%S"));
        let (tl, tr) = (p.delta_tl_s / 60.0, p.delta_tr_s / 60.0);
        lines.push(format!(
            "  {a} - {b}  {:<16} slack -{tl:.1} +{tr:.1} min  value {:.0}",
            p.id, p.value
        ));
    }
    for u in &plan.unplanned {
        lines.push(format!("  not planned  {:<16} {}", u.id, u.sentence));
    }
    let (planned, left) = (plan.planned.len(), plan.unplanned.len());
    let (value, bound, gap) = (plan.objective, plan.upper_bound, plan.gap * 100.0);
    lines.push(format!(
        "{planned} planned, {left} not; objective {value:.0}, upper bound {bound:.0}, gap {gap:.2} %, {} iterations",
        plan.iterations
    ));
    lines.join("\n")
}
