//! What every problem says: what is wrong, why it matters, and what to do next.
//!
//! A place that knows more says it itself; for the rest, each code has words of its own here, so that no
//! problem leaves a reader without a next step.

use super::problem::Finding;

/// Every code a problem can have, for scripts and for the test that provokes each.
pub const CODES: [&str; 61] = [
    "alias_in_itself",
    "bad_address",
    "bad_duration",
    "bad_fsck_id",
    "bad_name",
    "bad_path",
    "bad_pattern",
    "bad_percent",
    "bad_ref",
    "bad_reference",
    "bad_rule",
    "bad_schedule",
    "bad_time_zone",
    "circular_order",
    "control_character",
    "directive",
    "duplicate_key",
    "duplicate_name",
    "duplicate_resolver",
    "empty",
    "empty_file",
    "file_too_large",
    "holds_hub",
    "hub_as_spoke",
    "impossible_combination",
    "inside_git",
    "inside_state",
    "invisible_character",
    "key_not_text",
    "literal_secret",
    "merge_key",
    "mirror_of_itself",
    "missing_key",
    "no_effect",
    "no_effect_yet",
    "no_storage",
    "not_available_yet",
    "option_like",
    "out_of_range",
    "outside_ecosystem",
    "overlap",
    "reference_here",
    "same_database",
    "same_destination",
    "same_repository",
    "scheme_not_allowed",
    "second_document",
    "syntax",
    "tab",
    "tag",
    "too_deep",
    "too_long",
    "too_many_problems",
    "too_many_values",
    "unknown_alias",
    "unknown_key",
    "unknown_name",
    "unknown_time_zone",
    "unknown_value",
    "unresolved_reference",
    "wrong_type",
];

/// Adds what the place that found the problem has not said.
pub fn complete(finding: &mut Finding) {
    let (why, next) = words(finding.code);
    if finding.why.is_empty() {
        why.clone_into(&mut finding.why);
    }
    if finding.hint.is_empty() && finding.nearest.is_none() {
        let choose = "one of the allowed values";
        finding.hint = if finding.allowed.is_empty() { next.to_owned() } else { choose.to_owned() };
    }
}

fn words(code: &str) -> (&'static str, &'static str) {
    match code {
        "bad_address" => (
            "an address is passed to git, a database or a destination, which would look for it elsewhere or not at all",
            "a path, or an address such as https://host/path or ssh://user@host/path",
        ),
        "bad_path" => (
            "the hub would read and write somewhere else than is meant",
            "a path inside of the repository, such as docs/api",
        ),
        "bad_pattern" => (
            "a pattern that cannot be read would match nothing, or everything",
            "a pattern such as \"*.tmp\" or \"cache/**\"",
        ),
        "bad_percent" => ("a share is a number with a percent sign", "20%"),
        "bad_ref" => {
            ("git would refuse the name, or take it for another one", "a name such as main, or refs/heads/main")
        }
        "bad_reference" => (
            "`${…}` stands for a value outside of the file, which is found by its name only",
            "\"${NAME}\" or \"${file:PATH}\"",
        ),
        "bad_rule" => ("a rule that names no column would never be applied", "default, table.column or table.*"),
        "bad_schedule" => {
            ("a schedule that cannot be read would never be due", "15m, \"0 3 * * *\" (03:00 each day) or @daily")
        }
        "control_character" => ("it cannot be seen, and terminals and programs could obey it", "remove it"),
        "circular_order" => ("what waits for itself is never begun", "remove the entry"),
        "duplicate_name" => ("commands, conflicts and snapshots tell things apart by name", "another name"),
        "empty" => ("nothing is named by it", "write the value, or remove the key"),
        "impossible_combination" => ("the hub could not do both", "keep one of the two"),
        "literal_secret" => ("the file is shared and kept in history", "put it in a file and write \"${file:PATH}\""),
        "no_effect" => ("it says something that nothing asks for", "remove it"),
        "no_effect_yet" => {
            ("it is read and kept, so that the file is right for later releases", "nothing; leave it as it is")
        }
        "not_available_yet" => (
            "it belongs to the contract, so that the file can say it, but this version could not do it",
            "leave it out until a release has it; docs/scope.md lists what is missing",
        ),
        "option_like" => (
            "a program it is passed to could take it for an option and run something else",
            "write it without the `-` at its beginning",
        ),
        "out_of_range" => ("the value could not be kept or obeyed", "a whole number within the range"),
        "scheme_not_allowed" => {
            ("other ways to reach something could run any program", "an address of an allowed kind")
        }
        "too_long" => ("no name, path or text of a configuration needs that many", "a shorter one"),
        "too_many_problems" => ("more of them at once help nobody", "repair the ones above first, then check again"),
        "unknown_value" => (
            "a word that is not understood would be ignored silently",
            "`cathedral config explain KEY` says what is possible",
        ),
        "unresolved_reference" => {
            ("the value stands outside of the file and was not found there", "look at the variable or file")
        }
        "wrong_type" => {
            ("the key would not mean what was written", "`cathedral config explain KEY` shows its form with an example")
        }
        _ => ("the file would not mean what was written", "`cathedral config explain` shows each key with an example"),
    }
}
