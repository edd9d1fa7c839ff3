//! `/snapshots/{id}`: what one snapshot holds; browse it, compare it, take one file out.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use cathedral_model::access::Action;
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::SnapshotId;
use cathedral_model::snapshot::{PartInfo, SnapshotInfo};
use serde::Deserialize;

use super::overview::held_sign;
use super::part::{self, Html, count, encode, size};
use super::{Frame, html};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

mod browse;

use browse::{Found, Kind};

/// Entries of a folder on one page.
const ROWS: usize = 300;
/// A larger file is taken out by the command line, which streams.
const MOST: usize = 64 << 20;
/// Differences that are listed.
const DIFFERENCES: usize = 500;

pub(crate) fn routes(routes: Routes) -> Routes {
    let (read, contents) = (Access::Needs(Action::Read), Access::Needs(Action::ReadContents));
    routes
        .get("/snapshots/{snapshot}", read, show)
        .get("/snapshots/{snapshot}/browse", contents, look)
        .get("/snapshots/{snapshot}/file", contents, file)
        .get("/compare", contents, compare)
}

pub(crate) fn part_of<'a>(info: &'a SnapshotInfo, name: &str) -> Result<&'a PartInfo, Problem> {
    info.parts
        .iter()
        .find(|p| p.key.to_string() == name)
        .ok_or_else(|| Problem::not_found("the snapshot has no such part"))
}

pub(crate) async fn known(state: &Shared, id: &str) -> Result<SnapshotInfo, Problem> {
    let none = || Problem::not_found("there is no such snapshot");
    let id = SnapshotId::parse(id).map_err(|_| none())?;
    let list = state.snapshots().await.map_err(|why| Problem::unavailable("vault", why, 5))?;
    list.iter().find(|info| info.meta.id == id).cloned().ok_or_else(none)
}

#[derive(Template)]
#[template(path = "pages/snapshot.html")]
struct Page {
    frame: Frame,
    id: String,
    short: String,
    at: Html,
    cause: Html,
    tags: Vec<Html>,
    root: String,
    facts: Vec<(&'static str, String)>,
    places: Vec<(Html, Html, String)>,
    parts: Vec<PartRow>,
    skipped: Vec<(String, Html)>,
    carried: Vec<CarriedRow>,
    compare: String,
}

struct PartRow {
    name: String,
    icon: &'static str,
    link: String,
    items: String,
    size: String,
    position: Html,
    root: String,
    consistency: String,
}

/// What of a part is older than the snapshot.
struct CarriedRow {
    part: String,
    /// The side, of a part that holds both.
    side: &'static str,
    at: String,
    earlier: String,
    link: String,
    why: Html,
}

fn carried(part: &PartInfo) -> Option<CarriedRow> {
    let carried = part.carried.as_ref()?;
    let earlier = carried.snapshot.to_string();
    Some(CarriedRow {
        part: part.key.to_string(),
        side: carried.side.map_or("", |side| side.as_str()),
        at: part::full(carried.at),
        link: format!("/snapshots/{earlier}"),
        earlier: part::short(&earlier),
        why: part::cut(&carried.why),
    })
}

async fn show(State(state): State<Shared>, Who(who): Who, Path(id): Path<String>) -> Result<Response, Problem> {
    let info = known(&state, &id).await?;
    let view = state.view().await?;
    let now = state.now();
    let id = info.meta.id.to_string();
    let items = |p: &PartInfo| match p.kind {
        SpokeKind::Git => count(p.items, "ref", "refs"),
        SpokeKind::Database => count(p.items, "row", "rows"),
        SpokeKind::Files => count(p.items, "file", "files"),
    };
    let skipped = info.parts.iter().flat_map(|p| p.skipped.iter().map(move |s| (p.key.to_string(), part::cut(s))));
    let page = Page {
        short: part::short(&id),
        at: part::ago(now, info.meta.at),
        cause: part::name(&info.meta.cause),
        tags: info.meta.tags.iter().map(|t| part::name(t)).collect(),
        root: info.root.to_string(),
        facts: vec![
            ("Taken", part::full(info.meta.at)),
            ("Stands for", size(info.bytes.logical)),
            ("New", size(info.bytes.new)),
            ("Stored", size(info.bytes.stored)),
        ],
        places: info
            .destinations
            .iter()
            .map(|d| (part::name(d.name.as_str()), held_sign(Some(&d.state)), d.state.clone()))
            .collect(),
        parts: info
            .parts
            .iter()
            .map(|p| PartRow {
                name: p.key.to_string(),
                icon: p.kind.as_str(),
                link: format!("/snapshots/{id}/browse?part={}", encode(&p.key.to_string())),
                items: items(p),
                size: size(p.bytes),
                position: part::name(&p.position),
                root: p.root.to_string().chars().take(12).collect(),
                consistency: p.consistency.clone(),
            })
            .collect(),
        skipped: skipped.take(100).collect(),
        carried: info.parts.iter().filter_map(carried).collect(),
        compare: info.parent.as_ref().map_or(String::new(), |parent| format!("/compare?a={parent}&b={id}")),
        frame: Frame::of(&state, Some(&who), "snapshots")
            .with(&view)
            .at(&[("Snapshots", "/snapshots")], &part::short(&id))
            .api(format!("/api/v1/snapshots/{id}")),
        id,
    };
    Ok(html(&page))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    part: String,
    path: String,
    from: usize,
}

#[derive(Template)]
#[template(path = "pages/browse.html")]
struct Browse {
    frame: Frame,
    id: String,
    short: String,
    part: String,
    what: &'static str,
    trail: Vec<(String, String)>,
    rows: Vec<EntryRow>,
    columns: Vec<Html>,
    cells: Vec<Vec<Html>>,
    total: usize,
    next: String,
    download: String,
}

struct EntryRow {
    icon: &'static str,
    name: Html,
    link: String,
    download: String,
    size: String,
    more: Html,
}

async fn look(
    State(state): State<Shared>,
    Who(who): Who,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let info = known(&state, &id).await?;
    let chosen = part_of(&info, &wanted.part)?.clone();
    let view = state.view().await?;
    let source = state.vault().open(&info.meta.id, &chosen.key).await?;
    let path = wanted.path.trim_matches('/').as_bytes().to_vec();
    let under = path.clone();
    let found = tokio::task::spawn_blocking(move || browse::list(source, &under)).await;
    let found = found.map_err(|error| Problem::bad_request("browse", error.to_string()))??;
    let id = info.meta.id.to_string();
    let base = format!("/snapshots/{id}/browse?part={}", encode(&wanted.part));
    let file = |path: &str| format!("/snapshots/{id}/file?part={}&path={}", encode(&wanted.part), encode(path));
    let (entries, columns, cells) = match found {
        Found::Entries(entries) => (entries, vec![], vec![]),
        Found::Rows(columns, rows) => (vec![], columns, rows),
    };
    let total = entries.len().max(cells.len());
    let row = |e: &browse::Entry| {
        let name = String::from_utf8_lossy(&e.path).into_owned();
        let last = name.rsplit('/').next().unwrap_or_default().to_owned();
        let is_text = std::str::from_utf8(&e.path).is_ok();
        let open = format!("{base}&path={}", encode(&name));
        let (icon, link, download, size) = match &e.kind {
            Kind::Dir => ("files", open, String::new(), String::new()),
            Kind::File(bytes) => ("list", String::new(), file(&name), size(*bytes)),
            Kind::Table(rows) => ("database", open, file(&name), count(*rows, "row", "rows")),
            Kind::Other => ("git", String::new(), String::new(), String::new()),
        };
        EntryRow {
            icon,
            name: part::cut(if matches!(e.kind, Kind::Other) { &name } else { &last }),
            link: if is_text { link } else { String::new() },
            download: if is_text { download } else { String::new() },
            size,
            more: part::cut(&e.more),
        }
    };
    let mut trail = vec![(wanted.part.clone(), base.clone())];
    let text = String::from_utf8_lossy(&path).into_owned();
    let mut so_far = String::new();
    for piece in text.split('/').filter(|p| !p.is_empty() && chosen.kind != SpokeKind::Git) {
        if !so_far.is_empty() {
            so_far.push('/');
        }
        so_far.push_str(piece);
        trail.push((piece.to_owned(), format!("{base}&path={}", encode(&so_far))));
    }
    let next = wanted.from.saturating_add(ROWS);
    let page = Browse {
        frame: Frame::of(&state, Some(&who), "snapshots")
            .with(&view)
            .at(&[("Snapshots", "/snapshots"), (&part::short(&id), &format!("/snapshots/{id}"))], &wanted.part),
        short: part::short(&id),
        what: match chosen.kind {
            SpokeKind::Git => "Refs",
            SpokeKind::Database if !columns.is_empty() => "The first rows",
            SpokeKind::Database => "Tables",
            SpokeKind::Files => "Contents",
        },
        rows: entries.iter().skip(wanted.from).take(ROWS).map(row).collect(),
        next: if next < entries.len() { format!("{base}&path={}&from={next}", encode(&text)) } else { String::new() },
        download: if columns.is_empty() { String::new() } else { file(&text) },
        columns: columns.iter().map(|c| part::name(c)).collect(),
        cells: cells.iter().map(|row| row.iter().map(|c| part::name(c)).collect()).collect(),
        total,
        trail,
        part: wanted.part.clone(),
        id,
    };
    Ok(html(&page))
}

async fn file(
    State(state): State<Shared>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let info = known(&state, &id).await?;
    let chosen = part_of(&info, &wanted.part)?.clone();
    let source = state.vault().open(&info.meta.id, &chosen.key).await?;
    let path = wanted.path.clone().into_bytes();
    let read = tokio::task::spawn_blocking(move || browse::read(source, &path, MOST)).await;
    let bytes = read.map_err(|error| Problem::bad_request("file", error.to_string()))??;
    let bytes = bytes.ok_or_else(|| Problem::not_found("the snapshot has no such file"))?;
    if bytes.len() > MOST {
        let command = format!("cathedral snapshot cat {} {}/{}", info.meta.id, wanted.part, wanted.path);
        return Err(Problem::bad_request("too_large", format!("it has more than {}", size(MOST as u64))).hint(command));
    }
    let last = wanted.path.rsplit('/').next().unwrap_or("file");
    let mut name: String =
        last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).take(100).collect();
    if name.trim_matches('.').is_empty() {
        name = "file".into();
    }
    if chosen.kind == SpokeKind::Database {
        name.push_str(".jsonl");
    }
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, bytes).into_response())
}

#[derive(Deserialize)]
struct Two {
    a: String,
    b: String,
}

#[derive(Template)]
#[template(path = "pages/compare.html")]
struct Compare {
    frame: Frame,
    a: String,
    b: String,
    a_short: String,
    b_short: String,
    a_at: Html,
    b_at: Html,
    equal: Vec<String>,
    parts: Vec<Difference>,
    others: Vec<(String, Html)>,
}

struct Difference {
    name: String,
    icon: &'static str,
    words: String,
    rows: Vec<(&'static str, &'static str, Html, String)>,
    more: usize,
}

async fn compare(State(state): State<Shared>, Who(who): Who, Query(two): Query<Two>) -> Result<Response, Problem> {
    let (a, b) = (known(&state, &two.a).await?, known(&state, &two.b).await?);
    let view = state.view().await?;
    let now = state.now();
    let mut equal = vec![];
    let mut parts = vec![];
    let mut names: Vec<String> = a.parts.iter().chain(&b.parts).map(|p| p.key.to_string()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (left, right) = (part_of(&a, &name).ok(), part_of(&b, &name).ok());
        match (left, right) {
            (Some(l), Some(r)) if l.root == r.root => equal.push(name),
            (Some(l), Some(r)) => {
                let from = state.vault().open(&a.meta.id, &l.key).await?;
                let to = state.vault().open(&b.meta.id, &r.key).await?;
                let compared = tokio::task::spawn_blocking(move || browse::compare(from, to)).await;
                let rows = compared.map_err(|error| Problem::bad_request("compare", error.to_string()))??;
                parts.push(Difference {
                    icon: r.kind.as_str(),
                    words: if rows.is_empty() {
                        "contents differ, names and sizes are equal".into()
                    } else {
                        count(rows.len() as u64, "difference", "differences")
                    },
                    more: rows.len().saturating_sub(DIFFERENCES),
                    rows: rows
                        .into_iter()
                        .take(DIFFERENCES)
                        .map(|(class, word, what, more)| (class, word, part::cut(&what), more))
                        .collect(),
                    name,
                });
            }
            (None, Some(r)) => parts.push(only(name, r, "only in the newer one")),
            (Some(l), None) => parts.push(only(name, l, "only in the older one")),
            (None, None) => {}
        }
    }
    let others = state.snapshots().await.map(|list| {
        list.iter()
            .rev()
            .filter(|i| i.meta.id != b.meta.id)
            .take(30)
            .map(|i| (i.meta.id.to_string(), part::clock(now, i.meta.at)))
            .collect()
    });
    let page = Compare {
        frame: Frame::of(&state, Some(&who), "snapshots").with(&view).at(&[("Snapshots", "/snapshots")], "Compare"),
        a: a.meta.id.to_string(),
        b: b.meta.id.to_string(),
        a_short: part::short(a.meta.id.as_str()),
        b_short: part::short(b.meta.id.as_str()),
        a_at: part::clock(now, a.meta.at),
        b_at: part::clock(now, b.meta.at),
        equal,
        parts,
        others: others.unwrap_or_default(),
    };
    Ok(html(&page))
}

fn only(name: String, part: &PartInfo, words: &str) -> Difference {
    Difference { name, icon: part.kind.as_str(), words: words.to_owned(), rows: vec![], more: 0 }
}
