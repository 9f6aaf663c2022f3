//! `triwire watch-table`: a table of the user's own becomes a collection, or ceases to be one.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::migrate::told;
use crate::config::Config;
use crate::store::postgres::watch;

pub(super) fn command() -> Command {
    let command = Command::new("watch-table")
        .about("Make a table of a database a collection, whose rows are read, written and watched as documents")
        .after_help(
            "The table needs a primary key of one column, of integers, texts or UUIDs. Triggers on it tell each change, \
             whoever makes it; the role needs the right to make them. Exit status: 0 when it is done, 1 when it could not \
             be, 2 for a mistake in what it was told.",
        )
        .arg(
            Arg::new("table")
                .value_name("TABLE")
                .required(true)
                .help("The table, as SQL names it: people, sales.orders, '\"Order Lines\"'"),
        )
        .arg(
            Arg::new("collection")
                .long("collection")
                .value_name("NAME")
                .help("What the collection is called [default: the table's name]"),
        )
        .arg(
            Arg::new("remove")
                .long("remove")
                .action(ArgAction::SetTrue)
                .conflicts_with("collection")
                .help("Watch it no more: the triggers go, the table stays as it is"),
        );
    Config::store_command(command)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let table = matches.get_one::<String>("table").expect("it is required");
    let collection = matches.get_one::<String>("collection");
    let remove = matches.get_flag("remove");
    told(matches, async |place| match remove {
        true => watch::unwatch(&place, table).await,
        false => watch::watch(&place, table, collection.map(String::as_str)).await,
    })
}
