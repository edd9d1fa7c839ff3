//! Completions, man pages and the texts of `cathedral help TOPIC`.

use std::path::PathBuf;

use serde_json::json;

use super::{Ended, Failure, Output, examples};

/// Writes a completion script to stdout.
pub fn completion(shell: clap_complete::Shell, output: &Output) -> Ended {
    let mut script = vec![];
    clap_complete::generate(shell, &mut examples::command(), "cathedral", &mut script);
    if output.is_machine() {
        let script = String::from_utf8_lossy(&script);
        output.data("completion", &json!({ "shell": shell.to_string(), "script": script }), &[]);
    } else {
        output.raw(&script);
    }
    Ok(0)
}

/// Writes man pages into a folder, or the main page to stdout.
pub fn man(dir: Option<PathBuf>, output: &Output) -> Ended {
    let mut command = examples::command();
    let Some(dir) = dir else {
        let mut page = vec![];
        clap_mangen::Man::new(command).render(&mut page).map_err(|e| Failure::io("the man page", &e))?;
        if output.is_machine() {
            output.data("man", &json!({ "page": String::from_utf8_lossy(&page) }), &[]);
        } else {
            output.raw(&page);
        }
        return Ok(0);
    };
    std::fs::create_dir_all(&dir).map_err(|e| Failure::write(&dir, &e))?;
    command.build();
    let mut pages = vec![];
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().cloned());
        let man = clap_mangen::Man::new(command);
        let name = man.get_filename();
        let mut page = vec![];
        man.render(&mut page).map_err(|e| Failure::io("a man page", &e))?;
        std::fs::write(dir.join(&name), page).map_err(|e| Failure::write(&dir.join(&name), &e))?;
        pages.push(name);
    }
    pages.sort();
    output.data("man", &json!({ "folder": dir, "pages": pages }), &[]);
    output.note(format!("{} man pages written to {}", pages.len(), Output::safe_path(&dir)));
    Ok(0)
}

/// The exit codes, as scripts see them.
const CODES: &[(u8, &str)] = &[
    (0, "done, or nothing to do"),
    (1, "failed, something else"),
    (2, "wrong usage"),
    (3, "configuration invalid"),
    (4, "not found"),
    (5, "denied, or a key is missing"),
    (6, "a spoke or destination cannot be reached"),
    (7, "refused by a safeguard, or not confirmed"),
    (10, "changes would be made (plan, --dry-run)"),
    (11, "conflicts wait for a person"),
    (12, "partly done; the rest is listed and can be repeated"),
    (20, "integrity failure: data does not match its name, signature or the log"),
    (21, "not restorable"),
    (22, "an objective is missed (status --exit-code)"),
    (75, "busy or locked: try again"),
    (124, "timed out"),
    (130, "interrupted"),
];

/// The catalogue of errors: what each code means and what helps.
const ERRORS: &[(&str, &str)] = &[
    ("C1001", "The machine did not give the program its threads. Free memory or raise the limits of the user."),
    (
        "C1002",
        "Something failed that has no code of its own; the message says what. What was recorded stays valid, and the command can be repeated.",
    ),
    (
        "C1003",
        "The time given by --timeout was over. The journal knows how far the run came; repeating the command goes on there.",
    ),
    ("C1004", "The command was interrupted. Every finished step is recorded; repeating the command goes on there."),
    (
        "C1005",
        "The hub named by --hub does not carry out this command for somebody elsewhere: it concerns files of its machine, or works where it is typed.",
    ),
    ("C1101", "There is a conflict, and the command cannot go on, or was asked not to go on, before it is decided."),
    ("C1201", "An argument is missing or cannot be read."),
    ("C1202", "The beginning of an id fits several snapshots."),
    ("C1203", "The answer to a conflict could not be carried out, mostly because a side has changed since."),
    ("C1205", "Single paths are given back by `snapshot cat`; `restore` works on whole parts."),
    ("C1206", "Only file: destinations can be read in this version."),
    ("C1301", "The configuration has problems; each is shown with its place and what is allowed there."),
    ("C1302", "No configuration was found. `cathedral init` writes one."),
    ("C1404", "What was named does not exist. The message names what does, or the nearest word."),
    ("C1501", "Rights or credentials are missing."),
    (
        "C1502",
        "A key is missing or does not fit. Without it the vault cannot be read: put it back under .cathedral/keys/ or give it with --key-file.",
    ),
    ("C1601", "A spoke or destination cannot be reached. The others are synced; repeat the command when it is back."),
    ("C1701", "A limit that protects data stopped the command. Nothing was changed."),
    ("C1702", "A dangerous command was not confirmed by the ecosystem's name."),
    ("C1703", "A restore needs to know where to: --to DIR or --in-place."),
    ("C1801", "There is no room left. What was written before stays valid."),
    (
        "C2001",
        "Data is not what its name, signature or the log says. Nothing was overwritten. `cathedral verify --level full` says what is affected and where an intact copy is.",
    ),
    ("C2002", "The snapshot is not in the transparency log."),
    ("C2003", "The proof file was changed, is incomplete, or is about another log."),
    ("C2102", "No snapshot was taken. A snapshot is visible only when the quorum of destinations holds all of it."),
    (
        "C2103",
        "Nothing could be restored. Another destination or an older snapshot may be intact: `cathedral verify --level full`, `cathedral snapshot list`.",
    ),
    ("C7501", "Another process works on this hub. Wait for it, then repeat the command."),
    ("C7502", "Another process has taken this run over; this one stopped before it wrote anything more."),
];

/// Explains a command, the exit codes, or the code of an error.
pub fn help(topic: &[String], output: &Output) -> Ended {
    let mut command = examples::command();
    command.build();
    let told = topic.join(" ");
    if told.eq_ignore_ascii_case("codes") {
        codes(output);
        return Ok(0);
    }
    if let Some((code, text)) = ERRORS.iter().find(|(code, _)| code.eq_ignore_ascii_case(&told)) {
        output.data("help", &json!({ "topic": code, "text": text }), &[]);
        output.sentence(&format!("{code}: {text}"));
        return Ok(0);
    }
    let mut found = command;
    for word in topic {
        let below = found.find_subcommand(word).cloned();
        let mut known: Vec<String> = found.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        if topic.len() == 1 {
            known.push("codes".into());
        }
        found = below.ok_or_else(|| Failure::unknown("topic", &told, &known))?;
    }
    let text = if topic.is_empty() { found.render_help() } else { found.render_long_help() }.to_string();
    output.data("help", &json!({ "topic": told, "text": text }), &[]);
    if !output.is_machine() {
        output.raw(text.as_bytes());
    }
    Ok(0)
}

fn codes(output: &Output) {
    let list = |(code, meaning): (serde_json::Value, &str)| json!({ "code": code, "meaning": meaning });
    let exits: Vec<_> = CODES.iter().map(|(code, meaning)| list((json!(code), *meaning))).collect();
    let errors: Vec<_> = ERRORS.iter().map(|(code, meaning)| list((json!(code), *meaning))).collect();
    output.data("codes", &json!({ "codes": exits, "errors": errors }), &[]);
    output.say("exit codes");
    for (code, meaning) in CODES {
        output.sentence_under(&format!("{code:>5}  {meaning}"), 7);
    }
    output.say("errors; `cathedral help C1301` explains one");
    for row in ERRORS.chunks(6) {
        let names: Vec<&str> = row.iter().map(|(code, _)| *code).collect();
        output.say(format!("  {}", names.join("  ")));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Every code that the sources name is explained, and nothing else.
    #[test]
    fn the_catalogue_is_complete() {
        let mut used = std::collections::BTreeSet::new();
        let mut left = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = left.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else if path.file_name().is_some_and(|n| n != "guide.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let codes = text
                        .split('"')
                        .filter(|w| w.len() == 5 && w.starts_with('C') && w[1..].bytes().all(|b| b.is_ascii_digit()));
                    used.extend(codes.map(str::to_owned));
                }
            }
        }
        let explained: std::collections::BTreeSet<String> = ERRORS.iter().map(|(c, _)| (*c).to_owned()).collect();
        assert_eq!(used, explained);
    }
}
