//! The decision for one item: base, hub and spoke, and the direction in which changes travel.
//!
//! Pure; how commits stand to each other is asked through a function. Nothing here ever answers a
//! question by dropping a side: what cannot be had by moving forward or by a clean merge is a conflict.

use cathedral_model::ecosystem::{DataSync, Side};

use super::object::Oid;
use super::store::Relation;

/// What kind of value an item has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A commit that may move forward.
    Branch,
    /// A name that must not move.
    Tag,
    /// The contents of a shared path.
    Content,
}

/// What to do with an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Both sides agree.
    Agreed,
    /// They differ and stay so, without a question: a deletion that does not travel, a new name
    /// against the direction.
    Leave,
    /// One side is written.
    Set { side: Side, value: Option<Oid>, action: &'static str, why: &'static str },
    /// Both sides moved; they may be merged.
    Merge,
    /// A person decides.
    Conflict { kind: &'static str, because: String },
}

/// The three sides of an item.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub shape: Shape,
    pub base: Option<&'a str>,
    pub hub: Option<&'a str>,
    pub spoke: Option<&'a str>,
}

/// The rules of the spoke.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub direction: DataSync,
    pub prune: bool,
    /// Whether divergent sides may be merged without a person.
    pub merge: bool,
}

/// Decides.
pub fn decide(item: Item<'_>, rules: Rules, relation: &dyn Fn(&str, &str) -> Relation) -> Decision {
    let Item { base, hub, spoke, .. } = item;
    if hub == spoke {
        return Decision::Agreed;
    }
    if rules.direction == DataSync::SnapshotOnly {
        return Decision::Leave;
    }
    match (base, hub, spoke) {
        (_, None, None) => Decision::Agreed,
        (None, Some(value), None) => created(Side::Spoke, value, rules),
        (None, None, Some(value)) => created(Side::Hub, value, rules),
        (Some(b), None, Some(s)) => deleted(Side::Hub, b, s, rules),
        (Some(b), Some(h), None) => deleted(Side::Spoke, b, h, rules),
        (base, Some(h), Some(s)) => match item.shape {
            Shape::Tag => Decision::Conflict {
                kind: "tag_moved",
                because: "the tag names different things on the two sides, and a tag is never moved by itself".into(),
            },
            Shape::Content => contents(base, h, s, rules),
            Shape::Branch => branches(base, h, s, rules, relation),
        },
    }
}

/// Whether a side takes changes in this direction.
pub fn may_write(side: Side, direction: DataSync) -> bool {
    match direction {
        DataSync::Bidirectional => true,
        DataSync::HubDistribution => side == Side::Spoke,
        DataSync::Collect => side == Side::Hub,
        DataSync::SnapshotOnly => false,
    }
}

fn created(missing: Side, value: &str, rules: Rules) -> Decision {
    if !may_write(missing, rules.direction) {
        return Decision::Leave;
    }
    let why = match missing {
        Side::Spoke => "new at the hub",
        Side::Hub => "new at the spoke",
    };
    Decision::Set { side: missing, value: Some(value.to_owned()), action: "create", why }
}

/// `gone` has deleted what the other side holds.
fn deleted(gone: Side, base: &str, stands: &str, rules: Rules) -> Decision {
    if base != stands {
        let kind = if gone == Side::Hub { "delete/update" } else { "update/delete" };
        let because = format!("the {} deleted it and the {} went on with it", gone.as_str(), gone.other().as_str());
        return Decision::Conflict { kind, because };
    }
    if rules.prune && may_write(gone.other(), rules.direction) {
        let why = if gone == Side::Hub { "deleted at the hub" } else { "deleted at the spoke" };
        return Decision::Set { side: gone.other(), value: None, action: "delete", why };
    }
    Decision::Leave
}

fn contents(base: Option<&str>, hub: &str, spoke: &str, rules: Rules) -> Decision {
    let (hub_moved, spoke_moved) = (base != Some(hub), base != Some(spoke));
    match (hub_moved, spoke_moved) {
        (true, true) if rules.merge && rules.direction == DataSync::Bidirectional => Decision::Merge,
        (true, true) => Decision::Conflict {
            kind: if base.is_some() { "update/update" } else { "insert/insert" },
            because: "both sides have their own contents".into(),
        },
        (moved, _) => {
            let to = if moved { Side::Spoke } else { Side::Hub };
            if !may_write(to, rules.direction) {
                return drift(to);
            }
            let value = Some(if moved { hub } else { spoke }.to_owned());
            Decision::Set { side: to, value, action: "update", why: changed(to.other()) }
        }
    }
}

fn changed(side: Side) -> &'static str {
    match side {
        Side::Hub => "changed at the hub",
        Side::Spoke => "changed at the spoke",
    }
}

fn drift(protected: Side) -> Decision {
    let because = format!(
        "the {} changed it, but changes travel only from the {}",
        protected.other().as_str(),
        protected.as_str()
    );
    Decision::Conflict { kind: "drift", because }
}

fn branches(
    base: Option<&str>,
    hub: &str,
    spoke: &str,
    rules: Rules,
    relation: &dyn Fn(&str, &str) -> Relation,
) -> Decision {
    // A side that left its last agreed value behind was rewound or rewritten: never followed by itself.
    for (side, value) in [(Side::Hub, hub), (Side::Spoke, spoke)] {
        let Some(base) = base.filter(|b| *b != value) else { continue };
        match relation(base, value) {
            Relation::Behind | Relation::Same => {}
            Relation::Unknown => return missing(side),
            Relation::Ahead => {
                let because = format!("the {} went back to an older commit", side.as_str());
                return Decision::Conflict { kind: "rewound", because };
            }
            Relation::Diverged => {
                let because = format!("the {} rewrote history that both sides had agreed on", side.as_str());
                return Decision::Conflict { kind: "rewritten", because };
            }
            Relation::Unrelated => {
                let because = format!("the {} replaced it by an unrelated history", side.as_str());
                return Decision::Conflict { kind: "unrelated", because };
            }
        }
    }
    match relation(hub, spoke) {
        Relation::Same => Decision::Agreed,
        Relation::Behind if may_write(Side::Hub, rules.direction) => Decision::Set {
            side: Side::Hub,
            value: Some(spoke.to_owned()),
            action: "fast_forward",
            why: changed(Side::Spoke),
        },
        Relation::Behind => drift(Side::Hub),
        Relation::Ahead if may_write(Side::Spoke, rules.direction) => Decision::Set {
            side: Side::Spoke,
            value: Some(hub.to_owned()),
            action: "fast_forward",
            why: changed(Side::Hub),
        },
        Relation::Ahead => drift(Side::Spoke),
        Relation::Diverged if base.is_some() && rules.merge && rules.direction == DataSync::Bidirectional => {
            Decision::Merge
        }
        Relation::Diverged => Decision::Conflict {
            kind: "diverged",
            because: if base.is_none() {
                "both sides had commits of their own before they first met".into()
            } else {
                "both sides have commits that the other has not".into()
            },
        },
        Relation::Unrelated => {
            Decision::Conflict { kind: "unrelated", because: "the two sides have no commit in common".into() }
        }
        Relation::Unknown => missing(Side::Hub),
    }
}

fn missing(side: Side) -> Decision {
    let because = format!("the commit that the {} names cannot be found, or is no commit", side.as_str());
    Decision::Conflict { kind: "missing_commit", because }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits are words; one contains another when it starts with it.
    fn relation(a: &str, b: &str) -> Relation {
        match () {
            () if a == b => Relation::Same,
            () if b.starts_with(a) => Relation::Behind,
            () if a.starts_with(b) => Relation::Ahead,
            () if a.as_bytes()[0] == b.as_bytes()[0] => Relation::Diverged,
            () => Relation::Unrelated,
        }
    }

    fn check(triple: [&str; 3], expect: [&str; 3]) {
        let some = |s: &'static str| (s != "-").then_some(s);
        let leak = |s: &str| some(Box::leak(s.to_owned().into_boxed_str()));
        let [base, hub, spoke] = triple.map(leak);
        for (direction, expect) in
            [DataSync::Bidirectional, DataSync::HubDistribution, DataSync::Collect].into_iter().zip(expect)
        {
            let rules = Rules { direction, prune: false, merge: true };
            let got = match decide(Item { shape: Shape::Branch, base, hub, spoke }, rules, &relation) {
                Decision::Agreed => "agreed".to_owned(),
                Decision::Leave => "leave".into(),
                Decision::Merge => "merge".into(),
                Decision::Set { side, value, .. } => format!("{} {}", side.as_str(), value.as_deref().unwrap_or("-")),
                Decision::Conflict { kind, .. } => kind.into(),
            };
            assert_eq!(got, expect, "{triple:?} {direction:?}");
        }
    }

    #[test]
    fn the_table_of_the_three_directions() {
        check(["a", "a", "a"], ["agreed"; 3]);
        check(["a", "ab", "a"], ["spoke ab", "spoke ab", "drift"]);
        check(["a", "a", "ab"], ["hub ab", "drift", "hub ab"]);
        check(["a", "ab", "ab"], ["agreed"; 3]);
        check(["a", "ab", "ac"], ["merge", "diverged", "diverged"]);
        check(["a", "ab", "abc"], ["hub abc", "drift", "hub abc"]);
        check(["-", "a", "-"], ["spoke a", "spoke a", "leave"]);
        check(["-", "-", "a"], ["hub a", "leave", "hub a"]);
        check(["-", "a", "ab"], ["hub ab", "drift", "hub ab"]);
        check(["-", "ab", "ac"], ["diverged"; 3]);
        check(["-", "a", "x"], ["unrelated"; 3]);
        check(["a", "-", "a"], ["leave"; 3]);
        check(["a", "a", "-"], ["leave"; 3]);
        check(["a", "-", "ab"], ["delete/update"; 3]);
        check(["a", "ab", "-"], ["update/delete"; 3]);
        check(["a", "-", "-"], ["agreed"; 3]);
        check(["ab", "ab", "a"], ["rewound"; 3]);
        check(["ab", "ab", "ac"], ["rewritten"; 3]);
        check(["ab", "x", "ab"], ["unrelated"; 3]);
    }

    #[test]
    fn tags_never_move_and_deletions_travel_only_with_prune() {
        let rules = Rules { direction: DataSync::Bidirectional, prune: true, merge: true };
        let tag = Item { shape: Shape::Tag, base: Some("a"), hub: Some("ab"), spoke: Some("a") };
        assert!(matches!(decide(tag, rules, &relation), Decision::Conflict { kind: "tag_moved", .. }));
        let gone = Item { shape: Shape::Branch, base: Some("a"), hub: None, spoke: Some("a") };
        assert!(matches!(decide(gone, rules, &relation), Decision::Set { side: Side::Spoke, value: None, .. }));
        let against = Rules { direction: DataSync::Collect, ..rules };
        assert_eq!(decide(gone, against, &relation), Decision::Leave);
    }
}
