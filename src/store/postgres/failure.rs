//! What a failure of the database is to who asked: his mistake, somebody else's turn, or a database that is away.

use hyper::StatusCode;
use tokio_postgres::error::{DbError, SqlState};

use crate::database::why;
use crate::problem::Problem;

/// What is told of a failed statement. Nothing was changed by it.
pub(super) fn problem(error: &tokio_postgres::Error) -> Problem {
    match error.as_db_error() {
        Some(refused) => of_database(refused),
        None if is_ours(error) => broken(&why(error)),
        None => away(&why(error)),
    }
}

/// 503: it is not there, or has no time.
pub(super) fn away(why: &str) -> Problem {
    let detail =
        format!("the database cannot be asked now ({why}); nothing was changed, try again");
    Problem::unavailable("store-away", detail)
}

/// 500: it was not asked as it must be.
fn broken(why: &str) -> Problem {
    tracing::error!("store: {why}");
    let detail = format!("the database refuses what it should take: {why}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store", detail)
}

/// Whether neither the database nor the way to it is to blame.
fn is_ours(error: &tokio_postgres::Error) -> bool {
    let words = error.to_string();
    [
        "error serializing",
        "error deserializing",
        "error encoding",
        "invalid column",
        "expected ",
    ]
    .iter()
    .any(|start| words.starts_with(start))
}

/// Whether the whole transaction may succeed when it is tried again: another one came in between.
pub(super) fn is_turn(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
        || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}

/// Whether somebody else has made the row with this key meanwhile.
pub(super) fn is_taken(error: &tokio_postgres::Error, key: &str) -> bool {
    let refused = error.as_db_error();
    refused.is_some_and(|refused| {
        *refused.code() == SqlState::UNIQUE_VIOLATION && refused.constraint() == Some(key)
    })
}

/// Whether it may be otherwise when it is known what tables are like now.
pub(super) fn is_stale(problem: &Problem) -> bool {
    matches!(problem.kind, "column" | "shape")
}

fn of_database(error: &DbError) -> Problem {
    let code = error.code();
    let message = error.message();
    let named = error
        .constraint()
        .map(|name| format!("constraint {name}: "));
    let named = named.unwrap_or_default();
    if [
        SqlState::UNIQUE_VIOLATION,
        SqlState::EXCLUSION_VIOLATION,
        SqlState::FOREIGN_KEY_VIOLATION,
        SqlState::RESTRICT_VIOLATION,
    ]
    .contains(code)
    {
        let about = error.detail().map(|detail| format!(" ({detail})"));
        let detail = format!("{named}{message}{}", about.unwrap_or_default());
        return Problem::new(StatusCode::CONFLICT, "constraint", detail);
    }
    match &code.code()[..2] {
        "23" => Problem::bad_request("constraint", format!("{named}{message}")),
        // What is no value of a type, or more than it holds.
        "22" => {
            let about = error.detail().map(|detail| format!(": {detail}"));
            let detail = format!("{message}{}", about.unwrap_or_default());
            Problem::bad_request("value", detail)
        }
        // A trigger of the table's own says no.
        "P0" => Problem::bad_request("refused", message.to_owned()),
        "54" => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the database does not hold it: {message}"),
        ),
        "42" if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            let detail = format!("the server's role may not: {message}");
            Problem::new(StatusCode::FORBIDDEN, "privilege", detail)
        }
        // Away or overloaded, a time limit, another's turn.
        "08" | "25" | "40" | "53" | "55" | "57" | "58" => away(message),
        "0A" | "42" if is_shape(code) => {
            let detail = format!("the table is not what it was ({message}); try again");
            Problem::unavailable("shape", detail)
        }
        // `428C9`: a column that the database alone fills.
        "42" if code.code() == "428C9" => Problem::bad_request("value", message.to_owned()),
        other => broken(&format!("{other}: {message}")),
    }
}

/// Whether something that was there is not, or is of another kind.
fn is_shape(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::DATATYPE_MISMATCH,
        SqlState::FEATURE_NOT_SUPPORTED,
    ]
    .contains(code)
}
