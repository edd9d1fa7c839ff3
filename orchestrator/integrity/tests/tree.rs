//! The tree against a naive one, the vectors of Certificate Transparency, and the layout of tlog-tiles.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::convert::Infallible;

use cathedral_integrity::tile::{bundle_path, number_path, read_entries, tile_path, width_at, write_entry};
use cathedral_integrity::tree::{
    Edge, Hash, Nodes, empty_root, leaf_hash, node_hash, prove_consistency, prove_inclusion, root_at,
    verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

struct Flat(Vec<Hash>);

impl Nodes for Flat {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
        let start = (index << level) as usize;
        Ok(mth(&self.0[start..start + (1 << level)]))
    }
}

/// MTH of RFC 6962, section 2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let k = split(leaves.len());
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// PATH of section 2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (mut inner, outer) =
        if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
    inner.push(outer);
    inner
}

/// SUBPROOF of section 2.1.2.
fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (mut inner, outer) = if m <= k {
        (subproof(m, &leaves[..k], known), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    inner.push(outer);
    inner
}

fn leaves(n: usize) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// The leaves and roots of the reference implementation's tests.
#[test]
fn known_roots_of_certificate_transparency() {
    let entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut edge = Edge::default();
    assert_eq!(hex::encode(edge.root()), roots[0]);
    for (entry, root) in entries.iter().zip(&roots[1..]) {
        edge.push(leaf_hash(&hex::decode(entry).unwrap()));
        assert_eq!(hex::encode(edge.root()), *root);
    }
}

/// The inclusion and consistency vectors of the same tests.
#[test]
fn known_proofs_of_certificate_transparency() {
    let entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let tree = Flat(entries.iter().map(|e| leaf_hash(&hex::decode(e).unwrap())).collect());
    let show = |proof: Vec<Hash>| proof.iter().map(hex::encode).collect::<Vec<_>>();
    let Ok(inclusion) = prove_inclusion(&tree, 0, 8);
    assert_eq!(
        show(inclusion.unwrap()),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    let Ok(consistency) = prove_consistency(&tree, 6, 8);
    assert_eq!(
        show(consistency.unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_size_up_to_600_has_the_root_of_the_definition() {
    let tree = Flat(leaves(600));
    let mut edge = Edge::default();
    for size in 0..=600 {
        assert_eq!(edge.root(), mth(&tree.0[..size]));
        let Ok(root) = root_at(&tree, size as u64);
        assert_eq!(root, edge.root());
        if size < 600 {
            edge.push(tree.0[size]);
        }
    }
}

/// Small trees completely: each proof is the one of the definition, and no other index, size or root passes.
#[test]
fn all_proofs_of_small_trees() {
    let tree = Flat(leaves(40));
    let roots: Vec<Hash> = (0..=40).map(|n| mth(&tree.0[..n])).collect();
    for n in 1..=40_usize {
        for m in 0..n {
            let Ok(proof) = prove_inclusion(&tree, m as u64, n as u64);
            let proof = proof.unwrap();
            assert_eq!(proof, path(m, &tree.0[..n]));
            for other in 0..=n {
                let ok = verify_inclusion(&tree.0[m], other as u64, n as u64, &proof, &roots[n]);
                assert_eq!(ok, other == m, "leaf {m} shown as {other} of {n}");
            }
        }
        for m in 0..=n {
            let Ok(proof) = prove_consistency(&tree, m as u64, n as u64);
            let proof = proof.unwrap();
            if m > 0 {
                assert_eq!(proof, subproof(m, &tree.0[..n], true));
            }
            for other in 0..=n {
                let ok = verify_consistency(m as u64, &roots[other], n as u64, &roots[n], &proof);
                assert_eq!(ok, other == m, "{m} of {n} with the root of {other}");
            }
        }
        let Ok(none) = prove_inclusion(&tree, n as u64, n as u64);
        assert!(none.is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn proofs_of_any_size_up_to_600(size in 1_usize..=600, a in any::<prop::sample::Index>(), bit in any::<u16>()) {
        let tree = Flat(leaves(size));
        let root = mth(&tree.0);
        let m = a.index(size);
        let Ok(proof) = prove_inclusion(&tree, m as u64, size as u64);
        let mut proof = proof.unwrap();
        prop_assert_eq!(&proof, &path(m, &tree.0));
        prop_assert!(verify_inclusion(&tree.0[m], m as u64, size as u64, &proof, &root));
        if !proof.is_empty() {
            let at = usize::from(bit) % (proof.len() * 256);
            proof[at / 256][at / 8 % 32] ^= 1 << (at % 8);
            prop_assert!(!verify_inclusion(&tree.0[m], m as u64, size as u64, &proof, &root));
            proof.pop();
            prop_assert!(!verify_inclusion(&tree.0[m], m as u64, size as u64, &proof, &root));
        }

        let old = m + 1;
        let old_root = mth(&tree.0[..old]);
        let Ok(proof) = prove_consistency(&tree, old as u64, size as u64);
        let mut proof = proof.unwrap();
        prop_assert_eq!(&proof, &subproof(old, &tree.0, true));
        prop_assert!(verify_consistency(old as u64, &old_root, size as u64, &root, &proof));
        if !proof.is_empty() {
            let at = usize::from(bit) % (proof.len() * 256);
            proof[at / 256][at / 8 % 32] ^= 1 << (at % 8);
            prop_assert!(!verify_consistency(old as u64, &old_root, size as u64, &root, &proof));
        }
    }

    #[test]
    fn verifying_any_numbers_ends(index in any::<u64>(), size in any::<u64>(), n in 0_usize..70, seed in any::<u64>()) {
        let proof: Vec<Hash> = (0..n).map(|i| leaf_hash(&[i as u8])).collect();
        let hash = leaf_hash(&seed.to_be_bytes());
        prop_assert!(!verify_inclusion(&hash, index, size, &proof, &empty_root()));
        let _ = verify_consistency(index, &hash, size, &hash, &proof);
    }
}

#[test]
fn numbers_and_paths_are_those_of_tlog_tiles() {
    for (n, expect) in [
        (0, "000"),
        (7, "007"),
        (999, "999"),
        (1000, "x001/000"),
        (1_234_067, "x001/x234/067"),
        (u64::MAX, "x018/x446/x744/x073/x709/x551/615"),
    ] {
        assert_eq!(number_path(n), expect);
    }
    assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(tile_path(2, 0, 7), "tile/2/000.p/7");
    assert_eq!(bundle_path(274, 14), "tile/entries/274.p/14");
    // The example of the specification: a tree of 70,000 entries.
    assert_eq!((width_at(0, 272, 70_000), width_at(0, 273, 70_000), width_at(0, 274, 70_000)), (256, 112, 0));
    assert_eq!((width_at(1, 0, 70_000), width_at(1, 1, 70_000)), (256, 17));
    assert_eq!((width_at(2, 0, 70_000), width_at(3, 0, 70_000)), (1, 0));
}

#[test]
fn bundles_are_entries_with_a_two_byte_length() {
    let mut bundle = Vec::new();
    for entry in [&b"abc"[..], b"", &[7; 300]] {
        write_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(&bundle[..7], b"\x00\x03abc\x00\x00");
    assert_eq!(read_entries(&bundle).unwrap(), [&b"abc"[..], b"", &[7; 300]]);
    assert!(read_entries(&bundle[..bundle.len() - 1]).is_none());
    assert!(write_entry(&mut bundle, &vec![0; 65_536]).is_err());
}

#[test]
fn the_files_of_a_log_are_those_of_tlog_tiles() {
    let home = common::Home::new();
    home.fill_fast(0, 600);
    let mut names: Vec<String> =
        common::files(&home.log()).iter().map(|f| f.display().to_string()).filter(|f| !f.starts_with("wal/")).collect();
    let expect = [
        "checkpoint",
        "index",
        "lock",
        "statements/000",
        "statements/001",
        "statements/002",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ];
    // Partial files of earlier publications may stay beside the newest.
    names.retain(|f| !f.contains(".p/") || expect.contains(&f.as_str()));
    assert_eq!(names, expect);
    let hashes = std::fs::read(home.log().join("tile/0/000")).unwrap();
    let bundle = std::fs::read(home.log().join("tile/entries/000")).unwrap();
    let entries = read_entries(&bundle).unwrap();
    assert_eq!(entries.len(), 256);
    let expect: Vec<u8> = entries.iter().flat_map(|e| leaf_hash(e)).collect();
    assert_eq!(hashes, expect);
}
