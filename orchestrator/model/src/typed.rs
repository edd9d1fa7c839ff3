//! What a person typed for one field of a conflict.
//!
//! A value that begins with `@` is a word. One that is no word is refused: it is a slip more often than a text,
//! and it would be written to both sides. The text itself is written with a second `@`.

use crate::config::nearest;
use crate::plan::Choice;

const WORDS: [&str; 4] = ["@hub", "@spoke", "@base", "@null"];

/// The value of one field as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed<'a> {
    /// The value that the field had there.
    Take(Choice),
    /// No value: the NULL of a database.
    Null,
    Text(&'a str),
}

/// A value that begins with `@` and is no word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{written}\" begins with @ and is none of the words {}{}; the text itself is written @{written}",
    WORDS.join(", "),
    .nearest.map(|word| format!(" (did you mean {word}?)")).unwrap_or_default()
)]
pub struct NoWord {
    /// What was typed, printable and cut.
    pub written: String,
    pub nearest: Option<&'static str>,
}

impl<'a> Typed<'a> {
    /// Reads what was typed: `@hub`, `@spoke`, `@base`, `@null`, or a text, of which a first `@` is doubled.
    pub fn read(value: &'a str) -> Result<Self, NoWord> {
        let Some(word) = value.strip_prefix('@') else { return Ok(Self::Text(value)) };
        match word {
            "hub" => Ok(Self::Take(Choice::Hub)),
            "spoke" => Ok(Self::Take(Choice::Spoke)),
            "base" => Ok(Self::Take(Choice::Base)),
            "null" => Ok(Self::Null),
            text if text.starts_with('@') => Ok(Self::Text(text)),
            other => Err(NoWord {
                written: value.chars().map(|c| if c.is_control() { '?' } else { c }).take(80).collect(),
                nearest: WORDS.into_iter().find(|known| Some(&known[1..]) == nearest(other, WORDS.map(|w| &w[1..]))),
            }),
        }
    }

    /// Writes a text so that it is read as that text.
    #[must_use]
    pub fn written(text: &str) -> String {
        if text.starts_with('@') { format!("@{text}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_word_and_a_text_is_a_text() {
        for (typed, meant) in [
            ("@hub", Typed::Take(Choice::Hub)),
            ("@spoke", Typed::Take(Choice::Spoke)),
            ("@base", Typed::Take(Choice::Base)),
            ("@null", Typed::Null),
            ("", Typed::Text("")),
            ("a@hub", Typed::Text("a@hub")),
            ("@@spok", Typed::Text("@spok")),
            ("@@hub", Typed::Text("@hub")),
            ("@@@", Typed::Text("@@")),
        ] {
            assert_eq!(Typed::read(typed), Ok(meant), "{typed}");
        }
        for text in ["", "x", "@", "@hub", "@@null"] {
            assert_eq!(Typed::read(&Typed::written(text)), Ok(Typed::Text(text)));
        }
    }

    #[test]
    fn a_slip_is_refused_with_the_words_and_the_way_to_write_it() {
        let why = Typed::read("@spok").expect_err("it is no word").to_string();
        for part in ["\"@spok\"", "@hub, @spoke, @base, @null", "did you mean @spoke?", "written @@spok"] {
            assert!(why.contains(part), "{part}: {why}");
        }
        for far in ["@", "@alice", "@HUBS and spokes\n"] {
            let why = Typed::read(far).expect_err("it is no word").to_string();
            assert!(!why.contains('\n') && why.contains("@null"), "{why}");
        }
    }
}
