//! The agent as others know it: frames are announced, facts and watches come back.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod support;

use alidade_fits::Header;
use alidade_model::{exposure::FrameKind, journal::Fact};
use alidade_observation::{
    feedback::{Limits, retake},
    messages::FrameReady,
};
use serde_json::Value;
use support::{Folder, House, Light, counts, field, frame_bytes, header, run, truth};

/// Longest search of an error circle, seconds.
const BUDGET_S: f64 = 0.5;

fn lit(x: f64, y: f64, mag: f64) -> Light {
    Light {
        x,
        y,
        counts: counts(mag),
        trail_px: 0.0,
    }
}

/// The candidates that a report names, from the fact of this exposure.
fn found(house: &House, wanted: &str, of_box: bool) -> Vec<alidade_model::alert::Candidate> {
    let of = |fact: &Fact| match fact {
        Fact::CandidatesFound {
            exposure,
            report,
            found,
            ..
        } if exposure == wanted && report.ends_with("-box.json") == of_box => Some(found.clone()),
        _ => None,
    };
    house.facts.borrow().iter().find_map(of).unwrap_or_default()
}

#[test]
fn the_error_circle_of_an_alert_goes_before_its_frame_and_its_frame_before_what_waits() {
    let folder = Folder::new("lane");
    let (stars, lights) = field();
    let burst = lit(530.0, 470.0, 14.0);
    let with: Vec<Light> = lights.iter().copied().chain([burst]).collect();
    let place = truth().sky_of(burst.x, burst.y);
    run(async {
        let house = House::new(&folder.0, Some(stars));
        let routine = frame_bytes(2, 0.0, &lights);
        for exposure in ["a", "b", "c"] {
            house.send(house.frame("2026-03-14", exposure, FrameKind::Object), &routine);
        }
        for (n, exposure) in ["d", "e", "f"].iter().enumerate() {
            let bytes = frame_bytes(n as u64 + 3, n as f64, &with);
            house.send(house.alert(exposure, place), &bytes);
        }
        // Everything waits at the gate: the first frame has begun, the others are in the queue.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        house.finish(6).await;
        let story: Vec<String> = house.story().iter().map(|(what, of)| format!("{what} {of}")).collect();
        let expected = [
            "reduced a",
            "box d",
            "reduced d",
            "candidates d",
            "box e",
            "reduced e",
            "candidates e",
            "box f",
            "reduced f",
            "candidates f",
            "reduced b",
            "reduced c",
        ];
        assert_eq!(story, expected);
        for of_box in [true, false] {
            let best = &found(&house, "d", of_box)[0];
            let off = alidade_analysis::astrometry::stars::separation(best.ra_deg, best.dec_deg, place.0, place.1);
            assert!(off * 3600.0 < 1.0 && (best.mag.unwrap() - 14.0).abs() < 0.1, "{best:?}");
        }
        // The instant of the first box is the burst's, and it is told once.
        let timed = |fact: &Fact| matches!(fact, Fact::AlertTiming { stages, .. } if stages.contains_key("error_box"));
        assert!(house.facts.borrow().iter().filter(|f| timed(f)).count() >= 1);
        // Two pieces of work a frame: the box, with the masters of the night, and the whole. The machine may be doing
        // something else: the best of three.
        let seconds = house.seconds.borrow();
        let quickest = [2, 4, 6].map(|n| seconds[n]).into_iter().fold(f64::INFINITY, f64::min);
        assert!(quickest < BUDGET_S, "{seconds:?}");
    });
}

#[test]
fn what_moves_between_visits_of_an_alert_is_named_and_the_burst_stays_first() {
    let folder = Folder::new("mover");
    let (stars, lights) = field();
    let burst = lit(530.0, 470.0, 14.5);
    let visit = |moved: f64| {
        let others = [burst, lit(490.0, 520.0 + moved, 14.0)];
        lights.iter().copied().chain(others).collect::<Vec<Light>>()
    };
    run(async {
        let house = House::new(&folder.0, Some(stars));
        let place = truth().sky_of(burst.x, burst.y);
        house.send(house.alert("a", place), &frame_bytes(3, 0.0, &visit(0.0)));
        house.send(house.alert("b", place), &frame_bytes(4, 4.0, &visit(10.0)));
        house.finish(2).await;
        let first: Value = report(&folder, "a");
        assert_eq!(first["motions"].as_array().unwrap().len(), 0);
        let second: Value = report(&folder, "b");
        let motions = second["motions"].as_array().unwrap();
        assert_eq!(motions.len(), 1, "{motions:?}");
        // Ten pixels of 1.8 arcseconds to the north in four minutes.
        assert!(
            (motions[0]["arcsec_per_min"].as_f64().unwrap() - 4.5).abs() < 0.1,
            "{motions:?}"
        );
        let angle = motions[0]["position_angle_deg"].as_f64().unwrap();
        assert!(angle.min(360.0 - angle) < 2.0, "{motions:?}");
        let told = found(&house, "b", false);
        assert!(
            (told[0].mag.unwrap() - 14.5).abs() < 0.1 && !told[0].note.contains("moving"),
            "{told:?}"
        );
        assert!(told.iter().any(|c| c.note.contains("moving")), "{told:?}");
    });
}

#[test]
fn the_first_visit_is_the_reference_of_the_next_and_shows_what_faded_on_top_of_a_star() {
    let folder = Folder::new("reference");
    let (stars, lights) = field();
    // Two pixels beside a star of the field: no source of its own.
    let beside = lights
        .iter()
        .find(|l| (450.0..570.0).contains(&l.x) && (450.0..570.0).contains(&l.y) && l.counts < counts(14.5))
        .copied()
        .unwrap();
    let visit = |mag: f64| {
        let burst = lit(beside.x + 2.0, beside.y - 1.0, mag);
        lights.iter().copied().chain([burst]).collect::<Vec<Light>>()
    };
    run(async {
        let house = House::new(&folder.0, Some(stars));
        let place = truth().sky_of(beside.x + 2.0, beside.y - 1.0);
        house.send(house.alert("a", place), &frame_bytes(3, 0.0, &visit(14.0)));
        house.send(house.alert("b", place), &frame_bytes(4, 4.0, &visit(15.0)));
        house.finish(2).await;
        assert!(report(&folder, "a")["subtraction"].is_null());
        let difference = report(&folder, "b")["subtraction"].clone();
        assert_eq!(difference["reference"], "2026-03-14/calibrated/a.fits", "{difference}");
        let changes = difference["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{difference}");
        let number = |key: &str| changes[0][key].as_f64().unwrap();
        let off = alidade_analysis::astrometry::stars::separation(number("ra"), number("dec"), place.0, place.1);
        assert!(off * 3600.0 < 1.5 && number("flux") < 0.0, "{difference}");
        // Of 14.0 less 15.0 remains the light of 14.55.
        assert!((number("mag") - 14.55).abs() < 0.15, "{difference}");
    });
}

fn report(folder: &Folder, exposure: &str) -> Value {
    let path = folder.0.join(format!("2026-03-14/alerts/{exposure}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn trailed_and_saturated_frames_come_to_the_rule_that_takes_them_again() {
    let folder = Folder::new("retake");
    let (stars, lights) = field();
    let trailed: Vec<Light> = lights
        .iter()
        .map(|l| Light {
            trail_px: 14.0,
            counts: 4.0 * l.counts,
            ..*l
        })
        .collect();
    // The target is where the header points: twenty arcseconds of pointing error beside the middle.
    let pointed = truth().pixel_of(header(0.0).get_f64("RA").unwrap(), header(0.0).get_f64("DEC").unwrap());
    let (x, y) = pointed.unwrap();
    let burnt: Vec<Light> = lights.iter().copied().chain([lit(x, y, 5.0)]).collect();
    run(async {
        let house = House::new(&folder.0, Some(stars));
        let frames = [("good", &lights), ("trailed", &trailed), ("burnt", &burnt)];
        for (n, (exposure, lights)) in frames.iter().enumerate() {
            let bytes = frame_bytes(n as u64 + 7, 0.0, lights);
            house.send(house.frame("2026-03-14", exposure, FrameKind::Object), &bytes);
        }
        house.finish(3).await;
        let seen = house.feedback.borrow().clone();
        let flags: Vec<(&str, bool, bool)> = seen
            .iter()
            .map(|s| (s.exposure.as_str(), s.trailed, s.saturated))
            .collect();
        let expected = [("good", false, false), ("trailed", true, false), ("burnt", false, true)];
        assert_eq!(flags, expected);
        let limits = Limits {
            retakes: 2,
            ..Limits::default()
        };
        let first = retake(&seen, "s1", "vis", &[], &limits).unwrap();
        assert_eq!(
            (first.exposure.as_str(), first.exposure_s),
            ("trailed", support::SECONDS)
        );
        let second = retake(&seen, "s1", "vis", &["trailed".into()], &limits).unwrap();
        assert_eq!(
            (second.exposure.as_str(), second.exposure_s),
            ("burnt", support::SECONDS / 4.0)
        );
        // The width of the stars and the offset of the pointing are those of the simulation.
        let good = &seen[0];
        let (east, north) = good.offset_arcsec.unwrap();
        let cosine = 40f64.to_radians().cos();
        assert!(
            (east + 20.0 * cosine).abs() < 1.0 && (north - 15.0).abs() < 1.0,
            "{good:?}"
        );
        let width = 2.0 * (5f64 * 2f64.ln()).sqrt() * 1.8 / 1.2f64.powf(0.6);
        assert!(
            (good.seeing_arcsec.unwrap() / width - 1.0).abs() < 0.1,
            "{good:?} {width}"
        );
        let degraded = house.degradations("trailed").join(" ");
        assert!(degraded.contains("trails"), "{degraded}");
    });
}

/// A small constant frame.
fn plain(level: u16, cards: &[(&str, f64)]) -> Vec<u8> {
    sized((96, 64), level, cards)
}

fn sized((width, height): (usize, usize), level: u16, cards: &[(&str, f64)]) -> Vec<u8> {
    let mut header = Header::new();
    header.text("CHANNEL", "vis", "");
    header.number("XBINNING", 1, "");
    header.number("GAIN", "1.5", "");
    header.number("CCD-TEMP", "-20.0", "");
    for (key, value) in cards {
        header.number(key, value, "");
    }
    let pixels: Vec<u16> = (0..width * height).map(|n| level + (n % 3) as u16).collect();
    alidade_fits::write_u16(&header, width, height, &pixels).unwrap()
}

#[test]
fn frames_of_two_binnings_and_gains_get_masters_of_their_own() {
    let folder = Folder::new("binnings");
    run(async {
        let house = House::new(&folder.0, None);
        // Size, binning, gain, level of the bias.
        let modes = [
            ((96, 64), 1.0, 1.5, 1000),
            ((48, 32), 2.0, 1.5, 500),
            ((96, 64), 1.0, 0.4, 300),
        ];
        for (n, (size, binning, gain, level)) in modes.into_iter().enumerate() {
            let cards = [("XBINNING", binning), ("GAIN", gain)];
            for m in 0..3 {
                let frame = house.frame("2026-03-14", &format!("b{n}{m}"), FrameKind::Bias);
                house.send(frame, &sized(size, level, &cards));
            }
        }
        for (n, (size, binning, gain, level)) in modes.into_iter().enumerate() {
            let cards = [("XBINNING", binning), ("GAIN", gain), ("EXPTIME", 5.0)];
            let frame = house.frame("2026-03-14", &format!("o{n}"), FrameKind::Object);
            house.send(frame, &sized(size, level + 70, &cards));
        }
        house.finish(3).await;
        let names = ["vis-master-bias", "vis-master-bias-2x2", "vis-master-bias-2"];
        for (n, name) in names.iter().enumerate() {
            let exposure = format!("o{n}");
            assert_eq!(
                house.degradations(&exposure).len(),
                2,
                "{:?}",
                house.degradations(&exposure)
            );
            let bytes = std::fs::read(folder.0.join(format!("2026-03-14/calibrated/{exposure}.fits"))).unwrap();
            let (header, image) = alidade_fits::read(&bytes).unwrap();
            assert!(image.pixels.iter().all(|p| (p - 70.0).abs() < 0.1), "{exposure}");
            let file = format!("2026-03-14/masters/{name}.fits");
            assert_eq!(header.get("BIASFILE"), Some(file), "{exposure}");
        }
    });
}

#[test]
fn a_night_without_calibration_frames_uses_those_of_earlier_nights_and_says_so() {
    let folder = Folder::new("earlier");
    run(async {
        let first = House::new(&folder.0, None);
        let mjd = [("MJD-OBS", 61_102.9)];
        let kinds = [
            (FrameKind::Bias, 1000, 0.0),
            (FrameKind::Dark, 1020, 10.0),
            (FrameKind::Flat, 21_000, 1.0),
        ];
        for (kind, level, seconds) in kinds {
            for n in 0..3 {
                let cards = [mjd[0], ("EXPTIME", seconds)];
                let frame = first.frame("2026-03-03", &format!("{kind:?}{n}"), kind);
                first.send(frame, &plain(level, &cards));
            }
        }
        let object = first.frame("2026-03-03", "o1", FrameKind::Object);
        first.send(object, &plain(1540, &[mjd[0], ("EXPTIME", 20.0)]));
        first.finish(1).await;
        assert!(first.degradations("o1").is_empty(), "{:?}", first.degradations("o1"));
        // Eleven days later, another daemon: no calibration frames.
        let later = House::new(&folder.0, None);
        let now = [("MJD-OBS", 61_113.9), ("EXPTIME", 20.0)];
        let cards = |more: &[(&'static str, f64)]| [now.as_slice(), more].concat();
        let frames = [
            ("same", cards(&[])),
            ("binned", cards(&[("XBINNING", 2.0)])),
            ("gained", cards(&[("GAIN", 3.0)])),
            ("warm", cards(&[("CCD-TEMP", -18.5)])),
            ("hot", cards(&[("CCD-TEMP", 5.0)])),
        ];
        for (exposure, cards) in &frames {
            let frame = later.frame("2026-03-14", exposure, FrameKind::Object);
            later.send(frame, &plain(1540, cards));
        }
        let other = FrameReady {
            filter: "g".into(),
            ..later.frame("2026-03-14", "green", FrameKind::Object)
        };
        later.send(other, &plain(1540, &cards(&[])));
        later.finish(6).await;
        let said = |exposure: &str| later.degradations(exposure);
        assert!(
            said("same").len() == 1 && said("same")[0].contains("11 days from the frame"),
            "{:?}",
            said("same")
        );
        for none in ["binned", "gained"] {
            assert_eq!(said(none).len(), 3, "{:?}", said(none));
            assert!(
                said(none).iter().all(|d| d.starts_with("no master")),
                "{:?}",
                said(none)
            );
        }
        let warm = said("warm").join(" ");
        assert!(warm.contains("-1.5 degrees") && said("warm").len() == 2, "{warm}");
        let hot = said("hot").join(" ");
        assert!(
            hot.contains("no master bias") && hot.contains("no master dark") && hot.contains("11 days"),
            "{hot}"
        );
        assert!(
            said("green").iter().any(|d| d.starts_with("no master flat")),
            "{:?}",
            said("green")
        );
        let bytes = std::fs::read(folder.0.join("2026-03-14/calibrated/same.fits")).unwrap();
        let (header, image) = alidade_fits::read(&bytes).unwrap();
        assert_eq!(
            header.get("FLATFILE").as_deref(),
            Some("2026-03-03/masters/vis-master-flat-r.fits")
        );
        assert_eq!(header.get_f64("DARKAGE"), Some(11.0));
        // 1540 less the bias of 1000 and 20 s of 2 a second.
        assert!(
            image.pixels.iter().all(|p| (p - 500.0).abs() <= 3.0),
            "{:?}",
            &image.pixels[..5]
        );
    });
}

#[test]
fn no_broken_frame_ends_the_night() {
    let folder = Folder::new("broken");
    let (stars, lights) = field();
    let good = frame_bytes(5, 0.0, &lights);
    let cards = |cards: &[(&str, &str)]| {
        let mut text: String = cards
            .iter()
            .map(|(k, v)| format!("{:80}", format!("{k:8}= {v:>20}")))
            .collect();
        text.push_str(&format!("{:80}", "END"));
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        bytes
    };
    let claims = |bitpix: &'static str, width: &'static str, height: &'static str| {
        cards(&[
            ("SIMPLE", "T"),
            ("BITPIX", bitpix),
            ("NAXIS", "2"),
            ("NAXIS1", width),
            ("NAXIS2", height),
        ])
    };
    let constant = |value: f32| {
        let image = alidade_fits::Image {
            width: 200,
            height: 150,
            pixels: vec![value; 30_000],
        };
        alidade_fits::write_f32(&header(0.0), &image).unwrap()
    };
    let mut endless = cards(&[("SIMPLE", "T")])[..80].to_vec();
    endless.extend(format!("{:80}", "COMMENT and so on").repeat(70_000).bytes());
    let mut liar = header(0.0);
    let mut elsewhere = truth();
    elsewhere.crval = (300.0, -20.0);
    elsewhere.write(&mut liar, support::SIZE, support::SIZE);
    let lying = alidade_fits::write_u16(&liar, support::SIZE, support::SIZE, &support::pixels(6, &lights)).unwrap();
    // Each with whether it is reduced all the same, and what is said of it then.
    let table: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("truncated", good[..good.len() / 2].to_vec(), None),
        ("endless", endless, None),
        ("bitpix", claims("12", "10", "10"), None),
        ("nothing", claims("16", "0", "10"), None),
        ("huge", claims("16", "100000", "50000"), None),
        ("huger", claims("-64", "4000000000", "4000000000"), None),
        ("text", b"GIF89a and so on".repeat(300), None),
        ("empty", Vec::new(), None),
        ("nan", constant(f32::NAN), Some("no plate solution")),
        ("black", constant(0.0), Some("no plate solution")),
        ("white", constant(65_535.0), Some("no plate solution")),
        ("starless", frame_bytes(8, 0.0, &[]), Some("no plate solution")),
        ("liar", lying, Some("no plate solution")),
    ];
    run(async {
        let house = House::new(&folder.0, Some(stars));
        // Calibration frames as broken as these, and of another size, are one less.
        house.send(house.frame("2026-03-14", "z1", FrameKind::Bias), &table[0].1);
        house.send(house.frame("2026-03-14", "z2", FrameKind::Flat), &table[4].1);
        house.send(house.frame("2026-03-14", "z3", FrameKind::Bias), &plain(1000, &[]));
        let place = truth().sky_of(512.0, 512.0);
        for (exposure, bytes, _) in &table {
            house.send(house.alert(exposure, place), bytes);
        }
        house.send(house.frame("2026-03-14", "good", FrameKind::Object), &good);
        house.finish(table.len() + 1).await;
        for (exposure, _, flagged) in &table {
            let done = house.done.borrow();
            let outcome = &done.iter().find(|d| d.exposure == *exposure).unwrap().outcome;
            match flagged {
                None => {
                    let cause = outcome.as_ref().unwrap_err();
                    assert!(!cause.is_empty() && !cause.contains('\n'), "{exposure}: {cause}");
                }
                Some(flag) => {
                    assert!(outcome.is_ok(), "{exposure}: {outcome:?}");
                    let said = house.degradations(exposure);
                    assert!(said.iter().any(|d| d.contains(flag)), "{exposure}: {said:?}");
                    let report: Value = report(&folder, exposure);
                    assert_eq!(report["candidates"].as_array().unwrap().len(), 0, "{exposure}");
                    assert!(report["not_searched"].is_string(), "{exposure}: {report}");
                }
            }
        }
        // The night goes on: the frame behind them is solved, and says which calibration it lacks.
        let solved = |fact: &Fact| matches!(fact, Fact::FrameSolved { exposure, .. } if exposure == "good");
        assert!(house.facts.borrow().iter().any(solved));
        assert_eq!(house.degradations("good").len(), 3, "{:?}", house.degradations("good"));
        let burnt = house
            .feedback
            .borrow()
            .iter()
            .any(|s| s.exposure == "white" && s.saturated);
        assert!(burnt);
    });
}
