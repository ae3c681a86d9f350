//! A strategy is changed while the daemon runs: checked, written where the others are, kept in the journal, obeyed.
//!
//! With a folder of strategies the new file replaces the one of its name there, which goes to `old/` with the moment and
//! the author in its name. A daemon that carries its strategies has no folder: there the journal is what a restart
//! reads the changes from.

use super::Daemon;
use crate::gateway::alerts::proposed;
use alidade_alerts::{
    agent::ChangeStrategies,
    record::{AlertRecords, KINDS},
    strategy::{Strategy, Syntax, from_text},
};
use alidade_model::{
    book::Book,
    journal::Fact,
    time::{JD_UNIX_EPOCH, UtcTime},
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Records are made again from so many days of the journal.
const DAYS: f64 = 60.0;

/// What the journal says of events and strategies.
pub fn records_before(
    store: &mut crate::store::Store,
    book: &Book,
    now: UtcTime,
) -> Result<AlertRecords, crate::store::StoreError> {
    let mut records = AlertRecords::default();
    let since = now.plus_seconds(-DAYS * 86_400.0);
    let mut entries = store.entries_of(KINDS, since)?;
    // A strategy holds until it is changed again, however long ago that was.
    let ever = UtcTime::from_julian_date(JD_UNIX_EPOCH).unwrap_or(since);
    entries.retain(|entry| !matches!(entry.fact, Fact::StrategyChanged { .. }));
    entries.extend(store.entries_of(&["strategy_changed"], ever)?);
    for entry in &entries {
        records.append(entry);
    }
    records.resume(book.requests());
    Ok(records)
}

/// Packets received from an instant on, with their own bytes.
pub fn packets_from(
    store: &mut crate::store::Store,
    from: UtcTime,
) -> Result<Vec<(Vec<u8>, UtcTime)>, crate::store::StoreError> {
    let ever = UtcTime::from_julian_date(JD_UNIX_EPOCH).unwrap_or(from);
    let mut packets = store.packets_since(from.max(ever), "act")?;
    packets.extend(store.packets_since(from.max(ever), "ignore")?);
    packets.sort_by_key(|packet| packet.seq);
    let bytes = |body: &str| alidade_alerts::agent::original_body(body);
    Ok(packets.iter().map(|p| (bytes(&p.body), p.received_at)).collect())
}

/// The carried strategies with what was changed since; a change that this version cannot read any more is left out.
pub fn with_changes(carried: Vec<Strategy>, records: &AlertRecords) -> Vec<Strategy> {
    let mut strategies = carried;
    for change in records.changes() {
        let Ok(new) = from_text(&change.text, Syntax::guess(&change.text)) else {
            continue;
        };
        match strategies.iter_mut().find(|known| known.name == new.name) {
            Some(known) if known.version < new.version => *known = new,
            Some(_) => {}
            None => strategies.push(new),
        }
    }
    strategies
}

/// Puts a strategy in force; a sentence when it is not.
pub async fn change(daemon: &Daemon, text: String, who: String) -> Result<(), String> {
    let current = daemon.published.alerts.borrow().strategies.clone();
    let (new, strategies, replaced) = proposed(&text, &current).map_err(|lines| lines.join("; "))?;
    let before = match &daemon.strategy_folder {
        None => replaced.map(|old| format!("{} v{}, carried by the daemon", old.name, old.version)),
        Some(folder) => {
            let (folder, text, who, name) = (folder.clone(), text.clone(), who.clone(), new.name.clone());
            let at = daemon.recorder.now();
            let written = tokio::task::spawn_blocking(move || write(&folder, &name, &text, &who, at)).await;
            written
                .map_err(|e| e.to_string())?
                .map_err(|e| format!("the strategy was not written: {e}"))?
        }
    };
    daemon.recorder.record(Fact::StrategyChanged {
        strategy: new.name.clone(),
        version: new.version,
        who: who.clone(),
        text,
        replaced: before,
    });
    let change = ChangeStrategies { strategies, who };
    daemon.alerts.send(change).await.map_err(|e| e.to_string())
}

/// The file of a strategy in a folder.
fn file_of(folder: &Path, name: &str) -> io::Result<Option<(PathBuf, String)>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(syntax) = Syntax::of(&path) else { continue };
        let text = fs::read_to_string(&path)?;
        if from_text(&text, syntax).is_ok_and(|known| known.name == name) {
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}

/// Writes a strategy's file; the one before it is kept, and given back.
fn write(folder: &Path, name: &str, text: &str, who: &str, at: UtcTime) -> io::Result<Option<String>> {
    let extension = match Syntax::guess(text) {
        Syntax::Toml => "toml",
        Syntax::Yaml => "yaml",
    };
    let known = file_of(folder, name)?;
    let path = match &known {
        Some((path, _)) => path.with_extension(extension),
        None => folder.join(format!("50-{name}.{extension}")),
    };
    if let Some((file, old)) = &known {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || ".-".contains(c) {
                c
            } else {
                '_'
            }
        };
        let author: String = who.chars().map(plain).take(40).collect();
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or("toml");
        let stamp = at.chrono().format("%Y%m%dT%H%M%S");
        fs::create_dir_all(folder.join("old"))?;
        let kept = folder
            .join("old")
            .join(format!("{name}-until-{stamp}-by-{author}.{ending}"));
        whole(&kept, old.as_bytes(), true)?;
    }
    whole(&path, text.as_bytes(), true)?;
    match known {
        Some((file, old)) => {
            if file != path {
                fs::remove_file(file)?;
            }
            Ok(Some(old))
        }
        None => Ok(None),
    }
}

/// A file that is there whole or not at all, with `durable` also after a loss of power.
pub fn whole(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    let aside = folder.join(name);
    let mut file = fs::File::create(&aside)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&aside, path)?;
    if durable {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> UtcTime {
        "2026-03-14T23:32:10Z".parse().unwrap()
    }

    const TOML: &str = include_str!("../../config/strategies/90-test.toml");

    #[test]
    fn the_file_of_its_name_is_replaced_and_the_old_one_kept_with_its_author() {
        let folder = std::env::temp_dir().join(format!("alidade-strategies-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("90-test.toml"), TOML).unwrap();
        let newer = TOML.replace("version = 1", "version = 2");
        let old = write(&folder, "test", &newer, "token from 10.0.0.7", at()).unwrap();
        assert_eq!(old.as_deref(), Some(TOML));
        assert_eq!(fs::read_to_string(folder.join("90-test.toml")).unwrap(), newer);
        let kept = folder.join("old/test-until-20260314T233210-by-token_from_10.0.0.7.toml");
        assert_eq!(fs::read_to_string(kept).unwrap(), TOML);
        let other = TOML.replace("name = \"test\"", "name = \"mine\"");
        assert_eq!(write(&folder, "mine", &other, "x", at()).unwrap(), None);
        assert_eq!(alidade_alerts::strategy::load_folder(&folder).unwrap().len(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
