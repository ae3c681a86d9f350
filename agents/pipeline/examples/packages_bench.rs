//! Figures: what an executor adds to a bare spawn, what an upload writes a second below HTTP, and how soon a line of a log is
//! seen. Every figure has its peer in the same run; medians of many, in milliseconds of elapsed time.

#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "it measures elapsed time")]

use alidade_model::time::UtcTime;
use alidade_pipeline::{
    executors::{AttemptSpec, BubblewrapExecutor, Executor, ProcessExecutor, cgroup::Hierarchies},
    packages::desk::tail,
    upload::{UploadKind, Uploads},
};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const ROUNDS: usize = 200;

fn epoch() -> UtcTime {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn quantiles(mut all: Vec<f64>) -> serde_json::Value {
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
    serde_json::json!({ "median_ms": at(0.5), "p95_ms": at(0.95), "min_ms": at(0.0), "count": all.len() })
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// Prepare, start, wait, clean up.
fn executor(it: &dyn Executor, folder: &Path, name: &str) -> serde_json::Value {
    let rounds = (0..ROUNDS).map(|round| {
        let id = format!("bench-{name}-{}-{round}", std::process::id());
        let spec = AttemptSpec::new(&id, folder.join(&id), &["/bin/true"]);
        milliseconds(|| {
            it.prepare(&spec).unwrap();
            let ticket = it.start(&spec, epoch()).unwrap();
            it.wait(&ticket, epoch(), Duration::from_secs(10)).unwrap();
            it.cleanup(&ticket).unwrap();
        })
    });
    quantiles(rounds.collect())
}

fn log_latency(folder: &Path) -> serde_json::Value {
    let id = format!("bench-log-{}", std::process::id());
    let script = "n=0; while [ $n -lt 100 ]; do date +%s.%N; sleep 0.03; n=$((n+1)); done";
    let spec = AttemptSpec::new(&id, folder.join(&id), &["/bin/sh", "-c", script]);
    let it = BubblewrapExecutor::detect().unwrap();
    it.prepare(&spec).unwrap();
    let ticket = it.start(&spec, epoch()).unwrap();
    let (mut from, mut seen) = (0, Vec::new());
    while seen.len() < 100 {
        // As the gateway follows: a look every 50 ms.
        std::thread::sleep(Duration::from_millis(50));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let (text, next) = tail(&spec.logs_dir().join("out.log"), from, 1 << 18).unwrap();
        from = next;
        seen.extend(
            text.lines()
                .filter_map(|line| line.parse::<f64>().ok())
                .map(|at| (now - at) * 1e3),
        );
    }
    it.wait(&ticket, epoch(), Duration::from_secs(10)).unwrap();
    it.cleanup(&ticket).unwrap();
    quantiles(seen)
}

fn upload_rate(folder: &Path) -> serde_json::Value {
    let total = 1_u64 << 30;
    let it = Uploads::open(&folder.join("uploads"), total, 3600.0).unwrap();
    it.create("a", Some(total), "", UploadKind::Whole, epoch()).unwrap();
    let piece = vec![7_u8; 1 << 20];
    let mut session = it.begin("a", 0, None, None, epoch()).unwrap();
    let written = milliseconds(|| (0..total >> 20).for_each(|_| session.write(&piece).unwrap()));
    let synced = milliseconds(|| assert_eq!(session.finish(true).unwrap(), total));
    let rate = |ms: f64| total as f64 / 1e6 / (ms / 1e3);
    serde_json::json!({ "mb_per_s": rate(written), "mb_per_s_with_sync": rate(written + synced) })
}

fn main() {
    let folder = std::env::temp_dir().join(format!("alidade-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let bare = quantiles(
        (0..ROUNDS)
            .map(|_| milliseconds(|| assert!(Command::new("/bin/true").status().unwrap().success())))
            .collect(),
    );
    let shell = quantiles(
        (0..ROUNDS)
            .map(|_| {
                milliseconds(|| {
                    let status = Command::new("/bin/sh").args(["-c", "(exec /bin/true)"]).status();
                    assert!(status.unwrap().success());
                })
            })
            .collect(),
    );
    let sandbox = BubblewrapExecutor::detect().unwrap();
    let without = sandbox.clone().with_hierarchies(Hierarchies::None {
        cause: "measured".into(),
    });
    let all = serde_json::json!({
        "bare_spawn": bare,
        "shell_spawn": shell,
        "process": executor(&ProcessExecutor, &folder, "p"),
        "bubblewrap": executor(&sandbox, &folder, "b"),
        "bubblewrap_without_groups": executor(&without, &folder, "w"),
        "upload_below_http": upload_rate(&folder),
        "log_line_seen": log_latency(&folder),
    });
    println!("{all:#}");
    fs::remove_dir_all(&folder).unwrap();
}
