//! The store on an SQLite file, on SQLite in memory and on a real PostgreSQL: the same facts, the same answers.

mod schema;
mod targets;

use crate::support::{
    facts::{self, walk},
    postgres::Postgres,
};
use alidade::store::{
    Durability, OpenOptions, Store, StoreError,
    installation::{Channel, StrategyText, Telescope},
    migrations::Migrations,
    queries::Verdict,
};
use alidade_accounts::{
    Change, Desk, Permission, Refused, Register, Role,
    desk::{By, Profile},
    record::{AuditLine, Deed},
};
use alidade_model::{
    journal::{Entry, Fact},
    time::{Night, UtcTime},
};
use proptest::prelude::*;
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

const WRITING: OpenOptions = OpenOptions {
    migrate: true,
    durability: Durability::Relaxed,
};

/// A private folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "alidade-store-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.join("a.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a check on each kind of database, each new and empty.
fn on_each(check: impl Fn(&str)) {
    let folder = Folder::new();
    let server = Postgres::shared();
    for url in ["sqlite::memory:".into(), folder.url(), server.database()] {
        check(&url);
    }
}

/// The kinds that outlive their connection.
fn on_each_kept(check: impl Fn(&str)) {
    on_each(|url| {
        if url != "sqlite::memory:" {
            check(url);
        }
    });
}

fn open(url: &str) -> Store {
    Store::open(url, WRITING).unwrap()
}

/// A fixed long walk that takes every step of the walker many times.
fn long_walk() -> facts::Walk {
    // Knuth's linear congruential generator (MMIX); its high bits are good.
    let mut state = 20_260_314_u64;
    let steps: Vec<u16> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 48) as u16
    })
    .take(600)
    .collect();
    walk(&steps)
}

fn started(seq: u64) -> Entry {
    let at = UtcTime::from_unix_micros(1_773_511_200_000_000 + seq as i64).unwrap();
    let fact = Fact::Started {
        version: "1".into(),
        site: "ohp".into(),
        unit: "u".into(),
        boot: seq as u32,
    };
    Entry { seq, at, fact }
}

fn compare(store: &mut Store, end: &facts::Walk) {
    let restored = store.restore().unwrap();
    assert_eq!(restored.last_seq, end.entries.len() as u64);
    assert_eq!(restored.boots, end.boots);
    assert_eq!(restored.book, end.book);
    assert!(restored.book.ledger().is_balanced());
    let mut open = restored.open_exposures;
    open.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(open, end.open_exposures.values().cloned().collect::<Vec<_>>());
    assert_eq!(restored.seen_packets, end.packets);
    assert_eq!(restored.latest_schedule, end.schedule);
    assert_eq!(
        restored
            .events
            .iter()
            .map(|(id, e)| (id.clone(), e.state))
            .collect::<Vec<_>>(),
        pairs(&end.events)
    );
    assert_eq!(
        restored
            .runs
            .iter()
            .map(|(id, r)| (id.clone(), r.state))
            .collect::<Vec<_>>(),
        pairs(&end.runs)
    );
    assert_eq!(
        restored
            .units
            .iter()
            .map(|(id, u)| (id.clone(), u.state))
            .collect::<Vec<_>>(),
        pairs(&end.units)
    );
    // Every accepted packet is in exactly one event (OBS-8).
    let mut members: Vec<_> = restored
        .events
        .values()
        .flat_map(|event| event.packets.clone())
        .collect();
    members.sort();
    assert_eq!(members, end.packets.iter().cloned().collect::<Vec<_>>());
    assert_eq!(&store.balances().unwrap(), end.book.ledger().balances());
    let lines = store.journal_page(0, u32::MAX).unwrap();
    assert_eq!(
        lines.iter().map(|line| line.entry().unwrap()).collect::<Vec<_>>(),
        end.entries
    );
}

fn pairs<V: Clone>(map: &std::collections::BTreeMap<String, V>) -> Vec<(String, V)> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn whatever_happens_both_databases_restore_what_was_in_memory() {
    let folder = Folder::new();
    let server = Postgres::shared();
    let postgres = server.database();
    let runner_config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(runner_config);
    let steps = prop::collection::vec(any::<u16>(), 0..150);
    runner
        .run(&(steps, 1usize..40), |(steps, batch)| {
            let end = walk(&steps);
            for url in ["sqlite::memory:", &folder.url(), &postgres] {
                let mut schema = Migrations::open(url, true).unwrap();
                schema.revert(usize::MAX).unwrap();
                schema.apply().unwrap();
                drop(schema);
                let mut store = open(url);
                for some in end.entries.chunks(batch) {
                    store.append(some).unwrap();
                }
                compare(&mut store, &end);
                if url != "sqlite::memory:" {
                    drop(store);
                    compare(&mut open(url), &end);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_append_that_is_repeated_changes_nothing() {
    let end = long_walk();
    on_each(|url| {
        let mut store = open(url);
        store.append(&end.entries).unwrap();
        store.append(&end.entries).unwrap();
        store.append(&end.entries[end.entries.len() / 2..]).unwrap();
        compare(&mut store, &end);
    });
}

#[test]
fn an_append_that_overlaps_adds_only_what_is_new() {
    let end = long_walk();
    let middle = end.entries.len() / 2;
    on_each(|url| {
        let mut store = open(url);
        store.append(&end.entries[..middle]).unwrap();
        store.append(&end.entries[middle - 20..]).unwrap();
        compare(&mut store, &end);
    });
}

#[test]
fn a_gap_or_another_content_is_refused_and_nothing_is_kept() {
    on_each(|url| {
        let mut store = open(url);
        store.append(&[started(1), started(2)]).unwrap();
        let gap = store.append(&[started(3), started(5)]).unwrap_err();
        assert!(matches!(gap, StoreError::Gap { last: 3, found: 5, .. }), "{gap}");
        let mut other = started(2);
        other.at = other.at.plus_seconds(1.0);
        let conflict = store.append(&[other, started(3)]).unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict { seq: 2, .. }), "{conflict}");
        let restored = store.restore().unwrap();
        assert_eq!((restored.last_seq, restored.boots), (2, 2));
        store.append(&[started(3)]).unwrap();
    });
}

#[test]
fn a_second_writer_is_noticed() {
    on_each_kept(|url| {
        let (mut first, mut second) = (open(url), open(url));
        first.append(&[started(1)]).unwrap();
        let mut rival = started(1);
        rival.at = rival.at.plus_seconds(0.5);
        let error = second.append(&[rival]).unwrap_err();
        assert!(error.to_string().contains("second daemon"), "{error}");
        assert_eq!(second.restore().unwrap().last_seq, 1);
    });
}

#[test]
fn a_nul_from_a_hostile_packet_reaches_both_databases_alike() {
    let body = "<voe>\u{0}</voe>";
    let at = UtcTime::from_unix_micros(1).unwrap();
    let fact = Fact::PacketReceived {
        packet: "bad\u{0}id".into(),
        channel: "vtp".into(),
        size_bytes: 12,
        verdict: "reject".into(),
        reason: "a literal \\u0000 and \u{0}".into(),
        body: body.into(),
        identity: None,
        event: None,
    };
    on_each(|url| {
        let mut store = open(url);
        let entry = Entry {
            seq: 1,
            at,
            fact: fact.clone(),
        };
        store.append(std::slice::from_ref(&entry)).unwrap();
        assert_eq!(store.journal_page(0, 9).unwrap()[0].entry().unwrap(), entry);
        let packets = store.packets("bad\u{fffd}id").unwrap();
        assert_eq!(packets[0].body, body);
        assert_eq!(packets[0].reason, "a literal \\u0000 and \u{fffd}");
    });
}

#[test]
fn a_measurement_that_is_no_number_is_kept_as_missing() {
    on_each(|url| {
        let mut store = open(url);
        let at = UtcTime::from_unix_micros(0).unwrap();
        let readings = [("seeing_arcsec".to_owned(), Ok(f64::NAN))].into();
        store
            .append(&[Entry {
                seq: 1,
                at,
                fact: Fact::Weather { readings },
            }])
            .unwrap();
        let samples = store.weather(at, at.plus_seconds(1.0), None).unwrap();
        assert_eq!(samples.len(), 1);
        assert!(samples[0].value.is_err());
    });
}

#[test]
fn questions_have_the_same_answers_everywhere() {
    let end = long_walk();
    let (first, last) = (end.entries[0].at, end.entries[end.entries.len() - 1].at);
    let answers = |url: &str| {
        let mut store = open(url);
        store.append(&end.entries).unwrap();
        let requests = store.requests(None, 1000).unwrap();
        let in_full: Vec<_> = requests
            .iter()
            .map(|r| store.request(&r.id).unwrap().unwrap())
            .collect();
        let sequences: Vec<_> = end
            .book
            .lines()
            .map(|line| store.sequence(&line.sequence.id).unwrap().unwrap())
            .collect();
        let night = Night("2026-03-14".parse().unwrap());
        let answer = (
            requests,
            in_full,
            sequences,
            store.schedules(3).unwrap(),
            store.products_of_night(night).unwrap(),
            store.weather(first, last, Some("humidity")).unwrap(),
            store.alert_events().unwrap(),
            store.postings("ada").unwrap(),
            store.log(1000).unwrap(),
            store.journal_page(17, 5).unwrap(),
        );
        let of_sequences: Vec<_> = end
            .book
            .lines()
            .map(|line| store.products_of_sequence(&line.sequence.id).unwrap())
            .collect();
        (
            answer,
            of_sequences,
            store.requests(Some("ada"), 3).unwrap(),
            store.packets_since(first, "act").unwrap(),
            (
                store.events_of_packets(0).unwrap(),
                store.followed_events(first).unwrap(),
            ),
        )
    };
    let seen = std::cell::RefCell::new(Vec::new());
    on_each(|url| seen.borrow_mut().push(answers(url)));
    let seen = seen.into_inner();
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    let (answer, of_sequences, _, _, (events, followed)) = &seen[0];
    assert!(!events.is_empty() && !followed.is_empty(), "{events:?} {followed:?}");
    assert_eq!(answer.1.len(), end.book.requests().count());
    assert!(
        answer
            .1
            .iter()
            .all(|request| end.book.request(&request.id) == Some(request))
    );
    assert!(
        answer
            .2
            .iter()
            .any(|detail| matches!(detail.verdict, Some(Verdict::Unplaced { .. })))
    );
    assert!(
        answer
            .2
            .iter()
            .any(|detail| matches!(detail.verdict, Some(Verdict::Placed { .. })))
    );
    for (detail, line) in answer.2.iter().zip(end.book.lines()) {
        let told = (&detail.sequence, detail.state, &detail.why, &detail.done);
        assert_eq!(told, (&line.sequence, line.state, &line.why, &line.done));
    }
    assert!(answer.2.iter().any(|detail| !detail.done.is_empty()));
    assert!(!answer.4.is_empty() && !answer.5.is_empty() && !answer.7.is_empty() && !answer.8.is_empty());
    assert_eq!(
        answer.9.iter().map(|line| line.seq).collect::<Vec<_>>(),
        [18, 19, 20, 21, 22]
    );
    assert!(of_sequences.iter().any(|products| !products.is_empty()));
}

#[test]
fn people_live_on_both_databases_and_a_change_is_whole_or_not_at_all() {
    on_each(|url| {
        let mut desk = Desk::new(open(url));
        let start = UtcTime::from_unix_micros(1_773_525_600_123_456).unwrap();
        let by = |seconds: f64| By {
            who: "root",
            address: "192.0.2.7",
            now: start.plus_seconds(seconds),
        };
        let profile = |id: &str| Profile {
            account: id.into(),
            name: format!("{id} Ångström"),
            email: format!("{id}@irap.example"),
            institute: "IRAP".into(),
        };
        let old = desk.first_code(by(0.0).now).unwrap().unwrap();
        let code = desk.first_code(by(0.0).now).unwrap().unwrap();
        let phrase = "seven sisters over Chiran";
        assert_eq!(
            desk.first_administrator(&old, &profile("root"), phrase, by(1.0)),
            Err(Refused::UnknownCode),
            "a new code takes the place of the old one"
        );
        desk.first_administrator(&code, &profile("root"), phrase, by(1.0))
            .unwrap();
        desk.sign_up(&profile("ada"), phrase, by(2.0)).unwrap();
        let (ada, _) = desk.validate("ada", Role::Expert, by(3.0)).unwrap();
        assert_eq!(desk.register().account("ada").unwrap(), Some(ada.clone()));
        assert_eq!(
            desk.register().account_by_email("ada@irap.example").unwrap(),
            Some(ada.clone())
        );

        let (cookie, _) = desk.log_in("ada", phrase, "Browser", by(4.0)).unwrap();
        assert_eq!(
            desk.by_session(&cookie, "x", by(100.0).now).unwrap().0.role,
            Role::Expert
        );
        assert_eq!(desk.register().sessions("ada").unwrap()[0].seen_at, by(100.0).now);
        let scopes = [Permission::Submit, Permission::Read].into();
        let (secret, token) = desk.issue_token("ada", "robot", scopes, 10, by(5.0)).unwrap();
        assert_eq!(
            desk.by_token(&secret, "x", by(6.0).now).unwrap().scopes,
            Some(token.scopes.clone())
        );
        assert_eq!(desk.register().tokens(None).unwrap()[0].used_at, Some(by(6.0).now));
        assert!(matches!(
            desk.issue_token("ada", "robot", token.scopes, 10, by(7.0)),
            Err(Refused::Bad { field: "name", .. })
        ));

        // The second change of the two finds its place taken: neither is there, nor their line.
        let lines = desk.register().audit(0, 100).unwrap().len();
        let mut eve = ada.clone();
        (eve.id, eve.email) = ("eve".into(), "eve@irap.example".into());
        let taken = desk.register().apply(
            &[Change::Create(eve), Change::Create(ada)],
            Some(desk_deed(by(8.0).now)),
        );
        assert!(matches!(taken, Ok(false)), "{taken:?}");
        assert_eq!(desk.register().account("eve").unwrap(), None);
        assert_eq!(desk.register().audit(0, 100).unwrap().len(), lines);

        desk.set_disabled("ada", true, by(9.0)).unwrap();
        assert_eq!(desk.register().sessions("ada").unwrap(), []);
        assert_eq!(desk.register().tokens(Some("ada")).unwrap(), []);
        let audit = desk.register().audit(0, 100).unwrap();
        assert_eq!(AuditLine::first_forged(&audit), None);
        assert_eq!(desk.register().audit(2, 2).unwrap(), audit[2..4]);
        assert_eq!(audit.last().unwrap().deed.action, "disable");
    });
}

fn desk_deed(at: UtcTime) -> Deed {
    Deed {
        at,
        who: "root".into(),
        address: "192.0.2.7".into(),
        action: "add".into(),
        subject: "eve".into(),
        outcome: "done".into(),
    }
}

#[test]
fn instruments_and_strategies_are_kept() {
    on_each(|url| {
        let mut store = open(url);
        let at = UtcTime::from_unix_micros(5_000_000).unwrap();
        let mut telescope = Telescope {
            unit: "u1".into(),
            site: "ohp".into(),
            lat_deg: 43.93,
            lon_deg: 5.71,
            alt_m: 650.0,
            channels: vec![Channel {
                channel: "vis".into(),
                camera: "c1".into(),
                filters: vec!["r".into()],
            }],
        };
        store.describe(&telescope, at).unwrap();
        telescope.channels[0].channel = "nir".into();
        store.describe(&telescope, at).unwrap();
        assert_eq!(store.telescopes().unwrap(), [telescope]);

        let mut strategy = StrategyText {
            id: "grb".into(),
            body: "priority = 100".into(),
            enabled: true,
        };
        store.put_strategy(&strategy, at).unwrap();
        strategy.enabled = false;
        store.put_strategy(&strategy, at).unwrap();
        assert_eq!(store.strategies().unwrap(), [strategy]);
    });
}

#[test]
fn a_lost_connection_is_opened_again() {
    let server = Postgres::shared();
    let url = server.database();
    let mut store = open(&url);
    store.append(&[started(1)]).unwrap();
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE application_name = 'alidade' AND datname = current_database()";
    assert_eq!(server.sql(&url, terminate), "1");
    store.append(&[started(2)]).unwrap();
    assert_eq!(server.sql(&url, terminate), "1");
    assert_eq!(store.restore().unwrap().last_seq, 2);
}

/// The writer of the next test, in a process of its own: says each number that the store has accepted.
fn write_until_killed(url: &str) -> ! {
    let mut store = Store::open(
        url,
        OpenOptions {
            migrate: true,
            durability: Durability::Durable,
        },
    )
    .unwrap();
    let mut next = store.restore().unwrap().last_seq + 1;
    loop {
        store
            .append(&[started(next), started(next + 1), started(next + 2)])
            .unwrap();
        next += 3;
        println!("\nkept {}", next - 1);
    }
}

#[test]
fn a_killed_writer_loses_nothing_it_has_accepted() {
    const CHILD: &str = "ALIDADE_TEST_STORE_WRITER";
    if let Ok(url) = std::env::var(CHILD) {
        write_until_killed(&url);
    }
    on_each_kept(|url| {
        let mut before = 0;
        for _ in 0..3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "store_both::a_killed_writer_loses_nothing_it_has_accepted",
                    "--nocapture",
                ])
                .env(CHILD, url)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut kept = lines.filter_map(|line| line.unwrap().strip_prefix("kept ")?.parse::<u64>().ok());
            let accepted = kept.nth(20).expect("the writer writes");
            child.kill().unwrap();
            // What the writer said between the last look and its death counts too.
            let accepted = kept.last().unwrap_or(accepted);
            child.wait().unwrap();
            let mut store = open(url);
            let restored = store.restore().unwrap();
            assert!(
                restored.last_seq >= accepted && accepted > before,
                "{} {accepted}",
                restored.last_seq
            );
            assert_eq!(restored.last_seq % 3, 0, "half a transaction");
            assert_eq!(restored.boots as u64, restored.last_seq, "journal and tables differ");
            before = restored.last_seq;
        }
    });
}
