//! The table of keys: one entry per key with its meaning, type, default, example and whether it works yet.
//!
//! The macros `section!` and `words!` make the typed struct or enum and its table from the same lines, so the
//! types, the checker, the schema and `config explain` cannot drift apart.

use serde_json::Value as Json;

use super::read::Cx;
use super::tree::Node;

/// Whether a key or word works in this version.
#[derive(Debug, Clone, Copy)]
pub enum Mark {
    Now,
    /// Works, and must be there.
    Required,
    /// Belongs to the contract, is parsed and checked, and is refused as "not available yet".
    Later,
    /// Is recorded, and has no effect until something else is built.
    Noted(&'static str),
}

impl Mark {
    #[must_use]
    pub fn is_available(self) -> bool {
        !matches!(self, Mark::Later)
    }
}

pub const NOW: Mark = Mark::Now;
pub const REQUIRED: Mark = Mark::Required;
pub const LATER: Mark = Mark::Later;
pub const REHEARSED: Mark = Mark::Noted("recorded; restores are rehearsed from the drill release on");
pub const SAMPLED: Mark = Mark::Noted("recorded; until samples are built every check reads everything");
pub const RETAINED: Mark = Mark::Noted("recorded; nothing is forgotten by itself until retention is built");
pub const PROTECTED: Mark = Mark::Noted("recorded; applied from the forge release on");
pub const MEASURED: Mark = Mark::Noted("recorded; objectives are measured from the orchestration release on");

/// One key of a section.
pub struct Key {
    pub name: &'static str,
    pub meaning: &'static [&'static str],
    pub shape: Shape,
    pub mark: Mark,
    /// A value as YAML that the key accepts.
    pub example: &'static str,
    /// Reads a value as this key would; whether it was one.
    pub accepts: for<'t> fn(&'t Node<'t>, &mut Cx<'t>) -> bool,
}

/// A set of keys.
pub struct Section {
    pub name: &'static str,
    pub about: &'static [&'static str],
    pub keys: &'static [Key],
    pub defaults: fn() -> Json,
    /// A list of one-key sections says the same.
    pub is_listable: bool,
}

/// One word of a closed set.
pub struct Word {
    pub text: &'static str,
    pub meaning: &'static [&'static str],
    pub mark: Mark,
}

/// The type of a value.
#[derive(Clone, Copy)]
pub enum Shape {
    Bool,
    Number(&'static str),
    Text(&'static str),
    Words(&'static [Word]),
    Section(&'static Section),
    List(&'static Shape),
    Table(&'static Shape),
}

impl Shape {
    /// The type in words, such as `list of text`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Shape::Bool => "true or false".to_owned(),
            Shape::Number(what) | Shape::Text(what) => (*what).to_owned(),
            Shape::Words(_) => "one word".to_owned(),
            Shape::Section(_) => "section".to_owned(),
            Shape::List(of) => format!("list of: {}", of.describe()),
            Shape::Table(of) => format!("section with names of your own, each: {}", of.describe()),
        }
    }

    /// The section inside, through lists and tables.
    #[must_use]
    pub fn section(&self) -> Option<&'static Section> {
        match self {
            Shape::Section(section) => Some(section),
            Shape::List(of) | Shape::Table(of) => of.section(),
            _ => None,
        }
    }

    /// The closed set of words inside, through lists and tables.
    #[must_use]
    pub fn words(&self) -> Option<&'static [Word]> {
        match self {
            Shape::Words(words) => Some(words),
            Shape::List(of) | Shape::Table(of) => of.words(),
            _ => None,
        }
    }
}

/// A type that a value of the file is read into; every problem goes to `cx`.
pub trait Reads: Sized + 'static {
    const SHAPE: Shape;

    /// Returns the value, or nothing after reporting why.
    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self>;
}

/// Makes a section's struct, its defaults, its table of keys and its reader.
macro_rules! section {
    (@listable) => { false };
    (@listable or_list) => { true };
    ($(#[doc = $about:literal])+ $name:ident $($form:ident)? {
        $( $(#[doc = $meaning:literal])+ $key:ident : $ty:ty [$mark:expr] = $default:expr => $example:literal; )+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $meaning])+ pub $key: $ty, )+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl $name {
            pub(crate) const SECTION: $crate::config::table::Section = $crate::config::table::Section {
                name: stringify!($name),
                about: &[$($about),+],
                keys: &[ $( $crate::config::table::Key {
                    name: stringify!($key),
                    meaning: &[$($meaning),+],
                    shape: <$ty as $crate::config::table::Reads>::SHAPE,
                    mark: $mark,
                    example: $example,
                    accepts: |node, cx| <$ty as $crate::config::table::Reads>::read(node, cx).is_some(),
                }, )+ ],
                defaults: || serde_json::to_value(Self::default()).unwrap_or_default(),
                is_listable: section!(@listable $($form)?),
            };
        }

        impl $crate::config::table::Reads for $name {
            const SHAPE: $crate::config::table::Shape = $crate::config::table::Shape::Section(&Self::SECTION);

            fn read<'t>(node: &'t $crate::config::tree::Node<'t>, cx: &mut $crate::config::read::Cx<'t>) -> Option<Self> {
                const SECTION: &$crate::config::table::Section = &$name::SECTION;
                let entries = cx.entries(node, SECTION)?;
                let mut this = Self::default();
                let mut seen = 0_u64;
                for (name, name_node, value) in entries {
                    let mut index = 0;
                    $(
                        if name == stringify!($key) {
                            seen |= 1 << index;
                            cx.field(&SECTION.keys[index], name_node, value, &mut this.$key);
                            continue;
                        }
                        index += 1;
                    )+
                    let _ = index;
                    if let Some(meant) = cx.unknown_key(name, name_node, SECTION) {
                        seen |= 1 << meant;
                    }
                }
                cx.missing_keys(node, SECTION, seen);
                Some(this)
            }
        }
    };
}

/// Makes an enum of words, its table and its reader.
macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident {
        $( $(#[doc = $meaning:literal])+ $variant:ident = $text:literal [$mark:expr]; )+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $( $(#[doc = $meaning])+ #[serde(rename = $text)] $variant, )+ }

        impl $name {
            pub(crate) const WORDS: &'static [$crate::config::table::Word] = &[ $( $crate::config::table::Word {
                text: $text,
                meaning: &[$($meaning),+],
                mark: $mark,
            }, )+ ];
            const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The word as it stands in the file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::table::Reads for $name {
            const SHAPE: $crate::config::table::Shape = $crate::config::table::Shape::Words(Self::WORDS);

            fn read<'t>(node: &'t $crate::config::tree::Node<'t>, cx: &mut $crate::config::read::Cx<'t>) -> Option<Self> {
                cx.word(node, Self::WORDS).map(|index| Self::ALL[index])
            }
        }
    };
}

pub(crate) use {section, words};
