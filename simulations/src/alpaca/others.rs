//! Dome, filter wheel, focuser, observing conditions and safety monitor.

use super::{
    Offer, Server,
    call::{Call, Fault, invalid_value, not_implemented},
    numbers,
};
use alidade_drivers::{
    interface::{EnclosureStatus, KeySwitch, PlcStatus},
    plc,
    station::fields,
};
use alidade_model::states::EnclosureState;
use serde_json::{Value, json};

/// What `DeviceState` of observing conditions tells.
pub const SENSORS: [&str; 8] = [
    "DewPoint",
    "Humidity",
    "Pressure",
    "RainRate",
    "SkyTemperature",
    "Temperature",
    "WindDirection",
    "WindSpeed",
];

fn done(_: impl Sized) -> Value {
    Value::Null
}

/// What the controller says of roof and people.
async fn controller(server: &Server) -> Result<(PlcStatus, EnclosureStatus), Fault> {
    let mut lines = Vec::new();
    for question in ["StatusA", "StatusB", "StatusD"] {
        let answer = server.ask("plc", question).await?;
        lines.push(String::from_utf8_lossy(&answer).trim_end().to_owned());
    }
    let read = plc::read([&lines[0], &lines[1], &lines[2]], server.observatory.now());
    let (_, status, enclosure) = read.map_err(|e| Fault::ascom(0x500, e.to_string()))?;
    Ok((status, enclosure))
}

async fn tell_controller(server: &Server, words: &str) -> Result<Value, Fault> {
    let answer = server.ask("plc", words).await?;
    let text = String::from_utf8_lossy(&answer);
    match text.trim_end() {
        "OK" => Ok(Value::Null),
        refused => Err(Fault::ascom(0x40B, refused)),
    }
}

pub async fn dome(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    let missing = [
        "altitude",
        "athome",
        "atpark",
        "findhome",
        "park",
        "setpark",
        "slewtoaltitude",
        "synctoazimuth",
    ];
    let cannot = [
        "canfindhome",
        "canpark",
        "cansetaltitude",
        "cansetpark",
        "canslave",
        "cansyncazimuth",
        "slaved",
    ];
    if missing.contains(&member) {
        return Err(not_implemented(member));
    }
    if call.put {
        return match member {
            "openshutter" => tell_controller(server, "Dome{OPEN}").await,
            "closeshutter" => tell_controller(server, "Dome{CLOSE}").await,
            "abortslew" => tell_controller(server, "Dome{STOP}").await,
            "slewtoazimuth" => {
                let azimuth = call.number("Azimuth")?;
                if !(0.0..360.0).contains(&azimuth) {
                    return Err(invalid_value(format!("azimuth {azimuth}")));
                }
                if controller(server).await?.1.azimuth_deg.is_none() {
                    return Err(not_implemented(member));
                }
                tell_controller(server, &format!("DomeAzimuth{{{azimuth}}}")).await
            }
            "slaved" if !call.truth("Slaved")? => Ok(Value::Null),
            "slaved" => Err(not_implemented(member)),
            _ => Err(Fault::Unknown),
        };
    }
    if cannot.contains(&member) {
        return Ok(json!(false));
    }
    let (_, roof) = controller(server).await?;
    Ok(match member {
        "cansetshutter" => json!(true),
        "cansetazimuth" => json!(roof.azimuth_deg.is_some()),
        "azimuth" => json!(roof.azimuth_deg.ok_or_else(|| not_implemented(member))?),
        "shutterstatus" => json!(match roof.state {
            EnclosureState::Open => 0,
            EnclosureState::Closed => 1,
            EnclosureState::Opening => 2,
            EnclosureState::Closing => 3,
            EnclosureState::Stopped | EnclosureState::Unknown | EnclosureState::Fault => 4,
        }),
        "slewing" => {
            json!(roof.rotating || matches!(roof.state, EnclosureState::Opening | EnclosureState::Closing))
        }
        _ => return Err(Fault::Unknown),
    })
}

/// Safe is only what the controller says when it was asked just now.
pub async fn monitor(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    if (member, call.put) != ("issafe", false) {
        return Err(Fault::Unknown);
    }
    let safe = controller(server).await.is_ok_and(|(status, _)| {
        let people = status.emergency_stop || status.access_requested || status.intrusion;
        status.key_switch == KeySwitch::Remote && !people && !status.must_be_closed
    });
    Ok(json!(safe))
}

pub async fn wheel(server: &Server, offer: &Offer, member: &str, call: &Call) -> Result<Value, Fault> {
    let names = server.observatory.filters(&offer.device);
    match (member, call.put) {
        ("names", false) => Ok(json!(names)),
        ("focusoffsets", false) => Ok(json!(vec![0; names.len()])),
        ("position", false) => {
            let answer = server.grammar(&offer.device, "GET STATUS").await?;
            let [position, moving] = numbers::<2>(&answer)?;
            // -1 while it moves.
            Ok(json!(if moving == 1.0 { -1 } else { position as i32 - 1 }))
        }
        ("position", true) => {
            let wanted = call.whole("Position")?;
            if usize::try_from(wanted).map_or(true, |at| at >= names.len()) {
                return Err(invalid_value(format!("position {wanted}")));
            }
            let words = format!("DO GOTO {}", wanted + 1);
            server.grammar(&offer.device, &words).await.map(done)
        }
        _ => Err(Fault::Unknown),
    }
}

pub async fn focuser(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    const END: i32 = 60_000;
    if ["stepsize"].contains(&member) {
        return Err(not_implemented(member));
    }
    if call.put {
        return match member {
            "move" => {
                let steps = call.whole("Position")?;
                if !(0..=END).contains(&steps) {
                    return Err(invalid_value(format!("position {steps}")));
                }
                server.grammar("focuser", &format!("DO GOTO {steps}")).await.map(done)
            }
            "halt" => server.grammar("focuser", "DO STOP").await.map(done),
            "tempcomp" => Err(not_implemented(member)),
            _ => Err(Fault::Unknown),
        };
    }
    match member {
        "absolute" => return Ok(json!(true)),
        "tempcomp" | "tempcompavailable" => return Ok(json!(false)),
        "maxincrement" | "maxstep" => return Ok(json!(END)),
        _ => {}
    }
    let answer = server.grammar("focuser", "GET STATUS").await?;
    let [steps, moving, temperature] = numbers::<3>(&answer)?;
    Ok(match member {
        "position" => json!(steps as i32),
        "ismoving" => json!(moving == 1.0),
        "temperature" => json!(temperature),
        _ => return Err(Fault::Unknown),
    })
}

pub async fn weather(server: &Server, member: &str, call: &Call) -> Result<Value, Fault> {
    let missing = ["cloudcover", "skybrightness", "skyquality", "starfwhm", "windgust"];
    if missing.contains(&member) {
        return Err(not_implemented(member));
    }
    match (member, call.put) {
        ("averageperiod", false) => return Ok(json!(0.0)),
        ("averageperiod", true) if call.number("AveragePeriod")? == 0.0 => return Ok(Value::Null),
        ("averageperiod", true) => return Err(invalid_value("average period")),
        ("refresh", true) => return Ok(Value::Null),
        ("sensordescription" | "timesincelastupdate", false) => {
            let name = call.text("SensorName")?;
            let known = SENSORS.iter().any(|sensor| sensor.eq_ignore_ascii_case(name));
            let known = known || (name.is_empty() && member == "timesincelastupdate");
            if missing.iter().any(|sensor| sensor.eq_ignore_ascii_case(name)) {
                return Err(not_implemented(name));
            }
            return match (known, member) {
                (false, _) => Err(invalid_value(format!("sensor {name:?}"))),
                (true, "sensordescription") => Ok(json!("A simulated sensor")),
                // Every question measures anew.
                (true, _) => Ok(json!(0.0)),
            };
        }
        (_, true) => return Err(Fault::Unknown),
        _ => {}
    }
    let answer = server
        .ask("station", &alidade_drivers::station::sentence("PALDQ"))
        .await?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let field = |head: &str, at: usize| {
        let sentences = text.lines().filter_map(|line| fields(line.trim()));
        let mut own = sentences.filter(|fields| fields.first() == Some(&head));
        own.next()
            .and_then(|fields| fields.get(at).and_then(|field| field.parse::<f64>().ok()))
            .ok_or_else(|| Fault::ascom(0x500, format!("the sensor of {member} is dead")))
    };
    let temperature = || field("WIMDA", 5);
    Ok(json!(match member {
        "winddirection" => field("WIMWV", 1)?,
        "windspeed" => field("WIMWV", 3)?,
        "pressure" => field("WIMDA", 3)? * 1000.0,
        "temperature" => temperature()?,
        "humidity" => field("WIMDA", 9)?,
        "dewpoint" => field("WIMDA", 11)?,
        "rainrate" => field("PALDR", 1)?,
        // The station tells sky minus air.
        "skytemperature" => field("PALDR", 2)? + temperature()?,
        _ => return Err(Fault::Unknown),
    }))
}
