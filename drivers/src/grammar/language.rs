//! The generic PYROS language as people speak it: SET what shall be, GET what is, DO what is to happen. Pure.
//!
//! ```text
//! mount        SET COORD_RADEC ra dec [J2000|NOW]   SET COORD_HADEC ha dec   SET COORD_ALTAZ az alt     (azimuth 0 is south)
//!              DO START | STOP | PARK | UNPARK | DRIFT_ON | DRIFT_OFF        GET COORD_RADEC | COORD_ALTAZ | STATUS
//! camera       SET EXPOSURE seconds [light 1|0] [binning]   SET TEMPERATURE degrees   DO EXPOSE | STOP     GET STATUS | SENSOR
//! filter wheel SET FILTER name    DO START | STOP           GET STATUS | FILTERS
//! focuser      SET POSITION steps DO START | STOP           GET STATUS
//! rotator      SET ROTATOR_ANGLE degrees   DO START | ROTATOR_GOTO | STOP  GET STATUS           (position angle on the sky)
//! switch       SET LINE name value         DO START | STOP                  GET STATUS
//! enclosure    SET AZIMUTH az     DO START | STOP           GET STATUS                                    (azimuth 0 is south)
//! station      GET STATUS
//! all          GET IDENTITY | LINK
//! ```
//!
//! An enclosure has no OPEN: only the safety agent opens. Right ascension is in hours when it is sexagesimal and in
//! degrees when it is a decimal number; `12:05:17.3`, `12 05 17.3` (quoted) and `12h05m17.3s` are the same.

use super::azimuth_from_south;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Set,
    Get,
    Do,
}

/// The equator that right ascension and declination refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equinox {
    /// ICRS, which is J2000 to better than 0.03 arcseconds.
    J2000,
    /// Apparent, of date: the mount's own.
    Now,
}

/// Where a mount is to go, degrees; azimuth from north through east, whatever was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    RaDec {
        ra_deg: f64,
        dec_deg: f64,
        equinox: Equinox,
    },
    /// Hour angle west of the meridian, and declination of date.
    HaDec {
        ha_deg: f64,
        dec_deg: f64,
    },
    AltAz {
        alt_deg: f64,
        az_deg: f64,
    },
}

/// One thing said to one device.
#[derive(Debug, Clone, PartialEq)]
pub enum Saying {
    SetPlace(Place),
    SetExposure {
        seconds: f64,
        light: bool,
        binning: u32,
    },
    SetTemperature(f64),
    SetFilter(String),
    SetPosition(i64),
    /// From north through east, degrees.
    SetAzimuth(f64),
    /// Position angle on the sky, degrees 0 to 360.
    SetAngle(f64),
    /// One line of a bank of switches.
    SetLine {
        line: String,
        value: f64,
    },
    /// The noun that is asked for.
    Get(String),
    /// The action.
    Do(String),
}

/// Why something is not of the language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    #[error("nothing is said")]
    Nothing,
    #[error("there is no {0}; known are {1}")]
    Unknown(String, &'static str),
    #[error("{0} needs {1}")]
    Needs(&'static str, &'static str),
    #[error("{0:?} is not {1}")]
    NotA(String, &'static str),
}

const SETTABLE: &str =
    "COORD_RADEC, COORD_HADEC, COORD_ALTAZ, EXPOSURE, TEMPERATURE, FILTER, POSITION, ROTATOR_ANGLE, LINE and AZIMUTH";
const GETTABLE: &str = "STATUS, IDENTITY, LINK, COORD_RADEC, COORD_ALTAZ, SENSOR and FILTERS";
const ACTIONS: &str = "START, STOP, PARK, UNPARK, DRIFT_ON, DRIFT_OFF, ROTATOR_GOTO and EXPOSE";

/// Understands the words after the verb.
pub fn parse(verb: Verb, words: &[&str]) -> Result<Saying, NotUnderstood> {
    let (first, rest) = words.split_first().ok_or(NotUnderstood::Nothing)?;
    let noun = first.to_ascii_uppercase();
    match verb {
        Verb::Get => known(noun, GETTABLE).map(Saying::Get),
        Verb::Do => known(noun, ACTIONS).map(Saying::Do),
        Verb::Set => set(&noun, rest),
    }
}

fn known(noun: String, list: &'static str) -> Result<String, NotUnderstood> {
    if list.split([',', ' ']).any(|word| word == noun && word != "and") {
        Ok(noun)
    } else {
        Err(NotUnderstood::Unknown(noun, list))
    }
}

fn set(noun: &str, values: &[&str]) -> Result<Saying, NotUnderstood> {
    let needs = |noun, what| Err(NotUnderstood::Needs(noun, what));
    Ok(match (noun, values) {
        ("COORD_RADEC", [ra, dec]) => radec(ra, dec, Equinox::J2000)?,
        ("COORD_RADEC", [ra, dec, equinox]) => match equinox.to_ascii_uppercase().as_str() {
            "J2000" | "J2000.0" => radec(ra, dec, Equinox::J2000)?,
            "NOW" => radec(ra, dec, Equinox::Now)?,
            _ => return Err(NotUnderstood::NotA((*equinox).to_owned(), "J2000 or NOW")),
        },
        ("COORD_RADEC", _) => return needs("COORD_RADEC", "ra dec [J2000|NOW]"),
        ("COORD_HADEC", [ha, dec]) => Saying::SetPlace(Place::HaDec {
            ha_deg: angle(ha, true)?,
            dec_deg: declination(dec)?,
        }),
        ("COORD_HADEC", _) => return needs("COORD_HADEC", "ha dec"),
        ("COORD_ALTAZ", [az, alt]) => Saying::SetPlace(Place::AltAz {
            alt_deg: within(angle(alt, false)?, alt, -90.0, 90.0, "an altitude from -90 to 90")?,
            az_deg: azimuth(az)?,
        }),
        ("COORD_ALTAZ", _) => return needs("COORD_ALTAZ", "az alt"),
        ("EXPOSURE", [seconds, options @ ..]) if options.len() <= 2 => Saying::SetExposure {
            seconds: within(number(seconds)?, seconds, 0.0, 7200.0, "a time from 0 to 7200 s")?,
            light: match options.first() {
                None | Some(&"1") => true,
                Some(&"0") => false,
                Some(other) => return Err(NotUnderstood::NotA((*other).to_owned(), "1 (light) or 0 (dark)")),
            },
            binning: match options.get(1) {
                None => 1,
                Some(text) => text
                    .parse()
                    .ok()
                    .filter(|binning| (1..=16).contains(binning))
                    .ok_or_else(|| NotUnderstood::NotA((*text).to_owned(), "a binning from 1 to 16"))?,
            },
        },
        ("EXPOSURE", _) => return needs("EXPOSURE", "seconds [light] [binning]"),
        ("TEMPERATURE", [degrees]) => Saying::SetTemperature(within(
            number(degrees)?,
            degrees,
            -150.0,
            40.0,
            "a temperature from -150 to 40",
        )?),
        ("FILTER", [name]) => Saying::SetFilter((*name).to_owned()),
        ("POSITION", [steps]) => Saying::SetPosition(
            steps
                .parse()
                .map_err(|_| NotUnderstood::NotA((*steps).to_owned(), "a number of steps"))?,
        ),
        ("AZIMUTH", [az]) => Saying::SetAzimuth(azimuth(az)?),
        ("ROTATOR_ANGLE", [degrees]) => {
            Saying::SetAngle(within(angle(degrees, false)?, degrees, -360.0, 360.0, "an angle")?.rem_euclid(360.0))
        }
        ("LINE", [line, value]) if !line.trim().is_empty() => Saying::SetLine {
            line: (*line).to_owned(),
            value: match value.to_ascii_uppercase().as_str() {
                "ON" => 1.0,
                "OFF" => 0.0,
                _ => number(value)?,
            },
        },
        ("ROTATOR_ANGLE", _) => return needs("ROTATOR_ANGLE", "degrees on the sky from north through east"),
        ("LINE", _) => return needs("LINE", "the name of a line and its value, ON or OFF"),
        ("TEMPERATURE", _) => return needs("TEMPERATURE", "degrees"),
        ("FILTER", _) => return needs("FILTER", "the name of a filter"),
        ("POSITION", _) => return needs("POSITION", "steps"),
        ("AZIMUTH", _) => return needs("AZIMUTH", "degrees from south through west"),
        (other, _) => return Err(NotUnderstood::Unknown(other.to_owned(), SETTABLE)),
    })
}

fn radec(ra: &str, dec: &str, equinox: Equinox) -> Result<Saying, NotUnderstood> {
    let ra_deg = within(angle(ra, true)?, ra, 0.0, 360.0, "a right ascension")?;
    Ok(Saying::SetPlace(Place::RaDec {
        ra_deg: ra_deg.rem_euclid(360.0),
        dec_deg: declination(dec)?,
        equinox,
    }))
}

fn declination(text: &str) -> Result<f64, NotUnderstood> {
    within(angle(text, false)?, text, -90.0, 90.0, "a declination from -90 to 90")
}

/// South through west in, north through east out.
fn azimuth(text: &str) -> Result<f64, NotUnderstood> {
    within(angle(text, false)?, text, -360.0, 360.0, "an azimuth from 0 to 360").map(azimuth_from_south)
}

fn within(value: f64, text: &str, low: f64, high: f64, what: &'static str) -> Result<f64, NotUnderstood> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(NotUnderstood::NotA(text.to_owned(), what))
    }
}

fn number(text: &str) -> Result<f64, NotUnderstood> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite())
        .ok_or_else(|| NotUnderstood::NotA(text.to_owned(), "a number"))
}

/// An angle in degrees. Sexagesimal text is hours where `hours` says so, or where it has an `h`; a decimal is degrees.
pub fn angle(text: &str, hours: bool) -> Result<f64, NotUnderstood> {
    if let Ok(decimal) = number(text) {
        return Ok(decimal);
    }
    let wrong = || NotUnderstood::NotA(text.to_owned(), "an angle");
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let in_hours = digits.contains('h') || (hours && !digits.contains(['d', '°']));
    let parts: Vec<&str> = digits
        .split([':', ' ', 'h', 'd', '°', 'm', '\'', 's', '"'])
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() || parts.len() > 3 {
        return Err(wrong());
    }
    let mut value = 0.0;
    for (place, part) in parts.iter().enumerate() {
        let last = place + 1 == parts.len();
        let plain = part.bytes().all(|b| b.is_ascii_digit() || (last && b == b'.'));
        let amount: f64 = part.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        if place > 0 && amount >= 60.0 {
            return Err(wrong());
        }
        value += amount / [1.0, 60.0, 3600.0][place];
    }
    let degrees = if in_hours { value * 15.0 } else { value };
    Ok(if negative { -degrees } else { degrees })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_angle_is_the_same_in_every_notation() {
        for text in ["12:05:17.3", "12 05 17.3", "12h05m17.3s"] {
            let degrees = angle(text, true).unwrap();
            assert!(
                (degrees - (12.0 + 5.0 / 60.0 + 17.3 / 3600.0) * 15.0).abs() < 1e-9,
                "{text}"
            );
        }
        assert_eq!(angle("-05:30", false), Ok(-5.5));
        assert_eq!(angle("+5d30m", true), Ok(5.5));
        assert_eq!(angle("83.8221", true), Ok(83.8221), "a decimal is degrees");
        for wrong in ["", "12:60:00", "1:2:3:4", "north", "1..2:3", "NaN", "inf", "--5"] {
            assert!(angle(wrong, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn south_is_zero_for_people_and_north_for_the_program() {
        let place = |words: &[&str]| parse(Verb::Set, words);
        assert_eq!(
            place(&["coord_altaz", "0", "45"]),
            Ok(Saying::SetPlace(Place::AltAz {
                alt_deg: 45.0,
                az_deg: 180.0
            }))
        );
        assert_eq!(
            place(&["COORD_ALTAZ", "90", "45"]),
            Ok(Saying::SetPlace(Place::AltAz {
                alt_deg: 45.0,
                az_deg: 270.0
            })),
            "ninety degrees from south through west is west"
        );
        assert_eq!(parse(Verb::Set, &["AZIMUTH", "270"]), Ok(Saying::SetAzimuth(90.0)));
    }

    #[test]
    fn what_is_not_of_the_language_is_refused_with_what_is() {
        let said = |verb, words: &[&str]| parse(verb, words).unwrap_err().to_string();
        assert!(said(Verb::Do, &["OPEN"]).contains("START"));
        assert!(said(Verb::Get, &["and"]).contains("STATUS"));
        assert!(said(Verb::Set, &["COORD_RADEC", "12:00:00"]).contains("ra dec"));
        assert!(said(Verb::Set, &["COORD_RADEC", "12:00:00", "95"]).contains("declination"));
        assert!(said(Verb::Set, &["EXPOSURE", "10", "2"]).contains("dark"));
        assert!(said(Verb::Set, &[]).contains("nothing"));
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in prop::collection::vec("\\PC{0,20}", 0..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            for verb in [Verb::Set, Verb::Get, Verb::Do] {
                let _ = parse(verb, &words);
            }
        }

        #[test]
        fn an_angle_survives_its_sexagesimal_form(seconds in -1_295_999i64..1_295_999) {
            let (sign, all) = (if seconds < 0 { "-" } else { "" }, seconds.abs());
            let text = format!("{sign}{}:{:02}:{:02}", all / 3600, all / 60 % 60, all % 60);
            let back = angle(&text, false).unwrap();
            prop_assert!((back * 3600.0 - seconds as f64).abs() < 1e-6);
        }
    }
}
