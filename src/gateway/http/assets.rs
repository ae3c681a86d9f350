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
    asset!("/alerts", HTML, "alerts.html"),
    asset!("/packages", HTML, "packages.html"),
    asset!("/assets/packages.css", STYLE, "packages.css"),
    asset!("/assets/packages.js", SCRIPT, "packages.js"),
    asset!("/assets/tus.js", SCRIPT, "tus.js"),
    asset!("/assets/alerts.css", STYLE, "alerts.css"),
    asset!("/assets/alerts.js", SCRIPT, "alerts.js"),
    asset!("/assets/budget.js", SCRIPT, "budget.js"),
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
