//! What no key can tell by itself: things that must differ, fit together, or exist.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::database::DatabasePolicy;
use super::ecosystem::{Config, Ecosystem};
use super::hosts::check_hosts;
use super::names::Name;
use super::nearest::nearest;
use super::notify::check_notifications;
use super::order::check_order;
use super::places::{check_places, parts, place};
use super::problem::Wrong;
use super::read::{Cx, Seg};
use super::repository::{IntegrationType, Repository, Resolver};
use super::scalar::{Frequency, Schedule, Zone};

/// Reports what does not fit together.
pub fn check(config: &Config, cx: &mut Cx<'_>) {
    let ecosystem = &config.cathedral_ecosystem;
    cx.begin_cross_checks();
    spoke_names(ecosystem, cx);
    places_in_hub(ecosystem, cx);
    for (index, repository) in ecosystem.connected_repositories.iter().enumerate() {
        check_repository(repository, index, cx);
    }
    check_order(&ecosystem.connected_repositories, cx);
    databases(ecosystem, cx);
    folders(ecosystem, cx);
    backup(ecosystem, cx);
    chain(&ecosystem.conflicts.chain, &["conflicts".into(), "chain".into()], cx);
    check_places(ecosystem, cx);
    check_hosts(ecosystem, cx);
    check_notifications(ecosystem, cx);
}

/// A path with one item more.
fn with(path: &[Seg], more: impl Into<Seg>) -> Vec<Seg> {
    let mut path = path.to_vec();
    path.push(more.into());
    path
}

fn spoke(list: &'static str, index: usize, key: &'static str) -> Vec<Seg> {
    vec![list.into(), index.into(), key.into()]
}

const REPOSITORIES: &str = "connected_repositories";
const DATABASES: &str = "connected_databases";
const FILES: &str = "connected_files";

/// All spokes with the list and place they stand in.
fn spokes(ecosystem: &Ecosystem) -> impl Iterator<Item = (&'static str, usize, &Name)> {
    let repositories = ecosystem.connected_repositories.iter().enumerate().map(|(i, r)| (REPOSITORIES, i, &r.name));
    let databases = ecosystem.connected_databases.iter().enumerate().map(|(i, d)| (DATABASES, i, &d.name));
    let files = ecosystem.connected_files.iter().enumerate().map(|(i, f)| (FILES, i, &f.name));
    repositories.chain(databases).chain(files)
}

fn spoke_names(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let mut first: HashMap<String, (&str, usize, &Name)> = HashMap::new();
    for (list, index, name) in spokes(ecosystem).filter(|(_, _, name)| !name.as_str().is_empty()) {
        if let Some((other_list, other, earlier)) = first.get(&name.as_str().to_ascii_lowercase()) {
            let place = cx.named(&[(*other_list).into(), (*other).into()]);
            let what = if *earlier == name {
                format!("the name `{name}` is taken by {place}")
            } else {
                format!("the name `{name}` differs from `{earlier}` of {place} in upper and lower case only")
            };
            let wrong =
                Wrong::new("duplicate_name", what).why("commands, conflicts and snapshots tell spokes apart by name");
            cx.report_path(&spoke(list, index, "name"), wrong.hint(format!("another name, such as {name}-2")));
        } else {
            first.insert(name.as_str().to_ascii_lowercase(), (list, index, name));
        }
        if list == REPOSITORIES && *name == ecosystem.master_repository {
            let wrong = Wrong::new("hub_as_spoke", format!("`{name}` is the master repository itself"))
                .why("the hub cannot be its own spoke")
                .hint("remove this entry");
            cx.report_path(&spoke(list, index, "name"), wrong);
        } else if name.as_str().eq_ignore_ascii_case(ecosystem.master_repository.as_str()) {
            // Its part of a snapshot would take the place of the hub's own.
            let what = format!("the name `{name}` is taken by master_repository");
            let wrong = Wrong::new("duplicate_name", what)
                .why("the master repository is in every snapshot under its name, whatever the case of its letters")
                .hint(format!("another name, such as {name}-2"));
            cx.report_path(&spoke(list, index, "name"), wrong);
        }
    }
}

/// Two spokes cannot stand at one place of the hub repository, nor one in the other.
fn places_in_hub(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let mut places = Vec::new();
    for (index, repository) in ecosystem.connected_repositories.iter().enumerate() {
        let is_inside =
            matches!(repository.integration_type, IntegrationType::GitSubmodule | IntegrationType::GitSubtree);
        if is_inside {
            let place = repository.path.as_ref().map_or(repository.name.as_str(), |path| path.as_str());
            places.push((parts(place), index));
        } else if repository.path.is_some() {
            let kind = repository.integration_type;
            let wrong = Wrong::new("impossible_combination", format!("a `{kind}` has no place in the hub repository"))
                .why("only submodules and subtrees stand inside of it")
                .hint("remove `path`, or choose `git_submodule`");
            cx.report_path(&spoke(REPOSITORIES, index, "path"), wrong);
        }
    }
    for ((_, inner), (outer_place, outer)) in overlaps(places) {
        let (a, b) = (&ecosystem.connected_repositories[inner], &ecosystem.connected_repositories[outer]);
        if a.name == b.name || a.name.as_str().is_empty() {
            continue;
        }
        let what = format!("its place in the hub is inside that of `{}` ({})", b.name, outer_place.join("/"));
        let wrong =
            Wrong::new("overlap", what).why("a submodule is another repository; the hub cannot hold files in it");
        cx.report_path(&spoke(REPOSITORIES, inner, "path"), wrong.hint(format!("path: modules/{}", a.name)));
    }
}

type Place = (Vec<String>, usize);

/// Pairs of places of which the first is in, or is, the second; the later one in the file comes first when equal.
fn overlaps(mut places: Vec<Place>) -> Vec<(Place, Place)> {
    places.sort();
    let mut found = Vec::new();
    let mut cover: Option<Place> = None;
    for place in places {
        match &cover {
            Some(outer) if !outer.0.is_empty() && place.0.starts_with(&outer.0) => found.push((place, outer.clone())),
            _ => cover = Some(place),
        }
    }
    found
}

fn check_repository(repository: &Repository, index: usize, cx: &mut Cx<'_>) {
    let at = |key| spoke(REPOSITORIES, index, key);
    if repository.integration_type == IntegrationType::SharedPaths && repository.shared_paths.is_empty() {
        let wrong =
            Wrong::new("impossible_combination", "`shared_paths` is how it is integrated, but no path is named")
                .why("nothing would be synchronised")
                .hint("shared_paths: [{ hub: shared/, spoke: shared/ }]");
        cx.report_path(&at("integration_type"), wrong);
    }
    for side in ["hub", "spoke"] {
        let path = |shared: &super::repository::SharedPath| {
            if side == "hub" { shared.hub.clone() } else { shared.spoke.clone() }
        };
        let places =
            repository.shared_paths.iter().enumerate().map(|(i, shared)| (parts(path(shared).as_str()), i)).collect();
        for ((_, inner), (outer, _)) in overlaps(places) {
            let what = format!("this folder is shared already, as part of {}/", outer.join("/"));
            let wrong =
                Wrong::new("overlap", what).why("one file would have two counterparts").hint("remove one of the two");
            cx.report_path(&with(&with(&at("shared_paths"), inner), side), wrong);
        }
    }
    let mut names = HashSet::new();
    for (number, mirror) in repository.mirrors.iter().enumerate() {
        if !names.insert(&mirror.name) {
            let wrong =
                Wrong::new("duplicate_name", format!("this spoke has a mirror named `{}` already", mirror.name));
            cx.report_path(
                &with(&with(&at("mirrors"), number), "name"),
                wrong.hint(format!("another name, such as {}-2", mirror.name)),
            );
        }
    }
    if repository.refs.include.is_empty() {
        let wrong = Wrong::new("impossible_combination", "no ref is included").why("nothing would be synchronised");
        cx.report_path(&with(&at("refs"), "include"), wrong.hint("[\"refs/heads/*\", \"refs/tags/*\"]"));
    }
    let follows = [
        ("branch", repository.branch.is_some()),
        ("tags", repository.tags.is_some()),
        ("semver", repository.semver.is_some()),
    ];
    let given: Vec<&'static str> = follows.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key).collect();
    if let [first, second, ..] = given[..] {
        let wrong =
            Wrong::new("impossible_combination", format!("both `{first}` and `{second}` say what a submodule follows"));
        cx.report_path(&at(second), wrong.hint("keep one of them"));
    }
    if !repository.on_conflict.is_empty() {
        chain(&repository.on_conflict, &at("on_conflict"), cx);
    }
    time_zone(repository.time_zone.as_ref(), &repository.update_frequency, &[REPOSITORIES.into(), index.into()], cx);
}

/// A chain ends with a person, and asks nobody twice.
fn chain(chain: &[Resolver], path: &[Seg], cx: &mut Cx<'_>) {
    let mut asked = BTreeSet::new();
    for (index, resolver) in chain.iter().enumerate() {
        if !asked.insert(resolver) {
            let wrong = Wrong::new("duplicate_resolver", format!("`{resolver}` stands in this chain already"));
            cx.report_path(&with(path, index), wrong.why("its answer would be the same").hint("remove it"));
        }
    }
    if let Some(place) = chain.iter().position(|resolver| *resolver == Resolver::Queue)
        && place + 1 < chain.len()
    {
        let wrong =
            Wrong::new("impossible_combination", "`queue` waits for a person, so what follows it is never asked");
        cx.report_path(&with(path, place), wrong.hint("put `queue` last"));
    }
    if !chain.contains(&Resolver::Queue) {
        let wrong = Wrong::new("impossible_combination", "this chain does not end with `queue`")
            .why("a conflict that nobody settles must wait for a person; else one side would be lost")
            .hint("add `queue` at the end");
        cx.report_path(path, wrong);
    }
}

fn time_zone(zone: Option<&Zone>, frequency: &Frequency, path: &[Seg], cx: &mut Cx<'_>) {
    let Some(zone) = zone else {
        return;
    };
    if cx.env.knows_time_zone(zone.as_str()) == Some(false) {
        const COMMON: [&str; 12] = [
            "UTC",
            "Europe/Berlin",
            "Europe/London",
            "Europe/Paris",
            "Europe/Madrid",
            "America/New_York",
            "America/Chicago",
            "America/Los_Angeles",
            "America/Sao_Paulo",
            "Asia/Tokyo",
            "Asia/Kolkata",
            "Australia/Sydney",
        ];
        let wrong = Wrong::new("unknown_time_zone", format!("the time zone `{zone}` is not known here"))
            .why("zones are named by region and city, as in the IANA database")
            .nearest(nearest(zone.as_str(), COMMON))
            .hint("UTC, or a name such as Europe/Berlin");
        cx.report_path(&with(path, "time_zone"), wrong);
    }
    if !matches!(frequency, Frequency::On(Schedule::Cron(_))) {
        let wrong = Wrong::warning("no_effect", "`time_zone` has no effect here")
            .why("`real_time` and intervals are the same in every zone")
            .hint("a cron schedule in `update_frequency`, or remove `time_zone`");
        cx.report_path(&with(path, "time_zone"), wrong);
    }
}

fn databases(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let mut first: BTreeMap<Vec<String>, (usize, &'static str)> = BTreeMap::new();
    for (index, database) in ecosystem.connected_databases.iter().enumerate() {
        let at = |key| spoke(DATABASES, index, key);
        for (key, url) in [("hub", &database.hub), ("url", &database.url)] {
            let place = url.sqlite_path().map_or_else(|| vec![url.as_str().to_owned()], |path| place(path, cx));
            if url.as_str().is_empty() {
                continue;
            }
            match first.get(&place) {
                Some((other, _)) if *other == index => {
                    let what = format!("this is the hub's own copy, {}", cx.named(&at("hub")));
                    let wrong = Wrong::new("same_database", what).why("a database cannot be synchronised with itself");
                    cx.report_path(&at(key), wrong.hint("the address of the spoke's copy"));
                }
                Some((other, as_key)) => {
                    let what = format!(
                        "this database is declared already, as {}",
                        cx.named(&spoke(DATABASES, *other, as_key))
                    );
                    let why = "two runs would write it at the same time";
                    cx.report_path(
                        &at(key),
                        Wrong::new("same_database", what).why(why).hint("give each spoke a copy of its own"),
                    );
                }
                None => {
                    first.insert(place, (index, key));
                }
            }
        }
        if database.tables.include.is_empty() {
            let wrong =
                Wrong::new("impossible_combination", "no table is included").why("nothing would be synchronised");
            cx.report_path(&with(&at("tables"), "include"), wrong.hint("[\"*\"]"));
        }
        for (rule, policy) in &database.on_conflict {
            let is_plain = matches!(policy, DatabasePolicy::Queue | DatabasePolicy::Hub | DatabasePolicy::Spoke);
            if rule.as_str() != "default" && is_plain && !cx.caps.everything {
                let wrong = Wrong::not_yet(format!("a rule of its own for `{rule}` is not built yet"))
                    .why("one policy holds for the whole database");
                let key = Seg::Key(rule.as_str().to_owned().into());
                cx.report_path(
                    &with(&at("on_conflict"), key),
                    wrong.allowed(["default: queue", "default: hub", "default: spoke"]),
                );
            }
        }
        time_zone(database.time_zone.as_ref(), &database.update_frequency, &[DATABASES.into(), index.into()], cx);
    }
}

fn folders(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    for (index, tree) in ecosystem.connected_files.iter().enumerate() {
        let at = |key| spoke(FILES, index, key);
        if tree.paths.is_empty() && !tree.name.as_str().is_empty() {
            let wrong =
                Wrong::new("impossible_combination", "no folder is named here").why("nothing would be synchronised");
            cx.report_path(&at("paths"), wrong.hint("[/srv/media]"));
        }
        if tree.paths.len() > 1 && !cx.caps.everything {
            let wrong = Wrong::not_yet("more than one folder beside the hub's is not built yet");
            cx.report_path(
                &with(&at("paths"), 1_usize),
                wrong
                    .why("hub and one spoke are kept in step")
                    .hint("one entry in connected_files for each, with a hub folder of its own"),
            );
        }
        time_zone(tree.time_zone.as_ref(), &tree.update_frequency, &[FILES.into(), index.into()], cx);
    }
}

fn backup(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let backup = &ecosystem.backup;
    let at = |key: &'static str| vec!["backup".into(), key.into()];
    let destinations = backup.destinations.len();
    if destinations == 0 {
        let wrong = Wrong::new("impossible_combination", "no destination is named")
            .why("a run goes on only after its snapshot is kept somewhere");
        cx.report_path(&at("destinations"), wrong.hint("remove `destinations`; the default is file:.cathedral/vault"));
    } else if let Some(quorum) = backup.quorum {
        if quorum == 0 {
            let wrong = Wrong::new("impossible_combination", "a snapshot that nobody holds is none")
                .why("a run goes on only after its snapshot is kept somewhere");
            cx.report_path(&at("quorum"), wrong.hint("1"));
        } else if quorum as usize > destinations {
            let what = format!(
                "{quorum} destinations must hold a snapshot, but there {} {destinations}",
                if destinations == 1 { "is" } else { "are" }
            );
            let wrong = Wrong::new("impossible_combination", what).why("no run could ever go on");
            cx.report_path(&at("quorum"), wrong.hint(format!("{destinations}, or more destinations")));
        }
    }
    let mut names = HashMap::new();
    let mut urls = HashMap::new();
    for (index, destination) in backup.destinations.iter().enumerate() {
        let place = with(&at("destinations"), index);
        if let Some(other) = names.insert(&destination.name, index) {
            let wrong = Wrong::new(
                "duplicate_name",
                format!("the name `{}` is taken by {}", destination.name, cx.named(&with(&at("destinations"), other))),
            );
            cx.report_path(&with(&place, "name"), wrong.hint(format!("another name, such as {}-2", destination.name)));
        }
        let url = destination
            .url
            .local_path()
            .map_or_else(|| vec![destination.url.as_str().to_owned()], |path| super::places::place(path, cx));
        if let Some(other) = urls.insert(url, index) {
            let wrong = Wrong::new(
                "same_destination",
                format!("this is the same place as {}", cx.named(&with(&at("destinations"), other))),
            )
            .why("two copies at one place are lost together")
            .hint("another disk, machine or provider");
            cx.report_path(&with(&place, "url"), wrong);
        }
    }
    let kept = &backup.retention;
    let counts = [kept.last, kept.hourly, kept.daily, kept.weekly, kept.monthly, kept.yearly];
    let is_nothing_kept =
        counts.iter().any(Option::is_some) && counts.iter().flatten().all(|count| *count == 0) && kept.within.is_none();
    if is_nothing_kept {
        let wrong = Wrong::new("impossible_combination", "these rules keep no snapshot at all")
            .why("there would be nothing to restore");
        cx.report_path(&at("retention"), wrong.hint("last: 24"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_finds_what_is_inside() {
        let places = ["a-b", "a/b", "a", "a/c", "b"].iter().enumerate().map(|(i, p)| (parts(p), i)).collect();
        let found: Vec<(usize, usize)> = overlaps(places).into_iter().map(|((_, i), (_, o))| (i, o)).collect();
        assert_eq!(found, [(1, 2), (3, 2)]);
    }
}
