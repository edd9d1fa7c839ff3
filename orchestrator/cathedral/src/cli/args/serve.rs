//! Arguments of the commands around a serving hub.

use clap::Subcommand;

use super::super::when::{Span, duration};

/// What runs by itself.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// List schedules, with when each is due next
    List,
    /// List what is due in the coming time, in order
    Next {
        /// How far to look ahead; a day unless given
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        within: Option<Span>,
    },
    /// Let a schedule rest
    Pause {
        /// Its name, as `cathedral schedule list` shows it
        name: String,
        /// Why, for others
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// For how long; until it is resumed unless given
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        until: Option<Span>,
    },
    /// Wake a schedule
    Resume {
        /// Its name
        name: String,
    },
    /// Do now what a schedule does
    Run {
        /// Its name
        name: String,
    },
}

/// How programs come in.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed once
    New {
        /// What it may do: viewer, operator or admin
        #[arg(long, value_name = "ROLE")]
        scope: String,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        /// When it ends; 90 days unless given
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
        expires: Option<Span>,
    },
    /// List tokens
    List,
    /// End a token at once
    Revoke {
        /// Its id, as `cathedral token list` shows it
        id: String,
    },
}

/// Webhooks.
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Print the address that GitHub sends to
    ReceiveUrl,
    /// List whom the hub tells what happens
    List,
    /// List what was sent or waits to be sent, newest first
    Sent {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Send a delivery once more, now
    Retry {
        /// Its number, as `cathedral hook sent` shows it
        number: i64,
    },
    /// Send a test message to one endpoint, now
    Test {
        /// Its name, as `cathedral hook list` shows it
        name: String,
    },
    /// List what came in, newest first
    Received {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}
