#![allow(clippy::unwrap_used, reason = "tests")]

use cathedral_model::ecosystem::{ConflictPolicy, FilesSpoke, Hub, Side, Spoke, SpokeDetail};
use cathedral_model::ids::{DestinationName, Digest};
use cathedral_model::plan::ConflictDraft;
use cathedral_model::run::{Priority, Request, RunSummary, SpokeSummary, SyncRequest, Work};
use cathedral_model::snapshot::{
    CheckLevel, Held, LastCheck, PartInfo, PartKey, SnapshotBytes, SnapshotMeta, Standing, VaultLook,
};
use cathedral_model::upkeep::{Upkeep, UpkeepRequest};

use super::*;

const NOW: Timestamp = Timestamp(1_763_730_000_000_000);

fn name(text: &str) -> SpokeName {
    SpokeName::new(text).unwrap()
}

fn spoke(text: &str) -> Spoke {
    Spoke {
        name: name(text),
        role: "media".into(),
        data_sync: DataSync::Bidirectional,
        wave: 0,
        after: vec![],
        chain: vec![],
        policy: ConflictPolicy::Queue,
        detail: SpokeDetail::Files(FilesSpoke {
            hub: "a".into(),
            spoke: "b".into(),
            ignore: vec![],
            preserve_mode: true,
            preserve_mtime: true,
            preserve_symlinks: true,
            versions: 1,
            documents: vec![],
        }),
    }
}

fn before(minutes: i64) -> Timestamp {
    Timestamp(NOW.0 - minutes * 60_000_000)
}

fn row(run: i64, work: Work, result: RunResult, minutes: i64, spokes: &[(&str, &str)]) -> RunRow {
    let spokes = spokes.iter().map(|(text, result)| SpokeSummary {
        name: name(text),
        kind: SpokeKind::Files,
        result: (*result).into(),
        changes_in: 0,
        changes_out: 0,
        conflicts: 0,
        note: format!("{result} because"),
        warnings: vec![],
    });
    let summary = RunSummary { result: Some(result), spokes: spokes.collect(), ..RunSummary::default() };
    RunRow {
        run: RunId(run),
        request: Request { priority: Priority::Schedule, cause: "test".into(), work },
        state: "finished".into(),
        summary,
        queued_at: before(minutes),
        changed_at: before(minutes),
    }
}

fn sync() -> Work {
    Work::Sync(SyncRequest::default())
}

fn check_run(run: i64, result: RunResult, minutes: i64) -> RunRow {
    let level = cathedral_model::snapshot::CheckLevel::Full;
    row(run, Work::Upkeep(UpkeepRequest { upkeep: Upkeep::Verify { level } }), result, minutes, &[])
}

fn snapshot(minutes: i64, spokes: &[&str], states: &[(&str, &str)]) -> SnapshotInfo {
    let part = |text: &&str| PartInfo {
        key: PartKey { spoke: name(text), side: Side::Hub },
        kind: SpokeKind::Files,
        root: Digest::of(b"root"),
        observed: Digest::of(b"observed"),
        position: String::new(),
        items: 1,
        bytes: 1,
        consistency: "exact".into(),
        skipped: vec![],
        carried: None,
    };
    SnapshotInfo {
        meta: SnapshotMeta {
            id: SnapshotId::generate(before(minutes), [7; 10]),
            ecosystem: "atlas".into(),
            at: before(minutes),
            cause: "test".into(),
            tags: vec![],
        },
        parent: None,
        root: Digest::of(b"root"),
        parts: spokes.iter().map(part).collect(),
        bytes: SnapshotBytes::default(),
        destinations: states
            .iter()
            .map(|(n, s)| Held { name: DestinationName::new(n).unwrap(), state: (*s).into() })
            .collect(),
        manifest_sha256: String::new(),
        manifest_blake3: String::new(),
    }
}

fn good() -> Facts {
    let hub = Hub { name: name("cathedral"), url: String::new(), branch: "main".into() };
    let spokes = vec![spoke("media"), spoke("notes")];
    let synced = [("media", "synced"), ("notes", "unchanged")];
    Facts {
        now: NOW,
        ecosystem: Arc::new(Ecosystem { name: "atlas".into(), hub, spokes }),
        objectives: Objectives { rpo_ms: Some(15 * 60_000), rto_ms: None, verify_every_ms: Some(86_400_000) },
        watching: Watching { checked_at: Some(before(1)), ..Watching::default() },
        runs: vec![row(2, sync(), RunResult::Succeeded, 4, &synced), check_run(1, RunResult::Succeeded, 60)],
        memories: BTreeMap::new(),
        conflicts: vec![],
        snapshots: Ok(Arc::new(vec![snapshot(4, &["media", "notes"], &[("local", "held"), ("eu", "held")])])),
        look: None,
        log_fault: None,
        own_faults: vec![],
        schedules: vec![],
        cursor: Cursor(9),
    }
}

#[track_caller]
fn check(facts: &Facts, health: Health, code: u8, sentence: &str) -> Verdict {
    let verdict = verdict(facts);
    assert_eq!((verdict.health, verdict.code, verdict.sentence.as_str()), (health, code, sentence));
    verdict
}

#[test]
fn all_is_well_only_when_all_was_looked_at() {
    let verdict = check(&good(), Health::Ok, 0, "Everything can be restored.");
    assert_eq!(
        verdict.detail,
        "The newest snapshot is 4 min old and stands in 2 of 2 places. Everything was last read back 60 min ago."
    );
    assert_eq!(verdict.needs, []);
    assert_eq!(verdict.rpo, Some((name("notes"), 240_000)));
    assert_eq!(verdict.days.len(), 90);
    assert_eq!(verdict.days[89].1, 2);
}

#[test]
fn what_a_snapshot_could_not_take_in_is_not_said_to_be_restorable() {
    let mut facts = good();
    let mut taken = snapshot(4, &["media", "notes"], &[("local", "held"), ("eu", "held")]);
    taken.parts[1].skipped = vec!["refs/heads/bad: a tree entry is called ..".into()];
    facts.snapshots = Ok(Arc::new(vec![taken]));
    check(&facts, Health::Attention, 0, "Everything but 1 thing can be restored.");
}

#[test]
fn the_worst_decides_the_sentence() {
    let mut facts = good();
    let record = ConflictRecord {
        id: ConflictId(5),
        spoke: name("media"),
        kind: SpokeKind::Files,
        draft: ConflictDraft {
            item: "a".into(),
            place: "a.txt".into(),
            conflict_kind: "update/update".into(),
            because: "both changed".into(),
            base: None,
            hub: None,
            spoke: None,
            suggested: None,
            table: None,
            pk: vec![],
            fields: vec![],
            group: vec![],
        },
        state: ConflictState::Open,
        answer: None,
        actor: None,
        opened_by: RunId(2),
        opened_at: before(4),
        changed_at: before(4),
        versions: 1,
    };
    facts.conflicts.push(record);
    let told = check(&facts, Health::Conflict, 11, "Everything can be restored. 1 conflict waits for you.");
    assert_eq!(told.spokes[0].state, "conflict");
    assert_eq!(told.needs[0].link, "/conflicts/5");

    facts.runs.pop();
    facts.runs.push(check_run(1, RunResult::Succeeded, 60 * 49));
    check(&facts, Health::Attention, 22, "Safe, but not read back in time: last checked 2 d ago.");

    let failed = [("media", "unreachable"), ("notes", "unchanged")];
    facts.runs.insert(0, row(3, sync(), RunResult::Partial, 1, &failed));
    check(&facts, Health::Bad, 12, "Safe, but media is unreachable: last good copy 4 min ago.");

    facts.snapshots = Ok(Arc::new(vec![snapshot(4, &["notes"], &[("local", "held")])]));
    check(&facts, Health::Bad, 21, "media cannot be restored: it is in no snapshot.");

    facts.runs.insert(0, check_run(4, RunResult::Failed, 1));
    let run_4 = "Not everything can be restored: the check of 2025-11-21 12:59 UTC (run 4) found faults.";
    check(&facts, Health::Bad, 21, run_4);

    facts.snapshots = Ok(Arc::new(vec![]));
    check(&facts, Health::Bad, 22, "Nothing can be restored yet: there is no snapshot.");

    facts.watching.checked_at = Some(before(20));
    check(&facts, Health::Unknown, 22, "I do not know: the hub has not checked since 2025-11-21 12:40 UTC.");

    facts.snapshots = Err("disk gone".into());
    check(&facts, Health::Unknown, 21, "I do not know: the vault cannot be read: disk gone.");
}

#[test]
fn a_later_success_does_not_erase_a_failed_attempt() {
    let mut facts = good();
    facts.runs.insert(0, row(3, sync(), RunResult::Partial, 2, &[("media", "failed"), ("notes", "unchanged")]));
    let media = spoke_views(&facts).into_iter().find(|s| s.name == name("media")).unwrap();
    assert_eq!(media.last_attempt.unwrap().run, RunId(3));
    assert_eq!(media.last_success.unwrap().run, RunId(2));
    assert_eq!((media.health, media.note.as_str()), (Health::Bad, "failed because"));
}

#[test]
fn a_quiet_look_counts_as_good_and_silence_does_not() {
    let mut facts = good();
    facts.runs[0].changed_at = before(40);
    let late = "Safe, but media is late and 1 spoke more: last good copy 40 min ago.";
    check(&facts, Health::Bad, 22, late);
    for spoke in ["media", "notes"] {
        facts.watching.quiet_at.insert(name(spoke), before(1));
    }
    check(&facts, Health::Ok, 0, "Everything can be restored.");
    facts.watching.failing.insert(name("notes"), "connection refused".into());
    check(&facts, Health::Bad, 12, "Safe, but notes is unreachable: last good copy 60 s ago.");
}

#[test]
fn a_destination_without_the_newest_snapshot_needs_somebody() {
    let mut facts = good();
    facts.snapshots = Ok(Arc::new(vec![snapshot(4, &["media", "notes"], &[("local", "held"), ("eu", "unreachable")])]));
    let verdict = verdict(&facts);
    assert_eq!(verdict.destinations[1].health, Health::Bad);
    assert_eq!(verdict.needs[0].what, "eu does not hold the newest snapshot");
}

fn standing(text: &str, missing: u64, damaged: u64) -> Standing {
    let check = LastCheck { level: CheckLevel::Full, at: before(10), problems: missing + damaged };
    let name = DestinationName::new(text).unwrap();
    Standing { name, fault: None, missing, damaged, checks: vec![check] }
}

#[test]
fn nothing_is_called_restorable_that_a_look_has_seen_damaged() {
    let mut facts = good();
    let clean = VaultLook { destinations: vec![standing("local", 0, 0), standing("eu", 0, 0)], ..VaultLook::default() };
    facts.look = Some(clean.clone());
    let told = check(&facts, Health::Ok, 0, "Everything can be restored.");
    assert_eq!(told.verified_at, Some(before(10)), "a check by hand counts as one by the hub");

    let mut look = clean.clone();
    look.destinations[1].fault = Some("connection refused".into());
    facts.look = Some(look);
    check(&facts, Health::Attention, 6, "Everything can be restored, but eu does not answer.");
    facts.look =
        Some(VaultLook { destinations: vec![standing("local", 2, 0), standing("eu", 0, 0)], ..VaultLook::default() });
    check(&facts, Health::Attention, 12, "Everything can be restored, but 2 objects are missing at local.");
    let mut look =
        VaultLook { destinations: vec![standing("local", 0, 1), standing("eu", 0, 1)], ..VaultLook::default() };
    facts.look = Some(look.clone());
    let told = check(&facts, Health::Attention, 20, "Everything can be restored, but local has 1 damaged object.");
    assert_eq!(told.needs[0].command, "cathedral snapshot create");
    look.lost_packs = 1;
    facts.look = Some(look.clone());
    let older = "The newest snapshot can be restored; older ones are damaged at every destination.";
    check(&facts, Health::Bad, 20, older);
    facts.look = Some(clean.clone());
    facts.log_fault = Some("it ends at leaf 3, and leaf 5 was acknowledged".into());
    let log = "Everything can be restored, but the log is not as it was signed: it ends at leaf 3, and leaf 5 was acknowledged.";
    assert_eq!(check(&facts, Health::Bad, 20, log).needs[0].command, "cathedral log audit");
    facts.log_fault = None;
    facts.own_faults = vec![OwnFault {
        code: 5,
        what: "the key hub-id is missing".into(),
        why: "no sync can begin".into(),
        command: "put it back".into(),
    }];
    let own = "Everything can be restored, but the key hub-id is missing.";
    assert_eq!(check(&facts, Health::Bad, 5, own).needs[0].command, "put it back");
    facts.own_faults.clear();
    look.newest_lacks = Some("media (hub)".into());
    facts.look = Some(look);
    let newest = "Not everything can be restored: the newest snapshot is damaged at every destination (media (hub)).";
    check(&facts, Health::Bad, 21, newest);
    facts.snapshots = Ok(Arc::new(vec![]));
    facts.look = Some(VaultLook { vanished: vec![SnapshotId::generate(before(4), [7; 10])], ..clean });
    let gone = "Nothing can be restored: the snapshots that were taken are at no destination any more.";
    check(&facts, Health::Bad, 21, gone);
}

#[test]
fn what_a_later_snapshot_has_mended_asks_for_another_check_and_no_longer_alarms() {
    let mut facts = good();
    facts.runs.insert(0, check_run(4, RunResult::Failed, 10));
    let mut look =
        VaultLook { destinations: vec![standing("local", 0, 3), standing("eu", 0, 0)], ..VaultLook::default() };
    facts.look = Some(look.clone());
    assert_eq!(verdict(&facts).code, 21);
    look.destinations[0].damaged = 0;
    facts.look = Some(look);
    let told = check(&facts, Health::Ok, 0, "Everything can be restored.");
    assert_eq!(told.needs[0].command, "cathedral verify --level full");
    facts.snapshots = Ok(Arc::new(vec![snapshot(11, &["media", "notes"], &[("local", "held"), ("eu", "held")])]));
    assert_eq!(verdict(&facts).code, 21, "no snapshot came after the check: nothing was mended");
}

#[test]
fn an_endpoint_that_takes_nothing_is_somebodys_business_after_a_while() {
    let standing = |since: Option<Timestamp>, last: &str| {
        let mut facts = good();
        facts.watching.endpoints =
            vec![EndpointStanding { endpoint: "ops".into(), failing_since: since, last: last.into() }];
        verdict(&facts).needs.iter().find(|n| n.link == "/deliveries").map(|n| n.why.clone())
    };
    let before = |ms: i64| Some(Timestamp(NOW.0 - ms * 1_000));
    assert_eq!(standing(None, "204"), None);
    assert_eq!(standing(before(3_600_000), "500"), None);
    assert_eq!(standing(before(3 * 86_400_000), "500"), Some("nothing has arrived for 3 d: 500".into()));
    let gone = standing(before(1), "410 Gone").unwrap();
    assert!(gone.contains("wants nothing any more"), "{gone}");
}
