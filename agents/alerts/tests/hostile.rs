//! Hostile and odd packets, made from one sound packet: each gets the verdict it must get, quickly.

#![allow(clippy::unwrap_used)]

use alidade_alerts::Reason as R;
use alidade_alerts::Verdict::{Act, Conflict, Duplicate, Ignore, Reject};
use alidade_alerts::report::Reader;
use alidade_alerts::transport::vtp::frame::encode;
use chrono::{DateTime, Utc};

const SOUND: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent ivorn="ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_42-0" role="observation" version="2.0" xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0">
<Who><AuthorIVORN>ivo://nasa.gsfc.tan/gcn</AuthorIVORN><Date>2026-11-20T11:58:31</Date></Who>
<What><Param name="Packet_Type" value="61"/><Param name="TrigID" value="42"/><Param name="Coords_Type" value="1"/></What>
<WhereWhen><ObsDataLocation><ObservationLocation><AstroCoordSystem id="UTC-FK5-GEO"/><AstroCoords coord_system_id="UTC-FK5-GEO"><Time unit="s"><TimeInstant><ISOTime>2026-11-20T11:58:12.50</ISOTime></TimeInstant></Time><Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>74.5</C1><C2>-9.25</C2></Value2><Error2Radius>0.05</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
</voe:VOEvent>
"#;

const NOTICE: &str = r#"{"mission":"SVOM","instrument":"ECLAIRs","alert_datetime":"2026-11-20T11:59:00Z","alert_tense":"current","alert_type":"initial","record_number":1,"id":["sb1"],"trigger_time":"2026-11-20T11:58:12.5Z","ra":74.5,"dec":-9.25,"ra_dec_error":0.05}"#;

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn one(file: &str, bytes: &[u8]) -> (alidade_alerts::Verdict, R) {
    let line = Reader::new(now()).read(file, bytes);
    (line.verdict, line.reason)
}

#[test]
fn a_changed_packet_gets_the_verdict_it_must_get() {
    let cite = |kind: &str, what: &str| {
        format!("<Citations><EventIVORN cite=\"{kind}\">{what}</EventIVORN></Citations></voe:VOEvent>")
    };
    let long_value = format!("value=\"{}\"", "x".repeat(1 << 20));
    let lost = "value=\"1\"/><Group name=\"Solution_Status\"><Param name=\"StarTrack_Lost_Lock\" value=\"true\"/></Group></What>";
    let not_grb = lost.replace("StarTrack_Lost_Lock", "Def_NOT_a_GRB");
    let cases: Vec<(&str, String, _, R)> = vec![
        ("", String::new(), Act, R::Ok),
        ("http://www.ivoa", "https://www.ivoa".into(), Act, R::Ok),
        (" role=\"observation\"", String::new(), Act, R::Ok),
        ("#BAT_GRB_Pos_42-0", "?BAT_GRB_Pos_42-0".into(), Act, R::Ok),
        ("<C1>74.5</C1>", "<C1> <![CDATA[+074.5]]> </C1>".into(), Act, R::Ok),
        ("<C1>74.5</C1>", "<C1>360</C1>".into(), Act, R::Ok),
        (
            "http://www.ivoa.net",
            "http://evil.example".into(),
            Reject,
            R::UnknownNamespace,
        ),
        (
            "version=\"2.0\"",
            "version=\"3.0\"".into(),
            Reject,
            R::UnsupportedVersion,
        ),
        ("role=\"observation\"", "role=\"test\"".into(), Ignore, R::Test),
        ("role=\"observation\"", "role=\"utility\"".into(), Ignore, R::Utility),
        (
            "role=\"observation\"",
            "role=\"prediction\"".into(),
            Ignore,
            R::Prediction,
        ),
        (
            "role=\"observation\"",
            "role=\"Observation\"".into(),
            Ignore,
            R::UnknownRole,
        ),
        ("value=\"42\"", "value=\"99999\"".into(), Ignore, R::Test),
        ("value=\"61\"", "value=\"82\"".into(), Ignore, R::Test),
        ("value=\"61\"", "value=\"140\"".into(), Ignore, R::SubThreshold),
        ("value=\"61\"", "value=\"141\"".into(), Ignore, R::CatalogueSource),
        ("value=\"61\"", "value=\"103\"".into(), Ignore, R::NotASource),
        ("#BAT_GRB_Pos_42-0", "#BAT_TEST_42".into(), Ignore, R::Test),
        ("#BAT_GRB_Pos_42-0", String::new(), Reject, R::Ivorn),
        ("gcn/SWIFT#", "gcn/../SWIFT#".into(), Reject, R::Ivorn),
        ("BAT_GRB_Pos_42-0", "x".repeat(10_000), Reject, R::Ivorn),
        ("74.5", "nan".into(), Reject, R::BadNumber),
        ("74.5", "inf".into(), Reject, R::BadNumber),
        ("74.5", "74,5".into(), Reject, R::BadNumber),
        ("74.5", "-0.001".into(), Reject, R::OutOfRange),
        ("-9.25", "90.5".into(), Reject, R::OutOfRange),
        ("0.05<", "360<".into(), Ignore, R::NotLocalised),
        ("0.05<", "50<".into(), Ignore, R::ErrorTooLarge),
        (
            "Coords_Type\" value=\"1\"",
            "Coords_Type\" value=\"0\"".into(),
            Ignore,
            R::NoPosition,
        ),
        (
            "Coords_Type\" value=\"1\"",
            "Coords_Type\" value=\"2\"".into(),
            Ignore,
            R::NoPosition,
        ),
        ("unit=\"deg\"", "unit=\"furlong\"".into(), Reject, R::UnknownUnit),
        ("<Name1>RA</Name1>", "<Name1>GLON</Name1>".into(), Reject, R::AxisNames),
        (
            "UTC-FK5-GEO\"><Time",
            "UTC-GAL-GEO\"><Time".into(),
            Reject,
            R::CoordinateSystem,
        ),
        (
            "2026-11-20T11:58:12.50",
            "2026-11-00T11:58:12.50".into(),
            Reject,
            R::BadTime,
        ),
        (
            "2026-11-20T11:58:12.50",
            "2026-11-20T12:01:30".into(),
            Reject,
            R::FutureTime,
        ),
        ("2026-11-20T11:58:12.50", "2026-11-18T11:58:12".into(), Ignore, R::Stale),
        ("value=\"1\"/></What>", lost.into(), Ignore, R::LostLock),
        ("value=\"1\"/></What>", not_grb, Ignore, R::NotAGrb),
        ("value=\"42\"", long_value, Reject, R::TooLarge),
        (
            "<voe:VOEvent ",
            "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><voe:VOEvent ".into(),
            Reject,
            R::Dtd,
        ),
        ("value=\"42\"", "value=\"&xxe;\"".into(), Reject, R::XmlSyntax),
        ("</voe:VOEvent>", "</voe:VOEvent><a/>".into(), Reject, R::XmlSyntax),
        ("encoding=\"UTF-8\"", "encoding=\"EBCDIC\"".into(), Reject, R::Encoding),
        (
            "</voe:VOEvent>",
            cite("retraction", "ivo://nasa.gsfc.gcn/SWIFT#other"),
            Ignore,
            R::Retraction,
        ),
        (
            "</voe:VOEvent>",
            cite("retraction", "ivo://somebody/else#1"),
            Ignore,
            R::ForeignRetraction,
        ),
        (
            "</voe:VOEvent>",
            cite("followup", "IVO://nasa.gsfc.gcn/swift#bat_grb_pos_42-0"),
            Reject,
            R::SelfCitation,
        ),
    ];
    for (from, to, verdict, reason) in cases {
        assert!(SOUND.contains(from), "{from}");
        let text = if from.is_empty() {
            SOUND.to_string()
        } else {
            SOUND.replacen(from, &to, 1)
        };
        let got = one("x.xml", text.as_bytes());
        assert_eq!(
            got,
            (verdict, reason),
            "{from} -> {}",
            to.chars().take(80).collect::<String>()
        );
    }
}

#[test]
fn a_changed_json_notice_gets_the_verdict_it_must_get() {
    for (from, to, verdict, reason) in [
        ("", "", Act, R::Ok),
        ("[\"sb1\"]", "\"sb1\"", Act, R::Ok),
        ("\"ra_dec_error\":0.05", "\"ra_dec_error\":[0.1,0.05,30]", Act, R::Ok),
        ("\"ra_dec_error\":0.05", "\"ra_dec_error\":-1", Act, R::Ok),
        ("\"ra_dec_error\":0.05", "\"ra_dec_error\":60", Ignore, R::ErrorTooLarge),
        ("\"ra\":74.5,", "\"ra\":null,", Ignore, R::NoPosition),
        ("\"ra\":74.5,", "\"ra\":1,\"ra\":74.5,", Reject, R::DuplicateKey),
        ("\"ra\":74.5,", "\"ra\":\"74.5\",", Reject, R::JsonType),
        ("\"ra\":74.5,", "\"ra\":1e999,", Reject, R::JsonSyntax),
        ("\"ra\":74.5,", "\"ra\":474.5,", Reject, R::OutOfRange),
        ("current", "test", Ignore, R::Test),
        ("current", "injection", Ignore, R::Test),
        ("current", "archival", Ignore, R::NotCurrent),
        ("current", "perhaps", Ignore, R::UnknownTense),
        ("initial", "retraction", Ignore, R::Retraction),
        ("initial", "sequel", Ignore, R::UnknownAlertType),
        ("11:58:12.5Z", "25:58:12.5Z", Reject, R::BadTime),
        (
            "\"trigger_time\":\"2026-11-20T11:58:12.5Z\",",
            "",
            Ignore,
            R::NoEventTime,
        ),
    ] {
        assert!(NOTICE.contains(from), "{from}");
        let text = if from.is_empty() {
            NOTICE.to_string()
        } else {
            NOTICE.replacen(from, to, 1)
        };
        assert_eq!(one("x.json", text.as_bytes()), (verdict, reason), "{from} -> {to}");
    }
}

#[test]
fn copies_are_duplicates_and_forgeries_are_conflicts_whatever_the_case_of_the_name() {
    let mut reader = Reader::new(now());
    let mut verdict = |text: &str| {
        let line = reader.read("x.xml", text.as_bytes());
        (line.verdict, line.reason)
    };
    assert_eq!(verdict(SOUND), (Act, R::Ok));
    assert_eq!(verdict(SOUND), (Duplicate, R::DuplicateBytes));
    assert_eq!(verdict(&SOUND.replace("><", ">\n<")), (Duplicate, R::DuplicateIvorn));
    assert_eq!(
        verdict(&SOUND.replace("gcn/SWIFT#BAT", "gcn/Swift#bat")),
        (Duplicate, R::DuplicateIvorn)
    );
    assert_eq!(verdict(&SOUND.replace("74.5", "174.5")), (Conflict, R::IvornConflict));
}

#[test]
fn recorded_streams_are_judged_by_their_first_packet() {
    let alive = b"<trn:Transport role='iamalive' version='1.0' \
        xmlns:trn='http://www.telescope-networks.org/xml/Transport/v1.1'><Origin>ivo://x</Origin></trn:Transport>";
    let both = [encode(alive).unwrap(), encode(SOUND.as_bytes()).unwrap()].concat();
    assert_eq!(one("x.bin", &both), (Act, R::Ok));
    assert_eq!(
        one("x.bin", &encode(alive).unwrap()),
        (Ignore, R::IamaliveReplyExpected)
    );
    assert_eq!(one("x.bin", &both[..both.len() - 1]), (Reject, R::EofInFrame));
    assert_eq!(one("x.bin", b"GET / HTTP/1.1\r\n\r\n"), (Reject, R::FrameTooLarge));
    assert_eq!(one("x.bin", b""), (Reject, R::EofInFrame));
}

#[test]
fn the_worst_packets_are_refused_at_once() {
    let started = tokio::time::Instant::now();
    let laughs: String = (0..20)
        .map(|i| format!("<!ENTITY a{i} '{}'>", format!("&a{};", i + 1).repeat(10)))
        .collect();
    let many = |what: &str| format!("<VOEvent>{}</VOEvent>", what.repeat(1_000_000 / what.len()));
    for text in [
        format!("<!DOCTYPE x [{laughs}]><x>&a0;</x>"),
        "<a>".repeat(300_000),
        many("<a/>"),
        many("<a b='1'/>"),
        many("&amp;"),
        many("<EventIVORN cite='followup'>ivo://a/b#c</EventIVORN>"),
        format!(
            "<VOEvent {}/>",
            (0..60_000).map(|i| format!("a{i}='1' ")).collect::<String>()
        ),
        format!(
            "<VOEvent {}/>",
            (0..40_000).map(|i| format!("xmlns:a{i}='u' ")).collect::<String>()
        ),
    ] {
        assert_eq!(one("x.xml", text.as_bytes()).0, Reject);
    }
    for text in [
        "[".repeat(4_000_000),
        "{\"a\":".repeat(500_000),
        format!("[{}1]", "1,".repeat(2_000_000)),
    ] {
        assert_eq!(one("x.json", text.as_bytes()).0, Reject);
    }
    assert!(
        started.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
