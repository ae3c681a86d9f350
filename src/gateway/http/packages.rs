//! Packages, input files and runs over HTTP.
//!
//! ```text
//! /api/v1/packages                       GET all; /{id} GET, DELETE; /{id}/install POST (again)
//! /api/v1/packages/{id}/form             GET ?inputs=ID,ID: the form of a run on these inputs
//! /api/v1/packages/{id}/files/{name}     GET icon, help, changelog ...
//! /api/v1/packages/{id}/runs             POST {"name", "config", "inputs": [FILE ID]}
//! /api/v1/package-files                  GET; /{id} DELETE
//! /api/v1/package-runs                   GET; /{id} GET, DELETE; /{id}/{pause,resume,stop} POST
//! /api/v1/package-runs/{id}/log          GET ?which=out|err&from=BYTE: {"text", "next", "over"}
//! /api/v1/package-runs/{id}/follow       server-sent events: log, run
//! /api/v1/package-runs/{id}/outputs/{name}   GET a committed output
//! ```
//!
//! Input files and runs belong to the account that made them: others see them with the permission `read_all_data` and change
//! them with `submit_for_all`; to everybody else they are not there. Packages are everybody's.
//!
//! Fields and words of packages and runs are those of Pirus. Everything is judged by [`alidade_pipeline::packages::Desk`].

use super::{Problem, Shared, access::Caller, commands::json_body, events::ChannelBody, reply::document};
use actix_web::{
    HttpRequest, HttpResponse,
    body::BodySize,
    http::{StatusCode, header},
    web::{Bytes, Data, Path, Payload, Query, block},
};
use alidade_accounts::Permission;
use alidade_model::time::UtcTime;
use alidade_pipeline::{
    executors::Signal,
    packages::{Asker, Desk, DeskError, NewRun, PackageError, PackageRun, desk::tail},
    upload::UploadError,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// The desk as the gateway reaches it. Its calls block and are made off the event loop.
#[derive(Clone)]
pub struct Desks {
    pub desk: Arc<Desk>,
    pub clock: Arc<dyn Fn() -> UtcTime + Send + Sync>,
}

static MADE: AtomicU64 = AtomicU64::new(0);

impl Desks {
    pub fn now(&self) -> UtcTime {
        (self.clock)()
    }

    /// An identifier that was never used: of the instant, this process and a count.
    pub fn new_id(&self) -> String {
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let text = format!("{} {} {count}", self.now().unix_micros(), std::process::id());
        Sha256::digest(text)
            .iter()
            .take(10)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

pub fn desks(shared: &Shared) -> Result<Desks, Problem> {
    let desks = shared.ports.packages.clone();
    desks.ok_or_else(|| Problem::not_found("this daemon runs no packages: alidade doctor says why"))
}

/// With it one sees what belongs to others.
pub const SEE: Permission = Permission::ReadAllData;
/// With it one changes what belongs to others.
pub const CHANGE: Permission = Permission::SubmitForAll;

/// The caller as the desk knows them: without the permission `all` they touch only what is theirs.
pub fn asker(caller: &Caller, all: Permission) -> Asker {
    Asker {
        account: caller.0.account.clone(),
        only_own: caller.0.may(all).is_err(),
    }
}

fn problem(error: DeskError) -> Problem {
    let said = error.to_string();
    match error {
        DeskError::Package(PackageError::Unknown(_) | PackageError::Missing(_))
        | DeskError::Upload(UploadError::Unknown)
        | DeskError::NoRun(_)
        | DeskError::NoFile(_) => Problem::not_found(said),
        DeskError::Config(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "form",
            "the configuration is not accepted",
            said,
        ),
        DeskError::Package(PackageError::Io { .. }) | DeskError::Book(_) | DeskError::Io(..) => Problem::internal(said),
        _ => Problem::denied(said),
    }
}

/// Calls the desk off the event loop.
async fn ask<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Desks) -> Result<T, DeskError> + Send + 'static,
) -> Result<T, Problem> {
    let desks = desks(shared)?;
    let done = block(move || work(&desks))
        .await
        .map_err(|cause| Problem::internal(cause.to_string()))?;
    done.map_err(problem)
}

pub async fn list(shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let (packages, executors) = ask(&shared, |d| Ok((d.desk.packages(d.now())?, d.desk.executor_names()))).await?;
    document(&json!({ "packages": packages, "executor": executors.first(), "executors": executors }))
}

pub async fn show(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let package = ask(&shared, move |d| Ok(d.desk.shelf.show(&id)?)).await?;
    document(&package.public())
}

pub async fn remove(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    ask(&shared, move |d| d.desk.remove_package(&id, d.now())).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub async fn install(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let package = ask(&shared, move |d| d.desk.install(&id)).await?;
    document(&package.public())
}

#[derive(Debug, Deserialize)]
pub struct FormOf {
    #[serde(default)]
    inputs: String,
}

pub async fn form(
    id: Path<String>,
    of: Query<FormOf>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, SEE);
    let form = ask(&shared, move |d| {
        let package = d.desk.shelf.show(&id)?;
        let files = d.desk.files(&asker)?;
        let names = of.inputs.split(',').filter_map(|wanted| {
            let file = files.iter().find(|file| file["id"] == wanted)?;
            file["name"].as_str().map(String::from)
        });
        d.desk.form(&package, &names.collect::<Vec<_>>())
    })
    .await?;
    document(&form)
}

/// Documents of packages are other people's: they are shown as what they are only where they cannot act.
pub async fn file(path: Path<(String, String)>, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let (bytes, kind) = ask(&shared, move |d| {
        let package = d.desk.shelf.show(&id)?;
        let path = d.desk.shelf.document(&package, &name)?;
        let kind = match path.extension().and_then(|end| end.to_str()) {
            Some("png") => "image/png",
            Some("jpg" | "jpeg") => "image/jpeg",
            _ => "text/plain; charset=utf-8",
        };
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(4 << 20).read_to_end(&mut bytes));
        read.map_err(|cause| DeskError::Io(path, cause))?;
        Ok((bytes, kind))
    })
    .await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .body(bytes))
}

pub async fn begin(
    request: HttpRequest,
    id: Path<String>,
    caller: Caller,
    body: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let new: NewRun = json_body(&request, body, 1 << 20).await?;
    // Whoever may touch only what is theirs needs an account that it can belong to.
    caller.only_own(CHANGE)?;
    let asker = asker(&caller, SEE);
    let run = ask(&shared, move |d| d.desk.begin(&id, &new, &asker, &d.new_id(), d.now())).await?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::LOCATION, format!("/api/v1/package-runs/{}", run.id)))
        .body(run.public().to_string()))
}

pub async fn files(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, SEE);
    let files = ask(&shared, move |d| d.desk.files(&asker)).await?;
    document(&json!({ "files": files }))
}

pub async fn remove_file(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, CHANGE);
    ask(&shared, move |d| {
        d.desk.allow(&id, &asker)?;
        d.desk.remove_file(&id)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

pub async fn runs(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, SEE);
    let runs = ask(&shared, |d| Ok(d.desk.runs())).await?;
    let mine = runs.iter().filter(|run| asker.may(run.owner.as_deref()));
    let runs: Vec<Value> = mine.map(PackageRun::public).collect();
    document(&json!({ "runs": runs }))
}

pub async fn run(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, SEE);
    let run = ask(&shared, move |d| {
        d.desk.allow_run(&id, &asker)?;
        d.desk.run(&id)
    })
    .await?;
    document(&run.public())
}

pub async fn remove_run(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, CHANGE);
    ask(&shared, move |d| {
        d.desk.allow_run(&id, &asker)?;
        d.desk.remove_run(&id)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

pub async fn signal(
    path: Path<(String, String)>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, CHANGE);
    let (id, word) = path.into_inner();
    let signal = match word.as_str() {
        "pause" => Signal::Pause,
        "resume" | "play" => Signal::Resume,
        "stop" => Signal::Stop,
        other => return Err(Problem::not_found(format!("a run cannot be asked to {other}"))),
    };
    let run = ask(&shared, move |d| {
        d.desk.allow_run(&id, &asker)?;
        d.desk.signal(&id, signal, d.now())
    })
    .await?;
    document(&run.public())
}

#[derive(Debug, Deserialize)]
pub struct LogOf {
    #[serde(default)]
    from: u64,
    which: Option<String>,
}

/// A stretch of a log, at most this many bytes.
const STRETCH: u64 = 256 * 1024;

fn stretch(desk: &Desk, run: &str, which: &str, from: u64) -> Result<(String, u64), DeskError> {
    let file = desk.log_file(run, which)?;
    match tail(&file, from, STRETCH) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok((String::new(), from)),
        read => read.map_err(|cause| DeskError::Io(file, cause)),
    }
}

pub async fn log(
    id: Path<String>,
    of: Query<LogOf>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let asker = asker(&caller, SEE);
    let answer = ask(&shared, move |d| {
        d.desk.allow_run(&id, &asker)?;
        // Whether it is over is asked first: what is written between is then read.
        let over = d.desk.run(&id)?.is_over();
        let (text, next) = stretch(&d.desk, &id, of.which.as_deref().unwrap_or("out"), of.from)?;
        Ok(json!({ "text": text, "next": next, "over": over }))
    })
    .await?;
    document(&answer)
}

/// Between two looks at a log that somebody follows.
const LOOK: Duration = Duration::from_millis(50);

/// `log {"which", "text", "next"}` as lines are written, `run {...}` as the run changes; ends with the run.
pub async fn follow(
    id: Path<String>,
    of: Query<LogOf>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let (wanted, asker) = (id.clone(), asker(&caller, SEE));
    ask(&shared, move |d| d.desk.allow_run(&wanted, &asker)).await?;
    let desks = desks(&shared)?;
    let (events, chunks) = mpsc::channel::<Bytes>(16);
    let mut stop = shared.stop.clone();
    actix_web::rt::spawn(async move {
        let mut from = [of.from, 0];
        let mut shown = Value::Null;
        loop {
            let (desks, id) = (desks.clone(), id.clone());
            let looked = block(move || -> Result<_, DeskError> {
                let run = desks.desk.run(&id)?;
                Ok((
                    run.is_over(),
                    run.public(),
                    stretch(&desks.desk, &id, "out", from[0])?,
                    stretch(&desks.desk, &id, "err", from[1])?,
                ))
            })
            .await;
            let Ok(Ok((over, run, out, err))) = looked else { return };
            let mut text = String::new();
            for (index, (which, (words, next))) in [("out", out), ("err", err)].into_iter().enumerate() {
                if next > from[index] {
                    from[index] = next;
                    text.push_str(&format!(
                        "event: log\ndata: {}\n\n",
                        json!({ "which": which, "text": words, "next": next })
                    ));
                }
            }
            if run != shown {
                text.push_str(&format!("event: run\ndata: {run}\n\n"));
                shown = run;
            }
            if !text.is_empty() && events.send(text.into()).await.is_err() {
                return;
            }
            if over {
                return;
            }
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                () = events.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body(ChannelBody {
            chunks,
            size: BodySize::Stream,
        }))
}

pub async fn output(
    path: Path<(String, String)>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let asker = asker(&caller, SEE);
    let (mut file, size) = ask(&shared, move |d| {
        d.desk.allow_run(&id, &asker)?;
        let path = d.desk.output(&id, &name)?;
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        opened
            .map(|(size, file)| (file, size))
            .map_err(|cause| DeskError::Io(path, cause))
    })
    .await?;
    let (sender, chunks) = mpsc::channel::<Bytes>(4);
    drop(actix_web::rt::task::spawn_blocking(move || {
        let mut buffer = vec![0_u8; 256 * 1024];
        while let Ok(count) = file.read(&mut buffer) {
            if count == 0 || sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                return;
            }
        }
    }));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment"))
        .body(ChannelBody {
            chunks,
            size: BodySize::Sized(size),
        }))
}
