//! `restore`: a plan first, then the deed, with or without the hub.

mod begun;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cathedral_backup::{LocalDestination, LocalVault};
use cathedral_engine::{Engine, Standing};
use cathedral_model::ecosystem::{
    DatabaseSpoke, Ecosystem, FilesSpoke, GitIntegration, GitMerge, GitSpoke, RefRules, RowMerge, Side, Spoke,
    SpokeDetail, SpokeKind,
};
use cathedral_model::ids::{DestinationName, RunId};
use cathedral_model::ports::{Cause, Destination, Vault};
use cathedral_model::restore::{RestorePart, RestoreRequest};
use cathedral_model::run::{Priority, Request, RunResult, RunSummary, Work};
use cathedral_model::snapshot::{PartInfo, PartKey, SnapshotInfo};

use self::begun::Begun;
use super::super::args::{Global, RestoreArgs};
use super::super::output::{Tint, count, many, safe, size};
use super::super::table::Table;
use super::faults::Met;
use super::place::{self, Kept};
use super::snapshot::{carried, part_of};
use super::{Ended, Failure, Output, find_snapshot, short, sync};
use crate::cli::Bar;
use crate::hub::{Hub, Site, offline_engine, places, read_vault, resolve};

pub async fn run(args: RestoreArgs, global: &Global, output: &Output) -> Ended {
    let is_url = args.from.as_deref().is_some_and(|from| from.contains(':') || from.contains('/'));
    if args.offline || is_url || args.key_file.is_some() {
        return offline(args, global, output).await;
    }
    if let Some(from) = &args.from {
        known_destination(&super::site(global)?, from)?;
    }
    let (hub, bar) = match (super::hub(global, output).await, &args.to) {
        (Ok(opened), _) => opened,
        // The worst day: the state is damaged as well. The snapshots need none of it.
        (Err(failure), Some(to)) if is_of_the_hub_alone(&failure) => {
            let site = super::site(global)?;
            let Ok(vault) = read_vault(&site) else { return Err(failure) };
            output.warn(format!("the hub's state cannot be used, so it is left alone: {}", failure.what));
            output.warn("restoring from the vault alone");
            read_from(&vault, &args)?;
            place::check(&absolute(global, to)?, &kept(&site, resolve(&site).ok().as_ref().map(|(e, _)| e)))?;
            return from_vault(vault, &args, to, global, output).await;
        }
        (Err(failure), _) => return Err(failure),
    };
    read_from(&hub.vault, &args)?;
    if let (Some(from), true, false) = (&args.from, hub.is_attached(), args.dry_run) {
        // The run would be driven by the other process, which reads wherever it likes.
        return Err(Failure::new(
            75,
            "C7501",
            format!("a hub is running, and it cannot be told to read from {from} only"),
        )
        .why("the running hub drives the restore, and takes each object from the first place that has it whole")
        .next("leave --from out: damaged copies are passed over anyway")
        .next("or stop the hub, then repeat the command"));
    }
    let list = hub.vault.list().await?;
    let info = find_snapshot(&hub.vault, &list, &args.snapshot, global, output).await?;
    let parts = choose(info, &args.what, args.in_place)?;
    if !args.in_place && args.to.is_none() {
        describe(info, &parts, None, Some(hub.ecosystem()), output);
        return Err(Failure::new(7, "C1703", "where to restore to is not said; nothing was changed")
            .why("a restore makes a new folder or writes over what is there, and which of the two is meant only you know")
            .next(format!("cathedral restore {} --to DIR       into a new folder", short(&info.meta.id)))
            .next(format!(
                "cathedral restore {} --in-place     over what is there, which is kept",
                short(&info.meta.id)
            )));
    }
    let to = args.to.as_deref().map(|to| absolute(global, to)).transpose()?;
    if let Some(to) = &to {
        place::check(to, &kept(&hub.site, Some(hub.ecosystem())))?;
    }
    let request = request(info, &parts, to.as_deref(), Some(hub.ecosystem()), true)?;
    let older = tell_older(&parts, output);
    if args.dry_run {
        describe(info, &parts, to.as_deref(), Some(hub.ecosystem()), output);
        data(output, &plan_json(&request, info));
        return Ok(if request.parts.is_empty() { 0 } else { 10 });
    }
    let begun = unfinished(&hub, &request).await?;
    match &to {
        Some(to) if begun.is_none() => empty(to)?,
        Some(_) => {}
        None => {
            describe(info, &parts, None, Some(hub.ecosystem()), output);
            confirm_in_place(&hub, &args, output)?;
        }
    }
    let run = match begun {
        Some(run) => run,
        None => {
            let cause = format!("cathedral restore {}", short(&info.meta.id));
            let work = Request { priority: Priority::Incident, cause, work: Work::Restore(request) };
            hub.engine.submit(&work).await?.run()
        }
    };
    let summary = hub.work_until(run).await?;
    bar.finish();
    let standing = hub.engine.standing(run).await?;
    report(&summary, to.as_deref(), &standing, &older, &Met::of_vault(&hub.vault), output)
}

/// Whether the hub cannot be opened for a reason that the snapshots do not share: its state or log is damaged,
/// one of its keys is gone, its disk is full.
fn is_of_the_hub_alone(failure: &Failure) -> bool {
    matches!(failure.code, 5 | 20) || failure.id == "C1801"
}

/// The destination that `--from` names must be one of the configuration.
fn known_destination(site: &Site, from: &str) -> Result<(), Failure> {
    let known: Vec<String> = places(site).into_iter().map(|(name, _)| name).collect();
    if known.iter().any(|name| name == from) {
        return Ok(());
    }
    Err(Failure::unknown("destination", from, &known)
        .next("a vault that no configuration names: --offline --from file:/PATH --key-file FILE --to DIR"))
}

fn read_from(vault: &LocalVault, args: &RestoreArgs) -> Result<(), Failure> {
    let Some(from) = &args.from else { return Ok(()) };
    let name = DestinationName::new(from).map_err(|e| Failure::new(2, "C1201", e.to_string()))?;
    vault.read_only_from(name);
    Ok(())
}

/// What a restore must not write into.
fn kept<'a>(site: &Site, ecosystem: Option<&'a Ecosystem>) -> Kept<'a> {
    Kept { ecosystem, destinations: places(site).into_iter().map(|(_, path)| path).collect() }
}

fn absolute(global: &Global, path: &Path) -> Result<PathBuf, Failure> {
    let path = global.dir.clone().unwrap_or_default().join(path);
    let path = std::path::absolute(&path).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    Ok(crate::hub::normal(&path))
}

fn data(output: &Output, value: &serde_json::Value) {
    output.data("restore", value, &[]);
}

fn plan_json(request: &RestoreRequest, info: &SnapshotInfo) -> serde_json::Value {
    serde_json::json!({
        "snapshot": info.meta.id, "root": info.root, "restored": [],
        "would_restore": request.parts.iter().map(|p| serde_json::json!({
            "spoke": p.spoke.name, "side": p.side, "to": p.to, "root": p.root,
        })).collect::<Vec<_>>(),
        "older": carried(info.parts.iter().filter(|i| {
            request.parts.iter().any(|p| p.spoke.name == i.key.spoke && p.side == i.key.side)
        })),
    })
}

fn confirm_in_place(hub: &Hub, args: &RestoreArgs, output: &Output) -> Result<(), Failure> {
    if sync::confirm(hub, args.yes.as_deref())? {
        return Ok(());
    }
    let name = &hub.ecosystem().name;
    if output.no_input || output.is_machine() {
        return Err(Failure::new(7, "C1702", "a restore over living data is not confirmed; nothing was changed")
            .why("what stands there now would be replaced; it would be kept under .cathedral/kept/")
            .next(format!("--yes {name}    confirms it")));
    }
    output.warn(format!("type the ecosystem's name ({name}) to restore over what is there:"));
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).map_err(|e| Failure::io("standard input", &e))?;
    if typed.trim() == name {
        return Ok(());
    }
    Err(Failure::new(7, "C1702", "not confirmed; nothing was changed"))
}

/// The parts that were asked for; all when none is named. A spoke's own side is left out of a restore
/// to a folder when it equals the hub's.
fn choose<'a>(info: &'a SnapshotInfo, what: &[String], in_place: bool) -> Result<Vec<&'a PartInfo>, Failure> {
    if what.is_empty() {
        let hub_root = |p: &PartInfo| {
            info.parts.iter().find(|q| q.key.spoke == p.key.spoke && q.key.side == Side::Hub).map(|q| q.root)
        };
        let wanted = |p: &&PartInfo| in_place || p.key.side == Side::Hub || hub_root(p) != Some(p.root);
        return Ok(info.parts.iter().filter(|p| is_there(p)).filter(wanted).collect());
    }
    let mut chosen = BTreeSet::new();
    for text in what {
        let (key, below) = part_of(info, text)?;
        if !below.is_empty() {
            return Err(Failure::new(
                2,
                "C1205",
                format!("{text:?}: a path inside a spoke is not restored by itself yet"),
            )
            .next(format!("cathedral snapshot cat {} {text} > FILE    gives one file back", short(&info.meta.id)))
            .next(format!("cathedral restore {} {} --to DIR", short(&info.meta.id), key)));
        }
        if info.parts.iter().any(|p| p.key == *key && !is_there(p)) {
            let other = PartKey { spoke: key.spoke.clone(), side: key.side.other() }.to_string();
            return Err(Failure::new(21, "C2103", format!("{} was not there yet when this snapshot was taken", key))
                .why("there is nothing to give back; nothing was changed")
                .next(format!("cathedral restore {} {other} --to DIR    the other side had it", short(&info.meta.id)))
                .next("cathedral snapshot list    a later snapshot may have it"));
        }
        chosen.insert(key.clone());
    }
    Ok(info.parts.iter().filter(|p| chosen.contains(&p.key)).collect())
}

fn request(
    info: &SnapshotInfo,
    parts: &[&PartInfo],
    to: Option<&Path>,
    ecosystem: Option<&Ecosystem>,
    seal: bool,
) -> Result<RestoreRequest, Failure> {
    let mut out = vec![];
    for part in parts {
        let declared = ecosystem.and_then(|e| e.spoke(&part.key.spoke)).filter(|s| s.kind() == part.kind).cloned();
        let spoke = match (declared, to) {
            (Some(spoke), _) => spoke,
            (None, Some(_)) => rebuilt(part),
            (None, None) => {
                return Err(Failure::new(
                    4,
                    "C1404",
                    format!("{} is not in the configuration any more", part.key.spoke),
                )
                .why("a restore in place needs to know where it stood")
                .next("cathedral restore SNAP --to DIR    brings it back into a folder"));
            }
        };
        out.push(RestorePart {
            side: part.key.side,
            to: to.map(|to| to.join(part.folder_name())),
            root: part.root,
            // In place a git part is merged into a store that holds more than the snapshot did.
            provable: to.is_some() || part.kind != SpokeKind::Git,
            spoke,
        });
    }
    Ok(RestoreRequest { snapshot: info.meta.id.clone(), snapshot_root: info.root, parts: out, seal })
}

/// A spoke as far as a restore to a folder needs it, when no configuration declares it.
pub fn rebuilt(part: &PartInfo) -> Spoke {
    let nowhere = PathBuf::new;
    let detail = match part.kind {
        SpokeKind::Git => SpokeDetail::Git(GitSpoke {
            url: String::new(),
            branch: "main".into(),
            integration: GitIntegration::Mirror { mirrors: vec![] },
            refs: RefRules::default(),
            shared_paths: vec![],
            merge: GitMerge::Queue,
            fsck_allow: vec![],
        }),
        // Two places, although neither is ever looked at: a pair whose sides are one database is refused.
        SpokeKind::Database => SpokeDetail::Database(DatabaseSpoke {
            hub: PathBuf::from("hub"),
            spoke: PathBuf::from("spoke"),
            include: vec!["*".into()],
            exclude: vec![],
            merge: RowMerge::Cell,
        }),
        SpokeKind::Files => SpokeDetail::Files(FilesSpoke {
            hub: nowhere(),
            spoke: nowhere(),
            ignore: vec![],
            preserve_mode: true,
            preserve_mtime: true,
            preserve_symlinks: true,
            versions: 0,
            documents: vec![],
        }),
    };
    Spoke::only_kept(part.key.spoke.clone(), "", detail)
}

/// The run of an earlier command that asked for exactly this and was stopped: it is gone on with, so that
/// the folder it has half filled is no obstacle, and what stood there first is what is kept.
async fn unfinished(hub: &Hub, request: &RestoreRequest) -> Result<Option<RunId>, Failure> {
    Ok(hub.unfinished_restores().await?.into_iter().find(|(_, r)| r == request).map(|(run, _)| run))
}

/// A side that was not there yet when the snapshot was taken has nothing to give back.
pub fn is_there(part: &PartInfo) -> bool {
    !matches!(part.position.as_str(), "missing" | "not there")
}

/// A restore goes into a new or empty folder.
fn empty(to: &Path) -> Result<(), Failure> {
    if to.is_symlink() {
        return Err(Failure::new(7, "C1701", format!("{} is a symbolic link; nothing was changed", to.display()))
            .why("what is restored would land where the link points to")
            .next("name the folder itself"));
    }
    match std::fs::read_dir(to) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            let shown = Output::safe_path(to);
            Err(Failure::new(7, "C1701", format!("{shown} is a file, or lies below one; nothing was changed"))
                .why("a restore makes a folder and never writes over a file")
                .next("name a new folder"))
        }
        Err(e) => Err(Failure::io(&to.display().to_string(), &e)),
        // What a failed attempt has left aside is nobody's content.
        Ok(entries) => match entries.filter_map(Result::ok).find(|e| !is_left_aside(&e.file_name())) {
            None => Ok(()),
            Some(_) => Err(Failure::new(7, "C1701", format!("{} is not empty; nothing was changed", to.display()))
                .why("a restore never mixes what it brings back with what is there")
                .next("name a new folder, or empty this one")),
        },
    }
}

fn is_left_aside(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(".cathedral-restore-")
}

fn describe(
    info: &SnapshotInfo,
    parts: &[&PartInfo],
    to: Option<&Path>,
    ecosystem: Option<&Ecosystem>,
    output: &Output,
) {
    let bytes = parts.iter().map(|p| p.bytes).sum();
    output.note_sentence(&format!(
        "snapshot {} of {}: {}, {}",
        short(&info.meta.id),
        super::super::when::local(info.meta.at),
        many(parts.len() as u64, "part", "parts"),
        size(bytes),
    ));
    let mut table = Table::new(&["PART", "KIND", "SIZE", "GOES TO"]);
    for part in parts {
        let place = match to {
            Some(to) => to.join(part.folder_name()).display().to_string(),
            None => live_place(part, ecosystem),
        };
        table.row(vec![part.key.to_string(), part.kind.as_str().to_owned(), size(part.bytes), safe(&place)]);
    }
    table.print(output);
    for part in parts {
        for skipped in &part.skipped {
            let line = format!("  not in the snapshot: {} {}", part.key, safe(skipped));
            output.note(output.paint(Tint::Warn, &line));
        }
    }
}

fn live_place(part: &PartInfo, ecosystem: Option<&Ecosystem>) -> String {
    let spoke = ecosystem.and_then(|e| e.spoke(&part.key.spoke));
    match spoke.map(|s| &s.detail) {
        None => "not in the configuration any more".into(),
        Some(SpokeDetail::Git(git)) => format!("{} (refs are put back)", git.url),
        Some(SpokeDetail::Database(db)) => {
            if part.key.side == Side::Hub { &db.hub } else { &db.spoke }.display().to_string()
        }
        Some(SpokeDetail::Files(files)) => {
            if part.key.side == Side::Hub { &files.hub } else { &files.spoke }.display().to_string()
        }
    }
}

/// A restore with nothing but a destination and a key.
async fn offline(args: RestoreArgs, global: &Global, output: &Output) -> Ended {
    let missing = |what: &str, how: &str| {
        Err(Failure::new(2, "C1201", format!("{what} is needed to restore without the hub")).next(how.to_owned()))
    };
    let Some(from) = &args.from else { return missing("--from", "--from file:/path/of/the/vault") };
    let Some(key_file) = &args.key_file else {
        return missing("--key-file", "--key-file FILE    the hub's key, or any age identity the vault is sealed to");
    };
    let Some(to) = &args.to else { return missing("--to", "--to DIR") };
    let path = from.strip_prefix("file://").or_else(|| from.strip_prefix("file:")).unwrap_or(from);
    if path.contains("://") {
        return Err(Failure::new(2, "C1206", format!("{from}: only file: destinations can be read in this version"))
            .next("copy the vault to a local folder and name that"));
    }
    let place = absolute(global, Path::new(path))?;
    let name = DestinationName::new("given").map_err(|e| Failure::new(1, "C1002", e.to_string()))?;
    let destination: Arc<dyn Destination> = Arc::new(LocalDestination::new(name, place.clone()));
    let kept = Kept { ecosystem: None, destinations: vec![place] };
    place::check(&absolute(global, to)?, &kept)?;
    let opened = LocalVault::open_with_key(vec![destination], &super::at(global, key_file));
    let vault = opened.map_err(|error| match error.cause() {
        // What is told otherwise is this very command.
        Cause::Key => Failure { next: vec![], ..Failure::from(error) }
            .next("--key-file FILE    names another key: hub.key of the lost hub, or any key the vault is sealed to")
            .next("--from file:/PATH    names another copy of the vault")
            .next("cathedral snapshot create    in the hub, if it is still there, puts back what a vault lacks"),
        _ => Failure::from(error),
    })?;
    from_vault(vault, &args, to, global, output).await
}

/// A restore to a folder that uses no state: neither the hub's database nor its log.
async fn from_vault(vault: LocalVault, args: &RestoreArgs, to: &Path, global: &Global, output: &Output) -> Ended {
    let list = vault.list().await?;
    let info = find_snapshot(&vault, &list, &args.snapshot, global, output).await?.clone();
    let parts = choose(&info, &args.what, false)?;
    let to = absolute(global, to)?;
    let mut request = request(&info, &parts, Some(&to), None, false)?;
    let older = tell_older(&parts, output);
    if args.dry_run {
        describe(&info, &parts, Some(&to), None, output);
        data(output, &plan_json(&request, &info));
        return Ok(if request.parts.is_empty() { 0 } else { 10 });
    }
    let begun = Begun::open(&to, &request)?;
    let bar = Arc::new(Bar::new(output));
    let scratch = tempfile::tempdir().map_err(|e| Failure::io("a scratch folder", &e))?;
    let engine: Engine = offline_engine(vault.clone(), scratch.path(), Arc::clone(&bar) as _).await?;
    let mut restored = begun.complete(&engine, &info, &mut request).await?;
    let (mut summary, standing) = if restored.is_empty() || !request.parts.is_empty() {
        let cause = "restore without a hub".into();
        let work = Request { priority: Priority::Incident, cause, work: Work::Restore(request) };
        let run = engine.submit(&work).await?.run();
        (engine.work_until(run).await?, engine.standing(run).await?)
    } else {
        let snapshot = Some(info.meta.id.clone());
        (RunSummary { result: Some(RunResult::Succeeded), snapshot, ..RunSummary::default() }, vec![])
    };
    restored.append(&mut summary.restored);
    summary.restored = restored;
    if summary.code == 0 {
        begun.end()?;
    }
    bar.finish();
    report(&summary, Some(&to), &standing, &older, &Met::of_vault(&vault), output)
}

/// Says before anything is restored what of it is older than the snapshot.
fn tell_older(parts: &[&PartInfo], output: &Output) -> Vec<String> {
    let older = carried(parts.iter().copied());
    older.iter().for_each(|line| output.warn(line));
    older
}

fn report(
    summary: &RunSummary,
    to: Option<&Path>,
    standing: &[Standing],
    older: &[String],
    met: &Met,
    output: &Output,
) -> Ended {
    let code = if summary.code == 20 { 21 } else { summary.code };
    let document = serde_json::json!({
        "faults": met.json(),
        "snapshot": summary.snapshot, "result": summary.result, "restored": summary.restored, "note": summary.note,
        "failed": summary.spokes.iter().filter(|s| s.result == "failed").map(|s| serde_json::json!({
            "spoke": s.name, "why": s.note,
        })).collect::<Vec<_>>(),
    });
    let unheld = summary.spokes.iter().flat_map(|s| s.warnings.iter().map(move |w| format!("{}: {w}", s.name)));
    let unheld: BTreeSet<String> = unheld.collect();
    let is_nothing = code != 0 && summary.error.is_some() && summary.restored.is_empty();
    if !is_nothing {
        let warnings: Vec<String> =
            met.warnings().into_iter().chain(unheld.iter().cloned()).chain(older.iter().cloned()).collect();
        output.data("restore", &document, &warnings);
    }
    for warning in &unheld {
        output.warn(format!("{} {}; it is kept as the table says", output.symbol("▲", "!!"), safe(warning)));
    }
    met.tell(output);
    let mut table = Table::new(&["PART", "FILES", "SIZE", "CHECKED", "PATH"]);
    for part in &summary.restored {
        let checked = if part.verified { output.symbol("✔ root agrees", "ok root agrees") } else { "not proven" };
        let mut path = safe(&part.path);
        if let Some(kept) = &part.kept {
            path = format!("{path}   (before: {})", safe(kept));
        }
        let name = if part.side == Side::Spoke { format!("{}@spoke", part.spoke) } else { part.spoke.to_string() };
        table.row(vec![name, count(part.files), size(part.bytes), checked.to_owned(), path]);
    }
    if !output.is_machine() && !table.is_empty() {
        table.print(output);
    }
    if summary.result == Some(RunResult::Succeeded) {
        let place = to.map_or("in place; the next sync compares both sides afresh".to_owned(), |to| {
            format!("to {}", to.display())
        });
        output.note(format!("{} restored {place}", output.paint(Tint::Good, output.symbol("●", "ok"))));
        for line in older {
            output.note_sentence(&format!("  {} {line}", output.paint(Tint::Warn, output.symbol("▲", "!!"))));
        }
        if !summary.note.is_empty() {
            output.note_sentence(&format!("  {}", safe(&summary.note)));
        }
    }
    if code == 0 {
        return Ok(0);
    }
    let failed: Vec<_> = summary.spokes.iter().filter(|s| s.result == "failed").collect();
    for spoke in &failed {
        output.warn(format!("  {}: {}", spoke.name, safe(&spoke.note)));
    }
    let (why, next) = match code {
        21 => (
            "what is damaged is never written out as if it were whole; the rest is intact",
            "cathedral verify --level full    says what is damaged and where an intact copy is",
        ),
        7 => (
            "what stands there would be lost or mixed up; it was left alone",
            "do what the message says, then repeat the command",
        ),
        5 => ("rights are missing at the place to write to", "name another folder, or change its rights"),
        _ => (
            "the place to write to, or the destination to read from, refused",
            "repeat the command when the cause is gone: it goes on where it stopped",
        ),
    };
    let done = summary.restored.iter().filter(|r| r.verified).count() as u64;
    let what = if done == 0 {
        format!("nothing was restored: {}", safe(summary.error.as_deref().unwrap_or("see above")))
    } else {
        let names: Vec<&str> = failed.iter().map(|s| s.name.as_str()).collect();
        format!("{} restored, {} not", many(done, "part is", "parts are"), names.join(", "))
    };
    let failure = Failure::new(code, "C2103", what).why(why).standing(None, standing).next(next);
    if is_nothing {
        return Err(failure.data(document));
    }
    output.failure_text(&failure);
    Ok(code)
}
