//! What git cannot merge is told file by file.

#![allow(clippy::unwrap_used)]

mod support;

use support::scratch;
use support::world::World;

#[test]
fn the_files_that_git_cannot_merge_are_told() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    let told = world.cathedral(&["conflicts", "--json"]).expect(11).json();
    let conflicts = told["data"]["conflicts"].as_array().unwrap();
    let of_git: Vec<_> = conflicts.iter().filter(|c| c["kind"] == "git").collect();
    assert!(conflicts.iter().all(|c| (c["kind"] == "git") == c["files"].is_array()));
    let shared = of_git.iter().find(|c| c["where"].as_str().unwrap().contains("shared/two")).unwrap();
    let file = &shared["files"][0];
    assert_eq!((&file["path"], shared["files"].as_array().unwrap().len()), (&"two/b.txt".into(), 1));
    assert!(file["hub"].as_str().unwrap().starts_with("edited ("), "{file}");
    assert_eq!((&shared["more_files"], &shared["fields"]), (&0.into(), &serde_json::json!([])));
    let branch = of_git.iter().find(|c| c["where"].as_str().unwrap().contains("branch both")).unwrap();
    assert_eq!(branch["files"][0]["path"], "branch.md");
    let shown = world.cathedral(&["conflicts", "show", &branch["id"].to_string()]).expect(0);
    let line =
        shown.out.lines().find(|l| l.trim_start().starts_with("branch.md")).unwrap_or_else(|| panic!("{shown:?}"));
    assert_eq!(line.matches("edited (").count(), 2, "{line}");
    assert!(shown.out.contains(branch["hub"]["shown"].as_str().unwrap()), "the commits are told as before: {shown:?}");
    // All files of a merge are decided at once.
    let ran = world.cathedral(&["conflicts", "resolve", &branch["id"].to_string(), "--field", "branch.md=@hub"]);
    assert!(ran.expect(2).err.contains("not decided field by field"));
}
