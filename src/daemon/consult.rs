//! The PYROS language spoken to the connected devices: what `alidade device` asks, on a running daemon or on a line.
//!
//! The language has two steps: SET says what shall be, DO makes it so. What was set is remembered per device until the next
//! DO START or DO EXPOSE. On a running daemon nothing is set or done while an order uses the instruments.

use super::devices::Devices;
use alidade_drivers::{
    grammar::{
        azimuth_from_south,
        language::{Equinox, Place, Saying, Verb, parse},
    },
    interface::{
        Camera, Device, DeviceError, ExposeOrder, FilterWheel, Focuser, LinkState, Mount, ObservingConditions, Plc,
        Rotator, Switch,
    },
};
use alidade_model::{reading::Reading, time::UtcTime};
use alidade_observation::pointing;
use alidade_scheduling::{Site, ephemeris};
use serde::Serialize;
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// One device with what can be said to it.
#[derive(Clone)]
pub enum Anyone {
    Mount(Rc<dyn Mount>),
    Camera(Rc<dyn Camera>),
    Wheel(Rc<dyn FilterWheel>),
    Focuser(Rc<dyn Focuser>),
    Plc(Rc<dyn Plc>),
    Station(Rc<dyn ObservingConditions>),
    Rotator(Rc<dyn Rotator>),
    Switch(Rc<dyn Switch>),
}

impl Anyone {
    pub fn kind(&self) -> &'static str {
        match self {
            Anyone::Mount(_) => "mount",
            Anyone::Camera(_) => "camera",
            Anyone::Wheel(_) => "filter_wheel",
            Anyone::Focuser(_) => "focuser",
            Anyone::Plc(_) => "plc",
            Anyone::Station(_) => "station",
            Anyone::Rotator(_) => "rotator",
            Anyone::Switch(_) => "switch",
        }
    }

    pub fn device(&self) -> Rc<dyn Device> {
        match self {
            Anyone::Mount(d) => d.clone(),
            Anyone::Camera(d) => d.clone(),
            Anyone::Wheel(d) => d.clone(),
            Anyone::Focuser(d) => d.clone(),
            Anyone::Plc(d) => d.clone(),
            Anyone::Station(d) => d.clone(),
            Anyone::Rotator(d) => d.clone(),
            Anyone::Switch(d) => d.clone(),
        }
    }
}

/// Every device of the observatory, by its name in the configuration.
pub fn everyone(devices: &Devices) -> BTreeMap<String, Anyone> {
    let mut all = BTreeMap::new();
    let mut add = |anyone: Anyone| all.insert(anyone.device().id().to_owned(), anyone);
    add(Anyone::Plc(devices.plc.clone()));
    if let Some(controller) = &devices.controller {
        add(Anyone::Station(controller.clone()));
    }
    add(Anyone::Mount(devices.mount.clone()));
    if let Some(focuser) = &devices.focuser {
        add(Anyone::Focuser(focuser.clone()));
    }
    for channel in &devices.channels {
        add(Anyone::Camera(channel.camera.clone()));
        if let Some(wheel) = &channel.wheel {
            add(Anyone::Wheel(wheel.clone()));
        }
    }
    for station in &devices.stations {
        add(Anyone::Station(station.clone()));
    }
    for rotator in &devices.rotators {
        add(Anyone::Rotator(rotator.clone()));
    }
    for switch in &devices.switches {
        add(Anyone::Switch(switch.clone()));
    }
    all
}

/// What can be said to a kind of device: nouns to GET, beginnings of what can be SET, actions to DO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vocabulary {
    pub get: &'static [&'static str],
    pub set: &'static [&'static str],
    pub act: &'static [&'static str],
}

/// See [`Anyone::kind`]; nothing for a kind that is unknown.
pub fn vocabulary(kind: &str) -> Vocabulary {
    let words = |get, set, act| Vocabulary { get, set, act };
    match kind {
        "mount" => words(
            &["STATUS", "COORD_RADEC", "COORD_ALTAZ", "IDENTITY", "LINK"],
            &["COORD_RADEC", "COORD_HADEC", "COORD_ALTAZ"],
            &["START", "STOP", "PARK", "UNPARK", "DRIFT_ON", "DRIFT_OFF"],
        ),
        "camera" => words(
            &["STATUS", "SENSOR", "IDENTITY", "LINK"],
            &["EXPOSURE", "TEMPERATURE"],
            &["EXPOSE", "STOP"],
        ),
        "filter_wheel" => words(
            &["STATUS", "FILTERS", "IDENTITY", "LINK"],
            &["FILTER"],
            &["START", "STOP"],
        ),
        "focuser" => words(&["STATUS", "IDENTITY", "LINK"], &["POSITION"], &["START", "STOP"]),
        "plc" => words(&["STATUS", "IDENTITY", "LINK"], &["AZIMUTH"], &["START", "STOP"]),
        "rotator" => words(
            &["STATUS", "IDENTITY", "LINK"],
            &["ROTATOR_ANGLE"],
            &["START", "ROTATOR_GOTO", "STOP"],
        ),
        "switch" => words(&["STATUS", "IDENTITY", "LINK"], &["LINE"], &["START", "STOP"]),
        "station" => words(&["STATUS", "IDENTITY", "LINK"], &[], &["STOP"]),
        _ => Vocabulary::default(),
    }
}

/// What was set and waits for its DO.
#[derive(Debug, Default)]
pub struct Intentions(RefCell<BTreeMap<String, Saying>>);

/// Where and when.
#[derive(Clone, Copy)]
pub struct Here {
    pub site: Site,
    pub now: UtcTime,
}

/// One line for every device.
pub fn list(devices: &BTreeMap<String, Anyone>) -> Value {
    let one = |(name, anyone): (&String, &Anyone)| {
        let device = anyone.device();
        let link = device.link().borrow().clone();
        json!({
            "device": name,
            "kind": anyone.kind(),
            "up": link.is_up(),
            "cause": match link { LinkState::Down { cause, .. } => Some(cause), LinkState::Up { .. } => None },
            "identity": *device.identity().borrow(),
            "garbage": device.garbage_count(),
        })
    };
    Value::Array(devices.iter().map(one).collect())
}

/// Says `words` to a device and returns its answer; the error is one sentence.
pub async fn say(
    anyone: &Anyone,
    verb: Verb,
    words: &[&str],
    intentions: &Intentions,
    here: Here,
) -> Result<Value, String> {
    let saying = parse(verb, words).map_err(|e| e.to_string())?;
    let device = anyone.device();
    let name = device.id().to_owned();
    match saying {
        Saying::Get(noun) => get(anyone, &noun, here.now),
        Saying::Do(action) => {
            let intended = intentions.0.borrow().get(&name).cloned();
            let done = act(anyone, &action, intended, here).await?;
            done.map_err(|e: DeviceError| e.to_string())?;
            if matches!(action.as_str(), "START" | "EXPOSE" | "ROTATOR_GOTO") {
                intentions.0.borrow_mut().remove(&name);
            }
            Ok(json!({ "device": name, "accepted": action }))
        }
        Saying::SetTemperature(degrees) => match anyone {
            Anyone::Camera(camera) => {
                camera.cool(degrees).await.map_err(|e| e.to_string())?;
                Ok(json!({ "device": name, "set": { "temperature_c": degrees } }))
            }
            _ => Err(cannot(anyone, "TEMPERATURE")),
        },
        intended => {
            let fits = matches!(
                (anyone, &intended),
                (Anyone::Mount(_), Saying::SetPlace(_))
                    | (Anyone::Camera(_), Saying::SetExposure { .. })
                    | (Anyone::Wheel(_), Saying::SetFilter(_))
                    | (Anyone::Focuser(_), Saying::SetPosition(_))
                    | (Anyone::Plc(_), Saying::SetAzimuth(_))
                    | (Anyone::Rotator(_), Saying::SetAngle(_))
                    | (Anyone::Switch(_), Saying::SetLine { .. })
            );
            if !fits {
                return Err(cannot(anyone, words.first().copied().unwrap_or_default()));
            }
            if let (Anyone::Wheel(wheel), Saying::SetFilter(filter)) = (anyone, &intended)
                && !wheel.filters().contains(filter)
            {
                return Err(format!(
                    "{name} has no filter {filter}, but {}",
                    wheel.filters().join(", ")
                ));
            }
            intentions.0.borrow_mut().insert(name.clone(), intended);
            Ok(json!({ "device": name, "set": words.join(" ") }))
        }
    }
}

fn cannot(anyone: &Anyone, what: &str) -> String {
    format!("a {} has no {what}", anyone.kind())
}

async fn act(
    anyone: &Anyone,
    action: &str,
    intended: Option<Saying>,
    here: Here,
) -> Result<Result<(), DeviceError>, String> {
    let nothing = || "nothing was SET before".to_owned();
    Ok(match (anyone, action) {
        (_, "STOP") => anyone.device().stop().await,
        (Anyone::Mount(mount), "PARK") => mount.park().await,
        (Anyone::Mount(mount), "UNPARK") => mount.unpark().await,
        (Anyone::Mount(mount), "DRIFT_ON") => mount.track(true).await,
        (Anyone::Mount(mount), "DRIFT_OFF") => mount.track(false).await,
        (Anyone::Mount(mount), "START") => match intended {
            Some(Saying::SetPlace(place)) => {
                let (ra_deg, dec_deg) = of_date(place, here);
                mount.slew(ra_deg, dec_deg).await
            }
            _ => return Err(nothing()),
        },
        (Anyone::Camera(camera), "EXPOSE" | "START") => match intended {
            Some(Saying::SetExposure {
                seconds,
                light,
                binning,
            }) => {
                let order = ExposeOrder {
                    operation: here.now.unix_micros().unsigned_abs(),
                    exposure_s: seconds,
                    light,
                    binning,
                };
                camera.expose(order).await
            }
            _ => return Err(nothing()),
        },
        (Anyone::Wheel(wheel), "START") => match intended {
            Some(Saying::SetFilter(filter)) => wheel.select(&filter).await,
            _ => return Err(nothing()),
        },
        (Anyone::Focuser(focuser), "START") => match intended {
            Some(Saying::SetPosition(steps)) => focuser.move_to(steps).await,
            _ => return Err(nothing()),
        },
        (Anyone::Plc(plc), "START") => match intended {
            Some(Saying::SetAzimuth(azimuth_deg)) => plc.rotate(azimuth_deg).await,
            _ => return Err(nothing()),
        },
        (Anyone::Rotator(rotator), "START" | "ROTATOR_GOTO") => match intended {
            Some(Saying::SetAngle(degrees)) => rotator.turn_to(degrees).await,
            _ => return Err(nothing()),
        },
        (Anyone::Switch(switch), "START") => match intended {
            Some(Saying::SetLine { line, value }) => switch.set(&line, value).await,
            _ => return Err(nothing()),
        },
        _ => return Err(cannot(anyone, action)),
    })
}

/// Apparent coordinates of date, as mounts want them.
fn of_date(place: Place, here: Here) -> (f64, f64) {
    match place {
        Place::RaDec {
            ra_deg,
            dec_deg,
            equinox: Equinox::Now,
        } => (ra_deg, dec_deg),
        Place::RaDec { ra_deg, dec_deg, .. } => {
            let apparent = pointing::apparent(&here.site, ra_deg, dec_deg, here.now);
            (apparent.ra_deg, apparent.dec_deg)
        }
        Place::HaDec { ha_deg, dec_deg } => {
            let ra_deg = ephemeris::lst_deg(&here.site, here.now.chrono()) - ha_deg;
            (ra_deg.rem_euclid(360.0), dec_deg)
        }
        Place::AltAz { alt_deg, az_deg } => {
            let apparent = pointing::apparent_of_altaz(&here.site, alt_deg, az_deg, here.now);
            (apparent.ra_deg, apparent.dec_deg)
        }
    }
}

fn shown<T: Serialize>(name: &str, reading: &Reading<T>, now: UtcTime) -> Value {
    match &reading.value {
        Ok(value) => json!({ "device": name, "value": value, "age_s": reading.age_s(now) }),
        Err(reason) => {
            json!({ "device": name, "value": null, "reason": reason.to_string(), "age_s": reading.age_s(now) })
        }
    }
}

fn get(anyone: &Anyone, noun: &str, now: UtcTime) -> Result<Value, String> {
    let device = anyone.device();
    let name = device.id().to_owned();
    match (noun, anyone) {
        ("IDENTITY", _) => Ok(json!({ "device": name, "value": *device.identity().borrow() })),
        ("LINK", _) => Ok(json!({ "device": name, "value": *device.link().borrow() })),
        ("STATUS", Anyone::Mount(d)) => {
            let mut value = shown(&name, &d.status().borrow(), now);
            southern(&mut value);
            Ok(value)
        }
        ("STATUS", Anyone::Camera(d)) => Ok(shown(&name, &d.status().borrow(), now)),
        ("STATUS", Anyone::Wheel(d)) => Ok(shown(&name, &d.status().borrow(), now)),
        ("STATUS", Anyone::Focuser(d)) => Ok(shown(&name, &d.status().borrow(), now)),
        ("STATUS", Anyone::Plc(d)) => {
            let mut value = json!({
                "enclosure": shown(&name, &d.enclosure_status().borrow(), now),
                "controller": shown(&name, &d.plc_status().borrow(), now),
                "weather": *d.readings().borrow(),
            });
            southern(&mut value["enclosure"]);
            Ok(value)
        }
        ("STATUS", Anyone::Rotator(d)) => Ok(shown(&name, &d.status().borrow(), now)),
        ("STATUS", Anyone::Switch(d)) => Ok(shown(&name, &d.lines().borrow(), now)),
        ("STATUS", Anyone::Station(d)) => Ok(json!({ "device": name, "value": *d.readings().borrow() })),
        ("COORD_RADEC", Anyone::Mount(d)) => match d.status().borrow().value {
            Ok(s) => Ok(json!({ "device": name, "ra_deg": s.ra_deg, "dec_deg": s.dec_deg, "equinox": "NOW" })),
            Err(reason) => Err(format!("{name}: {reason}")),
        },
        ("COORD_ALTAZ", Anyone::Mount(d)) => match d.status().borrow().value {
            Ok(s) => Ok(json!({ "device": name, "alt_deg": s.alt_deg, "az_south_deg": azimuth_from_south(s.az_deg) })),
            Err(reason) => Err(format!("{name}: {reason}")),
        },
        ("SENSOR", Anyone::Camera(d)) => match d.sensor() {
            Some((width, height)) => Ok(json!({ "device": name, "width": width, "height": height })),
            None => Err(format!("{name}: not read yet")),
        },
        ("FILTERS", Anyone::Wheel(d)) => Ok(json!({ "device": name, "value": d.filters() })),
        _ => Err(cannot(anyone, noun)),
    }
}

/// Azimuths in the sense of the language, under a name that says so.
fn southern(value: &mut Value) {
    for (ours, theirs) in [("az_deg", "az_south_deg"), ("azimuth_deg", "azimuth_south_deg")] {
        if let Some(fields) = value["value"].as_object_mut()
            && let Some(azimuth) = fields.remove(ours)
        {
            fields.insert(theirs.into(), azimuth.as_f64().map(azimuth_from_south).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_offered_is_of_the_language() {
        for kind in [
            "mount",
            "camera",
            "filter_wheel",
            "focuser",
            "rotator",
            "switch",
            "plc",
            "station",
        ] {
            let words = vocabulary(kind);
            for noun in words.get {
                assert!(parse(Verb::Get, &[noun]).is_ok(), "{kind} GET {noun}");
            }
            for action in words.act {
                assert!(parse(Verb::Do, &[action]).is_ok(), "{kind} DO {action}");
            }
            for noun in words.set {
                // It wants more words: that is another fault than a noun that nobody knows.
                let said = parse(Verb::Set, &[noun]).map_or_else(|e| e.to_string(), |_| String::new());
                let unknown = parse(Verb::Set, &["NONSENSE"]).unwrap_err().to_string();
                assert_ne!(said, unknown.replace("NONSENSE", noun), "{kind} SET {noun}");
            }
        }
        assert_eq!(vocabulary("toaster"), Vocabulary::default());
    }
}
