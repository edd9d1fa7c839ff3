//! `cathedral`: keeps an ecosystem of git repositories, databases and file trees in sync, provably
//! intact and restorable.

mod cli;
mod demo;
mod hub;
mod remote;
mod serve;

fn main() -> std::process::ExitCode {
    cli::main()
}
