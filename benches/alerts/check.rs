//! The readings against a corpus of notices with expected values: one JSON document on stdout.
//!
//! ```text
//! alert-check --corpus DIR [--orders N] [--seed S]
//! alert-check read FILE...        one line a file, as `alidade alert read --json` prints it
//! ```
//!
//! `DIR` holds any of: `public/manifest.json` and `heldout/manifest.json` (fields of each notice),
//! `malformed/manifest.json` (allowed verdicts), `merge/pairs.json` (which notices are of one event). Each pair is read
//! in N random orders of arrival. The exit code is 1 when a goal is missed: every field right, no packet acted upon that
//! must not be, every verdict allowed within a second and 32 MB, 95 % of the same events merged and no distinct ones, whatever the order.

#[path = "../../agents/alerts/tests/support/manifest.rs"]
mod manifest;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use alidade_alerts::event::{EventBook, MergeRules, Trust};
use alidade_alerts::report::Reader;
use alidade_alerts::{Channel, Verdict, read};
use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use manifest::{compare, faults_of_case, is_barred, text};
use serde_json::{Value, json};
use tokio::time::Instant;

fn main() -> Result<std::process::ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["read", files @ ..] = words.as_slice() {
        let mut reader = Reader::new(now());
        for file in files {
            println!("{}", serde_json::to_string(&reader.read(file, &std::fs::read(file)?))?);
        }
        return Ok(std::process::ExitCode::SUCCESS);
    }
    let (mut corpus, mut orders, mut seed) = (None, 20, 1);
    for pair in words.chunks(2) {
        match pair {
            ["--corpus", folder] => corpus = Some(PathBuf::from(folder)),
            ["--orders", count] => orders = count.parse()?,
            ["--seed", number] => seed = number.parse()?,
            _ => bail!("see the text at the top of benches/alerts/check.rs"),
        }
    }
    let corpus = corpus.context("--corpus DIR is missing")?;
    let mut good = true;
    let mut out = serde_json::Map::new();
    for set in ["public", "heldout"] {
        if corpus.join(set).join("manifest.json").is_file() {
            out.insert(set.into(), fields(&corpus.join(set), &mut good)?);
        }
    }
    if corpus.join("malformed/manifest.json").is_file() {
        out.insert("malformed".into(), malformed(&corpus.join("malformed"), &mut good)?);
    }
    if corpus.join("merge/pairs.json").is_file() {
        out.insert("merge".into(), merge(&corpus.join("merge"), orders, seed, &mut good)?);
    }
    if out.is_empty() {
        bail!("{}: no set of notices", corpus.display());
    }
    out.insert("goals_met".into(), good.into());
    println!("{}", serde_json::to_string_pretty(&Value::Object(out))?);
    Ok(if good {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    })
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_176_000, 0).unwrap_or_default()
}

fn document(path: &Path) -> Result<Value> {
    serde_json::from_slice(&std::fs::read(path)?).with_context(|| path.display().to_string())
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("a list is missing")
}

/// Every field of every notice, and what must not be acted upon though it were fresh.
fn fields(folder: &Path, good: &mut bool) -> Result<Value> {
    let manifest = document(&folder.join("manifest.json"))?;
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut notices, mut compared, mut acted, mut longest) = (0, 0, 0, Duration::ZERO);
    for entry in list(&manifest["files"])? {
        let (name, expected) = (text(entry, "file"), &entry["expected"]);
        let bytes = std::fs::read(folder.join(name))?;
        let started = Instant::now();
        let line = serde_json::to_value(Reader::new(now()).read(name, &bytes))?;
        longest = longest.max(started.elapsed());
        notices += 1;
        if !matches!(text(entry, "parse"), "" | "accept") {
            if line["verdict"] != "reject" && line["verdict"] != "ignore" {
                wrong
                    .entry("verdict".into())
                    .or_default()
                    .push(format!("{name}: {line}"));
            }
            continue;
        }
        let (count, differences) = compare(entry, &line);
        compared += count;
        for (field, sentence) in differences {
            wrong.entry(field.into()).or_default().push(sentence);
        }
        // As if it had just come: age must not be what keeps it back.
        let at = expected["event_time_utc"]
            .as_str()
            .and_then(|t| t.parse().ok())
            .unwrap_or_else(now);
        let fresh = Reader::new(at + chrono::Duration::seconds(30)).read(name, &bytes);
        acted += usize::from(fresh.verdict == Verdict::Act);
        if fresh.verdict == Verdict::Act && is_barred(expected) {
            wrong.entry("acted_upon".into()).or_default().push(name.to_string());
        }
    }
    *good &= wrong.is_empty() && longest < Duration::from_secs(1);
    Ok(
        json!({ "notices": notices, "fields_compared": compared, "would_act_when_fresh": acted,
        "longest_ms": millis(longest), "wrong": wrong }),
    )
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The verdict on each hostile packet; those of one sequence are one stream.
fn malformed(folder: &Path, good: &mut bool) -> Result<Value> {
    let manifest = document(&folder.join("manifest.json"))?;
    let (mut readers, mut wrong, mut longest) = (BTreeMap::new(), Vec::new(), Duration::ZERO);
    let cases = list(&manifest["cases"])?;
    // The highest mark of the resident memory begins anew (proc(5), clear_refs).
    let marked = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory_kb("VmRSS:");
    for case in cases {
        let name = text(case, "file");
        let stream = case["sequence"][0].as_str().unwrap_or(name).to_string();
        let bytes = std::fs::read(folder.join(name))?;
        let started = Instant::now();
        let reader = readers.entry(stream).or_insert_with(|| Reader::new(now()));
        let line = serde_json::to_value(reader.read(name, &bytes))?;
        longest = longest.max(started.elapsed());
        wrong.extend(faults_of_case(case, &line));
    }
    let grown_kb = memory_kb("VmHWM:").saturating_sub(before);
    *good &= wrong.is_empty() && longest < Duration::from_secs(1) && !(marked && grown_kb > 32 << 10);
    Ok(
        json!({ "cases": cases.len(), "longest_ms": millis(longest), "peak_growth_kb": marked.then_some(grown_kb),
        "wrong": wrong }),
    )
}

/// A line of this process's status, kilobytes.
fn memory_kb(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// SplitMix64 (Steele, Lea and Flood 2014): orders that can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, (self.next() % (end as u64 + 1)) as usize);
        }
    }
}

type Groups = BTreeSet<BTreeSet<String>>;

fn groups(readings: &[alidade_alerts::Reading]) -> Groups {
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    for reading in readings {
        book.insert(reading);
    }
    book.events().map(|e| e.notice_keys.into_iter().collect()).collect()
}

/// One or two events for each pair, in random orders of arrival; then all notices of all pairs at once.
fn merge(folder: &Path, orders: usize, seed: u64, good: &mut bool) -> Result<Value> {
    let pairs = document(&folder.join("pairs.json"))?;
    let mut dice = Dice(seed);
    let mut counts: BTreeMap<(String, bool), usize> = BTreeMap::new();
    let (mut apart, mut joined, mut unsteady) = (Vec::new(), Vec::new(), Vec::new());
    let mut all = BTreeMap::new();
    for pair in list(&pairs)? {
        let mut readings = Vec::new();
        for notice in list(&pair["events"])?
            .iter()
            .flat_map(|e| e["notices"].as_array())
            .flatten()
        {
            let name = notice.as_str().context("a name is missing")?;
            let channel = if name.ends_with(".json") {
                Channel::Json
            } else {
                Channel::Voevent
            };
            let reading = read(&std::fs::read(folder.join(name))?, channel, now());
            all.insert(name.to_string(), reading.clone());
            readings.push(reading);
        }
        let first = groups(&readings);
        for _ in 0..orders {
            dice.shuffle(&mut readings);
            if groups(&readings) != first {
                unsteady.push(pair["events"].clone());
                break;
            }
        }
        let label = text(pair, "label").to_string();
        match (label.as_str(), first.len()) {
            ("same", 2..) => apart.push(pair.clone()),
            ("distinct", 1) => joined.push(pair.clone()),
            _ => {}
        }
        *counts.entry((label, first.len() == 1)).or_default() += 1;
    }
    let mut everything: Vec<_> = all.into_values().collect();
    let together = groups(&everything);
    let mut steady = true;
    for _ in 0..orders.min(5) {
        dice.shuffle(&mut everything);
        steady &= groups(&everything) == together;
    }
    let count = |label: &str, merged: bool| counts.get(&(label.to_string(), merged)).copied().unwrap_or(0);
    let same = (count("same", true), count("same", true) + count("same", false));
    *good &= same.0 * 100 >= same.1 * 95 && joined.is_empty() && unsteady.is_empty() && steady;
    Ok(json!({ "orders_each": orders, "same_merged": same.0, "same": same.1,
        "distinct_merged": count("distinct", true), "distinct": count("distinct", true) + count("distinct", false),
        "order_dependent_pairs": unsteady, "apart_though_same": apart, "merged_though_distinct": joined,
        "all_at_once": { "notices": everything.len(), "events": together.len(), "order_independent": steady } }))
}
