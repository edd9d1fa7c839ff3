//! Options that every command takes.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::super::when;

#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Work as if started in this folder
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub dir: Option<PathBuf>,
    /// Configuration file instead of .cathedral/integration-config.yaml
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Have a hub elsewhere carry out the command; its token stands in CATHEDRAL_TOKEN
    #[arg(long, value_name = "URL", env = "CATHEDRAL_HUB", global = true)]
    pub hub: Option<String>,
    /// One JSON document on stdout
    #[arg(long, global = true, conflicts_with_all = ["jsonl", "plain"])]
    pub json: bool,
    /// One JSON event per line on stdout
    #[arg(long, global = true, conflicts_with = "plain")]
    pub jsonl: bool,
    /// Plain lines, as in a pipe
    #[arg(long, global = true)]
    pub plain: bool,
    /// Say less
    #[arg(short = 'q', long, global = true)]
    pub quiet: bool,
    /// Say more; repeat for details
    #[arg(short = 'v', long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub color: Color,
    /// Fail instead of asking
    #[arg(long, global = true)]
    pub no_input: bool,
    /// No progress lines
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Give up after this long, for example 90s or 10m
    #[arg(long, value_name = "DUR", value_parser = when::duration, global = true)]
    pub timeout: Option<when::Span>,
    /// Carried into logs
    #[arg(long, value_name = "ID", global = true, hide = true)]
    pub trace_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}
