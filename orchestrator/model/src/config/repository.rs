//! Git repositories.

use std::collections::BTreeMap;

use super::address::{GitUrl, WebUrl};
use super::ecosystem::Protection;
use super::names::{Branch, FsckId, Glob, Name, RefPattern, TreePath};
use super::scalar::{Amount, Frequency, Lfs, Percent, Period, Text, Zone};
use super::secret::{Given, Secret};
use super::table::{LATER, NOW, PROTECTED, REQUIRED, section, words};

section! {
    /// One git repository of the ecosystem.
    Repository {
        /// The name of the spoke; commands and conflicts use it.
        name: Name [REQUIRED] = Name::default() => "stone-grimoire";
        /// What it is there for, in your words.
        role: Text [NOW] = Text::default() => "\"BODY - Material & Manifestation\"";
        /// Where it is; without it, it is looked for as a submodule of that name in the hub, then beside the hub.
        url: Option<Given<GitUrl>> [NOW] = None => "https://forge.example/stone-grimoire.git";
        /// The branch a submodule follows; the one its HEAD names unless given.
        branch: Option<Branch> [NOW] = None => "main";
        /// Follow the highest tag of a pattern instead of a branch.
        tags: Option<Glob> [LATER] = None => "\"v*\"";
        /// Follow the highest release of a range instead of a branch.
        semver: Option<Text> [LATER] = None => "\"^3\"";
        /// How it is held in the hub.
        integration_type: IntegrationType [NOW] = IntegrationType::GitSubmodule => "git_submodule";
        /// Where it stands in the hub repository; `name` unless given.
        path: Option<TreePath> [NOW] = None => "modules/stone-grimoire";
        /// Which way changes flow.
        data_sync: DataSync [NOW] = DataSync::Bidirectional => "bidirectional";
        /// How often it is brought up to date.
        update_frequency: Frequency [NOW] = Frequency::RealTime => "15m";
        /// The time zone of a cron schedule; UTC unless given.
        time_zone: Option<Zone> [NOW] = None => "Europe/Berlin";
        /// Which branches and tags are carried along; snapshots hold every ref all the same.
        refs: Refs [NOW] = Refs::default() => "{ exclude: [\"refs/heads/wip/*\"] }";
        /// Further remotes of the same repository.
        mirrors: Vec<Mirror> [NOW] = Vec::new() => "[{ name: codeberg, url: \"ssh://git@forge.example/a.git\", mode: push }]";
        /// Files kept equal in hub and spoke, whatever the integration type.
        shared_paths: Vec<SharedPath> [NOW] = Vec::new() => "[{ hub: shared/archetypes/, spoke: data/archetypes/ }]";
        /// What is done when both sides of a branch moved.
        merge: MergeWay [NOW] = MergeWay::Queue => "merge";
        /// The resolvers for this spoke instead of `conflicts.chain`.
        on_conflict: Vec<Resolver> [NOW] = Vec::new() => "[structural, queue]";
        /// The place in the order of distribution, smallest first.
        wave: Option<u32> [NOW] = None => "2";
        /// The spokes that are brought up to date before this one.
        after: Vec<Name> [NOW] = Vec::new() => "[circuitum99]";
        /// How private the content is.
        classification: Classification [NOW] = Classification::Internal => "internal";
        /// What a change to this repository must pass; overrides the ecosystem's.
        merge_protection: Option<Protection> [PROTECTED] = None => "{ require_pr_reviews: 1 }";
        /// Known old flaws that `git fsck` may find here.
        fsck_allow: Vec<FsckId> [NOW] = Vec::new() => "[zeroPaddedFilemode]";
        /// Whether large files (git LFS) are carried along; `strict` refuses a pointer without its file.
        lfs: Lfs [LATER] = Lfs::No => "true";
        /// What the forge keeps beside the code.
        metadata: Metadata [LATER] = Metadata::default() => "{ issues: true, wiki: true }";
        /// The forge's own programming interface.
        forge: Option<Forge> [LATER] = None => "{ kind: github, app_id: 1234, key_file: \"${file:.cathedral/keys/app.pem}\" }";
        /// Spokes of one group change together or not at all.
        group: Option<Name> [LATER] = None => "core";
        /// Which refs must be signed, and how.
        require_signed: BTreeMap<RefPattern, Signature> [LATER] = BTreeMap::new() => "{ \"refs/tags/*\": ssh }";
        /// Options passed to the receiving side of a push.
        push_options: Vec<Text> [LATER] = Vec::new() => "[ci.skip]";
        /// How a subtree is brought into the hub.
        subtree: Subtree [LATER] = Subtree::default() => "{ history: full }";
        /// How a change is brought out step by step.
        rollout: Option<Rollout> [LATER] = None => "{ waves: [1, 10%, 100%], hold: 10m }";
        /// How often the refs are asked for when nothing is heard.
        poll: Option<Period> [LATER] = None => "60s";
    }
}

words! {
    /// How a repository is held in the hub.
    IntegrationType {
        /// As a submodule: the hub pins one commit.
        GitSubmodule = "git_submodule" [NOW];
        /// As a folder of the hub with its own history behind it.
        GitSubtree = "git_subtree" [LATER];
        /// As a full copy of its refs beside the hub, not inside.
        GitMirror = "git_mirror" [NOW];
        /// Only the folders under `shared_paths`.
        SharedPaths = "shared_paths" [NOW];
    }
}

words! {
    /// Which way changes flow.
    DataSync {
        /// Both ways.
        Bidirectional = "bidirectional" [NOW];
        /// From the hub to the spoke.
        HubDistribution = "hub_distribution" [NOW];
        /// From the spoke to the hub.
        Collect = "collect" [NOW];
        /// Neither; it is only kept in snapshots.
        SnapshotOnly = "snapshot_only" [NOW];
    }
}

words! {
    /// How private content is.
    Classification {
        /// Everyone may read it.
        Public = "public" [NOW];
        /// The people of the ecosystem may read it.
        Internal = "internal" [NOW];
        /// Named people may read it; it has a key of its own.
        Confidential = "confidential" [LATER];
        /// Two people together may read it; it has a key of its own.
        Sacred = "sacred" [LATER];
    }
}

words! {
    /// One stage of settling a conflict.
    Resolver {
        /// One side did not change, or both changed equally.
        Trivial = "trivial" [NOW];
        /// Three-way merge by lines.
        Text = "text" [NOW];
        /// Three-way merge of JSON, YAML and TOML by keys.
        Structural = "structural" [NOW];
        /// Merge of shared state documents.
        Crdt = "crdt" [NOW];
        /// What people chose in equal cases before.
        Learned = "learned" [LATER];
        /// What `policy` says.
        Policy = "policy" [NOW];
        /// Waits for a person.
        Queue = "queue" [NOW];
    }
}

impl Resolver {
    /// The chain used where the file names none.
    #[must_use]
    pub fn default_chain() -> Vec<Self> {
        vec![Self::Trivial, Self::Text, Self::Structural, Self::Crdt, Self::Policy, Self::Queue]
    }
}

words! {
    /// What is done when both sides of a branch moved.
    MergeWay {
        /// It waits as a conflict.
        Queue = "queue" [NOW];
        /// A side that the other contains is brought forward; anything else waits.
        FastForward = "fast_forward" [NOW];
        /// A clean merge becomes a merge commit on both sides; anything else waits.
        Merge = "merge" [NOW];
        /// The spoke's commits are put on top of the hub's.
        Rebase = "rebase" [LATER];
        /// The change becomes a pull request.
        PullRequest = "pull_request" [LATER];
    }
}

section! {
    /// Which branches and tags are carried along; snapshots hold every ref all the same.
    Refs {
        /// Those carried along.
        include: Vec<RefPattern> [NOW] = vec![RefPattern::known("refs/heads/*"), RefPattern::known("refs/tags/*")] => "[\"refs/heads/*\"]";
        /// Those left out again. Snapshots hold them, unless `include` names them neither.
        exclude: Vec<RefPattern> [NOW] = Vec::new() => "[\"refs/heads/wip/*\"]";
        /// Whether a ref deleted on one side is deleted on the other.
        prune: bool [NOW] = false => "true";
        /// What is done when a ref was rewritten.
        rewrite: Rewrite [NOW] = Rewrite::KeepBoth => "keep_both";
        /// The share of refs that may vanish at once before the run stops and asks.
        max_vanish: Percent [NOW] = Percent::known("20%") => "20%";
    }
}

words! {
    /// What is done when a ref was rewritten (a forced push).
    Rewrite {
        /// Both tips are kept and a person decides.
        KeepBoth = "keep_both" [NOW];
        /// The new tip is taken; the old one stays pinned.
        Accept = "accept" [LATER];
        /// The old tip is put back.
        Refuse = "refuse" [LATER];
        /// The run stops and asks.
        Ask = "ask" [LATER];
    }
}

section! {
    /// A further remote of the same repository.
    Mirror {
        /// Its name.
        name: Name [REQUIRED] = Name::default() => "codeberg";
        /// Where it is.
        url: Given<GitUrl> [REQUIRED] = Given::default() => "\"ssh://git@forge.example/stone-grimoire.git\"";
        /// Which way refs flow, seen from the spoke.
        mode: MirrorMode [NOW] = MirrorMode::Push => "push";
    }
}

words! {
    /// Which way refs flow between a spoke and its mirror.
    MirrorMode {
        /// From the spoke to the mirror.
        Push = "push" [NOW];
        /// From the mirror to the spoke.
        Pull = "pull" [NOW];
        /// Both ways.
        Both = "both" [NOW];
    }
}

section! {
    /// A folder or file kept equal in hub and spoke.
    SharedPath {
        /// Where it stands in the hub repository.
        hub: TreePath [REQUIRED] = TreePath::default() => "shared/archetypes/";
        /// Where it stands in the spoke.
        spoke: TreePath [REQUIRED] = TreePath::default() => "data/archetypes/";
    }
}

section! {
    /// What the forge keeps beside the code.
    Metadata {
        /// Whether issues are carried along.
        issues: bool [NOW] = false => "true";
        /// Whether pull requests are carried along.
        pull_requests: bool [NOW] = false => "true";
        /// Whether releases are carried along.
        releases: bool [NOW] = false => "true";
        /// Whether the wiki is carried along.
        wiki: bool [NOW] = false => "true";
        /// Whether labels are carried along.
        labels: bool [NOW] = false => "true";
    }
}

section! {
    /// The forge's own programming interface.
    Forge {
        /// Which forge it is.
        kind: ForgeKind [REQUIRED] = ForgeKind::Github => "github";
        /// The number of the GitHub App.
        app_id: Option<u64> [NOW] = None => "1234";
        /// The private key of the app, or a token.
        key_file: Option<Secret> [NOW] = None => "\"${file:.cathedral/keys/app.pem}\"";
        /// The address of a forge of your own.
        url: Option<WebUrl> [NOW] = None => "\"https://forge.example\"";
    }
}

words! {
    /// A kind of forge.
    ForgeKind {
        /// GitHub.
        Github = "github" [NOW];
        /// GitLab.
        Gitlab = "gitlab" [NOW];
        /// Gitea or Forgejo.
        Gitea = "gitea" [NOW];
    }
}

words! {
    /// Which signature a ref must carry.
    Signature {
        /// Any of them.
        Any = "any" [NOW];
        /// OpenPGP.
        Gpg = "gpg" [NOW];
        /// SSH.
        Ssh = "ssh" [NOW];
        /// X.509.
        X509 = "x509" [NOW];
    }
}

section! {
    /// How a subtree is brought into the hub.
    Subtree {
        /// What of its history comes along.
        history: SubtreeHistory [NOW] = SubtreeHistory::Squash => "full";
    }
}

words! {
    /// What of a subtree's history comes along.
    SubtreeHistory {
        /// One commit per change of the spoke's tip.
        Squash = "squash" [NOW];
        /// Every commit, rewritten.
        Full = "full" [NOW];
    }
}

section! {
    /// How a change is brought out step by step.
    Rollout {
        /// How many spokes each step covers.
        waves: Vec<Amount> [NOW] = Vec::new() => "[1, 10%, 100%]";
        /// How long each step is watched before the next.
        hold: Option<Period> [NOW] = None => "10m";
        /// The checks that must be green on the spoke's new commit.
        checks: Vec<Text> [NOW] = Vec::new() => "[build]";
        /// What is done after a failed check.
        rollback: Rollback [NOW] = Rollback::Ask => "auto";
    }
}

words! {
    /// What is done after a failed check.
    Rollback {
        /// The finished steps are undone.
        Auto = "auto" [NOW];
        /// A person decides.
        Ask = "ask" [NOW];
        /// Later steps do not run; nothing is undone.
        Stop = "stop" [NOW];
    }
}
