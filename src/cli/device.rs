//! `alidade device`: the PYROS language to every device, through the running daemon or straight on its line.

use super::{
    CliError,
    remote::{DaemonArgs, Remote},
};
use crate::{
    daemon::{
        consult::{self, Anyone, Here, Intentions},
        translate,
    },
    settings::{DeviceKind, Link, Settings},
    simulate::connect,
};
use alidade_drivers::{
    alpaca::discovery,
    grammar::language::Verb,
    indi::listing,
    transport::{SerialConnector, SharedConnector, TcpConnector},
};
use alidade_model::clock::Clock;
use clap::Subcommand;
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, net::Ipv4Addr, rc::Rc, time::Duration};
use tokio::task::LocalSet;

/// Speak to a device: SET what shall be, GET what is, DO what is to happen.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    daemon: DaemonArgs,
    /// On the device's own line, without a daemon
    #[arg(long, global = true)]
    direct: bool,
    /// With --direct, this line instead of the configured one: tcp://HOST:PORT or serial:///dev/PATH?baud=N
    #[arg(long, global = true)]
    link: Option<Link>,
    /// Machine output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Every device, whether it answers, and who it says it is
    List,
    /// Say what shall be: SET COORD_RADEC 12:05:17.3 +45:30, SET EXPOSURE 30, SET FILTER r, SET ROTATOR_ANGLE 90,
    /// SET LINE camera_vis OFF
    Set(Words),
    /// Ask: GET STATUS, GET COORD_ALTAZ (azimuth 0 is south), GET IDENTITY
    Get(Words),
    /// Make it so: DO START, DO STOP, DO PARK, DO EXPOSE
    Do(Words),
    /// Ask the network for ASCOM Alpaca servers, or an INDI server, and list what they offer
    Discover {
        /// The INDI server at this host is asked, by its name, on port 7624 unless told otherwise: HOST or HOST:PORT
        #[arg(long, conflicts_with_all = ["target", "port"])]
        indi: Option<String>,
        /// Who is asked: a broadcast address, or one host
        #[arg(long, default_value = "255.255.255.255")]
        target: Ipv4Addr,
        /// Port of the question
        #[arg(long, default_value_t = discovery::PORT)]
        port: u16,
        /// Seconds to listen for answers
        #[arg(long, default_value_t = 2.0)]
        wait: f64,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Words {
    /// Name in the configuration
    device: String,
    /// With --direct, a comma of its own begins the next saying: set mount COORD_ALTAZ 0 45 , do START. Put -- before the
    /// device when a word begins with a minus and is no number (-05:30)
    #[arg(required = true, allow_negative_numbers = true)]
    words: Vec<String>,
}

pub fn run(args: &DeviceArgs, out: &mut impl Write) -> Result<u8, CliError> {
    if let What::Discover {
        indi,
        target,
        port,
        wait,
    } = &args.what
    {
        if !(0.05..=60.0).contains(wait) {
            return Err(CliError::bad_input(format!("--wait {wait} is outside 0.05 to 60")));
        }
        let wait = Duration::from_secs_f64(*wait);
        return match indi {
            Some(host) => list_indi(host, wait, args.json, out),
            None => discover(*target, *port, wait, args.json, out),
        };
    }
    let answer = if args.direct || args.link.is_some() {
        directly(args)?
    } else {
        let (device, verb, words) = match &args.what {
            What::List | What::Discover { .. } => (None, "", Vec::new()),
            What::Set(w) => (Some(w.device.clone()), "set", w.words.clone()),
            What::Get(w) => (Some(w.device.clone()), "get", w.words.clone()),
            What::Do(w) => (Some(w.device.clone()), "do", w.words.clone()),
        };
        let body = json!({ "command": "device", "device": device, "verb": verb, "words": words });
        Remote::of(&args.daemon)?.post("/api/v1/commands", &body)?["answer"].take()
    };
    let written = if args.json {
        writeln!(out, "{answer}")
    } else {
        print(&answer, out)
    };
    written.map(|()| 0).map_err(|e| CliError::failed(e.to_string()))
}

fn failed(cause: impl ToString) -> CliError {
    CliError::failed(cause.to_string())
}

/// Runs what asks the network, on this thread.
fn ask_around<T>(asked: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    Ok(runtime.block_on(asked))
}

/// Lists the devices behind one INDI server; 1 when there are none.
fn list_indi(host: &str, wait: Duration, json: bool, out: &mut impl Write) -> Result<u8, CliError> {
    let address = match host.rsplit_once(':') {
        // An address of IPv6 has colons of its own, so it stands in brackets.
        Some((_, port)) if !port.ends_with(']') => host.to_owned(),
        _ => format!("{host}:7624"),
    };
    let link: Link = format!("tcp://{address}")
        .parse()
        .map_err(|_| CliError::bad_input(format!("--indi {host}: not HOST or HOST:PORT")))?;
    let devices = ask_around(listing::devices(&address, wait))?.map_err(failed)?;
    if json {
        let told = json!([{ "link": link, "server": { "name": "INDI", "devices": devices } }]);
        writeln!(out, "{told}").map_err(failed)?;
    } else {
        writeln!(out, "{link} INDI").map_err(failed)?;
        for offered in &devices {
            let kinds = match offered.kinds.as_slice() {
                [] => "?".to_owned(),
                kinds => kinds.join(", "),
            };
            let (name, driver, version) = (&offered.name, &offered.driver, &offered.version);
            writeln!(out, "  {name:<28} {kinds:<22} {driver} {version}").map_err(failed)?;
        }
    }
    Ok(u8::from(devices.is_empty()))
}

/// Lists every server that answers in time, with its devices; 1 when nobody does.
fn discover(target: Ipv4Addr, port: u16, wait: Duration, json: bool, out: &mut impl Write) -> Result<u8, CliError> {
    let asked = async {
        let mut servers = Vec::new();
        for address in discovery::discover(target, port, wait).await? {
            servers.push((address, discovery::server(address).await));
        }
        Ok(servers)
    };
    let servers = ask_around(asked)?.map_err(|e: std::io::Error| CliError::failed(format!("{target}:{port}: {e}")))?;
    if json {
        let told = servers.iter().map(|(address, server)| match server {
            Ok(server) => json!({ "link": format!("tcp://{address}"), "server": server }),
            Err(trouble) => json!({ "link": format!("tcp://{address}"), "error": trouble.to_string() }),
        });
        writeln!(out, "{}", Value::Array(told.collect())).map_err(failed)?;
    } else {
        for (address, server) in &servers {
            match server {
                Ok(server) => {
                    writeln!(
                        out,
                        "tcp://{address} {} {} ({})",
                        server.name, server.version, server.manufacturer
                    )
                    .map_err(failed)?;
                    for offered in &server.devices {
                        writeln!(
                            out,
                            "  {}/{} {}",
                            offered.kind.to_lowercase(),
                            offered.number,
                            offered.name
                        )
                        .map_err(failed)?;
                    }
                }
                Err(trouble) => writeln!(out, "tcp://{address} {trouble}").map_err(failed)?,
            }
        }
    }
    Ok(u8::from(servers.is_empty()))
}

/// One line a device, or one line a value.
fn print(answer: &Value, out: &mut impl Write) -> std::io::Result<()> {
    match answer {
        Value::Array(rows) => rows.iter().try_for_each(|row| {
            let word = |key: &str| row[key].as_str().unwrap_or("").to_owned();
            let state = if row["up"] == true {
                "up".to_owned()
            } else {
                format!("down: {}", word("cause"))
            };
            let model = row["identity"]["model"].as_str().unwrap_or("");
            writeln!(out, "{:<14} {:<13} {model:<32} {state}", word("device"), word("kind"))
        }),
        Value::Object(_) => lines("", answer, out),
        other => writeln!(out, "{other}"),
    }
}

fn lines(prefix: &str, value: &Value, out: &mut impl Write) -> std::io::Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(key, inner)| {
            let name = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            lines(&name, inner, out)
        }),
        Value::String(text) => writeln!(out, "{prefix} {text}"),
        other => writeln!(out, "{prefix} {other}"),
    }
}

/// Connects one device (or all, for the list), says one thing, and leaves. SET and DO follow each other in one call when
/// both are given: a line has no memory of what was set before.
fn directly(args: &DeviceArgs) -> Result<Value, CliError> {
    let settings = Settings::load(&args.daemon.config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed(e.to_string()))?;
    LocalSet::new().block_on(&runtime, converse(args, settings))
}

async fn converse(args: &DeviceArgs, settings: Settings) -> Result<Value, CliError> {
    let wanted = match &args.what {
        What::List | What::Discover { .. } => None,
        What::Set(w) | What::Get(w) | What::Do(w) => Some(w.device.clone()),
    };
    if let Some(name) = &wanted
        && !settings.devices.contains_key(name)
    {
        let known: Vec<&str> = settings.devices.keys().map(String::as_str).collect();
        return Err(CliError::bad_input(format!(
            "there is no device {name} in the configuration (known: {})",
            known.join(", ")
        )));
    }
    let clock: Rc<dyn Clock> = Rc::new(crate::clock::SystemClock);
    let nowhere = |name: &str| wanted.as_deref().is_some_and(|only| only != name);
    let way = |name: &str, _: DeviceKind, _: Option<&str>| -> Option<SharedConnector> {
        let configured = &settings.devices.get(name)?.link;
        let link = args.link.as_ref().filter(|_| wanted.is_some()).unwrap_or(configured);
        Some(match link {
            // Only the device that is spoken to is connected: a serial line has one user.
            _ if nowhere(name) => Rc::new(TcpConnector {
                host: String::new(),
                port: 0,
            }),
            Link::Tcp { host, port } => Rc::new(TcpConnector {
                host: host.clone(),
                port: *port,
            }),
            Link::Serial { path, baud } => Rc::new(SerialConnector {
                path: path.clone(),
                baud: *baud,
            }),
            Link::Simulated => Rc::new(TcpConnector {
                host: String::new(),
                port: 0,
            }),
        })
    };
    let devices = connect::devices(&settings, &clock, way).ok_or_else(|| {
        CliError::bad_input("the configuration needs a plc or an enclosure, a mount and a camera for every channel")
    })?;
    let everyone = consult::everyone(&devices);
    let heard = |anyone: &Anyone| anyone.device().link().borrow().is_up();
    let patience = Duration::from_secs(8);
    let Some(name) = wanted else {
        // Those that answer do so at once; the others are listed as down.
        let all_up = async {
            while !everyone.values().all(heard) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(3), all_up).await);
        return Ok(consult::list(&everyone));
    };
    let anyone = everyone
        .get(&name)
        .ok_or_else(|| CliError::bad_input(format!("{name} is not connected by this configuration")))?;
    let up = async {
        while !heard(anyone) || !read(anyone) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(patience, up).await.is_err() {
        let cause = consult::list(&BTreeMap::from([(name.clone(), anyone.clone())]))[0]["cause"].clone();
        return Err(CliError::failed(format!(
            "{name} does not answer within {patience:?}: {}",
            cause.as_str().unwrap_or("nothing was read")
        )));
    }
    let here = Here {
        site: translate::site(&settings),
        now: clock.now(),
    };
    let intentions = Intentions::default();
    let (first, words) = match &args.what {
        What::Set(w) => (Verb::Set, &w.words),
        What::Get(w) => (Verb::Get, &w.words),
        What::Do(w) => (Verb::Do, &w.words),
        What::List | What::Discover { .. } => return Ok(Value::Null),
    };
    let mut answer = Value::Null;
    for (place, saying) in words.split(|word| word == ",").enumerate() {
        let mut saying: Vec<&str> = saying.iter().map(String::as_str).collect();
        let verb = match saying.first().map(|word| word.to_ascii_lowercase()) {
            Some(word) if place > 0 => {
                saying.remove(0);
                match word.as_str() {
                    "set" => Verb::Set,
                    "get" => Verb::Get,
                    "do" => Verb::Do,
                    _ => {
                        return Err(CliError::bad_input(format!(
                            "{word:?} after a comma is neither set, get nor do"
                        )));
                    }
                }
            }
            _ => first,
        };
        answer = consult::say(anyone, verb, &saying, &intentions, here)
            .await
            .map_err(CliError::failed)?;
    }
    Ok(answer)
}

/// The state has been read once.
fn read(anyone: &Anyone) -> bool {
    match anyone {
        Anyone::Mount(d) => d.status().borrow().value.is_ok(),
        Anyone::Camera(d) => d.status().borrow().value.is_ok(),
        Anyone::Wheel(d) => d.status().borrow().value.is_ok(),
        Anyone::Focuser(d) => d.status().borrow().value.is_ok(),
        Anyone::Plc(d) => d.enclosure_status().borrow().value.is_ok(),
        Anyone::Station(d) => !d.readings().borrow().is_empty(),
        Anyone::Rotator(d) => d.status().borrow().value.is_ok(),
        Anyone::Switch(d) => d.lines().borrow().value.is_ok(),
    }
}
