//! Random histories: nothing that a side held at a sync is ever lost, and quiet sides become equal.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cathedral_model::ids::Digest;
use cathedral_model::plan::{Answer, Choice};
use cathedral_model::ports::Content;

use crate::common::*;

/// A small generator; the seed alone replays a history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn clear(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// Does something to a tree; each write carries a token of its own.
fn act(root: &Path, dice: &mut Dice, token: &mut u64) {
    let names = ["a", "b", "c", "d"];
    let depth = 1 + dice.roll(3);
    let path: Vec<_> = (0..depth).map(|_| names[dice.roll(4) as usize]).collect();
    let path = root.join(path.join("/"));
    let parent = path.parent().unwrap();
    let make_parent = || {
        if fs::create_dir_all(parent).is_err() {
            for above in path.ancestors().skip(1).take_while(|above| above.starts_with(root) && *above != root) {
                if fs::symlink_metadata(above).is_ok_and(|meta| !meta.is_dir()) {
                    clear(above);
                }
            }
            fs::create_dir_all(parent).unwrap();
        }
    };
    match dice.roll(12) {
        0..=5 => {
            make_parent();
            if path.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
                clear(&path);
            }
            *token += 1;
            fs::write(&path, format!("token {token}\0")).unwrap();
        }
        6..=7 => clear(&path),
        8 => {
            make_parent();
            if fs::symlink_metadata(&path).is_err() {
                symlink(format!("to {}", dice.roll(3)), &path).unwrap();
            }
        }
        9 => {
            let other = root.join(names[dice.roll(4) as usize]);
            let _ = fs::rename(&path, other);
        }
        10 => {
            if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_symlink()) {
                chmod(
                    root,
                    path.strip_prefix(root).unwrap().to_str().unwrap(),
                    [0o700, 0o755, 0o750][dice.roll(3) as usize],
                );
            }
        }
        _ => {
            make_parent();
            let _ = fs::create_dir(&path);
        }
    }
}

fn tokens(root: &Path) -> BTreeSet<Digest> {
    let files = listing(root).into_keys().map(|path| root.join(path));
    let files = files.filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()));
    // Nobody writes empty files here: such a one is a stage that a crash left.
    files
        .map(|path| fs::read(path).unwrap())
        .filter(|bytes| !bytes.is_empty())
        .map(|bytes| Digest::of(&bytes))
        .collect()
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let mut pair = Pair::new();
    let mut token = 0;
    for _ in 0..5 {
        for root in [pair.hub.clone(), pair.spoke.clone()] {
            for _ in 0..dice.roll(8) {
                act(&root, &mut dice, &mut token);
            }
        }
        pair.run += 1;
        let held = live(&pair);
        let plan = pair.plan();
        if dice.roll(3) == 0 {
            let (hook, _) = stop_after(dice.roll(60) as usize);
            let _ = pair.apply_with(&pair.hooked(hook), &plan);
        } else {
            pair.apply(&plan);
        }
        assert_kept(&pair, &held, seed);
    }
    // A person answers everything; then both sides are equal and stay so.
    for _ in 0..8 {
        pair.run += 1;
        let held = live(&pair);
        let plan = pair.plan();
        let applied = pair.apply(&plan);
        assert_eq!(applied.skipped, [], "seed {seed}");
        assert_kept(&pair, &held, seed);
        pair.directives.clear();
        if plan.conflicts.is_empty() && plan.actions.is_empty() {
            break;
        }
        for draft in &plan.conflicts {
            let choice = if dice.roll(2) == 0 { Choice::Hub } else { Choice::Spoke };
            pair.answer(draft, Answer::Take(choice));
        }
    }
    assert_eq!(listing(&pair.hub), listing(&pair.spoke), "seed {seed}");
    let before = (traces(&pair.hub), traces(&pair.spoke));
    pair.run += 1;
    let plan = pair.plan();
    pair.apply(&plan);
    assert_eq!((traces(&pair.hub), traces(&pair.spoke)), before, "seed {seed}");
}

fn live(pair: &Pair) -> BTreeSet<Digest> {
    tokens(&pair.hub).union(&tokens(&pair.spoke)).copied().collect()
}

/// What either side held before a sync is on a side or in the store after it.
fn assert_kept(pair: &Pair, held: &BTreeSet<Digest>, seed: u64) {
    let now = live(pair);
    for token in held.difference(&now) {
        assert!(pair.content.has(token).unwrap(), "seed {seed}: a content is lost");
    }
}

#[test]
fn no_content_is_lost_in_random_histories_with_crashes() {
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || (0..40).for_each(|i| run(part * 40 + i)));
        }
    });
}
