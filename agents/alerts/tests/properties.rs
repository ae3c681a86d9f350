//! What must hold whatever comes in: no panic, the same frames however they are cut, the same events in whatever order.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use alidade_alerts::event::{EventBook, EventId, MergeRules, Trust, identity};
use alidade_alerts::report::Reader;
use alidade_alerts::strategy::{UnitCapabilities, decide, from_toml, glob_matches};
use alidade_alerts::transport::vtp::frame::{FrameDecoder, FrameError, encode};
use alidade_alerts::transport::vtp::message::classify;
use alidade_alerts::{Channel, Limits, Verdict, read};
use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// A packet of the Swift kind with the given identity, time and place.
fn packet(
    authority: &str,
    local: &str,
    trigger: &str,
    seconds: f64,
    place: Option<(f64, f64, f64)>,
    cites: &[String],
) -> String {
    let time = now() - Duration::hours(1) + Duration::milliseconds((seconds * 1000.0) as i64);
    let time = time.format("%Y-%m-%dT%H:%M:%S%.3f");
    let position = place.map_or_else(String::new, |(ra, dec, err)| {
        format!(
            "<Position2D unit='deg'><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.4}</C1><C2>{dec:.4}</C2></Value2>\
             <Error2Radius>{err:.4}</Error2Radius></Position2D>"
        )
    });
    // GCN's number 140 is a sub-threshold trigger of Swift.
    let kind = if authority == "nasa.gsfc.gcn" {
        "<Param name='Packet_Type' value='140'/>"
    } else {
        ""
    };
    let cites: String = cites
        .iter()
        .map(|c| format!("<EventIVORN cite='followup'>{c}</EventIVORN>"))
        .collect();
    let cites = if cites.is_empty() {
        cites
    } else {
        format!("<Citations>{cites}</Citations>")
    };
    format!(
        "<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' version='2.0' role='observation' \
         ivorn='ivo://{authority}/grb#{local}'><What>{kind}<Param name='TrigID' value='{trigger}'/></What><WhereWhen>\
         <ObsDataLocation><ObservationLocation><AstroCoords coord_system_id='UTC-FK5-GEO'><Time><TimeInstant>\
         <ISOTime>{time}</ISOTime></TimeInstant></Time>{position}</AstroCoords></ObservationLocation></ObsDataLocation>\
         </WhereWhen><Why><Inference><Concept>process.variation.burst;em.gamma</Concept></Inference></Why>{cites}\
         </voe:VOEvent>"
    )
}

fn place() -> impl Strategy<Value = Option<(f64, f64, f64)>> {
    prop_oneof![
        1 => Just(None),
        3 => (0.0..40.0f64, -20.0..20.0f64, 0.01..6.0f64).prop_map(Some),
    ]
}

/// Up to a dozen notices of a few missions within two minutes; some cite an earlier one.
fn notices() -> impl Strategy<Value = Vec<String>> {
    let one = (
        0..4usize,
        0..4u32,
        0.0..120.0f64,
        place(),
        proptest::option::of(0..12usize),
    );
    proptest::collection::vec(one, 1..12).prop_map(|parts| {
        let missions = ["a.sat", "b.sat", "c.sat", "d.sat", "nasa.gsfc.gcn"];
        let name = |i: usize, mission: usize| format!("ivo://{}/grb#n{i}", missions[mission]);
        let owners: Vec<usize> = parts.iter().map(|p| p.0).collect();
        parts
            .iter()
            .enumerate()
            .map(|(i, (mission, trigger, seconds, place, cites))| {
                let cites: Vec<String> = cites
                    .filter(|c| *c < owners.len() && *c != i)
                    .map(|c| name(c, owners[c]))
                    .into_iter()
                    .collect();
                packet(
                    missions[*mission],
                    &format!("n{i}"),
                    &format!("{mission}{trigger}"),
                    *seconds,
                    *place,
                    &cites,
                )
            })
            .collect()
    })
}

fn groups(packets: &[String]) -> BTreeSet<BTreeSet<String>> {
    let mut book = EventBook::new(MergeRules::default(), Trust::default());
    for packet in packets {
        let reading = read(packet.as_bytes(), Channel::Voevent, now());
        assert_ne!(reading.verdict, Verdict::Reject, "{}: {packet}", reading.detail);
        book.insert(&reading);
    }
    let groups: BTreeSet<BTreeSet<String>> = book.events().map(|e| e.notice_keys.into_iter().collect()).collect();
    let in_events: usize = groups.iter().map(BTreeSet::len).sum();
    assert_eq!(in_events, packets.len(), "every packet is in exactly one event");
    groups
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_grouping_is_a_matter_of_the_set_and_not_of_the_order(
        (packets, shuffled) in notices().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle()))
    ) {
        prop_assert_eq!(groups(&packets), groups(&shuffled));
    }

    #[test]
    fn a_packet_twice_is_a_duplicate_and_changes_nothing(packets in notices()) {
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        for packet in &packets {
            book.insert(&read(packet.as_bytes(), Channel::Voevent, now()));
        }
        let before: Vec<_> = book.events().collect();
        for packet in &packets {
            let outcome = book.insert(&read(packet.as_bytes(), Channel::Voevent, now() + Duration::minutes(1)));
            prop_assert_eq!(outcome.verdict, Verdict::Duplicate);
        }
        prop_assert_eq!(book.events().collect::<Vec<_>>(), before);
    }

    #[test]
    fn a_restart_that_reads_only_the_newer_packets_keeps_the_numbers_of_events(packets in notices(), share in 0.0..1.0f64) {
        let mut first = EventBook::new(MergeRules::default(), Trust::default());
        let readings: Vec<_> = packets.iter().map(|p| read(p.as_bytes(), Channel::Voevent, now())).collect();
        let outcomes: Vec<_> = readings.iter().map(|reading| first.insert(reading)).collect();
        let homes: Vec<_> = outcomes.iter().map(|outcome| outcome.event).collect();
        let ever = outcomes.iter().flat_map(|outcome| outcome.touched.iter().copied().chain(outcome.event));
        let last = ever.max().unwrap_or(EventId(0));
        let cut = (share * packets.len() as f64) as usize;
        let mut again = EventBook::new(MergeRules::default(), Trust::default());
        for reading in &readings[..cut] {
            again.recall(&identity(reading.notice.as_ref().unwrap()), now());
        }
        again.continue_after(last);
        for ((reading, home), then) in readings[cut..].iter().zip(&homes[cut..]).zip(&outcomes[cut..]) {
            let outcome = again.replay(reading, *home, &then.touched);
            prop_assert_ne!(outcome.verdict, Verdict::Duplicate);
            if cut == 0 {
                prop_assert_eq!(outcome.event, *home);
            }
        }
        if cut == 0 {
            prop_assert_eq!(again.events().collect::<Vec<_>>(), first.events().collect::<Vec<_>>());
        }
        for reading in &readings {
            prop_assert_eq!(again.insert(reading).verdict, Verdict::Duplicate);
        }
        let fresh = packet("new.sat", "n99", "n99", -40_000.0, None, &[]);
        let outcome = again.insert(&read(fresh.as_bytes(), Channel::Voevent, now()));
        prop_assert!(outcome.event.is_some_and(|id| id > last), "a new event has a new number");
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), name in "[a-z]{1,3}\\.(xml|json|txt|bin|dat)") {
        let line = Reader::new(now()).read(&name, &bytes);
        prop_assert_ne!(line.verdict, Verdict::Act);
        let _ = classify(&bytes, &Limits::default());
    }

    #[test]
    fn a_real_packet_with_bytes_changed_never_panics_and_never_moves_the_telescope_out_of_range(
        cuts in proptest::collection::vec((0..1500usize, any::<u8>()), 1..8),
    ) {
        let mut bytes = packet("a.sat", "n1", "17", 0.0, Some((10.0, 20.0, 0.1)), &[]).into_bytes();
        for (at, byte) in cuts {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let line = Reader::new(now()).read("x.xml", &bytes);
        if line.verdict == Verdict::Act {
            prop_assert!((0.0..360.0).contains(&line.ra_deg.unwrap()));
            prop_assert!((-90.0..=90.0).contains(&line.dec_deg.unwrap()));
            prop_assert!(line.err_deg.is_none_or(|e| e > 0.0 && e <= 45.0));
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        chunk in 1..64usize,
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|f| encode(f).unwrap()).collect();
        let mut decoder = FrameDecoder::new(300);
        let mut out = Vec::new();
        for bytes in stream.chunks(chunk) {
            decoder.push(bytes);
            while let Some(frame) = decoder.next_frame().unwrap() {
                out.push(frame);
            }
        }
        prop_assert_eq!(out, frames);
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn any_stream_ends_in_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..500), limit in 0..200usize) {
        let mut decoder = FrameDecoder::new(limit);
        decoder.push(&bytes);
        let mut taken = 0;
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    prop_assert!(frame.len() <= limit);
                    taken += frame.len() + 4;
                }
                Ok(None) => break,
                Err(FrameError::TooLarge { length, .. }) => {
                    prop_assert!(length > limit as u64);
                    return Ok(());
                }
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
        }
        prop_assert_eq!(decoder.finish().is_ok(), taken == bytes.len());
    }

    #[test]
    fn strategy_text_and_globs_never_panic(text in "\\PC{0,200}", glob in "[a-z*?/]{0,12}", stream in "[a-z/]{0,12}") {
        let _ = from_toml(&text);
        let _ = glob_matches(&glob, &stream);
        prop_assert!(glob_matches("*", &stream));
    }

    #[test]
    fn deciding_never_panics_and_never_points_out_of_range(packets in notices(), fov in 0.05..20.0f64, hours in -2..60i64) {
        let strategies: Vec<_> = [
            include_str!("../../../config/strategies/30-grb-arcmin.toml"),
            include_str!("../../../config/strategies/90-test.toml"),
        ]
        .iter()
        .map(|text| {
            let mut strategy = from_toml(text).unwrap();
            strategy.enabled = true;
            strategy.matching.streams = vec!["*".to_string()];
            strategy
        })
        .collect();
        let mut book = EventBook::new(MergeRules::default(), Trust::default());
        for packet in &packets {
            book.insert(&read(packet.as_bytes(), Channel::Voevent, now()));
        }
        for event in book.events() {
            let decision = decide(&event, &strategies, &UnitCapabilities::with_field(fov), now() + Duration::hours(hours));
            prop_assert_eq!(decision.losers.len() + usize::from(decision.followed.is_some()), strategies.len());
            if let Some(p) = decision.followed {
                prop_assert!((0.0..360.0).contains(&p.ra_deg) && (-90.0..=90.0).contains(&p.dec_deg));
                prop_assert!(!p.steps.is_empty() && p.not_after > p.not_before - Duration::hours(3));
            }
        }
    }
}
