//! `alidade status`: what is it doing, why, until when, what next.

use super::{
    CliError,
    remote::{DaemonArgs, Remote},
};
use serde_json::Value;
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// What the running daemon does, why, until when, and what comes next.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Go on, once a second, until interrupted
    #[arg(long)]
    watch: bool,
    /// The whole snapshot as JSON; with --watch one line a second
    #[arg(long)]
    json: bool,
}

pub fn run(args: &StatusArgs, stdout: &mut dyn Write) -> Result<u8, CliError> {
    let remote = Remote::of(&args.daemon)?;
    let told = |e: std::io::Error| CliError::failed(e.to_string());
    let repaint = args.watch && !args.json && std::io::stdout().is_terminal();
    let mut shown = String::new();
    loop {
        let snapshot = remote.get("/api/v1/status")?;
        if args.json {
            let text = if args.watch {
                snapshot.to_string()
            } else {
                format!("{snapshot:#}")
            };
            writeln!(stdout, "{text}").map_err(told)?;
        } else {
            let text = sentence(&snapshot);
            if repaint {
                write!(stdout, "\x1b[2J\x1b[H{text}").map_err(told)?;
            } else if text != shown {
                write!(stdout, "{text}").map_err(told)?;
            }
            shown = text;
        }
        stdout.flush().map_err(told)?;
        if !args.watch {
            return Ok(0);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The snapshot in some lines for people.
fn sentence(snapshot: &Value) -> String {
    let word = |pointer: &str| match snapshot.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        _ => "-".to_owned(),
    };
    let clock = |pointer: &str| {
        let text = word(pointer);
        text.get(11..16)
            .map_or_else(|| "nothing ends it by itself".to_owned(), |t| format!("{t} UTC"))
    };
    let state = word("/safety/state");
    let reasons: Vec<&str> = snapshot
        .pointer("/safety/reasons")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let safety = if reasons.is_empty() {
        state
    } else {
        format!("{state}: {}", reasons.join("; "))
    };
    format!(
        "{}  {}\n  because  {}\n  until    {}\n  next     {}\n  changes  {}\n  safety   {}\n  roof     {}, mount {}\n",
        word("/now").get(..19).unwrap_or("-").replace('T', " "),
        word("/sentence/doing"),
        word("/sentence/why"),
        clock("/sentence/until"),
        word("/sentence/next"),
        word("/sentence/would_change"),
        safety,
        word("/enclosure/state"),
        word("/mount/state"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_becomes_a_sentence_and_what_is_missing_a_dash() {
        let text = sentence(&serde_json::json!({
            "now": "2026-03-14T22:41:03.000000Z",
            "sentence": { "doing": "observing M 101", "why": "r42-1 is due", "until": "2026-03-14T22:51:00Z", "next": "M 105" },
            "safety": { "state": "unsafe", "reasons": ["rain_mm_h 2.0 above 0"] },
        }));
        assert!(text.starts_with("2026-03-14 22:41:03  observing M 101\n"), "{text}");
        assert!(
            text.contains("until    22:51 UTC") && text.contains("unsafe: rain_mm_h 2.0 above 0"),
            "{text}"
        );
        assert!(text.contains("changes  -\n"), "{text}");
    }
}
