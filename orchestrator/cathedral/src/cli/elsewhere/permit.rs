//! Which right a command needs that somebody elsewhere asks for, and which commands they cannot ask for.

use cathedral_model::access::Action;
use cathedral_web::hub::Unfit;
use clap::FromArgMatches as _;
use clap::parser::ValueSource;

use super::super::args::{
    Args, Command, ConfigCommand, ConflictsCommand, HookCommand, ProofCommand, RestoreArgs, ScheduleCommand,
    SnapshotCommand,
};
use super::super::{examples, safe};

/// Returns what somebody elsewhere must be allowed to do so that these words may be carried out for them.
pub fn needs(words: &[String]) -> Result<Action, Unfit> {
    let words = std::iter::once("cathedral").chain(words.iter().map(String::as_str));
    let unknown = |error: clap::Error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        unfit(
            format!("the hub cannot read the command: {}", safe(&first)),
            "the versions of program and hub may differ",
        )
    };
    let found = examples::command().try_get_matches_from(words).map_err(unknown)?;
    if found.value_source("hub") == Some(ValueSource::CommandLine) {
        return Err(unfit("a hub does not ask a further one".into(), "name that hub itself"));
    }
    let args = Args::from_arg_matches(&found).map_err(unknown)?;
    if args.global.dir.is_some() || args.global.config.is_some() {
        return Err(unfit("a hub has one configuration, its own".into(), "leave -C and --config out"));
    }
    action(&args.command)
}

fn action(command: &Command) -> Result<Action, Unfit> {
    use Action as A;
    Ok(match command {
        Command::Status { .. } | Command::Runs { .. } | Command::Run { .. } | Command::Log { .. } => A::Read,
        Command::Events { .. } => A::Read,
        Command::Plan { out: Some(_), .. } => {
            return Err(unfit(
                "a plan is written to a file of the hub's machine".into(),
                "cathedral plan --json > FILE",
            ));
        }
        Command::Plan { out: None, .. } | Command::Sync(_) | Command::Verify { .. } => A::Sync,
        Command::Conflicts { what: None | Some(ConflictsCommand::List(_)), .. } => A::Read,
        Command::Conflicts { what: Some(ConflictsCommand::Show { .. }), .. } => A::ReadContents,
        Command::Conflicts { what: Some(ConflictsCommand::Resolve { file: Some(_), .. }), .. } => {
            let next = "paste it on the page of the conflict, or use --field NAME=VALUE";
            return Err(unfit("--file names a file of the hub's machine".into(), next));
        }
        Command::Conflicts { what: Some(_), .. } => A::AnswerConflict,
        Command::Snapshot { what } => match what {
            SnapshotCommand::Create { .. } => A::Sync,
            SnapshotCommand::List | SnapshotCommand::Show { .. } => A::Read,
            SnapshotCommand::Ls { .. } | SnapshotCommand::Cat { .. } => A::ReadContents,
            SnapshotCommand::Forget(_) => A::ChangeSettings,
        },
        Command::Restore(args) => restore(args)?,
        Command::Proof { what: Some(ProofCommand::Snapshot { out, .. } | ProofCommand::Leaf { out, .. }), .. } => {
            if out.as_os_str() != "-" {
                return Err(unfit("--out names a file of the hub's machine".into(), "--out -    prints it"));
            }
            A::Read
        }
        Command::Config { what } => match what {
            ConfigCommand::Rollback { .. } => A::ChangeSettings,
            // What is wrong with a file is told with excerpts of it.
            ConfigCommand::Validate { file: Some(_) } => {
                return Err(unfit("the file would be one of the hub's machine".into(), "leave --hub out"));
            }
            ConfigCommand::Validate { file: None }
            | ConfigCommand::Show { .. }
            | ConfigCommand::Explain { .. }
            | ConfigCommand::Schema
            | ConfigCommand::Versions { .. }
            | ConfigCommand::Diff { .. } => A::ReadSettings,
        },
        Command::Schedule { what: None | Some(ScheduleCommand::List | ScheduleCommand::Next { .. }) } => A::Read,
        Command::Schedule { .. } => A::Schedule,
        Command::Token { .. } => A::ManageAccess,
        Command::Hook { what: HookCommand::Retry { .. } | HookCommand::Test { .. } } => A::Schedule,
        Command::Hook { what: HookCommand::ReceiveUrl } => A::Read,
        Command::Hook { .. } => A::ReadSettings,
        Command::Doctor { fix: false } => A::ReadSettings,
        Command::Doctor { fix: true } => A::ChangeSettings,
        Command::Demo { .. }
        | Command::Up { .. }
        | Command::Init { .. }
        | Command::MergeFile { .. }
        | Command::Completion { .. }
        | Command::Man { .. }
        | Command::Schema { .. }
        | Command::Help { .. }
        | Command::Proof { what: None, .. } => {
            return Err(unfit("this command works where it is typed".into(), "leave --hub out"));
        }
    })
}

/// Whoever restores elsewhere writes with the hub's rights on the hub's machine.
fn restore(args: &RestoreArgs) -> Result<Action, Unfit> {
    if args.offline || args.key_file.is_some() || args.from.as_ref().is_some_and(|from| from.contains(':')) {
        let next = "without --hub, on a machine that has destination and key: cathedral restore --offline";
        return Err(unfit("a running hub restores from its own destinations with its own key".into(), next));
    }
    match &args.to {
        Some(to) if to.is_relative() => {
            Err(unfit("--to names a folder of the hub's machine".into(), "--to /a/whole/path    of a new folder there"))
        }
        _ if args.dry_run || (args.to.is_none() && !args.in_place) => Ok(Action::ReadContents),
        _ => Ok(Action::RestoreInPlace),
    }
}

fn unfit(what: String, next: &str) -> Unfit {
    Unfit { what, next: Some(next.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cathedral_model::access::Role;

    fn role(line: &str) -> Result<Role, Unfit> {
        needs(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).map(Action::needs)
    }

    #[test]
    fn each_command_needs_the_role_that_its_page_needs() {
        for line in [
            "status --json",
            "runs",
            "conflicts",
            "conflicts show 3",
            "snapshot list",
            "log head",
            "events",
            "restore latest --dry-run",
            "proof leaf 1 --out -",
        ] {
            assert_eq!(role(line), Ok(Role::Viewer), "{line}");
        }
        for line in [
            "sync",
            "plan",
            "conflicts resolve 3 --take hub",
            "snapshot create",
            "verify",
            "schedule run verify",
            "doctor",
            "config show",
        ] {
            assert_eq!(role(line), Ok(Role::Operator), "{line}");
        }
        for line in [
            "restore latest --in-place --yes x",
            "restore latest --to /srv/back",
            "snapshot forget abc",
            "token list",
            "config rollback 2",
            "doctor --fix",
        ] {
            assert_eq!(role(line), Ok(Role::Admin), "{line}");
        }
    }

    #[test]
    fn what_would_reach_beyond_the_hub_is_refused_with_a_way_out() {
        let lines = [
            "up",
            "demo",
            "init",
            "-C /etc status",
            "--config /x status",
            "--hub http://h status",
            "plan --out f",
            "nonsense",
            "restore latest --to back",
            "restore latest --offline --key-file k --from file:/x --to /y",
            "restore latest --from file:///x --to /y",
            "proof leaf 1 --out f",
            "conflicts resolve 1 --file /etc/passwd",
            "config validate /etc/passwd",
            "config validate -",
            "status --help",
            "schema",
            "",
        ];
        for line in lines {
            let refused = role(line).expect_err(line);
            assert!(!refused.what.is_empty() && refused.next.is_some_and(|next| !next.is_empty()), "{line}");
        }
    }
}
