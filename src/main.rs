//! The `kawaraban` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kawaraban::cli::main()
}
