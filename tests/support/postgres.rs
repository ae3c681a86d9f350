//! A private PostgreSQL: own folder, own port, gone at the end.
//!
//! The server is the child of a shell that waits for the end of its standard input, so that it is stopped (by its
//! process id) and its folder removed when the test drops it and also when the test process is killed. The server
//! refuses to run as root; then it runs as the user `postgres` of Debian's package. A missing PostgreSQL is a failure.

use super::ports::free_port;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

/// A running server.
pub struct Postgres {
    shell: Child,
    bin: PathBuf,
    port: u16,
    databases: AtomicU32,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The server that the running tests of this program share; the last of them stops it.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts a server and waits until it says that it is ready.
    pub fn start() -> Self {
        let bin = installed();
        let mut last = String::new();
        // Between finding a free port and the server's use of it, somebody else may take it.
        for _ in 0..3 {
            let port = free_port();
            match start_on(&bin, port) {
                Ok(shell) => {
                    return Self {
                        shell,
                        bin,
                        port,
                        databases: AtomicU32::new(0),
                    };
                }
                Err(said) => last = said,
            }
        }
        panic!("PostgreSQL does not start:\n{last}");
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.tool("createdb", &[&name]);
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://alidade@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs one statement in a database and returns what it printed, unadorned.
    #[allow(dead_code)]
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let name = database.rsplit('/').next().unwrap_or(database);
        self.tool("psql", &["-AtqX", "-v", "ON_ERROR_STOP=1", "-d", name, "-c", statement])
    }

    fn tool(&self, tool: &str, args: &[&str]) -> String {
        let output = Command::new(self.bin.join(tool))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "alidade"])
            .args(args)
            .output()
            .unwrap_or_else(|e| panic!("{tool}: {e}"));
        assert!(
            output.status.success(),
            "{tool} {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Arguments: programs' folder, port. Prints the server's messages and stops it at the end of standard input.
const SCRIPT: &str = r#"
set -e
dir=$(mktemp -d /tmp/alidade-postgres.XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
"$0/initdb" -D "$dir/data" -U alidade -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
"$0/postgres" -D "$dir/data" -p "$1" -k "$dir" -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=50 </dev/null &
pid=$!
trap 'kill -INT $pid 2>/dev/null; wait $pid; rm -rf "$dir"' EXIT
read -r _ || true
"#;

fn start_on(bin: &Path, port: u16) -> Result<Child, String> {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh", "-c", SCRIPT]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]);
        command
    };
    let mut shell = command
        .arg(bin)
        .arg(port.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start a shell: {e}"))?;
    let mut said = String::new();
    let mut lines = BufReader::new(shell.stderr.take().ok_or("no standard error")?).lines();
    for line in lines.by_ref().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.contains("ready to accept connections") {
            // A server whose messages nobody reads would stop at a full pipe.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok(shell);
        }
    }
    drop(shell.stdin.take());
    let _ = shell.wait();
    Err(said)
}

/// The folder with the newest server's programs.
fn installed() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("postgres").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, bin)| bin);
    newest.expect("PostgreSQL is not installed: apt-get install postgresql")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id -u");
    output.stdout.trim_ascii() == b"0"
}
