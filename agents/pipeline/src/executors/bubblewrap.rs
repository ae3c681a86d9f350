//! The sandbox: bubblewrap with namespaces of its own for files, processes, network, messages and host name.
//!
//! The command sees the root file system (the machine's `/usr` with what programs need of `/etc`, or a package's own)
//! read-only, its inputs and databases read-only, a private `/tmp`, and may write `outputs`, `logs` and `progress`. It has
//! no capability, can gain none (`no_new_privs`), reaches no network but its own loopback, and ends with its supervisor.
//! Limits are control groups where the machine lets us ([`super::cgroup`]), else `rlimit`s. A pause freezes the group.

use super::{
    AttemptSpec, AttemptState, Capabilities, Executor, ExecutorError, Root, Signal, Ticket,
    attempt::PROGRESS_PLACE,
    cgroup::{Groups, Hierarchies},
    supervisor::{self, Launch},
    watch,
};
use crate::packages::manifest::PROGRAM_PLACE;
use alidade_model::time::UtcTime;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const NAME: &str = "bubblewrap";

/// Of the machine's `/etc`, what programs need to run: no account's password, no host name, no key.
const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl/certs",
];
/// Folders of the machine's root besides `/usr`; on a merged root they are links.
const TOP: &[&str] = &["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// See the module's text.
#[derive(Debug, Clone)]
pub struct BubblewrapExecutor {
    program: PathBuf,
    /// As `bwrap --version` says.
    pub version: String,
    pub hierarchies: Hierarchies,
}

impl BubblewrapExecutor {
    /// Finds the program and tries it; an error says why there is no sandbox here.
    pub fn detect() -> Result<Self, ExecutorError> {
        let unavailable = |cause: String| ExecutorError::Unavailable { executor: NAME, cause };
        let program = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| unavailable("bwrap is not installed (Debian package bubblewrap)".into()))?;
        let said = Command::new(&program).arg("--version").output();
        let said = said.map_err(|e| unavailable(e.to_string()))?;
        let version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        let tried = Command::new(&program)
            .args(["--unshare-all", "--ro-bind", "/", "/", "true"])
            .output()
            .map_err(|e| unavailable(e.to_string()))?;
        if !tried.status.success() {
            let cause = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
            return Err(unavailable(format!("it does not run: {cause}")));
        }
        Ok(Self {
            program,
            version,
            hierarchies: Hierarchies::detect(),
        })
    }

    /// With other control groups than those found.
    pub fn with_hierarchies(mut self, hierarchies: Hierarchies) -> Self {
        self.hierarchies = hierarchies;
        self
    }

    /// The supervisor's task: the sandbox with the command in it.
    pub(super) fn launch(&self, spec: &AttemptSpec, groups: Option<Groups>) -> Result<Launch, ExecutorError> {
        Ok(Launch {
            argv: self.command_line(spec)?,
            environment: environment(spec),
            directory: spec.folder.clone(),
            address_space: spec.limits.memory.filter(|_| groups.is_none()),
            groups,
        })
    }

    /// The command within the sandbox, as one command line.
    pub fn command_line(&self, spec: &AttemptSpec) -> Result<Vec<String>, ExecutorError> {
        let mut line = Line(vec![self.program.to_string_lossy().into_owned()]);
        line.add(&[
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
            "--hostname",
            "alidade",
        ]);
        if spec.network {
            line.add(&["--share-net"]);
        }
        let places = shown(spec);
        match &spec.root {
            Root::Host => host_root(&mut line),
            Root::Folder(folder) => {
                let targets: Vec<&Path> = places.iter().map(|shown| shown.place.as_path()).collect();
                package_root(&mut line, folder, Path::new("/"), &targets)?;
            }
        }
        line.add(&["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        if spec.network {
            for file in ["/etc/resolv.conf", "/etc/hosts"] {
                line.bind("--ro-bind-try", Path::new(file), Path::new(file));
            }
        }
        for shown in &places {
            let how = if shown.writable { "--bind" } else { "--ro-bind" };
            line.bind(how, &shown.source, &shown.place);
        }
        line.add(&["--remount-ro", "/", "--chdir"]);
        line.path(&spec.places.outputs);
        line.add(&["--"]);
        line.0.extend(spec.argv.iter().cloned());
        Ok(line.0)
    }
}

/// What the command finds in its environment, by its own view of the file system.
pub(super) fn environment(spec: &AttemptSpec) -> BTreeMap<String, String> {
    let mut environment = supervisor::bare_environment(spec);
    let mut tell = |key: &str, place: &Path| environment.insert(key.into(), place.to_string_lossy().into_owned());
    tell("ALIDADE_INPUTS", &spec.places.inputs);
    tell("ALIDADE_OUTPUTS", &spec.places.outputs);
    tell("ALIDADE_LOGS", &spec.places.logs);
    tell("ALIDADE_CONFIG", &spec.places.inputs.join("config.json"));
    tell("ALIDADE_PROGRESS", &Path::new(PROGRESS_PLACE).join("progress.ndjson"));
    if spec.databases.is_some() {
        tell("ALIDADE_DATABASES", &spec.places.databases);
    }
    environment
}

/// Something of the machine that the sandbox shows.
struct Shown {
    source: PathBuf,
    place: PathBuf,
    writable: bool,
}

/// In the order of mounting: what lies inside another comes after it.
fn shown(spec: &AttemptSpec) -> Vec<Shown> {
    let part = |source: PathBuf, place: &Path, writable| Shown {
        source,
        place: place.into(),
        writable,
    };
    let mut all = vec![
        part(spec.outputs_dir(), &spec.places.outputs, true),
        part(spec.logs_dir(), &spec.places.logs, true),
        part(spec.progress_dir(), Path::new(PROGRESS_PLACE), true),
        part(spec.inputs_dir(), &spec.places.inputs, false),
    ];
    for input in &spec.inputs {
        all.push(part(input.source.clone(), &spec.places.inputs.join(&input.name), false));
    }
    if let Some(program) = &spec.program {
        all.push(part(program.clone(), Path::new(PROGRAM_PLACE), false));
    }
    if let Some(databases) = &spec.databases {
        all.push(part(databases.clone(), &spec.places.databases, false));
    }
    all
}

/// A command line under construction.
struct Line(Vec<String>);

impl Line {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|&word| word.to_owned()));
    }
    fn path(&mut self, path: &Path) {
        self.0.push(path.to_string_lossy().into_owned());
    }
    fn bind(&mut self, how: &str, source: &Path, place: &Path) {
        self.add(&[how]);
        self.path(source);
        self.path(place);
    }
}

fn host_root(line: &mut Line) {
    line.add(&["--ro-bind", "/usr", "/usr"]);
    for name in TOP {
        let place = Path::new("/").join(name);
        match (fs::read_link(&place), place.is_dir()) {
            (Ok(to), _) => {
                line.add(&["--symlink"]);
                line.path(&to);
                line.path(&place);
            }
            (Err(_), true) => line.bind("--ro-bind", &place, &place),
            (Err(_), false) => {}
        }
    }
    for file in ETC {
        line.bind("--ro-bind-try", Path::new(file), Path::new(file));
    }
}

/// Shows each entry of an unpacked root by itself, so that mount points can be made without touching the package; what
/// holds a mount point is opened up. Links stay links: they are followed inside the sandbox only.
fn package_root(line: &mut Line, folder: &Path, place: &Path, targets: &[&Path]) -> Result<(), ExecutorError> {
    let failed = || ExecutorError::io(format!("cannot read {}", folder.display()));
    let mut entries: Vec<_> = fs::read_dir(folder)
        .map_err(failed())?
        .collect::<Result<_, _>>()
        .map_err(failed())?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (source, place) = (entry.path(), place.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed())?;
        let ours = ["/proc", "/dev", "/tmp"].iter().any(|own| place == Path::new(own));
        if ours || targets.contains(&place.as_path()) {
            continue;
        }
        let holds = targets.iter().any(|target| target.starts_with(&place));
        if kind.is_symlink() {
            if holds {
                return Err(ExecutorError::BadSpec(format!(
                    "{} is a link in the package",
                    place.display()
                )));
            }
            let to = fs::read_link(&source).map_err(failed())?;
            line.add(&["--symlink"]);
            line.path(&to);
            line.path(&place);
        } else if kind.is_dir() && holds {
            line.add(&["--dir"]);
            line.path(&place);
            package_root(line, &source, &place, targets)?;
        } else {
            line.bind("--ro-bind", &source, &place);
        }
    }
    Ok(())
}

/// Makes what the sandbox mounts on inside `inputs/`, and a copy of the configuration beside the inputs.
pub(super) fn lay_out(spec: &AttemptSpec) -> Result<(), ExecutorError> {
    spec.lay_out()?;
    let inputs = spec.inputs_dir();
    fs::copy(spec.config_file(), inputs.join("config.json"))
        .map_err(ExecutorError::io("cannot copy the configuration"))?;
    for input in &spec.inputs {
        let point = inputs.join(&input.name);
        let made = if input.source.is_dir() {
            fs::create_dir_all(&point)
        } else {
            fs::OpenOptions::new().create(true).append(true).open(&point).map(drop)
        };
        made.map_err(ExecutorError::io(format!("cannot make {}", point.display())))?;
    }
    Ok(())
}

impl Executor for BubblewrapExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let groups = !matches!(self.hierarchies, Hierarchies::None { .. });
        Capabilities {
            pause: true,
            read_only_inputs: true,
            no_network: true,
            own_root: true,
            memory_limit: groups,
            kills_all: true,
        }
    }

    fn prepare(&self, spec: &AttemptSpec) -> Result<(), ExecutorError> {
        lay_out(spec)?;
        self.command_line(spec).map(drop)
    }

    fn start(&self, spec: &AttemptSpec, now: UtcTime) -> Result<Ticket, ExecutorError> {
        if let Some(ticket) = self.find(&spec.folder)? {
            return Ok(ticket);
        }
        let groups = self.hierarchies.create(&spec.id, &spec.limits)?;
        let launch = self.launch(spec, groups)?;
        supervisor::start(NAME, spec, &launch, now)
    }

    fn find(&self, folder: &Path) -> Result<Option<Ticket>, ExecutorError> {
        supervisor::find(NAME, folder)
    }

    fn poll(&self, ticket: &Ticket, now: UtcTime) -> Result<AttemptState, ExecutorError> {
        watch::poll(ticket, now)
    }

    fn wait(&self, ticket: &Ticket, now: UtcTime, at_most: Duration) -> Result<AttemptState, ExecutorError> {
        watch::wait(ticket, now, at_most)
    }

    fn signal(&self, ticket: &Ticket, signal: Signal, now: UtcTime) -> Result<(), ExecutorError> {
        watch::signal(ticket, signal, now)
    }

    fn cleanup(&self, ticket: &Ticket) -> Result<(), ExecutorError> {
        watch::cleanup(ticket)
    }
}
