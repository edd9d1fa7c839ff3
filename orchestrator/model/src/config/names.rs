//! Names, refs, patterns and paths: what may stand in an argument, a file name or a ref.

use super::problem::{Wrong, printable};
use super::scalar::{Scalar, scalars};

macro_rules! text_type {
    ($(#[doc = $about:literal])+ $name:ident) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A value written in the code.
            #[allow(dead_code, reason = "not every type has a default")]
            pub(crate) fn known(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

pub(crate) use text_type;

text_type! {
    /// The name of an ecosystem, spoke, mirror or destination.
    Name
}
text_type! {
    /// A branch without `refs/heads/`.
    Branch
}
text_type! {
    /// A full ref with at most one `*`, such as `refs/heads/*`.
    RefPattern
}
text_type! {
    /// A path pattern as in `.gitignore`.
    Glob
}
text_type! {
    /// A table name with `*` for any part.
    TablePattern
}
text_type! {
    /// `default`, `table.column` or `table.*`.
    ColumnRule
}
text_type! {
    /// A path inside a repository: relative, with `/`, never leaving it.
    TreePath
}
text_type! {
    /// A path on this machine; a relative one begins at the folder that holds `.cathedral/`.
    LocalPath
}
text_type! {
    /// A message id of `git fsck`, such as `zeroPaddedFilemode`.
    FsckId
}
text_type! {
    /// The address and port to listen on.
    Listen
}

/// Refuses what would be taken for an option, or cannot be seen.
pub fn plain_argument(what: &str, text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("empty", format!("this {what} is empty")));
    }
    if text.starts_with('-') {
        return Err(Wrong::new("option_like", format!("this {what} begins with `-`"))
            .why("a program it is passed to could take it for an option and run something else")
            .hint(if what == "path" {
                format!("./{}", printable(text, 60))
            } else {
                "write it without the `-`".to_owned()
            }));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(Wrong::new(
            "control_character",
            format!("this {what} holds the control character U+{:04X}", c as u32),
        )
        .hint("remove it"));
    }
    if let Some(c) = text.chars().find(|c| printable(c.encode_utf8(&mut [0; 4]), 1).starts_with("\\u")) {
        return Err(Wrong::new(
            "invisible_character",
            format!("this {what} holds the invisible character U+{:04X}", c as u32),
        )
        .why("two names could look the same")
        .hint("remove it"));
    }
    if text.len() > 1024 {
        return Err(Wrong::new("too_long", format!("this {what} has {} bytes, more than 1024", text.len())));
    }
    Ok(())
}

impl Scalar for Name {
    const WHAT: &'static str = "a name";
    const PATTERN: Option<&'static str> = Some(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        plain_argument("name", text)?;
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let refusal = |why: &str| {
            let mut better: String = text.chars().map(|c| if is_known(c) { c } else { '-' }).collect();
            while better.contains("..") {
                better = better.replace("..", ".");
            }
            let better = better.trim_matches(['.', '-']).trim_end_matches(".lock").to_owned();
            let wrong = Wrong::new("bad_name", format!("\"{}\" cannot be a name", printable(text, 60)));
            wrong.why(why).hint(if better.is_empty() { "letters, digits, `-`, `_` and `.`".to_owned() } else { better })
        };
        if text.len() > 100 {
            return Err(refusal("names have at most 100 characters"));
        }
        if text.contains(['/', '\\']) {
            return Err(refusal("names become parts of refs and folders, so a slash would lead elsewhere"));
        }
        if !text.chars().all(is_known) {
            return Err(refusal(
                "names become parts of refs and folders; they have letters, digits, `-`, `_` and `.` only",
            ));
        }
        if text.starts_with('.') || text.ends_with('.') || text.contains("..") || text.ends_with(".lock") {
            return Err(refusal("git allows no ref with `..`, a dot at either end, or `.lock` at its end"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The rules of `git check-ref-format`; a pattern may hold one `*`.
fn check_ref(what: &str, text: &str, is_pattern: bool) -> Result<(), Wrong> {
    plain_argument(what, text)?;
    let refusal = |why: &str| Wrong::new("bad_ref", format!("`{}` is no {what}", printable(text, 60))).why(why);
    if let Some(c) =
        text.chars().find(|c| matches!(c, ' ' | '~' | '^' | ':' | '?' | '[' | '\\') || (*c == '*' && !is_pattern))
    {
        return Err(refusal(&format!("git allows no `{c}` in a ref")));
    }
    if text.matches('*').count() > 1 {
        return Err(refusal("a pattern has one `*` at most"));
    }
    if text.contains("..") || text.contains("@{") || text.contains("//") || text == "@" {
        return Err(refusal("git allows no `..`, `@{` or `//` in a ref"));
    }
    let is_bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.ends_with('.') || text.split('/').any(is_bad_part) {
        return Err(refusal("no part of a ref may be empty, begin or end with a dot, or end with `.lock`"));
    }
    Ok(())
}

impl Scalar for Branch {
    const WHAT: &'static str = "a branch";

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_ref("branch", text, false)?;
        if let Some(short) = text.strip_prefix("refs/heads/") {
            return Err(Wrong::new("bad_ref", "a branch is written without `refs/heads/`").hint(short.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for RefPattern {
    const WHAT: &'static str = "a ref pattern such as refs/heads/*";
    const PATTERN: Option<&'static str> = Some(r"^refs/.+$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_ref("ref pattern", text, true)?;
        if !text.starts_with("refs/") {
            return Err(Wrong::new("bad_ref", format!("`{}` is no full ref", printable(text, 60)))
                .why("a short name could mean a branch or a tag")
                .hint(format!("refs/heads/{text}")));
        }
        if text.starts_with("refs/cathedral/") {
            return Err(Wrong::new("bad_ref", "refs/cathedral/ belongs to the hub itself")
                .why("pins and agreed states are kept there and never carried along")
                .hint("refs/heads/*, refs/tags/* or another folder of refs"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for Glob {
    const WHAT: &'static str = "a path pattern such as *.tmp";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            return Err(Wrong::new("empty", "this pattern is empty"));
        }
        if text.chars().any(char::is_control) || text.len() > 1024 {
            return Err(Wrong::new("bad_pattern", "this pattern holds a control character or is over 1024 bytes"));
        }
        let (mut depth, mut chars) = (0_u32, text.chars());
        while let Some(c) = chars.next() {
            match c {
                '\\' if chars.next().is_none() => {
                    return Err(Wrong::new("bad_pattern", "a `\\` at the end escapes nothing")
                        .hint("remove it, or write `\\\\` for the character itself"));
                }
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if depth > 0 {
            return Err(Wrong::new("bad_pattern", "a `[` is never closed")
                .hint("add `]`, or write `\\[` for the character itself"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for TablePattern {
    const WHAT: &'static str = "a table pattern such as \"*\" or \"_*\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(Wrong::new("bad_pattern", "a table pattern has 1 to 256 characters and no control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for ColumnRule {
    const WHAT: &'static str = "`default`, `table.column` or `table.*`";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let is_rule = text == "default"
            || text.split_once('.').is_some_and(|(table, column)| !table.is_empty() && !column.is_empty());
        if !is_rule || text.chars().any(char::is_control) {
            let wrong = Wrong::new("bad_rule", format!("`{}` names no column", printable(text, 60)));
            let nearest = super::nearest::nearest(text, ["default"]);
            return Err(wrong
                .allowed(["default", "table.column", "table.*"])
                .nearest(nearest)
                .hint(format!("\"{}.*\" for all columns of the table", printable(text, 60))));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for TreePath {
    const WHAT: &'static str = "a path inside a repository";

    fn parse(text: &str) -> Result<Self, Wrong> {
        plain_argument("path", text)?;
        let refusal = |why: &str| {
            Wrong::new("bad_path", format!("`{}` is no path inside a repository", printable(text, 60))).why(why)
        };
        if text.starts_with('/')
            || text.starts_with('~')
            || text.get(1..3).is_some_and(|mark| mark == ":\\" || mark == ":/")
        {
            return Err(
                refusal("it begins outside of the repository").hint(text.trim_start_matches(['/', '~']).to_owned())
            );
        }
        if text.contains('\\') {
            return Err(refusal("folders are divided by `/`").hint(text.replace('\\', "/")));
        }
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        for part in trimmed.split('/') {
            match part {
                ".." => return Err(refusal("`..` would leave the repository").hint("a path without `..`")),
                "." | "" => return Err(refusal("it holds an empty part or `.`").hint("one name between two slashes")),
                part if part.eq_ignore_ascii_case(".git") => return Err(refusal("`.git` holds git's own files")),
                part if part.starts_with('-') => {
                    return Err(refusal("a part begins with `-` and could be taken for an option"));
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A path on this machine that a program may be given.
pub fn check_local_path(text: &str) -> Result<(), Wrong> {
    plain_argument("path", text)?;
    if text.starts_with('~') {
        return Err(
            Wrong::new("bad_path", "`~` is not replaced by a home folder here").hint("${HOME}/… or the whole path")
        );
    }
    Ok(())
}

impl Scalar for LocalPath {
    const WHAT: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_local_path(text)?;
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.is_empty() && text.starts_with('/') {
            return Err(Wrong::new("bad_path", "this is the root of the whole machine")
                .why("it holds the hub itself, and everything else")
                .hint("the folder to keep in step"));
        }
        if parts.contains(&".cathedral") {
            return Err(Wrong::new("bad_path", "this path leads into `.cathedral/`")
                .why("the hub keeps its own state and keys there")
                .hint("a folder beside it, such as data/"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for FsckId {
    const WHAT: &'static str = "a message id of git fsck such as zeroPaddedFilemode";
    const PATTERN: Option<&'static str> = Some(r"^[A-Za-z][A-Za-z0-9]{2,63}$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let is_id = (3..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
            && !text.as_bytes()[0].is_ascii_digit();
        if !is_id {
            return Err(Wrong::new("bad_fsck_id", format!("`{}` is no message id of git fsck", printable(text, 60)))
                .why("ids are one word, as `git fsck` prints them")
                .hint("zeroPaddedFilemode"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for Listen {
    const WHAT: &'static str = "an address with a port such as 127.0.0.1:7420";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.parse::<std::net::SocketAddr>().is_err() {
            return Err(Wrong::new("bad_address", format!("`{}` is no address with a port", printable(text, 60)))
                .hint("127.0.0.1:7420"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

scalars!(Name, Branch, RefPattern, Glob, TablePattern, ColumnRule, TreePath, LocalPath, FsckId, Listen);
