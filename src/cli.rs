//! The command line: what can be asked of the binary, and nothing of how it is done.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Environment};
use crate::{check, dev, init, last_words, logs, node, publish, slots, tail, token};

/// Streams PostgreSQL's committed changes to browsers over Server-Sent Events.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node.
    Run {
        /// The configuration; without it, `tailrace.toml` if there is one, and the environment.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say what is wrong, and the statement that mends it.
    Check(check::Arguments),
    /// Print the SQL and a configuration for a database, or run it.
    Init(init::Arguments),
    /// List or drop the replication slots of nodes.
    Slots(slots::Arguments),
    /// Run everything on a private PostgreSQL with sample data, and a page to look at.
    Dev(dev::Arguments),
    /// Print the events of an organisation as they come.
    Tail(tail::Arguments),
    /// Publish an event of your own.
    Publish(publish::Arguments),
    /// Print a session token, for development.
    Token(token::Arguments),
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => logged(|| run_node(config)),
        Command::Check(arguments) => check::run(&arguments).unwrap_or_else(|error| {
            fail(&error);
            ExitCode::from(2)
        }),
        Command::Init(arguments) => done(init::run(&arguments)),
        Command::Slots(arguments) => done(slots::run(&arguments)),
        Command::Dev(arguments) => {
            logged(|| dev::run(&arguments).unwrap_or_else(|error| fail(&error)))
        }
        Command::Tail(arguments) => done(tail::run(&arguments)),
        Command::Publish(arguments) => done(publish::run(&arguments)),
        Command::Token(arguments) => done(token::run(&arguments)),
    }
}

fn run_node(path: Option<PathBuf>) -> ExitCode {
    let path = path.or_else(|| Some(PathBuf::from("tailrace.toml")).filter(|path| path.exists()));
    let started = Config::load(path.as_deref(), &Environment::of_process())
        .map_err(|error| error.to_string())
        .and_then(|config| {
            node::start(config, axum::Router::new()).map_err(|error| error.to_string())
        });
    match started {
        Ok(node) => node.run_until_signal(true),
        Err(error) => fail(&error),
    }
}

/// Does something that logs; what it logged is written before it returns.
fn logged(work: impl FnOnce() -> ExitCode) -> ExitCode {
    match logs::start() {
        Ok(_logs) => work(),
        Err(error) => fail(&error),
    }
}

fn done(result: Result<(), String>) -> ExitCode {
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &str) -> ExitCode {
    last_words::say(&format!("tailrace: {error}\n"));
    ExitCode::FAILURE
}
