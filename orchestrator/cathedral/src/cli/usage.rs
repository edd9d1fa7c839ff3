//! A command line that cannot be read, told like every other failure.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::failure::Failure;
use super::output::{Output, safe};

/// Prints help and version, and the failure of everything else.
pub fn report(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nothing better can be done when even the terminal is gone.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let has = |flag: &str| std::env::args_os().skip(1).any(|arg| arg == flag);
    Output::bare(has("--json"), has("--jsonl")).failure(&failure(error).complete());
    ExitCode::from(2)
}

fn context(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![safe(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(|text| safe(text)).collect(),
        Some(ContextValue::StyledStr(text)) => vec![safe(&text.to_string())],
        Some(ContextValue::StyledStrs(texts)) => texts.iter().map(|text| safe(&text.to_string())).collect(),
        _ => vec![],
    }
}

/// The command that was typed, such as `cathedral conflicts show`, from the line that says how to use it.
fn command(text: &str) -> String {
    let Some(usage) = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")) else { return typed() };
    let words = usage.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    words.collect::<Vec<_>>().join(" ")
}

/// The same from the words themselves, for errors that do not say how a command is used.
fn typed() -> String {
    let mut found = super::examples::command();
    let mut path = "cathedral".to_owned();
    for word in std::env::args_os().skip(1) {
        if let Some(below) = found.find_subcommand(&word).cloned() {
            path = format!("{path} {}", below.get_name());
            found = below;
        }
    }
    path
}

fn failure(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let one = |kind| context(error, kind).into_iter().next().unwrap_or_default();
    let command = command(&text);
    let argument = one(ContextKind::InvalidArg);
    let value = one(ContextKind::InvalidValue);
    let allowed = context(error, ContextKind::ValidValue).join(", ");
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).map(safe).unwrap_or_default();
    let usage = if usage.is_empty() { "nothing was changed".to_owned() } else { format!("it is used so: {usage}") };
    let new = |what: String| Failure::new(2, "C1201", what);
    let meant = [ContextKind::SuggestedValue, ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let meant = meant.into_iter().find_map(|kind| context(error, kind).into_iter().next());
    let failure = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => missing(&command),
        ErrorKind::InvalidSubcommand => {
            let word = one(ContextKind::InvalidSubcommand);
            new(format!("`{command}` has no command {word:?}")).why(known(&command))
        }
        ErrorKind::UnknownArgument => new(format!("`{command}` does not take {argument:?}")).why(usage),
        ErrorKind::InvalidValue if value.is_empty() => new(format!("{argument} needs a value"))
            .why(if allowed.is_empty() { usage } else { format!("allowed: {allowed}") }),
        ErrorKind::InvalidValue => {
            new(format!("{value:?} is no value for {argument}")).why(format!("allowed: {allowed}"))
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map_or(usage, |source| safe(&source.to_string()));
            new(format!("{value:?} is no value for {argument}")).why(why)
        }
        ErrorKind::MissingRequiredArgument => {
            new(format!("{} is missing", context(error, ContextKind::InvalidArg).join(" and "))).why(usage)
        }
        ErrorKind::ArgumentConflict => {
            let others = context(error, ContextKind::PriorArg).join(", ");
            if others == argument || others.is_empty() {
                new(format!("{argument} is given more than once")).why(usage)
            } else {
                new(format!("{argument} and {others} cannot be given together")).why("each says something else")
            }
        }
        _ => {
            let what = text.lines().next().unwrap_or_default();
            new(safe(what.strip_prefix("error: ").unwrap_or(what))).why(usage)
        }
    };
    // The parser's idea of a near word is wide: `frobnicate` is not near to `conflicts`.
    let typed = one(ContextKind::InvalidSubcommand);
    let is_near =
        |meant: &String| typed.is_empty() || cathedral_model::config::nearest(&typed, [meant.as_str()]).is_some();
    let failure = match meant.filter(is_near) {
        Some(meant) => failure.next(format!("did you mean {meant}?")),
        None => failure,
    };
    failure.next(format!("{command} --help    explains it, with examples"))
}

fn missing(command: &str) -> Failure {
    let failure = Failure::new(2, "C1201", format!("`{command}` needs to know what to do")).why(known(command));
    if command == "cathedral" {
        return failure
            .next("cathedral demo      shows everything on a small ecosystem of its own")
            .next("cathedral init      writes a configuration for what lies around")
            .next("cathedral status    says how things stand");
    }
    failure
}

/// The commands below a command.
fn known(command: &str) -> String {
    let mut found = super::examples::command();
    for word in command.split(' ').skip(1) {
        match found.find_subcommand(word).cloned() {
            Some(below) => found = below,
            None => break,
        }
    }
    let names: Vec<&str> = found.get_subcommands().map(clap::Command::get_name).collect();
    if names.is_empty() { "an argument is missing".to_owned() } else { format!("commands: {}", names.join(", ")) }
}
