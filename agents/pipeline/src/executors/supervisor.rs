//! The supervisor: a few lines of shell between us and the command.
//!
//! It is a child of the daemon in a process group of its own, holds no pipe to it, and outlives it. It writes down its
//! process number before it starts the command and the exit status after, so whoever comes later finds both. Only one
//! supervisor can ever win an attempt's folder: the number is written with `noclobber`.
//!
//! Files in `control/`:
//!
//! | file | holds |
//! |---|---|
//! | `pid` | the supervisor's number, and the boot |
//! | `started` | microseconds of Unix time; then its start time in clock ticks since boot, which we add: to read it takes a shell hundreds of system calls |
//! | `cgroups` | the groups that the command joins |
//! | `pauses` | when it was paused and resumed |
//! | `end` | who asked for the end, when |
//! | `exit` | the shell's `times`, and the exit status |
//! | `ending.json` | the ending once told |

use super::{AttemptSpec, Ending, ExecutorError, Handle, Limits, Outcome, Ticket, attempt::keep, cgroup::Groups};
use alidade_model::time::UtcTime;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal as Kill, WaitOptions, kill_process, kill_process_group, pidfd_open, waitpid},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    ops::RangeInclusive,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

/// Arguments: the control folder, the boot, seconds of processor time, kilobytes of address space (`-` for none), the
/// command. The redirection of `/proc/self` is opened by the shell itself; writing 0 to a group moves the writer.
const SCRIPT: &str = r#"
control=$1; boot=$2; cpu=$3; memory=$4; shift 4
set -C
printf '%s %s\n' $$ "$boot" > "$control/pid" || exit 125
set +C
trap : TERM INT HUP
(
  if [ -e "$control/cgroups" ]; then
    while read -r group; do echo 0 > "$group" || exit 125; done < "$control/cgroups"
  fi
  echo 500 > /proc/self/oom_score_adj
  [ "$cpu" = - ] || { ulimit -S -t "$cpu"; ulimit -H -t $((cpu + 1)); }
  [ "$memory" = - ] || ulimit -v "$memory"
  exec "$@"
) < /dev/null
code=$?
{ times; echo "$code"; } > "$control/exit"
"#;

/// Where the control groups of an attempt are written down, within its folder.
const GROUPS: &str = "control/groups.json";

/// Between asking to end and ending by force, seconds.
pub const GRACE_S: f64 = 3.0;

/// What the supervisor is to run.
pub(super) struct Launch {
    pub argv: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    /// Bound the address space, for want of something better.
    pub address_space: Option<u64>,
    /// Control groups that the command joins.
    pub groups: Option<Groups>,
}

/// More than any machine makes.
const MOST_FORKS_A_SECOND: f64 = 100_000.0;

/// The marker that every process of an attempt inherits in its environment.
pub(super) const MARKER: &str = "ALIDADE_ATTEMPT";

/// Variables of every command; nothing comes from the daemon's own environment.
pub(super) fn bare_environment(spec: &AttemptSpec) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LANG", "C.UTF-8"),
        ("HOME", "/tmp"),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value.into()))
    .collect();
    environment.extend(spec.environment.clone());
    environment.insert(MARKER.into(), spec.id.clone());
    environment
}

/// The boot that this machine is in. It is read once: no process outlives it.
pub(super) fn boot() -> Result<String, ExecutorError> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT.get() {
        return Ok(known.clone());
    }
    let file = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(file).map_err(ExecutorError::io(format!("cannot read {file}")))?;
    Ok(BOOT.get_or_init(|| text.trim().to_owned()).clone())
}

/// Starts the supervisor, unless there has been one.
pub(super) fn start(
    executor: &'static str,
    spec: &AttemptSpec,
    launch: &Launch,
    now: UtcTime,
) -> Result<Ticket, ExecutorError> {
    if let Some(ticket) = find(executor, &spec.folder)? {
        return Ok(ticket);
    }
    let control = spec.folder.join("control");
    note_start(&control, now)?;
    if let Some(groups) = &launch.groups {
        let text = serde_json::to_vec(groups).map_err(|e| ExecutorError::BadSpec(e.to_string()))?;
        keep(&spec.folder.join(GROUPS), &text)?;
        let lines: String = groups.doors().iter().map(|g| format!("{}\n", g.display())).collect();
        keep(&control.join("cgroups"), lines.as_bytes())?;
    }
    let log = |name: &str| {
        let file = spec.logs_dir().join(name);
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .map_err(ExecutorError::io(format!("cannot write {}", file.display())))
    };
    let boot = boot()?;
    let child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "alidade-attempt"])
        .args(arguments(spec, launch, &boot))
        .env_clear()
        .envs(&launch.environment)
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(log("out.log")?)
        .stderr(log("err.log")?)
        .process_group(0)
        .spawn()
        .map_err(ExecutorError::io("cannot start /bin/sh"))?;
    let pid = child.id();
    reap();
    if let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    }
    let started = stat_of(pid).map_or(0, |stat| stat.started);
    let file = control.join("started");
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| writeln!(file, "{started}"))
        .map_err(ExecutorError::io(format!("cannot write {}", file.display())))?;
    Ok(Ticket {
        executor: executor.into(),
        attempt: spec.id.clone(),
        folder: spec.folder.clone(),
        handle: Handle::Process { pid, started, boot },
    })
}

/// When it was started. Written plainly: half of it would only be seen by somebody for whom the attempt is lost.
pub(super) fn note_start(control: &Path, now: UtcTime) -> Result<(), ExecutorError> {
    let file = control.join("started");
    fs::write(&file, format!("{}\n", now.unix_micros()))
        .map_err(ExecutorError::io(format!("cannot write {}", file.display())))
}

/// Supervisors that this process has started and that have not been seen to end. Nobody else takes their exit status, and
/// before that their numbers are not given away.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Takes the exit status of those that have ended, so that no zombie stays.
fn reap() {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.retain(|child| matches!(waitpid(Some(*child), WaitOptions::NOHANG), Ok(None) | Err(Errno::INTR)));
}

/// What [`SCRIPT`] is given.
fn arguments(spec: &AttemptSpec, launch: &Launch, boot: &str) -> Vec<String> {
    let number = |limit: Option<u64>| limit.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut all = vec![
        spec.folder.join("control").to_string_lossy().into_owned(),
        boot.to_owned(),
        number(spec.limits.cpu_s.map(whole_seconds)),
        number(launch.address_space.map(|bytes| bytes.div_ceil(1024))),
    ];
    all.extend(launch.argv.iter().cloned());
    all
}

/// The supervisor as a line for a shell on another machine that shares the folder.
pub(super) fn shell_line(spec: &AttemptSpec, launch: &Launch) -> String {
    let mut line = format!("cd {} && exec env -i", quoted(&launch.directory.to_string_lossy()));
    for (key, value) in &launch.environment {
        line.push_str(&format!(" {}", quoted(&format!("{key}={value}"))));
    }
    line.push_str(&format!(" /bin/sh -c {} alidade-attempt", quoted(SCRIPT)));
    for (index, word) in arguments(spec, launch, "").iter().enumerate() {
        line.push(' ');
        // The boot is the node's own.
        line.push_str(&if index == 1 {
            "\"$(cat /proc/sys/kernel/random/boot_id)\"".into()
        } else {
            quoted(word)
        });
    }
    line
}

/// A word that a POSIX shell takes literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be positive"
)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.ceil().max(1.0) as u64
}

pub(super) fn find(executor: &'static str, folder: &Path) -> Result<Option<Ticket>, ExecutorError> {
    let Some(spec) = AttemptSpec::of_folder(folder)? else {
        return Ok(None);
    };
    let text = read(&folder.join("control/pid"))?;
    let Some((pid, boot)) = text.as_deref().and_then(pid_line) else {
        return Ok(None);
    };
    let noted = read(&folder.join("control/started"))?;
    let noted = noted.as_deref().and_then(|text| text.lines().nth(1)?.parse().ok());
    // Who started it may have died before it noted this. Another process may have the number by now; none has the marker.
    let seen = || {
        stat_of(pid)
            .filter(|_| is_marked(pid, &spec.id))
            .map(|stat| stat.started)
    };
    let started = noted.or_else(seen).unwrap_or(0);
    Ok(Some(Ticket {
        executor: executor.into(),
        attempt: spec.id,
        folder: folder.into(),
        handle: Handle::Process { pid, started, boot },
    }))
}

/// A line without its end is still being written.
fn pid_line(text: &str) -> Option<(u32, String)> {
    let (pid, boot) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((pid.parse().ok()?, boot.to_owned()))
}

/// Whether a process has inherited the marker of an attempt.
fn is_marked(pid: u32, attempt: &str) -> bool {
    let marker = format!("{MARKER}={attempt}");
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|text| text.split(|&b| b == 0).any(|variable| variable == marker.as_bytes()))
}

fn read(file: &Path) -> Result<Option<String>, ExecutorError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ExecutorError::io(format!("cannot read {}", file.display()))(cause)),
    }
}

/// What `/proc/PID/stat` says of a process.
pub(super) struct Stat {
    pub zombie: bool,
    pub group: u32,
    /// Clock ticks since boot.
    pub started: u64,
    /// Own processor time, clock ticks (100 a second on every Linux).
    pub ticks: u64,
}

pub(super) fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses; it ends at the last one.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        group: fields.get(2)?.parse().ok()?,
        started: number(19)?,
        ticks: number(11)? + number(12)?,
    })
}

/// So many numbers are tried one by one.
const FEW: u32 = 64;

/// The numbers of all processes there are.
fn all_processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The numbers that processes may have which began after this one, where they are few: the kernel counts up, and begins
/// again when it has come to the end, so they lie between this one's and the last one given, if it cannot have come round
/// since. `None` is any number. `started` is in clock ticks since boot.
fn younger_than(pid: u32, started: u64) -> Option<RangeInclusive<u32>> {
    let text = |file: &str| fs::read_to_string(file).ok();
    let seconds: f64 = text("/proc/uptime")?.split(' ').next()?.parse().ok()?;
    let last: u32 = text("/proc/loadavg")?.split_whitespace().last()?.parse().ok()?;
    let numbers: u32 = text("/proc/sys/kernel/pid_max")?.trim().parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    let age_s = seconds - started as f64 / 100.0;
    let round_s = f64::from(numbers) / MOST_FORKS_A_SECOND;
    (started > 0 && age_s < round_s && last >= pid).then_some(pid..=last)
}

/// The supervisor of a ticket as it is now.
pub(super) struct Supervised<'a> {
    pub ticket: &'a Ticket,
    pid: u32,
    started: u64,
    boot: &'a str,
    /// The control groups of the command, where it has some.
    pub groups: Option<Groups>,
}

impl<'a> Supervised<'a> {
    pub fn of(ticket: &'a Ticket) -> Result<Self, ExecutorError> {
        match &ticket.handle {
            Handle::Process { pid, started, boot } => Ok(Self {
                ticket,
                pid: *pid,
                started: *started,
                boot,
                groups: read(&ticket.folder.join(GROUPS))?.and_then(|text| serde_json::from_str(&text).ok()),
            }),
            Handle::Slurm { .. } => Err(ExecutorError::BadSpec("a ticket of another executor".into())),
        }
    }

    /// The files of an attempt whose supervisor runs on another machine, or has not begun.
    pub fn of_folder(ticket: &'a Ticket) -> Self {
        Self {
            ticket,
            pid: 0,
            started: 0,
            boot: "",
            groups: None,
        }
    }

    pub fn control(&self, file: &str) -> PathBuf {
        self.ticket.folder.join("control").join(file)
    }

    /// True while the supervisor runs. A start time of 0 is that of one that was gone before it could be read.
    pub fn is_alive(&self) -> bool {
        let here = boot().is_ok_and(|boot| boot == self.boot);
        here && stat_of(self.pid).is_some_and(|stat| !stat.zombie && stat.started == self.started)
    }

    /// Every process of the attempt but the supervisor: those of its control groups, which nothing leaves; without groups
    /// those of the supervisor's process group, or with the marker. What is older than the supervisor is not looked into.
    pub fn processes(&self) -> Vec<u32> {
        if let Some(groups) = &self.groups {
            return groups.processes();
        }
        let alive = self.is_alive();
        let ours = |&pid: &u32| {
            pid != self.pid
                && stat_of(pid).is_some_and(|stat| {
                    let younger = !stat.zombie && stat.started >= self.started;
                    younger && ((alive && stat.group == self.pid) || is_marked(pid, &self.ticket.attempt))
                })
        };
        match younger_than(self.pid, self.started) {
            // To read the whole list costs more than to try some numbers.
            Some(numbers) if numbers.end() - numbers.start() < FEW => numbers.filter(ours).collect(),
            Some(numbers) => all_processes()
                .filter(|pid| numbers.contains(pid))
                .filter(ours)
                .collect(),
            None => all_processes().filter(ours).collect(),
        }
    }

    pub fn kill(&self, kill: Kill) {
        for pid in self.processes() {
            send(pid, kill);
        }
    }

    /// Asks the whole group to end; the supervisor itself stays to write down how.
    fn ask_to_end(&self) {
        if self.is_alive()
            && let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process_group(group, Kill::TERM);
        }
    }

    /// Elapsed seconds since the start, pauses not counted.
    pub fn elapsed_s(&self, now: UtcTime) -> Result<f64, ExecutorError> {
        let instant = |text: &str| text.trim().parse().ok().and_then(UtcTime::from_unix_micros);
        let noted = read(&self.control("started"))?;
        let Some(started) = noted.as_deref().and_then(|text| instant(text.lines().next()?)) else {
            return Ok(0.0);
        };
        let mut elapsed = now.seconds_since(started);
        let mut since = None;
        for line in read(&self.control("pauses"))?.unwrap_or_default().lines() {
            match line.split_once(' ') {
                Some(("pause", at)) => since = since.or(instant(at)),
                Some(("resume", at)) => {
                    if let (Some(from), Some(to)) = (since.take(), instant(at)) {
                        elapsed -= to.seconds_since(from);
                    }
                }
                _ => {}
            }
        }
        if let Some(from) = since {
            elapsed -= now.seconds_since(from);
        }
        Ok(elapsed)
    }

    pub fn is_paused(&self) -> Result<bool, ExecutorError> {
        let pauses = read(&self.control("pauses"))?.unwrap_or_default();
        Ok(pauses.lines().last().is_some_and(|line| line.starts_with("pause ")))
    }

    pub fn note_pause(&self, word: &str, now: UtcTime) -> Result<(), ExecutorError> {
        let file = self.control("pauses");
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut f| writeln!(f, "{word} {}", now.unix_micros()))
            .map_err(ExecutorError::io(format!("cannot write {}", file.display())))
    }

    /// Asks for the end, once: the first cause counts.
    pub fn end(&self, cause: &Outcome, now: UtcTime) -> Result<(), ExecutorError> {
        self.note_end(cause, now)?;
        self.ask_to_end();
        Ok(())
    }

    /// Writes down why it is to end, unless that has been written.
    pub fn note_end(&self, cause: &Outcome, now: UtcTime) -> Result<(), ExecutorError> {
        let file = self.control("end");
        if !file.exists() {
            let text = serde_json::json!({ "at": now.unix_micros(), "cause": cause });
            keep(&file, text.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Who asked for the end, and when.
    pub fn end_asked(&self) -> Result<Option<(Outcome, UtcTime)>, ExecutorError> {
        let Some(text) = read(&self.control("end"))? else {
            return Ok(None);
        };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| ExecutorError::BadSpec(format!("control/end: {e}")))?;
        let at = value
            .get("at")
            .and_then(serde_json::Value::as_i64)
            .and_then(UtcTime::from_unix_micros);
        let cause = value
            .get("cause")
            .and_then(|cause| serde_json::from_value(cause.clone()).ok());
        Ok(cause.zip(at))
    }

    /// The exit status that the supervisor wrote.
    pub fn exit_code(&self) -> Result<Option<i32>, ExecutorError> {
        Ok(self.exit()?.map(|(code, _)| code))
    }

    /// The exit status, and the processor time by the shell's own count, seconds.
    pub fn exit(&self) -> Result<Option<(i32, Option<f64>)>, ExecutorError> {
        Ok(read(&self.control("exit"))?.as_deref().and_then(exit_of))
    }

    /// The limit of time that has been passed.
    pub fn over_time(&self, limits: &Limits, cpu_s: f64, now: UtcTime) -> Result<Option<Outcome>, ExecutorError> {
        if let Some(limit_s) = limits.wall_s
            && self.elapsed_s(now)? > limit_s
        {
            return Ok(Some(Outcome::OutOfTime { limit_s }));
        }
        Ok(limits
            .cpu_s
            .filter(|&limit_s| cpu_s > limit_s)
            .map(|limit_s| Outcome::OutOfCpuTime { limit_s }))
    }

    /// Processor time of the processes that run now, seconds.
    pub fn cpu_now_s(&self) -> f64 {
        let ticks: u64 = self
            .processes()
            .into_iter()
            .filter_map(stat_of)
            .map(|stat| stat.ticks)
            .sum();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let seconds = ticks as f64 / 100.0;
        seconds
    }

    /// How it stands, by the files and the supervisor's own life; `out_of_memory` is what a control group knows.
    pub fn poll(&self, limits: &Limits, out_of_memory: bool) -> Result<Option<Ending>, ExecutorError> {
        if let Some(told) = self.kept_ending()? {
            return Ok(Some(told));
        }
        // Life is looked at before the exit status: the other way round, what ends in between would seem lost.
        let alive = self.is_alive();
        let (exit, cpu_s) = self.exit()?.unzip();
        if alive && exit.is_none() {
            return Ok(None);
        }
        if !alive {
            reap();
        }
        let outcome = match (self.end_asked()?, exit) {
            (Some((cause, _)), _) => cause,
            (None, Some(code)) => classify(code, limits, out_of_memory),
            (None, None) if out_of_memory => Outcome::OutOfMemory { limit: limits.memory },
            (None, None) => Outcome::Lost {
                cause: if boot()? == self.boot {
                    "its supervisor was killed".into()
                } else {
                    "the machine was restarted".into()
                },
            },
        };
        let mut ending = Ending::of(outcome);
        ending.cpu_s = cpu_s.flatten();
        Ok(Some(ending))
    }

    /// The ending as it was told before.
    pub fn kept_ending(&self) -> Result<Option<Ending>, ExecutorError> {
        let told = read(&self.control("ending.json"))?;
        let ending = told.map(|told| serde_json::from_str(&told)).transpose();
        ending.map_err(|e| ExecutorError::BadSpec(format!("control/ending.json: {e}")))
    }

    /// Keeps the ending, so that it is told the same for ever.
    pub fn keep_ending(&self, ending: &Ending) -> Result<(), ExecutorError> {
        let text = serde_json::to_vec(ending).map_err(|e| ExecutorError::BadSpec(e.to_string()))?;
        keep(&self.control("ending.json"), &text)
    }

    /// Waits for the end of the supervisor.
    pub fn wait(&self, at_most: Duration) {
        let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .filter(|_| self.is_alive())
        else {
            return;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            std::thread::sleep(at_most.min(Duration::from_millis(5)));
            return;
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout));
    }
}

/// A shell tells the death by signal N as 128 + N; 24 is SIGXCPU.
pub(super) fn classify(code: i32, limits: &Limits, out_of_memory: bool) -> Outcome {
    match code {
        _ if out_of_memory && code != 0 => Outcome::OutOfMemory { limit: limits.memory },
        152 if limits.cpu_s.is_some() => Outcome::OutOfCpuTime {
            limit_s: limits.cpu_s.unwrap_or_default(),
        },
        129..=192 => Outcome::Killed { signal: code - 128 },
        _ => Outcome::Exited { code },
    }
}

/// Two lines of `times` and one of the exit status; without the last line's end it is still being written.
fn exit_of(text: &str) -> Option<(i32, Option<f64>)> {
    let code = text.strip_suffix('\n')?.lines().nth(2)?;
    Some((code.trim().parse().ok()?, times_of_children(text)))
}

/// The second line of the shell's `times`: user and system time of its children, as `0m0.010s`.
fn times_of_children(text: &str) -> Option<f64> {
    let mut words = text.lines().nth(1)?.split_whitespace();
    let mut seconds = || {
        let (minutes, rest) = words.next()?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + rest.strip_suffix('s')?.parse::<f64>().ok()?)
    };
    Some(seconds()? + seconds()?)
}

pub(super) fn send(pid: u32, kill: Kill) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, kill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shells_times_are_minutes_and_seconds() {
        assert_eq!(times_of_children("0m0.00s 0m0.00s\n1m2.50s 0m0.25s\n"), Some(62.75));
        assert_eq!(times_of_children("0m0.00s 0m0.00s\n"), None);
    }

    #[test]
    fn a_number_without_the_end_of_its_line_is_still_being_written() {
        assert_eq!(pid_line("12 abc\n"), Some((12, "abc".into())));
        assert_eq!(pid_line("12 ab"), None);
        assert_eq!(pid_line("12\n"), None);
    }

    #[test]
    fn an_exit_status_counts_when_its_line_is_whole() {
        let times = "0m0.00s 0m0.00s\n0m0.50s 0m0.25s\n";
        assert_eq!(exit_of(&format!("{times}143\n")), Some((143, Some(0.75))));
        for unfinished in ["", "0m0.00s", times, &format!("{times}14")] {
            assert_eq!(exit_of(unfinished), None, "{unfinished:?}");
        }
    }

    #[test]
    fn a_death_by_signal_is_told_apart_from_an_exit_status() {
        let none = Limits::default();
        let cpu = Limits {
            cpu_s: Some(1.0),
            ..none
        };
        assert_eq!(classify(3, &none, false), Outcome::Exited { code: 3 });
        assert_eq!(classify(137, &none, false), Outcome::Killed { signal: 9 });
        assert_eq!(classify(137, &none, true), Outcome::OutOfMemory { limit: None });
        assert_eq!(classify(152, &cpu, false), Outcome::OutOfCpuTime { limit_s: 1.0 });
    }
}
