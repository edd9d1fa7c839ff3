//! The command line: arguments in, one of the documented exit codes out.

mod args;
mod commands;
mod elsewhere;
mod examples;
mod failure;
mod guide;
mod log_lines;
mod output;
mod progress;
mod schema;
mod table;
mod usage;
mod when;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use args::Args;
pub use elsewhere::needs;
pub use failure::Failure;
pub use output::{Output, TERMINAL, Tint, many, safe, size};
pub use progress::Bar;
pub use when::local;

/// What every command ends with.
pub type Ended = Result<u8, Failure>;

/// In the environment of a command that a hub carries out for somebody elsewhere: who asked for it.
pub const ON_BEHALF_OF: &str = "CATHEDRAL_ON_BEHALF_OF";

/// For whom this command works, if not for whoever typed it.
pub fn on_behalf_of() -> Option<String> {
    let is_name = |name: &String| (1..=80).contains(&name.len()) && name.bytes().all(|b| (0x20..0x7f).contains(&b));
    std::env::var(ON_BEHALF_OF).ok().filter(is_name)
}

/// As whose act it is recorded.
pub fn actor() -> String {
    let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok().filter(|name| !name.is_empty());
    on_behalf_of().or_else(user).unwrap_or_else(|| "local".into())
}

/// The command this process was started for; arguments may hold what is nobody's business.
pub fn command_word() -> String {
    let known = examples::command();
    let is_command = |word: &String| known.get_subcommands().any(|c| c.get_name() == word);
    std::env::args().skip(1).find(is_command).unwrap_or_else(|| "command".to_owned())
}

/// Parses the arguments, runs the command, reports its failure.
pub fn main() -> ExitCode {
    let read = examples::command().try_get_matches().and_then(|found| Args::from_arg_matches(&found));
    let args = match read {
        Ok(args) => args,
        Err(error) => return usage::report(&error),
    };
    let mut args = args;
    let format = match &args.command {
        args::Command::Up { log_format, .. } => *log_format,
        _ => args::LogFormat::Text,
    };
    // Lines for people would stand between lines for machines.
    args.global.quiet |= format == args::LogFormat::Json;
    log_lines::start(args.global.verbose, format);
    let output = Output::new(&args.global);
    if let Some(trouble) = crate::hub::HubEnv::clock_trouble() {
        output.warn(trouble);
    }
    let ended = run(args, &output);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let failure = failure.complete();
            match format {
                args::LogFormat::Text => output.failure(&failure),
                args::LogFormat::Json => log_lines::failure(&failure),
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Commands that need no hub run at once; the others get a runtime.
fn run(args: Args, output: &Output) -> Ended {
    let is_elsewhere = args.global.hub.is_some() && !elsewhere::is_here(&args.command)?;
    let command = if is_elsewhere {
        args.command
    } else {
        match commands::without_hub(args.command, &args.global, output) {
            Ok(ended) => return ended,
            Err(command) => *command,
        }
    };
    // It ends by signals itself, after the step under way.
    let serves = matches!(command, args::Command::Up { .. } | args::Command::Demo { no_serve: false, .. });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(1, "C1001", format!("the program could not start its threads: {e}")))?;
    let global = args.global;
    runtime.block_on(async {
        let work = async {
            match is_elsewhere {
                true => elsewhere::run(&command, &global, output).await,
                false => commands::with_hub(command, &global, output).await,
            }
        };
        let limit = global.timeout.map(std::time::Duration::from);
        let limited = async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                    Err(Failure::new(124, "C1003", "the time given by --timeout is over")
                        .why("what was applied stays applied, and a run goes on from its journal; what only reads begins anew")
                        .next("repeat the command, with a longer --timeout where it is the work that takes so long"))
                }),
                None => work.await,
            }
        };
        let ended = tokio::select! {
            ended = limited => ended,
            _ = tokio::signal::ctrl_c(), if !serves => Err(Failure::new(130, "C1004", "interrupted")
                .why("what was applied stays applied, and a run goes on from its journal; what only reads begins anew")
                .next("repeat the command")),
        };
        crate::hub::close_stores().await;
        ended
    })
}
