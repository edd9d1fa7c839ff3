//! `cathedral`: keeps an ecosystem of git repositories, databases and file trees in sync, provably
//! intact and restorable.

mod cli;
mod demo;
mod hub;
mod remote;
mod serve;

fn main() -> std::process::ExitCode {
    // The hub runs its own program beside git, to end git when the hub is gone.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == cathedral_syncers::git::KEEPER) {
        return cathedral_syncers::git::keep();
    }
    cli::main()
}
