//! From a delivery to requests. What a payload says is compared with the configuration; nothing from it
//! becomes an address, a name or a program.

use cathedral_model::ecosystem::{Ecosystem, GitIntegration, Spoke, SpokeDetail};
use cathedral_model::ids::SpokeName;
use cathedral_model::intake::{Delivery, Hint};
use cathedral_model::run::{Priority, Request, SyncRequest, Work};

/// What a delivery asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Look at these spokes; several for a repository that several spokes share.
    Sync(Vec<SpokeName>),
    /// No declared repository is the one it tells of.
    NoSpoke,
    /// The event tells of nothing that a sync would see.
    Nothing,
}

/// Events after which a repository's refs may have moved.
const MOVES: [&str; 4] = ["push", "create", "delete", "repository"];

/// Returns what a delivery asks for.
#[must_use]
pub fn wanted(ecosystem: &Ecosystem, delivery: &Delivery) -> Wanted {
    if !MOVES.contains(&delivery.event.as_str()) {
        return Wanted::Nothing;
    }
    let told: Vec<Place> = delivery.hint.urls.iter().filter_map(|url| Place::of(url)).collect();
    let is_told = |url: &str| Place::of(url).is_some_and(|place| told.contains(&place));
    if is_told(&ecosystem.hub.url) {
        // Pins and shared paths of the hub repository belong to every git spoke.
        let all = ecosystem.spokes.iter().filter(|s| uses_hub_repository(s)).map(|s| s.name.clone()).collect();
        return Wanted::Sync(all);
    }
    let names: Vec<SpokeName> = ecosystem
        .spokes
        .iter()
        .filter(|spoke| addresses(spoke).iter().any(|url| is_told(url)))
        .map(|spoke| spoke.name.clone())
        .collect();
    if names.is_empty() { Wanted::NoSpoke } else { Wanted::Sync(names) }
}

/// Returns the requests for spokes: one each, so that they coalesce spoke by spoke.
#[must_use]
pub fn requests(names: &[SpokeName], delivery: &Delivery) -> Vec<Request> {
    let what = describe(&delivery.hint, &delivery.event);
    let request = |name: &SpokeName| Request {
        priority: Priority::Webhook,
        cause: format!("{} on {name}: {what}", delivery.source),
        work: Work::Sync(SyncRequest { spokes: vec![name.clone()], ..SyncRequest::default() }),
    };
    names.iter().map(request).collect()
}

/// The event for people: the ref's name is foreign text, so only plain characters of it are kept.
fn describe(hint: &Hint, event: &str) -> String {
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
        kept.take(60).collect()
    };
    match hint.reference.as_deref() {
        Some(reference) => format!("{} {}", plain(event), plain(reference.trim_start_matches("refs/heads/"))),
        None => plain(event),
    }
}

fn uses_hub_repository(spoke: &Spoke) -> bool {
    match &spoke.detail {
        SpokeDetail::Git(git) => {
            matches!(git.integration, GitIntegration::Submodule { .. } | GitIntegration::Master)
                || !git.shared_paths.is_empty()
        }
        _ => false,
    }
}

fn addresses(spoke: &Spoke) -> Vec<&str> {
    let SpokeDetail::Git(git) = &spoke.detail else { return vec![] };
    let mut all = vec![git.url.as_str()];
    if let GitIntegration::Mirror { mirrors } = &git.integration {
        all.extend(mirrors.iter().map(|m| m.url.as_str()));
    }
    all
}

/// Host and path of a repository, whatever the transport: `https://forge/a/b.git`, `git@forge:a/b` and
/// `ssh://git@forge:22/a/b/` are one place.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    path: String,
}

impl Place {
    fn of(url: &str) -> Option<Self> {
        let (host, path) = match url.split_once("://") {
            Some((scheme, rest)) => {
                if !matches!(scheme, "https" | "http" | "ssh" | "git") {
                    return None;
                }
                rest.split_once('/')?
            }
            // A path has no host; `user@host:path` has one before the first colon.
            None if url.starts_with(['/', '.']) => return None,
            None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = host.split_once(':').map_or(host, |(host, _)| host).to_ascii_lowercase();
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_ascii_lowercase();
        (!host.is_empty() && !path.is_empty()).then_some(Self { host, path })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use cathedral_model::ecosystem::{ConflictPolicy, DataSync, GitMerge, GitSpoke, Hub, Mirror, MirrorMode, RefRules};
    use cathedral_model::ids::Digest;

    use super::*;

    fn name(text: &str) -> SpokeName {
        SpokeName::new(text).unwrap()
    }

    fn spoke(text: &str, url: &str, integration: GitIntegration) -> Spoke {
        Spoke {
            name: name(text),
            role: String::new(),
            data_sync: DataSync::Bidirectional,
            wave: 0,
            after: vec![],
            chain: vec![],
            policy: ConflictPolicy::Queue,
            detail: SpokeDetail::Git(GitSpoke {
                url: url.into(),
                branch: "main".into(),
                integration,
                refs: RefRules::default(),
                shared_paths: vec![],
                merge: GitMerge::Queue,
                fsck_allow: vec![],
            }),
        }
    }

    fn ecosystem() -> Ecosystem {
        let mirror =
            Mirror { name: name("berg"), url: "git@berg.example:a/grimoire.git".into(), mode: MirrorMode::Push };
        Ecosystem {
            name: "atlas".into(),
            hub: Hub {
                name: name("cathedral"),
                url: "https://forge.example/a/cathedral".into(),
                branch: "main".into(),
            },
            spokes: vec![
                spoke("bridge", "https://Forge.example/A/Bridge.git", GitIntegration::Submodule { path: "b".into() }),
                spoke("grimoire", "/srv/grimoire", GitIntegration::Mirror { mirrors: vec![mirror] }),
                spoke("twin", "ssh://git@forge.example:22/a/bridge", GitIntegration::SharedPaths),
            ],
        }
    }

    fn delivery(event: &str, urls: &[&str]) -> Delivery {
        Delivery {
            source: "github".into(),
            id: "1".into(),
            event: event.into(),
            hint: Hint {
                urls: urls.iter().map(|u| (*u).to_owned()).collect(),
                reference: Some("refs/heads/ma\u{202e}in<b>".into()),
                ..Hint::default()
            },
            body_digest: Digest::of(b""),
            body_bytes: 0,
        }
    }

    #[test]
    fn a_repository_is_known_by_any_of_its_addresses() {
        let sync = |names: &[&str]| Wanted::Sync(names.iter().map(|n| name(n)).collect());
        for (urls, expect) in [
            (&["https://forge.example/a/bridge.git", "git@forge.example:a/bridge.git"][..], sync(&["bridge", "twin"])),
            (&["ssh://git@berg.example/a/grimoire"], sync(&["grimoire"])),
            (&["https://forge.example/a/cathedral/"], sync(&["bridge"])),
            (&["https://forge.example/a/other"], Wanted::NoSpoke),
            (&["/srv/grimoire", "file:///srv/grimoire", "", "https://", ":"], Wanted::NoSpoke),
        ] {
            assert_eq!(wanted(&ecosystem(), &delivery("push", urls)), expect, "{urls:?}");
        }
    }

    #[test]
    fn only_what_moves_refs_is_looked_at() {
        let url = ["https://forge.example/a/bridge"];
        for event in ["ping", "pull_request", "issues", "star"] {
            assert_eq!(wanted(&ecosystem(), &delivery(event, &url)), Wanted::Nothing, "{event}");
        }
    }

    #[test]
    fn requests_coalesce_by_spoke_and_carry_plain_text_only() {
        let asked = requests(&[name("bridge"), name("twin")], &delivery("push", &[]));
        assert_eq!(asked[0].cause, "github on bridge: push mainb");
        assert_ne!(asked[0].coalescing_key(), asked[1].coalescing_key());
        assert_eq!(asked[0].priority, Priority::Webhook);
    }
}
