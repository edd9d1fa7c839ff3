//! RFC 6962 Merkle trees over SHA-256, built from a stream of leaves in logarithmic memory.

use cathedral_model::ids::Digest;
use sha2::{Digest as _, Sha256};

/// A tree under construction.
#[derive(Clone, Debug, Default)]
pub struct Merkle {
    /// Roots of the perfect subtrees so far, with their heights, largest first.
    stack: Vec<(u32, [u8; 32])>,
    count: u64,
}

impl Merkle {
    /// Returns an empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf, given its hash.
    pub fn push(&mut self, leaf: [u8; 32]) {
        let mut node = (0, leaf);
        while let Some(&(height, left)) = self.stack.last()
            && height == node.0
        {
            self.stack.pop();
            node = (height + 1, join(&left, &node.1));
        }
        self.stack.push(node);
        self.count += 1;
    }

    /// Returns how many leaves there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the root; the hash of nothing for an empty tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut nodes = self.stack.iter().rev().map(|(_, hash)| *hash);
        match nodes.next() {
            None => Digest(Sha256::digest([]).into()),
            Some(last) => Digest(nodes.fold(last, |right, left| join(&left, &right))),
        }
    }
}

/// Returns the hash of a salted leaf: `SHA-256(0x00 || salt || content)`.
#[must_use]
pub fn leaf(salt: &[u8; 16], content: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(salt);
    hasher.update(content);
    hasher.finalize().into()
}

fn join(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, word for word.
    fn by_definition(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                join(&by_definition(&many[..split]), &by_definition(&many[split..]))
            }
        }
    }

    #[test]
    fn the_streamed_root_is_the_one_of_the_definition() {
        let leaves: Vec<[u8; 32]> = (0..70u8).map(|i| leaf(&[i; 16], &[i])).collect();
        for n in 0..leaves.len() {
            let mut tree = Merkle::new();
            leaves[..n].iter().for_each(|l| tree.push(*l));
            assert_eq!(tree.root().0, by_definition(&leaves[..n]), "{n} leaves");
        }
    }
}
