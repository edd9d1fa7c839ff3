//! Git's own word on the repositories of one snapshot: each is made anew in a scratch folder, as a restore makes
//! it, and checked with `git fsck`. One at a time, so that no more room is needed than the largest takes (in the
//! folder for temporary files, `TMPDIR`).
//!
//! The check of the vault proves that every byte is the one that was stored; this proves that what was stored
//! are whole repositories. Packs before the newest snapshot are the same chain, so that they are not repeated.

use std::sync::Arc;

use cathedral_backup::LocalVault;
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{Cause, PortError, Vault as _};
use cathedral_model::snapshot::{PartInfo, SnapshotInfo};
use serde::Serialize;

use super::super::restore::rebuilt;
use super::super::{Failure, Output, short};
use super::Finding;
use crate::cli::output::{Tint, many, safe};
use crate::hub::offline_engine;

/// What became of one repository.
#[derive(Clone, Debug, Serialize)]
pub struct Looked {
    pub snapshot: String,
    pub spoke: String,
    /// `sound`, `broken` or `not_checked`.
    pub result: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Checks the repositories of one snapshot; `known` is what was found already.
pub async fn check(vault: &LocalVault, info: &SnapshotInfo, known: &[Finding]) -> (Vec<Looked>, Vec<Finding>) {
    let (mut looked, mut found) = (vec![], vec![]);
    let parts = info.parts.iter().filter(|p| p.kind == SpokeKind::Git);
    for part in parts.filter(|p| p.position != "missing") {
        let name = format!("snapshot {}, spoke {} ({})", info.meta.id, part.key.spoke, part.key.side.as_str());
        let is_known = known.iter().any(|f| f.affects.iter().any(|a| a.starts_with(&name)));
        let (result, why) = if is_known {
            ("not_checked", "objects that it needs are damaged, see the problems".to_owned())
        } else {
            match one(vault, info, part).await {
                Ok(()) => ("sound", String::new()),
                Err(Failure { code: 20, what, .. }) => ("broken", what),
                Err(failure) => ("not_checked", failure.what),
            }
        };
        if result == "broken" {
            found.push(Finding {
                destination: "every destination".into(),
                object: format!("root {}", part.root),
                fault: format!("git finds no sound repository in it: {why}"),
                affects: vec![name],
                affects_more: 0,
                restorable: false,
            });
        }
        let (snapshot, spoke) = (info.meta.id.to_string(), part.key.to_string());
        looked.push(Looked { snapshot, spoke, result, why });
    }
    (looked, found)
}

/// Makes one repository anew; whatever git itself refuses is corruption.
async fn one(vault: &LocalVault, info: &SnapshotInfo, part: &PartInfo) -> Result<(), Failure> {
    // A command that only looks writes nothing below the hub.
    let scratch = tempfile::Builder::new().prefix("cathedral-verify-").tempdir();
    let scratch = scratch.map_err(|e| Failure::io("a scratch folder", &e))?;
    let engine = offline_engine(vault.clone(), scratch.path(), Arc::new(Silent)).await?;
    let mut source = vault.open(&info.meta.id, &part.key).await?;
    let place = Place::Path(scratch.path().join("repository.git"));
    let git = &engine.ports().git;
    match git.import(&rebuilt(part), &place, source.as_mut(), RunId(0), Fence(0)).await {
        Ok(_) => Ok(()),
        Err(error @ PortError::Permanent { cause: Cause::Other, .. }) => {
            Err(PortError::Corrupt(error.to_string()).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Says what was looked at, and what not.
pub fn tell(looked: &[Looked], output: &Output) {
    let Some(first) = looked.first() else { return };
    let sound = looked.iter().filter(|l| l.result == "sound").count() as u64;
    let id = cathedral_model::ids::SnapshotId::parse(&first.snapshot).map(|id| short(&id)).unwrap_or_default();
    if sound > 0 {
        output.note_sentence(&format!(
            "{} {} of snapshot {id} made anew: git fsck finds all of it (older snapshots: bytes and roots only)",
            output.paint(Tint::Good, output.symbol("●", "ok")),
            many(sound, "repository", "repositories"),
        ));
    }
    for one in looked.iter().filter(|l| l.result == "not_checked") {
        let mark = output.paint(Tint::Warn, output.symbol("▲", "!!"));
        output.sentence(&format!("{mark} git fsck of {} was not done: {}", one.spoke, safe(&one.why)));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    use cathedral_backup::LocalDestination;
    use cathedral_model::ecosystem::Side;
    use cathedral_model::ids::{DestinationName, Digest, SnapshotId, SpokeName};
    use cathedral_model::observation::SideState;
    use cathedral_model::ports::vault::{GitRef, GitRefs};
    use cathedral_model::ports::{Destination, Env as _};
    use cathedral_model::snapshot::{CheckLevel, PartKey, SnapshotMeta};
    use cathedral_model::time::Timestamp;

    use crate::hub::HubEnv;

    fn run(program: &mut Command) -> Vec<u8> {
        let output = program.output().unwrap();
        assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// A repository with one commit: its tip, and a pack of all of it or of the commit alone.
    fn repository(dir: &Path, is_whole: bool) -> (String, Vec<u8>) {
        let script = "git init -q -b main . && echo text > a.txt && git add . && \
             git -c user.name=n -c user.email=e@x commit -q -m one && git rev-parse HEAD";
        let git = |script: &str| {
            let mut shell = Command::new("sh");
            run(shell.arg("-c").arg(script).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null"))
        };
        let tip = String::from_utf8(git(script)).unwrap().trim().to_owned();
        let revisions = if is_whole { "--revs" } else { "" };
        (tip.clone(), git(&format!("echo {tip} | git pack-objects -q {revisions} --stdout")))
    }

    async fn looked_at(is_whole: bool) -> (Vec<Looked>, Vec<Finding>) {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir(at("repository")).unwrap();
        let (tip, pack) = repository(&at("repository"), is_whole);
        let one = LocalDestination::new(DestinationName::new("one").unwrap(), at("one"));
        one.create().unwrap();
        let destinations: Vec<Arc<dyn Destination>> = vec![Arc::new(one)];
        LocalVault::init(&at("keys"), &destinations, &[], &HubEnv).unwrap();
        let vault = LocalVault::open(&at("keys"), destinations, 1, &at("cache"), Arc::new(HubEnv)).unwrap();
        let meta = SnapshotMeta {
            id: SnapshotId::generate(HubEnv.now(), [1; 10]),
            ecosystem: "small".into(),
            at: Timestamp(1),
            cause: "test".into(),
            tags: vec![],
        };
        let writer = vault.begin(&meta).await.unwrap().unwrap();
        let key = PartKey { spoke: SpokeName::new("soul").unwrap(), side: Side::Hub };
        let mut sink = writer.part(&key, SpokeKind::Git).unwrap();
        let name = "refs/heads/main".to_owned();
        let refs = vec![GitRef { name: name.clone(), oid: tip.clone(), peeled: None }];
        sink.git_pack(std::slice::from_ref(&tip), &mut pack.as_slice()).unwrap();
        sink.git_refs(&GitRefs { head: Some(name), refs }).unwrap();
        let state = SideState { digest: Digest::of(b"x"), position: "main".into(), items: 1 };
        sink.finish(&state, "exact").unwrap();
        let info = writer.commit().await.unwrap();
        // For the vault all is well: every byte is the one that was stored.
        let report = vault.check(CheckLevel::Full, &[], &Silent).await.unwrap();
        assert_eq!(report.problems, vec![]);
        check(&vault, &info, &[]).await
    }

    #[test]
    fn a_repository_that_misses_objects_is_found_although_its_bytes_are_proven() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (looked, found) = runtime.block_on(looked_at(true));
        assert_eq!((looked[0].result, found.len()), ("sound", 0), "{looked:?}");
        let (looked, found) = runtime.block_on(looked_at(false));
        assert_eq!(looked[0].result, "broken", "{looked:?}");
        assert!(found[0].affects[0].contains("spoke soul"), "{found:?}");
    }
}
