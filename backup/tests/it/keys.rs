//! Key files that are not the right one say what they are and which one is needed.

use cathedral_backup::LocalVault;
use cathedral_model::ports::Cause;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::support::{Parts, RealEnv, World, meta, take};

const NEEDED: &str = "hub.key from .cathedral/keys of the lost hub";

/// Files that people take for the key, with what is said of them.
fn mistaken(world: &World) -> Vec<(&'static str, &'static str)> {
    let dir = world.dir.path();
    let sealed = fs::read(world.folder("one").join("keys/0001.0.age")).unwrap();
    fs::write(dir.join("sealed.age"), sealed).unwrap();
    fs::copy(world.keys().join("signing.key"), dir.join("signing.key")).unwrap();
    fs::write(dir.join("notes.txt"), "remember the milk\n").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    let public = format!("# public\nage1{}\n", "q".repeat(58));
    fs::write(dir.join("public"), public).unwrap();
    vec![
        ("sealed.age", "is itself encrypted"),
        ("signing.key", "is a signing key"),
        ("notes.txt", "holds no age identity"),
        ("empty", "is empty"),
        ("public", "holds a public key"),
    ]
}

#[test]
fn a_file_that_is_no_key_is_named_with_what_it_is_and_what_is_needed() {
    let world = World::new(&["one"], 1);
    for (file, what) in mistaken(&world) {
        let path = world.dir.path().join(file);
        let error = LocalVault::open_with_key(world.destinations(), &path).err().expect("no key");
        let text = error.to_string();
        assert_eq!(error.cause(), Cause::Key);
        assert!(
            text.contains(path.to_str().unwrap()) && text.contains(what) && text.contains(NEEDED),
            "{file}: {text}"
        );
        let output = Command::new("dash").arg(world.folder("one").join("recover.sh")).arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(said.contains(file) && said.contains(what) && said.contains(NEEDED), "{file}: {said}");
    }
    // The key of another vault is a key, and opens nothing here.
    let other = World::new(&["one"], 1);
    let path = other.keys().join("hub.key");
    let text = LocalVault::open_with_key(world.destinations(), &path).err().expect("another's").to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("opens none of the keys"), "{text}");
    assert!(text.contains("destination one"), "{text}");
    let output = Command::new("dash").arg(world.folder("one").join("recover.sh")).arg(&path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hub.key") && said.contains("opens none of the keys") && said.contains(NEEDED), "{said}");
}

#[test]
fn opening_with_the_hubs_keys_names_the_file_that_is_missing_or_wrong() {
    let open = |keys: &Path, world: &World| {
        LocalVault::open(keys, world.destinations(), 1, &world.cache(), Arc::new(RealEnv)).err().expect("no vault")
    };
    let world = World::new(&["one"], 1);
    let nowhere = world.dir.path().join("nowhere");
    let text = open(&nowhere, &world).to_string();
    assert!(text.contains(nowhere.to_str().unwrap()) && text.contains("no vault was made here"), "{text}");
    for name in ["hub.key", "signing.key", "vault-0001.0.age", "cathedral-vault.json"] {
        let path = world.keys().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let error = open(&world.keys(), &world);
        let text = error.to_string();
        assert_eq!(error.cause(), Cause::Key, "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains("is missing"), "{text}");
        assert!(!text.contains("no vault was made here"), "the other files say that there was one: {text}");
        fs::write(&path, "something else\n").unwrap();
        let text = open(&world.keys(), &world).to_string();
        assert!(text.contains(path.to_str().unwrap()), "{name}: {text}");
        fs::write(&path, bytes).unwrap();
    }
    LocalVault::open(&world.keys(), world.destinations(), 1, &world.cache(), Arc::new(RealEnv)).expect("all is back");
}

#[test]
fn recover_takes_a_beginning_of_an_id_and_the_word_latest() {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let first = take(&vault, &meta(1), &tiny()).unwrap();
    let last = take(&vault, &meta(2), &tiny()).unwrap();
    let key = world.keys().join("hub.key");
    let run = |snapshot: &str, to: &str| {
        let script = world.folder("one").join("recover.sh");
        Command::new("dash").arg(script).arg(&key).arg(snapshot).arg(world.dir.path().join(to)).output().unwrap()
    };
    let (a, b) = (first.meta.id.as_str(), last.meta.id.as_str());
    let apart = a.bytes().zip(b.bytes()).position(|(x, y)| x != y).expect("two ids");
    for (at, (asked, full)) in
        [(&a[..=apart], a), (&b[..=apart].to_lowercase(), b), ("latest", b), (a, a)].into_iter().enumerate()
    {
        let output = run(asked, &format!("out{at}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(&format!("restored snapshot {full}")), "{asked}: {said}");
    }
    for (asked, why) in [
        (&a[..apart], "begins more than one snapshot"),
        ("7ZZZ", "no snapshot"),
        ("", "is not valid"),
        ("../x", "is not valid"),
        ("*", "is not valid"),
    ] {
        let output = run(asked, "not");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{asked}: {said}");
        assert!(!world.dir.path().join("not").exists(), "{asked}");
    }
}

fn tiny() -> Parts {
    Parts::from([(("media".into(), cathedral_model::ecosystem::Side::Hub), crate::samples::tree())])
}
