//! What the hub has noted of pairs of trees: read, and with `--fix` mended where it is damaged.
//!
//! A fence that is damaged stops every write to its pair. It is written anew as a number that is greater than every
//! one that was handed out. A mark says which tree was synced; without it nobody knows, so that the next sync
//! compares both sides as if for the first time.

use cathedral_model::ecosystem::Spoke;
use cathedral_model::ids::NodeId;
use cathedral_model::ports::Env as _;
use cathedral_syncers::files::{NoteFault, NoteOf, mend_fence, note_faults};

use super::super::Failure;
use super::agreed::set_aside;
use super::{Bench, Line};
use crate::cli::many;
use crate::hub::{HEAL, Hub, HubEnv, shown};

/// A lease that is given back at once.
const LEASE_MS: u64 = 60_000;

/// Looks at the notes of every pair; with `fix`, mends them.
pub async fn look(bench: &Bench<'_>, fix: bool, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let (mut whole, state) = (0, &bench.site.state);
    for spoke in &bench.ecosystem.spokes {
        let faults = note_faults(state, spoke);
        whole += u64::from(faults.is_empty() && state.join("fence").join(spoke.name.as_str()).exists());
        for fault in faults {
            let (kind, cure) = match fault.of {
                NoteOf::Fence => ("newest fence", "writes it anew, newer than every one that was handed out"),
                NoteOf::Mark(_) => {
                    ("marker", "sets it aside; the next sync compares both sides afresh, deletes nothing")
                }
            };
            let what = format!(
                "the hub's note of the {kind} of {} is damaged: {}: {}",
                spoke.name,
                shown(&fault.file),
                fault.why
            );
            lines.push(match bench.hub.filter(|_| fix) {
                None => Line::bad(20, what, &format!("{HEAL}    {cure}")),
                Some(hub) => mend(hub, spoke, &fault, what).await?,
            });
        }
    }
    if whole > 0 {
        let what = format!("what the hub has noted of file trees can be read, of {}", many(whole, "pair", "pairs"));
        lines.push(Line::good(what, String::new()));
    }
    Ok(())
}

async fn mend(hub: &Hub, spoke: &Spoke, fault: &NoteFault, what: String) -> Result<Line, Failure> {
    if hub.is_attached() {
        return Err(Failure::new(75, "C7501", format!("a hub is running, and works on {}", spoke.name))
            .why("its notes are mended while nobody works with them; nothing was changed")
            .next("stop the hub (cathedral up), then repeat the command"));
    }
    match fault.of {
        NoteOf::Fence => fence(hub, spoke, what).await,
        NoteOf::Mark(side) => {
            // What was agreed on goes first: a mark that is gone is not missed, one that is damaged is.
            let now = HubEnv.now();
            if let Some(base) = hub.store().memory(&spoke.name).await?.base {
                hub.store().forget_base(&spoke.name, &base, now).await?;
            }
            let name = format!("mark-{}.{}", spoke.name, side.as_str());
            let kept = set_aside(&hub.site.state, &fault.file, &name)?;
            let kept = kept.map(|kept| format!("it is kept in {}; ", shown(&kept))).unwrap_or_default();
            let note = format!("{kept}the next sync compares both sides afresh, and deletes nothing: look at it first");
            Ok(Line::good(format!("{what}; it was set aside"), format!("{note}: cathedral plan {}", spoke.name)))
        }
    }
}

/// A lease on the spoke gives a fence that is greater than every one that was handed out for it, and nobody who has
/// an older one can be at work meanwhile.
async fn fence(hub: &Hub, spoke: &Spoke, what: String) -> Result<Line, Failure> {
    let resource = format!("spoke:{}", spoke.name);
    let holder = NodeId::new(&format!("{}/doctor", hub.node));
    let Some(fence) = hub.store().lease(&resource, &holder, HubEnv.now(), LEASE_MS).await? else {
        let fix = "a run that was stopped may still hold it: repeat the command in a minute";
        return Ok(Line::bad(75, format!("{what}; it was not written anew"), fix));
    };
    let state = hub.site.state.clone();
    let mended = tokio::task::block_in_place(|| mend_fence(&state, &spoke.name, fence));
    let _ = hub.store().unlease(&resource, &holder).await;
    let note = format!("{}, newer than every one that was handed out; cathedral sync goes on", mended?);
    Ok(Line::good(format!("{what}; it was written anew"), note))
}
