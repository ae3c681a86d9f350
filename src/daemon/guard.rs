//! The guard: a second process that owns the line to the enclosure, and closes it when the daemon goes silent.
//!
//! ```text
//! daemon --- Unix socket, the controller's own dialect ---> guard --- TCP or serial line ---> controller
//!            heartbeats, open (asked), close (passed on)          its own heartbeats
//! ```
//!
//! It has no database and no network but the line to the controller. The daemon speaks to it as to the controller, so the
//! daemon's driver, its read-back and its verification are the same with and without a guard. An open is a question:
//! [`alidade_safety::guard::may_open`] answers it. A close is passed on before everything else.

use super::{live::Supervisor, translate};
use crate::{
    clock::SystemClock,
    error::CliError,
    log,
    settings::{DeviceKind, Link, Settings},
    simulate::connect,
};
use alidade_drivers::{
    interface::{DeviceError, Plc, Quantity},
    plc::render,
    transport::{SerialConnector, SharedConnector, TcpConnector},
};
use alidade_model::clock::{Clock, Looks};
use alidade_safety::{
    enclosure::{self, Effect},
    guard::{self, Hearing, Policy, Seen},
};
use std::{cell::RefCell, path::Path, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

/// A longer question than this is none of the dialect.
const LONGEST_QUESTION: usize = 256;
/// More connections than the daemon ever has.
const MOST_CLIENTS: usize = 8;

struct Guard {
    plc: Rc<dyn Plc>,
    clock: SystemClock,
    policy: Policy,
    hearing: RefCell<Hearing>,
    memory: RefCell<enclosure::Memory>,
    clients: std::cell::Cell<usize>,
}

/// Runs until a signal. 2 when the configuration has no guard, or a controller that no line leads to.
pub fn run(config: &Path) -> Result<u8, CliError> {
    log::follow()?;
    let settings = Settings::load(config).map_err(|e| CliError::bad_input(e.to_string()))?;
    if !settings.guard.enabled {
        let file = config.display();
        return Err(CliError::bad_input(format!(
            "{file}: guard.enabled is false: there is nothing to guard"
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed(e.to_string()))?;
    LocalSet::new().block_on(&runtime, keep(settings)).map(|()| 0)
}

async fn keep(settings: Settings) -> Result<(), CliError> {
    let clock = SystemClock;
    let (name, device) = settings
        .devices
        .iter()
        .find(|(_, device)| device.kind == DeviceKind::Plc)
        .ok_or_else(|| CliError::bad_input("the configuration has no plc"))?;
    let connector: SharedConnector = match &device.link {
        Link::Tcp { host, port } => Rc::new(TcpConnector {
            host: host.clone(),
            port: *port,
        }),
        Link::Serial { path, baud } => Rc::new(SerialConnector {
            path: path.clone(),
            baud: *baud,
        }),
        Link::Simulated => return Err(CliError::bad_input("a simulated controller has no line to guard")),
    };
    let plc = connect::controller(name, device, connector, &(Rc::new(clock) as Rc<dyn Clock>));
    let guard = Rc::new(Guard {
        plc,
        clock,
        policy: Policy {
            silence_s: settings.guard.silence_s,
            proof_s: settings.guard.proof_s,
            enclosure: translate::safety(&settings).policy,
        },
        hearing: RefCell::default(),
        memory: RefCell::default(),
        clients: std::cell::Cell::new(0),
    });
    let path = &settings.guard.socket;
    let listener = listen(path).map_err(|e| CliError::bad_input(format!("{}: {e}", path.display())))?;
    let supervisor = Supervisor::from_environment();
    supervisor.tell("READY=1");
    tracing::info!(controller = name, socket = %path.display(), "guarding");
    let accepting = {
        let guard = guard.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                if guard.clients.get() < MOST_CLIENTS {
                    guard.clients.set(guard.clients.get() + 1);
                    tokio::task::spawn_local(guard.clone().serve(stream));
                }
            }
        }
    };
    let watching = guard.clone().watch(settings.safety.heartbeat_s, supervisor.clone());
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| CliError::failed(e.to_string()))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| CliError::failed(e.to_string()))?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = watching => {}
        () = accepting => return Err(CliError::failed("the socket of the guard is gone")),
    }
    supervisor.tell("STOPPING=1");
    // What was commanded is commanded once more; the controller's dead-man takes it from here.
    drop(guard.plc.close().await);
    drop(std::fs::remove_file(path));
    Ok(())
}

/// Binds the socket; one that a killed guard has left is replaced, one that is answered is not.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AddrInUse,
                "another guard listens there",
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // The daemon's user and nobody else.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

impl Guard {
    fn with_seen<T>(&self, act: impl FnOnce(&Seen<'_>) -> T) -> T {
        let (enclosure, plc) = (self.plc.enclosure_status(), self.plc.plc_status());
        let rain = self.plc.readings().borrow().get(Quantity::RainMmH).map(|r| r.value);
        let seen = Seen {
            enclosure: &enclosure.borrow(),
            plc: &plc.borrow(),
            rain_mm_h: rain,
            now: self.clock.now(),
        };
        act(&seen)
    }

    /// Once a second: close when the daemon is silent, and stroke the controller's dead-man.
    async fn watch(self: Rc<Self>, heartbeat_s: f64, supervisor: Supervisor) {
        let mut since_beat = f64::INFINITY;
        let mut heard = true;
        let mut looks = Looks::default();
        loop {
            let now = self.clock.now();
            if let Some(seconds) = looks.moved_s(now) {
                self.memory.borrow_mut().move_by(seconds);
            }
            let alive = self.hearing.borrow().alive(now, &self.policy);
            if alive != heard {
                heard = alive;
                if alive {
                    tracing::info!("the daemon is heard");
                } else {
                    tracing::warn!("the daemon is silent: closing");
                }
            }
            let memory = self.memory.borrow().clone();
            let (memory, effects) =
                self.with_seen(|seen| guard::decide(&memory, &self.hearing.borrow(), seen, &self.policy));
            *self.memory.borrow_mut() = memory;
            for effect in effects {
                match effect {
                    Effect::Close => drop(tokio::task::spawn_local(Self::close(self.clone()))),
                    Effect::Alarm(text) => tracing::error!("{text}"),
                    // The mount is the daemon's; an open is never the guard's own wish.
                    Effect::ParkMount | Effect::Open => {}
                }
            }
            if since_beat >= heartbeat_s {
                since_beat = 0.0;
                let plc = self.plc.clone();
                tokio::task::spawn_local(async move { drop(plc.heartbeat().await) });
            }
            supervisor.tell("WATCHDOG=1");
            tokio::time::sleep(Duration::from_secs(1)).await;
            since_beat += 1.0;
        }
    }

    async fn close(self: Rc<Self>) {
        if let Err(error) = self.plc.close().await {
            tracing::warn!(%error, "not closed");
        }
    }

    async fn serve(self: Rc<Self>, mut stream: UnixStream) {
        let mut buffer = Vec::with_capacity(256);
        let mut chunk = [0u8; 512];
        'connection: loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
            while let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
                let question: Vec<u8> = buffer.drain(..=at).take(at).collect();
                let Some(answer) = self.answer(String::from_utf8_lossy(&question).trim()).await else {
                    break 'connection;
                };
                if stream.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                    break 'connection;
                }
            }
            if buffer.len() > LONGEST_QUESTION {
                break;
            }
        }
        self.clients.set(self.clients.get() - 1);
    }

    /// `None` ends the connection: there is nothing fresh to say, and silence says so best.
    async fn answer(&self, question: &str) -> Option<String> {
        if let Some(word) = question.strip_prefix("Status") {
            let at = ["A", "B", "D"].iter().position(|known| *known == word);
            return match at {
                Some(at) => self.lines().map(|lines| lines[at].clone()),
                None => Some("ERR 1 unknown command".into()),
            };
        }
        let outcome = match question {
            "Version" => return Some(format!("Alidade guard;{}", env!("CARGO_PKG_VERSION"))),
            "Permission" => {
                return Some(match self.may_open() {
                    Ok(()) => "YES".into(),
                    Err(denied) => format!("NO {denied}"),
                });
            }
            "Dome{OPEN}" => match self.may_open() {
                Ok(()) => self.plc.open().await,
                Err(denied) => return Some(format!("ERR 20 guard: {denied}")),
            },
            "Dome{CLOSE}" => self.plc.close().await,
            "Dome{STOP}" => self.plc.stop().await,
            "Telescope{STOP}" => self.plc.grant_access().await,
            other => match other.strip_suffix('}').and_then(|inner| inner.split_once('{')) {
                Some(("Heartbeat", _)) => {
                    self.hearing.borrow_mut().heard(self.clock.now(), &self.policy);
                    Ok(())
                }
                Some(("DomeAzimuth", degrees)) => match degrees.parse() {
                    Ok(degrees) => self.plc.rotate(degrees).await,
                    Err(_) => return Some("ERR 1 azimuth from 0 to 360".into()),
                },
                _ => return Some("ERR 1 unknown command".into()),
            },
        };
        match outcome {
            Ok(()) => Some("OK".into()),
            Err(DeviceError::Rejected { code, message, .. }) => Some(format!("ERR {code} {message}")),
            Err(DeviceError::Unsupported { capability, .. }) => Some(format!("ERR 1 cannot {capability}")),
            // Whether it was done is not known: the daemon shall find out as after any lost line.
            Err(_) => None,
        }
    }

    fn may_open(&self) -> Result<(), guard::Denied> {
        self.with_seen(|seen| guard::may_open(&self.hearing.borrow(), seen, &self.policy))
    }

    fn lines(&self) -> Option<[String; 3]> {
        let max_age_s = self.policy.enclosure.max_age_s;
        let readings = *self.plc.readings().borrow();
        self.with_seen(|seen| {
            let enclosure = seen.enclosure.fresh(seen.now, max_age_s).ok()?;
            let plc = seen.plc.fresh(seen.now, max_age_s).ok()?;
            Some(render(&readings, plc, enclosure))
        })
    }
}
