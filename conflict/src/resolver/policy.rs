//! The owner's word: whose side wins where nothing else decides.

use std::str::FromStr;

use serde::Serialize;

use crate::conflict::{Candidate, Conflict, Meta, Pattern, Reason, Resolution, Resolver, Side};
use crate::kind::Kind;
use crate::text;

const NAME: &str = "policy@1";

/// What to do with a conflict that no merge settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A person decides.
    #[default]
    Queue,
    /// Hub's version wins.
    Hub,
    /// The spoke's version wins.
    Spoke,
    /// The version that is newer by history or by recorded clock wins; without either, a person decides.
    Newest,
    /// Every addition and deletion of both sides; for kinds with set or list meaning only.
    Union,
}

/// A policy's name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown conflict policy {0:?}: use queue, hub, spoke, newest or union")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Ok(match name {
            "queue" => Policy::Queue,
            "hub" => Policy::Hub,
            "spoke" => Policy::Spoke,
            "newest" => Policy::Newest,
            "union" => Policy::Union,
            other => return Err(UnknownPolicy(other.to_owned())),
        })
    }
}

impl Policy {
    /// Says whether this policy has a meaning for items of `kind`; the configuration check asks.
    pub fn fits(self, kind: Kind) -> bool {
        self != Policy::Union || matches!(kind, Kind::Lines | Kind::Gitmodules | Kind::Document)
    }
}

/// Applies a [`Policy`] as a stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct PolicyStage(pub Policy);

impl Resolver for PolicyStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, conflict: &Conflict<'_>) -> Resolution {
        if let Some(bytes) = conflict.unchanged_side() {
            return chosen(bytes, "only one side changed");
        }
        match self.0 {
            Policy::Queue => Resolution::declined(Reason::Queued),
            Policy::Hub => chosen(conflict.hub, "policy: hub"),
            Policy::Spoke => chosen(conflict.spoke, "policy: spoke"),
            Policy::Newest => match newest(&conflict.meta) {
                Some(Side::Hub) => chosen(conflict.hub, "policy: newest, which is hub"),
                Some(Side::Spoke) => chosen(conflict.spoke, "policy: newest, which is spoke"),
                _ => Resolution::declined(Reason::NoClock),
            },
            Policy::Union => match conflict.kind {
                Kind::Lines => match text::union(conflict) {
                    Ok(value) => chosen(&value, "policy: union of lines"),
                    Err(because) => Resolution::declined(because),
                },
                Kind::Gitmodules | Kind::Document => match crate::fields::union(conflict) {
                    Ok(value) => chosen(&value, "policy: union of entries"),
                    Err(because) => Resolution::declined(because),
                },
                _ => Resolution::declined(Reason::NoUnion),
            },
        }
    }
}

/// Returns the newer side, if history or clocks tell beyond doubt.
fn newest(meta: &Meta) -> Option<Side> {
    if let Some(side) = meta.descendant {
        return Some(side);
    }
    let (hub, spoke) = (meta.hub_clock?, meta.spoke_clock?);
    let apart = hub.wall_ms.abs_diff(spoke.wall_ms);
    if apart <= meta.skew_ms && (apart > 0 || meta.skew_ms > 0 || hub.counter == spoke.counter) {
        return None;
    }
    Some(if hub > spoke { Side::Hub } else { Side::Spoke })
}

fn chosen(bytes: &[u8], because: &str) -> Resolution {
    Resolution::Resolved(Candidate {
        value: bytes.to_vec(),
        resolver: NAME,
        pattern: Pattern::Policy,
        because: because.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::Clock;

    #[test]
    fn newest_needs_history_or_clocks_further_apart_than_their_skew() {
        let clock = |wall_ms, counter| Some(Clock { wall_ms, counter });
        let meta = |hub_clock, spoke_clock, skew_ms| Meta { descendant: None, hub_clock, spoke_clock, skew_ms };
        for (meta, expect) in [
            (Meta::default(), None),
            (meta(clock(5, 0), None, 0), None),
            (meta(clock(5, 0), clock(5, 0), 0), None),
            (meta(clock(5, 1), clock(5, 0), 0), Some(Side::Hub)),
            (meta(clock(5, 0), clock(500, 0), 100), Some(Side::Spoke)),
            (meta(clock(500, 0), clock(401, 0), 100), None),
            (Meta { descendant: Some(Side::Spoke), ..Meta::default() }, Some(Side::Spoke)),
        ] {
            assert_eq!(newest(&meta), expect, "{meta:?}");
        }
    }
}
