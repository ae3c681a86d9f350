//! tus 1.0.0 over HTTP: `/api/v1/uploads`.
//!
//! What an offset, a checksum and a session are is said in [`alidade_pipeline::upload`]. Here: headers to calls and back. A
//! body is written in pieces of a mebibyte, each off the event loop; a body that ends early is kept as far as it came.
//! An upload with the metadata `purpose package` (or that is named like an archive) is installed when it is whole; any
//! other becomes an input file. Whole files are held against the metadata `sha256`, when they have it.

use super::{
    Problem, Shared,
    access::Caller,
    packages::{self, Desks},
};
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{Method, StatusCode, header},
    web::{Bytes, Data, Payload, block},
};
use alidade_accounts::Permission;
use alidade_pipeline::{
    packages::{Asker, DeskError, desk::is_package},
    upload::{ALGORITHMS, Checksum, Concat, EXTENSIONS, Session, Upload, UploadError, UploadKind, VERSION},
};
use futures_util::StreamExt;
use std::time::Duration;

/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;
/// A client that says nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const PATH: &str = "/api/v1/uploads";

/// An answer with the header that all answers have.
fn answer(status: u16) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    response.insert_header(("Tus-Resumable", VERSION));
    response
}

fn refusal(status: u16, cause: &str) -> HttpResponse {
    let body = serde_json::json!({
        "type": "urn:alidade:problem:upload", "title": "the upload was refused", "status": status, "detail": cause,
    });
    let mut response = answer(status);
    if status == 412 {
        response.insert_header(("Tus-Version", VERSION));
    }
    response
        .insert_header((header::CONTENT_TYPE, "application/problem+json"))
        .body(body.to_string())
}

fn refused(error: &UploadError) -> HttpResponse {
    refusal(error.status(), &error.to_string())
}

fn text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// A header that is a count of bytes.
fn count(request: &HttpRequest, name: &str) -> Result<Option<u64>, UploadError> {
    let bad = |_| UploadError::Bad(format!("{name} is not a number"));
    text(request, name)
        .map(|value| value.trim().parse().map_err(bad))
        .transpose()
}

/// All methods of both addresses.
pub async fn entry(
    request: HttpRequest,
    caller: Caller,
    body: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let desks = super::packages::desks(&shared)?;
    let method = text(&request, "X-HTTP-Method-Override").and_then(|name| name.to_uppercase().parse().ok());
    let method: Method = method.unwrap_or_else(|| request.method().clone());
    let id = request
        .match_info()
        .get("id")
        .unwrap_or_default()
        .trim_end_matches('/')
        .to_owned();
    if method == Method::OPTIONS {
        return Ok(answer(204)
            .insert_header(("Tus-Version", VERSION))
            .insert_header(("Tus-Extension", EXTENSIONS))
            .insert_header(("Tus-Max-Size", desks.desk.uploads.max_size.to_string()))
            .insert_header(("Tus-Checksum-Algorithm", ALGORITHMS))
            .finish());
    }
    if text(&request, "Tus-Resumable") != Some(VERSION) {
        return Ok(refusal(412, "Tus-Resumable: this server speaks 1.0.0"));
    }
    // Asked here, not by the table: a header may say another method than the request's own.
    caller.must(Permission::RunPipelines)?;
    let own = caller.only_own(packages::CHANGE)?;
    if !id.is_empty() && !owned(&id, packages::asker(&caller, packages::CHANGE), &desks).await {
        // Somebody else's is not told apart from none.
        return Ok(refused(&UploadError::Unknown));
    }
    let owner = own.or(caller.0.account.clone());
    Ok(match (method.as_str(), id.is_empty()) {
        ("POST", true) => {
            let may_install = caller.0.may(Permission::InstallPackages).is_ok();
            create(&request, owner, may_install, body, desks).await
        }
        ("HEAD", false) => head(id, desks).await,
        ("PATCH", false) => {
            // A task of its own: a line that is cut ends the request, and not the writing of what came over it.
            let written = actix_web::rt::spawn(async move { patch(&request, id, body, desks).await });
            written.await.unwrap_or_else(|_| refusal(500, "the writing ended"))
        }
        ("DELETE", false) => terminate(id, desks).await,
        _ => refusal(
            405,
            "OPTIONS and POST here; HEAD, PATCH and DELETE at an upload's own address",
        ),
    })
}

/// Runs off the event loop; a lost thread is our fault.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    block(work)
        .await
        .unwrap_or_else(|_| Err(UploadError::Io(std::io::Error::other("the writing thread ended"))))
}

/// RFC 9110's date.
fn expires(upload: &Upload) -> (&'static str, String) {
    (
        "Upload-Expires",
        upload
            .expires_at
            .chrono()
            .format("%a, %d %b %Y %H:%M:%S GMT")
            .to_string(),
    )
}

/// Whether what is asked for is the caller's to touch.
async fn owned(id: &str, asker: Asker, desks: &Desks) -> bool {
    let (it, id) = (desks.clone(), id.to_owned());
    block(move || it.desk.allow(&id, &asker).is_ok()).await.unwrap_or(false)
}

async fn create(
    request: &HttpRequest,
    owner: Option<String>,
    may_install: bool,
    body: Payload,
    desks: Desks,
) -> HttpResponse {
    match created(request, owner, desks.clone()).await {
        Err(error) => refused(&error),
        Ok(upload) if !may_install && is_package(&upload) => {
            drop(terminate(upload.id, desks).await);
            refusal(403, "installing packages needs the role expert")
        }
        Ok(upload) => {
            let mut response = answer(201);
            response
                .insert_header((header::LOCATION, format!("{PATH}/{}", upload.id)))
                .insert_header(expires(&upload));
            let begins = text(request, "content-type") == Some("application/offset+octet-stream");
            if begins && !matches!(upload.kind, UploadKind::Final(_)) {
                return match append(request, &upload.id, 0, body, &desks).await {
                    Ok(offset) => response.insert_header(("Upload-Offset", offset.to_string())).finish(),
                    Err(refused) => refused,
                };
            }
            let whole = matches!(upload.kind, UploadKind::Final(_)) || upload.length == Some(0);
            if whole && let Err(refused) = arrive(&upload, &desks).await {
                return refused;
            }
            response.finish()
        }
    }
}

async fn created(request: &HttpRequest, owner: Option<String>, desks: Desks) -> Result<Upload, UploadError> {
    let metadata = text(request, "Upload-Metadata").unwrap_or_default().to_owned();
    let concat = text(request, "Upload-Concat").map(Concat::parse).transpose()?;
    let length = count(request, "Upload-Length")?;
    let deferred = text(request, "Upload-Defer-Length");
    match (length, deferred, &concat) {
        (_, Some(value), _) if value != "1" => {
            return Err(UploadError::Bad("Upload-Defer-Length is 1 or absent".into()));
        }
        (Some(_), Some(_), _) => return Err(UploadError::Bad("Upload-Length and Upload-Defer-Length".into())),
        (Some(_), _, Some(Concat::Final(_))) => return Err(UploadError::Bad("Upload-Length of a final upload".into())),
        (None, None, None | Some(Concat::Partial)) => return Err(UploadError::Bad("Upload-Length is missing".into())),
        _ => {}
    }
    let kind = match concat {
        None => UploadKind::Whole,
        Some(Concat::Partial) => UploadKind::Partial,
        Some(Concat::Final(parts)) => UploadKind::Final(parts),
    };
    let (id, now) = (desks.new_id(), desks.now());
    off(move || {
        let uploads = &desks.desk.uploads;
        uploads.create_for(owner, &id, length, &metadata, kind, now)
    })
    .await
}

async fn head(id: String, desks: Desks) -> HttpResponse {
    let now = desks.now();
    let (it, wanted) = (desks.clone(), id.clone());
    match off(move || it.desk.uploads.head(&wanted, now)).await {
        Ok((upload, offset)) => {
            let mut response = answer(200);
            response
                .insert_header(("Upload-Offset", offset.to_string()))
                .insert_header(expires(&upload));
            match upload.length {
                Some(length) => response.insert_header(("Upload-Length", length.to_string())),
                None => response.insert_header(("Upload-Defer-Length", "1")),
            };
            if !upload.metadata_header.is_empty() {
                response.insert_header(("Upload-Metadata", upload.metadata_header.clone()));
            }
            match &upload.kind {
                UploadKind::Whole => {}
                UploadKind::Partial => drop(response.insert_header(("Upload-Concat", "partial"))),
                UploadKind::Final(parts) => {
                    let parts: Vec<String> = parts.iter().map(|part| format!("{PATH}/{part}")).collect();
                    response.insert_header(("Upload-Concat", format!("final;{}", parts.join(" "))));
                }
            }
            response.finish()
        }
        // The client may not have heard that its last piece came.
        Err(UploadError::Unknown) => match desks.desk.arrived_size(&id) {
            Some(size) => answer(200)
                .insert_header(("Upload-Offset", size.to_string()))
                .insert_header(("Upload-Length", size.to_string()))
                .finish(),
            None => refused(&UploadError::Unknown),
        },
        Err(error) => refused(&error),
    }
}

async fn patch(request: &HttpRequest, id: String, body: Payload, desks: Desks) -> HttpResponse {
    if text(request, "content-type") != Some("application/offset+octet-stream") {
        return refusal(415, "Content-Type: application/offset+octet-stream");
    }
    let offset = match count(request, "Upload-Offset") {
        Ok(Some(offset)) => offset,
        Ok(None) => return refusal(400, "Upload-Offset is missing"),
        Err(error) => return refused(&error),
    };
    match append(request, &id, offset, body, &desks).await {
        Ok(offset) => {
            let mut response = answer(204);
            response.insert_header(("Upload-Offset", offset.to_string()));
            let now = desks.now();
            if let Ok((upload, _)) = off(move || desks.desk.uploads.head(&id, now)).await {
                response.insert_header(expires(&upload));
            }
            response.finish()
        }
        Err(refused) => refused,
    }
}

/// Takes a body, from `offset` on; the new offset.
async fn append(
    request: &HttpRequest,
    id: &str,
    offset: u64,
    body: Payload,
    desks: &Desks,
) -> Result<u64, HttpResponse> {
    let begun = begin(request, id, offset, desks).await;
    let session = begun.map_err(|error| refused(&error))?;
    let (offset, whole) = carry(session, body).await.map_err(|error| refused(&error))?;
    if !whole {
        // Nobody hears this.
        return Err(refusal(400, "the body ended early"));
    }
    let (it, name, now) = (desks.clone(), id.to_owned(), desks.now());
    let (upload, _) = off(move || it.desk.uploads.head(&name, now))
        .await
        .map_err(|error| refused(&error))?;
    if upload.length == Some(offset) && upload.kind == UploadKind::Whole {
        arrive(&upload, desks).await?;
    }
    Ok(offset)
}

async fn begin(request: &HttpRequest, id: &str, offset: u64, desks: &Desks) -> Result<Session, UploadError> {
    let check = text(request, "Upload-Checksum").map(Checksum::parse).transpose()?;
    let length = if request.method() == Method::POST {
        None
    } else {
        count(request, "Upload-Length")?
    };
    let (it, id, now) = (desks.clone(), id.to_owned(), desks.now());
    off(move || it.desk.uploads.begin(&id, offset, length, check, now)).await
}

async fn carry(mut session: Session, mut body: Payload) -> Result<(u64, bool), UploadError> {
    let mut buffer: Vec<u8> = Vec::with_capacity(PIECE + (1 << 16));
    loop {
        let chunk: Option<Result<Bytes, _>> = tokio::time::timeout(SILENCE, body.next())
            .await
            .unwrap_or(Some(Err(actix_web::error::PayloadError::Incomplete(None))));
        let whole = match chunk {
            Some(Ok(bytes)) => {
                buffer.extend_from_slice(&bytes);
                if buffer.len() < PIECE {
                    continue;
                }
                None
            }
            Some(Err(_)) => Some(false),
            None => Some(true),
        };
        (session, buffer) = off(move || {
            session.write(&buffer)?;
            buffer.clear();
            Ok((session, buffer))
        })
        .await?;
        if let Some(whole) = whole {
            let offset = off(move || session.finish(whole)).await?;
            return Ok((offset, whole));
        }
    }
}

/// Puts a whole file into its place. An installation goes on after the answer.
async fn arrive(upload: &Upload, desks: &Desks) -> Result<(), HttpResponse> {
    let (it, whole) = (desks.clone(), upload.clone());
    off(move || it.desk.uploads.judge_whole(&whole))
        .await
        .map_err(|error| refused(&error))?;
    let (it, whole, now) = (desks.clone(), upload.clone(), desks.now());
    let arrived = block(move || it.desk.arrived(&whole, now)).await;
    match arrived {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => {
            let (it, id) = (desks.clone(), upload.id.clone());
            // Not waited for: the package's state tells.
            drop(actix_web::rt::task::spawn_blocking(move || {
                if let Err(cause) = it.desk.install(&id) {
                    tracing::warn!(package = id, %cause, "not installed");
                }
            }));
            Ok(())
        }
        Ok(Err(DeskError::Upload(error))) => Err(refused(&error)),
        Ok(Err(error)) => Err(refusal(409, &error.to_string())),
        Err(cause) => Err(refusal(500, &cause.to_string())),
    }
}

async fn terminate(id: String, desks: Desks) -> HttpResponse {
    let now = desks.now();
    match off(move || desks.desk.uploads.terminate(&id, now)).await {
        Ok(()) => answer(204).finish(),
        Err(error) => refused(&error),
    }
}
