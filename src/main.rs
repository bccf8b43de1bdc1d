//! The `wirefan` binary: the command line's result as an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    wirefan::cli::run()
}
