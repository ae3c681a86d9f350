//! The schema of both databases, and databases that are refused.

use super::{Folder, Postgres, WRITING, on_each, open, started};
use crate::support::ports;
use alidade::store::{OpenOptions, Store, StoreError, migrations::Migrations};
use std::path::Path;

#[test]
fn down_and_up_again_gives_the_same_schema() {
    on_each(|url| {
        let mut schema = Migrations::open(url, true).unwrap();
        let all = schema.apply().unwrap();
        assert!(all.len() > 1 && all.iter().all(|v| v.applied && v.known));
        let (columns, definitions) = (schema.columns().unwrap(), schema.definitions().unwrap());
        for count in 1..=all.len() {
            let reverted = schema.revert(count).unwrap();
            assert_eq!(reverted.len(), count);
            assert!(
                reverted
                    .iter()
                    .rev()
                    .map(|v| &v.name)
                    .eq(all[all.len() - count..].iter().map(|v| &v.name))
            );
            assert!(schema.columns().unwrap().len() < columns.len());
            schema.apply().unwrap();
            assert_eq!(schema.columns().unwrap(), columns);
            assert_eq!(schema.definitions().unwrap(), definitions);
        }
        assert_eq!(schema.apply().unwrap(), []);
        schema.revert(usize::MAX).unwrap();
        assert_eq!(schema.columns().unwrap(), [], "a migration leaves something behind");
    });
}

#[test]
fn both_databases_have_the_same_tables_columns_and_nullability() {
    let folder = Folder::new();
    let described = |url: &str| {
        let mut schema = Migrations::open(url, true).unwrap();
        schema.apply().unwrap();
        (schema.status().unwrap(), schema.columns().unwrap())
    };
    let server = Postgres::shared();
    let (sqlite, postgres) = (described(&folder.url()), described(&server.database()));
    assert_eq!(sqlite, postgres);
    let tables: std::collections::BTreeSet<_> = sqlite.1.iter().map(|column| column.table.as_str()).collect();
    for table in [
        "users",
        "telescopes",
        "instruments",
        "requests",
        "sequences",
        "albums",
        "plans",
        "schedules",
    ] {
        assert!(tables.contains(table), "{table}");
    }
    let folder_of = |kind: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
        let mut names: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(folder_of("sqlite"), folder_of("postgres"));
    assert_eq!(folder_of("sqlite").len(), sqlite.0.len());
}

#[test]
fn looking_at_a_database_changes_nothing() {
    let folder = Folder::new();
    let missing = Migrations::open(&folder.url(), false).err().unwrap();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
    let unmigrated = OpenOptions {
        migrate: false,
        ..WRITING
    };
    assert!(matches!(
        Store::open(&folder.url(), unmigrated),
        Err(StoreError::Missing { .. })
    ));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);

    let server = Postgres::shared();
    let url = server.database();
    let versions = Migrations::open(&url, false).unwrap().status().unwrap();
    assert!(versions.iter().all(|v| v.known && !v.applied));
    let behind = Store::open(&url, unmigrated).err().unwrap();
    assert!(behind.to_string().contains("alidade db migrate"), "{behind}");
    assert_eq!(
        server.sql(&url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
}

/// Somebody else's hand on a database file.
fn by_sqlite(folder: &Folder, statement: &str) {
    use diesel::{Connection, connection::SimpleConnection};
    let path = folder.0.join("a.db");
    let mut connection = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection.batch_execute(statement).unwrap();
}

fn file(folder: &Folder) -> Vec<u8> {
    std::fs::read(folder.0.join("a.db")).unwrap()
}

#[test]
fn a_database_from_a_newer_version_is_refused_unchanged() {
    let folder = Folder::new();
    open(&folder.url()).append(&[started(1)]).unwrap();
    by_sqlite(
        &folder,
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('0999')",
    );
    let bytes = file(&folder);
    refuse_newer(&folder.url());
    assert_eq!(file(&folder), bytes);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "a log file beside it");

    let server = Postgres::shared();
    let url = server.database();
    open(&url).append(&[started(1)]).unwrap();
    server.sql(&url, "INSERT INTO __diesel_schema_migrations (version) VALUES ('0999')");
    let state = "SELECT string_agg(version || run_on, ' ' ORDER BY version) FROM __diesel_schema_migrations";
    let before = server.sql(&url, state);
    refuse_newer(&url);
    assert_eq!(server.sql(&url, state), before);
}

fn refuse_newer(url: &str) {
    let error = Store::open(url, WRITING).err().unwrap();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("0999"), "{error}");
    let mut schema = Migrations::open(url, false).unwrap();
    assert!(
        schema
            .status()
            .unwrap()
            .iter()
            .any(|v| v.version == "0999" && v.applied && !v.known)
    );
    assert!(matches!(schema.apply(), Err(StoreError::Newer { .. })));
    assert!(matches!(schema.revert(1), Err(StoreError::Newer { .. })));
}

#[test]
fn what_is_no_database_of_ours_is_refused_unchanged() {
    let folder = Folder::new();
    let text = b"SIMPLE  =                    T / this is a FITS file, not a database, and long enough".repeat(20);
    std::fs::write(folder.0.join("a.db"), &text).unwrap();
    let error = Store::open(&folder.url(), WRITING).err().unwrap();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert_eq!(file(&folder), text);

    let other = Folder::new();
    by_sqlite(&other, "CREATE TABLE payroll (id int)");
    let bytes = file(&other);
    let error = Store::open(&other.url(), WRITING).err().unwrap();
    assert!(error.to_string().contains("payroll"), "{error}");
    assert_eq!(file(&other), bytes);

    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, "CREATE TABLE payroll (id int)");
    let error = Store::open(&url, WRITING).err().unwrap();
    assert!(error.to_string().contains("payroll"), "{error}");
    assert_eq!(
        server.sql(
            &url,
            "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'"
        ),
        "payroll"
    );
}

#[test]
fn an_address_that_cannot_be_opened_is_told_in_one_line() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("plain"), "x").unwrap();
    let at = folder.0.display();
    let port = ports::free_port();
    let server = Postgres::shared();
    for (url, expected) in [
        (format!("sqlite:{at}/none/a.db"), "does not exist".to_owned()),
        (format!("sqlite:{at}/plain/a.db"), "is not a folder".to_owned()),
        (format!("sqlite:{at}"), "it is a folder".to_owned()),
        (
            "sqlite:/proc/a.db".to_owned(),
            "cannot open the database /proc/a.db".to_owned(),
        ),
        ("oracle://x".to_owned(), "oracle://x is not sqlite:PATH".to_owned()),
        (
            format!("postgres://ada:s3cret@127.0.0.1:{port}/x"),
            "Connection refused".to_owned(),
        ),
        (server.url("nowhere"), "database \"nowhere\" does not exist".to_owned()),
    ] {
        let error = Store::open(&url, WRITING).err().unwrap().to_string();
        assert!(error.contains(&expected), "{url}: {error}");
        assert!(!error.contains('\n') && !error.contains("s3cret"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
}
