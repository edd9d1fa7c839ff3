//! The ecosystem as a whole: the sections of the file.

use super::address::GitUrl;
use super::backup::Backup;
use super::database::Database;
use super::files::FileTree;
use super::integrity::Integrity;
use super::names::{Branch, Name};
use super::operation::{Auth, Egress, Healing, IncomingWebhooks, Notification, State, Web};
use super::repository::{Repository, Resolver};
use super::scalar::Period;
use super::secret::Given;
use super::table::{LATER, MEASURED, NOW, PROTECTED, REQUIRED, section, words};

section! {
    /// The whole file.
    Config {
        /// The ecosystem this file declares.
        cathedral_ecosystem: Ecosystem [REQUIRED] = Ecosystem::default() => "{ master_repository: cathedral }";
    }
}

section! {
    /// A hub and the spokes around it.
    Ecosystem {
        /// The name of the ecosystem, asked for by dangerous commands; the master repository's unless given.
        name: Option<Name> [NOW] = None => "atlas";
        /// The repository at the centre, which holds the spokes as submodules and this file.
        master_repository: Name [REQUIRED] = Name::default() => "cathedral";
        /// How the parts hang together.
        integration_pattern: IntegrationPattern [NOW] = IntegrationPattern::HubAndSpoke => "hub_and_spoke";
        /// The hub's own copy of the master repository.
        hub: Hub [NOW] = Hub::default() => "{ url: ., branch: main }";
        /// The git repositories of the ecosystem.
        connected_repositories: Vec<Repository> [NOW] = Vec::new() => "[{ name: docs }]";
        /// The databases of the ecosystem.
        connected_databases: Vec<Database> [NOW] = Vec::new() => "[{ name: billing, hub: \"sqlite:data/billing.db\", url: \"sqlite:../billing/app.db\" }]";
        /// The folders of the ecosystem.
        connected_files: Vec<FileTree> [NOW] = Vec::new() => "[{ name: media, hub: data/media, paths: [/srv/media] }]";
        /// What a change to the master repository must pass; a section, or a list of one-key sections.
        merge_protection: Protection [PROTECTED] = Protection::default() => "{ require_pr_reviews: 2 }";
        /// How conflicts are settled.
        conflicts: Conflicts [NOW] = Conflicts::default() => "{ policy: queue }";
        /// Where snapshots go, and how many copies there must be.
        backup: Backup [NOW] = Backup::default() => "{ quorum: 1 }";
        /// The signed log and who else keeps its head.
        integrity: Integrity [NOW] = Integrity::default() => "{ publish_every: 1s }";
        /// What may be lost at most, and how long a restore may take.
        objectives: Objectives [NOW] = Objectives::default() => "{ rpo: 15m, rto: 1h }";
        /// What the hub looks after by itself.
        self_healing_systems: Healing [NOW] = Healing::default() => "{ healing_frequency: { daily: [backup_validation] } }";
        /// Who may tell the hub that something changed.
        incoming_webhooks: IncomingWebhooks [NOW] = IncomingWebhooks::default() => "{ github: { secrets: [\"${file:.cathedral/keys/webhook-github}\"] } }";
        /// Whom the hub tells what happened.
        notifications: Vec<Notification> [NOW] = Vec::new() => "[{ kind: webhook, url: \"https://ops.example/hook\", secret: \"${file:.cathedral/keys/ops-hook}\", events: [run.failed, conflict.opened] }]";
        /// The dashboard and API.
        web: Web [NOW] = Web::default() => "{ listen: \"127.0.0.1:7420\" }";
        /// Where the hub may connect to.
        egress: Egress [NOW] = Egress::default() => "{ local_paths: true }";
        /// How people sign in.
        auth: Auth [LATER] = Auth::default() => "{ totp: true }";
        /// Where the hub keeps its own state.
        state: State [NOW] = State::default() => "{ store: \"sqlite:.cathedral/hub.db\" }";
    }
}

impl Ecosystem {
    /// The name that dangerous commands ask for.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.name.as_ref().unwrap_or(&self.master_repository)
    }

    /// How many destinations must hold a snapshot.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        let destinations = u32::try_from(self.backup.destinations.len()).unwrap_or(u32::MAX);
        self.backup.quorum.unwrap_or(destinations.min(2))
    }
}

words! {
    /// How the parts of an ecosystem hang together.
    IntegrationPattern {
        /// One hub in the middle; spokes know the hub only.
        HubAndSpoke = "hub_and_spoke" [NOW];
    }
}

section! {
    /// The hub's own copy of the master repository.
    Hub {
        /// Where it is; `.` is the folder that holds `.cathedral/`.
        url: Given<GitUrl> [NOW] = Given::plain(GitUrl::known(".")) => "../cathedral";
        /// The branch that holds the pins of the submodules; the one its HEAD names unless given.
        branch: Option<Branch> [NOW] = None => "main";
    }
}

section! {
    /// What a change to a repository must pass.
    Protection or_list {
        /// How many people must approve a pull request.
        require_pr_reviews: Option<u32> [NOW] = None => "2";
        /// Whether all checks must be green.
        require_status_checks: Option<bool> [NOW] = None => "true";
        /// Whether a branch must hold the newest state of its target.
        require_up_to_date_branch: Option<bool> [NOW] = None => "true";
        /// Whether only administrators may push.
        restrict_pushes_to_admins: Option<bool> [NOW] = None => "true";
        /// Whether new code is scanned for known holes.
        automatic_security_scanning: Option<bool> [NOW] = None => "true";
    }
}

section! {
    /// How conflicts are settled.
    Conflicts {
        /// The resolvers, in the order they are asked; the last one is `queue`.
        chain: Vec<Resolver> [NOW] = Resolver::default_chain() => "[trivial, text, structural, crdt, policy, queue]";
        /// What the `policy` resolver answers.
        policy: ConflictPolicy [NOW] = ConflictPolicy::Queue => "queue";
        /// When a choice that people made again and again is made for them.
        learn: Option<Learn> [LATER] = None => "{ after: 3, minimum_agreement: 0.95 }";
    }
}

words! {
    /// What is done with a conflict that no resolver could settle.
    ConflictPolicy {
        /// It waits for a person; neither side is touched.
        Queue = "queue" [NOW];
        /// The hub's side is taken; the other is kept in a snapshot.
        Hub = "hub" [NOW];
        /// The spoke's side is taken; the other is kept in a snapshot.
        Spoke = "spoke" [NOW];
        /// The newer side is taken.
        Newest = "newest" [LATER];
        /// Both sides are kept, one after the other, where the kind of file allows it.
        Union = "union" [NOW];
    }
}

section! {
    /// When a repeated choice becomes a rule.
    Learn {
        /// After how many equal choices.
        after: u32 [NOW] = 3 => "3";
        /// The share of equal choices, from 0 to 1.
        minimum_agreement: f64 [NOW] = 0.95 => "0.95";
    }
}

section! {
    /// What may be lost at most, and how long a restore may take.
    Objectives {
        /// The age a snapshot may reach.
        rpo: Option<Period> [MEASURED] = None => "15m";
        /// The time a restore may take.
        rto: Option<Period> [MEASURED] = None => "1h";
    }
}
