//! What has not changed is not read again, and what may have changed is.

use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ports::Vault as _;
use cathedral_model::ports::vault::Stamp;
use cathedral_model::snapshot::SnapshotInfo;

use crate::support::{Content, World, as_read, begin, file, give_back, key, meta, noise, state, text, wait};

const OLD: i64 = 1_600_000_000_000_000_000;

fn stamp(size: u64, mtime_ns: i64) -> Stamp {
    Stamp { dev: 1, ino: 2, size, mtime_ns, ctime_ns: OLD }
}

/// Takes a snapshot of two files; says which were taken from the cache.
fn take(world: &World, number: u8, contents: [&[u8]; 2], mtime_ns: i64) -> (SnapshotInfo, [bool; 2]) {
    let vault = world.open();
    let writer = begin(&vault, &meta(number)).unwrap();
    let mut sink = writer.part(&key("media", Side::Hub), SpokeKind::Files).unwrap();
    let mut cached = [false; 2];
    for (at, (name, content)) in ["big", "small"].into_iter().zip(contents).enumerate() {
        let (entry, _) = file(name, content);
        let stamp = stamp(content.len() as u64, mtime_ns);
        cached[at] = sink.unchanged(&entry, &stamp).unwrap();
        if !cached[at] {
            let mut content = content;
            sink.entry(&entry, Some(&stamp), Some(&mut content)).unwrap();
        }
    }
    sink.finish(&state(&Content::Files(vec![])), "exact").unwrap();
    (wait(writer.commit()).unwrap(), cached)
}

#[test]
fn a_file_with_the_same_stamp_is_taken_from_the_cache() {
    let world = World::new(&["one"], 1);
    let (big, small) = (noise(1, 400_000), text(2, 900));
    let (first, cached) = take(&world, 1, [&big, &small], OLD);
    assert_eq!(cached, [false, false]);
    let (second, cached) = take(&world, 2, [&big, &small], OLD);
    assert_eq!((cached, second.root, second.bytes.new), ([true, true], first.root, 0));
    let expect = Content::Files(vec![file("big", big.clone()), file("small", small.clone())]);
    let expect = [(("media".to_owned(), Side::Hub), expect)].into();
    assert_eq!(give_back(&world.open(), &second).unwrap(), as_read(&expect));
    // Another size, another mtime: read again.
    let (_, cached) = take(&world, 3, [&big[1..], &small], OLD);
    assert_eq!(cached, [false, true]);
    let (_, cached) = take(&world, 4, [&big[1..], &small], OLD + 1);
    assert_eq!(cached, [false, false]);
    // Without the cache all is read, and still nothing stored twice.
    std::fs::remove_dir_all(world.cache()).unwrap();
    let (last, cached) = take(&world, 5, [&big[1..], &small], OLD + 1);
    assert_eq!((cached, last.bytes.new), ([false, false], 0));
}

#[test]
fn a_file_that_changed_just_now_or_in_the_future_is_never_trusted() {
    let world = World::new(&["one"], 1);
    let content = text(1, 100);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let now = i64::try_from(now).unwrap();
    for (number, mtime) in [(1, now), (3, now - 1_000_000_000), (5, now + 3_600_000_000_000)] {
        take(&world, number, [&content, &content], mtime);
        let (_, cached) = take(&world, number + 1, [&content, &content], mtime);
        assert_eq!(cached, [false, false], "mtime {} ms from now", (mtime - now) / 1_000_000);
    }
}

#[test]
fn equal_contents_are_stored_once_wherever_they_lie() {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let writer = begin(&vault, &meta(1)).unwrap();
    let contents = Content::Files((0..50).map(|i| file(&format!("f{i:02}"), noise(i, 100_000))).collect());
    for side in [Side::Hub, Side::Spoke] {
        let mut sink = writer.part(&key("media", side), SpokeKind::Files).unwrap();
        crate::support::pour(sink.as_mut(), &contents).unwrap();
    }
    let info = wait(writer.commit()).unwrap();
    assert_eq!(info.bytes.logical, 10_000_000);
    assert!(info.bytes.new < 5_100_000, "{} bytes were new", info.bytes.new);
    assert_eq!(wait(vault.list()).unwrap().len(), 1);
}
