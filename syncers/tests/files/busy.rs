//! A side that is written all the time, and one that cannot be read.

use std::collections::BTreeMap;
use std::fs;

use cathedral_model::ecosystem::Side;
use cathedral_model::observation::Digests;
use cathedral_model::plan::PlanContext;
use cathedral_model::ports::Syncer;
use cathedral_model::ports::syncer::Place;

use crate::common::*;
use crate::snapshot::{Recorded, export};

#[test]
fn what_changes_after_the_snapshot_waits_and_the_rest_goes_through() {
    let mut pair = Pair::new();
    write(&pair.hub, "busy.log", "0");
    pair.agree();
    write(&pair.spoke, "busy.log", "1");
    write(&pair.spoke, "quiet/file", "quiet");
    write(&pair.hub, "other", "other");
    pair.run += 1;
    let name = pair.declared.name.clone();
    pair.syncer.remember(&name);
    let hub = export(&pair, &Place::Live(Side::Hub), &mut Recorded::default()).digest;
    let spoke = export(&pair, &Place::Live(Side::Spoke), &mut Recorded::default()).digest;
    write(&pair.spoke, "busy.log", "2");
    write(&pair.spoke, "later", "later");
    fs::remove_file(pair.hub.join("other")).unwrap();
    let held = BTreeMap::from([(Side::Hub, hub), (Side::Spoke, spoke)]);
    let context = PlanContext { held, ..pair.context() };
    let plan = wait(pair.syncer.plan(&pair.declared, &context)).unwrap();
    assert_eq!(plan.expected, Digests { hub, spoke }, "it is made for what the snapshot holds");
    let targets: Vec<&str> = plan.actions.iter().map(|a| a.target.as_str()).collect();
    assert_eq!(targets, ["quiet", "quiet/file"]);
    let applied = pair.apply(&plan);
    let left: Vec<&str> = applied.skipped.iter().map(|s| s.target.as_str()).collect();
    assert_eq!(left, ["busy.log", "later"], "what waits is named");
    assert_eq!(fs::read_to_string(pair.hub.join("quiet/file")).unwrap(), "quiet");
    assert_eq!(fs::read_to_string(pair.hub.join("busy.log")).unwrap(), "0");
    // What was remembered serves one plan only.
    let again = wait(pair.syncer.plan(&pair.declared, &context)).unwrap();
    assert_ne!(again.expected, plan.expected);
    pair.agree();
    assert_eq!(fs::read_to_string(pair.hub.join("busy.log")).unwrap(), "2");
}

#[test]
fn a_side_is_read_alone_while_the_other_one_cannot_be() {
    let pair = Pair::new();
    write(&pair.hub, "a", "a");
    write(&pair.spoke, "b", "b");
    let whole = wait(pair.syncer.observe(&pair.declared)).unwrap();
    fs::rename(&pair.spoke, pair.dir.path().join("aside")).unwrap();
    fs::write(&pair.spoke, "no folder").unwrap();
    let observe = |side| wait(pair.syncer.observe_side(&pair.declared, side));
    assert!(wait(pair.syncer.observe(&pair.declared)).is_err());
    assert_eq!(observe(Side::Hub).unwrap(), whole.hub);
    assert!(observe(Side::Spoke).is_err());
    let state = export(&pair, &Place::Live(Side::Hub), &mut Recorded::default());
    assert_eq!(state, whole.hub);
    // What is not there cannot be read, and is not taken for empty.
    fs::remove_file(&pair.spoke).unwrap();
    assert!(observe(Side::Spoke).is_err());
}
