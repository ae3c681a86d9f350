use super::*;
use crate::{HorizonMask, PlanOptions, Site, Weights, plan};
use alidade_model::{
    clock::Clock,
    journal::Recorder,
    request::{self, Album, Group, Origin, Phase, Plan, Target, Timing},
};
use std::{cell::Cell, rc::Rc};

fn at(text: &str) -> UtcTime {
    format!("2026-03-{text}Z").parse().unwrap()
}

struct Hands(Rc<Cell<UtcTime>>);
impl Clock for Hands {
    fn now(&self) -> UtcTime {
        self.0.get()
    }
}

fn settings() -> SchedulingSettings {
    SchedulingSettings {
        site: Site::new(43.93, 5.71, 650.0),
        weights: Weights::default(),
        readout_s: 3.0,
        overhead_s: 60.0,
        climate: crate::outlook::Climate::even(0.6, 0.3),
        season_nights: 10,
        overheads: crate::Overheads::default(),
        horizon: HorizonMask::default(),
        lowest_alt_deg: 15.0,
        iterations: 50,
        seed: 1,
    }
}

fn sequence(id: &str, ra_deg: f64) -> Sequence {
    Sequence {
        id: id.into(),
        request: "r".into(),
        user: "ada".into(),
        target: Target {
            name: id.into(),
            ra_deg,
            dec_deg: 40.0,
        },
        priority: 5.0,
        window: None,
        t_prefered: None,
        constraints: request::Constraints::default(),
        timing: Timing::default(),
        albums: vec![Album {
            channel: "vis".into(),
            plans: vec![Plan {
                filter: "r".into(),
                exposure_s: 57.0,
                count: 10,
                binning: 1,
                dither_arcsec: 0.0,
            }],
        }],
    }
}

/// A night with its book, and hands that move its clock.
struct Evening {
    book: Book,
    recorder: Recorder,
    hands: Rc<Cell<UtcTime>>,
    settings: SchedulingSettings,
}

impl Evening {
    fn new(sequences: Vec<Sequence>) -> Self {
        let hands = Rc::new(Cell::new(at("14T12:00:00")));
        let recorder = Recorder::new(Rc::new(Hands(hands.clone())), 0, vec![]);
        let mut book = Book::default();
        book.grant("ada", "IRAP", 36_000.0, &recorder).unwrap();
        let request = request::Request {
            id: "r".into(),
            title: "r".into(),
            user: "ada".into(),
            origin: Origin::Routine,
            submitted_at: hands.get(),
            sequences,
        };
        request.check().unwrap();
        book.submit(request, &recorder).unwrap();
        Self {
            book,
            recorder,
            hands,
            settings: settings(),
        }
    }

    fn problem(&self) -> Problem {
        Posing {
            settings: &self.settings,
            book: &self.book,
            promised: None,
            conditions: &[],
            now: self.hands.get(),
            first: true,
            night: Span::new(at("14T18:00:00").chrono(), at("15T05:30:00").chrono()),
        }
        .problem()
    }

    fn planned(&self) -> Vec<(String, UtcTime)> {
        let made = plan(&self.problem(), PlanOptions::default()).unwrap();
        made.planned
            .iter()
            .map(|p| (p.id.clone(), UtcTime::new(p.start)))
            .collect()
    }

    fn execute(&mut self, id: &str, ended: &str) {
        self.hands.set(at(ended));
        for state in [SequenceState::Executing, SequenceState::Executed] {
            self.book.move_to(id, state, "test", &self.recorder).unwrap();
        }
    }

    fn hopeless(&self, id: &str) -> Option<String> {
        hopeless(self.book.line(id).unwrap(), &self.book, self.hands.get())
    }
}

fn after(other: &str, min_gap_s: f64, max_gap_s: Option<f64>, required: bool) -> Option<request::After> {
    Some(request::After {
        sequence: other.into(),
        min_gap_s,
        max_gap_s,
        required,
    })
}

#[test]
fn windows_are_what_life_list_and_phase_have_in_common() {
    let mut s = sequence("s", 180.0);
    s.window = Some((at("14T20:00:00"), at("15T02:00:00")));
    s.timing.windows = vec![
        (at("14T19:00:00"), at("14T21:00:00")),
        (at("15T01:00:00"), at("15T04:00:00")),
    ];
    s.timing.phase = Some(Phase {
        epoch: at("14T00:30:00"),
        period_s: 7200.0,
        from: 0.0,
        to: 0.5,
    });
    let problem = Evening::new(vec![s]).problem();
    let windows: Vec<Window> = problem.requests[0]
        .windows
        .iter()
        .map(|w| (UtcTime::new(w.start), UtcTime::new(w.end)))
        .collect();
    assert_eq!(
        windows,
        [
            (at("14T20:30:00"), at("14T21:00:00")),
            (at("15T01:00:00"), at("15T01:30:00"))
        ]
    );
}

#[test]
fn a_phase_of_another_night_closes_this_one_and_says_when_it_comes() {
    let mut s = sequence("s", 180.0);
    s.timing.phase = Some(Phase {
        epoch: at("16T22:00:00"),
        period_s: 5.0 * 86_400.0,
        from: 0.99,
        to: 0.01,
    });
    let evening = Evening::new(vec![s]);
    let made = plan(&evening.problem(), PlanOptions::default()).unwrap();
    assert_eq!(made.unplanned[0].reason.code(), "window_closed");
    assert!(
        made.unplanned[0].sentence.contains("next opens 2026-03-16"),
        "{}",
        made.unplanned[0].sentence
    );
}

#[test]
fn a_follower_waits_for_its_predecessor_and_then_for_its_gap() {
    let mut second = sequence("b", 180.0);
    second.timing.after = after("a", 1800.0, Some(3600.0), true);
    let mut evening = Evening::new(vec![sequence("a", 180.0), second]);
    let places = evening.planned();
    let start = |id: &str, places: &[(String, UtcTime)]| places.iter().find(|p| p.0 == id).unwrap().1;
    let gap = start("b", &places).seconds_since(start("a", &places).plus_seconds(600.0));
    assert!((1800.0..=3600.0).contains(&gap), "{gap}");

    evening.execute("a", "14T22:00:00");
    let start = start("b", &evening.planned());
    assert!((at("14T22:30:00")..=at("14T23:01:00")).contains(&start), "{start}");
    assert_eq!(evening.hopeless("b"), None);
    evening.hands.set(at("14T23:00:01"));
    assert!(evening.hopeless("b").unwrap().contains("3600 s after a"));
}

#[test]
fn a_required_predecessor_that_is_given_up_takes_its_follower_along_and_a_visit_does_not() {
    let mut must = sequence("must", 180.0);
    must.timing.after = after("a", 0.0, None, true);
    let mut visit = sequence("visit", 180.0);
    visit.timing.after = after("a", 600.0, Some(700.0), false);
    let mut evening = Evening::new(vec![sequence("a", 180.0), must, visit]);
    evening
        .book
        .move_to("a", SequenceState::Cancelled, "by ada", &evening.recorder)
        .unwrap();
    assert!(evening.hopeless("must").unwrap().contains("which is cancelled"));
    assert_eq!(evening.hopeless("visit"), None);
    assert_eq!(
        evening.planned().iter().map(|p| p.0.as_str()).collect::<Vec<_>>(),
        ["visit"]
    );
}

#[test]
fn what_a_group_has_already_counts_for_its_limits() {
    let member = |id: &str| {
        let mut s = sequence(id, 180.0);
        s.timing.group = Some(Group {
            name: "g".into(),
            at_least: 2,
            at_most: Some(2),
        });
        s
    };
    let mut evening = Evening::new(vec![member("a"), member("b"), member("c")]);
    assert_eq!(evening.planned().len(), 2);
    evening.execute("a", "14T20:00:00");
    assert_eq!(evening.planned().len(), 1);
    let rule = evening.problem().groups["r/g"];
    assert_eq!((rule.at_least, rule.at_most), (1, Some(1)));
}

#[test]
fn the_quota_of_an_institute_bounds_all_its_members_together() {
    let mut evening = Evening::new(vec![sequence("a", 180.0), sequence("b", 190.0)]);
    evening
        .book
        .grant("tycho", "IRAP", 36_000.0, &evening.recorder)
        .unwrap();
    assert_eq!(evening.planned().len(), 2);
    evening.book.grant_institute("IRAP", 700.0, &evening.recorder).unwrap();
    let made = plan(&evening.problem(), PlanOptions::default()).unwrap();
    assert_eq!(
        (made.planned.len(), made.unplanned[0].reason.code()),
        (1, "quota_exhausted")
    );
    assert!(
        made.unplanned[0].sentence.contains("the institute irap"),
        "{}",
        made.unplanned[0].sentence
    );
}

#[test]
fn the_horizon_and_the_mount_bound_everybody() {
    let mut evening = Evening::new(vec![sequence("a", 180.0)]);
    assert_eq!(evening.planned().len(), 1);
    evening.settings.lowest_alt_deg = 89.9;
    assert!(evening.planned().is_empty());
    evening.settings.lowest_alt_deg = 0.0;
    evening.settings.horizon.points = vec![(0.0, 89.0), (180.0, 89.0)];
    let made = plan(&evening.problem(), PlanOptions::default()).unwrap();
    assert!(
        made.unplanned[0].sentence.contains("behind the local horizon"),
        "{}",
        made.unplanned[0].sentence
    );
}
