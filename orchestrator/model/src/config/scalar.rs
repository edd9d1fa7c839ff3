//! Texts with a form of their own: durations, shares, schedules, names, patterns.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Capabilities;
use super::problem::{Wrong, printable};
use super::read::Cx;
use super::schedule::check_cron;
use super::table::{Reads, Shape};
use super::tree::Node;

/// A value that is written as one text.
pub trait Scalar: Clone + PartialEq + Sized + 'static {
    /// The type in words, such as `duration`.
    const WHAT: &'static str;
    /// A regular expression that every accepted text matches.
    const PATTERN: Option<&'static str> = None;
    /// Whether numbers need no quotes.
    const IS_LOOSE: bool = false;

    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(text: &str) -> Result<Self, Wrong>;

    /// The text as it stands in the file.
    fn text(&self) -> String;

    /// What is not built yet about this value.
    fn not_yet(&self, _caps: &Capabilities) -> Option<String> {
        None
    }

    /// The JSON Schema of the text.
    fn json() -> schemars::Schema {
        match Self::PATTERN {
            Some(pattern) => schemars::json_schema!({ "type": "string", "pattern": pattern }),
            None => schemars::json_schema!({ "type": "string", "minLength": 1 }),
        }
    }
}

pub fn check<T: Scalar>(node: &Node<'_>, text: &str, cx: &mut Cx<'_>) -> Option<T> {
    match T::parse(text) {
        Ok(value) => {
            refuse_unbuilt(node, &value, cx);
            Some(value)
        }
        Err(wrong) => {
            cx.report(node, wrong);
            None
        }
    }
}

pub fn refuse_unbuilt<T: Scalar>(node: &Node<'_>, value: &T, cx: &mut Cx<'_>) {
    if cx.is_later() || cx.caps.everything {
        return;
    }
    if let Some(what) = value.not_yet(cx.caps) {
        cx.report(node, Wrong::not_yet(what));
    }
}

impl<T: Scalar> Reads for T {
    const SHAPE: Shape = Shape::Text(T::WHAT);

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        let text = cx.text(node, T::WHAT, T::IS_LOOSE)?;
        if text.contains("${") {
            let what = format!("a reference cannot stand here: {}", printable(text, 60));
            let why =
                "references are for addresses, paths and secrets; this key must be the same wherever the file is read";
            cx.report(node, Wrong::new("reference_here", what).why(why).hint("write the value itself"));
            return None;
        }
        check(node, text, cx)
    }
}

/// Gives scalars their serde, schema and display forms.
macro_rules! scalars {
    ($($name:ident),+ $(,)?) => { $(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::config::scalar::Scalar::text(self))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                <Self as $crate::config::scalar::Scalar>::parse(&text).map_err(|wrong| serde::de::Error::custom(wrong.into_finding().what))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                <Self as $crate::config::scalar::Scalar>::parse(text).map_err(|wrong| wrong.into_finding().what)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <Self as $crate::config::scalar::Scalar>::json()
            }
        }
    )+ };
}

pub(crate) use scalars;

/// Free text on one or more lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Text {
    const WHAT: &'static str = "text";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.len() > 4096 {
            return Err(Wrong::new("too_long", format!("the text has {} bytes, more than 4096", text.len())));
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(Wrong::new("control_character", "the text holds a control character").hint("remove it"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn json() -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A length of time such as `30s`, `15m` or `1h30m`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Period {
    text: String,
    millis: u64,
}

impl Period {
    #[must_use]
    pub fn as_millis(&self) -> u64 {
        self.millis
    }

    #[must_use]
    pub fn as_duration(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.millis)
    }

    /// A period written in the code.
    pub(crate) fn known(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }
}

impl Scalar for Period {
    const WHAT: &'static str = "a duration such as 15m";
    const PATTERN: Option<&'static str> = Some(r"^([0-9]+(ms|s|m|h|d|w))+$");
    const IS_LOOSE: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let refusal = || {
            let shown = printable(text, 40);
            let wrong = Wrong::new("bad_duration", format!("`{shown}` is no duration"))
                .why("a duration is a whole number with a unit: ms, s, m, h, d or w");
            match text.parse::<u64>() {
                Ok(number) => wrong.hint(format!("{number}s for seconds, {number}m for minutes")),
                Err(_) => wrong.hint("30s, 15m, 1h30m, 14d"),
            }
        };
        let mut millis = 0_u64;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| refusal())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                _ => return Err(refusal()),
            };
            rest = &rest[letters..];
            millis = number.checked_mul(unit).and_then(|part| millis.checked_add(part)).ok_or_else(refusal)?;
        }
        if millis == 0 {
            return Err(refusal());
        }
        Ok(Self { text: text.to_owned(), millis })
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}

/// A share from 0 % to 100 %, such as `20%`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Percent {
    text: String,
    share: f64,
}

impl Percent {
    /// The share from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }

    pub(crate) fn known(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }
}

impl Scalar for Percent {
    const WHAT: &'static str = "a share such as 20%";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)?%$");
    const IS_LOOSE: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let refusal = || {
            Wrong::new("bad_percent", format!("`{}` is no share from 0% to 100%", printable(text, 40)))
                .hint(if text.parse::<f64>().is_ok() { format!("{text}%") } else { "20%".to_owned() })
        };
        let number = text.strip_suffix('%').ok_or_else(refusal)?;
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(refusal());
        }
        let number: f64 = number.parse().map_err(|_| refusal())?;
        if !(0.0..=100.0).contains(&number) {
            return Err(refusal());
        }
        Ok(Self { text: text.to_owned(), share: number / 100.0 })
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}

/// When something runs: an interval, five cron fields, or `@daily` and its kin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Every(Period),
    Cron(String),
}

impl Scalar for Schedule {
    const WHAT: &'static str = "a schedule: an interval such as 15m, cron such as \"0 3 * * *\", or @daily";
    const IS_LOOSE: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(' ') {
            return Period::parse(text).map(Self::Every);
        }
        check_cron(text)?;
        Ok(Self::Cron(text.to_owned()))
    }

    fn text(&self) -> String {
        match self {
            Self::Every(period) => period.text(),
            Self::Cron(cron) => cron.clone(),
        }
    }
}

/// How often a spoke is brought up to date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Frequency {
    /// At once when something changes.
    #[default]
    RealTime,
    On(Schedule),
}

impl Scalar for Frequency {
    const WHAT: &'static str = "real_time, an interval such as 15m, or cron such as \"0 3 * * *\"";
    const IS_LOOSE: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "real_time" {
            return Ok(Self::RealTime);
        }
        let words = ["real_time", "@hourly", "@daily", "@weekly", "@monthly", "@yearly"];
        Schedule::parse(text).map(Self::On).map_err(|wrong| {
            let nearest = super::nearest::nearest(text, words);
            if nearest.is_some() { wrong.nearest(nearest) } else { wrong }
        })
    }

    fn text(&self) -> String {
        match self {
            Self::RealTime => "real_time".to_owned(),
            Self::On(schedule) => schedule.text(),
        }
    }
}

/// A time zone of the IANA database, such as `Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(String);

impl Zone {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Zone {
    const WHAT: &'static str = "a time zone such as Europe/Berlin";
    const PATTERN: Option<&'static str> = Some(r"^[A-Za-z0-9+_/-]{1,64}$");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let is_name = text.len() <= 64
            && text.split('/').all(|part| {
                part.starts_with(|c: char| c.is_ascii_alphabetic())
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
            });
        if !is_name {
            return Err(Wrong::new("bad_time_zone", format!("`{}` is no time zone", printable(text, 40)))
                .why("zones are named by region and city, so that summer time is known")
                .hint("UTC, Europe/Berlin, America/New_York"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A share or a number, such as `10%` or `1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Amount(String);

impl Scalar for Amount {
    const WHAT: &'static str = "a number or share such as 10%";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)?%?$");
    const IS_LOOSE: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.parse::<u32>().is_err() {
            Percent::parse(text)?;
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn json() -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

/// Whether large file storage is carried along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "LfsForm", into = "LfsForm")]
pub enum Lfs {
    #[default]
    No,
    Yes,
    Strict,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LfsForm {
    Flag(bool),
    Word(String),
}

impl From<LfsForm> for Lfs {
    fn from(form: LfsForm) -> Self {
        match form {
            LfsForm::Flag(false) => Self::No,
            LfsForm::Flag(true) => Self::Yes,
            LfsForm::Word(_) => Self::Strict,
        }
    }
}

impl From<Lfs> for LfsForm {
    fn from(lfs: Lfs) -> Self {
        match lfs {
            Lfs::No => Self::Flag(false),
            Lfs::Yes => Self::Flag(true),
            Lfs::Strict => Self::Word("strict".to_owned()),
        }
    }
}

impl fmt::Display for Lfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "false",
            Self::Yes => "true",
            Self::Strict => "strict",
        })
    }
}

impl schemars::JsonSchema for Lfs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lfs".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [true, false, "strict"] })
    }
}

impl Reads for Lfs {
    const SHAPE: Shape = Shape::Text("true, false or strict");

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        match node.text() {
            Some("true") => Some(Self::Yes),
            Some("false") => Some(Self::No),
            Some("strict") => Some(Self::Strict),
            _ => {
                let what = format!("found {}, expected true, false or strict", super::read::describe(node));
                cx.report(node, Wrong::new("wrong_type", what).allowed(["true", "false", "strict"]));
                None
            }
        }
    }
}

scalars!(Text, Period, Percent, Schedule, Frequency, Zone, Amount);
