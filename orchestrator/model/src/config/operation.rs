//! The hub as it runs: healing, webhooks, notifications, pages, sign-in, state.

use super::address::{StoreUrl, WebUrl};
use super::names::{Listen, Name};
use super::notify::{Allow, EventPattern};
use super::scalar::{Percent, Text};
use super::secret::{Given, Secret};
use super::table::{LATER, NOW, REQUIRED, section, words};

section! {
    /// What the hub looks after by itself.
    Healing {
        /// Which routine runs how often.
        healing_frequency: HealingFrequency [NOW] = HealingFrequency::default() => "{ daily: [backup_validation] }";
        /// How much may be repaired at once.
        limits: HealingLimits [LATER] = HealingLimits::default() => "{ per_spoke_per_hour: 6 }";
        /// Whether repairs are only proposed.
        watch_only: bool [LATER] = false => "true";
    }
}

section! {
    /// Which routine runs how often.
    HealingFrequency {
        /// Always.
        continuous: Vec<Routine> [NOW] = Vec::new() => "[performance_monitoring]";
        /// Each hour.
        hourly: Vec<Routine> [NOW] = Vec::new() => "[queue_management]";
        /// Each day.
        daily: Vec<Routine> [NOW] = Vec::new() => "[backup_validation]";
        /// Each week.
        weekly: Vec<Routine> [NOW] = Vec::new() => "[capacity_planning]";
        /// Each month.
        monthly: Vec<Routine> [NOW] = Vec::new() => "[security_audit]";
    }
}

words! {
    /// A routine of the hub.
    Routine {
        /// Measures how fast runs are.
        PerformanceMonitoring = "performance_monitoring" [NOW];
        /// Looks for known holes.
        SecurityScanning = "security_scanning" [NOW];
        /// Trims what is held for speed.
        CacheOptimization = "cache_optimization" [NOW];
        /// Looks after waiting work.
        QueueManagement = "queue_management" [NOW];
        /// Reads backups back.
        BackupValidation = "backup_validation" [NOW];
        /// Compares data with the log.
        IntegrityChecks = "integrity_checks" [NOW];
        /// Adjusts limits to what was measured.
        PerformanceTuning = "performance_tuning" [NOW];
        /// Foresees when space runs out.
        CapacityPlanning = "capacity_planning" [NOW];
        /// Lists what has grown apart from its plan.
        ArchitectureReview = "architecture_review" [NOW];
        /// Lists keys, grants and findings.
        SecurityAudit = "security_audit" [NOW];
    }
}

section! {
    /// How much may be repaired at once.
    HealingLimits {
        /// Repairs of one spoke in an hour.
        per_spoke_per_hour: u32 [NOW] = 6 => "6";
        /// Repairs of all spokes in an hour.
        per_hub_per_hour: u32 [NOW] = 20 => "20";
        /// The share of spokes under repair at one time.
        spread: Percent [NOW] = Percent::known("20%") => "20%";
    }
}

section! {
    /// Who may tell the hub that something changed.
    IncomingWebhooks {
        /// GitHub, at `/hooks/github`.
        github: Option<IncomingWebhook> [NOW] = None => "{ secrets: [\"${file:.cathedral/keys/webhook-github}\"] }";
        /// GitLab, at `/hooks/gitlab`.
        gitlab: Option<IncomingWebhook> [LATER] = None => "{ secrets: [\"${file:.cathedral/keys/webhook-gitlab}\"] }";
        /// Gitea or Forgejo, at `/hooks/gitea`.
        gitea: Option<IncomingWebhook> [LATER] = None => "{ secrets: [\"${file:.cathedral/keys/webhook-gitea}\"] }";
    }
}

section! {
    /// One sender of webhooks.
    IncomingWebhook {
        /// The shared secrets; several while one is replaced by another.
        secrets: Vec<Secret> [REQUIRED] = Vec::new() => "[\"${file:.cathedral/keys/webhook-github}\"]";
    }
}

section! {
    /// Someone the hub tells what happened.
    Notification {
        /// A name for lists and commands; the kind unless given.
        name: Option<Name> [NOW] = None => "ops";
        /// The way it is told.
        kind: NotificationKind [REQUIRED] = NotificationKind::Webhook => "webhook";
        /// The address of a webhook or Slack channel.
        url: Option<Secret> [NOW] = None => "\"https://ops.example/hook\"";
        /// The secret that signs a webhook: `whsec_` and base64.
        secret: Option<Secret> [NOW] = None => "\"${file:.cathedral/keys/ops-hook}\"";
        /// Several secrets while one is replaced by another; each signs.
        secrets: Vec<Secret> [NOW] = Vec::new() => "[\"${file:.cathedral/keys/ops-hook-new}\", \"${file:.cathedral/keys/ops-hook}\"]";
        /// The mail server.
        smtp: Option<WebUrl> [NOW] = None => "\"smtp://mail.example\"";
        /// The addresses that get mail.
        to: Vec<Text> [NOW] = Vec::new() => "[ops@example.org]";
        /// The events told; all unless given. `run.*` means all that begin so.
        events: Vec<EventPattern> [NOW] = Vec::new() => "[run.failed, conflict.opened]";
    }
}

words! {
    /// A way to tell someone.
    NotificationKind {
        /// A signed POST request.
        Webhook = "webhook" [NOW];
        /// Mail.
        Email = "email" [LATER];
        /// A Slack channel.
        Slack = "slack" [NOW];
    }
}

section! {
    /// The dashboard and API.
    Web {
        /// Where they listen.
        listen: Listen [NOW] = Listen::known("127.0.0.1:7420") => "\"127.0.0.1:7420\"";
        /// The address that people use.
        public_url: Option<WebUrl> [NOW] = None => "\"https://hub.example\"";
        /// Who may see the status page.
        status_page: StatusPage [NOW] = StatusPage::Private => "public";
    }
}

words! {
    /// Who may see the status page.
    StatusPage {
        /// People who signed in.
        Private = "private" [NOW];
        /// Everyone.
        Public = "public" [NOW];
    }
}

section! {
    /// Where the hub may connect to.
    Egress {
        /// What it may call although it is not public: ranges, addresses, hosts, each with a port or without.
        allow: Vec<Allow> [NOW] = Vec::new() => "[10.0.0.0/8, \"chat.internal:8443\"]";
        /// Whether this file may name paths of this machine outside the ecosystem's folder.
        local_paths: bool [NOW] = true => "true";
    }
}

section! {
    /// How people sign in.
    Auth {
        /// Through a provider of your own.
        oidc: Option<Oidc> [NOW] = None => "{ issuer: \"https://id.example\", client_id: hub, client_secret: \"${file:.cathedral/keys/oidc}\" }";
        /// With a passkey.
        passkeys: bool [NOW] = false => "true";
        /// With a second factor that changes each half minute.
        totp: bool [NOW] = false => "true";
        /// With an Ethereum wallet.
        siwe: bool [NOW] = false => "true";
    }
}

section! {
    /// A provider of identities.
    Oidc {
        /// Its address.
        issuer: WebUrl [REQUIRED] = WebUrl::default() => "\"https://id.example\"";
        /// The name of the hub there.
        client_id: Text [REQUIRED] = Text::default() => "cathedral-hub";
        /// The secret of the hub there.
        client_secret: Option<Secret> [NOW] = None => "\"${file:.cathedral/keys/oidc}\"";
    }
}

section! {
    /// Where the hub keeps its own state.
    State {
        /// The store.
        store: Given<StoreUrl> [NOW] = Given::plain(StoreUrl::known("sqlite:.cathedral/hub.db")) => "\"sqlite:.cathedral/hub.db\"";
        /// The bus between several hubs.
        events: Option<WebUrl> [LATER] = None => "\"nats://bus.example\"";
    }
}
