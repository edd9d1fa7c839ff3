//! What must hold once faults have stopped and everything that waited is done.

use std::collections::BTreeSet;

use cathedral_model::ecosystem::{DataSync, Side};
use cathedral_model::ids::{RunId, Seq};
use cathedral_model::inbox::ConflictState;
use cathedral_model::journal::Saga;
use cathedral_model::ports::Store;
use cathedral_model::restore::RestoreRun;
use cathedral_model::run::{SyncRun, Work};
use cathedral_model::snapshot::PartKey;
use cathedral_model::upkeep::UpkeepRun;

use super::World;
use crate::memory::lock;

impl World {
    /// Checks every invariant; broken ones are added to the violations, each with its name.
    pub(super) fn check_all(&self) {
        self.every_run_ends();
        self.journals_are_whole();
        self.log_has_each_act_once();
        self.events_follow_their_leaf();
        self.sides_agree_or_wait();
        self.restores_displace_nothing_unheld();
        self.messages_arrive();
        self.quiet_sync_writes_nothing();
        self.what_is_only_snapshotted_is_held();
    }

    fn violate(&self, what: String) {
        self.shared.violate(what);
    }

    fn every_run_ends(&self) {
        for (row, _) in self.shared.store.all() {
            if row.state != "finished" {
                self.violate(format!("every run ends: run {} is {}", row.run, row.state));
            }
        }
    }

    /// No gaps, and the fold of each journal is legal and gives the stored summary.
    fn journals_are_whole(&self) {
        for (row, journal) in self.shared.store.all() {
            for (index, record) in journal.iter().enumerate() {
                if record.seq != Seq(i64::try_from(index).unwrap_or(0)) {
                    self.violate(format!("journals are whole: run {} has a gap at {index}", row.run));
                }
            }
            let events: Vec<_> = journal.into_iter().map(|j| j.event).collect();
            let summary = match row.request.work {
                Work::Sync(_) => fold::<SyncRun>(events).map(|s| s.summary()),
                Work::Restore(_) => fold::<RestoreRun>(events).map(|s| s.summary()),
                Work::Upkeep(_) => fold::<UpkeepRun>(events).map(|s| s.summary()),
            };
            match summary {
                Ok(summary) if summary == row.summary => {}
                Ok(_) => {
                    self.violate(format!("journals are whole: summary of run {} differs from its journal", row.run))
                }
                Err(why) => self.violate(format!("journals are whole: run {}: {why}", row.run)),
            }
        }
    }

    fn log_has_each_act_once(&self) {
        let leaves = self.shared.ledger.leaves();
        let ids: BTreeSet<&str> = leaves.iter().map(|l| l.id.as_str()).collect();
        if ids.len() != leaves.len() {
            self.violate("log has each act once: a leaf appears twice".into());
        }
        for (row, journal) in self.shared.store.all() {
            let took = journal.iter().any(|j| j.event["event"] == "applied");
            let sealed = ids.contains(format!("run:{}", row.run).as_str());
            let failed = journal.iter().any(|j| j.event["event"] == "seal_failed");
            if took && !sealed && !failed && row.state == "finished" {
                self.violate(format!("log has each act once: run {} wrote and has no leaf", row.run));
            }
        }
    }

    fn events_follow_their_leaf(&self) {
        let leaves = self.shared.ledger.leaves();
        let Some(Ok(events)) = now(self.shared.store.events(cathedral_model::ids::Cursor(0), u32::MAX)) else { return };
        let mut last = 0;
        for event in events {
            if event.cursor.0 <= last {
                self.violate("events grow: a cursor went back".into());
            }
            last = event.cursor.0;
            let leaf = match event.event.kind.as_str() {
                "snapshot.taken" => event.event.data["snapshot"].as_str().map(|s| format!("snapshot:{s}")),
                "run.finished" => event.event.run.map(|r| format!("run:{r}")),
                _ => None,
            };
            if let Some(id) = leaf
                && event.event.data["leaf"] != serde_json::Value::Null
                && !leaves.iter().any(|l| l.id == id)
            {
                self.violate(format!("nothing is announced before it is committed: {id}"));
            }
        }
    }

    /// Each key is equal on both sides, or a conflict names it.
    fn sides_agree_or_wait(&self) {
        let Some(Ok(open)) = now(self.shared.store.conflicts(None, &[ConflictState::Open, ConflictState::Answered]))
        else {
            return;
        };
        for spoke in &self.ecosystem.spokes {
            if spoke.data_sync == DataSync::SnapshotOnly {
                continue;
            }
            let pair = lock(&self.shared.state).pairs.get(&spoke.name).cloned().unwrap_or_default();
            let keys: BTreeSet<&String> = pair.hub.keys().chain(pair.spoke.keys()).collect();
            for key in keys {
                let waits = open.iter().any(|c| c.spoke == spoke.name && &c.draft.item == key);
                if pair.hub.get(key) != pair.spoke.get(key) && !waits {
                    self.violate(format!("sides agree or wait: {}/{key} differs and nobody is told", spoke.name));
                }
            }
        }
    }

    /// A spoke that is not synced is in a snapshot as it is: it may be written over before the next one.
    fn what_is_only_snapshotted_is_held(&self) {
        for spoke in self.ecosystem.spokes.iter().filter(|s| s.data_sync == DataSync::SnapshotOnly) {
            let pair = lock(&self.shared.state).pairs.get(&spoke.name).cloned().unwrap_or_default();
            for (side, tree) in [(Side::Hub, &pair.hub), (Side::Spoke, &pair.spoke)] {
                let key = PartKey { spoke: spoke.name.clone(), side };
                for (path, version) in tree {
                    if !self.shared.vault.holds(&key, path.as_bytes(), version.to_string().as_bytes()) {
                        let at = format!("{}/{path} on the {} side", spoke.name, side.as_str());
                        self.violate(format!("no side lost: {at} is settled and in no snapshot"));
                    }
                }
            }
        }
    }

    /// What a restore wrote over is in a snapshot, or the restore says that it is not.
    fn restores_displace_nothing_unheld(&self) {
        let mut told = BTreeSet::new();
        for (row, journal) in self.shared.store.all() {
            if journal.iter().any(|j| j.event["event"] == "unheld") {
                told.insert(row.run);
            }
        }
        let lost: Vec<String> = {
            let state = lock(&self.shared.state);
            let is_held = |d: &super::Displaced| {
                [Side::Hub, Side::Spoke].into_iter().any(|side| {
                    let key = PartKey { spoke: d.spoke.clone(), side };
                    self.shared.vault.holds(&key, d.key.as_bytes(), d.version.to_string().as_bytes())
                })
            };
            let lost = state.displaced.iter().filter(|d| !told.contains(&d.run) && !is_held(d));
            lost.map(|d| {
                let what = format!("{}/{} {}", d.spoke, d.key, d.version);
                let told = self.told_of(d.run);
                format!("no side lost: restore {} displaced {what}, which is in no snapshot{told}", d.run)
            })
            .collect()
        };
        lost.into_iter().for_each(|what| self.violate(what));
    }

    fn messages_arrive(&self) {
        let Some(Ok(left)) = now(self.shared.store.undelivered(u32::MAX)) else { return };
        for message in left {
            self.violate(format!("messages arrive: {} is still in the outbox", message.key));
        }
    }

    /// A sync without changes writes to no side, takes no snapshot and adds no leaf.
    fn quiet_sync_writes_nothing(&self) {
        let before = self.traces_left();
        self.request_sync();
        self.shared.exec.run_for(60_000);
        let after = self.traces_left();
        if before != after {
            let last = self.shared.store.all().into_iter().map(|(row, _)| row.run).max();
            let told = last.map_or(String::new(), |run| self.told_of(run));
            self.violate(format!("a second sync writes nothing: {before:?} became {after:?}{told}"));
        }
    }

    /// The journal of a run, for whoever looks for the reason.
    fn told_of(&self, run: RunId) -> String {
        let found = self.shared.store.all().into_iter().find(|(row, _)| row.run == run);
        found.map_or(String::new(), |(_, journal)| {
            let lines: Vec<String> = journal.iter().map(|j| j.event.to_string()).collect();
            format!("\nthe journal of run {run}:\n{}", lines.join("\n"))
        })
    }

    fn traces_left(&self) -> (u64, usize, usize) {
        let snapshots =
            now(cathedral_model::ports::Vault::list(&self.shared.vault)).map_or(0, |l| l.map_or(0, |l| l.len()));
        (lock(&self.shared.state).hub_writes, snapshots, self.shared.ledger.leaves().len())
    }
}

fn fold<S: Saga + Default>(events: Vec<serde_json::Value>) -> Result<S, String> {
    let mut state = S::default();
    for event in events {
        let event: S::Event = serde_json::from_value(event).map_err(|e| e.to_string())?;
        state = state.apply(&event).map_err(|e| e.to_string())?;
    }
    Ok(state)
}

/// The in-memory adapters answer at once.
fn now<F: Future>(future: F) -> Option<F::Output> {
    futures_util::FutureExt::now_or_never(future)
}
