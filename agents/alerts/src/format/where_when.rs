//! The `WhereWhen` element: time and position, as VOEvent 1.1, 2.0 and 2.1 write them.
//!
//! Version 1.1 borrows STC elements in other namespaces and may give both coordinates as one text; 2.0 has `C1`, `C2`
//! and `Error2Radius`; 2.1 makes the error optional. Local names are the same in all of them.

use chrono::{DateTime, Utc};

use super::Draft;
use crate::instant::{self, Scale};
use crate::notice::Position;
use crate::reason::Reason;
use crate::xml::Element;

/// What the element said, before the author's own habits are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WhereWhen {
    /// The time, when one was given and understood.
    pub time: Option<DateTime<Utc>>,
    /// The coordinates as written, degrees, before any check of range; `None` without a position element.
    pub raw: Option<RawPosition>,
}

/// Coordinates and error as written, degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RawPosition {
    pub c1_deg: f64,
    pub c2_deg: f64,
    pub err_deg: Option<f64>,
}

/// A finite decimal number in ASCII; no hexadecimal, no `inf`, no `nan`, no digits of other scripts.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    plain
        .then(|| text.parse::<f64>().ok())
        .flatten()
        .filter(|v| v.is_finite())
}

fn unit_deg(unit: &str) -> Option<f64> {
    // Old packets give one unit for each axis: "deg deg", "deg-deg".
    let mut factors =
        unit.split([' ', '-', ','])
            .filter(|u| !u.is_empty())
            .map(|u| match u.to_ascii_lowercase().as_str() {
                "deg" | "degs" | "degree" | "degrees" => Some(1.0),
                "rad" | "radian" | "radians" => Some(1f64.to_degrees()),
                _ => None,
            });
    let Some(first) = factors.next() else { return Some(1.0) };
    factors.all(|f| f == first).then_some(first).flatten()
}

/// Elements of that local name anywhere below; `AstroCoords` sits at different depths in different versions.
fn descendants<'a>(element: &'a Element, name: &str, out: &mut Vec<&'a Element>) {
    for child in &element.children {
        if child.name == name {
            out.push(child);
        } else {
            descendants(child, name, out);
        }
    }
}

/// Reads the element; anything that must not be believed becomes the draft's refusal.
pub(super) fn read(where_when: &Element, draft: &mut Draft) -> WhereWhen {
    let mut out = WhereWhen::default();
    let mut coords = Vec::new();
    // Where the observatory stands is no place in the sky.
    let mut observed = Vec::new();
    descendants(where_when, "ObservationLocation", &mut observed);
    let places = if observed.is_empty() {
        vec![where_when]
    } else {
        observed
    };
    let mut systems = Vec::new();
    for place in places {
        descendants(place, "AstroCoords", &mut coords);
        descendants(place, "AstroCoordSystem", &mut systems);
    }
    let system_of = |coords: &Element| {
        coords
            .attribute("coord_system_id")
            .or_else(|| systems.first().and_then(|s| s.attribute("id")))
            .unwrap_or_default()
            .to_string()
    };
    let mut positions: Vec<(String, &Element)> = Vec::new();
    for coords in coords {
        let system = system_of(coords);
        if out.time.is_none()
            && let Some(time) = iso_time(coords)
        {
            out.time = instant::parse_iso(time, Scale::of_coordinate_system(&system));
            if out.time.is_none() {
                draft.refuse(Reason::BadTime, format!("ISOTime {time}"));
            }
        }
        positions.extend(coords.all("Position2D").map(|p| (system.clone(), p)));
    }
    if let Some((system, position)) = positions.first() {
        out.raw = read_position(system, position, draft);
    }
    if positions
        .iter()
        .skip(1)
        .any(|(_, p)| Some(coordinates(p)) != positions.first().map(|(_, p)| coordinates(p)))
    {
        draft.refuse(Reason::AmbiguousPosition, "more than one position");
    }
    out
}

fn iso_time(coords: &Element) -> Option<&str> {
    let mut times = Vec::new();
    descendants(coords, "ISOTime", &mut times);
    times.first().map(|t| t.trimmed())
}

/// The two coordinates as text: `C1` and `C2`, or one text of both.
fn coordinates(position: &Element) -> (String, String) {
    let value = position.child("Value2").unwrap_or(position);
    if let (Some(c1), Some(c2)) = (value.child("C1"), value.child("C2")) {
        return (c1.trimmed().to_string(), c2.trimmed().to_string());
    }
    let mut words = value.trimmed().split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(c1), Some(c2), None) => (c1.to_string(), c2.to_string()),
        _ => Default::default(),
    }
}

fn error_text(position: &Element) -> Option<&str> {
    let circle = position
        .child("Error2Radius")
        .or_else(|| position.path(&["Error1Circle", "Size"]));
    circle.map(Element::trimmed)
}

fn check_axes(system: &str, position: &Element, draft: &mut Draft) {
    let is = |name: &str, allowed: &[&str]| {
        position
            .child(name)
            .is_none_or(|e| allowed.iter().any(|a| e.trimmed().eq_ignore_ascii_case(a)))
    };
    if !is(
        "Name1",
        &["", "RA", "RA2000", "RAJ2000", "Right Ascension", "RightAscension"],
    ) || !is("Name2", &["", "DEC", "DE", "DEC2000", "DEJ2000", "Declination"])
    {
        draft.refuse(Reason::AxisNames, "the axes are not right ascension and declination");
    }
    let not_equatorial = |part: &str| {
        [
            "GAL",
            "GALACTIC",
            "GALACTIC_I",
            "GALACTIC_II",
            "SGAL",
            "ECL",
            "ECLIPTIC",
            "FK4",
            "GEOD",
            "HPC",
            "AZALT",
            "ALTAZ",
        ]
        .iter()
        .any(|s| part.eq_ignore_ascii_case(s))
    };
    if system.split('-').any(|part| not_equatorial(part.trim())) {
        draft.refuse(Reason::CoordinateSystem, format!("coordinate system {system}"));
    }
}

fn read_position(system: &str, position: &Element, draft: &mut Draft) -> Option<RawPosition> {
    check_axes(system, position, draft);
    let value = position.child("Value2").unwrap_or(position);
    let unit = position
        .attribute("unit")
        .or_else(|| {
            value
                .child("C1")
                .and_then(|c| c.attribute("unit").or_else(|| c.attribute("pos_unit")))
        })
        .unwrap_or("deg");
    let Some(factor) = unit_deg(unit) else {
        draft.refuse(Reason::UnknownUnit, format!("unit {unit}"));
        return None;
    };
    if ["C1", "C2"].iter().any(|name| value.all(name).count() > 1) || position.all("Error2Radius").count() > 1 {
        draft.refuse(Reason::AmbiguousPosition, "a coordinate or its error twice");
    }
    let (c1, c2) = coordinates(position);
    let (Some(c1_deg), Some(c2_deg)) = (decimal(&c1), decimal(&c2)) else {
        draft.refuse(Reason::BadNumber, format!("coordinates \"{c1}\", \"{c2}\""));
        return None;
    };
    let mut err_deg = None;
    if let Some(text) = error_text(position).filter(|t| !t.is_empty()) {
        err_deg = decimal(text).map(|e| e * factor);
        if err_deg.is_none() {
            draft.refuse(Reason::BadNumber, format!("error radius \"{text}\""));
        }
    }
    Some(RawPosition {
        c1_deg: c1_deg * factor,
        c2_deg: c2_deg * factor,
        err_deg,
    })
}

/// Why a stated position is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The author's way of saying that there is none.
    NotGiven,
    /// The error region is the whole sky.
    AllSky,
    /// Out of range: must not be believed.
    OutOfRange,
}

/// Judges written coordinates. `given` is false when the author says elsewhere that they are no source position.
pub(super) fn position(raw: RawPosition, given: bool) -> Result<Position, Absent> {
    let err = raw.err_deg.unwrap_or(0.0);
    let is = |value: f64| (raw.c1_deg - value).abs() < 1e-9 && (raw.c2_deg - value).abs() < 1e-9;
    if !given || (is(0.0) && err <= 0.0) || (is(-1.0) && err <= 0.0) {
        return Err(Absent::NotGiven);
    }
    if !(0.0..=360.0).contains(&raw.c1_deg) || !(-90.0..=90.0).contains(&raw.c2_deg) {
        return Err(Absent::OutOfRange);
    }
    if err >= 180.0 {
        return Err(Absent::AllSky);
    }
    Ok(Position {
        ra_deg: if raw.c1_deg >= 360.0 { 0.0 } else { raw.c1_deg },
        dec_deg: raw.c2_deg,
        err_deg: raw.err_deg.filter(|e| *e > 0.0),
        containment: None,
        statistical_only: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        assert_eq!(decimal(" +074.74 "), Some(74.74));
        assert_eq!(decimal("1e-3"), Some(0.001));
        for text in ["", "nan", "inf", "1e400", "0x1p3", "٧٤.٧٤", "1,5", "12:30:00", "1_0"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn units_of_old_packets_are_read_and_others_refused() {
        for unit in ["deg", "deg deg", "degrees", "deg-deg", ""] {
            assert_eq!(unit_deg(unit), Some(1.0), "{unit}");
        }
        assert!((unit_deg("rad").unwrap() - 57.295_779_513).abs() < 1e-9);
        assert_eq!(unit_deg("h:m:s"), None);
        assert_eq!(unit_deg("deg rad"), None);
    }

    #[test]
    fn ways_to_say_nothing_are_no_position() {
        let raw = |c1_deg, c2_deg, err: f64| RawPosition {
            c1_deg,
            c2_deg,
            err_deg: Some(err),
        };
        assert_eq!(position(raw(0.0, 0.0, 0.0), true), Err(Absent::NotGiven));
        assert_eq!(position(raw(-1.0, -1.0, -1.0), true), Err(Absent::NotGiven));
        assert_eq!(position(raw(10.0, 10.0, 1.0), false), Err(Absent::NotGiven));
        assert_eq!(position(raw(0.0, 0.0, 360.0), true), Err(Absent::AllSky));
        assert_eq!(position(raw(400.0, 0.0, 1.0), true), Err(Absent::OutOfRange));
        assert_eq!(position(raw(10.0, -90.0001, 1.0), true), Err(Absent::OutOfRange));
        assert!((position(raw(360.0, -9.0, 0.1), true).unwrap().ra_deg).abs() < 1e-12);
        assert_eq!(position(raw(10.0, 10.0, -1.0), true).unwrap().err_deg, None);
    }
}
