//! The command line of a benchmark: what its script asks for, and how it ends. All benchmarks have this file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::slice::Iter;

use triwire::load::Result;

/// What can be asked for, and what does it with the arguments that follow.
type Command = (&'static str, fn(&[String]) -> Result<()>);

/// Does what is asked for by the first argument.
pub fn run(script: &str, commands: &[Command]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = arguments.split_first().and_then(|(asked, rest)| {
        let mut commands = commands.iter();
        Some((commands.find(|(name, _)| name == asked)?, rest))
    });
    let done = match asked {
        Some(((_, command), rest)) => command(rest),
        // `cargo bench` and `cargo test --benches` come here: a run is long, so it is asked for.
        None => {
            println!("see scripts/{script} --help");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{script}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Options, in the order in which they were given.
pub struct Options<'a> {
    rest: Iter<'a, String>,
    flag: &'a str,
}

impl<'a> Options<'a> {
    pub fn of(arguments: &'a [String]) -> Options<'a> {
        Options {
            rest: arguments.iter(),
            flag: "",
        }
    }

    /// The next one.
    pub fn flag(&mut self) -> Option<&'a str> {
        self.flag = self.rest.next()?;
        Some(self.flag)
    }

    /// What follows it.
    pub fn value(&mut self) -> Result<&'a str> {
        let value = self.rest.next().map(String::as_str);
        value.ok_or_else(|| format!("{} needs a value", self.flag).into())
    }

    /// What is said when nobody knows it.
    pub fn unknown<T>(&self) -> Result<T> {
        Err(format!("an unknown option: {}", self.flag).into())
    }
}

/// What is said of a case that there is not.
pub fn no_case<'a, T>(name: &str, all: impl Iterator<Item = &'a str>) -> Result<T> {
    let all: Vec<&str> = all.collect();
    Err(format!("no case {name}; there are {}", all.join(" ")).into())
}

/// The server that is measured, unless another is named: the release build, which the script makes.
pub fn triwire() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_triwire");
    built.unwrap_or("target/release/triwire").into()
}
