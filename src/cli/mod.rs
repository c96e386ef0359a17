//! The command line: each command reads its arguments, calls the engine, and prints.

mod completions;
mod crd;
#[cfg(feature = "controller")]
mod explain;
mod input;
mod inspect;
mod json;
mod junit;
mod lint;
#[cfg(feature = "controller")]
mod live;
mod load;
mod located;
mod options;
mod paint;
mod problem;
mod progress;
mod reference;
mod review;
mod reviewed;
#[cfg(feature = "controller")]
mod run;
mod sarif;
mod test;
mod text;

use std::io::Write;
use std::process::{ExitCode, Termination};

use clap::Parser;

use crate::escape::one_line;

/// Review Kubernetes CertificateSigningRequests against policies, and say why.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[cfg(feature = "controller")]
    Run(run::Args),
    Review(review::Args),
    Lint(lint::Args),
    Test(test::Args),
    #[cfg(feature = "controller")]
    Explain(explain::Args),
    Inspect(inspect::Args),
    Crd(crd::Args),
    Completions(completions::Args),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: nothing to report.
    Clean,
    /// 1: something is denied or alarming.
    Findings,
    /// 2: nothing could be concluded about something.
    Unconcluded,
    /// 3: something is undecided.
    Undecided,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Clean => 0,
            Self::Findings => 1,
            Self::Unconcluded => 2,
            Self::Undecided => 3,
        })
    }
}

/// Reads the arguments of the process and does what they say. Wrong ones end it with status 2.
pub fn run() -> anyhow::Result<Exit> {
    match Cli::parse().command {
        #[cfg(feature = "controller")]
        Command::Run(args) => run::run(args),
        Command::Review(args) => review::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Test(args) => test::run(&args),
        #[cfg(feature = "controller")]
        Command::Explain(args) => explain::run(args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Crd(args) => crd::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Says on standard error why a command could not do its work.
pub fn complain(error: &anyhow::Error) {
    say(&one_line(&why(error)));
}

/// Says on standard error what is wrong. Where nobody reads it, the exit status tells: `eprintln` would panic.
fn say(wrong: &str) {
    let _ = writeln!(std::io::stderr(), "error: {wrong}");
}

/// An error and its causes, but for those that are quoted already.
fn why(error: &anyhow::Error) -> String {
    let mut why = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !why.contains(&cause) {
            why = format!("{why}: {cause}");
        }
    }
    why
}

/// Prints to standard output; a reader that has gone away is no error.
fn print(text: &str) -> std::io::Result<()> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// The same of what `write` writes.
fn print_with(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
