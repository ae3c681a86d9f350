//! The log: what the program tells whoever runs it, line by line on standard error.
//!
//! Nobody waits for it and nothing ends because of it. Lines go through a queue to a thread of their own: where standard
//! error is not read (a stopped terminal, a supervisor that hangs) the queue fills up and what comes then is counted instead
//! of waited for; where its reader has gone, lines are dropped. So the roof closes in the turn that says so, read or not.
//!
//! [`say`] tells a text as it is. Events of `tracing` are told once [`follow`] was called, each on one line with its instant,
//! its level and its place; to systemd's journal, which notes the instant itself, with the level as it reads it
//! (sd-daemon(3)). `ALIDADE_LOG` chooses: `error`, `warn`, `info`, `debug`, `trace` or `off`, for everything or for a
//! place and what lies below it (`warn,alidade::night=debug`). Unless told otherwise: information of ours, warnings of the
//! libraries.
//!
//! What a device, a packet or a person has said stays within its line: characters that would begin another one or steer a
//! terminal are escaped.

use crate::{clock::utc_now, error::CliError};
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::{self, Display},
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
    layer::SubscriberExt,
};

/// Lines that wait for a reader.
const MOST_WAITING: usize = 2048;
/// Characters of an event: with the lines that may wait, some megabytes.
const LONGEST_EVENT: usize = 2000;
/// How long the end of the program waits for the last lines to be read.
const LAST_WORDS: Duration = Duration::from_millis(500);
const CHOICE: &str = "ALIDADE_LOG";

enum Message {
    Line(String),
    /// Answered when everything before it is written.
    Written(SyncSender<()>),
}

struct Mouth {
    lines: SyncSender<Message>,
    lost: AtomicU64,
}

static MOUTH: OnceLock<Mouth> = OnceLock::new();

impl Mouth {
    fn get() -> &'static Self {
        MOUTH.get_or_init(|| {
            let (lines, received) = sync_channel(MOST_WAITING);
            let thread = std::thread::Builder::new().name("log".into());
            // Without the thread the lines have no receiver, and are lost like those that nobody reads.
            drop(thread.spawn(move || write(&received)));
            Self {
                lines,
                lost: AtomicU64::new(0),
            }
        })
    }

    fn tell(&self, line: String) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(received: &Receiver<Message>) {
    // A handle of its own: a write that hangs must not hold the lock that everybody else's standard error has.
    let Ok(mut out) = io::stderr().as_fd().try_clone_to_owned().map(File::from) else {
        return;
    };
    for message in received {
        match message {
            // A closed standard error is nobody to tell.
            Message::Line(line) => drop(out.write_all(line.as_bytes())),
            Message::Written(done) => drop(done.send(())),
        }
        let lost = Mouth::get().lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            drop(writeln!(out, "{lost} lines of the log were lost: nobody read them"));
        }
    }
}

/// Tells a text on standard error, each of its lines on one.
pub fn say(text: impl Display) {
    for line in text.to_string().lines() {
        Mouth::get().tell(format!("{}\n", contained(line)));
    }
}

/// Waits a little for what was said to be written; the last thing that the program does.
pub fn finish() {
    let Some(mouth) = MOUTH.get() else { return };
    let (done, written) = sync_channel(1);
    if mouth.lines.try_send(Message::Written(done)).is_ok() {
        // Not in time, or the thread is gone: then nobody reads.
        let _ = written.recv_timeout(LAST_WORDS);
    }
}

/// Control characters as a programmer writes them.
fn contained(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// From now on events of `tracing` are told, and a panic with them. Refuses an `ALIDADE_LOG` that it does not understand.
pub fn follow() -> Result<(), CliError> {
    let choice = std::env::var(CHOICE).unwrap_or_default();
    let targets = chosen(&choice).ok_or_else(|| {
        CliError::bad_input(format!(
            "{CHOICE}={choice:?}: neither error, warn, info, debug, trace nor off, nor PLACE=LEVEL, with commas between them"
        ))
    })?;
    let journal = is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let pens = Pens { journal };
    let told = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // Otherwise it complains of a closed standard error on standard error, which is a panic.
        .log_internal_errors(false)
        .with_level(!journal)
        .with_writer(pens);
    let told = match journal {
        true => told.without_time().boxed(),
        false => told.with_timer(Utc).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(told.with_filter(targets));
    // Somebody else's was there first: tests that run a daemon within their own process.
    drop(tracing::subscriber::set_global_default(subscriber));
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let urgent = pens.mark(Level::ERROR);
        // The default hook would wait for the reader of standard error.
        let told = format!("thread '{}' {panic}", thread.name().unwrap_or("?"));
        Mouth::get().tell(format!("{urgent}{}\n", contained(&told)));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            say(trace);
        }
        // It may be the end of the program.
        finish();
    }));
    Ok(())
}

fn chosen(choice: &str) -> Option<Targets> {
    let choice = choice.trim();
    if choice.is_empty() {
        let ours = Targets::new().with_target("alidade", LevelFilter::INFO);
        return Some(ours.with_default(LevelFilter::WARN));
    }
    let parts: Vec<&str> = choice.split(',').map(str::trim).collect();
    // A lone word that is no level would be read as a place, and silence everything else.
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let sound = |part: &&str| part.contains('=') || is_level(part);
    parts.iter().all(sound).then(|| parts.join(",").parse().ok()).flatten()
}

/// Whether standard error leads to systemd's journal: the stream has the device and inode that systemd says.
fn is_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|found| device.parse() == Ok(found.st_dev) && inode.parse() == Ok(found.st_ino))
}

/// What the journal reads at the beginning of a line (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        write!(to, "{}", utc_now().format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

#[derive(Clone, Copy)]
struct Pens {
    journal: bool,
}

impl Pens {
    /// What a line of this level begins with.
    fn mark(self, level: Level) -> &'static str {
        if self.journal { priority(level) } else { "" }
    }
}

/// Writes one event, which comes in one piece.
struct Pen(&'static str);

impl<'a> MakeWriter<'a> for Pens {
    type Writer = Pen;

    fn make_writer(&'a self) -> Pen {
        Pen("")
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Pen {
        Pen(self.mark(*event.level()))
    }
}

impl Write for Pen {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = contained(text.trim_end_matches('\n'));
        if let Some((end, _)) = line.char_indices().nth(LONGEST_EVENT) {
            line.truncate(end);
            line.push_str(" ...");
        }
        Mouth::get().tell(format!("{}{line}\n", self.0));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_by_others_stays_within_its_line() {
        let nasty = "rain\r\n<0>roof open\u{1b}[2K\u{7f}\u{9b}Aé°";
        assert_eq!(contained(nasty), "rain\\r\\n<0>roof open\\u{1b}[2K\\u{7f}\\u{9b}Aé°");
    }

    #[test]
    fn a_choice_is_levels_for_places_and_anything_else_is_refused() {
        let enabled = |choice: &str, place: &str, level| chosen(choice).unwrap().would_enable(place, &level);
        assert!(enabled("", "alidade_alerts::agent", Level::INFO) && !enabled("", "alidade::night", Level::DEBUG));
        assert!(enabled("", "actix_server", Level::WARN) && !enabled("", "actix_server", Level::INFO));
        let night = "warn, alidade::night=debug";
        assert!(enabled(night, "alidade::night", Level::DEBUG) && !enabled(night, "alidade::gateway", Level::INFO));
        assert!(!enabled("off", "alidade::night", Level::ERROR));
        for refused in ["verbose", "info,", "alidade::night=loud", "warn;debug"] {
            assert!(chosen(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn only_the_stream_that_systemd_names_is_its_journal() {
        let own = rustix::fs::fstat(io::stderr()).unwrap();
        assert!(is_journal(Some(&format!("{}:{}", own.st_dev, own.st_ino))));
        assert!(!is_journal(Some(&format!("{}:{}", own.st_dev, own.st_ino + 1))));
        assert!(!is_journal(Some("9")) && !is_journal(None));
    }
}
