//! Files below the data folder: previews, FITS frames, catalogues, reports.
//!
//! A path is relative, has no `..`, and after all links are followed still lies below the data folder. Only the kinds
//! of files that are products are served: the database and the keys of the same folder are not.

use super::{Problem, Shared, access::Caller, events::ChannelBody, records};
use actix_web::{
    HttpResponse,
    body::BodySize,
    web::{Bytes, Data, Path as UrlPath, block},
};
use alidade_accounts::Permission;
use std::{
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
};
use tokio::sync::mpsc;

const CHUNK: usize = 256 * 1024;

fn content_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "fits" | "fit" => "application/fits",
        "json" => "application/json",
        "ndjson" => "application/x-ndjson",
        "csv" => "text/csv; charset=utf-8",
        "txt" | "md" | "ecsv" => "text/plain; charset=utf-8",
        "vot" => "application/x-votable+xml",
        _ => return None,
    })
}

/// The file that `wanted` means, if it is one that may be served.
pub(super) fn resolve(root: &Path, wanted: &Path) -> Option<PathBuf> {
    let plain = wanted
        .components()
        .all(|part| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.')));
    if !plain {
        return None;
    }
    let root = root.canonicalize().ok()?;
    let path = root.join(wanted).canonicalize().ok()?;
    (path.starts_with(&root) && path.is_file()).then_some(path)
}

struct Opened {
    /// Relative to the data folder.
    path: PathBuf,
    file: File,
    size: u64,
    content_type: &'static str,
    name: String,
}

fn open(root: &Path, wanted: &Path) -> Option<Opened> {
    let path = resolve(root, wanted)?;
    let content_type = content_type(&path)?;
    let file = File::open(&path).ok()?;
    let size = file.metadata().ok()?.len();
    let name = path.file_name()?.to_string_lossy().into_owned();
    Some(Opened {
        path: wanted.to_owned(),
        file,
        size,
        content_type,
        name,
    })
}

/// Previews are for everybody; everything else is for those whose data it is, and for those who may see all.
async fn belongs(wanted: &Path, picture: bool, caller: &Caller, shared: &Shared) -> Result<(), Problem> {
    if picture || caller.0.may(Permission::ReadAllData).is_ok() {
        return Ok(());
    }
    caller.must(Permission::ReadOwnData)?;
    let path = wanted.to_string_lossy().into_owned();
    match records::ask(shared, move |store| store.owner_of_file(&path)).await? {
        // Calibrations serve all.
        Some(None) => Ok(()),
        Some(Some(owner)) if caller.0.account.as_ref() == Some(&owner) => Ok(()),
        // Somebody else's is not told apart from none.
        _ => Err(no_such_product()),
    }
}

/// The real place of a product that the caller may read, from its path below the data folder.
pub async fn readable(wanted: &str, caller: &Caller, shared: &Shared) -> Result<PathBuf, Problem> {
    let (root, path) = (shared.ports.data_dir.clone(), PathBuf::from(wanted));
    let asked = path.clone();
    let place = block(move || resolve(&root, &asked).filter(|place| content_type(place).is_some()));
    let place = place.await.map_err(|cause| Problem::internal(cause.to_string()))?;
    let gone = || Problem::not_found(format!("there is no product {wanted}"));
    belongs(&path, false, caller, shared).await.map_err(|_| gone())?;
    place.ok_or_else(gone)
}

fn no_such_product() -> Problem {
    Problem::not_found("there is no such product")
}

pub async fn product(path: UrlPath<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let wanted = path.into_inner();
    let ports = shared.ports.clone();
    let id = wanted.clone();
    let opened = block(move || -> Result<Option<Opened>, String> {
        if let Some(opened) = open(&ports.data_dir, Path::new(&id)) {
            return Ok(Some(opened));
        }
        // Not a path: perhaps the identifier of a product.
        let known = match &ports.product_path {
            Some(look_up) => look_up(&id)?,
            None => None,
        };
        Ok(known.and_then(|path| open(&ports.data_dir, &path)))
    })
    .await
    .map_err(|cause| Problem::internal(cause.to_string()))?
    .map_err(Problem::internal)?
    .ok_or_else(no_such_product)?;
    let picture = opened.content_type.starts_with("image/");
    belongs(&opened.path, picture, &caller, &shared).await?;

    let (chunks, body) = mpsc::channel(4);
    let Opened { file, size, .. } = opened;
    actix_web::rt::task::spawn_blocking(move || send_file(file, size, &chunks));
    let mut response = HttpResponse::Ok();
    response
        .insert_header(("Content-Type", opened.content_type))
        .insert_header(("Cache-Control", "private, max-age=3600"));
    if !opened.content_type.starts_with("image/") {
        let name: String = opened
            .name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
            .collect();
        let disposition = format!("attachment; filename=\"{name}\"");
        response.insert_header(("Content-Disposition", disposition));
    }
    Ok(response.body(ChannelBody {
        chunks: body,
        size: BodySize::Sized(size),
    }))
}

/// Reads at most `size` bytes, so that a file which still grows does not outgrow its announced length.
fn send_file(file: File, size: u64, chunks: &mpsc::Sender<Bytes>) {
    let mut rest = file.take(size);
    loop {
        let mut chunk = vec![0; CHUNK];
        match rest.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                if chunks.blocking_send(chunk.into()).is_err() {
                    return;
                }
            }
            Err(cause) => {
                tracing::warn!(%cause, "product cannot be read to its end");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_path_leads_out_of_the_data_folder() {
        let root = std::env::temp_dir().join(format!("alidade-products-{}", std::process::id()));
        let outside = root.with_extension("outside");
        std::fs::create_dir_all(root.join("previews")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(root.join("previews/a.png"), b"x").unwrap();
        std::fs::write(root.join("alidade.sqlite"), b"x").unwrap();
        std::fs::write(root.join(".secret.txt"), b"x").unwrap();
        std::fs::write(outside.join("b.png"), b"x").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        assert!(open(&root, Path::new("previews/a.png")).is_some());
        for bad in [
            "../alidade-products.outside/b.png",
            "previews/../../etc/passwd",
            "/etc/hostname",
            "link/b.png",
            "alidade.sqlite",
            ".secret.txt",
            "previews",
            "",
            "previews/none.png",
        ] {
            assert!(open(&root, Path::new(bad)).is_none(), "{bad}");
        }
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::remove_dir_all(&outside).unwrap();
    }
}
