//! What stands at a path.

use std::collections::BTreeMap;

/// What a node is, without its attributes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// A file, by the BLAKE3 digest of its content.
    File {
        /// The digest.
        b3: [u8; 32],
        /// Size in bytes.
        size: u64,
    },
    /// A directory.
    Dir,
    /// A symbolic link; its target is a value and is never followed.
    Symlink {
        /// The target's bytes.
        target: Vec<u8>,
    },
}

/// One node of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// What it is.
    pub body: Body,
    /// Permission bits; `None` where they do not take part.
    pub mode: Option<u32>,
}

impl Node {
    /// Says whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.body == Body::Dir
    }
}

/// Nodes by path: raw bytes, parts separated by `/`. The root is not listed; each other parent is, as a directory.
pub type Tree = BTreeMap<Vec<u8>, Node>;

/// Merges permission bits, bit by bit.
///
/// Without a base, what the owner may do is united and what others may do is intersected: nobody gets a right on
/// one side that the other side withheld.
pub fn merge_mode(base: Option<u32>, hub: Option<u32>, spoke: Option<u32>) -> Option<u32> {
    match (base, hub, spoke) {
        (_, hub, None) => hub,
        (_, None, spoke) => spoke,
        (_, Some(hub), Some(spoke)) if hub == spoke => Some(hub),
        // A bit that the sides disagree on was changed by one of them: that change counts.
        (Some(base), Some(hub), Some(spoke)) => Some(base ^ ((base ^ hub) | (base ^ spoke))),
        (None, Some(hub), Some(spoke)) => Some(((hub | spoke) & 0o700) | (hub & spoke & !0o700)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_merge_bit_by_bit() {
        for (base, hub, spoke, expect) in [
            (Some(0o644), Some(0o755), Some(0o644), 0o755),
            (Some(0o644), Some(0o755), Some(0o600), 0o711),
            (Some(0o777), Some(0o770), Some(0o755), 0o750),
            (None, Some(0o755), Some(0o644), 0o744),
            (None, Some(0o600), Some(0o644), 0o600),
            (None, None, Some(0o644), 0o644),
        ] {
            assert_eq!(merge_mode(base, hub, spoke), Some(expect), "{base:?} {hub:?} {spoke:?}");
            assert_eq!(merge_mode(base, spoke, hub), Some(expect), "the sides are equal partners");
        }
    }
}
