//! The order in which spokes are brought up to date: `wave` and `after`.

use std::collections::HashMap;

use super::nearest::nearest;
use super::problem::Wrong;
use super::read::{Cx, Seg};
use super::repository::Repository;

/// Reports unknown names, contradictions and circles.
pub fn check_order(repositories: &[Repository], cx: &mut Cx<'_>) {
    let places: HashMap<&str, usize> = repositories.iter().enumerate().map(|(i, r)| (r.name.as_str(), i)).collect();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); repositories.len()];
    for (index, repository) in repositories.iter().enumerate() {
        for (number, name) in repository.after.iter().enumerate() {
            let path = [Seg::from("connected_repositories"), index.into(), "after".into(), number.into()];
            if *name == repository.name {
                let wrong = Wrong::new("circular_order", "this spoke is to wait for itself").hint("remove it");
                cx.report_path(&path, wrong);
                continue;
            }
            let Some(&other) = places.get(name.as_str()) else {
                if cx.is_full() {
                    continue;
                }
                let known = || repositories.iter().map(|r| r.name.as_str());
                let mut wrong = Wrong::new("unknown_name", format!("there is no repository named `{name}`"))
                    .why("`after` names spokes of connected_repositories")
                    .nearest(nearest(name.as_str(), known().take(200)))
                    .hint("remove it, or add the repository");
                if repositories.len() <= 20 {
                    wrong = wrong.allowed(known());
                }
                cx.report_path(&path, wrong);
                continue;
            };
            if let (Some(own), Some(others)) = (repository.wave, repositories[other].wave)
                && own < others
            {
                let what =
                    format!("wave {own} comes before wave {others} of `{name}`, yet this spoke is to come after it");
                cx.report_path(
                    &path,
                    Wrong::new("impossible_combination", what).hint(format!("wave: {others}, or more")),
                );
                continue;
            }
            before[index].push(other);
        }
    }
    if let Some(circle) = find_circle(&before) {
        let mut names: Vec<String> =
            circle.iter().take(8).map(|spoke| repositories[*spoke].name.as_str().to_owned()).collect();
        if circle.len() > 8 {
            names.push(format!("… ({} more)", circle.len() - 8));
        }
        names.extend(names.first().cloned());
        let wrong =
            Wrong::new("circular_order", format!("these spokes wait for each other: {}", names.join(" after ")))
                .why("none of them could ever be the first")
                .hint("remove one of these `after` entries");
        cx.report_path(&["connected_repositories".into(), circle[0].into(), "after".into()], wrong);
    }
}

/// One circle, beginning at its earliest spoke.
fn find_circle(before: &[Vec<usize>]) -> Option<Vec<usize>> {
    // Whoever waits for nobody goes first; who is left waits for a circle or is in one.
    let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    for (spoke, others) in before.iter().enumerate() {
        others.iter().for_each(|other| followers[*other].push(spoke));
    }
    let mut free: Vec<usize> = (0..before.len()).filter(|spoke| waits[*spoke] == 0).collect();
    while let Some(spoke) = free.pop() {
        for follower in &followers[spoke] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                free.push(*follower);
            }
        }
    }
    let mut at = waits.iter().position(|count| *count > 0)?;
    let mut seen = HashMap::new();
    let mut walk = Vec::new();
    while !seen.contains_key(&at) {
        seen.insert(at, walk.len());
        walk.push(at);
        at = before[at].iter().copied().find(|other| waits[*other] > 0)?;
    }
    let mut circle = walk.split_off(seen[&at]);
    let earliest = circle.iter().enumerate().min_by_key(|(_, spoke)| **spoke).map_or(0, |(place, _)| place);
    circle.rotate_left(earliest);
    Some(circle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_behind_a_tail() {
        assert_eq!(find_circle(&[vec![1], vec![2], vec![3], vec![1], vec![]]), Some(vec![1, 2, 3]));
        assert_eq!(find_circle(&[vec![0]]), Some(vec![0]));
        assert_eq!(find_circle(&[vec![1], vec![2], vec![]]), None);
    }
}
