//! What goes in comes out.

use cathedral_backup::LocalVault;
use cathedral_model::ports::Vault as _;

use crate::samples::everything;
use crate::support::{World, as_read, give_back, meta, take, wait};

#[test]
fn everything_comes_back_with_its_bytes_and_its_root() {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let parts = everything();
    let info = take(&vault, &meta(1), &parts).unwrap();
    assert_eq!(wait(vault.list()).unwrap(), vec![info.clone()]);
    assert_eq!(give_back(&vault, &info).unwrap(), as_read(&parts));

    // A process that knows nothing but the key file and one destination gives back the same.
    let cold = LocalVault::open_with_key(world.destinations(), &world.keys().join("hub.key")).unwrap();
    let again = wait(cold.snapshot(&info.meta.id)).unwrap();
    assert_eq!((again.root, &again.manifest_sha256), (info.root, &info.manifest_sha256));
    assert_eq!(give_back(&cold, &again).unwrap(), as_read(&parts));
}

#[test]
fn an_unchanged_second_snapshot_stores_nothing_but_its_manifest() {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let parts = everything();
    let first = take(&vault, &meta(1), &parts).unwrap();
    let before = world.objects("one");
    let mut parts = parts;
    if let Some(crate::support::Content::Git { packs, .. }) =
        parts.get_mut(&("grimoire".into(), cathedral_model::ecosystem::Side::Hub))
    {
        packs.clear();
    }
    let second = take(&world.open(), &meta(2), &parts).unwrap();
    assert_eq!((second.root, second.bytes.new, second.bytes.stored), (first.root, 0, 0));
    assert_eq!(second.parent, Some(first.meta.id));
    let added: Vec<_> = world.objects("one").into_iter().filter(|o| !before.contains(o)).collect();
    assert_eq!(added, vec![format!("snapshots/{}.age", second.meta.id)]);
    assert_eq!(give_back(&vault, &second).unwrap(), as_read(&everything()));
}
