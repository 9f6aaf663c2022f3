//! `triwire migrate`: makes of a database what collections need.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::remote::block_on;
use super::{fail, print, say};
use crate::config::Config;
use crate::database::Place;
use crate::store::postgres::migrate;

pub(super) fn command() -> Command {
    let command = Command::new("migrate")
        .about("Make of a database what collections need: the schema triwire")
        .after_help(
            "Once before the first start, and after an update that says so; what is there already is left as it is. \
             The role needs the right to create a schema. Exit status: 0 when it is as it should be, 1 when it could \
             not be made, 2 for a mistake in what it was told.",
        );
    Config::store_command(command)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    told(matches, async |place| migrate::migrate(&place).await)
}

/// Does something with the database that was told, and prints what that was.
pub(super) fn told(
    matches: &ArgMatches,
    work: impl AsyncFnOnce(Place) -> Result<String, String>,
) -> ExitCode {
    let place = match place(matches) {
        Ok(place) => place,
        Err(mistakes) => return fail(&mistakes),
    };
    block_on(async {
        match work(place).await {
            Ok(done) => print(format!("{done}\n")),
            Err(why) => {
                say(&why);
                ExitCode::FAILURE
            }
        }
    })
}

fn place(matches: &ArgMatches) -> Result<Place, Vec<String>> {
    let url = Config::resolve_store(matches, &|name| std::env::var(name).ok())?;
    let url = url.ok_or_else(|| {
        vec!["no database is named; write --store postgres://…, or set TRIWIRE_STORE".to_owned()]
    })?;
    Place::parse(url.reveal()).map_err(|mistake| vec![format!("--store: {mistake}")])
}
