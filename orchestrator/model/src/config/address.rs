//! Addresses of repositories, databases, folders and destinations.
//!
//! Every form is on a list; what git or a driver would also understand (`ext::`, options, remote helpers) is refused.

use super::Capabilities;
use super::names::{check_local_path, plain_argument, text_type};
use super::nearest::nearest;
use super::problem::{Wrong, printable};
use super::scalar::{Scalar, scalars};
use crate::egress::host_and_port;

text_type! {
    /// The address of a repository: a path, `file://`, `https://`, `http://`, `ssh://` or `git@host:path`.
    GitUrl
}
text_type! {
    /// The address of a database: `sqlite:PATH`, `postgres://` or `mysql://`.
    DbUrl
}
text_type! {
    /// Where a backup goes: `file:PATH`, and later `s3://` and its kin.
    VaultUrl
}
text_type! {
    /// A folder: a path, or `sftp://host/path`.
    FilePlace
}
text_type! {
    /// Where the hub keeps its own state: `sqlite:PATH` or `postgres://`.
    StoreUrl
}
text_type! {
    /// A web address.
    WebUrl
}
text_type! {
    /// An age recipient that may read backups.
    Recipient
}
text_type! {
    /// How packs are spread over destinations: `replicate` or `erasure K+M`.
    Redundancy
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A path or `file://` on this machine.
    Local,
    Http,
    Https,
    Ssh,
}

impl GitUrl {
    /// How the repository is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.0.split_once("://") {
            Some(("http", _)) => Transport::Http,
            Some(("https", _)) => Transport::Https,
            Some(("ssh", _)) => Transport::Ssh,
            Some(_) => Transport::Local,
            None if is_scp_form(&self.0) => Transport::Ssh,
            None => Transport::Local,
        }
    }

    /// The path on this machine, if it is on this machine.
    #[must_use]
    pub fn local_path(&self) -> Option<&str> {
        match self.transport() {
            Transport::Local => Some(self.0.strip_prefix("file://").unwrap_or(&self.0)),
            _ => None,
        }
    }

    /// The host and the port, if it is on another machine.
    #[must_use]
    pub fn host(&self) -> Option<(&str, u16)> {
        let (authority, port) = match (self.transport(), self.0.split_once("://")) {
            (Transport::Local, _) => return None,
            (_, None) => (self.0.split(':').next()?, 22),
            (transport, Some((_, rest))) => {
                let port = match transport {
                    Transport::Https => 443,
                    Transport::Http => 80,
                    _ => 22,
                };
                (rest.split(['/', '?', '#']).next()?, port)
            }
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // A colon with no port, or one that is none, hides nobody.
        let (host, own) = host_and_port(host).unwrap_or((host.rsplit_once(':').map_or(host, |(host, _)| host), None));
        Some((host, own.unwrap_or(port)))
    }
}

const GIT_SCHEMES: [&str; 4] = ["https", "ssh", "http", "file"];

impl Scalar for GitUrl {
    const WHAT: &'static str = "a repository address (path, file://, https://, ssh://, git@host:path)";

    fn parse(text: &str) -> Result<Self, Wrong> {
        plain_argument("address", text)?;
        // `helper::address` makes git run a program of that name.
        if let Some((helper, _)) = text.split_once("::")
            && helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b'.'))
        {
            let wrong = Wrong::new("scheme_not_allowed", format!("`{}::` is not allowed", printable(helper, 20)));
            return Err(wrong.why("git would run a helper program of that name, which can be any command").allowed([
                "a path",
                "file://",
                "https://",
                "http://",
                "ssh://",
                "git@host:path",
            ]));
        }
        if text.contains(' ') && (text.contains("://") || is_scp_form(text)) {
            return Err(bad(text, "repository address")
                .why("an address holds no blank")
                .hint("%20 stands for a blank"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if !GIT_SCHEMES.contains(&scheme) {
                let wrong = Wrong::new(
                    "scheme_not_allowed",
                    format!("`{}://` is not allowed for a repository", printable(scheme, 20)),
                );
                let why = if scheme == "git" {
                    "it is neither encrypted nor signed"
                } else {
                    "only these are known to be safe"
                };
                let meant = nearest(scheme, GIT_SCHEMES).map(|meant| format!("{meant}://{}", printable(rest, 80)));
                return Err(wrong.why(why).allowed(GIT_SCHEMES.map(|s| format!("{s}://"))).nearest(meant.as_deref()));
            }
            if scheme == "file" {
                check_local_path(rest)?;
            } else {
                check_host(text, rest)?;
            }
        } else if is_scp_form(text) {
            let (host, path) = text.split_once(':').unwrap_or((text, ""));
            check_host(text, host)?;
            plain_argument("path", path)?;
        } else {
            check_local_path(text)?;
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// `user@host:path` or `host:path`, as git tells it: a colon before the first slash.
fn is_scp_form(text: &str) -> bool {
    text.find(':').is_some_and(|colon| colon > 0 && !text[..colon].contains('/'))
}

fn bad(text: &str, what: &str) -> Wrong {
    Wrong::new("bad_address", format!("`{}` is no {what}", printable(text, 80)))
}

/// Refuses hosts and users that a program could take for something else.
fn check_host(text: &str, rest: &str) -> Result<(), Wrong> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let name = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
    if name.is_empty() {
        return Err(bad(text, "address").why("the host is missing"));
    }
    if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
        return Err(Wrong::new("option_like", "the host or user of this address begins with `-`")
            .why("ssh would take it for an option, which can run any command"));
    }
    if name.contains(['%', '\\', '$', '`', ';', '|', '&', '<', '>', '(', ')', '"', '\'']) {
        return Err(bad(text, "address").why("the host holds a character that no host name has"));
    }
    if let Some(port) =
        host.rsplit_once(':').map(|(_, port)| port).filter(|_| !host.ends_with(']') && host.contains(':'))
        && !port.is_empty()
        && port.parse::<u16>().is_err()
    {
        return Err(bad(text, "address").why("what follows the colon of the host is no port"));
    }
    Ok(())
}

impl DbUrl {
    /// The file of an SQLite database.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&str> {
        self.0.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path))
    }
}

const DB_FORMS: [&str; 3] = ["sqlite:PATH", "postgres://", "mysql://"];

/// Checks `sqlite:PATH` or a server address of one of `schemes`.
fn check_database(text: &str, schemes: &[&str], forms: &[&str]) -> Result<(), Wrong> {
    plain_argument("address", text)?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path == ":memory:" || path.is_empty() {
            return Err(bad(text, "database address")
                .why("a database that is synchronised is a file")
                .hint("sqlite:data/app.db"));
        }
        if path.contains(['?', '#']) || path.starts_with("file:") {
            return Err(bad(text, "database address")
                .why("options of SQLite are set by the hub, not by the address")
                .hint("sqlite:PATH without `?`"));
        }
        return check_local_path(path);
    }
    match text.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) => check_host(text, rest),
        Some((scheme, _)) => {
            let wrong = Wrong::new(
                "scheme_not_allowed",
                format!("`{}://` is no kind of database known here", printable(scheme, 20)),
            );
            Err(wrong.allowed(forms.iter().copied()).nearest(nearest(scheme, schemes.iter().copied())))
        }
        None => {
            let is_file = text.ends_with(".db") || text.contains(".sqlite") || text.contains('/');
            let wrong = bad(text, "database address").allowed(forms.iter().copied());
            Err(if is_file { wrong.hint(format!("sqlite:{}", printable(text, 60))) } else { wrong })
        }
    }
}

impl Scalar for DbUrl {
    const WHAT: &'static str = "a database address (sqlite:PATH, postgres://, mysql://)";
    const PATTERN: Option<&'static str> = Some(r"^(sqlite:|postgres(ql)?://|mysql://|mariadb://|\$\{).+$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_database(text, &["postgres", "postgresql", "mysql", "mariadb"], &DB_FORMS)?;
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn not_yet(&self, _caps: &Capabilities) -> Option<String> {
        let kind = if self.0.starts_with("postgres") {
            "PostgreSQL"
        } else if self.sqlite_path().is_none() {
            "MySQL"
        } else {
            return None;
        };
        Some(format!("{kind} databases are not built yet; SQLite is, on both sides"))
    }
}

impl Scalar for StoreUrl {
    const WHAT: &'static str = "a store address (sqlite:PATH or postgres://)";
    const PATTERN: Option<&'static str> = Some(r"^(sqlite:|postgres(ql)?://|\$\{).+$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_database(text, &["postgres", "postgresql"], &["sqlite:PATH", "postgres://"])?;
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn not_yet(&self, caps: &Capabilities) -> Option<String> {
        (self.0.starts_with("postgres") && !caps.postgres_store).then(|| {
            "this program was built without the feature `postgres`, which keeps the state in PostgreSQL".to_owned()
        })
    }
}

const VAULT_SCHEMES: [&str; 9] = ["file", "s3", "sftp", "gs", "az", "webdav", "ipfs", "rest", "exec"];

impl VaultUrl {
    /// The folder, for `file:`.
    #[must_use]
    pub fn local_path(&self) -> Option<&str> {
        self.0.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path))
    }
}

impl Scalar for VaultUrl {
    const WHAT: &'static str = "a destination address such as file:PATH";
    const PATTERN: Option<&'static str> = Some(r"^(file|s3|sftp|gs|az|webdav|ipfs|rest|exec|\$\{[^}]+\}).*$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        plain_argument("address", text)?;
        let forms = VAULT_SCHEMES
            .map(|scheme| if scheme == "file" { "file:PATH".to_owned() } else { format!("{scheme}: (not yet)") });
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(bad(text, "destination address").allowed(forms).hint(format!("file:{}", printable(text, 60))));
        };
        if !VAULT_SCHEMES.contains(&scheme) {
            let wrong =
                Wrong::new("scheme_not_allowed", format!("`{}:` is no kind of destination", printable(scheme, 20)));
            return Err(wrong.allowed(forms).nearest(nearest(scheme, VAULT_SCHEMES)));
        }
        if scheme == "file" {
            check_local_path(rest.strip_prefix("//").unwrap_or(rest))?;
        } else if let Some(rest) = rest.strip_prefix("//") {
            check_host(text, rest)?;
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn not_yet(&self, _caps: &Capabilities) -> Option<String> {
        let (scheme, _) = self.0.split_once(':')?;
        (scheme != "file").then(|| format!("destinations of the kind `{scheme}:` are not built yet; `file:PATH` is"))
    }
}

impl Scalar for FilePlace {
    const WHAT: &'static str = "a folder (a path, or sftp://host/path)";

    fn parse(text: &str) -> Result<Self, Wrong> {
        plain_argument("path", text)?;
        match text.split_once("://") {
            Some(("sftp", rest)) => check_host(text, rest)?,
            Some((scheme, _)) => {
                let wrong = Wrong::new(
                    "scheme_not_allowed",
                    format!("`{}://` is no kind of folder known here", printable(scheme, 20)),
                );
                return Err(wrong.allowed(["a path", "sftp://"]));
            }
            None => {
                super::names::LocalPath::parse(text)?;
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn not_yet(&self, _caps: &Capabilities) -> Option<String> {
        self.0
            .starts_with("sftp://")
            .then(|| "folders on other machines (sftp://) are not built yet; a path on this one is".to_owned())
    }
}

impl Scalar for WebUrl {
    const WHAT: &'static str = "a web address";
    const PATTERN: Option<&'static str> = Some(r"^[a-z][a-z0-9+.-]*://.+$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        plain_argument("address", text)?;
        match text.split_once("://") {
            Some(("https" | "http" | "smtp" | "smtps" | "nats", rest)) => check_host(text, rest)?,
            _ => return Err(bad(text, "web address").hint("https://…")),
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for Recipient {
    const WHAT: &'static str = "an age recipient (age1…)";
    const PATTERN: Option<&'static str> = Some(r"^age1.+$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let refusal = |why: &str| {
            bad(text, "age recipient").why(why.to_owned()).hint("the line `public key: age1…` that age-keygen prints")
        };
        let Some(data) = text.strip_prefix("age1") else {
            return Err(refusal("a recipient begins with `age1`"));
        };
        if data != "..." && !data.starts_with("pq1") {
            if data.len() != 58 {
                return Err(refusal(&format!("it has {} characters instead of 62", text.len())));
            }
            if !is_bech32("age", data) {
                return Err(refusal("its check characters do not fit: a letter is wrong or missing"));
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn not_yet(&self, _caps: &Capabilities) -> Option<String> {
        match self.0.as_str() {
            "age1..." => Some("`age1...` is a placeholder; write a recipient here, or remove it".to_owned()),
            text if text.starts_with("age1pq1") => {
                Some("hybrid recipients (age1pq1…) are not built yet; X25519 ones are".to_owned())
            }
            _ => None,
        }
    }
}

/// Whether the last six characters of a bech32 text are the checksum of the rest.
fn is_bech32(prefix: &str, data: &str) -> bool {
    const CHARSET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut sum = 1_u32;
    let mut step = |value: u32| {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ value;
        for (bit, generator) in GENERATOR.iter().enumerate() {
            if top >> bit & 1 == 1 {
                sum ^= generator;
            }
        }
    };
    prefix.bytes().for_each(|b| step(u32::from(b) >> 5));
    step(0);
    prefix.bytes().for_each(|b| step(u32::from(b) & 31));
    for b in data.bytes() {
        let Some(value) = CHARSET.iter().position(|known| *known == b) else {
            return false;
        };
        step(u32::try_from(value).unwrap_or_default());
    }
    sum == 1
}

impl Scalar for Redundancy {
    const WHAT: &'static str = "replicate, or \"erasure K+M\"";
    const PATTERN: Option<&'static str> = Some(r"^(replicate|erasure [0-9]+\+[0-9]+)$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let refusal = || {
            Wrong::new("unknown_value", format!("`{}` is no kind of redundancy", printable(text, 40)))
                .allowed(["replicate", "erasure K+M (not yet)"])
                .nearest(nearest(text, ["replicate"]))
        };
        if text != "replicate" {
            let (data, parity) =
                text.strip_prefix("erasure ").and_then(|rest| rest.split_once('+')).ok_or_else(refusal)?;
            match (data.parse::<u8>(), parity.parse::<u8>()) {
                (Ok(1..), Ok(1..)) => {}
                _ => return Err(refusal()),
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn not_yet(&self, _caps: &Capabilities) -> Option<String> {
        (self.0 != "replicate").then(|| "erasure coding is not built yet; `replicate` is".to_owned())
    }
}

scalars!(GitUrl, DbUrl, VaultUrl, FilePlace, StoreUrl, WebUrl, Recipient, Redundancy);
