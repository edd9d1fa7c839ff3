//! Looking into a snapshot.

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::SpokeName;
use cathedral_model::snapshot::PartKey;
use std::io::{self, Write};

use crate::samples::everything;
use crate::support::{World, meta, take};

/// A reader that has gone away, or a disk that is full.
struct Ends(io::ErrorKind);

impl Write for Ends {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure_and_a_full_disk_is_one() {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let parts = everything();
    let info = take(&vault, &meta(1), &parts).unwrap();
    let mut seen = 0;
    for (name, side) in parts.keys() {
        let key = PartKey { spoke: SpokeName::new(name).unwrap(), side: *side };
        for entry in vault.ls(&info.meta.id, &key, b"").unwrap() {
            let mut whole = vec![];
            if vault.cat(&info.meta.id, &key, &entry.path, &mut whole).is_err() || whole.is_empty() {
                continue;
            }
            seen += 1;
            let cat = |kind| vault.cat(&info.meta.id, &key, &entry.path, &mut Ends(kind));
            cat(io::ErrorKind::BrokenPipe).unwrap();
            assert!(cat(io::ErrorKind::StorageFull).is_err());
        }
    }
    assert!(seen > 3 && parts.keys().any(|(_, side)| *side == Side::Hub), "{seen} contents of three kinds");
}
