//! `/restore`: what, where to, a dry run, then the deed. Each step is an address: going back, loading
//! again and signing in meanwhile lose nothing.

use std::path::{Component, Path as FsPath, PathBuf};

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::ecosystem::{Ecosystem, Side, SpokeDetail, SpokeKind};
use cathedral_model::restore::{RestorePart, RestoreRequest};
use cathedral_model::run::{Priority, Request, Work};
use cathedral_model::snapshot::{PartInfo, SnapshotInfo};

use super::act::{Fields, field};
use super::overview::held_sign;
use super::part::{self, Html, encode, size};
use super::snapshot::{known, part_of};
use super::{Frame, html};
use crate::auth::{Identity, Via, Who};
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

/// More parts than this are not listed one by one.
const MANY: usize = 200;
/// In the place of a part's name: all of them.
const ALL: &str = "*";

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/restore", Access::Needs(Action::Read), show).post(
        "/restore",
        Access::Needs(Action::RestoreToNewPlace),
        restore,
    )
}

#[derive(Template)]
#[template(path = "pages/restore.html")]
struct Page {
    frame: Frame,
    step: usize,
    steps: Vec<(&'static str, usize)>,
    snapshot: String,
    short: String,
    snapshots: Vec<(String, String, bool)>,
    parts: Vec<PartChoice>,
    /// With very many parts: how many all of them are, whether they are chosen, and what was searched for.
    is_many: bool,
    all: usize,
    is_all: bool,
    find: String,
    count: usize,
    chosen: Vec<String>,
    to: String,
    in_place: bool,
    may_new: bool,
    may_in_place: bool,
    is_fresh: bool,
    problem: String,
    effects: Vec<Effect>,
    sources: Vec<(Html, Html)>,
    bytes: String,
    expected: String,
    back: String,
    onward: String,
    sign_in: String,
    at: Html,
}

struct PartChoice {
    name: String,
    icon: &'static str,
    checked: bool,
    detail: String,
    is_there: bool,
}

struct Effect {
    name: String,
    icon: &'static str,
    words: &'static str,
    place: Html,
    size: String,
    root: String,
}

/// What a wizard's address says.
struct Wanted {
    snapshot: String,
    parts: Vec<String>,
    mode: String,
    to: String,
    step: String,
    find: String,
}

impl Wanted {
    fn of(fields: &Fields) -> Self {
        let one = |name: &str| field(fields, name).to_owned();
        Self {
            snapshot: one("snapshot"),
            parts: fields.iter().filter(|(k, _)| k == "part").map(|(_, v)| v.clone()).collect(),
            mode: one("mode"),
            to: one("to").trim().to_owned(),
            step: one("step"),
            find: one("find").trim().to_owned(),
        }
    }

    fn address(&self, step: &str) -> String {
        let mut out = format!("/restore?snapshot={}", encode(&self.snapshot));
        for name in &self.parts {
            out.push_str(&format!("&part={}", encode(name)));
        }
        if !self.mode.is_empty() {
            out.push_str(&format!("&mode={}&to={}", encode(&self.mode), encode(&self.to)));
        }
        out.push_str(&format!("&step={step}"));
        out
    }
}

/// A side that was not there yet when the snapshot was taken has nothing to give back.
fn is_there(part: &PartInfo) -> bool {
    !matches!(part.position.as_str(), "missing" | "not there")
}

/// What is restored unless somebody chooses: each spoke once, and its other side where it differs.
fn preset(info: &SnapshotInfo, part: &PartInfo) -> bool {
    let is_hub_side = |q: &&PartInfo| q.key.spoke == part.key.spoke && q.key.side == Side::Hub;
    is_there(part)
        && (part.key.side == Side::Hub || info.parts.iter().find(is_hub_side).map(|q| q.root) != Some(part.root))
}

/// The chosen parts, in the order they were chosen.
fn chosen<'a>(info: &'a SnapshotInfo, names: &[String]) -> Result<Vec<&'a PartInfo>, String> {
    if names.iter().any(|name| name == ALL) {
        return Ok(info.parts.iter().filter(|part| preset(info, part)).collect());
    }
    names.iter().map(|name| part_of(info, name).map_err(|problem| problem.detail)).collect()
}

/// Where a restore to a new place may write: an absolute path that is not below a synced tree.
fn place(to: &str, ecosystem: &Ecosystem) -> Result<PathBuf, String> {
    let path = PathBuf::from(to);
    let is_plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute()
        || !is_plain
        || to.chars().any(char::is_control)
        || to.len() > 1_000
        || path.parent().is_none()
    {
        return Err("name a folder by its whole path, for example /srv/restored".into());
    }
    for spoke in &ecosystem.spokes {
        let SpokeDetail::Files(files) = &spoke.detail else { continue };
        if path.starts_with(&files.hub) || path.starts_with(&files.spoke) {
            return Err(format!(
                "it lies inside the file tree {}: the next sync would carry it to the other side",
                spoke.name
            ));
        }
    }
    Ok(path)
}

/// A restore goes into a new or empty folder of the hub's machine.
fn empty(path: &FsPath) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(found) if !found.is_dir() => Err("something that is no folder stands there".into()),
        Ok(_) => match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the folder is not empty: a restore never mixes with what is there".into()),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn request(info: &SnapshotInfo, wanted: &Wanted, ecosystem: &Ecosystem) -> Result<RestoreRequest, String> {
    let to = if wanted.mode == "in_place" { None } else { Some(place(&wanted.to, ecosystem)?) };
    let mut parts = vec![];
    for part in chosen(info, &wanted.parts)? {
        let name = part.key.to_string();
        if !is_there(part) {
            return Err(format!("{name} was not there yet when this snapshot was taken"));
        }
        let spoke = ecosystem.spoke(&part.key.spoke).filter(|s| s.kind() == part.kind).cloned();
        let spoke = spoke.ok_or_else(|| {
            format!("{name} is not in the configuration any more; the command line restores it: cathedral restore {} {name} --to DIR", info.meta.id)
        })?;
        parts.push(RestorePart {
            side: part.key.side,
            to: to.as_ref().map(|to| to.join(part.folder_name())),
            root: part.root,
            // In place a git part is merged into a store that holds more than the snapshot did.
            provable: to.is_some() || part.kind != SpokeKind::Git,
            spoke,
        });
    }
    if parts.is_empty() {
        return Err("choose at least one part".into());
    }
    Ok(RestoreRequest { snapshot: info.meta.id.clone(), snapshot_root: info.root, parts, seal: true })
}

fn is_fresh(state: &Shared, who: &Identity) -> bool {
    match &who.via {
        Via::Session { signed_in_at, .. } => state.now().ms_since(*signed_in_at) <= state.settings.fresh_ms,
        _ => true,
    }
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(fields): Query<Fields>) -> Result<Response, Problem> {
    let mut wanted = Wanted::of(&fields);
    let view = state.view().await?;
    let now = state.now();
    let list = state.snapshots().await.map_err(|why| Problem::unavailable("vault", why, 5))?;
    if wanted.snapshot.is_empty() {
        wanted.snapshot = cathedral_engine::latest(&list).map(|i| i.meta.id.to_string()).unwrap_or_default();
    }
    let info = if wanted.snapshot.is_empty() { None } else { Some(known(&state, &wanted.snapshot).await?) };
    let parts: &[PartInfo] = info.as_ref().map_or(&[], |i| &i.parts);
    let is_many = parts.len() > MANY;
    let is_all = is_many && (wanted.parts.is_empty() || wanted.parts.iter().any(|name| name == ALL));
    let preset = |p: &PartInfo| info.as_ref().is_some_and(|info| preset(info, p));
    let listed = parts.iter().filter(|p| !is_many || p.key.to_string().contains(&wanted.find)).take(MANY);
    let choices = listed.map(|p| {
        let name = p.key.to_string();
        let is_preset = wanted.parts.is_empty() && !is_many && preset(p);
        PartChoice {
            checked: is_preset || wanted.parts.contains(&name) && is_there(p),
            icon: p.kind.as_str(),
            detail: match &p.carried {
                Some(c) => {
                    format!("{} · {} · could not be read, as of {}", size(p.bytes), p.position, part::full(c.at))
                }
                None => format!("{} · {}", size(p.bytes), p.position),
            },
            is_there: is_there(p),
            name,
        }
    });
    let choices: Vec<PartChoice> = choices.collect();
    let mut step = match wanted.step.as_str() {
        "where" => 2,
        "dry" => 3,
        "confirm" => 4,
        _ => 1,
    };
    let mut problem = String::new();
    let (mut effects, mut count) = (vec![], 0);
    if step >= 2 && wanted.parts.is_empty() {
        (step, problem) = (1, "Choose at least one part.".into());
    }
    if let (Some(info), true) = (&info, step >= 3) {
        let engine = state.engine();
        let checked = match request(info, &wanted, engine.ecosystem()) {
            Ok(request) => match request
                .parts
                .first()
                .and_then(|p| p.to.as_ref())
                .and_then(|to| to.parent())
                .map(FsPath::to_path_buf)
            {
                Some(to) => match tokio::task::spawn_blocking(move || empty(&to)).await {
                    Ok(Ok(())) => Ok(request),
                    Ok(Err(why)) => Err(why),
                    Err(error) => Err(error.to_string()),
                },
                None => Ok(request),
            },
            Err(why) => Err(why),
        };
        match checked {
            Ok(request) => {
                count = request.parts.len();
                effects = request.parts.iter().take(MANY).filter_map(|p| effect(info, p)).collect();
            }
            Err(why) => (step, problem) = (2, super::error::sentence(&why)),
        }
    }
    let taken = info.as_ref().and_then(|info| chosen(info, &wanted.parts).ok()).unwrap_or_default();
    let bytes: u64 = taken.iter().map(|p| p.bytes).sum();
    let earlier = view.facts.runs.iter().find(|r| matches!(r.request.work, Work::Restore(_)) && r.state == "finished");
    let page = Page {
        frame: Frame::of(&state, Some(&who), "snapshots").with(&view).at(&[("Snapshots", "/snapshots")], "Restore"),
        step,
        steps: vec![("What", 1), ("Where to", 2), ("Dry run", 3), ("Confirm", 4)],
        short: part::short(&wanted.snapshot),
        snapshots: list
            .iter()
            .rev()
            .take(200)
            .map(|i| {
                let id = i.meta.id.to_string();
                let words = format!(
                    "{}, {} ({})",
                    part::full(i.meta.at),
                    i.meta.cause.chars().take(60).collect::<String>(),
                    part::short(&id)
                );
                let selected = id == wanted.snapshot;
                (id, words, selected)
            })
            .collect(),
        all: if is_many { parts.iter().filter(|p| preset(p)).count() } else { 0 },
        is_many,
        is_all,
        find: wanted.find.clone(),
        count,
        parts: choices,
        in_place: wanted.mode == "in_place",
        may_new: who.may(Action::RestoreToNewPlace),
        may_in_place: who.may(Action::RestoreInPlace),
        is_fresh: is_fresh(&state, &who),
        problem,
        effects,
        sources: info.as_ref().map_or_else(Vec::new, |i| {
            i.destinations.iter().map(|d| (part::name(d.name.as_str()), held_sign(Some(&d.state)))).collect()
        }),
        bytes: size(bytes),
        expected: earlier.map_or_else(
            || "no restore has been measured here yet".into(),
            |r| {
                let spent = r.summary.phases.iter().map(|p| p.ms).sum::<u64>();
                let read: u64 = r.summary.restored.iter().map(|r| r.bytes).sum();
                if read == 0 {
                    format!("the last one took {}", part::took(spent))
                } else {
                    let guess = u128::from(spent) * u128::from(bytes) / u128::from(read);
                    format!(
                        "about {}; the last one took {} for {}",
                        part::took(u64::try_from(guess).unwrap_or(u64::MAX)),
                        part::took(spent),
                        size(read)
                    )
                }
            },
        ),
        back: wanted.address(match step {
            4 => "dry",
            3 => "where",
            _ => "what",
        }),
        onward: wanted.address("confirm"),
        sign_in: format!("/sign-in?next={}", encode(&wanted.address("confirm"))),
        at: info.as_ref().map_or_else(part::none, |i| part::ago(now, i.meta.at)),
        chosen: wanted.parts,
        snapshot: wanted.snapshot,
        to: wanted.to,
    };
    Ok(html(&page))
}

fn effect(info: &SnapshotInfo, p: &RestorePart) -> Option<Effect> {
    let held = info.parts.iter().find(|q| q.key.spoke == p.spoke.name && q.key.side == p.side)?;
    let place = match (&p.to, &p.spoke.detail) {
        (Some(to), _) => to.display().to_string(),
        (None, SpokeDetail::Git(git)) => git.url.clone(),
        (None, SpokeDetail::Database(d)) => (if p.side == Side::Hub { &d.hub } else { &d.spoke }).display().to_string(),
        (None, SpokeDetail::Files(f)) => (if p.side == Side::Hub { &f.hub } else { &f.spoke }).display().to_string(),
    };
    Some(Effect {
        name: held.key.to_string(),
        icon: held.kind.as_str(),
        words: match (p.to.is_some(), held.kind) {
            (true, _) => "written anew",
            (false, SpokeKind::Git) => "refs are brought back; no commit is lost",
            (false, _) => "written over; what stands there is kept",
        },
        place: part::cut(&place),
        size: size(held.bytes),
        root: p.root.to_string().chars().take(12).collect(),
    })
}

async fn restore(State(state): State<Shared>, Who(who): Who, Form(fields): Form<Fields>) -> Result<Response, Problem> {
    let wanted = Wanted::of(&fields);
    let info = known(&state, &wanted.snapshot).await?;
    let engine = state.engine();
    if wanted.mode == "in_place" {
        if !who.may(Action::RestoreInPlace) {
            return Err(Problem::forbidden("needs_role", "a restore over living data needs the role admin"));
        }
        who.require_fresh(&state)?;
        if field(&fields, "name") != engine.ecosystem().name {
            return Err(Problem::bad_request(
                "not_confirmed",
                "the name of the ecosystem was not typed; nothing was changed",
            )
            .hint("go back and type it as it is shown"));
        }
    }
    let request = request(&info, &wanted, engine.ecosystem()).map_err(|why| Problem::bad_request("restore", why))?;
    let _one_at_a_time = state.restoring.lock().await;
    // The same restore, sent twice (a double click, the back button), is the same run.
    let running = state.store.runs(None, 200).await?;
    let same = running
        .iter()
        .find(|row| row.state != "finished" && matches!(&row.request.work, Work::Restore(r) if *r == request));
    if let Some(row) = same {
        return Ok(see(&format!("/runs/{}", row.run)));
    }
    if let Some(to) =
        request.parts.first().and_then(|p| p.to.as_ref()).and_then(|to| to.parent()).map(FsPath::to_path_buf)
    {
        let checked = tokio::task::spawn_blocking(move || empty(&to)).await;
        checked
            .map_err(|e| e.to_string())
            .and_then(|found| found)
            .map_err(|why| Problem::conflict("not_empty", why))?;
    }
    let cause = format!("restore of {} by {}", part::short(info.meta.id.as_str()), who.name);
    let run =
        engine.submit(&Request { priority: Priority::Incident, cause, work: Work::Restore(request) }).await?.run();
    state.bell.ring();
    Ok(see(&format!("/runs/{run}")))
}
