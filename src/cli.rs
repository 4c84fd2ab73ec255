//! The command line: what can be asked of `kawaraban`, and which part of it answers.
//!
//! Results go to standard output, logs and progress to standard error. Exit status: 0 all well; 1 failed
//! at run time; 2 wrong usage or invalid configuration; 3 a check ran and found something failing.

mod arguments;
mod check;
mod new;
mod parse;
mod report;
mod settings;
mod status;
mod store_stats;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _};

pub use arguments::{Arguments, Command, Global, StoreCommand};

use crate::{
    app::{
        self,
        signals::{self, Taken},
    },
    config::load::Needed,
};

/// Invalid configuration, or wrong usage.
const INVALID: u8 = 2;
/// A check ran and found something failing.
const FOUND_FAILING: u8 = 3;

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    // before anything else: a signal in its first moments must not kill the daemon
    let mut signals = signals::take();
    let color = arguments::color_of(std::env::args_os());
    color.write_global();
    let parsed = Arguments::command()
        .color(arguments::for_clap(color))
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => dispatch(arguments, signals),
        Err(message) => {
            give_back(&mut signals);
            // help and version are "errors" to clap too, and go to standard output with status 0; that
            // nobody reads them is no fault of ours
            let _ = message.print();
            ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(INVALID))
        }
    }
}

/// Any other command than `run` ends by a signal as programs do.
fn give_back(signals: &mut io::Result<Taken>) {
    if let Err(error) = signals.as_mut().map_err(|error| io::Error::from(error.kind())).and_then(Taken::give_back) {
        anstream::eprintln!("signals do not work as usual: {error}");
    }
}

fn dispatch(arguments: Arguments, mut signals: io::Result<Taken>) -> ExitCode {
    let global = arguments.global;
    let command = arguments.command.unwrap_or(Command::Run);
    if !matches!(command, Command::Run) {
        give_back(&mut signals);
    }
    let done = match command {
        Command::Run => settings::run(&global, signals),
        Command::Check { fetch, no_secrets, json } => check::run(&global, check::Options { fetch, no_secrets, json }),
        Command::Status { url, json, watch } => status::run(&global, &status::Options { url, json, watch }),
        Command::Parse { json, base, content_type, files } => {
            Ok(parse::run(&files, &parse::Options { json, base, content_type }))
        }
        Command::Preview { source, json, from_saved } => settings::load_beside_unit(&global, Needed::Source(&source))
            .map(|config| app::preview::run(&config, &source, app::preview::Options { json, from_saved })),
        Command::New { url, kind, allow_private_addresses, json } => {
            let kind = kind.map(Into::into);
            new::run(&global, &new::Options { url, kind, private: allow_private_addresses, json })
        }
        Command::SendTest { destination } => settings::load(&global, Needed::Destination(&destination))
            .map(|loaded| app::send_test::run(&loaded.config, &destination)),
        Command::Store { command: StoreCommand::Stats { json } } => store_stats::run(&global, json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "kawaraban", &mut script);
            anstream::print!("{}", String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|faults| {
        check::explain(&faults);
        ExitCode::from(INVALID)
    })
}
