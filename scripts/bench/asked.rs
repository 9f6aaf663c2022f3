//! What is asked of a benchmark that starts servers of its own: which cases, of which server, and how much of it. The
//! benchmarks of queries, collections and relays have this.

use std::path::PathBuf;

use triwire::load::Result;

use super::command;

/// What is asked for.
pub struct Options {
    pub cases: Vec<String>,
    pub quick: bool,
    pub triwire: PathBuf,
}

impl Options {
    /// Of these cases, all if none is named; with what the option `beside` says, if there is one: where the broker is,
    /// or the database.
    pub fn parse(
        arguments: &[String],
        cases: &[&str],
        beside: Option<&str>,
    ) -> Result<(Options, Option<String>)> {
        let mut options = Options {
            cases: cases.iter().map(|&case| case.to_owned()).collect(),
            quick: false,
            triwire: command::triwire(),
        };
        let mut place = None;
        let mut given = command::Options::of(arguments);
        while let Some(flag) = given.flag() {
            match flag {
                "--cases" => options.cases = given.value()?.split(',').map(str::to_owned).collect(),
                "--server" => options.triwire = given.value()?.into(),
                "--quick" => options.quick = true,
                _ if Some(flag) == beside => place = Some(given.value()?.to_owned()),
                _ => return given.unknown(),
            }
        }
        match options.cases.iter().find(|case| !cases.contains(&&***case)) {
            Some(case) => command::no_case(case, cases.iter().copied()),
            None => Ok((options, place)),
        }
    }
}

/// Does it on this thread alone, which is not measured.
pub fn on_one_thread(cases: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(cases)
}
