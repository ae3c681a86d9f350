//! The simulated devices as ASCOM Alpaca devices behind one HTTP port, for clients that are not ours: the management API,
//! the interfaces of ASCOM Platform 7, and the answer to discovery.
//!
//! | module | holds |
//! |---|---|
//! | `http` | as much of HTTP/1.1 as is needed |
//! | `call` | transactions, parameters, errors: what every member shares |
//! | `telescope`, `camera`, `rotator`, `switch`, `others` | the members of each interface |
//!
//! A device here is what an ASCOM driver is: a client of the device's own wire protocol. So the faults of the simulation
//! show as they would there: a device that does not answer is a driver error (0x500), one whose line is cut is not
//! connected (0x407). A safety monitor that cannot ask says not safe.

mod call;
mod camera;
mod http;
mod others;
mod rotator;
mod switch;
mod telescope;

use crate::observatory::Observatory;
use call::{Call, Fault};
use http::{Answer, NoRequest};
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    rc::Rc,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The interfaces, as in addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Telescope,
    Camera,
    Dome,
    FilterWheel,
    Focuser,
    ObservingConditions,
    SafetyMonitor,
    Rotator,
    Switch,
}

impl Kind {
    /// Name in addresses, name in the list of devices, and version of the interface.
    fn named(self) -> (&'static str, &'static str, i32) {
        match self {
            Kind::Telescope => ("telescope", "Telescope", 4),
            Kind::Camera => ("camera", "Camera", 4),
            Kind::Dome => ("dome", "Dome", 3),
            Kind::FilterWheel => ("filterwheel", "FilterWheel", 3),
            Kind::Focuser => ("focuser", "Focuser", 4),
            Kind::ObservingConditions => ("observingconditions", "ObservingConditions", 2),
            Kind::SafetyMonitor => ("safetymonitor", "SafetyMonitor", 3),
            Kind::Rotator => ("rotator", "Rotator", 4),
            Kind::Switch => ("switch", "Switch", 3),
        }
    }
}

/// One device as it is offered.
#[derive(Debug, Clone)]
struct Offer {
    kind: Kind,
    number: u32,
    /// The simulator's name of the device behind it.
    device: String,
}

/// What clients have left behind.
#[derive(Default)]
struct Memory {
    connected: BTreeSet<(Kind, u32)>,
    target: telescope::Target,
    rotator: rotator::Setup,
    cameras: BTreeMap<u32, camera::Setup>,
}

/// See the module's text.
pub struct Server {
    observatory: Rc<Observatory>,
    offers: Vec<Offer>,
    memory: RefCell<Memory>,
    transactions: Cell<u32>,
}

impl Server {
    fn new(observatory: Rc<Observatory>) -> Self {
        let mut offers = Vec::new();
        let mut offer = |kind: Kind, device: &str| {
            let number = offers.iter().filter(|o: &&Offer| o.kind == kind).count() as u32;
            let device = device.to_owned();
            offers.push(Offer { kind, number, device });
        };
        for device in observatory.devices() {
            match device.split('_').next() {
                Some("mount") => offer(Kind::Telescope, &device),
                Some("focuser") => offer(Kind::Focuser, &device),
                Some("station") => offer(Kind::ObservingConditions, &device),
                Some("camera") => offer(Kind::Camera, &device),
                Some("wheel") => offer(Kind::FilterWheel, &device),
                Some("rotator") => offer(Kind::Rotator, &device),
                Some("power") => offer(Kind::Switch, &device),
                _ => {
                    offer(Kind::Dome, &device);
                    offer(Kind::SafetyMonitor, &device);
                }
            }
        }
        Self {
            observatory,
            offers,
            memory: RefCell::default(),
            transactions: Cell::new(0),
        }
    }

    fn transaction(&self) -> u32 {
        self.transactions.set(self.transactions.get().wrapping_add(1).max(1));
        self.transactions.get()
    }

    async fn answer(&self, request: &http::Request) -> Answer {
        if !["GET", "PUT"].contains(&request.method.as_str()) {
            return Answer::text(405, "GET and PUT");
        }
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        let call = match Call::read(request, self.transaction()) {
            Ok(call) => call,
            Err(cause) => return Answer::text(400, cause),
        };
        match parts[..] {
            ["management", ..] => match self.management(&parts[1..]).filter(|_| !call.put) {
                Some(value) => call.answer(Ok(value)),
                None => Answer::text(404, "no such address"),
            },
            ["api", "v1", kind, number, member] => {
                let known = self.offers.iter().find(|offer| offer.kind.named().0 == kind);
                let (Some(_), Ok(number)) = (known, number.parse::<u32>()) else {
                    return Answer::text(404, "no such kind of device");
                };
                let offered = self
                    .offers
                    .iter()
                    .find(|offer| offer.kind.named().0 == kind && offer.number == number);
                match offered {
                    Some(offer) if (offer.kind, member) == (Kind::Camera, "imagearray") && !call.put => {
                        camera::image(self, offer, &call).await
                    }
                    Some(offer) => call.answer(self.member(offer, member, &call).await),
                    None => Answer::text(400, "no such device"),
                }
            }
            _ => Answer::text(404, "no such address"),
        }
    }

    fn management(&self, parts: &[&str]) -> Option<Value> {
        Some(match parts {
            ["apiversions"] => json!([1]),
            ["v1", "description"] => json!({
                "ServerName": "Alidade simulated devices",
                "Manufacturer": "Alidade",
                "ManufacturerVersion": env!("CARGO_PKG_VERSION"),
                "Location": "simulation",
            }),
            ["v1", "configureddevices"] => self
                .offers
                .iter()
                .map(|offer| {
                    json!({
                        "DeviceName": name(offer),
                        "DeviceType": offer.kind.named().1,
                        "DeviceNumber": offer.number,
                        "UniqueID": format!("alidade-simulated-{}-{}", offer.kind.named().0, offer.device),
                    })
                })
                .collect(),
            _ => return None,
        })
    }

    /// One member of one device.
    async fn member(&self, offer: &Offer, member: &str, call: &Call) -> Result<Value, Fault> {
        if let Some(done) = self.common(offer, member, call).await {
            return done;
        }
        let connected = self.is_connected(offer);
        if !connected {
            return match (offer.kind, member, call.put) {
                (Kind::SafetyMonitor, "issafe", false) => Ok(json!(false)),
                _ => Err(Fault::ascom(0x407, "not connected")),
            };
        }
        match offer.kind {
            Kind::Telescope => telescope::member(self, member, call).await,
            Kind::Camera => camera::member(self, offer, member, call).await,
            Kind::Dome => others::dome(self, member, call).await,
            Kind::FilterWheel => others::wheel(self, offer, member, call).await,
            Kind::Focuser => others::focuser(self, member, call).await,
            Kind::ObservingConditions => others::weather(self, member, call).await,
            Kind::SafetyMonitor => others::monitor(self, member, call).await,
            Kind::Rotator => rotator::member(self, member, call).await,
            Kind::Switch => switch::member(self, member, call).await,
        }
    }

    fn is_connected(&self, offer: &Offer) -> bool {
        self.memory.borrow().connected.contains(&(offer.kind, offer.number))
    }

    /// What every interface has; `None` where it is a member of its own.
    async fn common(&self, offer: &Offer, member: &str, call: &Call) -> Option<Result<Value, Fault>> {
        let connect = |on: bool| {
            let (mut memory, key) = (self.memory.borrow_mut(), (offer.kind, offer.number));
            if on {
                memory.connected.insert(key);
            } else {
                memory.connected.remove(&key);
            }
            Ok(Value::Null)
        };
        Some(match (member, call.put) {
            ("connected", false) => Ok(json!(self.is_connected(offer))),
            ("connected", true) => call.truth("Connected").and_then(connect),
            ("connect", true) => connect(true),
            ("disconnect", true) => connect(false),
            ("connecting", false) => Ok(json!(false)),
            ("name", false) => Ok(json!(name(offer))),
            ("description" | "driverinfo", false) => Ok(json!("A simulated device of Alidade")),
            ("driverversion", false) => Ok(json!(env!("CARGO_PKG_VERSION"))),
            ("interfaceversion", false) => Ok(json!(offer.kind.named().2)),
            ("supportedactions", false) => Ok(json!([])),
            ("action", true) => Err(Fault::ascom(0x40C, "there are no actions")),
            ("commandblind" | "commandbool" | "commandstring", true) => Err(call::not_implemented(member)),
            ("devicestate", false) if self.is_connected(offer) => self.device_state(offer, call).await,
            _ => return None,
        })
    }

    /// Every operational value in one answer, as Platform 7 has it.
    async fn device_state(&self, offer: &Offer, call: &Call) -> Result<Value, Fault> {
        let members: &[&str] = match offer.kind {
            Kind::Telescope => &telescope::STATE,
            Kind::Camera => &camera::STATE,
            Kind::Dome => &["Azimuth", "ShutterStatus", "Slewing"],
            Kind::FilterWheel => &["Position"],
            Kind::Focuser => &["IsMoving", "Position", "Temperature"],
            Kind::ObservingConditions => &others::SENSORS,
            Kind::SafetyMonitor => &["IsSafe"],
            Kind::Rotator => &rotator::STATE,
            // Its values are members with a number, which nobody asks for without one.
            Kind::Switch => &[],
        };
        let mut state = Vec::new();
        for named in members {
            let asked = Box::pin(self.member(offer, &named.to_ascii_lowercase(), call)).await;
            // What cannot be told is left out.
            if let Ok(value) = asked {
                state.push(json!({ "Name": named, "Value": value }));
            }
        }
        Ok(Value::Array(state))
    }

    /// A question in the device's own protocol.
    async fn ask(&self, device: &str, question: &str) -> Result<Vec<u8>, Fault> {
        use crate::observatory::Said;
        match self.observatory.reply(device, question.as_bytes()).await {
            Said::Answer(answer) => Ok(answer),
            Said::Nothing => Err(Fault::ascom(0x500, "the device does not answer")),
            Said::Gone => Err(Fault::ascom(0x407, "the line to the device is cut")),
        }
    }

    /// The values of an answer in the grammar of cameras, wheels, focusers, rotators and switches.
    async fn grammar(&self, device: &str, words: &str) -> Result<String, Fault> {
        let answer = self.ask(device, &format!("00010000{words}")).await?;
        let text = String::from_utf8_lossy(answer.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        let text = text.strip_prefix("00010000").unwrap_or_default();
        if let Some(values) = text.strip_prefix("OK") {
            return Ok(values.trim().to_owned());
        }
        Err(match text.strip_prefix("ERR ").and_then(|rest| rest.split_once(' ')) {
            Some(("2", message)) => Fault::ascom(0x401, message),
            Some((_, message)) => Fault::ascom(0x40B, message),
            None => Fault::ascom(0x500, "the device's answer is not understood"),
        })
    }
}

/// The words of an answer as numbers.
fn numbers<const N: usize>(answer: &str) -> Result<[f64; N], Fault> {
    let found: Vec<f64> = answer.split(' ').filter_map(|word| word.parse().ok()).collect();
    <[f64; N]>::try_from(found).map_err(|_| Fault::ascom(0x500, format!("{answer:?} is not understood")))
}

fn name(offer: &Offer) -> String {
    format!("Simulated {}", offer.device.replace('_', " "))
}

/// Serves every device until the `LocalSet` ends; port 0 takes a free one.
pub async fn serve(observatory: &Rc<Observatory>, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let server = Rc::new(Server::new(observatory.clone()));
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if stream.set_nodelay(true).is_ok() {
                tokio::task::spawn_local(converse(server.clone(), stream));
            }
        }
    });
    Ok(bound)
}

async fn converse(server: Rc<Server>, mut stream: TcpStream) {
    let mut ahead = Vec::new();
    loop {
        let (answer, keeps) = match http::request(&mut stream, &mut ahead).await {
            Ok(request) => (server.answer(&request).await, request.keeps),
            Err(NoRequest::Bad(cause)) => (Answer::text(400, cause), false),
            Err(NoRequest::Gone) => return,
        };
        if http::answer(&mut stream, &answer, keeps).await.is_err() || !keeps {
            return;
        }
    }
}

/// Answers the question of Alpaca discovery on `address` (port 32227 is where clients ask) with the server's port.
pub async fn announce(server: SocketAddr, address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(address).await?;
    let bound = socket.local_addr()?;
    let answer = json!({ "AlpacaPort": server.port() }).to_string();
    tokio::task::spawn_local(async move {
        let mut bytes = [0; 128];
        loop {
            let Ok((count, from)) = socket.recv_from(&mut bytes).await else {
                continue;
            };
            if bytes[..count].starts_with(b"alpacadiscovery1") {
                // Who has gone meanwhile needs no answer.
                let _unheard = socket.send_to(answer.as_bytes(), from).await;
            }
        }
    });
    Ok(bound)
}
