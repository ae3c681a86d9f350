//! The dashboard's files, embedded: hand-written modules that the browser loads as they are (see `web/README.md`).

use super::Problem;
use actix_web::{HttpRequest, HttpResponse, http::header};
use sha2::{Digest, Sha256};

struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        Asset {
            path: $path,
            content_type: $kind,
            body: include_str!(concat!("../../../web/", $file)),
        }
    };
}

const ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/account", HTML, "account.html"),
    asset!("/alerts", HTML, "alerts.html"),
    asset!("/people", HTML, "people.html"),
    asset!("/assets/account.css", STYLE, "account.css"),
    asset!("/assets/account.js", SCRIPT, "account.js"),
    asset!("/assets/forms.js", SCRIPT, "forms.js"),
    asset!("/assets/people.js", SCRIPT, "people.js"),
    asset!("/pipelines", HTML, "pipelines.html"),
    asset!("/assets/pipelines.css", STYLE, "pipelines.css"),
    asset!("/assets/pipelines.js", SCRIPT, "pipelines.js"),
    asset!("/data", HTML, "data.html"),
    asset!("/assets/data.css", STYLE, "data.css"),
    asset!("/assets/data.js", SCRIPT, "data.js"),
    asset!("/devices", HTML, "devices.html"),
    asset!("/assets/devices.js", SCRIPT, "devices.js"),
    asset!("/assets/asking.js", SCRIPT, "asking.js"),
    asset!("/night", HTML, "night.html"),
    asset!("/requests", HTML, "requests.html"),
    asset!("/system", HTML, "system.html"),
    asset!("/assets/curves.js", SCRIPT, "curves.js"),
    asset!("/assets/nav.js", SCRIPT, "nav.js"),
    asset!("/assets/night.js", SCRIPT, "night.js"),
    asset!("/assets/pages.css", STYLE, "pages.css"),
    asset!("/assets/requests.js", SCRIPT, "requests.js"),
    asset!("/assets/draft.js", SCRIPT, "draft.js"),
    asset!("/assets/shell.js", SCRIPT, "shell.js"),
    asset!("/assets/system.js", SCRIPT, "system.js"),
    asset!("/targets", HTML, "targets.html"),
    asset!("/assets/targets.css", STYLE, "targets.css"),
    asset!("/assets/targets.js", SCRIPT, "targets.js"),
    asset!("/assets/fits.js", SCRIPT, "fits.js"),
    asset!("/assets/runs.js", SCRIPT, "runs.js"),
    asset!("/assets/viewer.js", SCRIPT, "viewer.js"),
    asset!("/packages", HTML, "packages.html"),
    asset!("/assets/packages.css", STYLE, "packages.css"),
    asset!("/assets/packages.js", SCRIPT, "packages.js"),
    asset!("/assets/tus.js", SCRIPT, "tus.js"),
    asset!("/assets/alerts.css", STYLE, "alerts.css"),
    asset!("/assets/alerts.js", SCRIPT, "alerts.js"),
    asset!("/assets/budget.js", SCRIPT, "budget.js"),
    asset!("/assets/candidates.js", SCRIPT, "candidates.js"),
    asset!("/assets/now.css", STYLE, "now.css"),
    asset!("/assets/status.css", STYLE, "status.css"),
    asset!("/assets/now.js", SCRIPT, "now.js"),
    asset!("/assets/charts.js", SCRIPT, "charts.js"),
    asset!("/assets/commands.js", SCRIPT, "commands.js"),
    asset!("/assets/elements.js", SCRIPT, "elements.js"),
    asset!("/assets/feed.js", SCRIPT, "feed.js"),
    asset!("/assets/sections.js", SCRIPT, "sections.js"),
    asset!("/assets/sky.js", SCRIPT, "sky.js"),
    asset!("/favicon.ico", "image/svg+xml", "favicon.svg"),
    asset!("/favicon.svg", "image/svg+xml", "favicon.svg"),
];

pub fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|asset| asset.path)
}

/// Addresses of the pages among them.
pub fn pages() -> impl Iterator<Item = &'static str> {
    ASSETS
        .iter()
        .filter(|asset| asset.content_type == HTML)
        .map(|asset| asset.path)
}

/// Always revalidated, never sent twice unchanged.
pub async fn serve(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.path == request.path())
        .ok_or_else(|| Problem::not_found("no such file"))?;
    let tag: String = Sha256::digest(asset.body)
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{tag}\"");
    let known = request.headers().get(header::IF_NONE_MATCH);
    let unchanged = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if unchanged {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    if unchanged {
        return Ok(response.finish());
    }
    Ok(response
        .insert_header((header::CONTENT_TYPE, asset.content_type))
        .body(asset.body))
}
