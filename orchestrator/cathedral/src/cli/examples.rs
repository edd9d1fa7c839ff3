//! Examples under every `--help`; the tests read each with the parser.

use clap::CommandFactory as _;

use super::args::Args;

/// Example and meaning, by the words of the command.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "demo",
        &[
            ("cathedral demo", "in a new temporary folder"),
            ("cathedral demo try-it", "in a folder of your own"),
            ("cathedral demo --no-serve", "ends with the report"),
        ],
    ),
    (
        "up",
        &[
            ("cathedral up", "serves this folder until Ctrl-C"),
            ("cathedral up --listen 127.0.0.1:0", "on any free port"),
            ("cathedral up --once", "acts on what is due and waiting, then ends"),
        ],
    ),
    (
        "schedule",
        &[("cathedral schedule", "what runs by itself"), ("cathedral schedule next --for 7d", "the coming week")],
    ),
    ("schedule list", &[("cathedral schedule list --json", "for scripts")]),
    ("schedule next", &[("cathedral schedule next", "what is due within a day")]),
    ("schedule pause", &[("cathedral schedule pause sync:billing --for 2h --reason migration", "wakes by itself")]),
    ("schedule resume", &[("cathedral schedule resume sync:billing", "due times are counted from now")]),
    ("schedule run", &[("cathedral schedule run verify", "now, whenever it is due")]),
    ("token", &[("cathedral token new --scope viewer --label monitoring", "printed once")]),
    ("token new", &[("cathedral token new --scope operator --expires 30d", "may sync, for a month")]),
    ("token list", &[("cathedral token list", "who has come in, and when last")]),
    ("token revoke", &[("cathedral token revoke 4fGh81Zq", "ends it at once")]),
    ("hook", &[("cathedral hook receive-url", "what to type into GitHub")]),
    ("hook receive-url", &[("cathedral hook receive-url", "what to type into GitHub")]),
    ("hook list", &[("cathedral hook list", "whom the hub tells what happens, and how that goes")]),
    ("hook sent", &[("cathedral hook sent --limit 5", "the newest messages and what became of them")]),
    ("hook retry", &[("cathedral hook retry 12", "sends a delivery once more, given up or not")]),
    ("hook test", &[("cathedral hook test ops", "sends a test message, and says what was answered")]),
    ("hook received", &[("cathedral hook received --limit 5", "the newest deliveries and what became of them")]),
    (
        "init",
        &[
            ("cathedral init", "for what lies in and beside this folder"),
            ("cathedral init --stdout", "only shows it"),
            ("cathedral init --template full --stdout", "every key with its meaning"),
        ],
    ),
    (
        "status",
        &[
            ("cathedral status", "what needs attention"),
            ("cathedral status --all", "every spoke"),
            ("cathedral status --exit-code --json", "for monitoring"),
        ],
    ),
    (
        "plan",
        &[("cathedral plan", "every spoke"), ("cathedral plan docs --out plan.json", "one spoke, also in a file")],
    ),
    (
        "sync",
        &[
            ("cathedral sync", "everything"),
            ("cathedral sync docs billing", "two spokes"),
            ("cathedral sync --dry-run", "shows what would be done; ends with 10 if something would"),
            ("cathedral sync --plan 3f2a91c07d44", "exactly what a plan showed"),
            ("cathedral sync --on-conflict stop", "changes nothing if there is a conflict"),
        ],
    ),
    (
        "runs",
        &[("cathedral runs", "the newest twenty"), ("cathedral runs --failed --limit 100", "only what went wrong")],
    ),
    ("run", &[("cathedral run show last", "what the newest run did")]),
    ("run show", &[("cathedral run show last", "the newest run"), ("cathedral run show 7", "run 7")]),
    ("run log", &[("cathedral run log last", "every recorded step"), ("cathedral run log 7 --json", "for scripts")]),
    (
        "conflicts",
        &[
            ("cathedral conflicts", "those that wait"),
            ("cathedral conflicts docs --all", "all of one spoke, settled ones too"),
            ("cathedral conflicts show 3", "both sides of one"),
            ("cathedral conflicts resolve 3 --take hub", "the hub's side"),
        ],
    ),
    (
        "conflicts list",
        &[("cathedral conflicts list", "those that wait"), ("cathedral conflicts list --all", "settled too")],
    ),
    ("conflicts show", &[("cathedral conflicts show 3", "both sides, and how to decide")]),
    (
        "conflicts resolve",
        &[
            ("cathedral conflicts resolve 3 --take spoke", "the spoke's side"),
            ("cathedral conflicts resolve 4 --field amount=42 --field note=@hub", "cell by cell"),
            ("cathedral conflicts resolve 4 --field note=@null", "a cell without value (SQL NULL)"),
            ("cathedral conflicts resolve 5 --file merged.txt", "your own content"),
        ],
    ),
    ("conflicts undo", &[("cathedral conflicts undo 3", "both sides as they were before the answer")]),
    (
        "merge-file",
        &[
            ("cathedral merge-file base.json hub.json spoke.json", "prints the merged file"),
            ("cathedral merge-file --path a.yaml --explain %O %A %B", "as a git merge driver, saying what decided"),
        ],
    ),
    ("snapshot", &[("cathedral snapshot create", "one now"), ("cathedral snapshot list", "all")]),
    ("snapshot create", &[("cathedral snapshot create --tag before-the-move", "with a tag")]),
    ("snapshot list", &[("cathedral snapshot list --json", "for scripts")]),
    (
        "snapshot show",
        &[
            ("cathedral snapshot show latest", "the newest"),
            ("cathedral snapshot show @2026-11-20T14:00", "as of a time"),
        ],
    ),
    (
        "snapshot ls",
        &[
            ("cathedral snapshot ls latest", "its parts"),
            ("cathedral snapshot ls latest media/photos", "a folder of one"),
        ],
    ),
    ("snapshot cat", &[("cathedral snapshot cat latest media/notes.txt", "a file, to stdout")]),
    (
        "snapshot forget",
        &[
            ("cathedral snapshot forget 01M7ZVWM", "one that nothing can mend"),
            ("cathedral snapshot forget --undo 01M7ZVWM", "takes it back"),
        ],
    ),
    (
        "verify",
        &[
            ("cathedral verify", "signatures, indexes and trees"),
            ("cathedral verify latest --level full", "every byte of one"),
        ],
    ),
    (
        "restore",
        &[
            ("cathedral restore latest --to back", "everything into a new folder"),
            ("cathedral restore latest docs --to back --dry-run", "what one spoke would bring"),
            ("cathedral restore latest --in-place --yes atlas", "over what is there, which is kept"),
            (
                "cathedral restore latest --offline --from file:/media/usb/vault --key-file hub.key --to back",
                "with the hub lost",
            ),
        ],
    ),
    (
        "proof",
        &[
            ("cathedral proof snapshot latest --out latest.proof", "makes one"),
            ("cathedral proof --verify latest.proof", "checks it, anywhere"),
        ],
    ),
    ("proof snapshot", &[("cathedral proof snapshot latest --out latest.proof", "of the newest snapshot")]),
    ("proof leaf", &[("cathedral proof leaf 0 --out first.proof", "of the first entry")]),
    ("log", &[("cathedral log head", "what to keep elsewhere"), ("cathedral log audit", "recomputes all of it")]),
    ("log head", &[("cathedral log head --json", "for scripts")]),
    (
        "log show",
        &[("cathedral log show", "the newest fifty"), ("cathedral log show --since 0 --limit 10", "the first ten")],
    ),
    ("log audit", &[("cathedral log audit", "ends with 20 if an entry was changed")]),
    (
        "events",
        &[
            ("cathedral events", "the newest fifty"),
            ("cathedral events --from 120 --limit 10", "ten after cursor 120"),
            ("cathedral events --type conflict.opened --jsonl", "one type, a line each"),
        ],
    ),
    (
        "config",
        &[
            ("cathedral config validate", "every problem at once"),
            ("cathedral config explain backup.quorum", "one key"),
        ],
    ),
    (
        "config validate",
        &[
            ("cathedral config validate", "the ecosystem's own file"),
            ("cathedral config validate new.yaml", "another one"),
        ],
    ),
    (
        "config show",
        &[("cathedral config show", "with all defaults"), ("cathedral config show --format json", "as JSON")],
    ),
    (
        "config explain",
        &[
            ("cathedral config explain", "all keys"),
            ("cathedral config explain connected_files[].ignore", "one of them"),
        ],
    ),
    ("config versions", &[("cathedral config versions", "what was in force, since when, by whom")]),
    (
        "config diff",
        &[
            ("cathedral config diff", "the file against the newest version that was in force"),
            ("cathedral config diff 3 7", "version 3 against version 7"),
        ],
    ),
    ("config rollback", &[("cathedral config rollback 3", "the file says what version 3 said")]),
    ("config schema", &[("cathedral config schema", "for an editor that checks while you type")]),
    (
        "doctor",
        &[
            ("cathedral doctor", "tries everything; each line says how to fix it"),
            ("cathedral doctor --fix", "mends damaged stores, fences and keys; sets agreed states and marks aside"),
        ],
    ),
    (
        "completion",
        &[
            ("cathedral completion bash", "goes to ~/.local/share/bash-completion/completions/cathedral"),
            ("cathedral completion zsh", "goes to a folder of $fpath, as _cathedral"),
            ("cathedral completion fish", "goes to ~/.config/fish/completions/cathedral.fish"),
        ],
    ),
    ("man", &[("cathedral man", "the main page, to stdout"), ("cathedral man ~/.local/share/man/man1", "all pages")]),
    ("schema", &[("cathedral schema", "the names"), ("cathedral schema status", "one schema")]),
    (
        "help",
        &[
            ("cathedral help conflicts resolve", "a command"),
            ("cathedral help codes", "exit codes and errors"),
            ("cathedral help C1301", "one error"),
        ],
    ),
];

/// The definition of all commands, with their examples.
pub fn command() -> clap::Command {
    let mut command = Args::command().bin_name("cathedral");
    for (path, examples) in EXAMPLES {
        let width = examples.iter().map(|(line, _)| line.len()).filter(|len| *len <= 48).max().unwrap_or(0);
        let lines: Vec<String> = examples
            .iter()
            .map(|(line, meaning)| match line.len() <= width && width + meaning.len() + 6 <= 80 {
                true => format!("  {line:width$}    {meaning}"),
                false => format!("  {line}\n      {meaning}"),
            })
            .collect();
        let text = format!("Examples:\n{}", lines.join("\n"));
        let words: Vec<&str> = path.split(' ').collect();
        command = add(command, &words, &text);
    }
    command
}

fn add(command: clap::Command, words: &[&str], text: &str) -> clap::Command {
    match words {
        [] => command.after_long_help(text.to_owned()),
        [first, rest @ ..] if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(first, |below| add(below, rest, text))
        }
        _ => command,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_examples_and_every_example_can_be_typed() {
        let mut left: Vec<(String, clap::Command)> =
            Args::command().get_subcommands().map(|c| (c.get_name().to_owned(), c.clone())).collect();
        let mut names = std::collections::BTreeSet::new();
        while let Some((path, command)) = left.pop() {
            left.extend(command.get_subcommands().map(|c| (format!("{path} {}", c.get_name()), c.clone())));
            names.insert(path);
        }
        let with: std::collections::BTreeSet<String> = EXAMPLES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(names, with);
        for (path, examples) in EXAMPLES {
            for (example, meaning) in *examples {
                assert!(example.starts_with(&format!("cathedral {}", path.split(' ').next().unwrap())), "{example}");
                assert!(!meaning.is_empty());
                command().try_get_matches_from(example.split(' ')).unwrap_or_else(|e| panic!("{example}: {e}"));
            }
        }
    }

    #[test]
    fn examples_stand_in_the_long_help_only() {
        let mut command = command();
        command.build();
        let sync = command.find_subcommand_mut("sync").unwrap();
        assert!(sync.render_long_help().to_string().contains("cathedral sync --dry-run"));
        assert!(!sync.render_help().to_string().contains("Examples:"));
    }

    /// Keys named in examples are keys.
    #[test]
    fn keys_in_examples_can_be_explained() {
        let lines = EXAMPLES.iter().flat_map(|(_, examples)| examples.iter()).map(|(line, _)| *line);
        for key in lines.filter_map(|line| line.strip_prefix("cathedral config explain ")) {
            assert!(cathedral_model::config::explain(key).is_some(), "{key}");
        }
    }
}
