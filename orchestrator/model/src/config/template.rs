//! The files that `cathedral init` writes.

use std::fmt::Write as _;

use super::address::{DbUrl, GitUrl};
use super::ecosystem::Ecosystem;
use super::explain::{default_text, join};
use super::names::{LocalPath, Name, TreePath};
use super::scalar::Scalar;
use super::table::{Key, Mark, Section, Shape};

/// What `cathedral init` found around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The name of the master repository.
    pub master: String,
    pub repositories: Vec<FoundRepository>,
    pub databases: Vec<FoundDatabase>,
    pub folders: Vec<FoundFolder>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundRepository {
    pub name: String,
    /// Where it is; none for a submodule of the hub that names it itself.
    pub url: Option<String>,
    /// Where it stands in the hub, if not at its name.
    pub path: Option<String>,
    pub is_submodule: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundDatabase {
    pub name: String,
    /// The file of the spoke's copy.
    pub path: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundFolder {
    pub name: String,
    pub path: String,
}

/// A commented short form for what was found. Its text is accepted by [`parse`](super::parse).
#[must_use]
pub fn template_short(found: &Found) -> String {
    let mut names = Names::default();
    let master = names.take(&found.master, "hub");
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line("# The parts of this ecosystem and how they are kept together.");
    line("#   cathedral config validate       checks this file");
    line("#   cathedral config explain KEY    says what a key means");
    line("cathedral_ecosystem:");
    line(&format!("  master_repository: {}", quote(&master)));
    line("  integration_pattern: hub_and_spoke");
    if found.repositories.is_empty() {
        line("  # No repository was found beside this folder; an entry looks so:");
        line("  # connected_repositories:");
        line("  #   - name: docs");
        line("  #     url: ../docs                    # path, file://, https://, ssh:// or git@host:path");
        line("  #     integration_type: git_submodule # git_submodule | git_mirror | shared_paths");
        line("  #     data_sync: bidirectional        # bidirectional | hub_distribution | collect | snapshot_only");
    } else {
        line("  connected_repositories:");
        for repository in &found.repositories {
            let name = names.take(&repository.name, "repository");
            line(&format!("    - name: {}", quote(&name)));
            line(&remarked("      role: \"\"", "what it is there for, in your words"));
            if let Some(url) = repository.url.as_ref().filter(|url| GitUrl::parse(url).is_ok()) {
                line(&format!("      url: {}", quote(url)));
            }
            let kind = if repository.is_submodule { "git_submodule" } else { "git_mirror" };
            line(&remarked(&format!("      integration_type: {kind}"), "git_submodule | git_mirror | shared_paths"));
            if let Some(path) = repository
                .path
                .as_ref()
                .filter(|path| repository.is_submodule && **path != name && TreePath::parse(path).is_ok())
            {
                line(&format!("      path: {}", quote(path)));
            }
            line(&remarked(
                "      data_sync: bidirectional",
                "bidirectional | hub_distribution | collect | snapshot_only",
            ));
        }
    }
    if !found.databases.is_empty() {
        line("  connected_databases:");
        for database in &found.databases {
            let url = format!("sqlite:{}", database.path);
            if DbUrl::parse(&url).is_err() {
                continue; // its path could not stand in this file
            }
            let name = names.take(database.name.trim_end_matches(".db"), "database");
            line(&format!("    - name: {}", quote(&name)));
            line(&remarked(&format!("      hub: {}", quote(&format!("sqlite:data/{name}.db"))), HUB_COPY));
            line(&format!("      url: {}", quote(&url)));
            line("      data_sync: bidirectional");
            line(&remarked("      merge: cell", "cell | row | none"));
        }
    }
    if !found.folders.is_empty() {
        line("  connected_files:");
        for folder in found.folders.iter().filter(|folder| LocalPath::parse(&folder.path).is_ok()) {
            let name = names.take(&folder.name, "folder");
            line(&format!("    - name: {}", quote(&name)));
            line(&remarked(&format!("      hub: {}", quote(&format!("data/{name}"))), HUB_COPY));
            line(&format!("      paths: [{}]", quote(&folder.path)));
            line("      data_sync: bidirectional");
            line("      ignore: [\"*.tmp\"]");
        }
    }
    line("  # Snapshots go to .cathedral/vault. A second place makes them survive this disk:");
    line("  # backup:");
    line("  #   destinations:");
    line("  #     - { name: local, url: \"file:.cathedral/vault\" }");
    line("  #     - { name: usb, url: \"file:/media/usb/vault\" }");
    line("  #   quorum: 2");
    out
}

/// Every key with its meaning and an example, as comments under a smallest file that works.
/// Its text is accepted by [`parse`](super::parse).
#[must_use]
pub fn template_full(found: &Found) -> String {
    let mut out = template_short(found);
    out.push_str("\n# ---- every key ----------------------------------------------------------------\n");
    out.push_str("# Each key with an example, and the default where there is one;\n");
    out.push_str("# \"not available yet\" marks what this version refuses. Copy a line up and remove the `#`.\n");
    write_section(&Ecosystem::SECTION, 1, true, &mut out);
    out
}

fn write_section(section: &Section, depth: usize, is_open: bool, out: &mut String) {
    let indent = "  ".repeat(depth);
    for key in section.keys {
        let is_available = is_open && key.mark.is_available();
        let _ = writeln!(out, "#{indent}# {}{}", join(key.meaning), remark(section, key, is_available));
        match key.shape.section() {
            Some(below) if depth < 8 => {
                let _ = writeln!(out, "#{indent}{}:", key.name);
                if matches!(key.shape, Shape::List(_)) {
                    let _ = writeln!(out, "#{indent}  -");
                    write_section(below, depth + 2, is_available, out);
                } else {
                    write_section(below, depth + 1, is_available, out);
                }
            }
            _ => {
                let _ = writeln!(out, "#{indent}{}: {}", key.name, key.example);
            }
        }
    }
}

fn remark(section: &Section, key: &Key, is_available: bool) -> String {
    let mut remark = String::new();
    if let Some(words) = key.shape.words() {
        let words: Vec<String> = words
            .iter()
            .map(
                |word| if word.mark.is_available() { word.text.to_owned() } else { format!("{} (not yet)", word.text) },
            )
            .collect();
        let _ = write!(remark, " [{}]", words.join(" | "));
    }
    match key.mark {
        Mark::Required => remark.push_str(" (required)"),
        _ if !is_available => remark.push_str(" (not available yet)"),
        _ => {
            let default = default_text(section, key);
            if !default.is_empty() && default != "[]" {
                let _ = write!(remark, " (default: {default})");
            }
        }
    }
    remark
}

const HUB_COPY: &str = "the hub's copy; made by the first sync";

/// A line with a remark in its own column.
fn remarked(line: &str, remark: &str) -> String {
    format!("{line:<42} # {remark}")
}

/// Makes names that the contract accepts, each once.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn take(&mut self, wanted: &str, otherwise: &str) -> String {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let folded: String = wanted.chars().map(|c| if is_known(c) { c } else { '-' }).take(80).collect();
        let folded = folded.trim_matches(['.', '-']).trim_end_matches(".lock").replace("..", ".");
        let base = if Name::parse(&folded).is_ok() { folded } else { otherwise.to_owned() };
        let mut name = base.clone();
        let mut number = 2;
        while self.0.iter().any(|taken| taken.eq_ignore_ascii_case(&name)) {
            name = format!("{base}-{number}");
            number += 1;
        }
        self.0.push(name.clone());
        name
    }
}

/// A text as YAML reads it back: in double quotes where that is not certain without.
fn quote(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_plain { text.to_owned() } else { serde_json::to_string(text).unwrap_or_default() }
}
