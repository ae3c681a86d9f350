//! Targets and their frames on both databases.

use super::{on_each, on_each_kept, open};
use crate::support::shots::Shot;
use alidade::store::{migrations::Migrations, targets::FrameFilter};
use alidade_model::{
    exposure::{Exposure, ExposureOutcome, FrameKind, ProductKind},
    journal::{Entry, Fact},
    request::{Constraints, Origin, Request, Sequence, Target, Timing},
    time::UtcTime,
};

fn clock(minute: u32) -> UtcTime {
    format!("2026-03-14T20:{minute:02}:00Z").parse().unwrap()
}

fn request(id: &str, user: &str, targets: &[(&str, f64)]) -> Fact {
    let sequence = |(n, (name, ra_deg)): (usize, &(&str, f64))| Sequence {
        id: format!("{id}-{}", n + 1),
        request: id.into(),
        user: user.into(),
        target: Target {
            name: (*name).into(),
            ra_deg: *ra_deg,
            dec_deg: 20.0,
        },
        priority: 5.0,
        window: None,
        t_prefered: None,
        constraints: Constraints::default(),
        timing: Timing::default(),
        albums: Vec::new(),
    };
    Fact::RequestSubmitted {
        request: Request {
            id: id.into(),
            title: format!("Request {id}"),
            user: user.into(),
            origin: Origin::Routine,
            submitted_at: clock(0),
            sequences: targets.iter().enumerate().map(sequence).collect(),
        },
    }
}

fn shot<'a>(exposure: &'a str, sequence: &'a str, filter: &'a str, minute: u32, reduced: bool) -> Shot<'a> {
    Shot {
        exposure,
        sequence,
        filter,
        started_at: clock(minute),
        solved: reduced.then_some((21.0 + f64::from(minute) / 10.0, 19.5)),
    }
}

/// Ada and Tycho want the same target under names that differ in spelling; a name with a wildcard's letter; a frame that
/// came to nothing and one of the camera's noise.
fn entries() -> Vec<Entry> {
    let mut facts = vec![
        request("r1", "ada", &[("NGC 4889", 195.0), ("M_51", 202.5), ("M 101", 210.0)]),
        request("r2", "tycho", &[("ngc4889", 195.1)]),
    ];
    facts.extend(shot("e1", "r1-1", "r", 1, true).facts());
    facts.extend(shot("e2", "r1-2", "g", 2, true).facts());
    facts.extend(shot("e3", "r2-1", "i", 3, true).facts());
    facts.extend(shot("e4", "r1-1", "r", 4, false).facts());
    let mut lost = shot("e5", "r1-3", "r", 5, false).facts();
    lost.truncate(1);
    lost.push(Fact::ExposureEnded {
        exposure: "e5".into(),
        outcome: ExposureOutcome::Aborted { cause: "rain".into() },
    });
    facts.extend(lost);
    let dark = Exposure {
        id: "d1".into(),
        sequence: None,
        channel: "vis".into(),
        kind: FrameKind::Dark,
        filter: "r".into(),
        exposure_s: 60.0,
        binning: 1,
        started_at: clock(6),
    };
    facts.push(Fact::ExposureStarted { exposure: dark });
    let number = |(seq, fact)| Entry {
        seq,
        at: clock(10),
        fact,
    };
    (1..).zip(facts).map(number).collect()
}

#[test]
fn targets_are_told_with_their_frames_to_those_whose_they_are() {
    on_each(|url| {
        let mut store = open(url);
        store.append(&entries()).unwrap();
        let names = |store: &mut alidade::store::Store, own: Option<&str>, text: &str| -> Vec<(String, u64)> {
            let all = store.observed_targets(own, text, None, 10).unwrap();
            all.into_iter().map(|one| (one.name, one.frames)).collect()
        };
        // The last frame is Ada's, so its name is hers; what came to nothing is no frame.
        let all = [("NGC 4889".to_owned(), 3), ("M_51".to_owned(), 1)];
        assert_eq!(names(&mut store, None, ""), all);
        assert_eq!(
            names(&mut store, Some("ada"), ""),
            [("NGC 4889".to_owned(), 2), ("M_51".to_owned(), 1)]
        );
        assert_eq!(names(&mut store, Some("tycho"), ""), [("ngc4889".to_owned(), 1)]);
        assert_eq!(names(&mut store, Some("nobody"), ""), []);
        assert_eq!(names(&mut store, None, "C48"), all[..1]);
        assert_eq!(names(&mut store, None, "m_5"), all[1..], "a letter is no wildcard");
        assert_eq!(names(&mut store, None, "n_c"), []);
        let first = store.observed_targets(None, "", None, 1).unwrap();
        assert_eq!((first[0].first_at, first[0].last_at), (clock(1), clock(4)));
        assert_eq!(
            (first[0].ra_deg, &first[0].filters),
            (195.0, &vec!["i".to_owned(), "r".to_owned()])
        );
        let second = store.observed_targets(None, "", Some(first[0].seq), 1).unwrap();
        assert_eq!(second[0].name, "M_51");
        assert_eq!(store.observed_targets(None, "", Some(second[0].seq), 1).unwrap(), []);
        assert_eq!(store.observed_target(None, "ngc 4889").unwrap().unwrap(), first[0]);
        assert_eq!(store.observed_target(None, "M 101").unwrap(), None);
        let of = |own| -> Vec<String> {
            let all = store.target_sequences(own, "NGC4889", 10).unwrap();
            all.into_iter()
                .map(|one| format!("{} {}", one.sequence, one.state))
                .collect()
        };
        let mut of = of;
        assert_eq!(of(None), ["r2-1 submitted", "r1-1 submitted"]);
        assert_eq!(of(Some("ada")), ["r1-1 submitted"]);
    });
}

#[test]
fn frames_come_with_what_was_measured_and_the_first_file_of_each_kind() {
    on_each(|url| {
        let mut store = open(url);
        store.append(&entries()).unwrap();
        let mut ids = |wanted: &FrameFilter, limit| -> Vec<String> {
            let frames = store.target_frames("NGC 4889", wanted, limit).unwrap();
            frames.into_iter().map(|frame| frame.exposure).collect()
        };
        let plain = FrameFilter::default();
        assert_eq!(ids(&plain, 10), ["e4", "e3", "e1"]);
        let own = Some("ada");
        assert_eq!(ids(&FrameFilter { own, ..plain }, 10), ["e4", "e1"]);
        let filter = Some("i");
        assert_eq!(ids(&FrameFilter { filter, ..plain }, 10), ["e3"]);
        let page = store.target_frames("NGC 4889", &plain, 2).unwrap();
        let before = Some(page[1].seq);
        let rest = store
            .target_frames("NGC 4889", &FrameFilter { before, ..plain }, 2)
            .unwrap();
        assert_eq!(rest.len(), 1);
        let one = &rest[0];
        assert_eq!((one.sources, one.fwhm_px), (Some(12), Some(3.5)));
        assert_eq!((one.zero_point, one.limiting_mag), (Some(21.1), Some(19.5)));
        assert_eq!(one.degradations, ["flat field"]);
        assert_eq!(one.files[&ProductKind::Preview], "2026-03-14/previews/e1.png");
        assert_eq!(one.files.len(), 4);
        let waits = &page[0];
        assert_eq!((waits.reduced_at, waits.zero_point, waits.files.len()), (None, None, 1));
    });
}

#[test]
fn what_the_journal_tells_of_solutions_is_taken_over_when_their_table_comes() {
    on_each_kept(|url| {
        let before = {
            let mut store = open(url);
            store.append(&entries()).unwrap();
            store.target_frames("ngc4889", &FrameFilter::default(), 10).unwrap()
        };
        assert!(before.iter().any(|frame| frame.zero_point.is_some()));
        let mut schema = Migrations::open(url, false).unwrap();
        let versions = schema.status().unwrap();
        let later = versions
            .iter()
            .filter(|version| version.version.as_str() >= "0013")
            .count();
        schema.revert(later).unwrap();
        assert!(
            schema
                .columns()
                .unwrap()
                .iter()
                .all(|column| column.table != "frame_solutions")
        );
        schema.apply().unwrap();
        let after = open(url).target_frames("ngc4889", &FrameFilter::default(), 10).unwrap();
        assert_eq!(before, after);
    });
}
