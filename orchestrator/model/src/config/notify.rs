//! Whom the hub tells what happened: endpoints, the events they get, and what the hub may call.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ecosystem::Ecosystem;
use super::nearest::nearest;
use super::operation::{Notification, NotificationKind};
use super::problem::{Wrong, printable};
use super::read::{Cx, Seg};
use super::scalar::{Scalar, scalars};
use super::secret::Secret;
use crate::egress::{Allowed, host_and_port, is_host_name, permit};
use crate::notice::{TOPICS, matches};

/// An event by its name, all that begin alike (`run.*`), or all (`*`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPattern(String);

impl EventPattern {
    /// Whether a kind of message is meant.
    #[must_use]
    pub fn means(&self, topic: &str) -> bool {
        matches(&self.0, topic)
    }
}

impl Scalar for EventPattern {
    const WHAT: &'static str = "the name of an event";
    const PATTERN: Option<&'static str> = Some(r"^(\*|[a-z]+\.(\*|[a-z_]+))$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let is_family = text == "*" || text.ends_with(".*");
        let is_known =
            TOPICS.iter().any(|topic| if is_family { matches(text, topic.name) } else { text == topic.name });
        if is_known {
            return Ok(Self(text.to_owned()));
        }
        let names = || TOPICS.iter().map(|topic| topic.name);
        Err(Wrong::new("unknown_event", format!("there is no event `{}`", printable(text, 60)))
            .why("nobody would ever be told")
            .allowed(names().chain(["run.*", "*"]))
            .nearest(nearest(text, names()))
            .hint("one of these names"))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Something that the hub may call although it is not public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow(pub Allowed);

impl Scalar for Allow {
    const WHAT: &'static str = "a range, address or host, with a port or without";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Allowed::parse(text).map(Self).map_err(|(what, hint)| {
            let hint =
                hint.unwrap_or_else(|| "10.0.0.0/8, 10.1.2.3:8080, \"[fd00::1]:8080\" or chat.internal:8443".into());
            Wrong::new("bad_range", what).hint(hint)
        })
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

scalars!(EventPattern, Allow);

/// Somebody that is told, ready for use.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The name in lists and commands.
    pub name: String,
    pub kind: NotificationKind,
    pub url: Secret,
    /// Newest first, as they stand in the file.
    pub secrets: Vec<Secret>,
    /// Empty: all.
    pub events: Vec<EventPattern>,
}

impl Endpoint {
    /// Whether it is told of a kind of message.
    #[must_use]
    pub fn wants(&self, topic: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|pattern| pattern.means(topic))
    }
}

impl Ecosystem {
    /// Whom the hub tells, by the ways that are built.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let names = names(&self.notifications);
        let all = self.notifications.iter().zip(names);
        all.filter(|(one, _)| one.kind != NotificationKind::Email)
            .filter_map(|(one, name)| {
                let secrets = one.secret.iter().chain(&one.secrets).cloned().collect();
                let (kind, events) = (one.kind, one.events.clone());
                Some(Endpoint { name, kind, url: one.url.clone()?, secrets, events })
            })
            .collect()
    }

    /// What may be called although it is not public.
    #[must_use]
    pub fn allowed(&self) -> Vec<Allowed> {
        self.egress.allow.iter().map(|entry| entry.0.clone()).collect()
    }
}

/// The names in the order of the file: the given one, else the kind, with a number where there are several.
fn names(all: &[Notification]) -> Vec<String> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let name = |one: &Notification| match &one.name {
        Some(name) => name.as_str().to_owned(),
        None => {
            let count = seen.entry(one.kind.as_str()).or_default();
            *count += 1;
            if *count == 1 { one.kind.as_str().to_owned() } else { format!("{}-{count}", one.kind) }
        }
    };
    all.iter().map(name).collect()
}

/// A web address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub is_https: bool,
    /// A host name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, as sent.
    pub path: String,
}

impl Target {
    /// Takes a web address apart; strict, so that nobody reads it otherwise than we do.
    ///
    /// # Errors
    /// What is wrong with it; never the address itself, which may be a secret.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if url.len() > 2_048 {
            return Err("it is longer than 2,048 bytes");
        }
        if !url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err("it holds a character that no web address has");
        }
        let (is_https, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("it begins neither with https:// nor with http://"),
        };
        if rest.contains('#') {
            return Err("it holds a `#`, and what follows that is never sent");
        }
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("it holds a user or password; a signature tells who sends");
        }
        let (host, port) = host_and_port(authority).ok_or("its host and port cannot be read")?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inside) if inside.parse::<std::net::Ipv6Addr>().is_ok() => inside.to_owned(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            _ => return Err("its host is neither a name nor an address"),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_https, host, port: port.unwrap_or(if is_https { 443 } else { 80 }), path })
    }

    /// Host and port as they stand in a request; the port only where it is not the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// Reads a secret of Standard Webhooks: `whsec_` and base64 of 24 to 64 bytes.
///
/// # Errors
/// What is wrong with it, without repeating it.
pub fn signing_key(secret: &str) -> Result<Vec<u8>, &'static str> {
    use base64::Engine as _;
    let text = secret.trim().strip_prefix("whsec_").ok_or("it does not begin with whsec_")?;
    let key = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| "what follows whsec_ is no base64")?;
    match key.len() {
        0..=23 => Err("it has less than 24 bytes"),
        24..=64 => Ok(key),
        _ => Err("it has more than 64 bytes"),
    }
}

const NEW_SECRET: &str = "(umask 077; printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\" > FILE)";

/// Reports what does not fit together.
pub fn check_notifications(ecosystem: &Ecosystem, cx: &mut Cx<'_>) {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let allowed = ecosystem.allowed();
    for ((index, one), name) in ecosystem.notifications.iter().enumerate().zip(names(&ecosystem.notifications)) {
        let at = |key: &'static str| -> Vec<Seg> { vec!["notifications".into(), index.into(), key.into()] };
        if let Some(other) = first.insert(name.clone(), index) {
            let place = cx.named(&["notifications".into(), other.into()]);
            let wrong = Wrong::new("duplicate_name", format!("the name `{name}` is taken by {place}"))
                .why("commands and lists tell endpoints apart by name");
            cx.report_path(&at("name"), wrong.hint(format!("name: {name}-2")));
        }
        if one.kind == NotificationKind::Email {
            continue;
        }
        no_effect(one, &at, cx);
        url(one, &at, &allowed, cx);
        secrets(one, &at, cx);
    }
}

fn no_effect(one: &Notification, at: &dyn Fn(&'static str) -> Vec<Seg>, cx: &mut Cx<'_>) {
    let is_slack = one.kind == NotificationKind::Slack;
    let has_secret = one.secret.is_some() || !one.secrets.is_empty();
    let idle = [("smtp", one.smtp.is_some()), ("to", !one.to.is_empty()), ("secret", is_slack && has_secret)];
    for (key, is_there) in idle {
        if is_there {
            let what = format!("`{key}` has no effect for kind `{}`", one.kind);
            cx.report_path(&at(key), Wrong::warning("no_effect", what).hint("remove it"));
        }
    }
}

fn url(one: &Notification, at: &dyn Fn(&'static str) -> Vec<Seg>, allowed: &[Allowed], cx: &mut Cx<'_>) {
    let Some(url) = &one.url else {
        if cx.is_written(&at("url")) {
            return;
        }
        let wrong = Wrong::new("missing_key", "the key `url` is missing here").why("nobody could be told");
        cx.report_path(
            &at("url"),
            wrong.hint("url: \"https://ops.example/hook\", or \"${file:PATH}\" of a file that holds it"),
        );
        return;
    };
    // A key that is not available yet has none.
    let Some(text) = url.expose() else { return };
    if text.ends_with("://...") {
        cx.report_path(&at("url"), Wrong::not_yet(format!("`{text}` is a placeholder")).hint("write the address"));
        return;
    }
    let target = match Target::parse(text) {
        Ok(target) => target,
        Err(why) => {
            let wrong = Wrong::new("bad_address", "this is no address that messages can be sent to").why(why);
            cx.report_path(&at("url"), wrong.hint("https://ops.example/hook").secret());
            return;
        }
    };
    if target.is_https && !cx.caps.tls && !cx.caps.everything {
        let wrong = Wrong::not_yet("this program was built without https").why("messages cannot be sent there");
        cx.report_path(&at("url"), wrong.hint("cargo build --release --features tls"));
    }
    let Ok(address) = target.host.parse::<IpAddr>() else { return };
    if let Err(reach) = permit(allowed, &target.host, address, target.port) {
        let entry = match address {
            IpAddr::V4(address) => format!("{address}:{}", target.port),
            IpAddr::V6(address) => format!("[{address}]:{}", target.port),
        };
        let wrong = Wrong::new("egress_denied", format!("this leads to {}, which is not allowed", reach.as_str()))
            .why("the hub calls only public addresses by itself");
        cx.report_path(&at("url"), wrong.hint(format!("egress: {{ allow: [\"{entry}\"] }}, if that is meant")));
    }
}

fn secrets(one: &Notification, at: &dyn Fn(&'static str) -> Vec<Seg>, cx: &mut Cx<'_>) {
    if one.kind != NotificationKind::Webhook {
        return;
    }
    let is_written = cx.is_written(&at("secret")) || cx.is_written(&at("secrets"));
    if one.secret.is_none() && one.secrets.is_empty() && !is_written {
        let wrong = Wrong::new("missing_key", "the key `secret` is missing here")
            .why("a receiver could not tell the hub's messages from anybody's");
        cx.report_path(&at("secret"), wrong.hint(format!("secret: \"${{file:FILE}}\", made by {NEW_SECRET}")));
    }
    let all = one.secret.iter().map(|s| (at("secret"), s)).chain(one.secrets.iter().enumerate().map(|(n, s)| {
        let mut path = at("secrets");
        path.push(n.into());
        (path, s)
    }));
    for (path, secret) in all {
        if let Some(Err(why)) = secret.expose().map(signing_key) {
            let wrong = Wrong::new("bad_secret", "this is no secret that messages can be signed with").why(why);
            cx.report_path(&path, wrong.hint(NEW_SECRET));
        }
    }
}
