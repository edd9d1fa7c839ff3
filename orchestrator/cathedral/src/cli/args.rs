//! What can be typed.

mod global;
mod serve;

pub use global::{Color, Global, LogFormat};
pub use serve::{HookCommand, ScheduleCommand, TokenCommand};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Keeps an ecosystem of git repositories, databases and file trees in sync, provably intact and restorable.
#[derive(Debug, Parser)]
#[command(name = "cathedral", version, propagate_version = false, max_term_width = 100, after_help = AFTER, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Begin with:\n  cathedral demo             a small real ecosystem, the whole loop, and a report\n  cathedral init             write a configuration for what lies around\n  cathedral sync             validate, snapshot, sync, validate again, notify\n  cathedral restore latest   what it would bring back, then bring it back\n\n`cathedral COMMAND --help` shows examples; `cathedral help codes` lists exit codes and errors.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a small real ecosystem, run the whole loop on it, report
    Demo {
        /// Where to build it; a new folder below the system's temporary one unless given
        #[arg(value_name = "DIR")]
        place: Option<PathBuf>,
        /// End with the report instead of serving the dashboard
        #[arg(long)]
        no_serve: bool,
        /// Where the dashboard listens; any free port unless given. Serves also when no terminal is there
        #[arg(long, value_name = "ADDRESS", conflicts_with = "no_serve")]
        listen: Option<String>,
    },
    /// Run the hub: schedules, watchers, webhooks, API and dashboard
    Up {
        /// Address and port to listen on, instead of web.listen
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
        /// Act on what is due and waiting, then end
        #[arg(long)]
        once: bool,
        /// What it logs to standard error: lines for people, or one JSON object a line
        #[arg(long, value_enum, default_value = "text", value_name = "FORMAT", env = "CATHEDRAL_LOG_FORMAT")]
        log_format: LogFormat,
    },
    /// What runs by itself, and when
    Schedule {
        #[command(subcommand)]
        what: Option<ScheduleCommand>,
    },
    /// Tokens for programs
    Token {
        #[command(subcommand)]
        what: TokenCommand,
    },
    /// Webhooks: the address to send to, what came in, what was sent
    Hook {
        #[command(subcommand)]
        what: HookCommand,
    },
    /// Write a commented configuration for what lies around
    Init {
        /// The folder that shall hold the hub; this one unless given
        #[arg(value_name = "DIR")]
        place: Option<PathBuf>,
        /// `full` writes every key
        #[arg(long, value_enum, default_value = "short")]
        template: Template,
        /// Print the configuration and change nothing
        #[arg(long)]
        stdout: bool,
    },
    /// The state in one sentence, and the spokes that need attention
    Status {
        /// Only this spoke
        spoke: Option<String>,
        /// All spokes, also those in sync
        #[arg(long)]
        all: bool,
        /// End with 11, 12 or 22 when something needs attention
        #[arg(long)]
        exit_code: bool,
    },
    /// What a sync would do
    Plan {
        /// Names of spokes; all unless given
        spokes: Vec<String>,
        /// Also write the plan to a file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Validate, snapshot, sync, validate again, notify
    Sync(SyncArgs),
    /// Past and present runs
    Runs {
        /// Only runs that did not succeed
        #[arg(long)]
        failed: bool,
        /// How many, newest first
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// One run
    Run {
        #[command(subcommand)]
        what: RunCommand,
    },
    /// What both sides changed and a person must decide
    Conflicts {
        #[command(flatten)]
        list: ConflictList,
        #[command(subcommand)]
        what: Option<ConflictsCommand>,
    },
    /// Merge one file three ways to stdout; also a git merge driver
    MergeFile {
        #[arg(value_name = "BASE")]
        base_file: PathBuf,
        #[arg(value_name = "HUB")]
        hub_file: PathBuf,
        #[arg(value_name = "SPOKE")]
        spoke_file: PathBuf,
        /// The name by which the kind of file is known
        #[arg(long, value_name = "NAME")]
        path: Option<String>,
        /// Print suggestion N instead of leaving the conflict
        #[arg(long, value_name = "N")]
        suggest: Option<usize>,
        /// Say on stderr what decided
        #[arg(long)]
        explain: bool,
    },
    /// Take, list and look into snapshots
    Snapshot {
        #[command(subcommand)]
        what: SnapshotCommand,
    },
    /// Read back and check
    Verify {
        /// Ids or their beginnings, tags, or `latest`; all unless given
        ///
        /// `latest` is the one that was taken last, whatever its clock said; what a restore took of what stood
        /// there before is given by its id only. Where the newest can be read nowhere any more, `latest` is
        /// refused.
        snapshots: Vec<String>,
        #[arg(long, value_enum, default_value = "metadata")]
        level: Level,
    },
    /// Get things back: shows what it would do, then does it; keeps what was there
    Restore(RestoreArgs),
    /// Make or check a proof, offline
    Proof {
        #[command(subcommand)]
        what: Option<ProofCommand>,
        /// Check a proof file
        #[arg(long, value_name = "FILE")]
        verify: Option<PathBuf>,
        /// The log's public key to trust (as `cathedral log head` prints it)
        #[arg(long, value_name = "VKEY", requires = "verify")]
        vkey: Option<String>,
        /// A manifest file that the proof must be about
        #[arg(long, value_name = "FILE", requires = "verify")]
        manifest: Option<PathBuf>,
    },
    /// The transparency log
    Log {
        #[command(subcommand)]
        what: LogCommand,
    },
    /// The event log
    Events {
        /// Events after this cursor, oldest first; the newest ones unless given
        #[arg(long, value_name = "CURSOR", value_parser = super::when::number)]
        from: Option<i64>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only events of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Look at and check the configuration
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Check the machine, the store, and access to every spoke and destination
    Doctor {
        /// Make the hub's own stores of repositories anew where they are damaged; the damaged ones are kept
        #[arg(long)]
        fix: bool,
    },
    /// Print a completion script for a shell
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write man pages
    Man {
        /// A folder for all pages; the main page goes to stdout unless given
        #[arg(value_name = "DIR")]
        place: Option<PathBuf>,
    },
    /// JSON schemas of the outputs
    Schema {
        /// The name of one; the names of all unless given
        name: Option<String>,
    },
    /// Explain a command, the exit codes, or the code of an error
    Help {
        /// A command, `codes`, or a code such as C1301
        topic: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    Short,
    Full,
}

#[derive(Debug, ClapArgs)]
pub struct SyncArgs {
    /// Names of spokes; all unless given
    pub spokes: Vec<String>,
    /// Carry out exactly this plan, or refuse
    #[arg(long, value_name = "ID", conflicts_with = "spokes")]
    pub plan: Option<String>,
    /// Only these phases
    #[arg(long, value_name = "PHASES", value_enum, value_delimiter = ',')]
    pub only: Vec<PhaseName>,
    /// What is done with conflicts in this run
    #[arg(long, value_name = "WORD", value_enum)]
    pub on_conflict: Option<OnConflict>,
    /// Show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Confirm protecting limits by the ecosystem's name
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PhaseName {
    Validate,
    Snapshot,
    Sync,
    Verify,
    Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// Change nothing, and take no snapshot, when there is one
    Stop,
    /// Park it; the rest goes on
    Queue,
    /// Take the hub's side
    Hub,
    /// Take the spoke's side
    Spoke,
}

#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// What a run did
    Show {
        /// A number, or `last`
        run: String,
    },
    /// The journal of a run
    Log {
        /// A number, or `last`
        run: String,
    },
}

#[derive(Debug, Default, ClapArgs)]
pub struct ConflictList {
    /// Also those that are settled
    #[arg(long)]
    pub all: bool,
    /// Only those of this spoke
    pub spoke: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ConflictsCommand {
    /// Those that wait (the default)
    List(ConflictList),
    /// One conflict with all sides
    Show {
        /// The number that `cathedral conflicts` shows
        #[arg(value_parser = super::when::number)]
        id: i64,
        /// Show the text of each side whole, not what it has changed
        #[arg(long)]
        full: bool,
    },
    /// Decide one
    Resolve {
        /// The number that `cathedral conflicts` shows
        #[arg(value_parser = super::when::number)]
        id: i64,
        /// Take a side
        #[arg(long, value_enum, conflicts_with_all = ["field", "file"])]
        take: Option<Take>,
        /// Decide one field: a value, or @hub, @spoke, @base, @null (SQL NULL); @@x writes the text @x; repeat
        #[arg(long, value_name = "K=V", conflicts_with = "file")]
        field: Vec<String>,
        /// Take the content of a file; for a row a JSON object of its columns
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        /// Only record the answer; the next sync carries it out
        #[arg(long)]
        no_sync: bool,
    },
    /// Put both sides back to what they were before a decision
    Undo {
        /// The number that `cathedral conflicts --all` shows
        #[arg(value_parser = super::when::number)]
        id: i64,
        /// Only record it; the next sync carries it out
        #[arg(long)]
        no_sync: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Take {
    Hub,
    Spoke,
    Base,
    Suggested,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Take one now
    Create {
        /// A word to find it by in the list; repeat for several
        #[arg(long, value_name = "TAG")]
        tag: Vec<String>,
    },
    /// All snapshots
    List,
    /// What one holds
    Show {
        /// An id or its beginning, a tag, `latest`, `@2026-11-20T14:00`, `2h ago`
        ///
        /// `latest` is the one that was taken last, whatever its clock said; what a restore took of what stood
        /// there before is given by its id only. Where the newest can be read nowhere any more, `latest` is
        /// refused.
        snapshot: String,
    },
    /// Entries of a part, or the parts
    Ls {
        /// An id or its beginning, a tag, `latest`, `@2026-11-20T14:00`, `2h ago`
        ///
        /// `latest` is the one that was taken last, whatever its clock said; what a restore took of what stood
        /// there before is given by its id only. Where the newest can be read nowhere any more, `latest` is
        /// refused.
        snapshot: String,
        /// SPOKE, SPOKE/path, or SPOKE@spoke/path for the spoke's side
        path: Option<String>,
    },
    /// A file, a table or the refs, to stdout
    Cat {
        /// An id or its beginning, a tag, `latest`, `@2026-11-20T14:00`, `2h ago`
        ///
        /// `latest` is the one that was taken last, whatever its clock said; what a restore took of what stood
        /// there before is given by its id only. Where the newest can be read nowhere any more, `latest` is
        /// refused.
        snapshot: String,
        /// SPOKE/path, SPOKE/table or SPOKE/ref; SPOKE@spoke/… for the spoke's side
        path: String,
    },
    /// Let snapshots go; nothing is deleted, and --undo takes them back
    Forget(ForgetArgs),
}

#[derive(Debug, ClapArgs)]
pub struct ForgetArgs {
    /// Ids or their beginnings; of one that cannot be read, its whole id
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Take forgotten snapshots back
    #[arg(long)]
    pub undo: bool,
    /// Show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Let go of the newest whole snapshot, or of many, by the ecosystem's name
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Every object is there with the right size
    Quick,
    /// And signatures, indexes, trees, every chunk resolvable
    Metadata,
    /// And every byte decrypted, decompressed and hashed
    Full,
}

#[derive(Debug, ClapArgs)]
pub struct RestoreArgs {
    /// An id or its beginning, a tag, `latest`, `@2026-11-20T14:00`, `2h ago`
    ///
    /// `latest` is the one that was taken last, whatever its clock said; what a restore took of what stood there
    /// before is given by its id only. Where the newest can be read nowhere any more, `latest` is refused.
    pub snapshot: String,
    /// SPOKE, or SPOKE@spoke for the spoke's side; all unless given
    pub what: Vec<String>,
    /// Write into this new folder
    #[arg(long, value_name = "DIR", conflicts_with = "in_place")]
    pub to: Option<PathBuf>,
    /// Write over what is there; that is kept
    #[arg(long)]
    pub in_place: bool,
    /// Read from this destination only: a name, or a file: URL when the hub is lost
    #[arg(long, value_name = "DEST|URL")]
    pub from: Option<String>,
    /// The key to read with when the hub is lost
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Use no state of a hub: needs --from, --key-file and --to
    #[arg(long)]
    pub offline: bool,
    /// Show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Confirm a restore in place by the ecosystem's name
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ProofCommand {
    /// Proof that a snapshot is in the log
    Snapshot {
        /// An id or its beginning, a tag, `latest`, `@2026-11-20T14:00`, `2h ago`
        ///
        /// `latest` is the one that was taken last, whatever its clock said; what a restore took of what stood
        /// there before is given by its id only. Where the newest can be read nowhere any more, `latest` is
        /// refused.
        snapshot: String,
        /// Where the proof goes; `-` for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Proof of one leaf
    Leaf {
        index: u64,
        /// Where the proof goes; `-` for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// The signed head
    Head,
    /// Entries, newest last
    Show {
        /// From this leaf on
        #[arg(long, value_name = "INDEX")]
        since: Option<u64>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        limit: u64,
    },
    /// Recompute the whole log and compare
    Audit,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every problem at once
    Validate {
        /// A file instead of the ecosystem's own; `-` for standard input
        file: Option<PathBuf>,
    },
    /// The configuration as it is used, with defaults
    Show {
        /// How it is written
        #[arg(long, value_enum, default_value = "yaml")]
        format: Format,
    },
    /// What a key means
    Explain {
        /// Such as `backup.quorum`; all keys unless given
        key: Option<String>,
    },
    /// JSON Schema of the file
    Schema,
    /// List the versions that were in force, newest first
    Versions {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Compare versions: the newest with the file, one with the file, or two
    Diff {
        /// Number of the older version; the newest that was in force unless given
        #[arg(value_name = "OLD")]
        from: Option<i64>,
        /// Number of the newer version; the file unless given
        #[arg(value_name = "NEW")]
        to: Option<i64>,
    },
    /// Put a version back in place of the file; what the file says now is kept as a version
    Rollback {
        /// Its number, as `cathedral config versions` shows it
        #[arg(value_name = "N")]
        number: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Yaml,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// Checks every command's definition, and that no argument of one shadows a global one.
    #[test]
    fn every_command_is_well_defined() {
        Args::command().debug_assert();
        let globals: Vec<String> = Args::command().get_arguments().map(|a| a.get_id().to_string()).collect();
        let mut left: Vec<clap::Command> = Args::command().get_subcommands().cloned().collect();
        while let Some(command) = left.pop() {
            for argument in command.get_arguments() {
                let id = argument.get_id().to_string();
                assert!(!globals.contains(&id), "{} {id} has the name of a global argument", command.get_name());
            }
            left.extend(command.get_subcommands().cloned());
        }
    }
}
