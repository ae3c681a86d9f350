//! `ICameraV4` over the camera's grammar. The camera reads its whole detector; the part that a client wants is cut out here.

use super::{
    Offer, Server,
    call::{Call, Fault, invalid_value, not_implemented},
    http::Answer,
};
use alidade_model::time::UtcTime;
use serde_json::{Value, json};
use std::rc::Rc;

/// What `DeviceState` tells.
pub const STATE: [&str; 4] = ["CameraState", "CCDTemperature", "ImageReady", "PercentCompleted"];

const MOST_BINNING: i32 = 4;
/// The longest exposure of the simulated camera, seconds.
const LONGEST_S: f64 = 7200.0;

/// The side of a pixel of the simulated detector, micrometres.
const PIXEL_UM: f64 = 9.0;

/// What a client has set, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    binning: Option<i32>,
    start: (i32, i32),
    size: Option<(i32, i32)>,
    /// The order that runs or ran: number, seconds, begin, and the part of the picture.
    order: Option<Order>,
    orders: u64,
    picture: Option<Rc<Picture>>,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    operation: u64,
    exposure_s: f64,
    started_at: UtcTime,
    start: (i32, i32),
    size: (i32, i32),
    over: bool,
}

/// Pixels, the first row at the top.
#[derive(Debug)]
struct Picture {
    width: usize,
    height: usize,
    adu: Vec<u16>,
}

/// Operations of clients begin here: those of the daemon are smaller.
const FIRST: u64 = 1 << 40;

const MISSING: [&str; 21] = [
    "bayeroffsetx",
    "bayeroffsety",
    "coolerpower",
    "electronsperadu",
    "fastreadout",
    "fullwellcapacity",
    "gain",
    "gainmax",
    "gainmin",
    "gains",
    "heatsinktemperature",
    "ispulseguiding",
    "offset",
    "offsetmax",
    "offsetmin",
    "offsets",
    "pulseguide",
    "stopexposure",
    "subexposureduration",
    "exposureresolution",
    "imagearrayvariant",
];
const CANNOT: [&str; 5] = [
    "canasymmetricbin",
    "canfastreadout",
    "cangetcoolerpower",
    "canpulseguide",
    "canstopexposure",
];

/// What this camera's client has left behind.
fn setup(server: &Server, offer: &Offer) -> Setup {
    let memory = server.memory.borrow();
    memory.cameras.get(&offer.number).cloned().unwrap_or_default()
}

/// State word, temperature and set point.
async fn status(server: &Server, device: &str) -> Result<(String, f64, f64), Fault> {
    let answer = server.grammar(device, "GET STATUS").await?;
    let words: Vec<&str> = answer.split(' ').collect();
    match words[..] {
        [state, _, temperature, setpoint] => match (temperature.parse(), setpoint.parse()) {
            (Ok(temperature), Ok(setpoint)) => Ok((state.to_owned(), temperature, setpoint)),
            _ => Err(Fault::ascom(0x500, answer)),
        },
        _ => Err(Fault::ascom(0x500, answer)),
    }
}

async fn sensor(server: &Server, device: &str) -> Result<(i32, i32), Fault> {
    let answer = server.grammar(device, "GET SENSOR").await?;
    let sides = answer
        .split_once(' ')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| Fault::ascom(0x500, answer))
}

pub async fn member(server: &Server, offer: &Offer, member: &str, call: &Call) -> Result<Value, Fault> {
    if call.put {
        return command(server, offer, member, call).await;
    }
    let device = &offer.device;
    let setup = setup(server, offer);
    let order = || {
        setup
            .order
            .ok_or_else(|| Fault::ascom(0x40B, "nothing has been exposed"))
    };
    Ok(match member {
        "binx" | "biny" => json!(setup.binning.unwrap_or(1)),
        "maxbinx" | "maxbiny" => json!(MOST_BINNING),
        "cameraxsize" => json!(sensor(server, device).await?.0),
        "cameraysize" => json!(sensor(server, device).await?.1),
        "startx" => json!(setup.start.0),
        "starty" => json!(setup.start.1),
        "numx" | "numy" => {
            let whole = sensor(server, device).await?;
            let binning = setup.binning.unwrap_or(1);
            let (x, y) = setup.size.unwrap_or((whole.0 / binning, whole.1 / binning));
            json!(if member == "numx" { x } else { y })
        }
        "camerastate" => match status(server, device).await?.0.as_str() {
            "IDLE" | "READY" => json!(0),
            "EXPOSING" => json!(2),
            "READING" => json!(3),
            _ => json!(5),
        },
        "imageready" => json!(setup.picture.is_some() || status(server, device).await?.0 == "READY"),
        "percentcompleted" => {
            let elapsed_s = server.observatory.now().seconds_since(order()?.started_at);
            json!((100.0 * elapsed_s / order()?.exposure_s.max(0.001)).clamp(0.0, 100.0) as i32)
        }
        "lastexposureduration" if order()?.over => json!(order()?.exposure_s),
        // FITS dates have no zone.
        "lastexposurestarttime" if order()?.over => json!(order()?.started_at.to_string().trim_end_matches('Z')),
        "lastexposureduration" | "lastexposurestarttime" => return Err(Fault::ascom(0x40B, "it is not over")),
        "ccdtemperature" => json!(status(server, device).await?.1),
        "setccdtemperature" => json!(status(server, device).await?.2),
        "cooleron" | "canabortexposure" | "cansetccdtemperature" | "hasshutter" => json!(true),
        "readoutmode" | "sensortype" => json!(0),
        "readoutmodes" => json!(["Normal"]),
        "sensorname" => json!(""),
        "pixelsizex" | "pixelsizey" => json!(PIXEL_UM),
        "exposuremin" => json!(0.0),
        "exposuremax" => json!(LONGEST_S),
        "maxadu" => json!(65_535),
        cannot if CANNOT.contains(&cannot) => json!(false),
        missing if MISSING.contains(&missing) => return Err(not_implemented(missing)),
        _ => return Err(Fault::Unknown),
    })
}

async fn command(server: &Server, offer: &Offer, member: &str, call: &Call) -> Result<Value, Fault> {
    let device = &offer.device;
    let change = |what: &mut dyn FnMut(&mut Setup)| {
        what(server.memory.borrow_mut().cameras.entry(offer.number).or_default());
        Ok(Value::Null)
    };
    match member {
        "binx" | "biny" => {
            let binning = call.whole(if member == "binx" { "BinX" } else { "BinY" })?;
            if !(1..=MOST_BINNING).contains(&binning) {
                return Err(invalid_value(format!("binning {binning}")));
            }
            change(&mut |setup| (setup.binning, setup.start, setup.size) = (Some(binning), (0, 0), None))
        }
        "startx" => {
            let x = call.whole("StartX")?;
            change(&mut |setup| setup.start.0 = x)
        }
        "starty" => {
            let y = call.whole("StartY")?;
            change(&mut |setup| setup.start.1 = y)
        }
        "numx" | "numy" => {
            let (whole, wanted) = (
                sensor(server, device).await?,
                call.whole(if member == "numx" { "NumX" } else { "NumY" })?,
            );
            change(&mut |setup| {
                let binning = setup.binning.unwrap_or(1);
                let size = setup.size.get_or_insert((whole.0 / binning, whole.1 / binning));
                *(if member == "numx" { &mut size.0 } else { &mut size.1 }) = wanted;
            })
        }
        "readoutmode" if call.whole("ReadoutMode")? == 0 => Ok(Value::Null),
        "readoutmode" => Err(invalid_value("read-out mode")),
        "startexposure" => expose(server, offer, call).await,
        "abortexposure" => {
            server.grammar(device, "DO STOP").await?;
            change(&mut |setup| setup.picture = None)
        }
        "cooleron" if call.truth("CoolerOn")? => Ok(Value::Null),
        "cooleron" => Err(Fault::ascom(0x40B, "the cooler is always on")),
        "setccdtemperature" => {
            let degrees = call.number("SetCCDTemperature")?;
            server
                .grammar(device, &format!("SET TEMPERATURE {degrees}"))
                .await
                .map(|_| Value::Null)
        }
        missing if MISSING.contains(&missing) => Err(not_implemented(missing)),
        _ => Err(Fault::Unknown),
    }
}

async fn expose(server: &Server, offer: &Offer, call: &Call) -> Result<Value, Fault> {
    let (exposure_s, light) = (call.number("Duration")?, call.truth("Light")?);
    if !(0.0..=LONGEST_S).contains(&exposure_s) {
        return Err(invalid_value(format!("exposure of {exposure_s} s")));
    }
    let whole = sensor(server, &offer.device).await?;
    let setup = setup(server, offer);
    let binning = setup.binning.unwrap_or(1);
    let full = (whole.0 / binning, whole.1 / binning);
    let size = setup.size.unwrap_or(full);
    let fits = |start: i32, size: i32, full: i32| start >= 0 && size >= 1 && size <= full && start <= full - size;
    if !fits(setup.start.0, size.0, full.0) || !fits(setup.start.1, size.1, full.1) {
        return Err(invalid_value(format!(
            "the part {size:?} from {:?} of {full:?}",
            setup.start
        )));
    }
    let operation = FIRST + setup.orders;
    let words = format!("SET EXPOSURE {operation} {exposure_s} {} {binning}", u8::from(light));
    server.grammar(&offer.device, &words).await?;
    server.grammar(&offer.device, "DO EXPOSE").await?;
    let mut memory = server.memory.borrow_mut();
    let setup = memory.cameras.entry(offer.number).or_default();
    setup.orders += 1;
    setup.picture = None;
    setup.order = Some(Order {
        operation,
        exposure_s,
        started_at: server.observatory.now(),
        start: setup.start,
        size,
        over: false,
    });
    Ok(Value::Null)
}

/// The image as the client takes it.
pub async fn image(server: &Server, offer: &Offer, call: &Call) -> Answer {
    if !server.is_connected(offer) {
        return call.answer(Err(Fault::ascom(0x407, "not connected")));
    }
    match picture(server, offer).await {
        Err(fault) => call.answer(Err(fault)),
        Ok(picture) if call.image_bytes => Answer {
            status: 200,
            media: "application/imagebytes",
            body: image_bytes(&picture, call),
        },
        Ok(picture) => {
            let columns: Vec<Vec<u16>> = (0..picture.width)
                .map(|x| {
                    (0..picture.height)
                        .map(|y| picture.adu[y * picture.width + x])
                        .collect()
                })
                .collect();
            let mut answer = call.answer(Ok(json!(columns)));
            // `Type` and `Rank` stand beside the value.
            if answer.body.pop() == Some(b'}') {
                answer.body.extend_from_slice(br#","Type":2,"Rank":2}"#);
            }
            answer
        }
    }
}

/// The picture of the last order; fetched from the camera once, and kept until the next exposure.
async fn picture(server: &Server, offer: &Offer) -> Result<Rc<Picture>, Fault> {
    let setup = setup(server, offer);
    if let Some(picture) = setup.picture {
        return Ok(picture);
    }
    let order = setup
        .order
        .ok_or_else(|| Fault::ascom(0x40B, "nothing has been exposed"))?;
    let answer = server
        .ask(&offer.device, &format!("00010000GET FRAME {}", order.operation))
        .await?;
    let broken = || Fault::ascom(0x500, "the camera's answer is no frame");
    let end = answer.iter().position(|byte| *byte == 0).ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    if head.contains("ERR") {
        return Err(Fault::ascom(0x40B, "there is no image"));
    }
    let words: Vec<&str> = head.split(' ').collect();
    let side = |at: usize| {
        words
            .get(at)
            .and_then(|word| word.parse::<usize>().ok())
            .ok_or_else(broken)
    };
    let (width, height, raw) = (side(2)?, side(3)?, &answer[end + 1..]);
    if raw.len() != width * height * 2 {
        return Err(broken());
    }
    let picture = Rc::new(cut(width, height, raw, &order).ok_or_else(broken)?);
    let mut memory = server.memory.borrow_mut();
    let setup = memory.cameras.entry(offer.number).or_default();
    setup.picture = Some(picture.clone());
    if let Some(order) = &mut setup.order {
        order.over = true;
    }
    Ok(picture)
}

/// The part that was ordered, with the top row first; the camera sends its bottom row first.
fn cut(width: usize, height: usize, raw: &[u8], order: &Order) -> Option<Picture> {
    let whole = |n: i32| usize::try_from(n).ok();
    let (x, y, columns, rows) = (
        whole(order.start.0)?,
        whole(order.start.1)?,
        whole(order.size.0)?,
        whole(order.size.1)?,
    );
    if x + columns > width || y + rows > height {
        return None;
    }
    let mut adu = Vec::with_capacity(columns * rows);
    for row in y..y + rows {
        let from = ((height - 1 - row) * width + x) * 2;
        let line = &raw[from..from + columns * 2];
        adu.extend(line.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])));
    }
    Some(Picture {
        width: columns,
        height: rows,
        adu,
    })
}

/// ImageBytes (chapter 8): version, error, transactions, start of the data, element type of the image (2, 32-bit integers)
/// and of what is sent (8, unsigned 16-bit), rank and sides; then column by column.
fn image_bytes(picture: &Picture, call: &Call) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let head = [1, 0, call.client, call.server, 44, 2, 8, 2, width, height, 0];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.reserve(picture.adu.len() * 2);
    for x in 0..picture.width {
        for y in 0..picture.height {
            bytes.extend(picture.adu[y * picture.width + x].to_le_bytes());
        }
    }
    bytes
}
