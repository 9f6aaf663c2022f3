//! `triwire query`: what a query yields, kept fresh: a table on a terminal, one JSON value a line in a pipe.

mod table;
mod update;

use std::future::Future;
use std::io::{self, IsTerminal, Read, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hyper::StatusCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::interval;

use self::table::Table;
use self::update::{Kind, Update};
use super::lines::{nobody_reads, send, write_lines};
use super::remote::{self, Lost};
use crate::client::{Ask, Failure, Fault, Follower, Item, Patience, Place, Query, Source};
use crate::config::parse_time;

/// A server says that it lives more often.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the age of what is shown is.
const AGE: Duration = Duration::from_secs(1);
/// Nobody types that much, and no server takes it.
const LONGEST: u64 = 1 << 20;

pub(super) fn command() -> Command {
    let command = Command::new("query")
        .about("Watch what a query yields: a table on a terminal, JSON lines in a pipe")
        .long_about(
            "Watch what a query yields. On a terminal it is a table that is kept fresh. In a pipe it is one JSON value a \
             line: {\"result\":…} whenever the result has changed, or, for a query that filters the rows of one table, \
             each row as an object: first those that are retained (the newest 100), oldest first, then each that \
             comes.\n\n\
             The query and a subscription to it are made on the server for as long as this runs, and are removed at the \
             end. A connection that is lost comes back by itself and resumes.\n\n\
             Exit status: 0 after --limit or --once, or when nobody reads its output any more; 1 when it cannot go on, \
             because of a mistake in the SQL among others; 2 for a mistake in what it was told; 130 for Ctrl-C.",
        )
        .arg(
            Arg::new("sql")
                .value_name("SQL")
                .required_unless_present("file")
                .help("The query; - reads it from stdin"),
        )
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .conflicts_with("sql")
                .help("Read the query from a file"),
        )
        .arg(
            Arg::new("every")
                .long("every")
                .value_name("TIME")
                .default_value("1s")
                .value_parser(|text: &str| parse_time(text, 50..=3_600_000))
                .help("How often it is kept fresh, at most"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after so many results, or rows where each is told"),
        )
        .arg(
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .conflicts_with("limit")
                .help("End after the present result"),
        );
    remote::arguments(command, Lost::ForEver)
}

/// What is asked for, and of whom.
struct Wish {
    place: Place,
    patience: Patience,
    sql: String,
    every: Duration,
    limit: Option<u64>,
    once: bool,
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let sql = match read_sql(matches) {
        Ok(sql) => sql,
        Err(mistake) => return super::fail(&[mistake]),
    };
    remote::run(matches, Lost::ForEver, |place, patience| {
        watch(Wish {
            place,
            patience,
            sql,
            every: *matches.get_one("every").expect("it has a default"),
            limit: matches.get_one("limit").copied(),
            once: matches.get_flag("once"),
        })
    })
}

fn read_sql(matches: &ArgMatches) -> Result<String, String> {
    let given = |name| matches.get_one(name).map(String::as_str);
    let mut sql = String::new();
    let (what, read) = match (given("file"), given("sql")) {
        (Some(file), _) => (
            file,
            std::fs::File::open(file).and_then(|f| f.take(LONGEST).read_to_string(&mut sql)),
        ),
        (None, Some("-")) => ("stdin", io::stdin().take(LONGEST).read_to_string(&mut sql)),
        (None, sql) => return Ok(sql.unwrap_or_default().to_owned()),
    };
    read.map_err(|error| format!("{what}: {error}"))?;
    Ok(sql)
}

async fn watch(wish: Wish) -> Result<ExitCode, Failure> {
    let stopped = stopped()?;
    let mut query = Query::new();
    let done = tokio::select! {
        done = show(&wish, &mut query) => done,
        status = stopped => Ok(ExitCode::from(status)),
    };
    // However it ends, nothing is left behind.
    query.remove(&wish.place).await;
    done
}

/// How far it came, whatever became of the query on the server.
struct Progress {
    /// Results, or rows, that are still to come.
    left: u64,
    /// Whether there was any since the query was made.
    has_shown: bool,
}

async fn show(wish: &Wish, query: &mut Query) -> Result<ExitCode, Failure> {
    let mut progress = Progress {
        left: wish.limit.unwrap_or(u64::MAX),
        has_shown: false,
    };
    loop {
        let say = |words: &str| super::say(words);
        let made = query.make(&wish.place, wish.patience, &wish.sql, wish.every, say);
        match made.await {
            Err(failure) if failure.fault == Fault::Refused(StatusCode::BAD_REQUEST) => {
                super::say(&failure.words);
                point(&wish.sql, &failure.words);
                return Ok(ExitCode::FAILURE);
            }
            made => made?,
        }
        let shown = match stdout().is_terminal() {
            true => draw(wish, query, &mut progress).await,
            false => print(wish, query, &mut progress).await,
        };
        match shown {
            // After a restart, or away for too long.
            Err(failure)
                if failure.fault == Fault::Refused(StatusCode::NOT_FOUND)
                    && std::mem::take(&mut progress.has_shown) =>
            {
                super::say("the server does not know the query any more; asking anew");
            }
            shown => return shown.map(|()| ExitCode::SUCCESS),
        }
    }
}

/// Ends with the exit status that a shell expects of a program that a signal has ended.
fn stopped() -> Result<impl Future<Output = u8>, Failure> {
    let on = |kind| signal(kind).map_err(|error| Failure::local(format!("no signals: {error}")));
    let (mut hangup, mut interrupt) = (on(SignalKind::hangup())?, on(SignalKind::interrupt())?);
    let mut terminate = on(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = hangup.recv() => 129,
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        }
    })
}

fn follower<S: FnMut(&str)>(wish: &Wish, query: &Query, say: S) -> Follower<S> {
    let ask = Ask {
        source: Source::Subscription(query.subscription().to_owned()),
        after: None,
        lag: None,
        limit: None,
        silence: SILENCE,
    };
    Follower::new(wish.place.clone(), ask, wish.patience, say)
}

/// The next that is told of the query; where events were lost, in words.
async fn next<S: FnMut(&str)>(
    follower: &mut Follower<S>,
) -> Result<Result<Update, String>, Failure> {
    match follower.next().await? {
        Some(Item::Event { json, .. }) => Update::parse(&json).map(Ok),
        Some(Item::Gap { json, .. }) => Ok(Err(format!("something was lost: {json}"))),
        _ => Err(Failure::local("the stream has ended")),
    }
}

/// The same, and the follower back.
async fn step<S: FnMut(&str)>(
    mut follower: Follower<S>,
) -> (Follower<S>, Result<Result<Update, String>, Failure>) {
    let update = next(&mut follower).await;
    (follower, update)
}

/// In a pipe.
async fn print(wish: &Wish, query: &Query, progress: &mut Progress) -> Result<(), Failure> {
    let (lines, written) = write_lines();
    let printed = tokio::select! {
        printed = print_lines(wish, query, progress, &lines) => printed,
        () = nobody_reads() => Ok(()),
    };
    // What is on its way is written, or there is nobody left to read it.
    drop(lines);
    let written = written.await.unwrap_or(Ok(()));
    printed?;
    written.map_err(|error| Failure::local(format!("stdout: {error}")))
}

async fn print_lines(
    wish: &Wish,
    query: &Query,
    progress: &mut Progress,
    lines: &mpsc::Sender<Vec<u8>>,
) -> Result<(), Failure> {
    let mut follower = follower(wish, query, |words: &str| super::say(words));
    let mut is_first = true;
    loop {
        let update = match next(&mut follower).await? {
            Ok(update) => update,
            Err(words) => {
                super::say(&words);
                continue;
            }
        };
        let texts = match (update.kind, query.is_rows()) {
            (Kind::Whole, false) => vec![format!("{{\"result\":{}}}", update.result)],
            (Kind::Whole, true) if is_first => update.rows()?,
            // They were printed as they came.
            (Kind::Whole, true) => Vec::new(),
            (Kind::More, _) => update.rows()?,
        };
        is_first = false;
        progress.has_shown = true;
        let mut chunk = Vec::new();
        for text in texts {
            if progress.left == 0 {
                break;
            }
            chunk.extend_from_slice(text.as_bytes());
            chunk.push(b'\n');
            progress.left -= 1;
        }
        if !send(lines, chunk).await || progress.left == 0 || wish.once {
            return Ok(());
        }
    }
}

/// On a terminal.
async fn draw(wish: &Wish, query: &Query, progress: &mut Progress) -> Result<(), Failure> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let follower = follower(wish, query, move |words: &str| {
        let _ = tell.send(super::tame(words));
    });
    let mut table = Table::new(query.is_rows());
    let mut clock = interval(AGE);
    // One that is given up halfway would forget what it has read.
    let mut coming = Box::pin(step(follower));
    loop {
        tokio::select! {
            (follower, update) = &mut coming => {
                match update? {
                    Ok(update) => {
                        progress.has_shown = true;
                        progress.left = progress.left.saturating_sub(table.take(&update)?);
                    }
                    Err(words) => table.say(&super::tame(&words)),
                }
                coming = Box::pin(step(follower));
            }
            Some(words) = told.recv() => table.say(&words),
            _ = clock.tick() => {}
        }
        let drawn = table.draw();
        drawn.map_err(|error| Failure::local(format!("the terminal: {error}")))?;
        if progress.left == 0 || (wish.once && progress.has_shown) {
            return Ok(());
        }
    }
}

/// The line of the query that a mistake is in, and a caret under its place.
fn point(sql: &str, words: &str) {
    let Some((line, caret)) = pointer(sql, words) else {
        return;
    };
    eprintln!("  {line}\n  {caret}");
}

fn pointer(sql: &str, words: &str) -> Option<(String, String)> {
    let number = |label: &str| -> Option<usize> {
        let (_, rest) = words.split_once(label)?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    };
    let (line, column) = (number("line ")?, number("column ")?);
    let line = sql.lines().nth(line.checked_sub(1)?)?;
    // A tab is as wide under the line as in it.
    let before = line.chars().take(column.checked_sub(1)?);
    let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
    let caret: String = before.map(blank).chain(['^']).collect();
    let plain = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    Some((line.chars().map(plain).collect(), caret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_pointed_at() {
        let sql = "select\n\tnam, x\nfrom metrics";
        let (line, caret) = pointer(sql, "line 2, column 2: no column nam").expect("a place");
        assert_eq!((&*line, &*caret), ("\tnam, x", "\t^"));
        let (_, caret) = pointer("select", "at line 1, column 7: the end").expect("a place");
        assert_eq!(caret, "      ^");
        for words in [
            "",
            "line 4, column 1",
            "line 0, column 0",
            "line 99999999999999999999",
        ] {
            assert_eq!(pointer(sql, words), None, "{words}");
        }
    }
}
