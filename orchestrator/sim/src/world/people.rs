//! People: they edit both sides, ask for syncs, answer and undo conflicts, and restore.

use std::sync::Arc;

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{RunId, SpokeName};
use cathedral_model::inbox::ConflictState;
use cathedral_model::plan::{Answer, Choice};
use cathedral_model::ports::{Store, Vault};
use cathedral_model::restore::{RestorePart, RestoreRequest};
use cathedral_model::run::{Phase, Priority, Request, SyncRequest, Work};
use cathedral_model::snapshot::PartKey;

use super::executor::PERSON;
use super::{Shared, World};
use crate::memory::lock;

impl World {
    /// Starts one person whose acts are drawn from the seed.
    pub(super) fn start_people(&self) {
        let shared = Arc::clone(&self.shared);
        let ecosystem = Arc::clone(&self.ecosystem);
        self.shared.exec.spawn(
            PERSON,
            Box::pin(async move {
                let acts = 12 + shared.exec.below(14);
                for _ in 0..acts {
                    shared.exec.sleep(shared.exec.below(30_000)).await;
                    match shared.exec.below(21) {
                        0..=9 => edit(&shared),
                        10..=13 => {
                            let spokes = if shared.exec.below(3) == 0 { vec![any_spoke(&shared)] } else { vec![] };
                            submit(&shared, Work::Sync(SyncRequest { spokes, ..SyncRequest::default() })).await;
                        }
                        14 | 15 => answer(&shared).await,
                        16 | 17 => {
                            let only = vec![Phase::Snapshot];
                            let request = SyncRequest { only, force_snapshot: true, ..SyncRequest::default() };
                            submit(&shared, Work::Sync(request)).await;
                        }
                        18 => outage(&shared).await,
                        _ => restore(&shared, &ecosystem).await,
                    }
                }
            }),
        );
    }

    /// Asks for a sync of everything.
    pub(super) fn request_sync(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.exec.spawn(
            PERSON,
            Box::pin(async move {
                submit(&shared, Work::Sync(SyncRequest::default())).await;
            }),
        );
    }
}

fn any_spoke(shared: &Shared) -> SpokeName {
    let state = lock(&shared.state);
    let names: Vec<&SpokeName> = state.pairs.keys().collect();
    names[usize::try_from(shared.exec.below(names.len() as u64)).unwrap_or(0)].clone()
}

fn any_side(shared: &Shared) -> Side {
    if shared.exec.below(2) == 0 { Side::Hub } else { Side::Spoke }
}

fn edit(shared: &Shared) {
    let (name, side) = (any_spoke(shared), any_side(shared));
    edit_side(shared, &name, side);
}

/// One side goes away for a while; the other one is edited and synced, and must be in a snapshot then.
async fn outage(shared: &Arc<Shared>) {
    let (name, side) = (any_spoke(shared), any_side(shared));
    shared.exec.note(format!("{name} {side:?} goes away"));
    {
        let away = &mut lock(&shared.state).away;
        // A side that is away already comes back when its own time is over.
        if away.iter().any(|(spoke, _)| *spoke == name) {
            return;
        }
        away.insert((name.clone(), side));
    }
    shared.exec.calm(true);
    // What is under way sees the side before or after the edit; the run that is asked for now sees it after.
    shared.exec.sleep(60_000).await;
    edit_side(shared, &name, side.other());
    let spokes = if shared.exec.below(2) == 0 { vec![name.clone()] } else { vec![] };
    let run = submit(shared, Work::Sync(SyncRequest { spokes, ..SyncRequest::default() })).await;
    for _ in 0..200 {
        shared.exec.sleep(1_000).await;
        let row = match run {
            Some(run) => shared.store.run(run).await.ok().flatten(),
            None => None,
        };
        if row.is_some_and(|row| row.state == "finished") {
            let held: Vec<(String, u64)> = {
                let state = lock(&shared.state);
                let pair = state.pairs.get(&name).cloned().unwrap_or_default();
                pair.side(side.other()).iter().map(|(key, version)| (key.clone(), *version)).collect()
            };
            for (key, version) in held {
                // What came from the other side is in the part of that one.
                let is_held = [Side::Hub, Side::Spoke].into_iter().any(|side| {
                    let part = PartKey { spoke: name.clone(), side };
                    shared.vault.holds(&part, key.as_bytes(), version.to_string().as_bytes())
                });
                if !is_held {
                    let what = format!("{name}/{key} {version} was synced while the other side was away");
                    shared.violate(format!("no side lost: {what}, and is in no snapshot"));
                }
            }
            break;
        }
    }
    shared.exec.calm(false);
    let (back, pause) = (Arc::clone(shared), shared.exec.below(60_000));
    shared.exec.spawn(
        PERSON,
        Box::pin(async move {
            back.exec.sleep(pause).await;
            lock(&back.state).away.remove(&(name.clone(), side));
            back.exec.note(format!("{name} {side:?} is back"));
        }),
    );
}

/// Writes or removes a few keys of one side.
fn edit_side(shared: &Shared, name: &SpokeName, side: Side) {
    for _ in 0..=shared.exec.below(3) {
        let key = format!("k{}", shared.exec.below(5));
        let remove = shared.exec.below(4) == 0;
        let mut state = lock(&shared.state);
        state.versions += 1;
        let version = state.versions;
        let Some(pair) = state.pairs.get_mut(name) else { return };
        if remove {
            pair.side_mut(side).remove(&key);
        } else {
            pair.side_mut(side).insert(key.clone(), version);
        }
        drop(state);
        shared.exec.note(format!("person edits {name} {side:?} {key} {version} {remove}"));
    }
}

async fn submit(shared: &Shared, work: Work) -> Option<RunId> {
    let priority = if matches!(work, Work::Restore(_)) { Priority::Incident } else { Priority::Manual };
    let request = Request { priority, cause: "person".into(), work };
    // The world's own store never fails.
    let queued = shared.store.enqueue(&request, shared.exec.now()).await;
    shared.exec.note(format!("person asks: {queued:?}"));
    queued.ok().map(|q| q.run())
}

async fn answer(shared: &Shared) {
    let undo = shared.exec.below(3) == 0;
    let states = if undo { [ConflictState::Settled] } else { [ConflictState::Open] };
    let Ok(found) = shared.store.conflicts(None, &states).await else { return };
    if found.is_empty() {
        return;
    }
    let record = &found[usize::try_from(shared.exec.below(found.len() as u64)).unwrap_or(0)];
    // An item that is in dispute again cannot be undone: its newer conflict comes first.
    let Ok(open) = shared.store.conflicts(Some(&record.spoke), &[ConflictState::Open, ConflictState::Answered]).await
    else {
        return;
    };
    if undo && open.iter().any(|c| c.draft.item == record.draft.item) {
        return;
    }
    let answer = match (undo, shared.exec.below(2)) {
        (true, _) => Answer::Undo,
        (false, 0) => Answer::Take(Choice::Hub),
        (false, _) => Answer::Take(Choice::Spoke),
    };
    let answered = shared.store.answer(record.id, &answer, "person", None, shared.exec.now()).await;
    shared.exec.note(format!("person answers {} {answer:?} {}", record.id, answered.is_ok()));
    submit(shared, Work::Sync(SyncRequest { spokes: vec![record.spoke.clone()], ..SyncRequest::default() })).await;
}

async fn restore(shared: &Shared, ecosystem: &cathedral_model::ecosystem::Ecosystem) {
    let Ok(list) = shared.vault.list().await else { return };
    if list.is_empty() {
        return;
    }
    let info = &list[usize::try_from(shared.exec.below(list.len() as u64)).unwrap_or(0)];
    let Some(part) = info.parts.get(usize::try_from(shared.exec.below(info.parts.len() as u64)).unwrap_or(0)) else {
        return;
    };
    let Some(spoke) = ecosystem.spoke(&part.key.spoke) else { return };
    let part = RestorePart { spoke: spoke.clone(), side: part.key.side, to: None, root: part.root, provable: false };
    let request =
        RestoreRequest { snapshot: info.meta.id.clone(), snapshot_root: info.root, parts: vec![part], seal: true };
    shared.exec.note(format!("person restores {}", info.meta.id));
    submit(shared, Work::Restore(request)).await;
}
