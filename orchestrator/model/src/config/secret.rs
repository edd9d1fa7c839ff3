//! References to the outside (`${NAME}`, `${file:PATH}`) and values that are never shown.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::problem::{Wrong, printable};
use super::read::Cx;
use super::scalar::Scalar;
use super::table::{Reads, Shape};
use super::tree::Node;

/// What `${NAME}` and `${file:PATH}` stand for; given by the caller, since this crate reads nothing itself.
///
/// A reason given back is shown to the user, so it must not hold the value.
pub trait Lookup {
    /// The value of an environment variable.
    ///
    /// # Errors
    /// Why there is none, such as `it is not set`.
    fn env(&self, name: &str) -> Result<String, String>;

    /// The content of a file; a relative path is relative to the folder that holds `.cathedral/`.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &str) -> Result<String, String>;

    /// Whether the machine knows a time zone; `None` if that cannot be told.
    fn knows_time_zone(&self, _name: &str) -> Option<bool> {
        None
    }

    /// Where a path leads: absolute, without links and `..`; a relative one begins in the folder that holds
    /// `.cathedral/`. `None` if that cannot be told.
    fn place(&self, _path: &str) -> Option<String> {
        None
    }

    /// The kind of a file system that stores nothing (`proc`, `sysfs`, …), where a path stands on one.
    fn pseudo(&self, _path: &str) -> Option<&'static str> {
        None
    }
}

/// A lookup that knows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLookup;

impl Lookup for NoLookup {
    fn env(&self, _name: &str) -> Result<String, String> {
        Err("variables are not read here".to_owned())
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("files are not read here".to_owned())
    }
}

/// A value that is never printed, logged or written back: only its reference is.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret {
    written: Option<String>,
    value: Option<String>,
}

impl Secret {
    /// Returns the value, for the one place that uses it; none where the key is not available yet.
    #[must_use]
    pub fn expose(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What may be shown: the reference, or stars.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or("***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.shown())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Takes the reference back; the value is gone by design.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { written: Some(String::deserialize(deserializer)?), value: None })
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A reference: ${NAME} or ${file:PATH}; a web address may also stand here itself.",
            "pattern": "^(\\$\\{.+\\}|https?://.+)$",
        })
    }
}

impl Reads for Secret {
    const SHAPE: Shape = Shape::Text("a reference to a secret: ${NAME} or ${file:PATH}");

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        let Some(text) = node.text() else {
            cx.wrong_type(node, "a reference such as \"${file:PATH}\"");
            return None;
        };
        if is_whole_reference(text) {
            let value = if cx.is_later() { None } else { Some(resolve(node, text, cx)?) };
            return Some(Self { written: Some(text.to_owned()), value });
        }
        // An address that is no secret by its look may stand in the open.
        let is_address = (text.starts_with("https://") || text.starts_with("http://")) && !text.contains('@');
        if is_address && looks_secret(text).is_none() {
            return Some(Self { written: Some(text.to_owned()), value: Some(text.to_owned()) });
        }
        cx.report(
            node,
            Wrong::new("literal_secret", "a secret stands here in the open")
                .why("the file is shared and kept in history; secrets stay outside of it")
                .hint("put it in a file or variable and write \"${file:PATH}\" or \"${NAME}\" here; replace the secret if the file was shared")
                .secret(),
        );
        None
    }
}

/// A value that may hold references: used resolved, shown as written.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Given<T> {
    value: T,
    written: Option<String>,
}

impl<T: Scalar> Given<T> {
    /// A value without references.
    #[must_use]
    pub fn plain(value: T) -> Self {
        Self { value, written: None }
    }

    /// What may be shown: the text as written.
    #[must_use]
    pub fn shown(&self) -> String {
        self.written.clone().unwrap_or_else(|| self.value.text())
    }
}

impl<T> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Scalar> fmt::Debug for Given<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown(), f)
    }
}

impl<T: Scalar> fmt::Display for Given<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl<T: Scalar> Serialize for Given<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Given<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains("${") {
            return Err(serde::de::Error::custom("a reference can only be read from the file itself"));
        }
        T::parse(&text).map(Self::plain).map_err(|wrong| serde::de::Error::custom(wrong.into_finding().what))
    }
}

impl<T: Scalar> schemars::JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Given".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json()
    }
}

impl<T: Scalar> Reads for Given<T> {
    const SHAPE: Shape = Shape::Text(T::WHAT);

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        let text = cx.text(node, T::WHAT, T::IS_LOOSE)?;
        if !text.contains("${") {
            return super::scalar::check(node, text, cx).map(Self::plain);
        }
        let resolved = resolve(node, text, cx)?;
        match T::parse(&resolved) {
            Ok(value) => {
                super::scalar::refuse_unbuilt(node, &value, cx);
                Some(Self { value, written: Some(text.to_owned()) })
            }
            Err(wrong) => {
                // The message of the parser could repeat what the reference stands for.
                let what = format!("what {} stands for is not {}", printable(text, 80), T::WHAT);
                cx.report(node, Wrong::new(wrong.code, what).hint("look at the variable or file"));
                None
            }
        }
    }
}

fn is_whole_reference(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inside| !inside.is_empty() && !inside.contains(['{', '}']))
}

/// Puts the values of all references into `text`.
fn resolve(node: &Node<'_>, text: &str, cx: &mut Cx<'_>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            cx.report(
                node,
                Wrong::new("bad_reference", "a reference begins with `${` but does not end")
                    .hint("add the closing `}`"),
            );
            return None;
        };
        let name = &rest[start + 2..start + length];
        out.push_str(&look_up(node, name, cx)?);
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Some(out)
}

fn look_up(node: &Node<'_>, name: &str, cx: &mut Cx<'_>) -> Option<String> {
    let shown = printable(name, 80);
    if let Some(path) = name.strip_prefix("file:") {
        if path == "..." {
            let wrong = Wrong::not_yet(format!("`${{{shown}}}` is a placeholder")).hint("write the path of the file");
            cx.report(node, wrong);
            return None;
        }
        return match cx.env.file(path) {
            // A file made with an editor or `echo` ends with a line break that is no part of the secret.
            Ok(content) => Some(content.trim_end_matches(['\n', '\r']).to_owned()),
            Err(reason) => {
                let wrong =
                    Wrong::new("unresolved_reference", format!("the file {} cannot be read", printable(path, 80)));
                cx.report(
                    node,
                    wrong.why(reason).hint("make the file, readable for you only (mode 0600), or correct the path"),
                );
                None
            }
        };
    }
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        let wrong = Wrong::new("bad_reference", format!("`${{{shown}}}` is no reference"));
        cx.report(node, wrong.allowed(["${NAME}", "${file:PATH}"]).hint("NAME has letters, digits and `_` only"));
        return None;
    }
    match cx.env.env(name) {
        Ok(value) => Some(value),
        Err(reason) => {
            let wrong = Wrong::new("unresolved_reference", format!("the variable {shown} has no value"));
            cx.report(node, wrong.why(reason).hint(format!("export {shown}=… before you start")));
            None
        }
    }
}

/// What kind of secret a text looks like, by the marks its issuer gives it.
pub fn looks_secret(text: &str) -> Option<&'static str> {
    const MARKS: &[(&str, usize, &str)] = &[
        ("ghp_", 20, "a GitHub token"),
        ("gho_", 20, "a GitHub token"),
        ("ghs_", 20, "a GitHub token"),
        ("ghu_", 20, "a GitHub token"),
        ("github_pat_", 20, "a GitHub token"),
        ("glpat-", 16, "a GitLab token"),
        ("xoxb-", 16, "a Slack token"),
        ("xoxp-", 16, "a Slack token"),
        ("hooks.slack.com/services/", 8, "a Slack webhook, whose address is its secret"),
        ("AKIA", 16, "an AWS access key"),
        ("AGE-SECRET-KEY-", 8, "a private age key"),
        ("-----BEGIN ", 8, "a private key"),
        ("sk_live_", 16, "a Stripe key"),
    ];
    if text.len() < 12 {
        return None;
    }
    for (mark, least, kind) in MARKS {
        if let Some(start) = text.find(mark) {
            let tail = &text[start + mark.len()..];
            let length =
                tail.chars().take_while(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | '}')).count();
            if length >= *least || *mark == "-----BEGIN " {
                return Some(kind);
            }
        }
    }
    // scheme://user:password@host
    let (_, after) = text.split_once("://")?;
    let authority = after.split(['/', '?', '#', ' ', '"', '\'']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty() && !password.contains("${")).then_some("an address with a password in it")
}
