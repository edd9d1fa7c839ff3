//! Files that pages need: named by their content, kept by browsers for ever.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
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
    /// The same for those who take gzip: packed once, when the first page is asked for.
    packed: Vec<u8>,
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
        Asset { name, media_type, bytes, packed: pack(bytes), href: format!("/assets/{stem}-{hash}.{end}"), integrity }
    };
    FILES.into_iter().map(asset).collect()
});

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory cannot fail; an empty form is never sent.
    packer.write_all(bytes).and_then(|()| packer.finish()).unwrap_or_default()
}

/// Whether a request takes gzip: named, and not with a quality of zero.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let (name, quality) = one.split_once(';').unwrap_or((one, ""));
        let zero = quality.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !zero
    })
}

/// Returns a file by its plain name.
///
/// # Panics
/// When there is no such file: the names stand in templates, and a test renders them all.
#[must_use]
pub fn asset(name: &str) -> &'static Asset {
    ASSETS.iter().find(|asset| asset.name == name).expect("pages name only files that are there")
}

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/assets/{name}", Access::Unmetered, show)
}

async fn show(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|asset| asset.href.strip_prefix("/assets/") == Some(name.as_str()));
    let asset = found.ok_or_else(|| Problem::not_found("there is no such file"))?;
    let fixed = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    if !asset.packed.is_empty() && takes_gzip(&headers) {
        let packed = Bytes::from_static(&asset.packed);
        return Ok((fixed, [(header::CONTENT_ENCODING, "gzip")], packed).into_response());
    }
    Ok((fixed, asset.bytes).into_response())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;

    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn whoever_takes_gzip_gets_the_same_bytes_packed() {
        for asset in ASSETS.iter() {
            let name = asset.href.strip_prefix("/assets/").unwrap();
            for (accepted, is_packed) in [
                ("gzip, br", true),
                ("br;q=1.0, GZIP;q=0.5", true),
                ("gzip;q=0", false),
                ("identity", false),
                ("", false),
            ] {
                let mut headers = HeaderMap::new();
                headers.insert(header::ACCEPT_ENCODING, accepted.parse().unwrap());
                let answer = show(Path(name.to_owned()), headers).await.unwrap();
                assert_eq!(answer.headers().contains_key(header::CONTENT_ENCODING), is_packed, "{accepted:?}");
                let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
                let mut plain = vec![];
                if is_packed {
                    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
                } else {
                    plain.extend_from_slice(&body);
                }
                assert_eq!(plain, asset.bytes, "{name} with {accepted:?}");
            }
        }
    }
}
