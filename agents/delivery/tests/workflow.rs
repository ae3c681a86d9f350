//! The workflow from launch to delivery, over sites in one process, with what the seed's mock gets wrong.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use alidade_delivery::{
    books::{MessageState, Settlement},
    desk::{Desk, Draft},
    recipes::Mock,
    review::Verdict,
};
use alidade_model::states::UnitState;
use serde_json::json;
use support::{HOME, Observatory, content, states};

const ALL: [&str; 4] = ["EA", "EU", "JAO", "NA"];
const SURE: Mock = Mock {
    fails_one_in: 0,
    seed: 1,
    lasts_s: (0.0, 0.0),
};

fn delivered(observatory: &mut Observatory, units: usize) {
    for number in 0..units {
        let exec = ALL[number % 4];
        observatory
            .at(HOME)
            .launch(&format!("uid://X1/X1/Xb{number}"), "PipelineImaging", exec);
    }
    observatory.settle();
    for number in 0..units {
        observatory
            .at(HOME)
            .review(&format!("uid://X1/X1/Xb{number}"), Verdict::Pass);
    }
    observatory.settle();
}

#[test]
fn nine_units_end_with_the_exact_counts_of_the_seed() {
    let mut observatory = Observatory::new(&ALL, SURE);
    delivered(&mut observatory, 9);
    let home = observatory.at(HOME);
    assert!(
        states(home).values().all(|state| *state == UnitState::Delivered),
        "{}",
        home.log()
    );
    assert_eq!(home.records("report").len(), 9);
    assert_eq!(home.records("delivery").len(), 9);
    assert!(
        home.records("delivery")
            .iter()
            .all(|d| d.body["complete"] == json!(true))
    );
    assert_eq!(home.records("archive").len(), 54, "five products and a weblog each");
    assert_eq!(home.books(|b| b.products(None, 1000).unwrap().len()), 45);
    for site in ALL {
        let count = observatory.at(site).unread();
        assert_eq!(count, 0, "{site} has unread messages");
    }
    let at_home = content(&observatory.cache(HOME));
    for site in ["EA", "EU", "NA"] {
        for (path, sum) in content(&observatory.cache(site)) {
            assert_eq!(at_home.get(&path), Some(&sum), "{site}: {path}");
        }
        let archive = content(&observatory.folder.0.join(site).join("archive"));
        let products = observatory.at(site).records("archive").len();
        assert_eq!(archive.len(), products);
        assert!(products >= 10);
    }
}

#[test]
fn the_products_folder_is_laid_out_as_in_the_seed() {
    let mut observatory = Observatory::new(&ALL, SURE);
    observatory
        .at(HOME)
        .launch("uid://X1/X1/Xc1", "PipelineCalibration", "EU");
    observatory.settle();
    let names: Vec<String> = content(&observatory.cache("EU")).into_keys().collect();
    let stamp = &names.iter().find(|n| n.starts_with("2015.1.00657.S_")).unwrap()["2015.1.00657.S_".len()..][..23];
    let (date, time) = stamp.split_once('T').unwrap();
    let stamp = format!("{}T{}", date.replace('_', "-"), time.replace('_', ":"));
    let products = format!(
        "{}/SOUS/GOUS/uid___X1_X1_Xc1/products",
        names[0].split('/').next().unwrap()
    );
    for expected in [
        format!("{products}/pl-report-X1-X1-Xc1-{stamp}.xml"),
        format!("{products}/product-0-X1-X1-Xc1-{stamp}.data"),
        format!("{products}/product-4-X1-X1-Xc1-{stamp}.data"),
        format!("{products}/weblog-X1-X1-Xc1-{stamp}.zip"),
        format!("weblogs/weblog-X1-X1-Xc1-{stamp}.zip"),
        format!("weblogs/weblog-X1-X1-Xc1-{stamp}/index.html"),
    ] {
        assert!(names.contains(&expected), "{expected} is not among {names:#?}");
    }
    assert_eq!(
        names
            .iter()
            .filter(|n| n.contains("weblogs/") && n.ends_with(".html"))
            .count(),
        6
    );
}

#[test]
fn a_failing_pipeline_leads_to_a_problem_that_can_be_queued_again() {
    let mut observatory = Observatory::new(
        &ALL,
        Mock {
            fails_one_in: 1,
            ..SURE
        },
    );
    let uid = "uid://X1/X1/Xb2";
    observatory.at(HOME).launch(uid, "PipelineImaging", "EU");
    observatory.settle();
    assert_eq!(observatory.at(HOME).unit(uid).state, UnitState::ProcessingProblem);
    assert!(
        content(&observatory.cache("EU")).is_empty(),
        "a failed run leaves nothing in the cache"
    );
    assert!(observatory.at("EU").log().contains("the pipeline failed"));
    observatory.at(HOME).launch(uid, "PipelineImaging", "EU");
    observatory.settle();
    let events = observatory.at(HOME).books(|b| b.events(uid).unwrap());
    let to = |state: &str| events.iter().filter(|e| e.to.as_deref() == Some(state)).count();
    assert_eq!((to("Processing"), to("ProcessingProblem")), (2, 2));
    assert!(events.iter().all(|e| !e.author.is_empty() && !e.cause.is_empty()));
}

#[test]
fn about_one_run_in_ten_of_the_mock_fails() {
    let mut observatory = Observatory::new(&["JAO"], Mock::default());
    for number in 0..200 {
        observatory
            .at(HOME)
            .launch(&format!("uid://X1/X1/X{number}"), "PipelineImaging", HOME);
    }
    observatory.settle();
    let failed = states(observatory.at(HOME))
        .values()
        .filter(|s| **s == UnitState::ProcessingProblem)
        .count();
    assert!((8..=36).contains(&failed), "{failed} of 200");
}

#[test]
fn a_cancelled_review_goes_back_to_ready_for_review() {
    let mut observatory = Observatory::new(&ALL, SURE);
    let uid = "uid://X1/X1/Xb2";
    observatory.at(HOME).launch(uid, "PipelineImaging", "NA");
    observatory.settle();
    for (verdict, state) in [
        (Verdict::Begin, UnitState::Reviewing),
        (Verdict::Cancel, UnitState::ReadyForReview),
        (Verdict::Fail, UnitState::ReadyForProcessing),
    ] {
        observatory.at(HOME).review(uid, verdict);
        observatory.settle();
        assert_eq!(
            observatory.at(HOME).unit(uid).state,
            state,
            "{}",
            observatory.at(HOME).log()
        );
    }
    assert_eq!(
        observatory.at(HOME).unit(uid).recipe,
        None,
        "a failed review clears the recipe"
    );
    let reviews = observatory.at(HOME).records("review");
    let ends: Vec<&str> = reviews.iter().map(|r| r.state.as_str()).collect();
    assert_eq!(ends, ["cancelled", "fail"]);
    assert_eq!(reviews[1].body["comment"], json!("looked at"));
    assert!(observatory.at(HOME).log().contains("audit"));
}

#[test]
fn two_consumers_cannot_take_one_message_and_a_lost_one_is_taken_again() {
    let mut observatory = Observatory::new(&["JAO"], SURE);
    observatory.at(HOME).send("notes", json!(1));
    let patterns = ["notes".to_owned()];
    let site = observatory.at(HOME);
    let mut steal = |who: &str, ahead: f64| {
        site.desk(|desk: &mut Desk| {
            let now = desk.now.plus_seconds(ahead);
            let waiting = desk.books.waiting(HOME, &patterns, now, 1).unwrap();
            let id = waiting.first().map(|m| m.id.clone());
            id.filter(|id| desk.books.take(id, who, now, now.plus_seconds(60.0)).unwrap())
        })
    };
    let id = steal("first", 0.0).unwrap();
    assert_eq!(steal("second", 1.0), None, "it is under a lease");
    assert_eq!(steal("second", 61.0).as_ref(), Some(&id), "the first has died with it");
    let end = Settlement {
        state: MessageState::Consumed,
        reason: None,
    };
    let settle = |site: &mut support::Site, who: &str| site.books(|b| b.settle(&id, Some(who), &end).unwrap());
    assert!(!settle(site, "first"), "the first has lost its lease");
    assert!(settle(site, "second") && !settle(site, "second"));
}

#[test]
fn a_message_to_a_group_reaches_every_member_and_one_that_is_too_old_nobody() {
    let mut observatory = Observatory::new(&["JAO"], SURE);
    let site = observatory.at(HOME);
    site.books(|b| ["a", "b"].iter().for_each(|m| b.join("news", m).unwrap()));
    site.send("news.*", json!("hello"));
    let patterns = ["news.*".to_owned()];
    let seen = site.desk(|desk| {
        let waiting = desk.books.waiting(HOME, &patterns, desk.now, 10).unwrap();
        waiting.into_iter().map(|m| m.selector).collect::<Vec<_>>()
    });
    assert_eq!(seen, ["news.a", "news.b"]);
    site.desk(|desk| {
        let ask = json!({ "operation": "get-state", "ousUID": "u" });
        desk.send(Draft::new("xtss", ask, "test").answered_at("answers").living(0.000_001))
            .unwrap();
    });
    observatory.advance(1);
    observatory.settle();
    let states: Vec<MessageState> = observatory
        .at(HOME)
        .books(|b| b.messages(false, 100).unwrap())
        .iter()
        .map(|m| m.state)
        .collect();
    assert!(states.contains(&MessageState::Expired), "{states:?}");
}

#[test]
fn a_driver_that_dies_in_the_middle_of_a_run_runs_it_again_under_the_same_name() {
    let mut observatory = Observatory::new(&ALL, SURE);
    let uid = "uid://X1/X1/Xb2";
    observatory.at(HOME).launch(uid, "PipelineImaging", "EU");
    for _ in 0..10 {
        observatory.carry(&[]);
        for site in observatory.sites.values_mut() {
            site.station.turn(&mut site.ledger).unwrap();
        }
    }
    let station = observatory.at("EU").station.clone();
    let taken = observatory
        .at("EU")
        .desk(|desk| alidade_delivery::driver::take(desk, 2).unwrap());
    assert_eq!(taken.unwrap().unit, uid);
    // It has died here: nothing of the run is kept.
    station.recover(&mut observatory.at("EU").ledger).unwrap();
    observatory.settle();
    assert_eq!(observatory.at(HOME).unit(uid).state, UnitState::ReadyForReview);
    let runs = observatory.at("EU").records("job.run");
    assert_eq!((runs.len(), &runs[0].body["attempts"]), (1, &json!(2)));
    assert_eq!(observatory.at(HOME).records("report").len(), 1);
    assert_eq!(
        observatory.at(HOME).records("report")[0].body["source"],
        json!("EU"),
        "the executive, not a path"
    );
}

#[test]
fn a_site_that_is_cut_off_catches_up_and_nothing_happens_twice() {
    let mut observatory = Observatory::new(&ALL, SURE);
    for number in 0..4 {
        observatory
            .at(HOME)
            .launch(&format!("uid://X1/X1/Xb{number}"), "PipelineImaging", "EU");
    }
    for _ in 0..20 {
        observatory.carry(&["EU"]);
        for site in observatory.sites.values_mut() {
            site.settle();
        }
    }
    assert!(
        states(observatory.at(HOME))
            .values()
            .all(|s| *s == UnitState::ReadyForProcessing)
    );
    observatory.settle();
    for number in 0..4 {
        observatory
            .at(HOME)
            .review(&format!("uid://X1/X1/Xb{number}"), Verdict::SemiPass);
    }
    observatory.settle();
    for number in 0..4 {
        let uid = format!("uid://X1/X1/Xb{number}");
        let events = observatory.at(HOME).books(|b| b.events(&uid).unwrap());
        let times = events.iter().filter(|e| e.to.as_deref() == Some("Delivered")).count();
        assert_eq!(times, 1, "{uid}");
        assert_eq!(
            observatory.at("EU").unit(&uid).state,
            UnitState::Delivered,
            "every site shows it"
        );
    }
}

#[test]
fn what_is_ingested_again_stays_as_it_is() {
    let mut observatory = Observatory::new(&ALL, SURE);
    delivered(&mut observatory, 1);
    let home = observatory.at(HOME);
    let job = home.records("job.ingest").pop().unwrap();
    let (documents, products) = (home.records("archive"), home.books(|b| b.products(None, 100).unwrap()));
    let again = json!({ "ousUID": job.unit, "timestamp": job.body["timestamp"], "productsDir": job.id });
    home.send("ingest.JAO", again);
    observatory.settle();
    let home = observatory.at(HOME);
    assert_eq!(home.records("archive"), documents);
    assert_eq!(home.books(|b| b.products(None, 100).unwrap()), products);
    assert_eq!(home.unit("uid://X1/X1/Xb0").state, UnitState::Delivered);
}

#[test]
fn the_bound_on_parallel_runs_holds() {
    let mut observatory = Observatory::new(&["JAO"], SURE);
    for number in 0..5 {
        observatory
            .at(HOME)
            .launch(&format!("uid://X1/X1/X{number}"), "PipelineImaging", HOME);
    }
    let site = observatory.at(HOME);
    while site.station.turn(&mut site.ledger).unwrap() > 0 {}
    let mut take = || {
        site.desk(|desk| alidade_delivery::driver::take(desk, 2).unwrap())
            .is_some()
    };
    assert_eq!([take(), take(), take()], [true, true, false]);
}
