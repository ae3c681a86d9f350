//! Slurm on one node, on private ports and folders; ended by the numbers of its processes.

#[path = "../../../../drivers/tests/support/ports.rs"]
mod ports;

use ports::free_port;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running slurmctld and slurmd with a munged of their own.
pub struct Slurm {
    folder: PathBuf,
    children: Vec<Child>,
}

fn private(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

impl Slurm {
    /// Starts one and waits until its node is idle. Debian's packages slurmctld, slurmd, slurm-client and munge.
    pub fn start() -> Self {
        // munged wants every folder above its socket to be nobody else's to write; the temporary folder's sticky bit will do.
        let folder = std::env::temp_dir().join(format!("alidade-slurm-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let mut it = Self {
            folder,
            children: Vec::new(),
        };
        it.munged();
        let conf = it.write_conf();
        let file = conf.to_str().unwrap().to_owned();
        it.spawn("slurmctld", &["-D", "-f", &file]);
        it.spawn("slurmd", &["-D", "-f", &file]);
        for _ in 0..600 {
            let said = Command::new("sinfo")
                .args(["-h", "-o", "%t"])
                .env("SLURM_CONF", &conf)
                .output()
                .unwrap();
            if String::from_utf8_lossy(&said.stdout).trim() == "idle" {
                return it;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        panic!("slurm does not come up: {}", it.logs());
    }

    pub fn conf(&self) -> PathBuf {
        self.folder.join("slurm.conf")
    }

    fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        ["munged.out", "slurmctld.out", "slurmd.out"]
            .iter()
            .map(|name| read(name))
            .collect()
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let out = fs::File::create(self.folder.join(format!("{program}.out"))).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.conf())
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        self.children.push(child);
    }

    fn munged(&mut self) {
        private(&self.folder.join("munge"));
        let at = |part: &str| self.folder.join("munge").join(part).to_str().unwrap().to_owned();
        let mut key = vec![0_u8; 1024];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut key).unwrap();
        fs::write(at("key"), key).unwrap();
        fs::set_permissions(at("key"), fs::Permissions::from_mode(0o600)).unwrap();
        let socket = self.folder.join("socket");
        fs::create_dir_all(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o755)).unwrap();
        let arguments = [
            "--foreground".to_owned(),
            "--force".into(),
            format!("--key-file={}", at("key")),
            format!("--socket={}", socket.join("munge.sock").display()),
            format!("--pid-file={}", at("pid")),
            format!("--log-file={}", at("log")),
            format!("--seed-file={}", at("seed")),
        ];
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.spawn("munged", &words);
        for _ in 0..400 {
            if socket.join("munge.sock").exists() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(25));
        }
        panic!("munged does not come up: {}", self.logs());
    }

    fn write_conf(&self) -> PathBuf {
        let name = fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap()
            .trim()
            .to_owned();
        let place = |part: &str| self.folder.join(part).display().to_string();
        for part in ["state", "spool"] {
            fs::create_dir_all(self.folder.join(part)).unwrap();
        }
        let text = format!(
            "ClusterName=alidade\nSlurmctldHost={name}(127.0.0.1)\nSlurmctldPort={}\nSlurmdPort={}\nSlurmUser=root\n\
             SlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={}\nCredType=cred/munge\nStateSaveLocation={}\n\
             SlurmdSpoolDir={}\nSlurmctldPidFile={}\nSlurmdPidFile={}\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSchedulerType=sched/builtin\nReturnToService=2\n\
             MpiDefault=none\nSwitchType=switch/none\nKillWait=2\nSchedulerParameters=batch_sched_delay=0,sched_interval=1\n\
             NodeName={name} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=main Nodes={name} Default=YES MaxTime=INFINITE State=UP\n",
            free_port(),
            free_port(),
            place("socket/munge.sock"),
            place("state"),
            place("spool"),
            place("slurmctld.pid"),
            place("slurmd.pid"),
        );
        fs::write(self.conf(), text).unwrap();
        self.conf()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            drop(child.kill());
            drop(child.wait());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}
