//! Completions, man pages and the texts of `cathedral help TOPIC`.

use std::path::PathBuf;

use clap::CommandFactory;

use super::args::Args;
use super::{Ended, Failure, Output};

/// Writes a completion script to stdout.
pub fn completion(shell: clap_complete::Shell, output: &Output) -> Ended {
    let mut script = vec![];
    clap_complete::generate(shell, &mut Args::command(), "cathedral", &mut script);
    output.raw(&script);
    Ok(0)
}

/// Writes man pages into a folder, or the main page to stdout.
pub fn man(dir: Option<PathBuf>, output: &Output) -> Ended {
    let command = Args::command();
    let Some(dir) = dir else {
        let mut page = vec![];
        clap_mangen::Man::new(command).render(&mut page).map_err(|e| Failure::io("the man page", &e))?;
        output.raw(&page);
        return Ok(0);
    };
    std::fs::create_dir_all(&dir).map_err(|e| Failure::io(&dir.display().to_string(), &e))?;
    clap_mangen::generate_to(command, &dir).map_err(|e| Failure::io(&dir.display().to_string(), &e))?;
    output.note(format!("man pages written to {}", dir.display()));
    Ok(0)
}
