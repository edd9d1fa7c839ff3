//! `cathedral demo`: the whole loop on a small ecosystem with real histories, told as it happens.

mod build;
mod change;
mod compare;
mod git;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::ports::{Vault, env::Silent};
use cathedral_model::restore::{RestorePart, RestoreRequest};
use cathedral_model::run::{Phase, Priority, Request, RunResult, RunSummary, SyncRequest, Work};
use cathedral_model::snapshot::{CheckLevel, SnapshotInfo};

use crate::cli::{Ended, Failure, Output};
use crate::hub::{Hub, Site};
use crate::serve::{Up, up};
use build::{CODEX, LEDGER, MIND, SOUL, Scene};
use report::{Report, Teller};

/// Builds the ecosystem in a new folder, runs the loop, prints the report.
///
/// Then serves the dashboard, for people; a pipe gets the report only, unless it names an address.
pub async fn run(dir: Option<PathBuf>, no_serve: bool, listen: Option<String>, output: &Output) -> Ended {
    let root = place(dir)?;
    let scene = Scene::new(&root)?;
    let mut teller = Teller::new(output);
    let result = play(&scene, &mut teller).await;
    teller.end();
    let report = result?;
    let page = root.join("report.html");
    let html = report.page().map_err(|e| Failure::new(1, "C1002", format!("the report: {e}")))?;
    std::fs::write(&page, html).map_err(|e| Failure::io("the report", &e))?;
    report.print(&scene, &page, output);
    if !report.is_good() {
        return Ok(21);
    }
    let serves = !no_serve && (listen.is_some() || (Output::is_read_by_a_person() && !output.is_machine()));
    if !serves {
        return Ok(0);
    }
    output.say("");
    let options =
        Up { listen: listen.or_else(|| Some("127.0.0.1:0".into())), once: false, try_this: report.try_this(&scene) };
    up(Site::find(&scene.hub, None)?, options, output).await
}

fn place(dir: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let root = match dir {
        Some(dir) => dir,
        None => tempfile::Builder::new()
            .prefix("cathedral-demo-")
            .tempdir()
            .map_err(|e| Failure::io("a folder for the demo", &e))?
            .keep(),
    };
    let root = std::path::absolute(&root).map_err(|e| Failure::io(&root.display().to_string(), &e))?;
    let empty = std::fs::read_dir(&root).map_or(true, |mut entries| entries.next().is_none());
    if !empty {
        return Err(Failure::new(7, "C1701", format!("{} is not empty; nothing was changed", root.display()))
            .why("the demo builds everything anew and never touches what is there")
            .next("name a new folder, or none"));
    }
    std::fs::create_dir_all(&root).map_err(|e| Failure::io(&root.display().to_string(), &e))?;
    Ok(root)
}

async fn play(scene: &Scene, teller: &mut Teller<'_>) -> Result<Report, Failure> {
    let begun = Instant::now();
    let mut report = Report::new(&scene.root);
    teller.begin("build", "a hub repository, four git spokes, a ledger, a codex");
    scene.build()?;
    teller.done(&format!("{} rows, 130 commits, 66 files", build::ROWS + 120));

    let hub = Hub::open(Site::find(&scene.hub, None)?, Arc::new(Silent)).await?;
    teller.begin("first sync", "both sides meet for the first time");
    let first = sync(&hub, "first sync").await?;
    expect(&first, RunResult::Succeeded)?;
    teller.done(&brief(&first));
    report.first = Some(first);

    teller.begin("work", "a week of work on both sides");
    scene.change()?;
    teller.done("mergeable changes, a conflict in each kind of spoke, a deletion against an edit");

    teller.begin("second sync", "validate, snapshot, sync, validate again, notify");
    let second = sync(&hub, "second sync").await?;
    expect(&second, RunResult::Conflicts)?;
    let open = hub.store().conflicts(None, &[ConflictState::Open]).await?;
    teller.done(&brief(&second));
    report.conflicts = open;
    report.second = Some(second);

    teller.begin("third sync", "nothing has changed since");
    let quiet = sync(&hub, "third sync").await?;
    let wrote = quiet.spokes.iter().map(|s| s.changes_in + s.changes_out).sum::<u64>();
    if wrote > 0 || quiet.snapshot.is_some() {
        return Err(Failure::new(1, "C1002", "a sync without changes wrote something"));
    }
    teller.done("nothing was written anywhere");

    teller.begin("snapshot", "everything, encrypted, to two destinations");
    let request = SyncRequest { only: vec![Phase::Snapshot], force_snapshot: true, ..SyncRequest::default() };
    let taken = drive(&hub, "snapshot", request).await?;
    let id = taken.snapshot.ok_or_else(|| Failure::new(1, "C2102", "no snapshot was taken"))?;
    let info = hub.vault.snapshot(&id).await?;
    teller.done(&format!("{} under one root {}", &id.as_str()[..16], &info.root.to_string()[..16]));

    teller.begin("verify", "read everything back: decrypt, decompress, hash");
    let checked = hub.vault.check(CheckLevel::Full, &[], &Silent).await?;
    if !checked.problems.is_empty() {
        return Err(Failure::new(20, "C2001", format!("{} problems in a fresh vault", checked.problems.len())));
    }
    teller.done(&format!("{} packs, {} chunks", checked.checked.packs, checked.checked.chunks));
    report.checked = checked.checked;

    teller.begin("restore", "all of it, into a scratch folder");
    let restored = restore(&hub, &info, &scene.root.join("restored")).await?;
    expect(&restored, RunResult::Succeeded)?;
    teller.done(&format!("{} parts, each proven against the root", restored.restored.len()));

    teller.begin("compare", "by git, SQL and plain reads; no code of the syncers");
    report.compared = compare(scene)?;
    let bad = report.compared.iter().filter(|(_, outcome)| outcome.is_err()).count();
    teller.done(if bad == 0 { "all equal" } else { "DIFFERENCES" });
    report.log = hub.log.as_ref().map(|log| log.signed_head()).map(|head| (head.size, head.root));
    report.stored = hub.vault.list().await?.iter().map(|s| s.bytes.stored).sum();
    report.snapshot = Some(info);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

async fn sync(hub: &Hub, cause: &str) -> Result<RunSummary, Failure> {
    drive(hub, cause, SyncRequest::default()).await
}

async fn drive(hub: &Hub, cause: &str, request: SyncRequest) -> Result<RunSummary, Failure> {
    let request = Request { priority: Priority::Manual, cause: format!("demo: {cause}"), work: Work::Sync(request) };
    let run = hub.engine.submit(&request).await?.run();
    Ok(hub.engine.work_until(run).await?)
}

fn expect(summary: &RunSummary, wanted: RunResult) -> Result<(), Failure> {
    if summary.result == Some(wanted) {
        return Ok(());
    }
    let notes: Vec<String> =
        summary.spokes.iter().filter(|s| !s.note.is_empty()).map(|s| format!("{}: {}", s.name, s.note)).collect();
    let why = summary.error.clone().into_iter().chain(notes).collect::<Vec<_>>().join("; ");
    Err(Failure::new(
        summary.code.max(1),
        "C1002",
        format!("the run ended as {:?} instead of {wanted:?}", summary.result),
    )
    .why(why))
}

fn brief(summary: &RunSummary) -> String {
    let into: u64 = summary.spokes.iter().map(|s| s.changes_in).sum();
    let out: u64 = summary.spokes.iter().map(|s| s.changes_out).sum();
    let conflicts: u64 = summary.spokes.iter().map(|s| s.conflicts).sum();
    let parked = if conflicts > 0 { format!(", {conflicts} conflicts parked") } else { String::new() };
    format!("{into} changes to the hub, {out} to the spokes{parked}")
}

async fn restore(hub: &Hub, info: &SnapshotInfo, to: &Path) -> Result<RunSummary, Failure> {
    let mut parts = vec![];
    for part in &info.parts {
        let Some(spoke) = hub.ecosystem().spoke(&part.key.spoke) else { continue };
        let side = if part.key.side == cathedral_model::ecosystem::Side::Spoke { "@spoke" } else { "" };
        let end = match part.kind {
            SpokeKind::Git => ".git",
            SpokeKind::Database => ".db",
            SpokeKind::Files => "",
        };
        parts.push(RestorePart {
            spoke: spoke.clone(),
            side: part.key.side,
            to: Some(to.join(format!("{}{side}{end}", part.key.spoke))),
            root: part.root,
            provable: true,
        });
    }
    let request = RestoreRequest { snapshot: info.meta.id.clone(), snapshot_root: info.root, parts, seal: true };
    let request = Request { priority: Priority::Incident, cause: "demo: restore".into(), work: Work::Restore(request) };
    let run = hub.engine.submit(&request).await?.run();
    Ok(hub.engine.work_until(run).await?)
}

type Lines = Vec<(String, compare::Compared)>;

fn compare(scene: &Scene) -> Result<Lines, Failure> {
    let restored = scene.root.join("restored");
    let mut out = vec![("cathedral".to_owned(), compare::git(&scene.hub, &restored.join("cathedral.git"))?)];
    for name in [SOUL, build::NERVES, build::BODY] {
        out.push((name.to_owned(), compare::git(&scene.spoke(name), &restored.join(format!("{name}.git")))?));
    }
    let kept = scene.hub.join(".cathedral/git").join(format!("{MIND}.git"));
    out.push((MIND.to_owned(), compare::git(&kept, &restored.join(format!("{MIND}.git")))?));
    out.push((LEDGER.to_owned(), compare::database(&scene.ledger_hub(), &restored.join(format!("{LEDGER}.db")))?));
    out.push((
        format!("{LEDGER} (app)"),
        compare::database(&scene.ledger_app(), &restored.join(format!("{LEDGER}@spoke.db")))?,
    ));
    out.push((CODEX.to_owned(), compare::files(&scene.codex_hub(), &restored.join(CODEX))?));
    out.push((format!("{CODEX} (app)"), compare::files(&scene.codex_app(), &restored.join(format!("{CODEX}@spoke")))?));
    Ok(out)
}

/// The conflicts that wait, as the report shows them.
pub(crate) fn told(record: &ConflictRecord) -> [String; 4] {
    let draft = &record.draft;
    let side = |value: &Option<cathedral_model::plan::SideValue>| {
        value.as_ref().map_or("nothing".to_owned(), |v| v.shown.clone())
    };
    [record.spoke.to_string(), draft.place.clone(), side(&draft.hub), side(&draft.spoke)]
}
