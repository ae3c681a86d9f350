//! `alidade simulate-devices`: every simulated device on TCP ports and pseudo-terminals, and all of them as Alpaca devices
//! behind one HTTP port, for clients that are not ours.

use super::CliError;
use crate::{clock::SystemClock, settings::Settings, simulate::plan};
use alidade_model::clock::Clock;
use alidade_simulations::{alpaca, faults::Fault, observatory::Observatory, scenario, sky, weather::Shower};
use serde_json::json;
use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

/// Serve every simulated device on TCP and on a pseudo-terminal, and all as ASCOM Alpaca devices, on the live clock, until a
/// signal. It begins to rain at the signal USR1, and stops at USR2.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateDevicesArgs {
    /// Configuration that says which devices there are
    #[arg(long, default_value = "config/simulated.toml")]
    config: PathBuf,
    /// Address of the first device; the others get the ports after it. Port 0 takes free ones
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the Alpaca server; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    alpaca: SocketAddr,
    /// Answer Alpaca discovery here; clients ask at 0.0.0.0:32227. Without it nobody is answered
    #[arg(long, value_name = "ADDRESS")]
    discovery: Option<SocketAddr>,
    /// A fault script, whose times are on the live clock
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Pointing error of the mount, as in a scenario's [mount]; and its other keys
    #[arg(long, value_name = "TOML FILE")]
    hardware: Option<PathBuf>,
    /// One JSON line with every address
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hardware {
    plc: alidade_simulations::devices::plc::PlcConfig,
    mount: alidade_simulations::devices::mount::MountConfig,
}

pub fn run(args: &SimulateDevicesArgs, out: &mut impl Write) -> Result<u8, CliError> {
    let settings = Settings::load(&args.config).map_err(|e| CliError::bad_input(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed(e.to_string()))?;
    LocalSet::new()
        .block_on(&runtime, serve(args, &settings, out))
        .map(|()| 0)
}

async fn serve(args: &SimulateDevicesArgs, settings: &Settings, out: &mut impl Write) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::failed(e.to_string());
    let hardware: Hardware = match &args.hardware {
        None => Hardware::default(),
        Some(file) => {
            let wrong = |cause: String| CliError::bad_input(format!("{}: {cause}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
            toml::from_str(&text).map_err(|e| wrong(e.message().to_owned()))?
        }
    };
    let faults: Vec<Fault> = match &args.faults {
        None => Vec::new(),
        Some(file) => scenario::faults(file).map_err(|e| CliError::bad_input(e.to_string()))?,
    };
    let clock: Rc<dyn Clock> = Rc::new(SystemClock);
    let field =
        sky::StarField::new(&plan::channel_views(settings), Vec::new(), Path::new("")).map_err(CliError::bad_input)?;
    let weather = Shower::over_calm(clock.now());
    let rains = weather.on.clone();
    let observatory = Observatory::new(
        plan::hardware(settings, hardware.plc, hardware.mount),
        clock.clone(),
        Box::new(weather),
        Box::new(field),
        1,
    );
    for fault in faults {
        observatory.inject(fault);
    }
    // Before anybody is told where they are: an uncaught one would end this.
    let mut wet = signal(SignalKind::user_defined1()).map_err(failed)?;
    let mut dry = signal(SignalKind::user_defined2()).map_err(failed)?;
    let mut places = serde_json::Map::new();
    let devices = observatory.devices().into_iter().chain(observatory.second_faces());
    for (place, device) in devices.enumerate() {
        let mut address = args.listen;
        if address.port() != 0 {
            let port = usize::from(address.port()) + place;
            address.set_port(u16::try_from(port).map_err(|_| CliError::bad_input("there are not enough ports"))?);
        }
        let bound = observatory
            .serve_tcp(&device, address)
            .await
            .map_err(|e| CliError::bad_input(format!("{address}: {e}")))?;
        let terminal = observatory.serve_pty(&device).map_err(failed)?;
        if !args.json {
            writeln!(out, "{device:<14} tcp://{bound:<22} serial://{terminal}").map_err(failed)?;
        }
        places.insert(device, json!({ "tcp": bound.to_string(), "pty": terminal }));
    }
    let in_use = |address: SocketAddr| move |e: std::io::Error| CliError::bad_input(format!("{address}: {e}"));
    let server = alpaca::serve(&observatory, args.alpaca)
        .await
        .map_err(in_use(args.alpaca))?;
    let mut told = json!({ "http": server.to_string() });
    if let Some(address) = args.discovery {
        let bound = alpaca::announce(server, address).await.map_err(in_use(address))?;
        told["discovery"] = json!(bound.to_string());
    }
    if !args.json {
        writeln!(out, "{:<14} http://{server}", "alpaca").map_err(failed)?;
    }
    places.insert("alpaca".into(), told);
    if args.json {
        writeln!(out, "{}", serde_json::Value::Object(places)).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = wet.recv() => rains.set(true),
            _ = dry.recv() => rains.set(false),
        }
    }
}
