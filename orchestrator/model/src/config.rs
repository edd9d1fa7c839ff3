//! `.cathedral/integration-config.yaml`: one file declares the ecosystem.
//!
//! Reading is pure and total: any text gives either a [`Config`] or every problem at once, each with its line,
//! column, reason and remedy. What the contract knows but this version does not do is answered with
//! "not available yet", never passed over. References (`${NAME}`, `${file:PATH}`) are looked up through
//! [`Lookup`]; what they stand for is never shown.

pub mod address;
pub mod backup;
mod check;
pub mod database;
pub mod ecosystem;
mod excerpt;
pub mod explain;
pub mod files;
mod hosts;
pub mod integrity;
pub mod names;
mod nearest;
pub mod notify;
pub mod operation;
mod order;
mod parts;
mod places;
mod primitives;
mod problem;
pub(crate) mod read;
pub mod repository;
pub mod scalar;
mod schedule;
mod schema;
pub mod secret;
mod show;
pub mod table;
mod template;
pub(crate) mod tree;

pub use ecosystem::{Config, Ecosystem};
pub use explain::{Explanation, explain, keys, nearest_key};
pub use nearest::nearest;
pub use parts::CODES;
pub(crate) use problem::printable;
pub use problem::{Problem, Severity};
pub use schema::schema;
pub use secret::{Given, Lookup, NoLookup, Secret};
pub use show::{show_json, show_yaml};
pub use template::{Found, FoundDatabase, FoundFolder, FoundRepository, template_full, template_short};

use read::Cx;
use table::Reads;

/// What this program can do beyond the contract's first form; decided by its features and its age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The state can be kept in PostgreSQL.
    pub postgres_store: bool,
    /// Messages can be sent by https.
    pub tls: bool,
    /// Nothing is answered with "not available yet"; for tests and tools that only read.
    pub everything: bool,
}

impl Capabilities {
    /// The same, with the state in PostgreSQL allowed or not.
    #[must_use]
    pub fn with_postgres_store(mut self, is_built: bool) -> Self {
        self.postgres_store = is_built;
        self
    }

    /// The same, with https allowed or not.
    #[must_use]
    pub fn with_tls(mut self, is_built: bool) -> Self {
        self.tls = is_built;
        self
    }

    /// Everything the contract knows.
    #[must_use]
    pub fn everything() -> Self {
        Self { postgres_store: true, tls: true, everything: true }
    }
}

/// The outcome of reading a file.
#[derive(Debug)]
pub struct Checked {
    /// The typed file; none if it could not be read at all or something in it is wrong.
    pub config: Option<Config>,
    /// Every finding, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads `text` and finds everything there is to say about it.
#[must_use]
pub fn check(text: &str, file_name: &str, env: &dyn Lookup, caps: &Capabilities) -> Checked {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = match tree::read(text) {
        Ok(tree) => tree,
        Err(refusal) => {
            let (at, wrong) = *refusal;
            let problem = excerpt::problem(text, file_name, &[], at, String::new(), String::new(), wrong);
            return Checked { config: None, problems: vec![problem] };
        }
    };
    let mut cx = Cx::new(&tree, env, caps);
    let config = match tree.root() {
        Some(root) if !root.is_empty_value() => Config::read(root, &mut cx),
        _ => {
            let wrong = problem::Wrong::new("empty_file", "the file declares nothing")
                .why("an ecosystem has at least a master repository")
                .hint("cathedral init");
            cx.report_at(tree::At { line: 1, column: 1, start: 0, end: 0 }, String::new(), "nothing".to_owned(), wrong);
            None
        }
    };
    if let Some(config) = &config {
        check::check(config, &mut cx);
    }
    let config = config.filter(|_| !cx.has_errors());
    Checked { config, problems: cx.finish(text, file_name) }
}

/// Reads `text` into a configuration that can be used as it is.
///
/// # Errors
/// Every problem, if one of them is an error or asks for what is not available yet; warnings are among them then.
pub fn parse(text: &str, file_name: &str, env: &dyn Lookup, caps: &Capabilities) -> Result<Config, Vec<Problem>> {
    let Checked { config, problems } = check(text, file_name, env, caps);
    let is_usable = problems.iter().all(|problem| problem.severity == Severity::Warning);
    match config {
        Some(config) if is_usable => Ok(config),
        _ => Err(problems),
    }
}

/// Reads `text` into the types even where it asks for what is not available yet.
///
/// # Errors
/// Every problem, if one of them is an error.
pub fn parse_full(
    text: &str,
    file_name: &str,
    env: &dyn Lookup,
    caps: &Capabilities,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let Checked { config, problems } = check(text, file_name, env, caps);
    match config {
        Some(config) => Ok((config, problems)),
        None => Err(problems),
    }
}

/// Every finding about `text`, warnings included.
#[must_use]
pub fn validate(text: &str, file_name: &str, env: &dyn Lookup, caps: &Capabilities) -> Vec<Problem> {
    check(text, file_name, env, caps).problems
}
