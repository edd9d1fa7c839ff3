//! Whole SQL statements: one text for both engines, or one for each.

/// One SQL statement.
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only the PostgreSQL store reads it"))]
    pub(crate) postgres: &'static str,
}

impl Statement {
    /// A text that both engines understand.
    pub(crate) const fn both(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }
}

/// Declares the statements of a module, and `STATEMENTS` with all of them, so that a test can prepare
/// each on a real engine.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* const $name: &$crate::statement::Statement = &$crate::statement::Statement::both($text);)*

        pub(crate) const STATEMENTS: &[(&str, &$crate::statement::Statement)] =
            &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;

/// Returns every statement of the store with its name.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Statement)> {
    [
        crate::account::STATEMENTS,
        crate::config_version::STATEMENTS,
        crate::delivery::STATEMENTS,
        crate::event::PAGES,
        crate::event::STATEMENTS,
        crate::inbox::STATEMENTS,
        crate::lease::STATEMENTS,
        crate::memory::STATEMENTS,
        crate::migrate::STATEMENTS,
        crate::outgoing::STATEMENTS,
        crate::plan::STATEMENTS,
        crate::queue::STATEMENTS,
        crate::record::STATEMENTS,
        crate::schedule::STATEMENTS,
        crate::session::STATEMENTS,
        crate::token::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
