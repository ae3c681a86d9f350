//! The HTTP gateway: dashboard, JSON interface, event stream, commands.
//!
//! ```text
//! /                          the dashboard (embedded, no external request)
//! /status                    the same truth without JavaScript, with the stop button
//! /api/v1/status             the snapshot
//! /api/v1/events             server-sent events: state, journal, beat, gap (see `events`)
//! /api/v1/journal            ?after=SEQ&limit=N
//! /api/v1/products/{path}    previews and FITS files below the data folder
//! /api/v1/commands           POST {"command": "close_now"}
//! /api/v1/requests           POST a request; /api/v1/packets POST an alert packet
//! /api/v1/sequences/{id}     where a sequence stands; /api/v1/schedules the schedules that were made
//! /api/v1/sequences/{id}/why      why it has no place tonight, interval by interval
//! /api/v1/sequences/{id}/cancel   POST
//! /api/v1/sequences/{id}/redo     POST
//! /api/v1/alerts             the newest alert events and the time each stage takes; /api/v1/alerts/{event} one of them
//! /api/v1/strategies         those that hold, and their changes; /api/v1/strategies/{name} PUT {"text": FILE} changes one
//! /api/v1/strategies/dry-run POST {"text": FILE, "days": N}: what it would have made of past alerts
//! /api/v1/requests           observing requests; /api/v1/quotas what each account has left
//! /api/v1/session            log in, log out, who am I; /api/v1/me one's own account; /api/v1/accounts everybody's
//! /api/v1/audit              what was done to accounts
//! /api/v1/pipelines          what can be run; /pipelines the page of the runs
//! /api/v1/runs               ?pipeline=&target=&limit=; POST {"pipeline": NAME, "target": ..., "inputs": [...]} starts one
//! /api/v1/runs/{id}          the run with its attempts and products; /cancel POST
//! /api/v1/runs/{id}/log      ?from=N&limit=N; /log/stream the same as server-sent events until the run has ended
//! /data                      the page of the data; /api/v1/data and below: see `data`
//! /api/v1/packages ...       packages, their input files and runs (see `packages`); /packages the page
//! /api/v1/uploads            resumable uploads by tus 1.0.0 (see `uploads`)
//! /metrics                   counters and latencies for Prometheus
//! /alerts                    the page of the alerts; /night, /requests, /system the others
//! /api/v1/nights             past nights; /api/v1/nights/{night} one of them, planned and as it went; .../sky its ephemerides
//! /api/v1/weather            weather samples and their limits
//! /api/v1/devices            every device and what can be said to it; /api/v1/devices/{name} its last day
//! /api/v1/targets            ?text=: names that are known here, with their places
//! /api/v1/observed           ?text=: targets that there are frames of; /api/v1/observed/{name} one of them;
//!                            .../frames its frames, .../light-curve its brightness; /targets the page
//! /api/v1/instruments        channels and filters; POST /api/v1/requests/preview what a request would ask of the sky
//! /api/v1/log, /api/v1/system, /api/v1/configuration what the daemon says of itself; /api/v1/pages which pages it has
//! /api/v1/alarms/{id}/acknowledge POST
//! /api/v1/health             200 while the daemon publishes, 503 when it has gone quiet
//! ```
//!
//! Every document carries an entity tag (see `validators`). Every error is a problem document (RFC 9457). Who a request comes from is found out in `access`; what each address
//! needs stands in one table, `policy`, of which `/api/v1/openapi.json` is made.

mod access;
mod account;
mod alerts;
mod assets;
mod commands;
mod data;
mod devices;
mod events;
mod hub;
mod members;
mod nights;
mod observed;
mod openapi;
mod packages;
mod pipelines;
mod planning;
mod policy;
mod problem;
mod products;
mod reads;
mod records;
mod reply;
mod routes;
mod status_page;
mod system;
mod targets;
mod telemetry;
mod uploads;
mod validators;
mod weather;

pub use packages::Desks;

use super::{
    JournalLine,
    alerts::{AlertBoard, PastPackets},
    command::CommandCall,
    people::People,
    records::Records,
    snapshot::Snapshot,
};
use crate::{observed::LightCurves, settings::Settings};
use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use alidade_accounts::Role;
pub use data::DataDesk;
use hub::Hub;
pub use policy::{Needs as RouteNeeds, Route};
use problem::Problem;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};

/// Reads journal lines with numbers above `after`, at most `limit`, in order. Called on a blocking thread.
pub type JournalPage = Arc<dyn Fn(u64, usize) -> Result<Vec<JournalLine>, String> + Send + Sync>;

/// The journal as the records have it.
pub fn journal_of(records: Arc<Records>) -> JournalPage {
    Arc::new(move |after, limit| {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let page = records.ask(|store| store.journal_page(after, limit));
        page.map(|lines| lines.into_iter().map(|line| line.json.into()).collect())
            .map_err(|cause| cause.to_string())
    })
}

/// Tells the path of a product (relative to the data folder) from its identifier. Called on a blocking thread.
pub type ProductPath = Arc<dyn Fn(&str) -> Result<Option<PathBuf>, String> + Send + Sync>;

/// What the pages about alerts are made of.
#[derive(Clone)]
pub struct AlertDesk {
    pub board: watch::Receiver<Arc<AlertBoard>>,
    pub packets: PastPackets,
}

/// What the gateway is connected to.
#[derive(Clone)]
pub struct HttpPorts {
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    pub journal: broadcast::Sender<JournalLine>,
    pub commands: mpsc::Sender<CommandCall>,
    /// Products are served from below this folder.
    pub data_dir: PathBuf,
    /// The whole journal; without it only the last entries that the gateway has seen itself are served.
    pub journal_page: Option<JournalPage>,
    pub product_path: Option<ProductPath>,
    /// Without it there are no pages about alerts.
    pub alerts: Option<AlertDesk>,
    /// Without it there are no accounts, only who is at the machine and who has the token.
    pub people: Option<Arc<People>>,
    /// What is kept in the database; without it requests and quotas cannot be read.
    pub records: Option<Arc<Records>>,
    /// Without it there are no pipelines.
    pub pipelines: Option<Arc<dyn super::runs::RunDesk>>,
    /// Without it there are no pages about the data.
    pub data: Option<DataDesk>,
    /// What is configured; without it there are no ephemerides, no instruments to choose from and no limits.
    pub settings: Option<Arc<Settings>>,
    /// Without it there are no packages.
    pub packages: Option<Desks>,
    /// Bearer token of the configuration, an operator's.
    pub token: Option<String>,
    /// What somebody at this machine is who has not logged in.
    pub at_the_machine: Role,
    /// The dashboard is reached over TLS, so cookies are sent only there.
    pub https: bool,
}

/// Everything that can be asked, with what one must be allowed for it.
pub fn table() -> &'static [Route] {
    policy::ROUTES
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("cannot listen on {addr}: the port is in use by another program")]
    PortInUse { addr: SocketAddr },
    #[error("cannot listen on {addr}: {cause}")]
    Listen { addr: SocketAddr, cause: io::Error },
    #[error("storage.targets: {0}")]
    Targets(String),
    #[error("the http gateway did not start: {0}")]
    Start(String),
}

/// A running gateway. Dropping it stops it.
#[derive(Debug)]
pub struct HttpHandle {
    /// Where it really listens (port 0 asks for any free port).
    pub addr: SocketAddr,
    stop: watch::Sender<bool>,
    server: ServerHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl HttpHandle {
    /// Ends the event streams, closes the port and waits for the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for HttpHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // The command goes out when `stop` is called; its future only waits.
        drop(self.server.stop(true));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the http gateway's thread panicked");
        }
    }
}

/// Longest time a request body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Shared by all workers.
struct Shared {
    ports: HttpPorts,
    hub: Hub,
    skies: planning::Skies,
    /// Objects of the observatory's own file.
    catalogue: targets::Catalogue,
    curves: LightCurves,
    /// One light curve is measured at a time: the machine has a night to observe.
    measuring: Semaphore,
    stop: watch::Receiver<bool>,
}

/// The place where people will knock. Opened before anything else is changed: an address in use is found out at once, and
/// who comes early waits until [`serve_at`] answers instead of being turned away.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    /// Where it is, with the port the system chose if none was named.
    pub addr: SocketAddr,
}

impl Door {
    pub fn open(addr: SocketAddr) -> Result<Self, GatewayError> {
        let listener = TcpListener::bind(addr).map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => GatewayError::PortInUse { addr },
            _ => GatewayError::Listen { addr, cause },
        })?;
        let addr = listener
            .local_addr()
            .map_err(|cause| GatewayError::Listen { addr, cause })?;
        Ok(Self { listener, addr })
    }
}

/// Starts the gateway at an address; see [`serve_at`].
pub fn serve(addr: SocketAddr, ports: HttpPorts) -> Result<HttpHandle, GatewayError> {
    serve_at(&Door::open(addr)?, ports)
}

/// Starts the gateway in its own thread; returns when it answers.
pub fn serve_at(door: &Door, ports: HttpPorts) -> Result<HttpHandle, GatewayError> {
    let file = ports
        .settings
        .as_ref()
        .and_then(|settings| settings.storage.targets.clone());
    let catalogue = targets::Catalogue::load(file.as_deref()).map_err(GatewayError::Targets)?;
    let bound = door.addr;
    let failed = |cause| GatewayError::Listen { addr: bound, cause };
    let listener = door.listener.try_clone().map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let (started, starting) = std::sync::mpsc::channel();
    // Subscribed here, so that nothing is missed between the return of this function and the first poll.
    let lines = ports.journal.subscribe();
    let thread = thread::Builder::new()
        .name("http".into())
        .spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let hub = Hub::new(ports.snapshot.borrow().clone());
                let shared = Arc::new(Shared {
                    hub,
                    skies: planning::Skies::default(),
                    catalogue,
                    curves: LightCurves::default(),
                    measuring: Semaphore::new(1),
                    ports,
                    stop: stopped,
                });
                actix_web::rt::spawn(hub::feed(shared.clone(), lines));
                match listen(listener, shared) {
                    Ok(server) => {
                        let _ = started.send(Ok(server.handle()));
                        if let Err(cause) = server.await {
                            tracing::error!(%cause, "http gateway ended");
                        }
                    }
                    Err(cause) => {
                        let _ = started.send(Err(cause.to_string()));
                    }
                }
            });
        })
        .map_err(failed)?;
    match starting.recv() {
        Ok(Ok(server)) => {
            tracing::info!(addr = %bound, "http gateway listens");
            Ok(HttpHandle {
                addr: bound,
                stop,
                server,
                thread: Some(thread),
            })
        }
        Ok(Err(cause)) => Err(GatewayError::Start(cause)),
        Err(_) => Err(GatewayError::Start("its thread ended at once".into())),
    }
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> io::Result<actix_web::dev::Server> {
    let app = move || {
        App::new()
            .app_data(web::Data::from(shared.clone()))
            .app_data(web::PathConfig::default().error_handler(|cause, _| Problem::not_found(cause.to_string()).into()))
            .app_data(
                web::QueryConfig::default().error_handler(|cause, _| Problem::bad_request(cause.to_string()).into()),
            )
            .wrap(from_fn(validators::validate))
            .wrap(from_fn(access::guard))
            .wrap(security_headers())
            .configure(routes::all)
            .default_service(web::to(problem::no_such_page))
    };
    Ok(HttpServer::new(app)
        .workers(2)
        .disable_signals()
        .shutdown_timeout(1)
        .client_request_timeout(Duration::from_secs(5))
        .max_connections(512)
        .listen(listener)?
        .run())
}

/// Nothing but our own files: no inline script or style, no frame around us, no request elsewhere.
fn security_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             manifest-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
        ))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "same-origin"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
        .add(("Permissions-Policy", "camera=(), geolocation=(), microphone=()"))
        .add(("Cache-Control", "no-store"))
}
