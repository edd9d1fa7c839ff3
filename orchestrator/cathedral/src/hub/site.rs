//! The folder that holds `.cathedral/`, and the configuration in it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cathedral_model::config::scalar::Scalar as _;
use cathedral_model::config::{Capabilities, Config, Lookup, Problem, Severity};
use cathedral_web::notify::{Ready, Setup};

use crate::cli::Failure;

/// Where the configuration stands below the site's folder.
pub const CONFIG: &str = ".cathedral/integration-config.yaml";

/// A hub's folder with its configuration.
pub struct Site {
    /// The folder that holds `.cathedral/`; relative paths of the configuration begin here.
    pub root: PathBuf,
    pub state: PathBuf,
    pub file: PathBuf,
    pub config: Config,
    /// The file's text as it was read: it may have been edited since.
    pub text: String,
    pub warnings: Vec<Problem>,
}

/// File systems that store nothing, by the numbers of `linux/magic.h`.
const PSEUDO: [(i64, &str); 12] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x1cd1, "devpts"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x6265_6570, "configfs"),
    (0xcafe_4a11, "bpf"),
    (0x1980_0202, "mqueue"),
    (0x6165_676c, "pstore"),
];

/// Looks references up: `${NAME}` in the environment, `${file:PATH}` below the site's folder.
pub struct FileLookup {
    pub root: PathBuf,
}

impl Lookup for FileLookup {
    fn env(&self, name: &str) -> Result<String, String> {
        std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
    }

    fn knows_time_zone(&self, name: &str) -> Option<bool> {
        Some(jiff::tz::TimeZone::get(name).is_ok())
    }

    fn place(&self, path: &str) -> Option<String> {
        let whole = super::resolve::normal(&std::path::absolute(self.root.join(path)).ok()?);
        // Links are followed as far as there is something; the rest is made by the first sync.
        let (there, real) = whole.ancestors().find_map(|p| Some((p, fs::canonicalize(p).ok()?)))?;
        let rest = whole.strip_prefix(there).ok()?;
        real.join(rest).to_str().map(str::to_owned)
    }

    fn pseudo(&self, path: &str) -> Option<&'static str> {
        let whole = std::path::absolute(self.root.join(path)).ok()?;
        // Of a place that is still to be made, the file system is that of the folder it will stand in.
        let found = whole.ancestors().find_map(|p| rustix::fs::statfs(p).ok())?;
        let kind = found.f_type;
        PSEUDO.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let full = self.root.join(path);
        let text = fs::read_to_string(&full).map_err(|e| format!("{path}: {e}"))?;
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// What this build can do.
pub fn capabilities() -> Capabilities {
    Capabilities::default().with_postgres_store(cfg!(feature = "postgres")).with_tls(cfg!(feature = "tls"))
}

impl Site {
    /// Finds the configuration from `start` upwards, reads and checks it.
    pub fn find(start: &Path, config: Option<&Path>) -> Result<Self, Failure> {
        let (_, file) = Self::locate(start, config)?;
        Self::read(file)
    }

    /// The folder of a hub and its configuration file, unread.
    pub fn locate(start: &Path, config: Option<&Path>) -> Result<(PathBuf, PathBuf), Failure> {
        let file = match config {
            Some(file) => start.join(file),
            None => locate(start)?,
        };
        Ok((site_root(&file)?, file))
    }

    fn read(file: PathBuf) -> Result<Self, Failure> {
        let root = site_root(&file)?;
        let name = shown(&file);
        // Looked at first: reading a pipe would wait for a writer.
        if fs::metadata(&file).is_ok_and(|found| !found.is_file()) {
            let is_folder = file.is_dir();
            return Err(no_file(&name, if is_folder { "a folder" } else { "no regular file" }));
        }
        let text = read_limited(&file).map_err(|e| {
            let failure = Failure::io(&name, &e);
            if e.kind() == std::io::ErrorKind::NotFound { no_config(&name) } else { failure }
        })?;
        let text = String::from_utf8(text).map_err(|e| {
            Failure::new(
                3,
                "C1301",
                format!("{name} is not a text file: byte {} is not UTF-8", e.utf8_error().valid_up_to()),
            )
            .why("a configuration is YAML in UTF-8; nothing was changed")
            .next("put an earlier version of the file back, or write a new one with cathedral init --stdout")
        })?;
        let lookup = FileLookup { root: root.clone() };
        let checked = cathedral_model::config::check(&text, &name, &lookup, &capabilities());
        let (warnings, wrong): (Vec<_>, Vec<_>) =
            checked.problems.into_iter().partition(|p| p.severity == Severity::Warning);
        match checked.config {
            Some(config) if wrong.is_empty() => {
                Ok(Self { state: root.join(".cathedral"), root, file, config, text, warnings })
            }
            _ => Err(invalid(&name, &wrong)),
        }
    }

    /// The secrets that GitHub's deliveries may be signed with: those of the configuration, else the one
    /// that `init` made.
    pub fn github_secrets(&self) -> Vec<Vec<u8>> {
        let declared = &self.config.cathedral_ecosystem.incoming_webhooks.github;
        if let Some(sender) = declared {
            return sender.secrets.iter().filter_map(|s| Some(s.expose()?.as_bytes().to_vec())).collect();
        }
        let made = fs::read_to_string(self.state.join(GITHUB_SECRET)).ok();
        let made = made.map(|text| text.trim().as_bytes().to_vec()).filter(|secret| !secret.is_empty());
        made.into_iter().collect()
    }

    /// Whom the hub tells what happens.
    pub fn notifications(&self) -> Setup {
        let declared = &self.config.cathedral_ecosystem;
        let url = declared.web.public_url.as_ref().map(|url| url.text().trim_end_matches('/').to_owned());
        Setup {
            ecosystem: declared.name().as_str().to_owned(),
            public_url: url,
            allow: declared.allowed(),
            // What was checked with the configuration is ready.
            endpoints: declared.endpoints().iter().filter_map(|endpoint| Ready::of(endpoint).ok()).collect(),
        }
    }

    /// Makes the state folder and what belongs into it: 0700, with an ignore file of its own.
    pub fn prepare(&self) -> Result<(), Failure> {
        prepare_state(&self.state)
    }
}

/// The secret for GitHub's deliveries that `init` makes; used when the configuration names none.
pub const GITHUB_SECRET: &str = "keys/webhook-github";

/// Makes the first secret for webhooks, unless there is one.
pub fn make_webhook_secret(state: &Path) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = state.join(GITHUB_SECRET);
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(1, "C1002", format!("no random numbers: {e}")))?;
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
        Ok(mut new) => new
            .write_all(format!("{text}\n").as_bytes())
            .and_then(|()| new.sync_all())
            .map_err(|e| Failure::write(&file, &e)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Failure::write(&file, &e)),
    }
}

/// Makes a state folder.
pub fn prepare_state(state: &Path) -> Result<(), Failure> {
    for folder in ["", "keys", "log", "content", "git", "scan", "cache"] {
        let path = state.join(folder);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&path).map_err(|e| Failure::io(&shown(&path), &e))?;
    }
    // The folder may have come with a checkout, with wider rights.
    for folder in [state.to_path_buf(), state.join("keys")] {
        let mode = fs::metadata(&folder).map_err(|e| Failure::io(&shown(&folder), &e))?.permissions().mode() & 0o777;
        // A command that has nothing to write touches nothing, not even a time.
        if mode != 0o700 {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&folder, private).map_err(|e| Failure::io(&shown(&folder), &e))?;
        }
    }
    let ignore = state.join(".gitignore");
    if !ignore.exists() {
        let text = "# State, keys and snapshots of this hub; only the configuration belongs into git.\n*\n!integration-config.yaml\n";
        fs::write(&ignore, text).map_err(|e| Failure::io(&shown(&ignore), &e))?;
    }
    Ok(())
}

/// Puts a text in place of a file: aside, durable, then renamed.
pub fn replace_file(file: &Path, text: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let aside = file.with_extension("yaml.new");
    let write = || -> std::io::Result<()> {
        let mut new = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
        new.write_all(text)?;
        new.sync_all()?;
        fs::rename(&aside, file)?;
        fs::File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(|e| Failure::write(file, &e))
}

/// Reads a little more than a configuration may have, so that the check can say that it is too large.
pub fn read_limited(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = vec![];
    fs::File::open(file)?.take((1 << 20) + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The failure for a configuration with problems, each with its excerpt.
pub fn invalid(name: &str, wrong: &[Problem]) -> Failure {
    let errors = wrong.iter().filter(|p| p.severity == Severity::Error).count();
    let later = wrong.len() - errors;
    let what = match (errors, later) {
        (0, n) => format!("{name} asks for {n} thing{} that are not available yet", if n == 1 { "" } else { "s" }),
        (n, 0) => format!("{name} has {n} problem{}", if n == 1 { "" } else { "s" }),
        (n, m) => format!(
            "{name} has {n} problem{} and asks for {m} more that are not available yet",
            if n == 1 { "" } else { "s" }
        ),
    };
    let mut failure = Failure::new(3, "C1301", what).why("nothing was changed");
    failure.problems = wrong.to_vec();
    failure.data = serde_json::to_value(wrong).ok();
    failure.next("cathedral config explain KEY    says what a key means and allows")
}

fn no_config(name: &str) -> Failure {
    Failure::new(3, "C1302", format!("{name} does not exist"))
        .why("a hub is described by this file")
        .next("cathedral init    writes one for what lies around")
        .next("cathedral demo    shows everything on a small ecosystem of its own")
}

fn no_file(name: &str, what: &str) -> Failure {
    Failure::new(3, "C1302", format!("{name} is {what}"))
        .why("a hub is described by a file there; nothing was changed")
        .next("move it away, then cathedral init")
}

fn locate(start: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(start).map_err(|e| Failure::io(&shown(start), &e))?;
    if !absolute.is_dir() {
        return Err(Failure::new(4, "C1404", format!("{} is not a folder", shown(start))));
    }
    // A folder of this name is told of, not passed over for a hub further up.
    let found = absolute.ancestors().map(|folder| folder.join(CONFIG)).find(|file| file.exists());
    found.ok_or_else(|| no_config(&format!("{CONFIG} in {} or above", absolute.display())))
}

/// The folder that paths of the configuration begin at: the parent of `.cathedral/`, else the file's own.
fn site_root(file: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(file).map_err(|e| Failure::io(&shown(file), &e))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let is_state = folder.file_name().is_some_and(|n| n == ".cathedral");
    Ok(if is_state { folder.parent().unwrap_or(folder) } else { folder }.to_path_buf())
}

/// A path for messages: relative to the current folder where that is shorter.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.as_ref().and_then(|here| path.strip_prefix(here).ok()).filter(|p| !p.as_os_str().is_empty());
    crate::cli::Output::safe_path(relative.unwrap_or(path))
}
