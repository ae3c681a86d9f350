//! The life of the data on real databases, in real processes, before the judges of its formats.

use crate::support::{
    command::{Folder, say},
    observatory::Observatory,
    postgres::Postgres,
};
use alidade::{
    daemon::delivery::system_now,
    gateway::http::{DataDesk, HttpPorts, serve},
    store::{Durability, delivery::DeliveryLedger},
};
use alidade_delivery::{
    books::{Fault, Ledger, MessageState, Settlement},
    desk::{Desk, Draft},
    launcher::{Launch, launch},
    recipes::{House, Mock},
    review::{ReviewRequest, Verdict},
    sites::Sites,
    station::Station,
    transfer::Rsync,
};
use alidade_model::states::UnitState;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

/// A check on both databases, each new and empty.
fn on_each(name: &str, check: impl Fn(&str, &Folder)) {
    let folder = Folder::new(name);
    check(&format!("sqlite:{}", folder.join("a.sqlite")), &folder);
    let folder = Folder::new(&format!("{name}-postgres"));
    let server = Postgres::shared();
    check(&server.database(), &folder);
}

fn station(folder: &Folder) -> Station {
    let mock = Mock {
        fails_one_in: 0,
        ..Mock::default()
    };
    let house = House {
        mock,
        ..House::default()
    };
    Station::new(
        Sites::alone("OHP"),
        &folder.path().join("station"),
        Arc::new(house),
        Arc::new(Rsync::default()),
        system_now(),
    )
    .unwrap()
}

fn ledger(url: &str) -> DeliveryLedger {
    DeliveryLedger::open(url, Durability::Relaxed, "e1").unwrap()
}

fn at_desk<T>(station: &Station, ledger: &mut DeliveryLedger, mut work: impl FnMut(&mut Desk) -> T) -> T {
    station.at_desk(ledger, |desk| Ok(work(desk))).unwrap()
}

fn launched(station: &Station, ledger: &mut DeliveryLedger, uid: &str, recipe: &str) {
    let wish = Launch {
        program: "P1".into(),
        unit: uid.into(),
        recipe: Some(recipe.into()),
        executive: Some("OHP".into()),
        inputs: Vec::new(),
    };
    at_desk(station, ledger, |desk| launch(desk, &wish, "test", None).unwrap());
    station.until_idle(ledger).unwrap();
}

fn passed(station: &Station, ledger: &mut DeliveryLedger, uid: &str) {
    let request = ReviewRequest {
        unit: uid.into(),
        verdict: Verdict::Pass,
        reviewer: "ada".into(),
        role: "reviewer".into(),
        comment: "fine".into(),
        by_way_of: String::new(),
    };
    let body = serde_json::to_value(&request).unwrap();
    at_desk(station, ledger, |desk| {
        desk.send(Draft::new("review.OHP", body.clone(), "ada")).unwrap()
    });
    station.until_idle(ledger).unwrap();
}

#[test]
fn a_unit_lives_from_launch_to_delivery_on_either_database_and_over_a_restart() {
    on_each("life", |url, folder| {
        let station = station(folder);
        let mut first = ledger(url);
        launched(&station, &mut first, "uid://X1/X1/Xb2", "PipelineImaging");
        drop(first);
        let mut second = ledger(url);
        passed(&station, &mut second, "uid://X1/X1/Xb2");
        let (unit, events, products, unread) = at_desk(&station, &mut second, |desk| {
            let books = &mut *desk.books;
            (
                books.unit("uid://X1/X1/Xb2").unwrap().unwrap(),
                books.events("uid://X1/X1/Xb2").unwrap(),
                books.products(None, 100).unwrap(),
                books.messages(true, 100).unwrap().len(),
            )
        });
        assert_eq!(unit.state, UnitState::Delivered, "{url}");
        assert!(events.windows(2).all(|pair| pair[1].number == pair[0].number + 1));
        assert!(events.iter().all(|e| !e.author.is_empty() && !e.cause.is_empty()));
        assert_eq!((products.len(), unread), (5, 0));
        let told = at_desk(&station, &mut second, |desk| desk.books.counts().unwrap());
        assert!(told.iter().any(|c| c.kind == "archive" && c.count == 6), "{told:?}");
    });
}

#[test]
fn a_transaction_that_fails_leaves_nothing_on_either_database() {
    on_each("rollback", |url, folder| {
        let station = station(folder);
        let mut ledger = ledger(url);
        let ids = at_desk(&station, &mut ledger, |d| {
            d.send(Draft::new("notes", json!(0), "test")).unwrap()
        });
        assert_eq!(ids, ["OHP-e1-1"]);
        let failed: Result<(), Fault> = station.at_desk(&mut ledger, |desk| {
            desk.send(Draft::new("notes", json!(1), "test"))?;
            Err(Fault("no".into()))
        });
        assert!(failed.is_err());
        let mut other = ledger_again(url);
        assert_eq!(
            at_desk(&station, &mut other, |d| d.books.messages(false, 10).unwrap().len()),
            1
        );
        let ids = at_desk(&station, &mut ledger, |d| {
            d.send(Draft::new("notes", json!(1), "test")).unwrap()
        });
        assert_eq!(ids, ["OHP-e1-2"], "a database keeps the epoch that it began with");
    });
}

fn ledger_again(url: &str) -> DeliveryLedger {
    DeliveryLedger::open(url, Durability::Relaxed, "another epoch").unwrap()
}

#[test]
fn two_drivers_on_one_queue_take_each_message_once() {
    on_each("queue", |url, folder| {
        let station = station(folder);
        let mut writer = ledger(url);
        at_desk(&station, &mut writer, |desk| {
            for number in 0..300 {
                desk.send(Draft::new("work", json!(number), "test")).unwrap();
            }
        });
        let consumers: Vec<_> = (0..2)
            .map(|index| {
                let (station, mut ledger) = (station.clone(), ledger(url));
                std::thread::spawn(move || consume(&station, &mut ledger, &format!("consumer {index}")))
            })
            .collect();
        let mut taken: Vec<String> = consumers.into_iter().flat_map(|c| c.join().unwrap()).collect();
        taken.sort();
        let count = taken.len();
        taken.dedup();
        assert_eq!((count, taken.len()), (300, 300), "{url}");
    });
}

fn consume(station: &Station, ledger: &mut DeliveryLedger, who: &str) -> Vec<String> {
    let patterns = ["wor*".replace('*', "k")];
    let end = Settlement {
        state: MessageState::Consumed,
        reason: None,
    };
    let mut done = Vec::new();
    loop {
        let waiting = at_desk(station, ledger, |d| {
            d.books.waiting("OHP", &patterns, d.now, 3).unwrap()
        });
        let Some(message) = waiting.last() else {
            return done;
        };
        let mine = at_desk(station, ledger, |d| {
            let until = d.now.plus_seconds(60.0);
            d.books.take(&message.id, who, d.now, until).unwrap()
        });
        if mine
            && at_desk(station, ledger, |d| {
                d.books.settle(&message.id, Some(who), &end).unwrap()
            })
        {
            done.push(message.id.clone());
        }
    }
}

#[test]
fn the_film_of_ten_units_ends_well_though_a_site_is_killed_and_the_broker_cut() {
    let said = say(&[
        "data",
        "movie",
        "--units",
        "10",
        "--chaos",
        "--lasts-s",
        "0.05,0.3",
        "--json",
    ]);
    let result: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.stderr));
    assert_eq!(result["problems"], json!([]), "{result:#}");
    assert_eq!(result["told"].as_array().unwrap().len(), 3, "{result:#}");
    assert_eq!(said.code, 0);
    assert_eq!(result["counts"]["JAO"]["archive"], json!(60));
}

#[test]
fn the_film_of_nine_units_ends_with_the_exact_counts_of_the_seed() {
    let said = say(&["data", "movie", "--units", "9", "--fails-one-in", "0", "--json"]);
    let result: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.stderr));
    assert_eq!(result["problems"], json!([]), "{result:#}");
    let home = &result["counts"]["JAO"];
    let count = |key: &str| home[key].as_u64().unwrap();
    assert_eq!(
        ["reports", "deliveries", "archive", "metadata", "unread"].map(count),
        [9, 9, 54, 45, 0]
    );
}

/// A station with one delivered unit of real FITS frames, by the commands of a user.
fn delivered(folder: &Folder) -> String {
    let file = folder.join("station.toml");
    fs::write(&file, format!("site = \"OHP\"\nfolder = \"{}\"\n", folder.join("ohp"))).unwrap();
    let mut arguments = vec!["data", "launch", "P1", "s1-20260314T210000", "Frames", "OHP"];
    let frames: Vec<String> = (0..2).map(|n| frame(folder, n)).collect();
    for frame in &frames {
        arguments.extend(["--input", frame.as_str()]);
    }
    arguments.extend(["--station", file.as_str()]);
    let launched = say(&arguments);
    assert_eq!(launched.code, 0, "{}", launched.stderr);
    let reviewed = say(&[
        "data",
        "review",
        "s1-20260314T210000",
        "--pass",
        "--reviewer",
        "ada",
        "--station",
        &file,
    ]);
    assert_eq!(reviewed.code, 0, "{}", reviewed.stderr);
    let tracked = say(&["data", "track", "--json", "--station", &file]);
    let rows: Value = serde_json::from_str(&tracked.stdout).unwrap();
    assert_eq!(
        (&rows[0]["state"], &rows[0]["verified_here"]),
        (&json!("Delivered"), &json!(2))
    );
    file
}

fn frame(folder: &Folder, number: usize) -> String {
    let mut header = alidade_fits::Header::new();
    header.text("OBJECT", "M1", "");
    header.number("CRVAL1", 83.633 + number as f64, "");
    header.number("CRVAL2", 22.0145, "");
    header.number("CD1_1", -2.0e-4, "");
    header.text("DATE-OBS", "2026-03-14T21:00:00.000", "");
    header.number("EXPTIME", 60.0, "");
    header.text("FILTER", "R", "");
    let bytes = alidade_fits::write_u16(&header, 64, 64, &[100; 64 * 64]).unwrap();
    let path = folder.join(&format!("frame-{number}.fits"));
    fs::write(&path, bytes).unwrap();
    path
}

/// Peers of drivers/tests/peers/requirements.txt, as the test command installs them.
fn python() -> Command {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let python = target.parent().unwrap().join("peers/bin/python3");
    assert!(python.exists(), "{}: run `make peers`", python.display());
    Command::new(python)
}

fn judged(program: &str, arguments: &[&str]) {
    let output = python().args(["-c", program]).args(arguments).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
}

#[test]
fn packages_provenance_and_tables_pass_before_their_judges() {
    let folder = Folder::new("judges");
    let file = delivered(&folder);
    let bag = folder.join("bag");
    let packed = say(&["data", "bag", "s1-20260314T210000", &bag, "--station", &file]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    judged(
        "import bagit, sys; bag = bagit.Bag(sys.argv[1]); bag.validate(); assert len(bag.entries) >= 3",
        &[&bag],
    );
    let again = say(&["data", "bag", "s1-20260314T210000", &bag, "--station", &file]);
    assert_eq!((again.code, again.stderr.contains("exists already")), (1, true));

    let prov = say(&["data", "prov", "s1-20260314T210000", "--station", &file]);
    let path = folder.join("prov.json");
    fs::write(&path, &prov.stdout).unwrap();
    judged(
        "import prov.model as m, sys\nd = m.ProvDocument.deserialize(sys.argv[1])\n\
         assert len(list(d.get_records(m.ProvActivity))) >= 2 and len(list(d.get_records(m.ProvGeneration))) == 2",
        &[&path],
    );

    let table = say(&["data", "query", "--cone", "83.6,22.0,0.5", "--station", &file]);
    let name = table.stdout.split("<TD>").find(|t| t.starts_with("ivo://")).unwrap();
    let name = name
        .split("</TD>")
        .next()
        .unwrap()
        .split_once('?')
        .unwrap()
        .1
        .to_owned();
    let links = say(&["data", "links", &name, "--station", &file]);
    for (text, rows) in [(table.stdout, 1), (links.stdout, 4)] {
        assert_eq!(text.matches("<TR>").count(), rows, "{text}");
        let path = folder.join("table.vot");
        fs::write(&path, &text).unwrap();
        let lint = Command::new("stilts")
            .args(["votlint", &path])
            .output()
            .expect("stilts is installed");
        let said = String::from_utf8_lossy(&lint.stdout).into_owned() + &String::from_utf8_lossy(&lint.stderr);
        assert!(
            lint.status.success() && !said.contains("ERROR") && !said.contains("WARNING"),
            "{said}"
        );
    }
}

#[test]
fn the_page_queries_and_reviews_work_over_http() {
    let folder = Folder::new("http");
    let station = station(&folder);
    let url = format!("sqlite:{}", folder.join("a.sqlite"));
    let mut ours = ledger(&url);
    launched(&station, &mut ours, "uid://X1/X1/Xb2", "PipelineImaging");
    let observatory = Observatory::new("delivery");
    let books = url.clone();
    let desk = DataDesk {
        station: station.clone(),
        ledger: Arc::new(move || {
            let ledger = DeliveryLedger::open(&books, Durability::Relaxed, "e1").map_err(|e| e.to_string())?;
            Ok(Box::new(ledger) as Box<dyn Ledger>)
        }),
        reviewers: Default::default(),
    };
    let ports = HttpPorts {
        data: Some(desk),
        ..observatory.ports()
    };
    let server = serve(SocketAddr::from(([127, 0, 0, 1], 0)), ports).unwrap();
    let addr = server.addr;
    let (status, page) = ask(addr, "GET", "/data", "");
    assert!(status == 200 && page.contains("Observation-unit sets"));
    let (_, overview) = ask(addr, "GET", "/api/v1/data", "");
    let overview: Value = serde_json::from_str(&overview).unwrap();
    assert_eq!(overview["units"][0]["state"], json!("ReadyForReview"));
    let weblog = overview["reports"][0]["weblog"]
        .as_str()
        .unwrap()
        .trim_end_matches(".zip")
        .to_owned();
    assert_eq!(ask(addr, "GET", &format!("/weblogs/{weblog}/index.html"), "").0, 200);
    for bad in [
        "/weblogs/../a.sqlite",
        "/weblogs/%2e%2e/%2e%2e/a.sqlite",
        "/api/v1/data/archive/../../a.sqlite",
    ] {
        assert_eq!(ask(addr, "GET", bad, "").0, 404, "{bad}");
    }
    let body = json!({ "unit": "uid://X1/X1/Xb2", "verdict": "pass", "reviewer": "ada", "role": "guest" });
    let worker = std::thread::spawn(move || {
        // The station's own threads, as the daemon has them.
        for _ in 0..400 {
            station.until_idle(&mut ours).unwrap();
            let end = at_desk(&station, &mut ours, |d| {
                d.books.unit("uid://X1/X1/Xb2").unwrap().unwrap()
            });
            if end.state == UnitState::Delivered {
                return end.state;
            }
            let heard = station.bell.count();
            station.bell.wait(heard, std::time::Duration::from_millis(50));
        }
        UnitState::Reviewing
    });
    let (status, refused) = ask(addr, "POST", "/api/v1/data/review", &body.to_string());
    assert!(
        status == 409 && refused.contains("may not review"),
        "{status} {refused}"
    );
    let mut body = body;
    body["role"] = json!("reviewer");
    let (status, answer) = ask(addr, "POST", "/api/v1/data/review", &body.to_string());
    assert!(
        status == 200 && answer.contains("DeliveryInProgress"),
        "{status} {answer}"
    );
    assert_eq!(worker.join().unwrap(), UnitState::Delivered);
    let base = format!("http://{addr}/api/v1/data");
    judged(
        "import pyvo, sys\nfrom pyvo.dal.sia2 import SIA2Query\nbase = sys.argv[1]\n\
         rows = pyvo.dal.tap  # the module loads\n\
         q = SIA2Query(base + '/sia2/query', pos=(10.0, 10.0, 1.0))\nassert len(q.execute()) == 0\n\
         q = pyvo.dal.query.DALQuery(base + '/obscore')\nr = q.execute()\nassert len(r) == 5, len(r)\n\
         assert 's_ra' in r.fieldnames and r.getdesc('s_ra').unit == 'deg'\n\
         s = pyvo.dal.SCSService(base + '/scs?')\nassert len(s.search((10.0, 10.0), 1.0)) == 0\n\
         from pyvo.dal.adhoc import DatalinkResults\n\
         d = DatalinkResults.from_result_url(base + '/links?ID=' + r['obs_publisher_did'][0])\n\
         # pyvo's own filter asks the network for a vocabulary\n\
         assert [row.semantics for row in d].count('#this') == 1",
        &[&base],
    );
}

fn ask(addr: SocketAddr, verb: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let length = body.len();
    write!(
        stream,
        "{verb} {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    // One chunk is enough for these answers: sizes in hexadecimal stand on lines of their own.
    let body = if head.to_lowercase().contains("chunked") {
        rest.split("\r\n")
            .enumerate()
            .filter(|(n, _)| n % 2 == 1)
            .map(|(_, t)| t)
            .collect()
    } else {
        rest.to_owned()
    };
    (status, body)
}

#[test]
fn bad_input_is_one_line_and_changes_nothing() {
    let folder = Folder::new("bad");
    let file = folder.join("station.toml");
    fs::write(&file, format!("site = \"OHP\"\nfolder = \"{}\"\n", folder.join("ohp"))).unwrap();
    for (arguments, code, why) in [
        (vec!["history", "uid://none"], 1, "is unknown"),
        (vec!["review", "uid://none", "--pass"], 1, "is unknown"),
        (vec!["xtss", "set-state", "uid://none", "Processing"], 1, "is unknown"),
        (
            vec!["launch", "P1", "uid://../x", "NoOp", "OHP"],
            1,
            "not an identifier",
        ),
        (vec!["launch", "P1", "u1", "NoOp", "MARS"], 1, "not one of"),
        (
            vec!["launch", "../P1", "u1", "NoOp", "OHP"],
            1,
            "not a name of a program",
        ),
        (vec!["send", "a b", "1"], 2, "is not a selector"),
        (vec!["send", "ab", "{"], 2, "is not JSON"),
        (vec!["query", "--cone", "400,0,1"], 2, "right ascension"),
        (vec!["status", "--state", "Lost"], 2, "is not a state"),
        (vec!["clear-all"], 2, "--yes"),
    ] {
        let mut line = vec!["data"];
        line.extend(&arguments);
        line.extend(["--station", file.as_str()]);
        let said = say(&line);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(
            said.stderr.contains(why) && said.stderr.trim().lines().count() == 1,
            "{arguments:?}: {}",
            said.stderr
        );
    }
    let left = say(&["data", "status", "--json", "--station", &file]);
    let left: Value = serde_json::from_str(&left.stdout).unwrap();
    assert_eq!(left["units"], json!([]));
    fs::write(&file, "site = 7").unwrap();
    let said = say(&["data", "status", "--station", &file]);
    assert_eq!((said.code, said.stderr.contains("station.toml")), (2, true));
}
