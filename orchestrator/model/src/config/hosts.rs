//! Which hosts repositories may be on.

use super::address::GitUrl;
use super::ecosystem::Ecosystem;
use super::problem::Wrong;
use super::read::{Cx, Seg};
use crate::egress::literal::permit_git;

/// Reports git addresses that lead where no repositories are, but credentials may be.
pub fn check_hosts(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let allowed = ecosystem.allowed();
    let mut check = |key: Vec<Seg>, url: &GitUrl| {
        let Some((host, port)) = url.host() else { return };
        if let Err(address) = permit_git(&allowed, host, port) {
            let what = "this leads to the local link or to a service that hands out credentials, which is not allowed";
            let wrong = Wrong::new("egress_denied", what)
                .why("no repositories are served there, and what is served is for this machine alone")
                .hint(format!("the address of the server, or egress: {{ allow: [\"{address}\"] }}, if that is meant"));
            cx.report_path(&key, wrong);
        }
    };
    check(vec!["hub".into(), "url".into()], &ecosystem.hub.url);
    for (index, repository) in ecosystem.connected_repositories.iter().enumerate() {
        let key = |rest: &[Seg]| [&["connected_repositories".into(), index.into()], rest].concat();
        if let Some(url) = &repository.url {
            check(key(&["url".into()]), url);
        }
        for (number, mirror) in repository.mirrors.iter().enumerate() {
            check(key(&["mirrors".into(), number.into(), "url".into()]), &mirror.url);
        }
    }
}
