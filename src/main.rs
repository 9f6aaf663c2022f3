//! The binary: arguments in, an exit status out. Everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    triwire::cli::run(std::env::args_os())
}
