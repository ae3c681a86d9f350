use super::*;
use alidade_model::exposure::{Exposure, FrameKind, Product};
use alidade_model::request::{Album, Plan, Sequence, Target};

fn at(second: f64) -> UtcTime {
    "2026-03-14T23:32:10Z".parse::<UtcTime>().unwrap().plus_seconds(second)
}

fn entries(facts: Vec<(f64, Fact)>) -> Vec<Entry> {
    facts
        .into_iter()
        .enumerate()
        .map(|(n, (second, fact))| Entry {
            seq: n as u64 + 1,
            at: at(second),
            fact,
        })
        .collect()
}

fn timing(stages: &[(&str, f64)]) -> Fact {
    Fact::AlertTiming {
        event: "event-1".into(),
        stages: stages.iter().map(|(stage, s)| ((*stage).to_owned(), at(*s))).collect(),
    }
}

fn moved(to: EventState) -> Fact {
    Fact::EventMoved {
        event: "event-1".into(),
        from: None,
        to,
        name: "SVOM sb26022501".into(),
        ra_deg: Some(204.7),
        dec_deg: Some(44.6),
        r90_deg: Some(0.1),
        cause: "1 notices".into(),
    }
}

fn request() -> Fact {
    let sequence = Sequence {
        id: "alert-1-1-1".into(),
        request: "alert-1-1".into(),
        user: "alerts".into(),
        target: Target {
            name: "x".into(),
            ra_deg: 204.7,
            dec_deg: 44.6,
        },
        priority: 960.0,
        window: None,
        t_prefered: None,
        constraints: Default::default(),
        timing: Default::default(),
        albums: vec![Album {
            channel: "vis".into(),
            plans: vec![Plan {
                filter: "r".into(),
                exposure_s: 10.0,
                count: 1,
                binning: 1,
                dither_arcsec: 0.0,
            }],
        }],
    };
    Fact::RequestSubmitted {
        request: Request {
            id: "alert-1-1".into(),
            title: "x".into(),
            user: "alerts".into(),
            origin: Origin::Alert {
                event: "event-1".into(),
                strategy: "grb v1".into(),
            },
            submitted_at: at(0.0),
            sequences: vec![sequence],
        },
    }
}

fn exposed() -> Vec<(f64, Fact)> {
    let exposure = Exposure {
        id: "e1".into(),
        sequence: Some("alert-1-1-1".into()),
        channel: "vis".into(),
        kind: FrameKind::Object,
        filter: "r".into(),
        exposure_s: 10.0,
        binning: 1,
        started_at: at(30.0),
    };
    let product = Product {
        id: "p".into(),
        kind: ProductKind::Calibrated,
        exposure: Some("e1".into()),
        sequence: Some("alert-1-1-1".into()),
        path: "2026-03-14/p.fits".into(),
        size_bytes: 1,
        sha256: String::new(),
        made_at: at(44.0),
    };
    vec![
        (30.0, timing(&[("first_light", 30.0)])),
        (30.0, Fact::ExposureStarted { exposure }),
        (
            42.0,
            Fact::ExposureEnded {
                exposure: "e1".into(),
                outcome: ExposureOutcome::Written { product: "raw".into() },
            },
        ),
        (44.0, Fact::ProductMade { product }),
        (
            44.0,
            Fact::FrameReduced {
                exposure: "e1".into(),
                sources: 77,
                fwhm_px: Some(2.1),
                background: 100.0,
                rms: 5.0,
                degradations: vec![],
            },
        ),
    ]
}

fn day_of_an_event() -> Vec<Entry> {
    let packet = Fact::PacketReceived {
        packet: "p1".into(),
        channel: "vtp".into(),
        size_bytes: 10,
        verdict: "act".into(),
        reason: "ok".into(),
        body: "<x/>".into(),
        identity: None,
        event: None,
    };
    let first = timing(&[
        ("event", -65.0),
        ("notice_sent", -3.0),
        ("received", 0.0),
        ("parsed", 0.000_2),
        ("merged", 0.000_3),
        ("decided", 0.001),
    ]);
    let mut facts = vec![
        (0.0, packet),
        (0.0, moved(EventState::New)),
        (0.0, request()),
        (0.001, first),
    ];
    facts.push((
        12.0,
        timing(&[("exposure_aborted", 0.4), ("slew_commanded", 0.5), ("on_target", 12.0)]),
    ));
    facts.extend(exposed());
    entries(facts)
}

#[test]
fn an_events_way_becomes_a_budget_and_histograms() {
    let mut records = AlertRecords::default();
    day_of_an_event().iter().for_each(|e| records.append(e));
    // The second packet of an event does not count again.
    let again = entries(vec![(200.0, timing(&[("received", 200.0), ("decided", 200.5)]))]);
    again.iter().for_each(|e| records.append(e));
    let record = records.get("event-1").unwrap();
    assert_eq!(record.packets, ["p1"]);
    let shares: Vec<(String, f64)> = budget(&record.stages)
        .into_iter()
        .map(|s| (s.to, (s.seconds * 1e4).round() / 1e4))
        .collect();
    let expected = [
        ("notice_sent", 62.0),
        ("received", 3.0),
        ("parsed", 0.0002),
        ("merged", 0.0001),
        ("decided", 0.0007),
        ("slew_commanded", 0.499),
        ("on_target", 11.5),
        ("first_light", 18.0),
    ];
    assert_eq!(shares, expected.map(|(stage, s)| (stage.to_owned(), s)));
    let histograms = records.histograms();
    assert_eq!(histograms["decided"].count, 1);
    assert_eq!(histograms["notice_sent"].quantile_s(0.5), Some(3.0));
    assert_eq!(histograms["slew_commanded"].quantile_s(0.99), Some(0.5));
    assert!(!histograms.contains_key("received"));
    assert_eq!(histograms["first_light"].counts.iter().sum::<u64>(), 1);
}

#[test]
fn what_is_found_is_due_once_and_again_when_more_is_known() {
    let mut records = AlertRecords::default();
    let mut told = Vec::new();
    for entry in day_of_an_event() {
        records.append(&entry);
        for event in records.take_due() {
            let record = records.get(&event).unwrap().clone();
            let report = crate::results::report(
                &record,
                &crate::results::Reporter {
                    site: "OHP".into(),
                    telescope: "T1".into(),
                },
            );
            told.push((report.revision, report.status.clone(), report.frames.len()));
            let fact = Fact::AlertReported {
                event: event.clone(),
                path: "outbox/event-1.json".into(),
                draft: "outbox/event-1.circular.txt".into(),
                report: Box::new(report),
            };
            records.append(&Entry {
                seq: 100,
                at: entry.at,
                fact,
            });
        }
    }
    assert_eq!(told, [(1, "first_light".to_owned(), 1), (2, "reduced".to_owned(), 1)]);
    let frame = &records.get("event-1").unwrap().frames[0];
    assert_eq!((frame.sources, frame.since_trigger_s), (Some(77), Some(95.0)));
    assert_eq!(frame.path.as_deref(), Some("2026-03-14/p.fits"));
    records.append(&entries(vec![(500.0, moved(EventState::Retracted))])[0]);
    assert_eq!(records.take_due(), ["event-1"], "others must hear that it was nothing");
    // Killed between first light and the report: it is told by the next daemon.
    let mut restored = AlertRecords::default();
    day_of_an_event().iter().for_each(|e| restored.append(e));
    restored.take_due();
    restored.resume(std::iter::empty());
    assert_eq!(restored.take_due(), ["event-1"]);
    assert!(restored.histograms().is_empty());
}

/// The search of a frame, and what it found: right ascensions at one declination.
fn found(exposure: &str, ras_deg: &[f64]) -> Fact {
    let candidate = |ra_deg: &f64| Candidate {
        ra_deg: *ra_deg,
        dec_deg: 0.0,
        err_arcsec: Some(0.3),
        filter: "r".into(),
        mag: Some(17.0),
        mag_err: None,
        exposure: exposure.into(),
        note: String::new(),
    };
    Fact::CandidatesFound {
        event: "event-1".into(),
        exposure: exposure.into(),
        report: "r.json".into(),
        candidates: ras_deg.len() as u64,
        best_ra_deg: ras_deg.first().copied(),
        best_dec_deg: None,
        best_mag: None,
        found: ras_deg.iter().map(candidate).collect(),
    }
}

#[test]
fn a_report_is_due_after_the_first_search_and_whenever_a_source_is_new() {
    let mut records = AlertRecords::default();
    let mut due = |fact: Fact| {
        records.append(&entries(vec![(1.0, fact)])[0]);
        let due = !records.take_due().is_empty();
        let record = records.get("event-1").unwrap();
        (due, record.searched, record.candidates.clone())
    };
    let (first, searched, none) = due(found("x-1", &[]));
    assert!(
        first && searched == 1 && none.is_empty(),
        "that nothing is there is news once"
    );
    assert!(!due(found("x-2", &[])).0);
    assert!(due(found("x-3", &[10.0])).0);
    let (again, searched, one) = due(found("x-4", &[10.0 + 1.0 / 3600.0]));
    assert!(!again && searched == 4, "the same source, a second of arc beside");
    assert_eq!(
        (one.len(), one[0].exposure.as_str()),
        (1, "x-4"),
        "as it was measured last"
    );
    let (news, _, two) = due(found("x-5", &[10.0 + 5.0 / 3600.0, 10.0]));
    assert!(news);
    assert_eq!(two.len(), 2);
}

#[test]
fn only_so_many_events_are_kept() {
    let mut records = AlertRecords::default();
    for n in 0..EVENTS + 10 {
        let stages = BTreeMap::from([("received".to_owned(), at(n as f64))]);
        let event = format!("event-{n}");
        records.append(&entries(vec![(n as f64, Fact::AlertTiming { event, stages })])[0]);
    }
    assert_eq!(records.all().len(), EVENTS);
    assert!(records.get("event-9").is_none() && records.get("event-10").is_some());
}
