//! Where things stand on this machine and elsewhere: nothing twice, nothing inside what it is copied into,
//! nothing in the hub's own state, and nothing outside the ecosystem's folder by a slip.

use std::collections::BTreeMap;

use super::address::GitUrl;
use super::ecosystem::Ecosystem;
use super::names::Glob;
use super::problem::Wrong;
use super::read::{Cx, Seg};
use super::scalar::Scalar as _;

/// Reports places that do not fit together.
pub fn check_places(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let spots = spots(ecosystem, cx);
    let root = place(".", cx);
    for spot in &spots {
        check_spot(spot, &root, cx);
    }
    check_overlaps(ecosystem, &spots, cx);
    check_repositories(ecosystem, cx);
    if !ecosystem.egress.local_paths {
        let outside = spots.iter().filter(|spot| !spot.place.starts_with(&root) && spot.kind != Kind::Hub);
        for spot in outside {
            let wrong = Wrong::new(
                "impossible_combination",
                "a path outside the ecosystem's folder stands here, but `egress.local_paths` is false",
            )
            .hint("a path inside of it, an address on another machine, or `local_paths: true`");
            cx.report_path(&spot.key, wrong);
        }
    }
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A folder that is synchronised as files.
    Tree,
    Database,
    Repository,
    /// The hub's own repository.
    Hub,
    Backup,
}

/// A key that names a place on this machine.
struct Spot {
    key: Vec<Seg>,
    kind: Kind,
    /// The names along the absolute path.
    place: Vec<String>,
    /// The hub's own copy of something.
    is_hub_side: bool,
    /// Written as a relative path.
    is_relative: bool,
    /// The name of the spoke or destination.
    owner: String,
    /// Its place in its list.
    index: usize,
}

fn key(list: &'static str, index: usize, key: &'static str) -> Vec<Seg> {
    vec![list.into(), index.into(), key.into()]
}

fn spots(ecosystem: &Ecosystem, cx: &Cx<'_>) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut add = |key: Vec<Seg>, kind, path: &str, is_hub_side, owner: &str, index| {
        if !path.is_empty() {
            let place = place(path, cx);
            let is_relative = !path.starts_with('/');
            spots.push(Spot { key, kind, place, is_hub_side, is_relative, owner: owner.to_owned(), index });
        }
    };
    if let Some(path) = ecosystem.hub.url.local_path() {
        add(vec!["hub".into(), "url".into()], Kind::Hub, path, false, ecosystem.master_repository.as_str(), 0);
    }
    for (index, repository) in ecosystem.connected_repositories.iter().enumerate() {
        let name = repository.name.as_str();
        if let Some(path) = repository.url.as_ref().and_then(|url| url.local_path()) {
            add(key("connected_repositories", index, "url"), Kind::Repository, path, false, name, index);
        }
        for (number, mirror) in repository.mirrors.iter().enumerate() {
            let mut key = key("connected_repositories", index, "mirrors");
            key.extend([number.into(), "url".into()]);
            if let Some(path) = mirror.url.local_path() {
                add(key, Kind::Repository, path, false, name, index);
            }
        }
    }
    for (index, database) in ecosystem.connected_databases.iter().enumerate() {
        for (side, url) in [("hub", &database.hub), ("url", &database.url)] {
            if let Some(path) = url.sqlite_path() {
                let key = key("connected_databases", index, side);
                add(key, Kind::Database, path, side == "hub", database.name.as_str(), index);
            }
        }
    }
    for (index, tree) in ecosystem.connected_files.iter().enumerate() {
        add(key("connected_files", index, "hub"), Kind::Tree, tree.hub.as_str(), true, tree.name.as_str(), index);
        for (number, path) in tree.paths.iter().enumerate().filter(|(_, path)| !path.as_str().contains("://")) {
            let mut key = key("connected_files", index, "paths");
            key.push(number.into());
            add(key, Kind::Tree, path.as_str(), false, tree.name.as_str(), index);
        }
    }
    for (number, destination) in ecosystem.backup.destinations.iter().enumerate() {
        if let Some(path) = destination.url.local_path() {
            let key = vec!["backup".into(), "destinations".into(), number.into(), "url".into()];
            add(key, Kind::Backup, path, false, destination.name.as_str(), number);
        }
    }
    spots
}

/// The names along the absolute path of what a key says; links are followed where the caller can tell.
pub(super) fn place(path: &str, cx: &Cx<'_>) -> Vec<String> {
    match cx.env.place(path) {
        Some(real) => parts(&real),
        None if path.starts_with('/') => parts(path),
        // The folder is not known: one deep enough that `..` stays apart from it.
        None => parts(&format!("{}/{path}", "/?".repeat(8))),
    }
}

/// The names along a path, without `.`, empty parts and `name/..`.
pub(super) fn parts(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    if path.starts_with('/') {
        parts.push("/".to_owned());
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| last != ".." && last != "/") => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

/// The kind of file system in which nothing can be kept, by the place itself or by what stands there.
fn no_storage(spot: &Spot, cx: &Cx<'_>) -> Option<&'static str> {
    let names: Vec<&str> = spot.place.iter().map(String::as_str).take(3).collect();
    match names[..] {
        ["/", "proc", ..] => Some("proc"),
        ["/", "sys", ..] => Some("sysfs"),
        ["/", "dev", "shm"] if spot.place.len() > 3 => None,
        ["/", "dev", ..] => Some("devices"),
        _ => cx.env.pseudo(&format!("/{}", spot.place.get(1..).unwrap_or_default().join("/"))),
    }
}

/// What is wrong with a place by itself.
fn check_spot(spot: &Spot, root: &[String], cx: &mut Cx<'_>) {
    if let Some(kind) = no_storage(spot, cx) {
        let wrong = Wrong::new(
            "no_storage",
            format!("nothing can be kept here: this is a view of the system ({kind}), no storage"),
        )
        .why("what stands there is made up while it is read, differs each time, and writing to it changes the machine")
        .hint(format!(
            "a folder on a disk, such as /srv/{}",
            if spot.owner.is_empty() { "media" } else { &spot.owner }
        ));
        cx.report_path(&spot.key, wrong);
        return;
    }
    if matches!(spot.kind, Kind::Hub | Kind::Backup) {
        return;
    }
    let is_inside = |name: &str| spot.place.iter().any(|part| part == name);
    let what = match spot.kind {
        Kind::Tree => "folder",
        Kind::Database => "database",
        _ => "repository",
    };
    if is_inside(".cathedral") {
        let wrong = Wrong::new("inside_state", format!("this {what} lies in the state of a hub (.cathedral)"))
            .why("keys, log and snapshots stand there; nothing else may write in it, and nothing of it may leave")
            .hint(format!("a place of its own, such as data/{}", spot.owner));
        cx.report_path(&spot.key, wrong);
    } else if spot.kind != Kind::Repository && is_inside(".git") {
        let wrong = Wrong::new("inside_git", format!("this {what} lies in git's own folder (.git)"))
            .why("what is put there can be run as a program")
            .hint(format!("a place of its own, such as data/{}", spot.owner));
        cx.report_path(&spot.key, wrong);
    } else if spot.kind == Kind::Tree && root.starts_with(&spot.place) {
        let wrong = Wrong::new("holds_hub", "this folder holds the hub itself")
            .why("its keys, state and snapshots would be copied as files, and written over")
            .hint("a folder inside of it, or beside it");
        cx.report_path(&spot.key, wrong);
    } else if spot.is_hub_side && spot.is_relative && !spot.place.starts_with(root) {
        let wrong = Wrong::new("outside_ecosystem", "the hub's own copy would stand outside the ecosystem's folder")
            .why(
                "`..` reaches what belongs to others, and the hub writes there; an absolute path says that it is meant",
            )
            .hint(format!("data/{}, or an absolute path", spot.owner));
        cx.report_path(&spot.key, wrong);
    }
}

/// Places of which one is, or is inside, another.
fn check_overlaps(ecosystem: &Ecosystem, spots: &[Spot], cx: &mut Cx<'_>) {
    let mut order: Vec<usize> = (0..spots.len()).filter(|i| spots[*i].kind != Kind::Hub).collect();
    order.sort_by(|a, b| (&spots[*a].place, a).cmp(&(&spots[*b].place, b)));
    // The folders around the one at hand, outermost first.
    let mut around: Vec<usize> = Vec::new();
    for inner in order {
        while around.last().is_some_and(|outer| !spots[inner].place.starts_with(&spots[*outer].place)) {
            around.pop();
        }
        let outer = around.iter().rev().find(|outer| meets(ecosystem, &spots[**outer], &spots[inner])).copied();
        if let Some(outer) = outer {
            tell_overlap(&spots[outer], &spots[inner], cx);
        }
        // A place is remembered once, however many keys name it.
        let is_known = |outer: &usize| {
            spots[*outer].place.len() == spots[inner].place.len() && spots[*outer].kind == spots[inner].kind
        };
        if !around.iter().rev().take(4).any(is_known) {
            around.push(inner);
        }
    }
}

/// Whether two places, of which the second is inside of or equal to the first, cannot both be used.
fn meets(ecosystem: &Ecosystem, outer: &Spot, inner: &Spot) -> bool {
    let is_one = outer.place == inner.place;
    match (outer.kind, inner.kind) {
        (Kind::Tree, Kind::Tree | Kind::Backup) | (Kind::Backup, Kind::Tree) => true,
        (Kind::Tree, Kind::Database) => !is_ignored(ecosystem, outer, inner),
        // A folder of a repository may be synchronised as files, the repository itself may not.
        (Kind::Tree, Kind::Repository) | (Kind::Repository, Kind::Tree) => is_one,
        // Told by the checks of databases, repositories and destinations.
        _ => false,
    }
}

/// Whether the folder leaves a file alone, as far as that is plain to see.
fn is_ignored(ecosystem: &Ecosystem, tree: &Spot, file: &Spot) -> bool {
    let Some(name) = file.place.last() else { return false };
    let owner = ecosystem.connected_files.get(tree.index);
    let covers = |glob: &Glob| match glob.as_str().strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => glob.as_str().rsplit('/').next() == Some(name.as_str()),
    };
    owner.is_some_and(|files| files.ignore.iter().any(covers))
}

fn tell_overlap(outer: &Spot, inner: &Spot, cx: &mut Cx<'_>) {
    let is_one = outer.place == inner.place;
    // A folder is told rather than a destination, and the later of two folders rather than the earlier.
    let is_outer = inner.kind == Kind::Backup || (outer.kind == Kind::Tree && inner.kind == Kind::Database);
    let (told, other) = if is_outer { (outer, inner) } else { (inner, outer) };
    let name = cx.named(&other.key);
    let thing = match other.kind {
        Kind::Tree => "folder",
        Kind::Database => "database",
        Kind::Backup => "destination",
        _ => "repository",
    };
    let what = match (is_one, is_outer) {
        (true, _) => format!("this is the {thing} of {name}"),
        (false, false) => format!("this folder lies inside the {thing} of {name}"),
        (false, true) => format!("this folder holds the {thing} of {name}"),
    };
    let why = match other.kind {
        Kind::Tree if told.index == other.index => "a file would be its own counterpart",
        Kind::Tree => "two spokes would write the same files",
        Kind::Backup => "each snapshot would hold the snapshots before it",
        Kind::Database => "a database copied as a file while it is written is torn",
        _ => "a repository is synchronised by its refs, not by its files",
    };
    let hint = match other.kind {
        Kind::Database => "a folder without the database, or its name under `ignore`",
        _ => "two places of which neither is inside the other",
    };
    cx.report_path(&told.key, Wrong::new("overlap", what).why(why).hint(hint));
}

/// Each repository is one spoke, and none is the hub.
fn check_repositories(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let mut first: BTreeMap<Vec<String>, (Vec<Seg>, usize)> = BTreeMap::new();
    let hub = address(&ecosystem.hub.url, cx);
    for (index, repository) in ecosystem.connected_repositories.iter().enumerate() {
        let own = repository.url.iter().map(|url| (key("connected_repositories", index, "url"), address(url, cx)));
        let mirrors = repository.mirrors.iter().enumerate().map(|(number, mirror)| {
            let mut key = key("connected_repositories", index, "mirrors");
            key.extend([number.into(), "url".into()]);
            (key, address(&mirror.url, cx))
        });
        let addresses: Vec<_> = own.chain(mirrors).collect();
        for (key, address) in addresses {
            if address == hub {
                let hub_key: [Seg; 2] = ["hub".into(), "url".into()];
                let what = format!("this is the address of the hub itself, {}", cx.named(&hub_key));
                let wrong = Wrong::new("hub_as_spoke", what).why("the hub cannot be its own spoke");
                cx.report_path(&key, wrong.hint("the address of the spoke"));
                continue;
            }
            match first.get(&address) {
                Some((_, other)) if *other == index => {
                    let wrong = Wrong::new("mirror_of_itself", "this address stands in this spoke already")
                        .why("a mirror is another remote");
                    cx.report_path(&key, wrong.hint("the address of the other remote"));
                }
                Some((other, _)) => {
                    let what = format!("this repository is declared already, as {}", cx.named(other));
                    let wrong = Wrong::new("same_repository", what)
                        .why("two spokes would write the same branches")
                        .hint("one entry for each repository; it may have `shared_paths` and `mirrors` of its own");
                    cx.report_path(&key, wrong);
                }
                None => {
                    first.insert(address, (key, index));
                }
            }
        }
    }
}

/// An address in one form, so that two ways to write it are equal.
fn address(url: &GitUrl, cx: &Cx<'_>) -> Vec<String> {
    if let Some(path) = url.local_path() {
        let mut place = place(path, cx);
        if place.last().is_some_and(|last| last == ".git") {
            place.pop();
        }
        return place;
    }
    let text = url.text();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest.to_owned()),
        // `git@host:path` begins in the home folder of the user, unless the path begins with `/`.
        None => ("ssh".to_owned(), text.replacen(":/", "/", 1).replacen(':', "/~/", 1)),
    };
    let (host, path) = rest.split_once('/').unwrap_or((&rest, ""));
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => ":22",
    };
    let host = host.to_ascii_lowercase();
    let mut address = vec![scheme, host.strip_suffix(port).unwrap_or(&host).to_owned()];
    let path = path.trim_end_matches('/');
    address.extend(parts(path.strip_suffix(".git").unwrap_or(path)));
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_forgets_detours() {
        assert_eq!(parts("./a//b/../c/"), ["a", "c"]);
        assert_eq!(parts("/srv/../../x"), ["/", "..", "x"]);
        assert_eq!(parts("../x"), ["..", "x"]);
    }
}
