//! VOEvent 2.0 packets of our own, valid by the IVOA's schema.
//!
//! Standard: IVOA VOEvent 2.0 (2011). Children are in no namespace, an error radius is always given with a position, and
//! the coordinate system is one of the fourteen that the schema names.

use chrono::{DateTime, Utc};
use quick_xml::escape::escape;

use crate::instant::format_millis;
use crate::notice::CiteKind;

/// The role of a packet of ours: never that of an observation of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenRole {
    /// Something that we saw.
    Observation,
    /// To see whether the line works.
    Test,
}

/// Where and when something was seen, ICRS and UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// When.
    pub at: DateTime<Utc>,
    /// Right ascension, degrees.
    pub ra_deg: f64,
    /// Declination, degrees.
    pub dec_deg: f64,
    /// Error radius, degrees.
    pub err_deg: f64,
}

/// A packet to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Its identifier: `ivo://authority/resource#local`, never used twice.
    pub ivorn: String,
    /// Its role.
    pub role: WrittenRole,
    /// Identifier of who writes it.
    pub author: String,
    /// Name of who writes it, for people.
    pub title: String,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// What it is about, for people.
    pub description: String,
    /// Name, value and unit of what was measured.
    pub params: Vec<(String, String, String)>,
    /// Where and when.
    pub seen: Option<Seen>,
    /// Packets it speaks of.
    pub cites: Vec<(CiteKind, String)>,
}

/// Text without the characters XML cannot carry, escaped.
fn text(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !c.is_control()).collect();
    escape(visible.as_str()).into_owned()
}

impl Packet {
    /// A test packet of an author (`ivo://authority/resource`), made at `now`.
    #[must_use]
    pub fn test(author: &str, now: DateTime<Utc>) -> Self {
        let stream = author.split(['#', '?']).next().unwrap_or_default();
        Self {
            ivorn: format!("{stream}#TestEvent-{}", now.format("%Y-%m-%dT%H:%M:%S%.6f")),
            role: WrittenRole::Test,
            author: author.to_string(),
            title: "Alidade".to_string(),
            written_at: now,
            description: "A test: the line works.".to_string(),
            params: Vec::new(),
            seen: None,
            cites: Vec::new(),
        }
    }

    /// The packet as XML.
    #[must_use]
    pub fn to_xml(&self) -> Vec<u8> {
        let role = match self.role {
            WrittenRole::Observation => "observation",
            WrittenRole::Test => "test",
        };
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <voe:VOEvent xmlns:voe=\"http://www.ivoa.net/xml/VOEvent/v2.0\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:schemaLocation=\"http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd\" \
             version=\"2.0\" role=\"{role}\" ivorn=\"{}\">\n\
             <Who><AuthorIVORN>{}</AuthorIVORN><Date>{}</Date><Author><title>{}</title></Author></Who>\n<What>",
            text(&self.ivorn),
            text(&self.author),
            self.written_at.format("%Y-%m-%dT%H:%M:%S"),
            text(&self.title),
        );
        for (name, value, unit) in &self.params {
            let unit = if unit.is_empty() {
                String::new()
            } else {
                format!(" unit=\"{}\"", text(unit))
            };
            xml.push_str(&format!(
                "<Param name=\"{}\" value=\"{}\"{unit}/>",
                text(name),
                text(value)
            ));
        }
        xml.push_str(&format!(
            "<Description>{}</Description></What>\n",
            text(&self.description)
        ));
        if let Some(seen) = &self.seen {
            xml.push_str(&where_when(seen));
        }
        if !self.cites.is_empty() {
            xml.push_str("<Citations>");
            for (kind, ivorn) in &self.cites {
                xml.push_str(&format!(
                    "<EventIVORN cite=\"{}\">{}</EventIVORN>",
                    relation(*kind),
                    text(ivorn)
                ));
            }
            xml.push_str("</Citations>\n");
        }
        xml.push_str("</voe:VOEvent>\n");
        xml.into_bytes()
    }
}

/// The standard knows three relations; any other is a new measurement of the same thing.
fn relation(kind: CiteKind) -> &'static str {
    match kind {
        CiteKind::Supersedes => "supersedes",
        CiteKind::Retraction => "retraction",
        CiteKind::Followup | CiteKind::Other => "followup",
    }
}

fn where_when(seen: &Seen) -> String {
    let at = format_millis(seen.at);
    format!(
        "<WhereWhen><ObsDataLocation><ObservatoryLocation id=\"GEOLUN\"/><ObservationLocation>\
         <AstroCoordSystem id=\"UTC-ICRS-TOPO\"/><AstroCoords coord_system_id=\"UTC-ICRS-TOPO\">\
         <Time unit=\"s\"><TimeInstant><ISOTime>{}</ISOTime></TimeInstant></Time>\
         <Position2D unit=\"deg\"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{:.6}</C1><C2>{:.6}</C2></Value2>\
         <Error2Radius>{:.6}</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation>\
         </WhereWhen>\n",
        at.trim_end_matches('Z'),
        seen.ra_deg,
        seen.dec_deg,
        seen.err_deg,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channel, Verdict, read};

    #[test]
    fn what_we_write_is_what_we_read() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00.5Z".parse().unwrap();
        let packet = Packet {
            ivorn: "ivo://org.example/t1#first-light-1".to_string(),
            role: WrittenRole::Observation,
            params: vec![("mag <r>".into(), "17.2 & \"rising\"".into(), "mag".into())],
            seen: Some(Seen {
                at: now,
                ra_deg: 10.5,
                dec_deg: -20.25,
                err_deg: 0.001,
            }),
            cites: vec![(CiteKind::Followup, "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1".into())],
            ..Packet::test("ivo://org.example/t1", now)
        };
        let notice = read(&packet.to_xml(), Channel::Voevent, now).notice.unwrap();
        let position = notice.position.unwrap();
        assert_eq!(
            (position.ra_deg, position.dec_deg, position.err_deg),
            (10.5, -20.25, Some(0.001))
        );
        assert_eq!(notice.event_time, Some(now));
        assert_eq!(notice.citations[0].ivorn, "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1");
        let test = read(
            &Packet::test("ivo://org.example/t1", now).to_xml(),
            Channel::Voevent,
            now,
        );
        assert_eq!((test.verdict, test.notice.unwrap().is_test), (Verdict::Ignore, true));
    }
}
