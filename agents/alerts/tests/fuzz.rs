//! Hostile input of every kind, made from the grammar of each codec and from real notices with pieces moved: no panic,
//! no second lost, no memory taken on the word of a stranger, and no telescope pointed where there is no sky.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use alidade_alerts::notice::SkyMap;
use alidade_alerts::report::{Line, Reader};
use alidade_alerts::skymap::MultiOrderMap;
use alidade_alerts::transport::vtp::frame::{FrameDecoder, encode};
use alidade_alerts::transport::vtp::message::classify;
use alidade_alerts::{Channel, Limits, Verdict, read, xml};
use base64::Engine as _;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use tokio::time::Instant;

/// Longest that any packet may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most memory that all of this may take, kilobytes: the largest packet is 4 MB, and its tree some times that.
const MOST_MEMORY_KB: u64 = 256 << 10;

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn data(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/public")
            .join(name),
    )
    .unwrap()
}

/// The most memory this process ever had, kilobytes.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn judge(name: &str, bytes: &[u8]) -> Line {
    let started = Instant::now();
    let line = Reader::new(now()).read(name, bytes);
    assert!(
        started.elapsed() < PATIENCE,
        "{:?} for {} bytes",
        started.elapsed(),
        bytes.len()
    );
    assert!(peak_kb() < MOST_MEMORY_KB, "{} kB", peak_kb());
    if line.verdict == Verdict::Act
        && let (Some(ra), Some(dec)) = (line.ra_deg, line.dec_deg)
    {
        assert!(
            (0.0..360.0).contains(&ra) && (-90.0..=90.0).contains(&dec),
            "{ra} {dec}"
        );
        assert!(line.err_deg.is_none_or(|e| e > 0.0 && e <= 45.0));
    }
    line
}

/// Tokens in any order, some of them many times.
fn soup(tokens: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let one = (proptest::sample::select(tokens), 1..4usize, any::<bool>());
    let many = proptest::collection::vec((one, 0..40usize), 0..most);
    many.prop_map(|parts| {
        let mut text = String::new();
        for ((token, times, often), more) in parts {
            text.push_str(&token.repeat(if often { times * more } else { times }));
        }
        text.into_bytes()
    })
}

const XML: &[&str] = &[
    "<",
    ">",
    "/>",
    "</",
    "<?xml version=\"1.0\"?>",
    "<voe:VOEvent xmlns:voe=\"http://www.ivoa.net/xml/VOEvent/v2.0\" ",
    "ivorn=\"ivo://a/b#c\"",
    " role=\"observation\"",
    " version=\"2.0\">",
    "<WhereWhen>",
    "<AstroCoords>",
    "<ISOTime>",
    "2026-11-20T11:59:00",
    "</ISOTime>",
    "<Position2D unit=\"deg\">",
    "<C1>",
    "1e5",
    "</C1>",
    "&lt;",
    "&#0;",
    "&#x10FFFF;",
    "&x;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<!DOCTYPE a [",
    "<!ENTITY x \"y\">",
    "]>",
    "<a>",
    "</a>",
    "<a b='",
    "'",
    "\"",
    "\u{0}",
    "\u{FFFE}",
    "\u{1F52D}",
    "xmlns:p=\"q\"",
    "p:c=\"d\"",
    "</voe:VOEvent>",
    "<Param name=\"Packet_Type\" value=\"61\"/>",
    "<?php ",
    "?>",
    "<EventIVORN cite=\"retraction\">",
    "ivo://a/b#c",
    "\r\n",
    "\u{FEFF}",
    "<trn:Transport role=\"iamalive\"",
];

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"ra\"",
    "\"dec\"",
    "\"id\"",
    "\"ra_dec_error\"",
    "\"trigger_time\"",
    "\"alert_type\"",
    "\"superevent_id\"",
    "\"event\"",
    "\"skymap\"",
    "\"healpix_file\"",
    "\"classification\"",
    "1",
    "-1",
    "1e308",
    "1e309",
    "0.1",
    "null",
    "true",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"S1a\"",
    "\"AAAA\"",
    "\"2026-11-20T11:59:00Z\"",
    "\"$schema\"",
    "\\",
    "\"",
    " ",
    "NaN",
    "\"mission\"",
    "\"RETRACTION\"",
    "\"U0lNUExF\"",
    "99999999999999999999",
];

const TEXT: &[&str] = &[
    "TITLE: GCN/SWIFT NOTICE\n",
    "NOTICE_TYPE: Swift-BAT GRB Position\n",
    "NOTICE_TYPE: ",
    "GRB_RA: ",
    "GRB_DEC: ",
    "74.7d",
    " {+04h} (J2000),\n",
    "1e999",
    "-",
    "GRB_ERROR: 3.0 [arcmin]\n",
    "GRB_ERROR: 9% [deg\n",
    "GRB_DATE: 16177 TJD\n",
    "GRB_TIME: 99999999 SOD\n",
    "TRIGGER_NUM: ",
    "12345,",
    "COMMENTS: lost lock\n",
    "MOST_LIKELY: 5% GRB\n",
    ":",
    "\n",
    "\u{e9}",
];

/// A sky map's header with some cards changed, and some bytes of table behind it.
fn fits() -> impl Strategy<Value = Vec<u8>> {
    const KEYS: &[&str] = &[
        "NAXIS1", "NAXIS2", "TFIELDS", "PCOUNT", "TFORM1", "BITPIX", "NAXIS", "ORDERING", "TTYPE2", "EXTEND",
    ];
    const VALUES: &[&str] = &[
        "0",
        "1",
        "-1",
        "16",
        "2147483647",
        "9223372036854775807",
        "'1K      '",
        "'999999999D'",
        "'X'",
        "T",
        "1E400",
    ];
    let change = (proptest::sample::select(KEYS), proptest::sample::select(VALUES));
    (proptest::collection::vec(change, 0..4), 0..6000usize, any::<u8>()).prop_map(|(changes, length, fill)| {
        let card = |key: &str, value: &str| format!("{:<80}", format!("{key:<8}= {value:>20}"));
        let block = |cards: String| format!("{cards:<width$}", width = cards.len().div_ceil(2880) * 2880);
        let primary = [
            card("SIMPLE", "T"),
            card("BITPIX", "8"),
            card("NAXIS", "0"),
            card("EXTEND", "T"),
        ]
        .concat();
        let table = [
            ("XTENSION", "'BINTABLE'"),
            ("BITPIX", "8"),
            ("NAXIS", "2"),
            ("NAXIS1", "16"),
            ("NAXIS2", "100"),
            ("PCOUNT", "0"),
            ("GCOUNT", "1"),
            ("TFIELDS", "2"),
            ("TTYPE1", "'UNIQ    '"),
            ("TFORM1", "'K       '"),
            ("TTYPE2", "'PROBDENSITY'"),
            ("TFORM2", "'D       '"),
            ("ORDERING", "'NUNIQ   '"),
        ];
        let cards: String = table
            .iter()
            .map(|(key, value)| {
                let changed = changes.iter().find(|(k, _)| k == key).map_or(*value, |(_, v)| *v);
                card(key, changed)
            })
            .collect();
        let header = block(primary + &format!("{:<80}", "END")) + &block(cards + &format!("{:<80}", "END"));
        let mut bytes = header.into_bytes();
        bytes.extend(std::iter::repeat_n(fill, length));
        bytes
    })
}

/// What is done to a real notice: pieces cut out, copied elsewhere, overwritten.
#[derive(Clone, Debug)]
enum Harm {
    Cut(f64, usize),
    Copy(f64, usize, f64),
    Write(f64, Vec<u8>),
}

fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let harm = prop_oneof![
        (0.0..1.0f64, 1..200usize).prop_map(|(at, n)| Harm::Cut(at, n)),
        (0.0..1.0f64, 1..400usize, 0.0..1.0f64).prop_map(|(at, n, to)| Harm::Copy(at, n, to)),
        (0.0..1.0f64, proptest::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, with)| Harm::Write(at, with)),
    ];
    proptest::collection::vec(harm, 1..6)
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn harm(mut bytes: Vec<u8>, harms: &[Harm]) -> Vec<u8> {
    for harm in harms {
        let place = |share: f64| (share * bytes.len() as f64) as usize;
        match harm {
            Harm::Cut(at, n) => drop(bytes.drain(place(*at)..(place(*at) + n).min(bytes.len()))),
            Harm::Copy(at, n, to) => {
                let piece = bytes[place(*at)..(place(*at) + n).min(bytes.len())].to_vec();
                let to = place(*to);
                drop(bytes.splice(to..to, piece));
            }
            Harm::Write(at, with) => {
                let at = place(*at);
                let end = (at + with.len()).min(bytes.len());
                drop(bytes.splice(at..end, with.iter().copied()));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_xml_like_text_is_judged_at_once(bytes in soup(XML, 60)) {
        judge("x.xml", &bytes);
        drop(classify(&bytes, &Limits::default()));
        drop(xml::root_attribute(&bytes, "ivorn"));
    }

    #[test]
    fn any_json_like_text_is_judged_at_once(bytes in soup(JSON, 60)) {
        judge("x.json", &bytes);
    }

    #[test]
    fn any_notice_like_text_is_judged_at_once(bytes in soup(TEXT, 40)) {
        judge("x.txt", &bytes);
    }

    #[test]
    fn any_stream_of_frames_is_judged_at_once(
        parts in proptest::collection::vec((soup(XML, 8), any::<u32>(), any::<bool>()), 0..6)
    ) {
        let mut stream = Vec::new();
        for (payload, length, honest) in parts {
            if honest {
                stream.extend(encode(&payload).unwrap());
            } else {
                stream.extend(length.to_be_bytes());
                stream.extend(payload);
            }
        }
        judge("x.vtp", &stream);
        let mut decoder = FrameDecoder::new(Limits::default().max_packet_bytes);
        decoder.push(&stream);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }

    #[test]
    fn any_header_of_a_sky_map_is_read_or_refused_at_once(bytes in fits()) {
        let started = Instant::now();
        if let Ok(map) = MultiOrderMap::from_fits(&bytes) {
            prop_assert!(map.cells.iter().all(|cell| cell.probability().is_finite()));
            prop_assert!(map.credible_area_deg2(0.9) <= 41_253.1);
        }
        prop_assert!(started.elapsed() < PATIENCE && peak_kb() < MOST_MEMORY_KB);
        let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let alert = format!(
            "{{\"superevent_id\":\"S1a\",\"alert_type\":\"INITIAL\",\"event\":{{\"time\":\"2026-11-20T11:59:00Z\",\"skymap\":\"{encoded}\"}}}}"
        );
        judge("x.json", alert.as_bytes());
    }

    #[test]
    fn any_text_for_base64_is_a_map_that_cannot_be_read(text in "[A-Za-z0-9+/=\\-_ é]{0,200}") {
        let notice = serde_json::json!({ "mission": "X", "id": "1", "trigger_time": "2026-11-20T11:59:00Z", "healpix_file": text });
        let reading = read(notice.to_string().as_bytes(), Channel::Json, now());
        prop_assert_ne!(reading.verdict, Verdict::Act);
        let readable = matches!(reading.notice.and_then(|n| n.skymap.clone()), Some(SkyMap::Fits(_)));
        prop_assert!(!readable);
    }

    #[test]
    fn real_notices_with_pieces_moved_are_judged_at_once(
        name in proptest::sample::select(&[
            "003_swift_SWIFT_bat_position_v2.0_example.xml", "004_swift_SWIFT_xrt_position_v1.1_example.xml",
            "030_lvk_example_voevent.xml", "031_svom_eclairs_296.xml", "048_einsteinprobe_alert_247.json",
        ][..]),
        harms in harms(),
    ) {
        judge(name, &harm(data(name), &harms));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_large_notice_with_pieces_of_its_sky_map_moved_is_judged_at_once(harms in harms()) {
        judge("x.json", &harm(data("068_lvk_initial.json"), &harms));
    }
}

#[test]
fn the_largest_and_deepest_packets_are_judged_at_once() {
    let limits = Limits::default();
    let fill = |open: &str, middle: &str, close: &str, times: usize| {
        format!("{}{middle}{}", open.repeat(times), close.repeat(times)).into_bytes()
    };
    for (name, bytes) in [
        ("x.xml", fill("<a>", "", "</a>", 300_000)),
        ("x.xml", fill("<a b='", "", "'/>", 100_000)),
        ("x.xml", vec![b'<'; limits.max_packet_bytes]),
        ("x.xml", fill("&amp;", "", "", 200_000)),
        (
            "x.xml",
            [
                b"<a b='".to_vec(),
                vec![b'x'; limits.max_packet_bytes - 20],
                b"'/>".to_vec(),
            ]
            .concat(),
        ),
        ("x.json", fill("[", "", "]", 2_000_000)),
        ("x.json", fill("{\"a\":", "1", "}", 600_000)),
        (
            "x.json",
            [b"\"".to_vec(), vec![b'\\'; 4_000_000], b"\"".to_vec()].concat(),
        ),
        ("x.json", format!("[{}1]", "1,".repeat(2_000_000)).into_bytes()),
        ("x.txt", fill("GRB_RA: 1\n", "", "", 100_000)),
        ("x.vtp", vec![0; 1 << 20]),
    ] {
        assert_ne!(judge(name, &bytes).verdict, Verdict::Act);
    }
}
