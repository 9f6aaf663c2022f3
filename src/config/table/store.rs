//! The rows of a store that is a database.

use super::Kind;
use super::Setting;
use super::row;
use super::shown;
use crate::config::value::HOUR;

pub(super) static STORE: &[Setting] = &[
    shown(
        "store-connections",
        "16",
        Kind::Number(1..=1000, |config| &mut config.postgres.connections),
        "Connections to the database, beside the one that reads what has changed; one a transaction",
    ),
    row(
        "store-outbox-age",
        "1h",
        Kind::Time(1000..=168 * HOUR, |config| &mut config.postgres.outbox_age),
        "For how long changes are kept for servers that are away",
    ),
    row(
        "store-outbox-changes",
        "1_000_000",
        Kind::Number(10..=1_000_000_000, |config| {
            &mut config.postgres.outbox_changes
        }),
        "Changes kept for servers that are away",
    ),
];
