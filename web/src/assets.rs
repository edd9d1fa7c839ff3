//! Files that pages need: named by their content, kept by browsers for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha384};

use crate::problem::Problem;
use crate::routes::{Access, Routes};

/// The files: name, media type, content. A new one is added here and nowhere else.
const FILES: [(&str, &str, &[u8]); 3] = [
    ("cathedral.css", "text/css; charset=utf-8", include_bytes!("../assets/cathedral.css")),
    ("live.js", "text/javascript; charset=utf-8", include_bytes!("../assets/live.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
];

/// One file as pages refer to it.
#[derive(Debug)]
pub struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    /// `/assets/cathedral-1a2b3c4d5e6f.css`
    pub href: String,
    /// For the attribute of the same name.
    pub integrity: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |(name, media_type, bytes): (&'static str, &'static str, &'static [u8])| {
        let (stem, end) = name.split_once('.').unwrap_or((name, "bin"));
        let hash = hex::encode(&blake3::hash(bytes).as_bytes()[..6]);
        let integrity = format!("sha384-{}", STANDARD.encode(Sha384::digest(bytes)));
        Asset { name, media_type, bytes, href: format!("/assets/{stem}-{hash}.{end}"), integrity }
    };
    FILES.into_iter().map(asset).collect()
});

/// Returns a file by its plain name.
///
/// # Panics
/// When there is no such file: the names stand in templates, and a test renders them all.
#[must_use]
pub fn asset(name: &str) -> &'static Asset {
    ASSETS.iter().find(|asset| asset.name == name).expect("pages name only files that are there")
}

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/assets/{name}", Access::Public, show)
}

async fn show(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|asset| asset.href.strip_prefix("/assets/") == Some(name.as_str()));
    let asset = found.ok_or_else(|| Problem::not_found("there is no such file"))?;
    let headers =
        [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.bytes).into_response())
}
