//! `verify`: the vault, the hub's own content store, and the repositories in the newest snapshot.

mod contents;
mod log;
mod own;
mod repositories;

use std::collections::BTreeSet;
use std::sync::Arc;

use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::{Progress, Vault as _};
use cathedral_model::snapshot::{CheckLevel, Checked, Problem, SnapshotInfo};
use serde::Serialize;

use super::super::args::{Global, Level};
use super::super::output::{Tint, many, safe, size};
use super::faults::Met;
use super::{Ended, Failure, Output, find_snapshot, snapshot};
use crate::hub::{HEAL, KEYS_BACK};

/// What is wrong somewhere: at a destination, or in what the hub keeps for itself.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// The destination, or [`contents::STORE`], [`contents::STATE`], [`log::LOG`], [`own::KEYS`], [`own::GIT`].
    destination: String,
    object: String,
    fault: String,
    affects: Vec<String>,
    /// So many more are affected than are named.
    affects_more: u64,
    restorable: bool,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self {
            destination: problem.destination.to_string(),
            object: problem.object,
            fault: problem.fault,
            affects: problem.affects,
            affects_more: problem.affects_more,
            restorable: problem.restorable,
        }
    }
}

/// The published form.
#[derive(Serialize)]
struct Report {
    checked: Checked,
    problems: Vec<Finding>,
    snapshots: Vec<String>,
    /// None where only named snapshots are looked at.
    content_store: Option<contents::Looked>,
    /// None where only named snapshots are looked at.
    log: Option<log::Looked>,
    /// None where only named snapshots are looked at.
    git_stores: Option<own::Looked>,
    /// Damaged packs that nothing needs any more.
    superseded: u64,
    /// At level full: the repositories of the newest snapshot in scope, made anew and checked by git.
    git: Vec<repositories::Looked>,
}

pub async fn run(names: &[String], level: Level, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let (vault, list) = snapshot::load(global).await?;
    let mut only = vec![];
    for name in names {
        only.push(find_snapshot(&vault, &list, name, global, output).await?.meta.id.clone());
    }
    // Nothing to check is another matter than nothing left of what there was.
    if list.is_empty() && vault.look().await?.vanished.is_empty() && !matches!(site.log(), Ok(Some(l)) if l.size() > 0)
    {
        return Err(Failure::new(4, "C1404", "there is no snapshot to verify").next("cathedral snapshot create"));
    }
    let level = match level {
        Level::Quick => CheckLevel::Quick,
        Level::Metadata => CheckLevel::Metadata,
        Level::Full => CheckLevel::Full,
    };
    let bar = Arc::new(super::Bar::new(output));
    let progress: Arc<dyn Progress> = if output.progress { Arc::clone(&bar) as _ } else { Arc::new(Silent) };
    let checked = vault.check(level, &only, progress.as_ref()).await?;
    let mut report = Report {
        checked: checked.checked,
        problems: checked.problems.into_iter().map(Finding::from).collect(),
        snapshots: checked.snapshots,
        content_store: None,
        log: None,
        git_stores: None,
        superseded: checked.superseded,
        git: vec![],
    };
    let mut warnings = vec![];
    if only.is_empty() {
        let (looked, found) = contents::check(&site, level, progress.as_ref(), &mut warnings).await;
        report.content_store = Some(looked);
        report.problems.extend(found);
        let (looked, found) = log::check(&site, level, &vault, &list, &mut warnings).await;
        report.log = Some(looked);
        report.problems.extend(own::keys(&site));
        let (looked, in_stores) =
            tokio::task::block_in_place(|| own::git(&site, level, progress.as_ref(), &mut warnings));
        report.git_stores = Some(looked);
        report.problems.extend(in_stores);
        // A manifest that is damaged is told once, by the check that read it.
        let known: BTreeSet<String> = report.problems.iter().map(|p| p.object.clone()).collect();
        report.problems.extend(found.into_iter().filter(|p| !known.contains(&p.object)));
    }
    let newest = list.iter().rev().find(|s| only.is_empty() || only.contains(&s.meta.id));
    if let (CheckLevel::Full, Some(newest)) = (level, newest) {
        let (looked, found) = repositories::check(&vault, newest, &report.problems).await;
        report.git = looked;
        report.problems.extend(found);
    }
    // What was met by the way and is not told yet, for example while the snapshots were listed.
    for fault in Met::of_vault(&vault).faults {
        let is_same = |p: &Finding| p.destination == fault.destination.as_str() && p.object == fault.object;
        if !report.problems.iter().any(is_same) {
            report.problems.push(fault.into());
        }
    }
    bar.finish();
    output.data("verify", &report, &warnings);
    tell(&report, level, &warnings, output);
    advise(&report, &list, output);
    Ok(if report.problems.is_empty() { 0 } else { 20 })
}

fn tell(report: &Report, level: CheckLevel, warnings: &[String], output: &Output) {
    if report.problems.is_empty() {
        let good = output.paint(Tint::Good, output.symbol("●", "ok"));
        output.note_sentence(&format!(
            "{good} {} {}: {}, {}, {} read",
            many(report.snapshots.len() as u64, "snapshot", "snapshots"),
            // Of what was not read only this much is known.
            if report.checked.bytes == 0 { "complete by name and size" } else { "intact" },
            many(report.checked.packs, "pack", "packs"),
            many(report.checked.chunks, "chunk", "chunks"),
            size(report.checked.bytes),
        ));
        if let Some(log) = report.log.as_ref().filter(|log| log.snapshots > 0) {
            let leaves = many(log.leaves, "leaf", "leaves");
            // No more is claimed than was read.
            output.note_sentence(&match level {
                CheckLevel::Full => format!("{good} the log is intact: {leaves}"),
                _ => {
                    format!("{good} the end of the log agrees with the snapshots: {leaves}; --level full reads it all")
                }
            });
        }
        if let Some(store) = report.content_store.as_ref().filter(|s| s.contents > 0) {
            let contents = many(store.contents, "content", "contents");
            output.note_sentence(&format!(
                "{good} the hub's own content store is intact: {contents}, {}",
                size(store.bytes)
            ));
        }
        if let Some(looked) = report.git_stores.as_ref().filter(|looked| looked.stores > 0) {
            let stores = many(looked.stores, "git store", "git stores");
            let how = match level {
                CheckLevel::Quick => "in good form",
                CheckLevel::Metadata => "connected",
                CheckLevel::Full => "intact",
            };
            output.note_sentence(&format!("{good} the hub's own copies of repositories are {how}: {stores}"));
        }
    }
    if report.superseded > 0 {
        let packs = many(report.superseded, "damaged pack is", "damaged packs are");
        output.note_sentence(&format!("  {packs} not needed any more: all that was in it is stored elsewhere"));
    }
    repositories::tell(&report.git, output);
    for warning in warnings {
        output.warn(format!("{} {}", output.symbol("▲", "!!"), safe(warning)));
    }
    for problem in &report.problems {
        output.sentence(&format!(
            "{} {} at {}: {} ({})",
            output.paint(Tint::Bad, output.symbol("✖", "xx")),
            safe(&problem.object),
            problem.destination,
            safe(&problem.fault),
            cure(problem),
        ));
        for affected in problem.affects.iter().take(8) {
            output.say(format!("    affects {}", safe(affected)));
        }
        let more = problem.affects.len().saturating_sub(8) as u64 + problem.affects_more;
        if more > 0 {
            output.say(format!("    and {more} more"));
        }
    }
    if !report.problems.is_empty() {
        output.say(many(report.problems.len() as u64, "problem", "problems"));
    }
    let of_keys = || report.problems.iter().filter(|p| p.destination == own::KEYS);
    if of_keys().any(|p| !p.restorable) {
        output.warn(format!("  try: {KEYS_BACK}"));
    } else if of_keys().next().is_some() {
        output.warn(format!("  try: {HEAL}    writes the key anew from the secret one"));
    }
    if report.problems.iter().any(|p| p.destination == own::GIT) {
        output.warn(format!("  try: {HEAL}    makes the store anew; the damaged one is kept"));
    }
    if report.problems.iter().any(|p| p.destination == log::LOG) {
        output.warn("  try: put .cathedral/log back from your newest copy; cathedral log audit looks at it alone");
    }
    if report.problems.iter().any(|p| p.destination == contents::STORE && !p.affects.is_empty()) {
        output.warn("  try: put .cathedral/content back from a copy");
        output.warn(format!("       {HEAL}    sets an agreed state aside; the next sync compares both sides afresh"));
    }
}

/// Says what to do about packs and manifests: what a new snapshot mends, and what nothing will.
fn advise(report: &Report, list: &[SnapshotInfo], output: &Output) {
    let kept = |p: &&Finding| {
        ![contents::STORE, contents::STATE, log::LOG, own::KEYS, own::GIT].contains(&p.destination.as_str())
    };
    let lost: BTreeSet<SnapshotId> = report
        .problems
        .iter()
        .filter(kept)
        .filter(|p| !p.restorable)
        .flat_map(|p| p.affects.iter().map(String::as_str))
        .filter_map(named)
        .collect();
    // What the newest needs, the next one stores again; what only older ones had is nowhere.
    let is_newest_hurt = list.last().is_some_and(|newest| lost.contains(&newest.meta.id));
    let mended = report.problems.iter().filter(kept).any(|p| p.restorable && !p.object.starts_with("snapshots/"));
    if is_newest_hurt || mended || (lost.is_empty() && report.problems.iter().any(|p| p.object.starts_with("packs/"))) {
        output.warn("  try: cathedral snapshot create    mends what another copy or the living data still gives");
    }
    if !lost.is_empty() && !is_newest_hurt && !list.is_empty() {
        let ids = lost.iter().take(20).map(SnapshotId::as_str).collect::<Vec<_>>().join(" ");
        let (what, them) = if lost.len() == 1 { ("this snapshot", "it") } else { ("these snapshots", "them") };
        output.warn(format!(
            "  part of {what} is lost for good unless a copy of the vault is found: newer snapshots do not need it, so \
             that nothing will mend {them}"
        ));
        output.warn(format!("  try: cathedral restore ID --to DIR    gives back the parts of {them} that are whole"));
        output.warn(format!("       cathedral snapshot forget {ids}    lets go of {them}; --undo takes {them} back"));
    }
}

/// The snapshot that `snapshot ID, …` names.
fn named(affected: &str) -> Option<SnapshotId> {
    let rest = affected.strip_prefix("snapshot ")?;
    SnapshotId::parse(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?).ok()
}

fn cure(problem: &Finding) -> &'static str {
    match problem.destination.as_str() {
        contents::STORE if problem.affects.is_empty() => "nothing needs it any more; it may be deleted",
        own::KEYS if problem.restorable => "it follows from the secret key",
        own::GIT => "it can be made anew from what is left of it, the repository and the snapshots",
        contents::STORE | contents::STATE | log::LOG | own::KEYS => "there is no other copy here",
        _ if problem.restorable => "an intact copy is elsewhere",
        _ => "no intact copy is known",
    }
}
