//! What every destination must do, whatever stands behind it.

use cathedral_model::ports::destination::Put;
use cathedral_model::ports::{Cause, Destination, PortError};
use std::sync::Arc;

/// Runs the whole suite; `make` gives a destination that is empty but for what it needs itself.
///
/// # Panics
/// When the contract is broken.
pub fn check(make: &dyn Fn() -> Arc<dyn Destination>) {
    what_is_put_is_there(make().as_ref());
    a_name_is_written_once(make().as_ref());
    ranges_end_with_the_object(make().as_ref());
    what_is_missing_says_so(make().as_ref());
    lists_are_sorted_and_stay_below_their_prefix(make().as_ref());
    names_that_lead_elsewhere_are_refused(make().as_ref());
    deleting_twice_is_no_error(make().as_ref());
    side_by_side_one_put_wins(&make());
}

fn what_is_put_is_there(place: &dyn Destination) {
    for (object, bytes) in [("packs/00/a.age", vec![]), ("packs/00/b.age", vec![7; 200_000]), ("top.json", vec![1])] {
        assert_eq!(place.put(object, &bytes).expect("put"), Put::Stored, "{object}");
        assert_eq!(place.get(object).expect("get"), bytes, "{object}");
        assert_eq!(place.size(object).expect("size"), Some(bytes.len() as u64), "{object}");
    }
}

fn a_name_is_written_once(place: &dyn Destination) {
    place.put("index/one.age", b"first").expect("put");
    assert_eq!(place.put("index/one.age", b"first").expect("put again"), Put::AlreadyThere);
    let longer = place.put("index/one.age", b"longer than before");
    assert!(matches!(longer, Err(PortError::Corrupt(_))), "another size under the same name: {longer:?}");
    assert_eq!(place.get("index/one.age").expect("get"), b"first", "nothing is ever overwritten");
}

fn ranges_end_with_the_object(place: &dyn Destination) {
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    place.put("packs/aa/range.age", &bytes).expect("put");
    for (offset, len) in [(0, 1), (0, 10_000), (9_990, 100), (5_000, 0), (10_000, 5), (20_000, 5), (255, 257)] {
        let end = (offset + len).min(10_000);
        let expect = bytes.get(offset..end).unwrap_or_default();
        let got = place.get_range("packs/aa/range.age", offset as u64, len as u64).expect("range");
        assert_eq!(got, expect, "{len} bytes from {offset}");
    }
}

fn what_is_missing_says_so(place: &dyn Destination) {
    assert_eq!(place.size("packs/no/thing.age").expect("size"), None);
    for missing in [place.get("packs/no/thing.age"), place.get_range("packs/no/thing.age", 0, 1)] {
        let error = missing.expect_err("nothing is there");
        assert_eq!(error.cause(), Cause::NotFound, "{error}");
        assert!(matches!(error, PortError::Permanent { .. }), "{error}");
    }
    assert_eq!(place.list("packs/no/").expect("list"), vec![]);
}

fn lists_are_sorted_and_stay_below_their_prefix(place: &dyn Destination) {
    let objects =
        ["packs/0a/x.age", "packs/0a.age", "packs/00/z.age", "packs/00/a.age", "packsother/y.age", "index/b.age"];
    for object in objects {
        place.put(object, object.as_bytes()).expect("put");
    }
    let names = |prefix: &str| -> Vec<String> {
        let list = place.list(prefix).expect("list");
        for (object, size) in &list {
            assert_eq!(place.size(object).expect("size"), Some(*size), "{object}");
        }
        list.into_iter().map(|(object, _)| object).collect()
    };
    assert_eq!(names("packs/"), ["packs/00/a.age", "packs/00/z.age", "packs/0a.age", "packs/0a/x.age"]);
    assert_eq!(names("packs/0a/"), ["packs/0a/x.age"]);
    let all = names("");
    assert!(all.is_sorted() && objects.iter().all(|o| all.iter().any(|a| a == o)), "{all:?}");
}

fn names_that_lead_elsewhere_are_refused(place: &dyn Destination) {
    for bad in
        ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".", "./a", "a b", "a\nb", "a\0b", "é", ".hidden", "a\\b"]
    {
        assert!(place.put(bad, b"x").is_err(), "put {bad:?} must be refused");
        assert!(place.get(bad).is_err(), "get {bad:?} must be refused");
        assert!(place.delete(bad).is_err(), "delete {bad:?} must be refused");
    }
}

fn deleting_twice_is_no_error(place: &dyn Destination) {
    place.put("packs/11/gone.age", b"x").expect("put");
    place.delete("packs/11/gone.age").expect("delete");
    place.delete("packs/11/gone.age").expect("delete again");
    assert_eq!(place.size("packs/11/gone.age").expect("size"), None);
    assert_eq!(place.put("packs/11/gone.age", b"xy").expect("put anew"), Put::Stored);
}

fn side_by_side_one_put_wins(place: &Arc<dyn Destination>) {
    let results: Vec<Put> = std::thread::scope(|scope| {
        let put = || scope.spawn(|| place.put("packs/22/race.age", &[5; 50_000]).expect("put"));
        let threads: Vec<_> = (0..4).map(|_| put()).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert_eq!(results.iter().filter(|p| **p == Put::Stored).count(), 1, "{results:?}");
    assert_eq!(place.get("packs/22/race.age").expect("get"), vec![5; 50_000]);
}
