//! Control groups, version 2 or 1, written by ourselves; without either the limits are `rlimit`s.
//!
//! Terms: a *hierarchy* is a mounted tree of groups with its *controllers*. Version 2 has one tree with all of them;
//! version 1 one tree a controller. Ours are made below the group that this program is in, so that what the machine allows
//! it bounds them too. Format of the files: Linux documentation, admin-guide/cgroup-v2.rst and cgroup-v1/.

use super::{ExecutorError, Limits};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Which control groups this machine lets us use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "version")]
pub enum Hierarchies {
    /// The folder of our own group.
    V2 { own: PathBuf },
    /// Our own group in each controller's tree.
    V1 {
        memory: PathBuf,
        freezer: PathBuf,
        pids: Option<PathBuf>,
        cpuacct: Option<PathBuf>,
    },
    /// None, and why.
    None { cause: String },
}

impl Hierarchies {
    /// Looks at this machine.
    pub fn detect() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let found = Self::of(&read("/proc/self/mounts"), &read("/proc/self/cgroup"), |own| {
            read(&own.join("cgroup.controllers").to_string_lossy())
        });
        found.probed()
    }

    /// From the texts of `/proc/self/mounts` and `/proc/self/cgroup`, and the controllers of a group of version 2.
    pub fn of(mounts: &str, own: &str, controllers: impl Fn(&Path) -> String) -> Self {
        let path_of = |wanted: &str| {
            own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':');
                let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
                let named = if wanted.is_empty() {
                    names.is_empty()
                } else {
                    names.split(',').any(|n| n == wanted)
                };
                named.then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let mount_of = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let &[_, place, found, options, ..] = words.as_slice() else {
                    return None;
                };
                let has = option.is_empty() || options.split(',').any(|o| o == option);
                (found == kind && has).then(|| PathBuf::from(place))
            })
        };
        if let (Some(mount), Some(path)) = (mount_of("cgroup2", ""), path_of("")) {
            let own = mount.join(path);
            let text = controllers(&own);
            if ["memory", "pids"]
                .iter()
                .all(|c| text.split_whitespace().any(|found| found == *c))
            {
                return Self::V2 { own };
            }
        }
        let v1 = |controller: &str| Some(mount_of("cgroup", controller)?.join(path_of(controller)?));
        match (v1("memory"), v1("freezer")) {
            (Some(memory), Some(freezer)) => Self::V1 {
                memory,
                freezer,
                pids: v1("pids"),
                cpuacct: v1("cpuacct"),
            },
            _ => Self::None {
                cause: "no hierarchy with memory and freezer".into(),
            },
        }
    }

    /// Whether a group can really be made: a container often shows the files and allows nothing.
    fn probed(self) -> Self {
        let name = format!("alidade-probe-{}", std::process::id());
        let tried = match &self {
            Self::None { .. } => return self,
            Self::V2 { own } => v2_parent(own).and_then(|parent| try_group(&parent.join(name))),
            Self::V1 { memory, freezer, .. } => {
                try_group(&memory.join(&name)).and_then(|()| try_group(&freezer.join(&name)))
            }
        };
        match tried {
            Ok(()) => self,
            Err(cause) => Self::None {
                cause: format!("control groups cannot be made: {cause}"),
            },
        }
    }

    /// For people: `v2`, `v1` or `none (cause)`.
    pub fn describe(&self) -> String {
        match self {
            Self::V2 { own } => format!("version 2, below {}", own.display()),
            Self::V1 { memory, .. } => format!("version 1, memory below {}", memory.display()),
            Self::None { cause } => format!("none ({cause}): limits are rlimits, a pause is SIGSTOP"),
        }
    }

    /// Makes the groups of an attempt, none if there are no hierarchies.
    pub fn create(&self, id: &str, limits: &Limits) -> Result<Option<Groups>, ExecutorError> {
        let name = format!("alidade-{id}");
        let groups = match self {
            Self::None { .. } => return Ok(None),
            Self::V2 { own } => {
                let parent = v2_parent(own).map_err(ExecutorError::io("control group of this program"))?;
                Groups::V2 {
                    group: parent.join(name),
                }
            }
            Self::V1 {
                memory,
                freezer,
                pids,
                cpuacct,
            } => Groups::V1 {
                memory: memory.join(&name),
                freezer: freezer.join(&name),
                pids: pids.as_ref().map(|p| p.join(&name)),
                cpuacct: cpuacct.as_ref().map(|p| p.join(&name)),
            },
        };
        groups.make(limits)?;
        Ok(Some(groups))
    }
}

fn try_group(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::remove_dir(folder)
}

/// A group of version 2 that gives controllers to its children may hold no process itself: this program goes into a child
/// of its own first. The root is exempt.
fn v2_parent(own: &Path) -> std::io::Result<PathBuf> {
    let own = if own.ends_with("alidade-daemon") {
        own.parent().unwrap_or(own)
    } else {
        own
    };
    let control = own.join("cgroup.subtree_control");
    let given = fs::read_to_string(&control).unwrap_or_default();
    if !given.split_whitespace().any(|c| c == "memory") {
        let is_root = !own.join("cgroup.type").exists();
        if !is_root {
            let leaf = own.join("alidade-daemon");
            fs::create_dir_all(&leaf)?;
            for pid in fs::read_to_string(own.join("cgroup.procs"))?.lines() {
                fs::write(leaf.join("cgroup.procs"), pid)?;
            }
        }
        fs::write(&control, "+memory +pids")?;
    }
    Ok(own.to_owned())
}

/// The groups of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "version")]
pub enum Groups {
    V2 {
        group: PathBuf,
    },
    V1 {
        memory: PathBuf,
        freezer: PathBuf,
        pids: Option<PathBuf>,
        cpuacct: Option<PathBuf>,
    },
}

impl Groups {
    fn folders(&self) -> Vec<&Path> {
        match self {
            Self::V2 { group } => vec![group],
            Self::V1 {
                memory,
                freezer,
                pids,
                cpuacct,
            } => {
                let mut all: Vec<&Path> = vec![memory, freezer];
                all.extend(pids.iter().chain(cpuacct).map(PathBuf::as_path));
                all
            }
        }
    }

    /// The files through which a process joins.
    pub fn doors(&self) -> Vec<PathBuf> {
        self.folders().iter().map(|f| f.join("cgroup.procs")).collect()
    }

    fn make(&self, limits: &Limits) -> Result<(), ExecutorError> {
        for folder in self.folders() {
            fs::create_dir_all(folder).map_err(ExecutorError::io(format!("cannot make {}", folder.display())))?;
        }
        let set = |folder: &Path, file: &str, value: String| {
            let file = folder.join(file);
            fs::write(&file, value).map_err(ExecutorError::io(format!("cannot set {}", file.display())))
        };
        let (memory, pids) = match self {
            Self::V2 { group } => (
                (group.as_path(), "memory.max", "memory.swap.max"),
                Some(group.as_path()),
            ),
            Self::V1 { memory, pids, .. } => (
                (memory.as_path(), "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
                pids.as_deref(),
            ),
        };
        if let Some(limit) = limits.memory {
            let (folder, real, swap) = memory;
            set(folder, real, limit.to_string())?;
            // Version 1 bounds memory with swap, version 2 the swap alone. A kernel without swap accounting has no file.
            if folder.join(swap).exists() {
                let bound = if matches!(self, Self::V2 { .. }) { 0 } else { limit };
                set(folder, swap, bound.to_string())?;
            }
        }
        if let (Some(limit), Some(folder)) = (limits.processes, pids) {
            set(folder, "pids.max", limit.to_string())?;
        }
        Ok(())
    }

    /// Every process in the groups, deepest view first.
    pub fn processes(&self) -> Vec<u32> {
        let folder = match self {
            Self::V2 { group } => group,
            Self::V1 { freezer, .. } => freezer,
        };
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Freezes all processes, or lets them go on.
    pub fn freeze(&self, frozen: bool) -> Result<(), ExecutorError> {
        let (file, value) = match self {
            Self::V2 { group } => (group.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
            Self::V1 { freezer, .. } => (freezer.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" }),
        };
        let failed = || ExecutorError::io(format!("cannot write {}", file.display()));
        fs::write(&file, value).map_err(failed())?;
        // Version 1 reports FREEZING until the last process stands still.
        for _ in 0..200 {
            if !frozen || self.is_frozen() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(ExecutorError::CannotSignal {
            what: "paused",
            cause: "its processes do not come to a stand".into(),
        })
    }

    pub fn is_frozen(&self) -> bool {
        let read = |file: PathBuf| fs::read_to_string(file).unwrap_or_default();
        match self {
            Self::V2 { group } => read(group.join("cgroup.events")).lines().any(|line| line == "frozen 1"),
            Self::V1 { freezer, .. } => read(freezer.join("freezer.state")).trim() == "FROZEN",
        }
    }

    /// Whether the kernel has killed for want of memory within the limit.
    pub fn out_of_memory(&self) -> bool {
        let file = match self {
            Self::V2 { group } => group.join("memory.events"),
            Self::V1 { memory, .. } => memory.join("memory.oom_control"),
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .any(|line| line.strip_prefix("oom_kill ").is_some_and(|n| n.trim() != "0"))
    }

    /// Highest memory use, bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        let file = match self {
            Self::V2 { group } => group.join("memory.peak"),
            Self::V1 { memory, .. } => memory.join("memory.max_usage_in_bytes"),
        };
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Processor time of all that ever were in the groups, seconds.
    pub fn cpu_s(&self) -> Option<f64> {
        let (text, unit) = match self {
            Self::V2 { group } => {
                let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
                (
                    text.lines()
                        .find_map(|line| line.strip_prefix("usage_usec ").map(str::to_owned))?,
                    1e-6,
                )
            }
            Self::V1 { cpuacct, .. } => (fs::read_to_string(cpuacct.as_ref()?.join("cpuacct.usage")).ok()?, 1e-9),
        };
        Some(text.trim().parse::<f64>().ok()? * unit)
    }

    /// Removes the empty groups; true when all are gone.
    pub fn remove(&self) -> bool {
        self.folders().into_iter().fold(true, |all, folder| {
            let gone = !folder.exists() || fs::remove_dir(folder).is_ok();
            all && gone
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

    #[test]
    fn a_hybrid_machine_whose_second_version_has_no_controllers_uses_the_first() {
        let own = "6:freezer:/\n4:memory:/a/b\n0::/\n";
        let found = Hierarchies::of(V1_MOUNTS, own, |_| "hugetlb\n".into());
        let Hierarchies::V1 {
            memory, freezer, pids, ..
        } = found
        else {
            panic!("{found:?}");
        };
        assert_eq!(memory, Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(freezer, Path::new("/sys/fs/cgroup/freezer/"));
        assert_eq!(pids, None);
    }

    #[test]
    fn a_machine_with_the_second_version_uses_it_below_its_own_group() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let found = Hierarchies::of(mounts, "0::/system.slice/alidade.service\n", |_| {
            "cpu memory pids\n".into()
        });
        let own = PathBuf::from("/sys/fs/cgroup/system.slice/alidade.service");
        assert_eq!(found, Hierarchies::V2 { own });
        assert!(matches!(
            Hierarchies::of("", "", |_| String::new()),
            Hierarchies::None { .. }
        ));
    }

    #[test]
    fn the_second_version_is_read_and_written_by_its_own_names() {
        let folder = std::env::temp_dir().join(format!("alidade-cgroup-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let group = Groups::V2 { group: folder.clone() };
        fs::write(folder.join("memory.swap.max"), "max").unwrap();
        let limits = Limits {
            memory: Some(1 << 20),
            processes: Some(7),
            ..Limits::default()
        };
        group.make(&limits).unwrap();
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(
            (read("memory.max"), read("memory.swap.max"), read("pids.max")),
            ("1048576".into(), "0".into(), "7".into())
        );
        fs::write(folder.join("memory.events"), "low 0\noom 1\noom_kill 1\n").unwrap();
        fs::write(folder.join("cpu.stat"), "usage_usec 2500000\nuser_usec 1\n").unwrap();
        fs::write(folder.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(group.out_of_memory() && group.is_frozen());
        assert_eq!(group.cpu_s(), Some(2.5));
        fs::remove_dir_all(&folder).unwrap();
    }
}
