//! `alidade schedule INSTANCE.json`: plan one night offline; `--compare OLD NEW`: what changed; `--stored`: what the daemon
//! has planned.

use super::{
    remote::{ServerArgs, only_here},
    stored_schedules,
};
use alidade_scheduling::compare::{compare, parse_schedule};
use alidade_scheduling::export;
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
    #[arg(required_unless_present_any = ["compare", "stored"])]
    pub instance: Option<PathBuf>,
    /// Show the schedules that the daemon has made, newest first, or the one of this id
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "ID", conflicts_with_all = ["instance", "out", "compare"])]
    pub stored: Option<String>,
    /// How many stored schedules to list
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// Configuration that names the database of stored schedules
    #[arg(long, default_value = "config/alidade.toml")]
    pub config: PathBuf,
    #[command(flatten)]
    pub daemon: ServerArgs,
    /// Compare two schedules instead of planning: files (obs-schedule/1) or ids of stored ones
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["instance", "out"])]
    pub compare: Option<Vec<PathBuf>>,
    /// Write the schedule to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Format of the written file
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Say on standard error how long the search has been running, every second
    #[arg(long)]
    pub progress: bool,
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

/// What a schedule is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// obs-schedule/1
    Json,
    /// One row per request, RFC 4180
    Csv,
    /// One event per block, iCalendar (RFC 5545)
    Ics,
}

/// Work without a deadline, when none is asked for.
const DEFAULT_ITERATIONS: u64 = 600;

pub fn run(args: &ScheduleArgs, stdout: &mut dyn Write) -> Result<(), CommandError> {
    // The deadline is real time by meaning: it bounds how long a person or a script waits for this command.
    #[allow(clippy::disallowed_methods)]
    let began = Instant::now();
    if let Some(id) = &args.stored {
        let text = stored_schedules::shown(&args.config, &args.daemon, id, args.limit, args.json)?;
        return say(stdout, text.trim_end());
    }
    let Some(path) = &args.instance else {
        return difference(args, stdout);
    };
    if args.daemon.server.is_some() {
        let refused = only_here(
            "planning an instance",
            "only --stored and --compare of stored schedules ask a daemon",
        );
        return Err(CommandError::BadInput(refused.to_string()));
    }
    let instance = read(path)?;
    let until = args.deadline_ms.map(|ms| began + Duration::from_millis(ms));
    #[allow(clippy::disallowed_methods)]
    let mut stop = {
        let mut said = 0;
        move || {
            let now = Instant::now();
            let seconds = now.duration_since(began).as_secs();
            if args.progress && seconds > said {
                said = seconds;
                crate::log::say(format_args!("planning for {seconds} s"));
            }
            until.is_some_and(|t| now >= t)
        }
    };
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
        let text = match args.format {
            Format::Json => document.to_string(),
            Format::Csv => export::csv(&instance, &made),
            // The stamp is the night's start, so that equal plans are equal files.
            Format::Ics => export::icalendar(&instance, &made, instance.problem.night.start),
        };
        write_whole(out, text.as_bytes())?;
    }
    let text = match (args.json, args.format) {
        (true, _) => document.to_string(),
        (false, Format::Csv) if args.out.is_none() => export::csv(&instance, &made),
        (false, Format::Ics) if args.out.is_none() => export::icalendar(&instance, &made, instance.problem.night.start),
        _ => table(&instance, &made),
    };
    say(stdout, text.trim_end())
}

fn say(stdout: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    writeln!(stdout, "{text}").map_err(|e| CommandError::Failed(format!("standard output: {e}")))
}

fn difference(args: &ScheduleArgs, stdout: &mut dyn Write) -> Result<(), CommandError> {
    let Some([old, new]) = args.compare.as_deref() else {
        return Err(CommandError::BadInput("--compare takes two schedules".into()));
    };
    let written = |path: &PathBuf| {
        if !path.exists() && path.components().count() == 1 && path.extension().is_none() {
            return stored_schedules::written(&args.config, &args.daemon, &path.to_string_lossy());
        }
        let name = path.display().to_string();
        parse_schedule(&name, &text_of(path)?).map_err(|e| CommandError::BadInput(e.to_string()))
    };
    let found = compare(&written(old)?, &written(new)?);
    let text = if args.json {
        serde_json::to_string(&found).map_err(|e| CommandError::Failed(e.to_string()))?
    } else {
        found.to_string()
    };
    say(stdout, &text)
}

fn read(path: &Path) -> Result<Instance, CommandError> {
    let text = text_of(path)?;
    parse_instance(&path.display().to_string(), &text).map_err(|e| CommandError::BadInput(e.to_string()))
}

/// The whole of a file of a reasonable size.
fn text_of(path: &Path) -> Result<String, CommandError> {
    let name = path.display().to_string();
    let fail = |e: std::io::Error| CommandError::BadInput(format!("{name}: {e}"));
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MOST_BYTES {
        return Err(CommandError::BadInput(format!(
            "{name}: {size} bytes, at most {MOST_BYTES} are read"
        )));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        CommandError::BadInput(format!("{name}: byte {at}: not UTF-8 text"))
    })
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
            "  {a} - {b}  {:<16} {}slack -{tl:.1} +{tr:.1} min  value {:.0}",
            p.id,
            p.unit.as_ref().map_or(String::new(), |unit| format!("on {unit}  ")),
            p.value
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        schedule: ScheduleArgs,
    }

    /// Runs the command on words; standard output, or the error with its exit code.
    fn ran(words: &[&str]) -> Result<String, (u8, String)> {
        let line = Line::try_parse_from([&["schedule"], words].concat()).map_err(|e| (2, e.to_string()))?;
        let mut out = Vec::new();
        run(&line.schedule, &mut out).map_err(|e| (e.exit_code(), e.to_string()))?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn instance(requests: &str) -> String {
        format!(
            r#"{{"format": "obs-schedule-instance/1", "name": "n", "site": {{"lat_deg": -29.3, "lon_deg": -70.7, "height_m": 2375}},
            "night": {{"start_utc": "2027-03-14T23:53:00Z", "end_utc": "2027-03-15T09:51:00Z", "sun_max_alt_deg": -12}},
            "overhead_s": 60, "requests": [{requests}]}}"#
        )
    }

    const STAR: &str = r#"{"id": "a,1", "user": "u", "ra_deg": 165, "dec_deg": -35, "duration_s": 600, "priority": 5,
        "min_alt_deg": 30, "moon_sep_deg": 20}"#;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("alidade-schedule-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).display().to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_schedule_is_written_as_json_csv_and_calendar_and_compared_with_itself() {
        let folder = Folder::new("formats");
        let night = folder.file("night.json", &instance(STAR));
        let (json, csv, ics) = (folder.path("s.json"), folder.path("s.csv"), folder.path("s.ics"));
        for (format, out) in [("json", &json), ("csv", &csv), ("ics", &ics)] {
            ran(&[&night, "--format", format, "--out", out]).unwrap();
        }
        let csv = std::fs::read_to_string(csv).unwrap();
        assert!(
            csv.lines().nth(1).unwrap().starts_with("\"a,1\",u,planned,2027-03-1"),
            "{csv}"
        );
        let ics = std::fs::read_to_string(ics).unwrap();
        assert!(
            ics.contains("SUMMARY:a\\,1\r\n") && ics.ends_with("END:VCALENDAR\r\n"),
            "{ics}"
        );
        let same = ran(&["--compare", &json, &json]).unwrap();
        assert!(same.starts_with("1 kept, 0 moved, 0 added, 0 removed"), "{same}");
    }

    #[test]
    fn bad_input_is_one_line_with_exit_code_2_and_nothing_is_written() {
        let folder = Folder::new("bad");
        let out = folder.path("never.json");
        let many = (0..100_000)
            .map(|k| STAR.replace("a,1", &format!("r{k}")))
            .collect::<Vec<_>>()
            .join(",");
        let cases = [
            (instance(&STAR.replace("165", "NaN")), "NaN is not a number"),
            (
                instance(&STAR.replace("600", "-600")),
                "duration_s: -600 is not positive",
            ),
            (instance(&format!("{STAR},{STAR}")), "is used twice"),
            (instance(&many), "100000 requests, at most 50000 are planned"),
            (instance(STAR).replace("instance/1", "other/1"), "format: expected"),
            (instance(STAR).replace("-12}", "-80}"), "no darkness"),
            ("\u{0}".into(), "not valid JSON"),
        ];
        for (text, cause) in cases {
            let file = folder.file("night.json", &text);
            let (code, said) = ran(&[&file, "--out", &out]).unwrap_err();
            assert_eq!((code, said.lines().count()), (2, 1), "{said}");
            assert!(said.contains(cause) && said.starts_with(&file), "{said}");
            assert!(!Path::new(&out).exists());
        }
        assert_eq!(ran(&[&folder.path("absent.json")]).unwrap_err().0, 2);
    }
}
